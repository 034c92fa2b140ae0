import b4a from 'b4a'
import type { PageStage, Pages, Touched } from '../bitfield/pages.ts'
import { HEADER_SIZE } from './layout.ts'
import type { Pace } from './pace.ts'
import type { StorageFile } from './random-access.ts'

/** Most pages read or written in one call. */
const MAX_PAGES = 32

// Most pages written in one go. There may be any number: of blocks from all over a large feed, and those that the application has changed behind a stage.
const MOST_AT_ONCE = 16

/**
 * The pages of the `bitfield` file (spec FORMAT §5.2). Of a page that the file has, only what changed is written: an append
 * changes some twelve bytes of it.
 */
export class BitfieldFile {
  private readonly file: StorageFile
  private readonly pages: Pages
  // Pages changed behind a stage that are written along with it.
  private behind: readonly number[] = []
  // The last stage that was written.
  private written: PageStage | null = null
  // Pages before this one are wholly in the file, or a hole in it, and as they were committed …
  private whole: number
  // … but these, which became the committed ones without having been written.
  private readonly unwritten = new Set<number>()

  constructor(file: StorageFile, pages: Pages) {
    this.file = file
    this.pages = pages
    // The file may end within its last page.
    this.whole = Math.max(0, pages.length - 1)
  }

  /**
   * Writes the pages that `stage` changed, and those changed behind it; what changed of a page is one write.
   * @param pace - says which are made at once; null: none
   */
  async write(stage: PageStage, pace: Pace | null): Promise<void> {
    const dirty = this.takeDirty(stage)
    for (const [page, bytes] of this.runs(dirty, (page) => stage.read(page))) {
      const touched = bytes.length === this.pages.pageSize ? this.touchedOnly(stage, page) : null
      const { start, end } = touched ?? { start: 0, end: bytes.length }
      const position = this.position(page) + start
      const part = bytes.subarray(start, end)
      const turn = pace?.turnFor(part.length) ?? null
      if (turn !== null) await turn
      if (!(pace?.allows(part.length) && this.file.writeSync(position, part))) await this.put(position, part)
    }
    this.wrote(stage, dirty)
  }

  /**
   * As {@link write}, in one go, if there are few pages and the storage can do it now; else false, and `write` has to follow. Blocks
   * fetched at random change bits all over the feed: through the thread pool one page after the other would take longer than all the rest.
   *
   * @param inParts - a page may be written in parts: the bits of blocks first, those of nodes last. A process that dies in
   * between has written blocks that do not count yet, as their nodes do not. Not for what makes the feed shorter
   */
  writeSync(stage: PageStage, pace: Pace, inParts: boolean): boolean {
    const dirty = this.takeDirty(stage)
    let done = dirty.length <= MOST_AT_ONCE && pace.allows(0, dirty.length)
    try {
      done &&= dirty.every((page) => this.writePageSync(stage, page, inParts))
    } finally {
      if (!done) this.putBack()
    }
    if (done) this.wrote(stage, dirty)
    return done
  }

  /** The pages that {@link write} writes, in no order. */
  toWrite(stage: PageStage): readonly number[] {
    const { dirty } = this.pages
    return dirty.length === 0 ? stage.dirty : [...stage.dirty, ...dirty]
  }

  /** Makes a stage the committed state. Pages that were changed since it was written stay dirty. */
  adopt(stage: PageStage): void {
    this.pages.adopt(stage)
    this.behind = []
    if (this.written !== stage) for (const page of stage.dirty) this.unwritten.add(page)
    this.written = null
  }

  /** Pages of which the file does not have what was committed, in no order. */
  get unsettled(): readonly number[] {
    return [...this.unwritten, ...this.pages.dirty]
  }

  /** Puts the committed content back where writing `stage` failed half way. */
  async restore(stage: PageStage): Promise<void> {
    this.putBack()
    for (const [page, bytes] of this.runs(stage.dirty, (page) => this.pages.read(page))) {
      await this.put(this.position(page), bytes)
    }
  }

  /** The memory of a page is used again for others: no storage may go on to refer to it. */
  private put(position: number, bytes: Uint8Array): Promise<void> {
    return this.file.write(position, this.file.keepsNothing ? bytes : b4a.from(bytes))
  }

  /** What of a page may differ from the file; null if more may than the stage has touched. */
  private touchedOnly(stage: PageStage, page: number): Touched | null {
    if (page >= this.whole || this.unwritten.has(page) || this.behind.includes(page)) return null
    return stage.touched(page)
  }

  private writePageSync(stage: PageStage, page: number, inParts: boolean): boolean {
    const bytes = this.bytesOf(stage.read(page))
    const touched = inParts ? this.touchedOnly(stage, page) : null
    if (touched === null) return this.file.writeSync(this.position(page), bytes)
    return (
      this.writePartSync(page, bytes, touched.dataStart, touched.dataEnd) &&
      this.writePartSync(page, bytes, touched.indexStart, touched.indexEnd) &&
      this.writePartSync(page, bytes, touched.treeStart, touched.treeEnd)
    )
  }

  private writePartSync(page: number, bytes: Uint8Array, start: number, end: number): boolean {
    return start >= end || this.file.writeSync(this.position(page) + start, bytes.subarray(start, end))
  }

  private wrote(stage: PageStage, dirty: readonly number[]): void {
    this.written = stage
    const last = dirty[dirty.length - 1]
    if (last !== undefined && last >= this.whole) this.whole = last + 1
    if (this.unwritten.size > 0) for (const page of dirty) this.unwritten.delete(page)
  }

  /** The pages to write. Those that are changed from now on have to be written again. */
  private takeDirty(stage: PageStage): readonly number[] {
    this.putBack()
    this.behind = this.pages.takeDirty()
    if (this.behind.length === 0) return stage.dirty
    return [...new Set([...stage.dirty, ...this.behind])].sort((a, b) => a - b)
  }

  private putBack(): void {
    if (this.behind.length > 0) this.pages.putBack(this.behind)
    this.behind = []
  }

  private position(page: number): number {
    return HEADER_SIZE + page * this.pages.pageSize
  }

  private bytesOf(page: Uint8Array | null): Uint8Array {
    return page ?? b4a.alloc(this.pages.pageSize)
  }

  /** Adjacent pages as pieces of up to {@link MAX_PAGES} pages. */
  private *runs(
    pages: readonly number[],
    read: (page: number) => Uint8Array | null
  ): Generator<[number, Uint8Array]> {
    for (let i = 0; i < pages.length; ) {
      const first = pages[i]!
      const run: Uint8Array[] = []
      while (i < pages.length && pages[i] === first + run.length && run.length < MAX_PAGES) {
        run.push(this.bytesOf(read(first + run.length)))
        i++
      }
      yield [first, run.length === 1 ? run[0]! : b4a.concat(run)]
    }
  }
}
