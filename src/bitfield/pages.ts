/** The pages of the `bitfield` file in memory. Where they come from, and how long they stay, is decided in this file alone. */
import b4a from 'b4a'
import { CleanChunks } from './clean-chunks.ts'
import {
  CHUNK_PAGES,
  DATA_BYTES,
  INDEX_OFFSET,
  type PageAccess,
  type PageSource,
  TREE_BYTES
} from './page-format.ts'
import { PageStage } from './page-stage.ts'

export * from './page-format.ts'
export type { PageStage, Touched } from './page-stage.ts'

/** @internal A page in memory. */
export interface Slot {
  /** Its bytes, or null while it is packed. */
  bytes: Uint8Array | null
  packed: Packed | null
  /** It stands for several equal pages: not to be changed, only replaced. */
  shared: boolean
  dirty: boolean
  /** Raised by every `write` and every adoption, so that a stage notices a copy that has become stale. */
  version: number
  /** Read or written since somebody last looked for pages to pack. */
  used: boolean
  /** Its index bytes are here. */
  whole: boolean
}

/** A page with few bits: each byte that is not zero, as 256 · its place + its value. */
type Packed = readonly number[]

// Pages that are packed only when there are more: 7 MB. Random blocks of a long feed touch some twenty pages each, of which most
// hold a bit or two.
const MOST_UNPACKED = 2048

// So many are looked at for each that is added.
const LOOKS = 8

// With more bytes than this packing does not pay.
const MOST_PACKED = 128

type Chunk = (Slot | undefined)[]

// Pages kept that could be had from the source again: 3.5 MB.
const MOST_CLEAN = 1024

const NO_BITS = b4a.alloc(INDEX_OFFSET)

// Arrays kept for the copies of the next stages.
const MAX_SPARE = 4

/** The committed pages of a feed. */
export class Pages implements PageAccess {
  readonly pageSize: number
  dataBytes = 0
  treeBytes = 0
  #length = 0
  // Slots in chunks of neighbouring pages, so that all bits of up to a quarter of a million blocks are found without a
  // look into the map: that look costs three times as much as all the rest of reading a bit.
  #chunks = new Map<number, Chunk>()
  #recentChunk: Chunk = []
  #recentChunkNumber = -1
  #dirty = new Set<number>()
  // Slots with bytes of their own that may be packed: a queue. Those that were used since their last turn go to its end.
  #unpacked = new Set<Slot>()
  readonly #mostUnpacked: number
  // The last stage, until it is adopted.
  #stage: PageStage | null = null
  #source: PageSource | null = null
  // Chunks that are as the source has them.
  readonly #clean: CleanChunks
  // A page from the source that stands for several: all blocks are here.
  #lastShared: Slot | null = null

  // The last page that was loaded, which the next one may be equal to.
  #lastLoaded: Slot | null = null
  // Arrays of replaced pages, for the next stages: each commit copies a page or two, and would otherwise leave as
  // many behind as garbage.
  readonly #spare: Uint8Array[] = []

  /**
   * @param pageSize - bytes of a page, {@link PAGE_SIZE} or {@link LEGACY_PAGE_SIZE}
   * @param content - what to {@link load}
   * @param mostUnpacked - how many pages with few bits are kept as they are; more are packed
   * @param mostClean - how many pages are kept that could be had from a source again
   */
  constructor(pageSize: number, content?: Uint8Array, mostUnpacked = MOST_UNPACKED, mostClean = MOST_CLEAN) {
    this.pageSize = pageSize
    this.#mostUnpacked = mostUnpacked
    this.#clean = new CleanChunks(
      mostClean,
      (number) => this.#wasUsed(number),
      (number) => {
        this.#chunks.delete(number)
        if (number === this.#recentChunkNumber) this.#recentChunkNumber = -1
      }
    )
    if (content !== undefined) this.load(content)
  }

  /**
   * Appends pages as they are in the file, which are copied; a partial last page is padded with zeros. Equal
   * neighbours share their memory, as do the pages of all blocks that are present.
   */
  load(content: Uint8Array): void {
    const { pageSize } = this
    for (let offset = 0; offset < content.byteLength; offset += pageSize) {
      const part = content.subarray(offset, offset + pageSize)
      const page = this.#length++
      const last = this.#lastLoaded
      if (last !== null && last.bytes !== null && b4a.equals(last.bytes, part)) {
        if (!last.shared) this.#unpacked.delete(last)
        last.shared = true
        this.#put(page, last)
      } else if (!isZero(part)) {
        const bytes = part.byteLength < pageSize ? b4a.alloc(pageSize) : b4a.allocUnsafeSlow(pageSize)
        bytes.set(part)
        this.#lastLoaded = this.#putNew(page, bytes, false)
      }
    }
    this.dataBytes = this.#length * DATA_BYTES
    this.treeBytes = this.#length * TREE_BYTES
  }

  /** Appends pages of zeros, as {@link load} does. */
  loadZeros(count: number): void {
    this.#length += count
    this.dataBytes = this.#length * DATA_BYTES
    this.treeBytes = this.#length * TREE_BYTES
  }

  /** Instead of {@link load}: pages come from `source` when they are needed. */
  loadLater(source: PageSource): void {
    this.#source = source
    this.#length = source.stored
    this.dataBytes = this.#length * DATA_BYTES
    this.treeBytes = this.#length * TREE_BYTES
  }

  /** Where pages come from; null if all of them are here. */
  get source(): PageSource | null {
    return this.#source
  }

  /** Whether pages `CHUNK_PAGES · chunk` … are as the source has them. */
  isClean(chunk: number): boolean {
    return this.#source !== null && (!this.#chunks.has(chunk) || this.#clean.has(chunk))
  }

  /** Pages in memory that could be had from the source again. */
  get cleanPages(): number {
    return this.#clean.pages
  }

  get length(): number {
    return this.#length
  }

  read(page: number): Uint8Array | null {
    const slot = this.#slot(page)
    if (slot === undefined) return null
    slot.used = true
    return slot.bytes ?? this.#unpack(slot)
  }

  whole(page: number): Uint8Array | null {
    const slot = this.#wholeSlot(page)
    if (slot === undefined) return null
    slot.used = true
    return slot.bytes ?? this.#unpack(slot)
  }

  write(page: number): Uint8Array {
    let slot = this.#slotToKeep(page)
    if (slot === undefined) {
      this.touch(page)
      slot = this.#putNew(page, b4a.alloc(this.pageSize), false)
    } else if (slot.shared) slot = this.#putNew(page, this.#copy(slot.bytes!), false)
    const bytes = slot.bytes ?? this.#unpack(slot)
    if (!slot.dirty) {
      slot.dirty = true
      this.#dirty.add(page)
    }
    slot.version++
    slot.used = true
    return bytes
  }

  touch(page: number): void {
    if (page >= this.#length) this.#length = page + 1
  }

  /** The pages changed since the last {@link takeDirty}, ascending. */
  get dirty(): number[] {
    return this.#dirty.size === 0 ? [] : [...this.#dirty].sort(ascending)
  }

  /** The pages changed since the last call, ascending; the caller is going to write them to the file. */
  takeDirty(): number[] {
    if (this.#dirty.size === 0) return []
    const dirty = [...this.#dirty].sort(ascending)
    for (const page of dirty) this.#slot(page)!.dirty = false
    this.#dirty.clear()
    return dirty
  }

  /** Counts pages that {@link takeDirty} answered, and that could not be written, as changed again. */
  putBack(pages: readonly number[]): void {
    for (const page of pages) {
      const slot = this.#slot(page)
      if (slot === undefined) continue
      slot.dirty = true
      this.#dirty.add(page)
    }
  }

  /** A stage over these pages: changes made in it are invisible here until {@link adopt}. One is open at a time, the last. */
  stage(): PageStage {
    this.#stage = this.draft()
    return this.#stage
  }

  /** As {@link stage}, to be looked at and dropped: the stage that is open stays so, and is told of what is changed here. */
  draft(): PageStage {
    return new PageStage(
      this,
      (page) => this.#slotToKeep(page),
      (bytes) => this.#copy(bytes)
    )
  }

  /**
   * Makes a change that was just made here in the stage that is open as well, if there is one: `change` is to do the
   * same there. Pages of the stage that differ now from what was perhaps written, those with an index byte that follows from the change
   * among them, stay dirty when it is adopted.
   */
  mirror(change: (stage: PageStage) => void): void {
    this.#stage?.repeat(change)
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const copy = this.#spare.pop() ?? b4a.allocUnsafeSlow(this.pageSize)
    copy.set(bytes)
    return copy
  }

  /**
   * Makes the pages of a stage the committed ones, without copying. They count as written: the stage's owner
   * has written them to the file. The stage must not be used afterwards.
   *
   * While a stage is open nobody else may change the pages it copied. A stage for which this does not hold is
   * refused as a whole (a plain Error: it is a mistake of the caller, who would lose the other change).
   */
  adopt(stage: PageStage): void {
    const staged = stage.staged()
    for (const [page, { origin, version }] of staged) {
      const slot = this.#slot(page)
      if (slot !== origin || (slot !== undefined && slot.version !== version)) {
        throw new Error(`Page ${page} of the bitfield was changed while it was staged`)
      }
    }
    for (const [page, { bytes, late }] of staged) {
      const slot = this.#slot(page)
      // It may have become clean while the page was staged: a chunk that nobody had yet when the page was copied.
      this.#keepChunkOf(page)
      if (slot === undefined || slot.shared) this.#putNew(page, bytes, late)
      else {
        if (slot.bytes !== null && this.#spare.length < MAX_SPARE) this.#spare.push(slot.bytes)
        slot.bytes = bytes
        slot.packed = null
        slot.dirty = late
        slot.used = true
        slot.version++
        this.#mayBePacked(slot)
      }
      if (late) this.#dirty.add(page)
      else this.#dirty.delete(page)
    }
    if (this.#stage === stage) this.#stage = null
    if (stage.length > this.#length) this.#length = stage.length
    if (stage.dataBytes > this.dataBytes) this.dataBytes = stage.dataBytes
    if (stage.treeBytes > this.treeBytes) this.treeBytes = stage.treeBytes
  }

  /** Forgets everything, as for a file without pages. Open stages that copied a page can no longer be adopted. */
  clear(): void {
    this.#chunks.clear()
    this.#recentChunk = []
    this.#recentChunkNumber = -1
    this.#dirty.clear()
    this.#unpacked.clear()
    this.#source = null
    this.#clean.clear()
    this.#lastShared = null
    this.#lastLoaded = null
    this.#length = 0
    this.dataBytes = 0
    this.treeBytes = 0
  }

  #slot(page: number): Slot | undefined {
    const at = page & (CHUNK_PAGES - 1)
    const number = (page - at) / CHUNK_PAGES
    if (number === this.#recentChunkNumber) return this.#recentChunk[at]
    const chunk = this.#chunks.get(number) ?? this.#chunkFromSource(number)
    if (chunk === undefined) return undefined
    this.#recentChunkNumber = number
    this.#recentChunk = chunk
    return chunk[at]
  }

  #chunkFromSource(number: number): Chunk | undefined {
    const bits = this.#source?.bitsOf(number) ?? null
    if (bits === null) return undefined
    const chunk = new Array<Slot | undefined>(CHUNK_PAGES)
    let last = this.#lastShared
    let own = 0
    for (let at = 0; at * INDEX_OFFSET < bits.byteLength; at++) {
      const part = bits.subarray(at * INDEX_OFFSET, (at + 1) * INDEX_OFFSET)
      if (b4a.equals(part, NO_BITS)) continue
      if (last !== null && b4a.equals(last.bytes!.subarray(0, INDEX_OFFSET), part)) {
        last.shared = true
        this.#lastShared = last
      } else {
        const bytes = b4a.alloc(this.pageSize)
        bytes.set(part)
        last = { bytes, packed: null, shared: false, dirty: false, version: 0, used: true, whole: false }
        own++
      }
      chunk[at] = last
    }
    this.#chunks.set(number, chunk)
    // Also without pages of its own it takes memory.
    this.#clean.add(number, Math.max(own, 1))
    return chunk
  }

  #wasUsed(number: number): boolean {
    let used = false
    for (const slot of this.#chunks.get(number)!) {
      // One that is in several chunks keeps none of them.
      if (slot === undefined || slot.shared || !slot.used) continue
      slot.used = false
      used = true
    }
    return used
  }

  /** A chunk is going to differ from the source: it stays in memory. */
  #keepChunkOf(page: number): void {
    if (this.#source === null) return
    const number = (page - (page & (CHUNK_PAGES - 1))) / CHUNK_PAGES
    if (!this.#clean.remove(number)) return
    for (const slot of this.#chunks.get(number)!)
      if (slot !== undefined && !slot.shared) this.#mayBePacked(slot)
  }

  /** A page with its index bytes, which are as they are in the file. */
  #wholeSlot(page: number): Slot | undefined {
    const slot = this.#slot(page)
    const source = this.#source
    if (source === null || slot?.whole === true || page >= source.stored) return slot
    const stored = source.storedPage(page)
    if (stored === null) return slot
    const bits = slot === undefined ? NO_BITS : (slot.bytes ?? this.#unpack(slot)).subarray(0, INDEX_OFFSET)
    // Then it is written with the next operation, as a whole.
    const differs = !b4a.equals(stored.subarray(0, INDEX_OFFSET), bits)
    let mine = slot
    if (mine === undefined || mine.shared) {
      const bytes = b4a.alloc(this.pageSize)
      bytes.set(bits)
      mine = { bytes, packed: null, shared: false, dirty: false, version: 0, used: true, whole: true }
      this.#putClean(page, mine)
    }
    mine.bytes!.set(stored.subarray(INDEX_OFFSET), INDEX_OFFSET)
    mine.whole = true
    if (differs && !source.exact) for (let i = 0; i < INDEX_OFFSET; i++) mine.bytes![i]! |= stored[i]!
    if (differs) {
      this.#keepChunkOf(page)
      mine.dirty = true
      this.#dirty.add(page)
    }
    return mine
  }

  /** A page that somebody is about to change, or to change a copy of. */
  #slotToKeep(page: number): Slot | undefined {
    const slot = this.#wholeSlot(page)
    this.#keepChunkOf(page)
    return slot
  }

  /** Puts a page that the source has into its chunk. */
  #putClean(page: number, slot: Slot): void {
    const number = (page - (page & (CHUNK_PAGES - 1))) / CHUNK_PAGES
    const kept = this.#chunks.has(number) && !this.#clean.has(number)
    this.#put(page, slot)
    if (kept) this.#mayBePacked(slot)
    else this.#clean.add(number, 1)
  }

  #put(page: number, slot: Slot): void {
    const at = page & (CHUNK_PAGES - 1)
    const number = (page - at) / CHUNK_PAGES
    let chunk = this.#chunks.get(number)
    if (chunk === undefined) {
      chunk = new Array<Slot | undefined>(CHUNK_PAGES)
      this.#chunks.set(number, chunk)
    }
    chunk[at] = slot
  }

  #putNew(page: number, bytes: Uint8Array, dirty: boolean): Slot {
    const slot: Slot = { bytes, packed: null, shared: false, dirty, version: 0, used: true, whole: true }
    this.#put(page, slot)
    this.#mayBePacked(slot)
    return slot
  }

  /** A slot has bytes of its own: if there are too many of those, others are packed. */
  #mayBePacked(slot: Slot): void {
    this.#unpacked.add(slot)
    if (this.#unpacked.size <= this.#mostUnpacked) return
    // A few each time, so that it costs little where nothing can be packed. What goes to the end is met again.
    let turns = LOOKS
    for (const one of this.#unpacked) {
      if (turns-- === 0 || this.#unpacked.size <= this.#mostUnpacked) return
      this.#unpacked.delete(one)
      // What is dirty is about to be written; and nobody may lose what was just made for them.
      if (one.used || one.dirty || one === slot) {
        one.used = false
        this.#unpacked.add(one)
      } else pack(one)
    }
  }

  #unpack(slot: Slot): Uint8Array {
    const bytes = b4a.alloc(this.pageSize)
    for (const packed of slot.packed!) bytes[packed >> 8] = packed & 255
    slot.bytes = bytes
    slot.packed = null
    slot.used = true
    this.#mayBePacked(slot)
    return bytes
  }
}

function ascending(a: number, b: number): number {
  return a - b
}

/** Packs a page if that pays; otherwise it stays as it is until it is changed. */
function pack(slot: Slot): void {
  const packed: number[] = []
  const { bytes } = slot
  for (let i = 0; i < bytes!.length; i++) {
    const byte = bytes![i]!
    if (byte === 0) continue
    if (packed.length === MOST_PACKED) return
    packed.push(256 * i + byte)
  }
  // A copy has no room to grow.
  slot.packed = packed.slice()
  slot.bytes = null
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}
