import { isGiven } from '../util/given.ts'
import { checkIndex, checkOptions, checkTimeout } from './options.ts'

/** Options of `createReadStream` and `toWeb`. `E` is the encoding, if the call has one of its own. */
export interface ReadStreamOptions<E = undefined> {
  /** First block. Default 0. */
  start?: number | undefined
  /** One past the last block. Default: the length when the stream opens. */
  end?: number | undefined
  /** Never end: go on with the blocks that are appended later. Default false. */
  live?: boolean | undefined
  /** false: end where the feed ends when the stream gets there, not where it ended at the start. Default true. */
  snapshot?: boolean | undefined
  /** Start at the length that the feed has when the stream opens. Default false. */
  tail?: boolean | undefined
  /** Wait for blocks that are not here. Default true. */
  wait?: boolean | undefined
  /** Fail when no peer has the next block. Default false, whatever the option of the feed says. */
  ifAvailable?: boolean | undefined
  /** Milliseconds to wait for a block. */
  timeout?: number | undefined
  /** Most blocks read at once. Default 64. */
  batch?: number | undefined
  /** Decode with this instead of the feed's encoding. */
  valueEncoding?: E | undefined
}

/** What reading in order needs of the feed. */
export interface BlockSource<T> {
  readonly length: number
  ready(): Promise<void>
  /** The value of a block, waiting for it; `cancel` in the options is what {@link cancel} knows the call by. */
  get(index: number, options: object): Promise<T>
  /** Values of a run of blocks from `index` that are here already: up to `limit`, at most `count`. Empty: not here. */
  readRun(index: number, limit: number, count: number): Promise<T[]>
  cancel(token: unknown): void
}

const DEFAULT_BATCH = 64

/**
 * The values of a range of blocks in order, for streams and iterators. Blocks that are here are read in runs; the
 * first one that is not is waited for.
 */
export class BlockSequence<T> {
  /** The block that comes next. */
  index: number
  private readonly source: BlockSource<T>
  private readonly options: ReadStreamOptions<unknown>
  private readonly batch: number
  private readonly token = Symbol('read stream')
  private end: number
  private opened = false
  private cancelled = false

  /** Throws TypeError or RangeError. */
  constructor(source: BlockSource<T>, given: ReadStreamOptions<unknown> | null | undefined) {
    const options = checkOptions(given)
    const { start, end, batch } = options
    this.source = source
    this.options = options
    this.index = isGiven(start) ? checkIndex(start, 'start') : 0
    // −1: wherever the feed ends when the stream gets there.
    this.end = isGiven(end) && end !== -1 ? checkEnd(end) : -1
    this.batch = isGiven(batch) ? Math.max(1, checkIndex(batch, 'batch')) : DEFAULT_BATCH
    checkTimeout(options.timeout)
  }

  /** Waits for the feed and fixes the ends that depend on its length. */
  async open(): Promise<void> {
    await this.source.ready()
    if (this.opened) return
    const { live, snapshot, tail } = this.options
    if (this.end === -1) {
      if (live) this.end = Number.POSITIVE_INFINITY
      else if (snapshot !== false) this.end = this.source.length
    }
    if (tail) this.index = this.source.length
    this.opened = true
  }

  /** The next values: at least one, none at the end or when it was cancelled. Not to be called twice at a time. */
  async read(): Promise<T[]> {
    if (!this.opened) await this.open()
    const limit = this.end === -1 ? this.source.length : this.end
    if (this.cancelled || this.index >= limit) return []
    const values = await this.source.readRun(this.index, limit, this.batch)
    // From here on `cancel` finds the call; before, there was nothing to cancel.
    if (this.cancelled) return []
    if (values.length === 0) values.push(await this.next())
    this.index += values.length
    return values
  }

  private next(): Promise<T> {
    const { wait, ifAvailable, timeout, valueEncoding } = this.options
    return this.source.get(this.index, {
      wait: wait !== false,
      // Also nothing says no here, as in the published packages: a live stream of a feed with this option could not wait.
      ifAvailable: !!ifAvailable,
      timeout,
      valueEncoding,
      cancel: this.token
    })
  }

  /** Nobody wants any more blocks: the one that is being waited for is given up. */
  cancel(): void {
    this.cancelled = true
    this.source.cancel(this.token)
  }
}

function checkEnd(end: number): number {
  return end === Number.POSITIVE_INFINITY ? end : checkIndex(end, 'end')
}

/**
 * Iterates over a sequence. Unlike a generator it can be ended while somebody waits for the next value, who then
 * learns that there is none.
 */
export class BlockIterator<T> implements AsyncIterableIterator<T> {
  private readonly sequence: BlockSequence<T>
  private values: T[] = []
  private at = 0
  private ended = false
  // Calls of `next` that wait, one after the other.
  private waiting = 0
  private last: Promise<unknown> = Promise.resolve()

  constructor(sequence: BlockSequence<T>) {
    this.sequence = sequence
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The next value. Errors: those of `get`; the iteration is over then. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.waiting === 0 && this.at < this.values.length) return Promise.resolve(this.take())
    this.waiting++
    const next = this.last.then(() => this.step()).finally(() => this.waiting--)
    this.last = next.catch(() => {})
    return next
  }

  /** Ends the iteration; nothing is waited for any more. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.end()
    return Promise.resolve({ value: undefined, done: true })
  }

  private take(): IteratorResult<T, undefined> {
    return { value: this.values[this.at++]!, done: false }
  }

  private async step(): Promise<IteratorResult<T, undefined>> {
    if (this.at >= this.values.length && !this.ended) {
      try {
        this.values = await this.sequence.read()
        this.at = 0
      } catch (error) {
        // Ended from outside: the error says only that the wait was given up.
        if (!this.ended) {
          this.end()
          throw error
        }
      }
      if (this.values.length === 0) this.end()
    }
    return this.ended ? { value: undefined, done: true } : this.take()
  }

  private end(): void {
    if (this.ended) return
    this.ended = true
    this.values = []
    this.at = 0
    this.sequence.cancel()
  }
}
