/**
 * Checkpoints: what of a feed is on the disk for certain (docs/design.md, "Checkpoints").
 *
 * Two files take turns. Each begins with a checkpoint; records follow it, which take back some of what it claims. A frame
 * that is torn, of another feed or of an older checkpoint is not there; a file without a valid first frame is not there
 * either. So writing the older one of the two can end at any byte.
 *
 * ```
 * frame        "DDCP" | kind | version 1 | 0 0 | sequence | payload size | payload | BLAKE2b-256(public key | all before)
 * checkpoint   length | byteLength | signature slots | data bytes | tree hash, 32 bytes | pages | pieces …
 * piece        bytes, uint32 | run length encoded: data and tree bits of up to 32 pages
 * cleared      start | end
 * truncated    length | byteLength | tree hash, 32 bytes
 * clean        stamps of the files, UTF-8
 * touched      first page | end
 * ```
 *
 * _Clean_ says that the files are as the checkpoint in front of it says, as long as their stamps are these (`stamps.ts`). It takes the place
 * of the first record, and the first record that of it.
 *
 * _Touched_ says which pages of the `bitfield` file may have been written since. If it is the first record, all that were are told by such
 * records, and the others are as the checkpoint says. Versions that do not know _clean_ and _touched_ pass over them.
 *
 * Numbers without a size are uint64, big endian.
 */
import b4a from 'b4a'
import { Bitfield } from '../bitfield/bitfield.ts'
import {
  CHUNK_PAGES,
  PAGE_BLOCKS,
  PAGE_TREE_INDEXES,
  type PageSource,
  type Pages
} from '../bitfield/pages.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import { HASH_SIZE } from '../merkle/node.ts'
import { TreeSet } from '../merkle/tree-set.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'
import { CheckpointBits, encodePieces } from './checkpoint-bits.ts'
import { CLEARED, type Frame, TOUCHED, TRUNCATED } from './checkpoint-frames.ts'
import type { StorageFile } from './random-access.ts'
import { type PageRange, TouchedPages } from './touched-pages.ts'

/** What a checkpoint claims of the feed as a whole. */
export interface CheckpointHead {
  /** Blocks. */
  length: number
  /** Bytes of all blocks. */
  byteLength: number
  /** Hash of the roots of that length. */
  treeHash: Uint8Array
}

/** A checkpoint as it is read, less what its records take back. */
export interface Checkpoint extends CheckpointHead {
  /** Slots that the `signatures` file had; null if it was truncated since. */
  signatureSlots: number | null
  /** Bytes that the `data` file had at least; null if something was cleared since. */
  dataBytes: number | null
  /** Its bits: data and tree. Worked out at first use; for comparing alone there is {@link hasBitsOf}. */
  readonly pages: Pages
  /** Whether its bits are those of `pages`. Takes no memory. */
  hasBitsOf(pages: Pages): boolean
  /** Its bits, before records took something back, as what pages are loaded from later: see `CheckpointBits.source`. */
  source(file: StorageFile, size: number, touched: TouchedPages | null): PageSource | null
}

/** Takes back that blocks `start` … `end` − 1 are here. */
export interface ClearedRecord {
  start: number
  end: number
}

const MOST_TOUCHED = 1024

/** Bytes of a checkpoint's payload in front of its bits. */
export const HEAD_SIZE = 5 * 8 + HASH_SIZE

/** The payload of a checkpoint: of the pages only the bits, without the index bytes, which follow from them. */
export function encodeCheckpoint(
  head: CheckpointHead & { signatureSlots: number; dataBytes: number },
  pages: Pages
): Uint8Array {
  const start = b4a.alloc(HEAD_SIZE)
  writeUint64(start, head.length, 0)
  writeUint64(start, head.byteLength, 8)
  writeUint64(start, head.signatureSlots, 16)
  writeUint64(start, head.dataBytes, 24)
  start.set(head.treeHash, 32)
  writeUint64(start, pages.length, 64)
  const parts: Uint8Array[] = [start]
  for (const piece of encodePieces(pages)) parts.push(piece)
  return b4a.concat(parts)
}

/** Changes the number of bytes of data in a payload. */
export function setDataBytes(payload: Uint8Array, dataBytes: number): void {
  writeUint64(payload, dataBytes, 24)
}

/**
 * Anybody who knows the public key can write a checkpoint, so nothing in it is believed that its files could not hold: null for
 * what is malformed or makes no sense. Takes time and memory for `maxPages` pages, and the rest of their last piece, at most.
 * @param maxPages - as many as have nodes in the `tree` file, at least
 */
export function decodeCheckpoint(payload: Uint8Array, maxPages: number): Checkpoint | null {
  if (payload.byteLength < HEAD_SIZE) return null
  const [length, byteLength, signatureSlots, dataBytes] = [0, 8, 16, 24].map((at) => readUint64(payload, at))
  const count = readUint64(payload, 64)
  const numbers = [length!, byteLength!, signatureSlots!, dataBytes!, count]
  // The last root of n blocks is node n − 1 or a later one: a copy that knows nothing behind it has half the pages of its length.
  if (!numbers.every(Number.isSafeInteger) || length! > maxPages * PAGE_TREE_INDEXES) return null
  // Further on there are only bits that an application has set.
  const known = Math.min(count, Math.ceil(maxPages / CHUNK_PAGES) * CHUNK_PAGES)
  const bits = new CheckpointBits(payload, HEAD_SIZE, known)
  if (!bits.wellFormed) return null
  return {
    length: length!,
    byteLength: byteLength!,
    signatureSlots: signatureSlots!,
    dataBytes: dataBytes!,
    treeHash: payload.subarray(32, 32 + HASH_SIZE),
    get pages() {
      return bits.pages
    },
    hasBitsOf: (pages) => bits.hasBitsOf(pages),
    source: (file, size, touched) => bits.source(file, size, touched)
  }
}

/** The payload of a record of blocks that were cleared. */
export function encodeCleared({ start, end }: ClearedRecord): Uint8Array {
  const payload = b4a.alloc(16)
  writeUint64(payload, start, 0)
  writeUint64(payload, end, 8)
  return payload
}

/** The payload of a record of pages that may be written. */
export function encodeTouched([start, end]: PageRange): Uint8Array {
  const payload = b4a.alloc(16)
  writeUint64(payload, start, 0)
  writeUint64(payload, end, 8)
  return payload
}

/** What the records tell of the pages that were touched; null if they do not tell all. */
export function touchedIn(records: readonly Frame[]): TouchedPages | null {
  if (records[0]?.kind !== TOUCHED) return null
  const touched = new TouchedPages()
  let count = 0
  for (const { kind, payload } of records) {
    if (kind !== TOUCHED) continue
    // Nobody writes so many.
    if (payload.byteLength < 16 || ++count > MOST_TOUCHED) return null
    const [start, end] = [readUint64(payload, 0), readUint64(payload, 8)]
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start >= end) return null
    touched.add([start, end])
  }
  return touched
}

/** The payload of a record of a truncation to `head`. */
export function encodeTruncated(head: CheckpointHead): Uint8Array {
  const payload = b4a.alloc(16 + HASH_SIZE)
  writeUint64(payload, head.length, 0)
  writeUint64(payload, head.byteLength, 8)
  payload.set(head.treeHash, 16)
  return payload
}

/** Applies all records at once: each by itself could take as long as the feed is. False if one is malformed. */
export function applyRecords(checkpoint: Checkpoint, records: readonly Frame[]): boolean {
  if (!records.some(({ kind }) => kind === CLEARED || kind === TRUNCATED)) return true
  const { pages } = checkpoint
  const cleared: [number, number][] = []
  let shortest: Uint8Array | null = null
  let { length } = checkpoint
  for (const { kind, payload } of records) {
    if (kind === CLEARED) {
      if (payload.byteLength < 16) return false
      const [start, end] = [
        readUint64(payload, 0),
        Math.min(readUint64(payload, 8), pages.length * PAGE_BLOCKS)
      ]
      if (!Number.isSafeInteger(start)) return false
      if (start < end) cleared.push([start, end])
      checkpoint.dataBytes = null
    } else if (kind === TRUNCATED) {
      if (payload.byteLength < 16 + HASH_SIZE) return false
      const shorter = readUint64(payload, 0)
      if (!Number.isSafeInteger(readUint64(payload, 8))) return false
      // It may not have known so much.
      if (shorter >= length) continue
      length = shorter
      shortest = payload
    }
  }
  const bits = new Bitfield(pages)
  let done = 0
  for (const [start, end] of cleared.sort((a, b) => a[0] - b[0])) {
    bits.setRange(Math.max(start, done), end, false)
    done = Math.max(done, end)
  }
  if (shortest === null) return true
  new TreeSet(new TreeBits(pages)).truncate(2 * length)
  bits.setRange(length, checkpoint.length, false)
  checkpoint.length = length
  checkpoint.byteLength = readUint64(shortest, 8)
  checkpoint.treeHash = shortest.subarray(16, 16 + HASH_SIZE)
  checkpoint.signatureSlots = null
  checkpoint.dataBytes = null
  return true
}

/** Length and tree hash that a payload claims, without its bits. */
export function claimOf(payload: Uint8Array): Pick<CheckpointHead, 'length' | 'treeHash'> {
  return { length: readUint64(payload, 0), treeHash: payload.subarray(32, 32 + HASH_SIZE) }
}
