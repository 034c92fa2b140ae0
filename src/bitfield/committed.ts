/** The committed bits, as the application may change them at any time: also while an operation is being written. */
import { Bitfield } from './bitfield.ts'
import type { Pages } from './pages.ts'
import { TreeBits } from './tree-bits.ts'

/** Data bits over the committed pages. What is changed here is changed in an open stage as well, and so survives it. */
export class CommittedBitfield extends Bitfield {
  readonly #pages: Pages

  constructor(pages: Pages) {
    super(pages)
    this.#pages = pages
  }

  override set(block: number, value: boolean): boolean {
    const changed = super.set(block, value)
    if (changed) this.#pages.mirror((stage) => new Bitfield(stage).repeat(block, value))
    return changed
  }

  override setRange(start: number, end: number, value: boolean): number {
    const changed = super.setRange(start, end, value)
    if (changed > 0) {
      this.#pages.mirror((stage) => {
        const bits = new Bitfield(stage)
        for (let block = start; block < end; block++) bits.repeat(block, value)
      })
    }
    return changed
  }
}

/** Tree bits over the committed pages, in the same way. */
export class CommittedTreeBits extends TreeBits {
  readonly #pages: Pages

  constructor(pages: Pages) {
    super(pages)
    this.#pages = pages
  }

  override set(treeIndex: number, value: boolean): boolean {
    const changed = super.set(treeIndex, value)
    if (changed) this.#pages.mirror((stage) => new TreeBits(stage).set(treeIndex, value))
    return changed
  }

  override setRange(start: number, end: number, value: boolean): void {
    super.setRange(start, end, value)
    this.#pages.mirror((stage) => new TreeBits(stage).setRange(start, end, value))
  }
}
