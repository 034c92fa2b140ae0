import { argumentRangeError, argumentTypeError, DDatabaseError } from '../errors.ts'
import { type Callback, ignore, settle } from '../util/callback.ts'
import { type Codec, decodeBlock, isBinary } from './encoding.ts'
import type { SeekOptions, UpdateOptions, WaitOptions } from './finder.ts'
import { checkBytes, checkIndex, checkTimeout } from './options.ts'
import { readBlockSync, readBlocks, runEnd } from './reader.ts'
import { type DownloadRange, Selection } from './selections.ts'
import { ReadStream, type ReadStreamOptions } from './streams.ts'
import { WritingFeed } from './writing.ts'

/** Options of `get` and `getBatch`. */
export interface GetOptions extends WaitOptions {
  /** Decode with this instead of the feed's encoding. */
  valueEncoding?: unknown
  /** Called with the index, once and at once, if the block has to be waited for. */
  onwait?: ((index: number) => void) | null | undefined
  /** What `cancel` shall know this call by. Default: a symbol of its own. */
  cancel?: unknown
}

/** Options of `head`. */
export interface HeadOptions extends GetOptions {
  /** Look for a longer feed first. */
  update?: boolean | undefined
}

/** A callback with a position: block and byte offset in it. */
export type SeekCallback = (error: Error | null, index?: number, offset?: number) => void

// Bytes of blocks that a read stream holds ahead of its consumer.
const STREAM_BYTES = 256 * 1024

/** The part of a feed that finds blocks, and waits for them. */
export abstract class ReadingFeed<T> extends WritingFeed<T> {
  /**
   * The value of a block; waits for it if it is not here.
   * @returns a promise, or with a callback what `cancel` knows the call by
   * Errors: `ERR_BLOCK_NOT_DOWNLOADED`, `ERR_BLOCK_NOT_AVAILABLE`, `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`,
   * `ERR_DECODING`, `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  get(index: number, options?: GetOptions | null): Promise<T>
  get(index: number, callback: Callback<T>): unknown
  get(index: number, options: GetOptions | null | undefined, callback: Callback<T>): unknown
  get(index: number, options?: GetOptions | null | Callback<T>, callback?: Callback<T>): unknown {
    if (typeof options === 'function') return this.get(index, null, options)
    const token = options?.cancel ?? (callback && Symbol('get'))
    const value = this.getValue(index, options ?? {}, token)
    if (callback === undefined) return settle(value, undefined)
    settle(value, callback)
    const refused = options?.wait === false && this.core !== null && this.core.bits.get(index) === false
    return refused ? undefined : token
  }

  private getValue(index: number, options: GetOptions, token: unknown): Promise<T> {
    const { core } = this
    try {
      checkIndex(index)
      checkTimeout(options.timeout)
      const codec = this.codecFor(options.valueEncoding)
      if (core !== null && this.usable && core.bits.get(index)) {
        const block = readBlockSync(core, index)
        if (block !== null) return Promise.resolve((isBinary(codec) ? block : decodeBlock(codec, block)) as T)
      }
      return this.guarded(
        this.finder
          .block(index, token, this.withDefaults(options), options.onwait)
          .then((block) => decodeBlock(codec, block) as T)
      )
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The values of blocks `start` … `end` − 1; downloads what is missing.
   * Errors: as {@link get}, and `ECANCELED` if the download is cancelled.
   */
  getBatch(start: number, end: number, options?: GetOptions | null): Promise<T[]>
  getBatch(start: number, end: number, callback: Callback<T[]>): Promise<T[]>
  getBatch(
    start: number,
    end: number,
    options: GetOptions | null | undefined,
    callback: Callback<T[]> | undefined
  ): Promise<T[]>
  getBatch(
    start: number,
    end: number,
    options?: GetOptions | null | Callback<T[]>,
    callback?: Callback<T[]>
  ): Promise<T[]> {
    if (typeof options === 'function') return this.getBatch(start, end, null, options)
    return settle(this.guarded(this.getRange(start, end, options ?? {})), callback)
  }

  private async getRange(start: number, end: number, options: GetOptions): Promise<T[]> {
    checkIndex(start, 'start')
    checkIndex(end, 'end')
    const timeout = checkTimeout(options.timeout)
    const codec = this.codecFor(options.valueEncoding)
    const core = await this.whenReady()
    if (core.bits.firstMissing(start, end) !== -1) {
      if (options.wait === false) throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED')
      await this.downloadWithin(this.download({ start, end }), timeout)
    }
    const blocks = await readBlocks(core, start, end)
    return (isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))) as T[]
  }

  private async downloadWithin(selection: Selection, timeout: number): Promise<void> {
    if (timeout === 0) return selection
    let timer: ReturnType<typeof setTimeout> | undefined
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new DDatabaseError('ETIMEDOUT')), timeout)
    })
    try {
      await Promise.race([selection, expired])
    } catch (error) {
      this.selections.cancel(selection)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** The value of the last block. Errors: `ERR_FEED_EMPTY`, and those of {@link get}. */
  head(options?: HeadOptions | null): Promise<T>
  head(callback: Callback<T>): Promise<T>
  head(options: HeadOptions | null | undefined, callback: Callback<T> | undefined): Promise<T>
  head(options?: HeadOptions | null | Callback<T>, callback?: Callback<T>): Promise<T> {
    if (typeof options === 'function') return this.head(null, options)
    return settle(this.lastValue(options ?? {}), callback)
  }

  private async lastValue(options: HeadOptions): Promise<T> {
    await this.whenReady()
    // A failed update is no failure: the head that is known is still the answer.
    if (options.update === true) await this.update(options).catch(ignore)
    if (this.length === 0) throw new DDatabaseError('ERR_FEED_EMPTY')
    return this.get(this.length - 1, options)
  }

  /** Waits until the feed is longer: by one block, or as long as `minLength`. Errors: `ERR_UPDATE_NOT_AVAILABLE`,
   * `ERR_UNEXPECTED_LENGTH`, `ETIMEDOUT`, `ERR_FEED_CLOSED`. */
  update(options?: UpdateOptions | number | null): Promise<void>
  update(callback: Callback): Promise<void>
  update(options: UpdateOptions | number | null | undefined, callback: Callback | undefined): Promise<void>
  update(options?: UpdateOptions | number | null | Callback, callback?: Callback): Promise<void> {
    if (typeof options === 'function') return this.update(null, options)
    return settle(
      this.updateTo(typeof options === 'number' ? { minLength: options } : (options ?? {})),
      callback
    )
  }

  private async updateTo(options: UpdateOptions): Promise<void> {
    if (options.minLength !== undefined && options.minLength !== -1)
      checkIndex(options.minLength, 'minLength')
    checkTimeout(options.timeout)
    const core = await this.whenReady()
    const wanted = options.minLength ?? -1
    const length = wanted === -1 ? core.length + 1 : wanted
    if (core.length >= length) return
    const settings = this.withDefaults(options)
    if (settings.ifAvailable === true && this.canWrite && options.force !== true) {
      throw new DDatabaseError('ERR_UPDATE_NOT_AVAILABLE')
    }
    await this.guarded(this.finder.length(length, { ...options, ...settings }))
  }

  /** A hint from outside: the feed is known to have `length` blocks, so updates that hope for more can give up. */
  setExpectedLength(length: number): void {
    this.expectedLength = checkIndex(length, 'length')
    this.whenReady().then((core) => {
      this.ifAvailable.ready(() => {
        this.expectedLength = -1
      })
      if (this.expectedLength === -1 || this.expectedLength > core.length) return
      this.waiters.failAll(
        new DDatabaseError('ERR_UNEXPECTED_LENGTH'),
        ({ wish, ifAvailable }) => wish.kind === 'update' && ifAvailable
      )
    }, ignore)
  }

  /**
   * The block that contains byte `bytes` of the feed, and the offset in it; waits for the nodes that tell.
   * @returns `{ index, offset }`; a callback gets them as two arguments
   * Errors: `ERR_SEEK_OUT_OF_BOUNDS` and `ERR_SEEK_NOT_FOUND` (without waiting), `ERR_SEEK_NOT_AVAILABLE`,
   * `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`, `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  seek(bytes: number, options?: SeekOptions | null): Promise<{ index: number; offset: number }>
  seek(bytes: number, callback: SeekCallback): Promise<{ index: number; offset: number }>
  seek(
    bytes: number,
    options: SeekOptions | null | undefined,
    callback: SeekCallback | undefined
  ): Promise<{ index: number; offset: number }>
  seek(
    bytes: number,
    options?: SeekOptions | null | SeekCallback,
    callback?: SeekCallback
  ): Promise<{ index: number; offset: number }> {
    if (typeof options === 'function') return this.seek(bytes, null, options)
    const place = this.guarded(this.seekPlace(bytes, options ?? {}))
    return settle(
      place,
      callback && ((error, found) => (error ? callback(error) : callback(null, found!.index, found!.offset)))
    )
  }

  private async seekPlace(bytes: number, options: SeekOptions): Promise<{ index: number; offset: number }> {
    checkBytes(bytes)
    checkTimeout(options.timeout)
    if (options.start !== undefined) checkIndex(options.start, 'start')
    if (options.end !== undefined && options.end !== -1) checkIndex(options.end, 'end')
    return this.finder.place(bytes, { ...options, ...this.withDefaults(options) })
  }

  /** Whether a block, or every block of `start` … `end` − 1, is here. Throws `ERR_FEED_NOT_OPEN` before opening. */
  has(index: number, callback?: Callback<boolean>): boolean
  has(start: number, end: number | undefined, callback?: Callback<boolean>): boolean
  has(start: number, end?: number | Callback<boolean>, callback?: Callback<boolean>): boolean {
    if (typeof end === 'function') return this.has(start, undefined, end)
    const core = this.openCore()
    checkIndex(start, 'start')
    if (end !== undefined) checkIndex(end, 'end')
    const present =
      end === undefined ? core.bits.get(start) : start <= end && core.bits.firstMissing(start, end) === -1
    if (callback) settle(Promise.resolve(present), callback)
    return present
  }

  /**
   * How many blocks of `start` … `end` − 1 are here; an `end` of 0 or none means all.
   * Throws `ERR_FEED_NOT_OPEN` before opening.
   */
  downloaded(callback?: Callback<number>): number
  downloaded(start: number | undefined, callback?: Callback<number>): number
  downloaded(start: number | undefined, end: number | undefined, callback?: Callback<number>): number
  downloaded(
    start?: number | Callback<number>,
    end?: number | Callback<number>,
    callback?: Callback<number>
  ): number {
    if (typeof start === 'function') return this.downloaded(undefined, undefined, start)
    if (typeof end === 'function') return this.downloaded(start, undefined, end)
    const core = this.openCore()
    const from = checkIndex(typeof start === 'number' && start < 0 ? 0 : (start ?? 0), 'start')
    const to = checkIndex(typeof end === 'number' && end < 0 ? 0 : (end ?? 0), 'end')
    const count = end !== undefined && end < 0 ? 0 : core.bits.total(from, to || core.bits.length)
    if (callback) settle(Promise.resolve(count), callback)
    return count
  }

  /**
   * Marks blocks for download: a range, one block, an array of blocks, or everything.
   * @returns the selection, which can be awaited and passed to {@link undownload}
   * Errors: `ECANCELED`, `ERR_FEED_CLOSED`. Throws TypeError or RangeError for a range that is none.
   */
  download(range?: DownloadRange | number | readonly number[] | null, callback?: Callback): Selection
  download(callback: Callback): Selection
  download(
    range?: DownloadRange | number | readonly number[] | null | Callback,
    callback?: Callback
  ): Selection {
    if (typeof range === 'function') return this.download(null, range)
    const closed = this.closingBegun
    const selection = new Selection(toRange(range), closed ? undefined : callback)
    if (closed) {
      const error = new DDatabaseError('ERR_FEED_CLOSED')
      selection.finish(error)
      // At once, as callers of the published packages know it.
      callback?.(error)
      return selection
    }
    this.selections.add(selection)
    if (this.core !== null) {
      this.selections.check(this.core)
      this.replication.replicator.downloadAdded(selection)
    }
    return selection
  }

  /** Gives up a download: this selection, or the first one with the same range. Unknown ones are ignored. */
  undownload(range: DownloadRange | number | null | undefined): void {
    if (range === null || range === undefined) return
    if (this.selections.cancel(range instanceof Selection ? range : toRange(range))) this.requestsChanged()
  }

  /**
   * Cancels one `get` by what it returned (or by its `cancel` option), or the gets, seeks and downloads within
   * blocks `start` … `end` − 1. Their callbacks get `ERR_REQUEST_CANCELLED`, downloads `ECANCELED`.
   */
  cancel(start: unknown, end?: number): void {
    // What `get` returns if it cannot wait; calls without an id must not be meant by it.
    if (start === undefined || start === null) return
    if (typeof start !== 'number') {
      this.waiters.cancel(start)
      this.requestsChanged()
      return
    }
    const first = checkIndex(start, 'start')
    const last = end === undefined ? first + 1 : checkIndex(end, 'end')
    this.selections.cancelRange(first, last)
    this.waiters.cancelRange(first, last)
    this.requestsChanged()
  }

  /** Chooses whether blocks are fetched from peers. */
  setDownloading(downloading: boolean): void {
    this.downloading = downloading
    this.downloadingSet = true
    for (const peer of [...this.peers]) peer.setDownloading(downloading)
  }

  /** Chooses whether blocks are sent to peers. */
  setUploading(uploading: boolean): void {
    this.uploading = uploading
    for (const peer of [...this.peers]) peer.setUploading(uploading)
  }

  /** Reads blocks in order. */
  createReadStream(options: ReadStreamOptions = {}): ReadStream {
    const codec = this.codecFor(options.valueEncoding)
    const feed = this
    return new ReadStream(
      {
        get length() {
          return feed.length
        },
        ready: () => feed.whenReady().then(ignore),
        get: (index, settings) => feed.get(index, settings),
        readRun: (index, limit, count) => feed.guarded(feed.readRun(index, limit, count, codec)),
        cancel: (token) => feed.waiters.cancel(token)
      },
      options
    )
  }

  /** Values from `index` on that are here already, few enough to hold in memory. */
  private async readRun(index: number, limit: number, count: number, codec: Codec): Promise<unknown[]> {
    const core = await this.whenReady()
    const most = Math.min(limit, index + count, Math.max(core.length, index + 1))
    const missing = core.bits.firstMissing(index, most)
    const present = missing === -1 ? most : missing
    if (present <= index) return []
    const blocks = await readBlocks(core, index, await runEnd(core, index, present, STREAM_BYTES))
    return isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))
  }

  protected override downloadEverything(): void {
    this.download({ start: 0, end: -1 })
  }

  /** Follows the length of the feed all the time. */
  protected updateForEver(): void {
    this.update().then(
      () => this.updateForEver(),
      (error) => {
        if (this.closingBegun || !this.opened) return
        this.notify('update-error', error)
        this.updateForEver()
      }
    )
  }
}

/** A download range in its short forms. Errors: TypeError, RangeError. */
function toRange(range: DownloadRange | number | readonly number[] | null | undefined): DownloadRange {
  if (range === null || range === undefined) return {}
  if (typeof range === 'number') return { start: checkIndex(range), end: range + 1 }
  if (Array.isArray(range)) return toRange({ blocks: range })
  if (typeof range !== 'object') throw argumentTypeError('range should be a number, an array or an object')
  const { start, end, blocks } = range as DownloadRange
  if (start !== undefined && start !== null) checkIndex(start, 'start')
  if (end !== undefined && end !== null && end !== -1) checkIndex(end, 'end')
  if (blocks) for (const block of blocks) checkIndex(block, 'block')
  if (typeof end === 'number' && end !== -1 && end < (start ?? 0)) {
    throw argumentRangeError(`end should not be before start, got ${start} to ${end}`)
  }
  return range as DownloadRange
}
