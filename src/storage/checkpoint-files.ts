/** The two files in which checkpoints (see `checkpoint.ts`) take turns. Writing the older one can end at any byte. */
import b4a from 'b4a'
import { PAGE_TREE_INDEXES } from '../bitfield/pages.ts'
import { DDatabaseError } from '../errors.ts'
import { ignore } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import {
  applyRecords,
  type Checkpoint,
  type CheckpointHead,
  type ClearedRecord,
  claimOf,
  decodeCheckpoint,
  encodeCleared,
  encodeTouched,
  encodeTruncated,
  HEAD_SIZE,
  touchedIn
} from './checkpoint.ts'
import {
  CHECKPOINT,
  CLEAN,
  CLEARED,
  claimedCheckpoint,
  decodeFrames,
  encodeFrame,
  FRAME_HEADER,
  FRAME_OVERHEAD,
  type Frame,
  TOUCHED,
  TRUNCATED
} from './checkpoint-frames.ts'
import { type StorageFactory, StorageFile } from './random-access.ts'
import { noneLeft } from './storage-error.ts'
import { type PageRange, TouchedPages } from './touched-pages.ts'

/** Names of the two files, beside the six of the format. */
export const CHECKPOINT_NAMES = ['checkpoint.0', 'checkpoint.1'] as const

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
   * Reads the checkpoint that counts; null if there is none. One that cannot be read is not there, unless it only could not be opened
   * for want of descriptors: then nobody knows, and what happens next would not be told to it. Rejects with that error.
   * @returns what makes it of the bytes that were read, for a tree file with so many slots; null for one that makes no sense
   */
  async load(): Promise<((treeSlots: number) => Checkpoint | null) | null> {
    const contents = await Promise.all(CHECKPOINT_NAMES.map((_, i) => this.#read(i)))
    const sequences = contents.map((content) => content?.frames[0]?.sequence ?? 0)
    this.#current = sequences[0]! > sequences[1]! ? 0 : 1
    const content = contents[this.#current]
    if (!isGiven(content)) return null
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
   * is stored, where no checkpoint is of this key. Rejects as {@link load} does.
   */
  async claims(): Promise<Pick<CheckpointHead, 'length' | 'treeHash'>[]> {
    const all = await Promise.all(CHECKPOINT_NAMES.map((_, i) => this.#bytes(i)))
    const claims: Pick<CheckpointHead, 'length' | 'treeHash'>[] = []
    for (const bytes of all) {
      const payload = bytes === null ? null : claimedCheckpoint(bytes, HEAD_SIZE)
      if (payload === null) continue
      const claim = claimOf(payload)
      if (Number.isSafeInteger(claim.length)) claims.push(claim)
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
    try {
      await this.#writeAt(other, 0, b4a.concat([frame, ...records, ...mark]), creating)
    } catch (error) {
      // It may be there all the same, and what follows now is told to the one before.
      await this.#writeAt(other, 0, b4a.alloc(FRAME_HEADER)).catch(ignore)
      throw error
    }
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

  /**
   * Removes both files, the one also if the other cannot be removed. What is forgotten next may be what they claim, and the name of a
   * removed file may be back after a power failure. So each is emptied durably before, first the older one: alone it would not know
   * what was taken back since.
   * @param durably - false: nothing of the feed is going to be left
   */
  async destroy(durably = true): Promise<void> {
    const failures: unknown[] = []
    for (const file of [1 - this.#current, this.#current]) {
      await this.#remove(file, durably).catch((error) => failures.push(error))
    }
    this.#sequence = 0
    this.#end = 0
    this.#clean = null
    this.#touched = null
    if (failures.length > 0) throw failures[0]
  }

  async #remove(file: number, durably: boolean): Promise<void> {
    const storage = this.#open(file, false)
    try {
      const emptied =
        durably &&
        (await storage.del(0, Number.POSITIVE_INFINITY).then(
          () => true,
          // Who may not write to it may still remove it.
          () => false
        ))
      if (emptied) await storage.sync()
    } finally {
      await storage.destroy()
    }
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
  #open(file: number, folders: boolean): StorageFile {
    return new StorageFile(this.#create(CHECKPOINT_NAMES[file]!, { folders }))
  }

  async #writeAt(file: number, offset: number, bytes: Uint8Array, folders = false): Promise<void> {
    const storage = this.#open(file, folders)
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
    const storage = this.#open(file, false)
    try {
      const size = await storage.size()
      if (size === null || size < FRAME_OVERHEAD) return null
      return storage.readSync(0, size) ?? (await storage.read(0, size))
    } catch (error) {
      if (noneLeft(error)) throw error
      return null
    } finally {
      // Nobody has to wait for that.
      storage.close().catch(ignore)
    }
  }

  #decode(bytes: Uint8Array): Content | null {
    const { frames, end } = decodeFrames(this.#key, bytes)
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

  #encode(kind: number, sequence: number, payload: Uint8Array): Uint8Array {
    return encodeFrame(this.#key, { kind, sequence, payload })
  }
}

// Two small files: opening and closing them in the thread pool takes longer than all the rest of opening a feed.
function bytesNow(read: () => Uint8Array | null): Uint8Array | null {
  try {
    return read()
  } catch (error) {
    if (noneLeft(error)) throw error
    return null
  }
}
