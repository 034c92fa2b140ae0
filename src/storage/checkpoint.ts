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
 * ```
 *
 * Numbers without a size are uint64, big endian.
 */
import b4a from 'b4a'
import { blake2bBatch } from '#crypto/backend'
import { Bitfield } from '../bitfield/bitfield.ts'
import { INDEX_OFFSET, PAGE_BLOCKS, PAGE_SIZE, PAGE_TREE_INDEXES, Pages } from '../bitfield/pages.ts'
import { decodeInto, encode, requireSize } from '../bitfield/rle.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE } from '../merkle/node.ts'
import { TreeSet } from '../merkle/tree-set.ts'
import { ignore } from '../util/callback.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'
import { type StorageFactory, StorageFile } from './random-access.ts'

/** Names of the two files, beside the six of the format. */
export const CHECKPOINT_NAMES = ['checkpoint.0', 'checkpoint.1'] as const

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
}

/** Takes back that blocks `start` … `end` − 1 are here. */
export interface ClearedRecord {
  start: number
  end: number
}

const MAGIC = b4a.from('DDCP')
const VERSION = 1
const CHECKPOINT = 0
const CLEARED = 1
const TRUNCATED = 2
const FRAME_HEADER = 24
const FRAME_OVERHEAD = FRAME_HEADER + HASH_SIZE
const HEAD_SIZE = 5 * 8 + HASH_SIZE
const PIECE_PAGES = 32
// Where pieces are decoded, and its parts: loading copies what it keeps. As arrays of their own they were most of the garbage of
// an opening.
const scratch = b4a.allocUnsafeSlow(PIECE_PAGES * INDEX_OFFSET)
const scratchPages = Array.from({ length: PIECE_PAGES }, (_, page) =>
  scratch.subarray(page * INDEX_OFFSET, (page + 1) * INDEX_OFFSET)
)
const NO_BITS = b4a.alloc(INDEX_OFFSET)
const EMPTY = b4a.alloc(0)

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
  for (let first = 0; first < pages.length; first += PIECE_PAGES) {
    const piece = encodePiece(pages, first, Math.min(PIECE_PAGES, pages.length - first))
    const size = b4a.alloc(4)
    new DataView(size.buffer, size.byteOffset).setUint32(0, piece.byteLength)
    parts.push(size, piece)
  }
  return b4a.concat(parts)
}

function encodePiece(pages: Pages, first: number, count: number): Uint8Array {
  const present: number[] = []
  for (let page = 0; page < count; page++) if (pages.read(first + page) !== null) present.push(page)
  // Most pages of a sparse copy of a long feed.
  if (present.length === 0) return EMPTY
  const bits = scratch.subarray(0, count * INDEX_OFFSET)
  bits.fill(0)
  for (const page of present) scratchPages[page]!.set(pages.read(first + page)!.subarray(0, INDEX_OFFSET))
  return encode(bits)
}

/** Changes the number of bytes of data in a payload. */
export function setDataBytes(payload: Uint8Array, dataBytes: number): void {
  writeUint64(payload, dataBytes, 24)
}

/** The bits of a checkpoint, as they are in its payload until somebody asks for pages, which may then be changed. */
class CheckpointBits {
  readonly #payload: Uint8Array
  readonly #count: number
  #pages: Pages | null = null

  constructor(payload: Uint8Array, count: number) {
    this.#payload = payload
    this.#count = count
  }

  /** Whether it can be decoded. */
  get wellFormed(): boolean {
    try {
      let pages = 0
      for (const [piece, first] of this.#pieces()) {
        if (piece === null) return false
        requireSize(piece, this.#pagesAt(first) * INDEX_OFFSET)
        pages += this.#pagesAt(first)
      }
      return pages === this.#count
    } catch (error) {
      if (DDatabaseError.is(error)) return false
      throw error
    }
  }

  get pages(): Pages {
    if (this.#pages === null) {
      this.#pages = new Pages(PAGE_SIZE)
      const page = b4a.alloc(PAGE_SIZE)
      for (const [piece, first] of this.#pieces()) {
        if (piece!.byteLength === 0) {
          this.#pages.loadZeros(this.#pagesAt(first))
          continue
        }
        decodeInto(scratch, piece!)
        for (let i = 0; i < this.#pagesAt(first); i++) {
          page.set(scratchPages[i]!)
          this.#pages.load(page)
        }
      }
    }
    return this.#pages
  }

  hasBitsOf(pages: Pages): boolean {
    let last: Uint8Array | null = null
    let lastBits = NO_BITS
    const bitsIn = (content: Uint8Array | null): Uint8Array => {
      if (content === null) return NO_BITS
      // Equal neighbours share their memory.
      if (content !== last) {
        last = content
        lastBits = content.subarray(0, INDEX_OFFSET)
      }
      return lastBits
    }
    if (this.#pages !== null) {
      for (let page = 0; page < this.#count; page++) {
        const bits = this.#pages.read(page)?.subarray(0, INDEX_OFFSET) ?? NO_BITS
        if (!b4a.equals(bits, bitsIn(pages.read(page)))) return false
      }
    } else {
      for (const [piece, first] of this.#pieces()) {
        const empty = piece!.byteLength === 0
        if (!empty) decodeInto(scratch, piece!)
        for (let i = 0; i < this.#pagesAt(first); i++) {
          const content = pages.read(first + i)
          if (empty && content === null) continue
          if (!b4a.equals(empty ? NO_BITS : scratchPages[i]!, bitsIn(content))) return false
        }
      }
    }
    for (let page = this.#count; page < pages.length; page++) {
      const bits = bitsIn(pages.read(page))
      if (bits !== NO_BITS && !b4a.equals(bits, NO_BITS)) return false
    }
    return true
  }

  #pagesAt(first: number): number {
    return Math.min(PIECE_PAGES, this.#count - first)
  }

  /** Each piece with its first page; null for one that is cut. */
  *#pieces(): Generator<[piece: Uint8Array | null, first: number]> {
    const payload = this.#payload
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    for (let first = 0, at = HEAD_SIZE; first < this.#count; first += PIECE_PAGES) {
      const size = at + 4 > payload.byteLength ? Number.POSITIVE_INFINITY : view.getUint32(at)
      if (size > payload.byteLength - at - 4) {
        yield [null, first]
        return
      }
      yield [payload.subarray(at + 4, at + 4 + size), first]
      at += 4 + size
    }
  }
}

/**
 * Anybody who knows the public key can write a checkpoint, so nothing in it is believed that its files could not hold: null for
 * what is malformed or makes no sense. Takes time and memory for `maxPages` pages at most.
 */
function decodeCheckpoint(payload: Uint8Array, maxPages: number): Checkpoint | null {
  if (payload.byteLength < HEAD_SIZE) return null
  const [length, byteLength, signatureSlots, dataBytes] = [0, 8, 16, 24].map((at) => readUint64(payload, at))
  const count = readUint64(payload, 64)
  const numbers = [length!, byteLength!, signatureSlots!, dataBytes!, count]
  if (!numbers.every(Number.isSafeInteger) || count > maxPages || length! > count * PAGE_BLOCKS) return null
  const bits = new CheckpointBits(payload, count)
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
    hasBitsOf: (pages) => bits.hasBitsOf(pages)
  }
}

/** The payload of a record. */
function encodeCleared({ start, end }: ClearedRecord): Uint8Array {
  const payload = b4a.alloc(16)
  writeUint64(payload, start, 0)
  writeUint64(payload, end, 8)
  return payload
}

function encodeTruncated(head: CheckpointHead): Uint8Array {
  const payload = b4a.alloc(16 + HASH_SIZE)
  writeUint64(payload, head.length, 0)
  writeUint64(payload, head.byteLength, 8)
  payload.set(head.treeHash, 16)
  return payload
}

/** Applies all records at once: each by itself could take as long as the feed is. False if one is malformed. */
function applyRecords(checkpoint: Checkpoint, records: readonly Frame[]): boolean {
  if (records.length === 0) return true
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

interface Frame {
  kind: number
  sequence: number
  payload: Uint8Array
}

/** What is in one of the two files. */
interface Content {
  frames: Frame[]
  /** Where the next record goes. */
  end: number
}

/** The two files. */
export class CheckpointFiles {
  readonly #create: StorageFactory
  readonly #key: Uint8Array
  // Number of the file that counts, its checkpoint's sequence number (0: none), and the place of the next record.
  #current = 1
  #sequence = 0
  #end = 0

  /**
   * @param create - makes the files' storages, one for each use
   * @param key - the public key of the feed that the checkpoints are of
   */
  constructor(create: StorageFactory, key: Uint8Array) {
    this.#create = create
    this.#key = key
  }

  /** Whether there is a checkpoint. */
  get exists(): boolean {
    return this.#sequence > 0
  }

  /**
   * Reads the checkpoint that counts; null if there is none. One that cannot be read is not there.
   * @returns what makes it of the bytes that were read, for a tree file with so many slots; null for one that makes no sense
   */
  async load(): Promise<((treeSlots: number) => Checkpoint | null) | null> {
    const contents = await Promise.all(CHECKPOINT_NAMES.map((_, i) => this.#read(i)))
    const sequences = contents.map((content) => content?.frames[0]?.sequence ?? 0)
    this.#current = sequences[0]! > sequences[1]! ? 0 : 1
    const content = contents[this.#current]
    if (content === undefined || content === null) return null
    this.#sequence = sequences[this.#current]!
    this.#end = content.end
    const [first, ...records] = content.frames
    return (treeSlots) => {
      try {
        // One page more than has nodes: it may have been looked at.
        const checkpoint = decodeCheckpoint(first!.payload, Math.ceil(treeSlots / PAGE_TREE_INDEXES) + 1)
        return checkpoint !== null && applyRecords(checkpoint, records) ? checkpoint : null
      } catch (error) {
        if (DDatabaseError.is(error)) return null
        throw error
      }
    }
  }

  /**
   * What the two files claim, whatever key they were made for. Nobody vouches for it: good for nothing but to be compared with what
   * is stored, where no checkpoint is of this key.
   */
  async claims(): Promise<Pick<CheckpointHead, 'length' | 'treeHash'>[]> {
    const all = await Promise.all(CHECKPOINT_NAMES.map((_, i) => this.#bytes(i)))
    const claims: Pick<CheckpointHead, 'length' | 'treeHash'>[] = []
    for (const bytes of all) {
      if (bytes === null || bytes.byteLength < FRAME_OVERHEAD + HEAD_SIZE) continue
      if (!b4a.equals(bytes.subarray(0, MAGIC.byteLength), MAGIC) || bytes[4] !== CHECKPOINT) continue
      const length = readUint64(bytes, FRAME_HEADER)
      const treeHash = bytes.subarray(FRAME_HEADER + 32, FRAME_HEADER + 32 + HASH_SIZE)
      if (Number.isSafeInteger(length)) claims.push({ length, treeHash })
    }
    return claims
  }

  /**
   * Writes a checkpoint (see {@link encodeCheckpoint}), which counts when this resolves. Rejects with the storage's error.
   * @param creating - the feed is new: its folder is made if it is not there
   */
  async write(payload: Uint8Array, creating = false): Promise<void> {
    const other = 1 - this.#current
    const sequence = this.#sequence + 1
    const frame = this.#encode(CHECKPOINT, sequence, payload)
    await this.#writeAt(other, 0, frame, creating)
    this.#current = other
    this.#sequence = sequence
    this.#end = frame.byteLength
  }

  /** Adds that blocks are not here any more; durable when this resolves. */
  cleared(record: ClearedRecord): Promise<void> {
    return this.#append(CLEARED, encodeCleared(record))
  }

  /** Adds that the feed is shorter now; durable when this resolves. */
  truncated(head: CheckpointHead): Promise<void> {
    return this.#append(TRUNCATED, encodeTruncated(head))
  }

  /** Removes both files. */
  async destroy(): Promise<void> {
    for (const name of CHECKPOINT_NAMES) await new StorageFile(this.#create(name, {})).destroy()
    this.#sequence = 0
    this.#end = 0
  }

  async #append(kind: number, payload: Uint8Array): Promise<void> {
    if (!this.exists) return
    const frame = this.#encode(kind, this.#sequence, payload)
    await this.#writeAt(this.#current, this.#end, frame)
    this.#end += frame.byteLength
  }

  // Opened for each use: a process may have thousands of feeds, and descriptors are few.
  async #writeAt(file: number, offset: number, bytes: Uint8Array, folders = false): Promise<void> {
    const storage = new StorageFile(this.#create(CHECKPOINT_NAMES[file]!, { folders }))
    try {
      await storage.write(offset, bytes)
      await storage.sync()
    } finally {
      await storage.close()
    }
  }

  async #read(file: number): Promise<Content | null> {
    const bytes = await this.#bytes(file)
    return bytes === null ? null : this.#decode(bytes)
  }

  async #bytes(file: number): Promise<Uint8Array | null> {
    const { readWhole } = this.#create
    if (readWhole !== undefined) return bytesNow(() => readWhole(CHECKPOINT_NAMES[file]!))
    const storage = new StorageFile(this.#create(CHECKPOINT_NAMES[file]!, { folders: false }))
    try {
      const size = await storage.size()
      if (size === null || size < FRAME_OVERHEAD) return null
      return storage.readSync(0, size) ?? (await storage.read(0, size))
    } catch {
      return null
    } finally {
      // Nobody has to wait for that.
      storage.close().catch(ignore)
    }
  }

  #decode(bytes: Uint8Array): Content | null {
    const frames: Frame[] = []
    let end = 0
    for (;;) {
      const frame = this.#frame(bytes.subarray(end))
      if (frame === null) break
      // What follows the last record may be left of an older checkpoint.
      const fits = frames.length === 0 ? frame.kind === CHECKPOINT : frame.sequence === frames[0]!.sequence
      if (!fits || (frames.length > 0 && frame.kind === CHECKPOINT)) break
      frames.push(frame)
      end += FRAME_OVERHEAD + frame.payload.byteLength
    }
    return frames.length === 0 ? null : { frames, end }
  }

  #frame(bytes: Uint8Array): Frame | null {
    if (bytes.byteLength < FRAME_OVERHEAD || !b4a.equals(bytes.subarray(0, MAGIC.byteLength), MAGIC))
      return null
    const size = readUint64(bytes, 16)
    if (bytes[5] !== VERSION || size > bytes.byteLength - FRAME_OVERHEAD) return null
    const content = bytes.subarray(0, FRAME_HEADER + size)
    const check = bytes.subarray(content.byteLength, content.byteLength + HASH_SIZE)
    if (!b4a.equals(this.#hash(content), check)) return null
    const sequence = readUint64(bytes, 8)
    // The next one has to be greater.
    if (!Number.isSafeInteger(sequence + 1)) return null
    return { kind: bytes[4]!, sequence, payload: content.subarray(FRAME_HEADER) }
  }

  #encode(kind: number, sequence: number, payload: Uint8Array): Uint8Array {
    const frame = b4a.alloc(FRAME_OVERHEAD + payload.byteLength)
    frame.set(MAGIC)
    frame[4] = kind
    frame[5] = VERSION
    writeUint64(frame, sequence, 8)
    writeUint64(frame, payload.byteLength, 16)
    frame.set(payload, FRAME_HEADER)
    const content = frame.subarray(0, FRAME_HEADER + payload.byteLength)
    frame.set(this.#hash(content), content.byteLength)
    return frame
  }

  #hash(content: Uint8Array): Uint8Array {
    const hash = b4a.allocUnsafe(HASH_SIZE)
    blake2bBatch(hash, [this.#key, content])
    return hash
  }
}

// Two small files: opening and closing them in the thread pool takes longer than all the rest of opening a feed.
function bytesNow(read: () => Uint8Array | null): Uint8Array | null {
  try {
    return read()
  } catch {
    return null
  }
}
