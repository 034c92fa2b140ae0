import { createHash } from 'node:crypto'
import type { Feed } from '../../src/index.ts'
import { Failure, stopIfAsked } from './failure.ts'
import type { Progress } from './progress.ts'
import type { Source } from './source.ts'

/** Bytes of a block; the last one is shorter. */
export const BLOCK_SIZE = 64 * 1024

// Blocks of a batch: one signature and one write for all of them, and what the import holds in memory.
const BATCH = 16

/** What an import came to. */
export interface Imported {
  /** SHA-256 of the file, in hexadecimal. */
  sha256: string
  /** Blocks that were in the feed before, from an import that was interrupted. */
  found: number
}

/**
 * Appends the file to the feed, in batches, and hashes it on the way. If the feed holds the beginning of the file
 * already, that is compared instead and the import goes on after it.
 *
 * Fails with exit code 3 if the file is changed meanwhile, and with 4 if the feed holds anything else.
 */
export async function importFile(
  feed: Feed,
  source: Source,
  progress: Progress,
  signal: AbortSignal
): Promise<Imported> {
  const found = feed.length
  const whole = feed.byteLength === source.size || feed.byteLength === found * BLOCK_SIZE
  if (!whole || feed.byteLength > source.size || found !== blocksOf(feed.byteLength)) throw otherFeed()
  if (feed.byteLength < source.size && !feed.writable) {
    throw new Failure('folder', 'The folder holds a part of the file, in a feed that cannot be appended to.')
  }

  const hash = createHash('sha256')
  for (let offset = 0; offset < source.size; ) {
    stopIfAsked(signal)
    const bytes = await source.read(offset, BATCH * BLOCK_SIZE)
    hash.update(bytes)
    const blocks = cut(bytes)
    const first = offset / BLOCK_SIZE
    const present = Math.min(Math.max(found - first, 0), blocks.length)
    if (!(await startsWith(feed, first, blocks.slice(0, present)))) throw otherFeed()
    if (present < blocks.length) await feed.append(blocks.slice(present))
    offset += bytes.byteLength
    progress.at(offset)
  }
  await source.checkUnchanged()
  return { sha256: hash.digest('hex'), found }
}

function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_SIZE)
}

function cut(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: blocksOf(bytes.byteLength) }, (_, i) =>
    bytes.subarray(i * BLOCK_SIZE, (i + 1) * BLOCK_SIZE)
  )
}

async function startsWith(feed: Feed, first: number, blocks: readonly Uint8Array[]): Promise<boolean> {
  if (!feed.has(first, first + blocks.length)) return false
  const stored = await feed.getBatch(first, first + blocks.length)
  return stored.every((block, i) => Buffer.compare(block, blocks[i]!) === 0)
}

function otherFeed(): Failure {
  return new Failure(
    'folder',
    'The folder holds another feed; name another folder, or the file it came from.'
  )
}
