import { randomInt } from 'node:crypto'
import RandomAccessMemory from 'random-access-memory'
import { Feed } from '../../src/index.ts'
import { check } from './failure.ts'

/** A block that was proven, and what had to travel for it beside its bytes. */
export interface Proven {
  block: number
  bytes: number
  /** Tree nodes: a hash and a size each. */
  nodes: number
  /** Whether the author's signature had to travel too. */
  signed: boolean
}

/**
 * Proves blocks to a second feed, in memory, that starts with the public key and nothing else. What it has learned
 * with one block (`digest`) is left out of the proof of the next.
 */
export async function proveBlocks(feed: Feed, blocks: readonly number[]): Promise<Proven[]> {
  const copy = new Feed(RandomAccessMemory, feed.key)
  await copy.ready()
  try {
    const proven: Proven[] = []
    for (const block of blocks) proven.push(await prove(feed, copy, block))
    check(blocks.length === 0 || copy.length === feed.length, 'The copy does not know how long the feed is.')
    return proven
  } finally {
    await copy.close()
  }
}

async function prove(feed: Feed, copy: Feed, block: number): Promise<Proven> {
  const value = await feed.get(block)
  const proof = await feed.proof(block, { digest: copy.digest(block) })
  const travelled = { nodes: proof.nodes.length, signed: proof.signature !== null }
  await copy.put(block, value, proof)
  check(Buffer.compare(await copy.get(block), value) === 0, `The copy has another block ${block}.`)
  return { block, bytes: value.byteLength, ...travelled }
}

/** Up to `count` different numbers below `limit`, at random. */
export function pickAtRandom(count: number, limit: number): number[] {
  const picked = new Set<number>()
  while (picked.size < Math.min(count, limit)) picked.add(randomInt(limit))
  return [...picked]
}
