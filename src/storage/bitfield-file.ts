import b4a from 'b4a'
import type { PageStage, Pages } from '../bitfield/pages.ts'
import { HEADER_SIZE } from './layout.ts'
import type { StorageFile } from './random-access.ts'

/** Most pages read or written in one call. */
const MAX_PAGES = 32

/** The pages of the `bitfield` file (spec FORMAT §5.2). A page is always written whole. */
export class BitfieldFile {
  private readonly file: StorageFile
  private readonly pages: Pages
  // Pages changed behind a stage that are written along with it.
  private behind: readonly number[] = []

  constructor(file: StorageFile, pages: Pages) {
    this.file = file
    this.pages = pages
  }

  /** Writes the pages that `stage` changed, and those changed behind it. */
  async write(stage: PageStage): Promise<void> {
    for (const [page, bytes] of this.runs(this.takeDirty(stage), (page) => stage.read(page))) {
      await this.file.write(this.position(page), bytes)
    }
  }

  /**
   * As {@link write}, at once, if `allowed` and the storage can do it now; else false and nothing is changed.
   * A change of a single page is the only one worth it.
   */
  writeSync(stage: PageStage, allowed: boolean): boolean {
    if (!allowed) return false
    const dirty = this.takeDirty(stage)
    const page = dirty[0]
    let done = dirty.length <= 1
    try {
      if (done && page !== undefined) {
        done = this.file.writeSync(this.position(page), this.bytesOf(stage.read(page)))
      }
    } finally {
      if (!done) this.putBack()
    }
    return done
  }

  /** Makes a stage that is written the committed state. Pages that were changed since it was written stay dirty. */
  adopt(stage: PageStage): void {
    this.pages.adopt(stage)
    this.behind = []
  }

  /** Puts the committed content back where writing `stage` failed half way. */
  async restore(stage: PageStage): Promise<void> {
    this.putBack()
    for (const [page, bytes] of this.runs(stage.dirty, (page) => this.pages.read(page))) {
      await this.file.write(this.position(page), bytes)
    }
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
