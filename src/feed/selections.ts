import { DDatabaseError } from '../errors.ts'
import type { Wanted } from '../replication/source.ts'
import { type Callback, type Deferred, deferred, settle } from '../util/callback.ts'
import type { Core } from './core.ts'

/** A range or a list of blocks to download (spec API §5, `download`). */
export interface DownloadRange {
  /** First block. Default 0. */
  start?: number | undefined
  /** One past the last block; −1 (the default) for an open end. */
  end?: number | undefined
  /** In order, not at random. Default false. */
  linear?: boolean | undefined
  /** These blocks only. */
  blocks?: readonly number[] | null | undefined
  /** Hashes only, without the blocks. Default false. */
  hash?: boolean | undefined
}

/**
 * A download under way: the selected range as plain properties (so that it can be spread, as callers do), and a
 * thenable that settles when everything selected is here. Its promise is made only when somebody asks.
 */
export class Selection implements PromiseLike<void>, Wanted {
  start: number
  end: number
  linear: boolean
  blocks: readonly number[] | null
  hash: boolean
  #answer: Deferred<void> | null = null
  #outcome: { error: Error | undefined } | null = null
  // It had no end when it was asked for.
  readonly #open: boolean
  // Everything before this place (a block number, or a position in `blocks`) was seen to be here.
  #cursor: number

  constructor(range: DownloadRange, callback: Callback | undefined) {
    const blocks = range.blocks ?? null
    let { start, end } = range
    if (blocks !== null && start === undefined) {
      start = blocks.reduce((min, block) => Math.min(min, block), blocks[0] ?? 0)
      end = blocks.reduce((max, block) => Math.max(max, block + 1), 0)
    }
    this.start = start ?? 0
    this.end = end ?? -1
    this.linear = range.linear === true
    this.blocks = blocks
    this.hash = range.hash === true
    this.#open = this.end === -1 && blocks === null
    this.#cursor = blocks === null ? this.start : 0
    if (callback) settle(this.#promise(), callback)
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting a download is the point
  then<A = void, B = never>(
    // biome-ignore lint/suspicious/noConfusingVoidType: the value of a PromiseLike<void>
    onfulfilled?: ((value: void) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    return this.#promise().then(onfulfilled, onrejected)
  }

  /** Everything before this place (a block, or a position in `blocks`) is here. */
  get from(): number {
    return this.#cursor
  }

  /** It is known now that the feed has `length` blocks, and no peer has more. */
  endAt(length: number): void {
    if (this.#open) this.end = Math.max(length, this.start)
  }

  /** Ends the download, well or with an error. */
  finish(error?: Error): void {
    this.#outcome ??= { error }
    if (this.#answer !== null) this.#settle(this.#answer)
  }

  #promise(): Promise<void> {
    if (this.#answer === null) {
      this.#answer = deferred()
      this.#settle(this.#answer)
    }
    return this.#answer.promise
  }

  #settle(answer: Deferred<void>): void {
    if (this.#outcome === null) return
    if (this.#outcome.error === undefined) answer.resolve()
    else answer.reject(this.#outcome.error)
  }

  /** Whether everything selected is here. An open end never is. Looks only at what was missing the last time. */
  isComplete(core: Core): boolean {
    const { blocks } = this
    if (blocks !== null) {
      while (this.#cursor < blocks.length && this.has(core, blocks[this.#cursor]!)) this.#cursor++
      return this.#cursor >= blocks.length
    }
    if (this.end < 0) return false
    if (!this.hash) {
      if (this.#cursor < this.end) {
        const missing = core.bits.firstMissing(this.#cursor, this.end)
        this.#cursor = missing === -1 ? this.end : missing
      }
    } else {
      while (this.#cursor < this.end && this.has(core, this.#cursor)) this.#cursor++
    }
    return this.#cursor >= this.end
  }

  /** Blocks may have gone: look at all of them again. */
  rewind(): void {
    this.#cursor = this.blocks === null ? this.start : 0
  }

  private has(core: Core, block: number): boolean {
    return this.hash ? core.tree.get(2 * block) : core.bits.get(block)
  }
}

/** The downloads of a feed, in the order in which they were asked for. */
export class Selections {
  private readonly list: Selection[] = []

  add(selection: Selection): void {
    this.list.push(selection)
  }

  [Symbol.iterator](): IterableIterator<Selection> {
    return this.list[Symbol.iterator]()
  }

  /** Whether the first download has an open end. */
  get startsOpen(): boolean {
    return this.list[0]?.end === -1
  }

  /** Open ends are at `length` now. */
  endAt(length: number): void {
    for (const selection of this.list) selection.endAt(length)
  }

  /** Answers the downloads that are complete; whether any are left. */
  check(core: Core): boolean {
    for (let i = 0; i < this.list.length; i++) {
      const selection = this.list[i]!
      if (!selection.isComplete(core)) continue
      this.list.splice(i--, 1)
      selection.finish()
    }
    return this.list.length > 0
  }

  /** Blocks went away. */
  rewind(): void {
    for (const selection of this.list) selection.rewind()
  }

  /**
   * Ends a download with `ECANCELED`: this one, or else the first one with the same range. Callers pass copies.
   * @returns whether there was one
   */
  cancel(range: DownloadRange): boolean {
    let at = this.list.indexOf(range as Selection)
    // A selection that has ended stands for no other one.
    if (at === -1 && range instanceof Selection) return false
    if (at === -1) {
      const wanted = new Selection(range, undefined)
      at = this.list.findIndex(
        (selection) =>
          selection.start === wanted.start &&
          selection.end === wanted.end &&
          selection.hash === wanted.hash &&
          selection.linear === wanted.linear
      )
    }
    if (at === -1) return false
    const [selection] = this.list.splice(at, 1)
    selection!.finish(new DDatabaseError('ECANCELED'))
    return true
  }

  /** Ends the downloads that lie within `start` … `end` − 1. */
  cancelRange(start: number, end: number): void {
    for (const selection of [...this.list]) {
      if (start <= selection.start && selection.end > -1 && selection.end <= end) this.cancel(selection)
    }
  }

  /** Ends all downloads with `error`. */
  failAll(error: Error): void {
    for (const selection of this.list.splice(0)) selection.finish(error)
  }
}
