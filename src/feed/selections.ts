import { DDatabaseError } from '../errors.ts'
import type { Wanted } from '../replication/source.ts'
import { onAbort } from '../util/abort.ts'
import { type Callback, type Deferred, deferred, settle } from '../util/callback.ts'
import type { Core } from './core.ts'
import { type Counted, type DownloadProgress, Rate } from './progress.ts'

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
  /** Ends the download with `ECANCELED`, at once, and takes its requests back. Not part of the selection. */
  signal?: AbortSignal | null | undefined
}

/** What a selection needs of its feed. */
export interface SelectionOwner {
  /** Ends the download. */
  undownload(selection: Selection): void
  /** How much of it is here. */
  count(selection: Selection): Promise<Counted>
}

/**
 * A download under way: the selected range as plain properties (so that it can be spread, as callers do), and a
 * thenable that settles when everything selected is here. Its promise is made only when somebody asks. What else it
 * can do is on the prototype or private, and does not spread.
 */
export class Selection implements PromiseLike<void>, Wanted {
  /** First block. */
  start: number
  /** One past the last block, −1 for an open end. */
  end: number
  /** In order, not at random. */
  linear: boolean
  /** These blocks only; null for the whole range. */
  blocks: readonly number[] | null
  /** Hashes only. */
  hash: boolean
  #answer: Deferred<void> | null = null
  #outcome: { error: Error | undefined } | null = null
  // It had no end when it was asked for.
  readonly #open: boolean
  // Everything before this place (a block number, or a position in `blocks`) was seen to be here.
  #cursor: number
  readonly #owner: SelectionOwner | null
  #rate: Rate | null = null
  #forgetSignal: (() => void) | null = null

  /** @internal */
  constructor(range: DownloadRange, owner: SelectionOwner | null, callback?: Callback | null) {
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
    this.#owner = owner
    if (callback) settle(this.#promise(), callback)
  }

  /** Settles when everything selected is here, or the download was ended. Errors: `ECANCELED`, `ERR_FEED_CLOSED`, `ERR_STORAGE`. */
  // biome-ignore lint/suspicious/noThenProperty: awaiting a download is the point
  then<A = void, B = never>(
    // biome-ignore lint/suspicious/noConfusingVoidType: the value of a PromiseLike<void>
    onfulfilled?: ((value: void) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    return this.#promise().then(onfulfilled, onrejected)
  }

  /** Ends the download with `ECANCELED`, as `feed.undownload(selection)` does; harmless when it has ended. */
  cancel(): void {
    this.#owner?.undownload(this)
  }

  /**
   * How much of it is here, counted when it is asked; also after its end.
   * Errors: `ERR_FEED_CLOSED`, `ERR_STORAGE`, why opening failed.
   */
  async progress(): Promise<DownloadProgress> {
    if (this.#owner === null) throw new DDatabaseError('ERR_FEED_CLOSED')
    const counted = await this.#owner.count(this)
    this.#rate ??= new Rate()
    return this.#rate.of(counted, performance.now())
  }

  /** Lets a signal end the download: `end` is called if it does, before the download has ended otherwise. @internal */
  endBy(signal: AbortSignal, end: (error: DDatabaseError) => void): void {
    this.#forgetSignal = onAbort(signal, end, 'ECANCELED')
  }

  /** Everything before this place (a block, or a position in `blocks`) is here. @internal */
  get from(): number {
    return this.#cursor
  }

  /** It is known now that the feed has `length` blocks, and no peer has more. @internal */
  endAt(length: number): void {
    if (this.#open) this.end = Math.max(length, this.start)
  }

  /** Ends the download, well or with an error. @internal */
  finish(error?: Error): void {
    this.#outcome ??= { error }
    this.#forgetSignal?.()
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

  /** Whether everything selected is here. An open end never is. Looks only at what was missing the last time. @internal */
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

  /** Whether a block, or its hash if only hashes are selected, is here. */
  has(core: Core, block: number): boolean {
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
   * Ends a download with `ECANCELED`, or `error`: this one, or else the first one with the same range. Callers pass copies.
   * @returns whether there was one
   */
  cancel(range: DownloadRange, error: DDatabaseError = new DDatabaseError('ECANCELED')): boolean {
    let at = this.list.indexOf(range as Selection)
    // A selection that has ended stands for no other one.
    if (at === -1 && range instanceof Selection) return false
    if (at === -1) {
      const wanted = new Selection(range, null)
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
    selection!.finish(error)
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
