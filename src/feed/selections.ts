import { DDatabaseError } from '../errors.ts'
import type { Wanted } from '../replication/source.ts'
import { onAbort } from '../util/abort.ts'
import { BitPages } from '../util/bit-pages.ts'
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
    this.linear = !!range.linear
    this.blocks = blocks
    this.hash = !!range.hash
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
    // biome-ignore lint/suspicious/noExplicitAny: as every promise has it
    onrejected?: ((reason: any) => B | PromiseLike<B>) | null
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

  /** There may be more than is known. @internal */
  reopen(): void {
    if (this.#open) this.end = -1
  }

  /** Whether it had no end when it was asked for. @internal */
  get isOpen(): boolean {
    return this.#open
  }

  /** The first block that is missing, as far as it is known. @internal */
  get missing(): number {
    return this.blocks === null ? this.#cursor : this.blocks[this.#cursor]!
  }

  /** Whether nothing would be missing if an open end were at `length`. @internal */
  isWithin(core: Core, length: number, cleared: BitPages | null): boolean {
    let at = this.#cursor
    if (!this.hash) return at >= length || firstWanted(core, at, length, cleared) === -1
    while (at < length && this.has(core, at)) at++
    return at >= length
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
  isComplete(core: Core, cleared: BitPages | null): boolean {
    const { blocks } = this
    if (blocks !== null) {
      const has = (block: number): boolean =>
        this.has(core, block) || (!this.hash && cleared?.has(block) === true)
      while (this.#cursor < blocks.length && has(blocks[this.#cursor]!)) this.#cursor++
      return this.#cursor >= blocks.length
    }
    const end = this.end < 0 ? core.length : this.end
    if (!this.hash) {
      if (this.#cursor < end) {
        const missing = firstWanted(core, this.#cursor, end, cleared)
        this.#cursor = missing === -1 ? end : missing
      }
    } else {
      while (this.#cursor < end && this.has(core, this.#cursor)) this.#cursor++
    }
    return this.end >= 0 && this.#cursor >= end
  }

  /** Blocks may have gone: look at all of them again. @internal */
  rewind(): void {
    this.#cursor = this.blocks === null ? this.start : 0
  }

  /** Whether a block, or its hash if only hashes are selected, is here. @internal */
  has(core: Core, block: number): boolean {
    return this.hash ? core.tree.get(2 * block) : core.bits.get(block)
  }
}

/**
 * The downloads of a feed, in the order in which they were asked for. Each is found by the first block that it lacks: storing
 * another one costs it nothing.
 */
export class Selections {
  private readonly list = new Set<Selection>()
  private readonly ofHashes = new Set<Selection>()
  private readonly byMissing = new Map<number, Set<Selection>>()
  #cleared: BitPages | null = null

  /**
   * Blocks that the application has cleared while peers were there: downloads of before are through with them, or they would be fetched,
   * and cleared, for ever. Null if there are none.
   */
  get cleared(): BitPages | null {
    return this.#cleared
  }

  /** The application has cleared these blocks, which were here. */
  clear(runs: readonly (readonly [number, number])[]): void {
    if (this.list.size === 0) return
    this.#cleared ??= new BitPages()
    for (const [start, end] of runs) this.#cleared.addRange(start, end)
  }

  /** What was cleared is to be fetched again. */
  forgetCleared(core: Core): void {
    if (this.#cleared === null) return
    this.#cleared = null
    this.rewind(core)
  }

  /** Adds a download; if the feed is open, it ends at once if all of it is here. @returns whether it goes on */
  add(selection: Selection, core: Core | null): boolean {
    this.list.add(selection)
    if (!selection.hash) this.askAgain(selection)
    if (selection.hash) this.ofHashes.add(selection)
    if (core !== null) this.place(core, selection)
    return this.list.has(selection)
  }

  [Symbol.iterator](): IterableIterator<Selection> {
    return this.list[Symbol.iterator]()
  }

  /** Whether everything that there will be is to be downloaded. */
  get hasWhole(): boolean {
    for (const selection of this.list) if (selection.isOpen && selection.start === 0) return true
    return false
  }

  /** How many there are: tests of modules ask a feed's `_selections` for it, which is an array in the published packages. */
  get length(): number {
    return this.list.size
  }

  /** Open ends are at `length` now, as far as is known. */
  endAt(core: Core, length: number): void {
    for (const selection of this.list) {
      if (!selection.isOpen || selection.end === length) continue
      selection.endAt(length)
      this.place(core, selection)
    }
  }

  /** Open ends are open again. */
  reopen(): void {
    for (const selection of this.list) selection.reopen()
  }

  /** Whether nothing would be missing if open ends were at `length`. */
  areWithin(core: Core, length: number): boolean {
    for (const selection of this.list) {
      // What has an end and is still here is not complete.
      if (!selection.isOpen || !selection.isWithin(core, length, this.#cleared)) return false
    }
    return true
  }

  /** What a download asks for counts as wanted, whatever was cleared before. */
  private askAgain({ blocks, start, end }: Selection): void {
    if (this.#cleared === null) return
    if (blocks !== null) for (const block of blocks) this.#cleared.delete(block)
    else this.#cleared.deleteRange(start, end === -1 ? Number.POSITIVE_INFINITY : end)
  }

  /** Blocks `start` … `end` − 1, or their hashes, are here now: answers the downloads that are complete by that. */
  stored(core: Core, start: number, end: number): void {
    if (this.list.size === 0) return
    if (this.#cleared !== null) for (let block = start; block < end; block++) this.#cleared.delete(block)
    if (end - start > this.byMissing.size) {
      this.check(core)
      return
    }
    // A block comes with hashes of others.
    this.hashesStored(core)
    for (let block = start; block < end; block++) {
      const lacking = this.byMissing.get(block)
      if (lacking !== undefined) for (const selection of [...lacking]) this.place(core, selection)
    }
  }

  /** Hashes are here now: answers the downloads that are complete by that. */
  hashesStored(core: Core): void {
    for (const selection of this.ofHashes) this.place(core, selection)
  }

  /** Answers the downloads that are complete. */
  check(core: Core): void {
    for (const selection of [...this.list]) this.place(core, selection)
  }

  /** Blocks went away. */
  rewind(core: Core): void {
    this.byMissing.clear()
    for (const selection of this.list) selection.rewind()
    this.check(core)
  }

  /**
   * Ends a download with `ECANCELED`, or `error`: this one, or else the first one with the same range. Callers pass copies.
   * @returns whether there was one
   */
  cancel(range: DownloadRange, error: DDatabaseError = new DDatabaseError('ECANCELED')): boolean {
    const selection = this.find(range)
    if (selection === undefined) return false
    this.remove(selection)
    selection.finish(error)
    return true
  }

  private find(range: DownloadRange): Selection | undefined {
    if (range instanceof Selection) {
      // A selection that has ended stands for no other one.
      return this.list.has(range) ? range : undefined
    }
    const wanted = new Selection(range, null)
    for (const selection of this.list) {
      const same =
        selection.start === wanted.start &&
        selection.end === wanted.end &&
        selection.hash === wanted.hash &&
        selection.linear === wanted.linear
      if (same) return selection
    }
    return undefined
  }

  /** Ends the downloads that lie within `start` … `end` − 1. */
  cancelRange(start: number, end: number): void {
    for (const selection of [...this.list]) {
      if (start <= selection.start && selection.end > -1 && selection.end <= end) this.cancel(selection)
    }
  }

  /** Ends all downloads with `error`. */
  failAll(error: Error): void {
    for (const selection of [...this.list]) {
      this.remove(selection)
      selection.finish(error)
    }
  }

  /** Notes which block a download lacks first, or ends it if there is none. */
  private place(core: Core, selection: Selection): void {
    const before = selection.missing
    const complete = selection.isComplete(core, this.#cleared)
    const { missing } = selection
    if (complete || missing !== before) this.leave(before, selection)
    if (complete) {
      this.list.delete(selection)
      this.ofHashes.delete(selection)
      selection.finish()
      return
    }
    const lacking = this.byMissing.get(missing)
    if (lacking === undefined) this.byMissing.set(missing, new Set([selection]))
    else lacking.add(selection)
  }

  private remove(selection: Selection): void {
    this.list.delete(selection)
    this.ofHashes.delete(selection)
    this.leave(selection.missing, selection)
  }

  private leave(block: number, selection: Selection): void {
    const lacking = this.byMissing.get(block)
    if (lacking?.delete(selection) && lacking.size === 0) this.byMissing.delete(block)
  }
}

/** The first of blocks `start` … `end` − 1 that is neither here nor cleared, or −1. */
function firstWanted(core: Core, start: number, end: number, cleared: BitPages | null): number {
  let missing = core.bits.firstMissing(start, end)
  while (cleared !== null && missing !== -1) {
    const wanted = cleared.firstMissing(missing, end)
    if (wanted === missing || wanted === -1) return wanted
    missing = core.bits.firstMissing(wanted, end)
  }
  return missing
}
