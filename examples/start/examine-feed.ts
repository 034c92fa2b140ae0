import { createHash, randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Feed } from '../../src/index.ts'
import { check, stopIfAsked } from './failure.ts'
import type { Progress } from './progress.ts'
import type { Source } from './source.ts'

/** Compares every block with its hash in the signed tree. Returns their number. */
export async function audit(feed: Feed): Promise<number> {
  const { valid, invalid } = await feed.audit()
  check(invalid === 0, `${invalid} of the stored blocks do not match their hashes.`)
  check(valid === feed.length, `Only ${valid} of ${feed.length} blocks are stored.`)
  return valid
}

/** A byte of the file and where the feed has it. */
export interface Place {
  byte: number
  block: number
  offset: number
  /** Bytes that were compared, up to the end of the block. */
  compared: number
}

// Enough to recognise the place.
const COMPARED = 32

/** Finds a random byte of the file in the feed and compares the bytes from there on. The file is not empty. */
export async function seekAtRandom(feed: Feed, source: Source): Promise<Place> {
  const byte = randomInt(source.size)
  const { index, offset } = await feed.seek(byte)
  const block = await feed.get(index)
  const stored = block.subarray(offset, offset + COMPARED)
  const expected = await source.read(byte, stored.byteLength)
  check(
    stored.byteLength > 0 && Buffer.compare(stored, expected) === 0,
    `Byte ${byte} of the file and byte ${offset} of block ${index} differ.`
  )
  return { byte, block: index, offset, compared: stored.byteLength }
}

/** Writes the feed's blocks one after the other into a file and reads that back. Returns its SHA-256 in hexadecimal. */
export async function rebuild(
  feed: Feed,
  path: string,
  progress: Progress,
  signal: AbortSignal
): Promise<string> {
  const file = await open(path, 'w')
  try {
    let done = 0
    for await (const block of feed.createReadStream() as AsyncIterable<Uint8Array>) {
      stopIfAsked(signal)
      await file.writeFile(block)
      done += block.byteLength
      progress.at(done)
    }
  } finally {
    await file.close()
  }
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece)
  return hash.digest('hex')
}
