/** Changes of pages that are not the committed ones yet. */
import b4a from 'b4a'
import { argumentRangeError } from '../errors.ts'
import { DATA_BYTES, INDEX_OFFSET, PAGE_SIZE, type PageAccess } from './page-format.ts'
import type { Pages, Slot } from './pages.ts'

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
  late: boolean
  readonly touched: Touched
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
  // The page that was asked for last, if it is staged: one bit after the other is mostly in the same.
  #recent = -1
  #recentPage: StagedPage | undefined
  // A change from below is being made here: what is written then may come after the stage was written to the file.
  #repeating = false

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
    const staged = this.#find(page)
    return staged === undefined ? this.#base.read(page) : staged.bytes
  }

  /** What of a changed page may differ from the page below; null for a page this stage did not change. */
  touched(page: number): Touched | null {
    return this.#staged.get(page)?.touched ?? null
  }

  write(page: number, from: number, to: number): Uint8Array {
    const staged = this.#find(page)
    if (staged !== undefined) {
      staged.touched.add(from, to)
      staged.late ||= this.#repeating
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
    const version = origin?.version ?? 0
    this.#staged.set(page, { bytes, origin, version, late: this.#repeating, touched })
    return bytes
  }

  whole(page: number): Uint8Array | null {
    const staged = this.#find(page)
    return staged === undefined ? this.#base.whole(page) : staged.bytes
  }

  #find(page: number): StagedPage | undefined {
    if (page === this.#recent) return this.#recentPage
    const staged = this.#staged.get(page)
    if (staged !== undefined) {
      this.#recent = page
      this.#recentPage = staged
    }
    return staged
  }

  /** @internal for {@link Pages.mirror}: makes a change here that was made below. */
  repeat(change: (stage: PageStage) => void): void {
    this.#repeating = true
    try {
      change(this)
    } finally {
      this.#repeating = false
    }
    this.#follow()
  }

  /** Takes pages that were changed below, and here alike, for current. */
  #follow(): void {
    this.#recent = -1
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
