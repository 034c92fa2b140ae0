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
import { blake2bBatch } from '#crypto/backend'
import { Bitfield } from '../bitfield/bitfield.ts'
import { PAGE_BLOCKS, PAGE_TREE_INDEXES, type PageSource, type Pages } from '../bitfield/pages.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE } from '../merkle/node.ts'
import { TreeSet } from '../merkle/tree-set.ts'
import { ignore } from '../util/callback.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'
import { CheckpointBits, encodePieces } from './checkpoint-bits.ts'
import { type StorageFactory, StorageFile } from './random-access.ts'
import { type PageRange, TouchedPages } from './touched-pages.ts'

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
  /** Its bits, before records took something back, as what pages are loaded from later: see `CheckpointBits.source`. */
  source(file: StorageFile, size: number, touched: TouchedPages | null): PageSource | null
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
const CLEAN = 3
const TOUCHED = 4
const MOST_TOUCHED = 1024
const FRAME_HEADER = 24
const FRAME_OVERHEAD = FRAME_HEADER + HASH_SIZE
const HEAD_SIZE = 5 * 8 + HASH_SIZE

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
 * what is malformed or makes no sense. Takes time and memory for `maxPages` pages at most.
 */
function decodeCheckpoint(payload: Uint8Array, maxPages: number): Checkpoint | null {
  if (payload.byteLength < HEAD_SIZE) return null
  const [length, byteLength, signatureSlots, dataBytes] = [0, 8, 16, 24].map((at) => readUint64(payload, at))
  const count = readUint64(payload, 64)
  const numbers = [length!, byteLength!, signatureSlots!, dataBytes!, count]
  if (!numbers.every(Number.isSafeInteger) || count > maxPages || length! > count * PAGE_BLOCKS) return null
  const bits = new CheckpointBits(payload, HEAD_SIZE, count)
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

/** The payload of a record. */
function encodeCleared({ start, end }: ClearedRecord): Uint8Array {
  const payload = b4a.alloc(16)
  writeUint64(payload, start, 0)
  writeUint64(payload, end, 8)
  return payload
}

function encodeTouched([start, end]: PageRange): Uint8Array {
  const payload = b4a.alloc(16)
  writeUint64(payload, start, 0)
  writeUint64(payload, end, 8)
  return payload
}

/** What the records tell of the pages that were touched; null if they do not tell all. */
function touchedIn(records: readonly Frame[]): TouchedPages | null {
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

function encodeTruncated(head: CheckpointHead): Uint8Array {
  const payload = b4a.alloc(16 + HASH_SIZE)
  writeUint64(payload, head.length, 0)
  writeUint64(payload, head.byteLength, 8)
  payload.set(head.treeHash, 16)
  return payload
}

/** Applies all records at once: each by itself could take as long as the feed is. False if one is malformed. */
function applyRecords(checkpoint: Checkpoint, records: readonly Frame[]): boolean {
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
  /** What is said to be clean. */
  clean: string | null
  /** Which pages of bits may differ from the checkpoint; null if that is not told. */
  touched: TouchedPages | null
}

/** The two files. */
export class CheckpointFiles {
  readonly #create: StorageFactory
  readonly #key: Uint8Array
  // Number of the file that counts, its checkpoint's sequence number (0: none), and the place of the next record.
  #current = 1
  #sequence = 0
  #end = 0
  // The place of the first one, and whether one of them takes something back.
  #firstRecord = 0
  #bare = false
  #clean: string | null = null
  #touched: TouchedPages | null = null

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

  /** The stamps of the files that are as the checkpoint says; null if that is not said. */
  get clean(): string | null {
    return this.#clean
  }

  /** Pages of bits that may differ from what the checkpoint says; null if it is not known which. */
  get touched(): TouchedPages | null {
    return this.#touched
  }

  /** Whether there is a checkpoint of which nothing was taken back. */
  get bare(): boolean {
    return this.exists && this.#bare
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
    this.#clean = content.clean
    this.#firstRecord = FRAME_OVERHEAD + content.frames[0]!.payload.byteLength
    this.#bare = content.frames.slice(1).every(({ kind }) => kind === TOUCHED)
    // The one before it counts again if a later one is lost, which may have been made long ago: then nobody knows.
    const before = sequences[1 - this.#current]!
    this.#touched = before > 0 && before === this.#sequence - 1 ? content.touched : null
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
   * @param clean - stamps of the files that are as it says, see {@link mark}
   * @param touched - the pages that may differ from it already, see {@link touch}; null: nobody is going to tell. Without `clean`
   */
  async write(
    payload: Uint8Array,
    creating = false,
    clean: string | null = null,
    touched: TouchedPages | null = null
  ): Promise<void> {
    // If the new one should be lost some day, the one before counts again.
    await this.unmark()
    const other = 1 - this.#current
    const sequence = this.#sequence + 1
    const frame = this.#encode(CHECKPOINT, sequence, payload)
    const records = (clean === null ? (touched?.ranges ?? []) : []).map((range) =>
      this.#encode(TOUCHED, sequence, encodeTouched(range))
    )
    const mark = clean === null ? [] : [this.#encode(CLEAN, sequence, b4a.from(clean))]
    await this.#writeAt(other, 0, b4a.concat([frame, ...records, ...mark]), creating)
    this.#current = other
    this.#sequence = sequence
    this.#firstRecord = frame.byteLength
    this.#end = records.reduce((end, record) => end + record.byteLength, frame.byteLength)
    this.#clean = clean
    this.#bare = true
    this.#touched = clean === null ? touched : null
  }

  /** Says that the files, which have these stamps, are as the checkpoint says, if it is {@link bare}. */
  async mark(clean: string): Promise<void> {
    if (!this.bare) return
    const mark = this.#encode(CLEAN, this.#sequence, b4a.from(clean))
    // Behind it nothing may look like a record.
    await this.#writeAt(this.#current, this.#firstRecord, b4a.concat([mark, b4a.alloc(FRAME_HEADER)]))
    this.#end = this.#firstRecord
    this.#clean = clean
    this.#touched = null
  }

  /** Takes that back: durable when this resolves. */
  async unmark(): Promise<void> {
    if (this.#clean === null) return
    await this.#writeAt(this.#current, this.#end, b4a.alloc(FRAME_HEADER))
    this.#clean = null
  }

  /**
   * Adds that pages of bits may differ from the checkpoint, if it is {@link clean} or there is a list of them already; durable when this
   * resolves.
   */
  async touch(ranges: readonly PageRange[]): Promise<void> {
    if (this.#clean === null && this.#touched === null) return
    const frames = ranges.map((range) => this.#encode(TOUCHED, this.#sequence, encodeTouched(range)))
    const touched = new TouchedPages([...(this.#touched?.ranges ?? []), ...ranges])
    const { bare } = this
    await this.#appendFrames(frames)
    this.#bare = bare
    this.#touched = touched
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
    this.#clean = null
    this.#touched = null
  }

  async #append(kind: number, payload: Uint8Array): Promise<void> {
    if (this.exists) await this.#appendFrames([this.#encode(kind, this.#sequence, payload)])
  }

  async #appendFrames(frames: readonly Uint8Array[]): Promise<void> {
    const bytes = b4a.concat(frames as Uint8Array[])
    await this.#writeAt(this.#current, this.#end, bytes)
    this.#end += bytes.byteLength
    this.#clean = null
    this.#bare = false
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
    if (frames.length === 0) return null
    const [, mark] = frames
    if (frames.length > 2 || mark?.kind !== CLEAN)
      return { frames, end, clean: null, touched: touchedIn(frames.slice(1)) }
    // Records take its place.
    return {
      frames: frames.slice(0, 1),
      end: end - FRAME_OVERHEAD - mark.payload.byteLength,
      clean: b4a.toString(mark.payload),
      touched: null
    }
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
