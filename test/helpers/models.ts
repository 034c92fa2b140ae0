/** What a feed must answer, worked out in the simplest possible way from a plain array of blocks. */
import assert from 'node:assert/strict'
import sodium from 'sodium-native'
import type { FeedFace, Node } from './feed-face.ts'

/** BLAKE2b-256 of the parts. */
function blake2b(...parts: Uint8Array[]): Buffer {
  const out = Buffer.alloc(32)
  sodium.crypto_generichash(out, Buffer.concat(parts))
  return out
}

function uint64(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(BigInt(value))
  return out
}

/**
 * The node over the `2 ** depth` blocks from `start` (a multiple of that count), by recursion from the leaves:
 * the definition of FORMAT §2.1 – §2.2 and §3, with nothing clever.
 */
export function naiveNode(blocks: readonly Uint8Array[], start: number, depth: number): Node {
  const index = 2 * start + 2 ** depth - 1
  if (depth === 0) {
    const block = blocks[start]!
    return { index, hash: blake2b(Buffer.from([0]), uint64(block.byteLength), block), size: block.byteLength }
  }
  const left = naiveNode(blocks, start, depth - 1)
  const right = naiveNode(blocks, start + 2 ** (depth - 1), depth - 1)
  const size = left.size + right.size
  return { index, hash: blake2b(Buffer.from([1]), uint64(size), left.hash, right.hash), size }
}

/** The roots of the feed that consists of the first `length` blocks. */
export function naiveRoots(blocks: readonly Uint8Array[], length = blocks.length): Node[] {
  const roots: Node[] = []
  let start = 0
  while (start < length) {
    const depth = Math.floor(Math.log2(length - start))
    roots.push(naiveNode(blocks, start, depth))
    start += 2 ** depth
  }
  return roots
}

/** The tree hash of these roots (FORMAT §2.3). */
export function naiveTreeHash(roots: readonly Node[]): Buffer {
  const parts = roots.flatMap((root) => [root.hash, uint64(root.index), uint64(root.size)])
  return blake2b(Buffer.from([2]), ...parts)
}

/** Whether `signature` signs the first `length` blocks, by the rule of FORMAT §2.4. */
export function naiveVerify(
  blocks: readonly Uint8Array[],
  length: number,
  signature: Uint8Array,
  key: Uint8Array
): boolean {
  const message = Buffer.concat([naiveTreeHash(naiveRoots(blocks, length)), uint64(length)])
  return sodium.crypto_sign_verify_detached(signature, message, key)
}

/** Total size of the blocks. */
export function byteLengthOf(blocks: readonly Uint8Array[]): number {
  return blocks.reduce((sum, block) => sum + block.byteLength, 0)
}

/** The answer of `seek(bytes)`: FORMAT §8.3. Null if out of bounds. */
export function naiveSeek(blocks: readonly Uint8Array[], bytes: number): [number, number] | null {
  if (bytes === byteLengthOf(blocks)) return [blocks.length, 0]
  if (bytes === 0) return [0, 0]
  let left = bytes
  for (let i = 0; i < blocks.length; i++) {
    if (left < blocks[i]!.byteLength) return [i, left]
    left -= blocks[i]!.byteLength
  }
  return null
}

/** Node for node equal, whatever classes the nodes have. */
export function sameNodes(actual: readonly Node[], expected: readonly Node[], what: string): void {
  const plain = (nodes: readonly Node[]) =>
    nodes.map((node) => ({
      index: node.index,
      size: node.size,
      hash: Buffer.from(node.hash).toString('hex')
    }))
  assert.deepEqual(plain(actual), plain(expected), what)
}

/** Blocks of a feed that is supposed to be in a known state: what each block is, and whether it is present. */
export interface ExpectedFeed {
  readonly blocks: readonly Uint8Array[]
  /** Which blocks are here; all of them if left out. */
  readonly present?: readonly boolean[]
}

/**
 * Checks everything that must hold of a live feed in a known state: lengths, presence, every block, every signature
 * and every proof, and an audit. `freshReplica` makes an empty sparse feed of a key; every block is proven to it.
 */
export async function assertFeedIs(
  feed: FeedFace,
  expected: ExpectedFeed,
  freshReplica?: (key: Buffer) => FeedFace
): Promise<void> {
  const { blocks } = expected
  const present = expected.present ?? blocks.map(() => true)
  assert.equal(feed.length, blocks.length, 'length')
  assert.equal(feed.byteLength, byteLengthOf(blocks), 'byteLength')
  for (let i = 0; i < blocks.length; i++) {
    assert.equal(feed.has(i), present[i], `has(${i})`)
    if (!present[i]) continue
    const block = await feed.get(i, { wait: false, valueEncoding: 'binary' })
    assert.deepEqual(Buffer.from(block as Uint8Array), Buffer.from(blocks[i]!), `block ${i}`)
  }
  await assertSigned(feed, blocks)
  if (freshReplica !== undefined) await assertProves(feed, blocks, present, freshReplica(feed.key))
  const report = await feed.audit()
  assert.deepEqual({ ...report }, { valid: present.filter(Boolean).length, invalid: 0 }, 'audit')
}

/** Every index has a signature at or after it, and that one signs what the feed was at its length. */
async function assertSigned(feed: FeedFace, blocks: readonly Uint8Array[]): Promise<void> {
  let checked = -1
  for (let i = 0; i < blocks.length; i++) {
    const { index, signature } = await feed.signature(i)
    assert.ok(index >= i && index < blocks.length, `signature(${i}) is one of [${i}, ${blocks.length})`)
    if (index === checked) continue
    checked = index
    assert.ok(
      naiveVerify(blocks, index + 1, signature, feed.key),
      `signature ${index} signs length ${index + 1}`
    )
    assert.equal(await feed.verify(index, signature), true, `verify(${index})`)
  }
}

/** Every block, or its hash where the block is not here, can be proven to an empty feed of the same key. */
async function assertProves(
  feed: FeedFace,
  blocks: readonly Uint8Array[],
  present: readonly boolean[],
  replica: FeedFace
): Promise<void> {
  for (let i = 0; i < blocks.length; i++) {
    const proof = await feed.proof(i, { hash: !present[i] })
    await replica.put(i, present[i] ? Buffer.from(blocks[i]!) : null, proof)
  }
  assert.equal(replica.length, blocks.length, 'length of the feed that got the proofs')
  for (let i = 0; i < blocks.length; i++) {
    if (!present[i]) continue
    const block = await replica.get(i, { wait: false })
    assert.deepEqual(Buffer.from(block as Uint8Array), Buffer.from(blocks[i]!), `proven block ${i}`)
  }
  await replica.close()
}
