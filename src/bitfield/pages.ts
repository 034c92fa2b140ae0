/**
 * The pages of the `bitfield` file in memory (spec FORMAT §5.1). A page holds three bitfields:
 *
 * ```
 * bytes 0 … 1023      data bits    blocks 8192·p … 8192·p + 8191
 * bytes 1024 … 3071   tree bits    tree indexes 16384·p … 16384·p + 16383
 * bytes 3072 … end    index bytes  512 (page size 3584) or 256 (page size 3328)
 * ```
 *
 * The bit logic (`Bitfield`, `TreeBits`) keeps no state of its own: all of it is behind {@link PageAccess}, so
 * that the same logic runs over the committed pages and over a stage of them, and so that where pages come
 * from is decided in this file alone.
 */
import b4a from 'b4a'
import { argumentRangeError } from '../errors.ts'

/** Bytes of a page in files made today. */
export const PAGE_SIZE = 3584

/** Bytes of a page in files of older versions; the page size of an existing file is kept for good. */
export const LEGACY_PAGE_SIZE = 3328

/** Bytes of data bits at the start of a page. */
export const DATA_BYTES = 1024

/** Bytes of tree bits in a page, after the data bits. */
export const TREE_BYTES = 2048

/** Where the index bytes of a page start; they reach to its end. */
export const INDEX_OFFSET = DATA_BYTES + TREE_BYTES

/** Blocks of which a page holds the data bits. */
export const PAGE_BLOCKS = 8 * DATA_BYTES

/** Tree indexes of which a page holds the bits. */
export const PAGE_TREE_INDEXES = 8 * TREE_BYTES

/** What the bit logic needs of pages. */
export interface PageAccess {
  /** Bytes of a page. */
  readonly pageSize: number
  /** One more than the highest page ever touched; after loading, the number of pages in the file. */
  readonly length: number
  /** One more than the highest data byte that ever changed; after loading `length · 1024`. Only ever raised. */
  dataBytes: number
  /** One more than the highest tree byte that ever changed; after loading `length · 2048`. Only ever raised. */
  treeBytes: number
  /** The content of a page, null if it is all zero. Not to be changed, and not to be kept across a write. */
  read(page: number): Uint8Array | null
  /**
   * The content of a page for the caller to change at once, between the bytes `from` and `to` − 1 and on one side of the borders of its
   * three bitfields; from now on the page counts as changed.
   */
  write(page: number, from: number, to: number): Uint8Array
  /** Raises `length` to include `page`, without allocating it. */
  touch(page: number): void
}

/** A page in memory. */
interface Slot {
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

// Pages of a chunk, a power of two. A chunk with one page only should not take much more memory than that page when it is packed.
const CHUNK_PAGES = 32

// Arrays kept for the copies of the next stages.
const MAX_SPARE = 4

/** Where each of the three bitfields of a page was changed: bytes `…Start` … `…End` − 1, none if that is empty. */
export class Touched {
  dataStart = DATA_BYTES
  dataEnd = 0
  treeStart = INDEX_OFFSET
  treeEnd = 0
  indexStart = PAGE_SIZE
  indexEnd = 0

  add(from: number, to: number): void {
    if (from < DATA_BYTES) {
      if (from < this.dataStart) this.dataStart = from
      if (to > this.dataEnd) this.dataEnd = to
    } else if (from < INDEX_OFFSET) {
      if (from < this.treeStart) this.treeStart = from
      if (to > this.treeEnd) this.treeEnd = to
    } else {
      if (from < this.indexStart) this.indexStart = from
      if (to > this.indexEnd) this.indexEnd = to
    }
  }

  /** The first byte of all. */
  get start(): number {
    if (this.dataEnd > 0) return this.dataStart
    return this.treeEnd > 0 ? this.treeStart : this.indexStart
  }

  /** One past the last byte of all. */
  get end(): number {
    return Math.max(this.dataEnd, this.treeEnd, this.indexEnd)
  }
}

/** A page copied into a stage, and the page (in that version) it is a copy of. */
interface StagedPage {
  readonly bytes: Uint8Array
  readonly origin: Slot | undefined
  readonly version: number
  /** It was changed after it was perhaps written. */
  readonly late: boolean
  readonly touched: Touched
}

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

  // The last page that was loaded, which the next one may be equal to.
  #lastLoaded: Slot | null = null
  // Arrays of replaced pages, for the next stages: each commit copies a page or two, and would otherwise leave as
  // many behind as garbage.
  readonly #spare: Uint8Array[] = []

  /**
   * @param pageSize - bytes of a page, {@link PAGE_SIZE} or {@link LEGACY_PAGE_SIZE}
   * @param content - what to {@link load}
   * @param mostUnpacked - how many pages with few bits are kept as they are; more are packed
   */
  constructor(pageSize: number, content?: Uint8Array, mostUnpacked = MOST_UNPACKED) {
    this.pageSize = pageSize
    this.#mostUnpacked = mostUnpacked
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

  get length(): number {
    return this.#length
  }

  read(page: number): Uint8Array | null {
    const slot = this.#slot(page)
    if (slot === undefined) return null
    slot.used = true
    return slot.bytes ?? this.#unpack(slot)
  }

  write(page: number): Uint8Array {
    let slot = this.#slot(page)
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

  /** A stage over these pages: changes made in it are invisible here until {@link adopt}. */
  stage(): PageStage {
    this.#stage = new PageStage(
      this,
      (page) => this.#slot(page),
      (bytes) => this.#copy(bytes)
    )
    return this.#stage
  }

  /**
   * Makes a change that was just made here in the stage that is open as well, if there is one: `change` is to do the
   * same there. Pages of the stage that differ now from what was perhaps written stay dirty when it is adopted.
   */
  mirror(change: (stage: PageStage) => void): void {
    const stage = this.#stage
    if (stage === null) return
    change(stage)
    stage.follow()
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
    this.#lastLoaded = null
    this.#length = 0
    this.dataBytes = 0
    this.treeBytes = 0
  }

  #slot(page: number): Slot | undefined {
    const at = page & (CHUNK_PAGES - 1)
    const number = (page - at) / CHUNK_PAGES
    if (number === this.#recentChunkNumber) return this.#recentChunk[at]
    const chunk = this.#chunks.get(number)
    if (chunk === undefined) return undefined
    this.#recentChunkNumber = number
    this.#recentChunk = chunk
    return chunk[at]
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
    const slot: Slot = { bytes, packed: null, shared: false, dirty, version: 0, used: true }
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

/**
 * A copy-on-write overlay on {@link Pages}: what an operation is going to change, to be written to the file
 * first and made visible ({@link Pages.adopt}) only when that has succeeded. Dropping it undoes everything.
 * Costs a copy of each page it changes and nothing else.
 */
export class PageStage implements PageAccess {
  readonly pageSize: number
  dataBytes: number
  treeBytes: number
  #length: number
  #base: Pages
  #slotOf: (page: number) => Slot | undefined
  #copy: (bytes: Uint8Array) => Uint8Array
  #staged = new Map<number, StagedPage>()

  /** @internal use {@link Pages.stage} */
  constructor(
    base: Pages,
    slotOf: (page: number) => Slot | undefined,
    copy: (bytes: Uint8Array) => Uint8Array
  ) {
    this.#base = base
    this.#slotOf = slotOf
    this.#copy = copy
    this.#length = base.length
    this.pageSize = base.pageSize
    this.dataBytes = base.dataBytes
    this.treeBytes = base.treeBytes
  }

  get length(): number {
    return this.#length
  }

  /** The pages changed in this stage, ascending. */
  get dirty(): number[] {
    return [...this.#staged.keys()].sort(ascending)
  }

  /** The new content of a changed page. RangeError `ERR_OUT_OF_RANGE` for a page this stage did not change. */
  get(page: number): Uint8Array {
    const staged = this.#staged.get(page)
    if (staged === undefined) throw argumentRangeError(`Page ${page} is not in this stage`)
    return staged.bytes
  }

  read(page: number): Uint8Array | null {
    const staged = this.#staged.get(page)
    return staged === undefined ? this.#base.read(page) : staged.bytes
  }

  /** What of a changed page may differ from the page below; null for a page this stage did not change. */
  touched(page: number): Touched | null {
    return this.#staged.get(page)?.touched ?? null
  }

  write(page: number, from: number, to: number): Uint8Array {
    const staged = this.#staged.get(page)
    if (staged !== undefined) {
      staged.touched.add(from, to)
      return staged.bytes
    }
    const origin = this.#slotOf(page)
    let bytes: Uint8Array
    if (origin === undefined) {
      bytes = b4a.alloc(this.pageSize)
      this.touch(page)
    } else {
      bytes = this.#copy(this.#base.read(page)!)
    }
    const touched = new Touched()
    touched.add(from, to)
    this.#staged.set(page, { bytes, origin, version: origin?.version ?? 0, late: false, touched })
    return bytes
  }

  /** @internal for {@link Pages.mirror}: takes pages that were changed below, and here alike, for current. */
  follow(): void {
    for (const [page, { bytes, origin, version, touched }] of this.#staged) {
      const slot = this.#slotOf(page)
      if (slot === origin && (slot === undefined || slot.version === version)) continue
      this.#staged.set(page, { bytes, origin: slot, version: slot?.version ?? 0, late: true, touched })
    }
  }

  touch(page: number): void {
    if (page >= this.#length) this.#length = page + 1
  }

  /** @internal for {@link Pages.adopt} */
  staged(): ReadonlyMap<number, StagedPage> {
    return this.#staged
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
