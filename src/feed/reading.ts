import { DDATABASE } from '../dialect.ts'
import { DDatabaseError } from '../errors.ts'
import { checkSignal, onAbort, throwIfAborted, untilAborted } from '../util/abort.ts'
import { answered, type Callback, checkCallback, checkFunction, ignore, settle } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { untilTimeout } from '../util/timeout.ts'
import type { Core } from './core.ts'
import { DownloadingFeed } from './downloading.ts'
import { type ChosenEncoding, type Codec, type DecodedAs, decodeBlock, isBinary } from './encoding.ts'
import type { SeekOptions, SeekPosition, UpdateOptions, WaitOptions } from './finder.ts'
import { checkBytes, checkIndex, checkOptions, checkTimeout } from './options.ts'
import { readBlockSync, readBlocks, unlessDamaged } from './reader.ts'
import type { Selection } from './selections.ts'

/** Options of `get` and `getBatch`. `E` is the encoding, if the call has one of its own. */
export interface GetOptions<E = undefined> extends WaitOptions {
  /** Decode with this instead of the feed's encoding. */
  valueEncoding?: E | undefined
  /** Called with the index, once and at once, if the block has to be waited for. */
  onwait?: ((index: number) => void) | null | undefined
  /** What `cancel` shall know this call by. Default: a symbol of its own. */
  cancel?: unknown
}

/** Options of `head`. */
export interface HeadOptions<E = undefined> extends GetOptions<E> {
  /** Look for a longer feed first. */
  update?: boolean | undefined
}

/** A callback with a position: block and byte offset in it. */
export type SeekCallback = (error: Error | null, index?: number, offset?: number) => void

/** The part of a feed that finds blocks, and waits for them. */
export abstract class ReadingFeed<T> extends DownloadingFeed<T> {
  /**
   * The value of a block; waits for it if it is not here.
   * @returns a promise, or with a callback what `cancel` knows the call by
   * Errors: `ERR_BLOCK_NOT_DOWNLOADED`, `ERR_BLOCK_NOT_AVAILABLE`, `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`,
   * `ERR_DECODING`, `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  get<const E extends ChosenEncoding = undefined>(
    index: number,
    options?: GetOptions<E> | null
  ): Promise<DecodedAs<E, T>>
  get(index: number, callback: Callback<T>): symbol
  get(index: number, callback: Callback<T> | null | undefined): unknown
  get<const E extends ChosenEncoding = undefined>(
    index: number,
    options: GetOptions<E> | null | undefined,
    callback: Callback<DecodedAs<E, T>> | null | undefined
  ): unknown
  get(
    index: number,
    options?: GetOptions<unknown> | null | Callback<T>,
    callback?: Callback<never> | null
  ): unknown {
    if (typeof options === 'function') return this.get(index, null, options)
    checkCallback(callback)
    const block = this._blockNumber(index)
    const token = options?.cancel ?? (callback && Symbol('get'))
    const value = this._getValue(block, options, token)
    if (!callback) return settle(value, undefined)
    settle(value, callback as Callback<unknown>)
    const refused = options?.wait === false && this._core !== null && this._core.bits.get(block) === false
    return refused ? undefined : token
  }

  /** What {@link get} gives, be it this one or what a subclass or a module put in its place. */
  protected _got(index: number, options: GetOptions<unknown>): Promise<unknown> {
    return answered((callback) => this.get(index, options as GetOptions, callback as Callback<unknown>))
  }

  private _getValue(
    index: number,
    given: GetOptions<unknown> | null | undefined,
    token: unknown
  ): Promise<unknown> {
    const { _core: core } = this
    try {
      checkIndex(index)
      const options = checkWaiting(given)
      checkFunction(options.onwait, 'onwait')
      const codec = this._codecFor(options.valueEncoding)
      throwIfAborted(options.signal)
      if (core !== null && this._usable && core.bits.get(index)) {
        const block = readBlockSync(core, index)
        if (block !== null) return Promise.resolve(isBinary(codec) ? block : decodeBlock(codec, block))
      }
      const value = this._guarded(
        this._finder
          .block(index, token, this._withDefaults(options), options.onwait || null)
          .then((block) => decodeBlock(codec, block))
      )
      return untilAborted(options.signal, value)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The values of blocks `start` … `end` − 1; downloads what is missing.
   * Errors: as {@link get}, and `ECANCELED` if the download is cancelled.
   */
  getBatch<const E extends ChosenEncoding = undefined>(
    start: number,
    end: number,
    options?: GetOptions<E> | null
  ): Promise<DecodedAs<E, T>[]>
  getBatch(start: number, end: number, callback: Callback<T[]> | null | undefined): void
  getBatch<const E extends ChosenEncoding = undefined>(
    start: number,
    end: number,
    options: GetOptions<E> | null | undefined,
    callback: Callback<DecodedAs<E, T>[]> | null | undefined
  ): void
  getBatch(
    start: number,
    end: number,
    options?: GetOptions<unknown> | null | Callback<T[]>,
    callback?: Callback<never> | null
  ): unknown {
    if (typeof options === 'function') return this.getBatch(start, end, null, options)
    checkCallback(callback)
    return settle(this._getRange(start, end, options), callback as Callback<unknown>)
  }

  private async _getRange(
    start: number,
    end: number,
    given: GetOptions<unknown> | null | undefined
  ): Promise<unknown> {
    checkIndex(start, 'start')
    checkIndex(end, 'end')
    const options = checkWaiting(given)
    checkFunction(options.onwait, 'onwait')
    const codec = this._codecFor(options.valueEncoding)
    const { signal } = options
    throwIfAborted(signal)
    return untilAborted(signal, this._guarded(this._readRange(start, end, options, codec)))
  }

  private async _readRange(
    start: number,
    end: number,
    options: GetOptions<unknown>,
    codec: Codec
  ): Promise<unknown[]> {
    const { wait, signal, timeout } = options
    let download: Selection | null = null
    let stop: AbortController | null = null
    let failed = false
    const untilStopped = (): AbortSignal => {
      stop ??= new AbortController()
      return stop.signal
    }
    // A download neither knows tokens, nor whether anybody can help.
    const asks = options.ifAvailable === true || isGiven(options.cancel) || !!options.onwait
    const read = async (): Promise<Uint8Array[]> => {
      const core = await this._whenReady()
      for (;;) {
        // It has timed out while the feed was opening, or blocks were read: nobody would take back what is begun now.
        if (failed) return []
        const lost = this._firstLost(core, start, end)
        // Not to be waited for as if it were to come: if nobody has it, the call fails.
        if (lost !== -1)
          await this._finder.block(lost, options.cancel ?? undefined, {
            ...this._withDefaults({}),
            wait,
            signal: untilStopped()
          })
        if (core.bits.firstMissing(start, end) !== -1) {
          if (wait === false) throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED')
          download = this.download({ start, end, signal })
          if (asks) await Promise.all([download, this._findEach(core, start, end, options, untilStopped())])
          else await download
        }
        const blocks = await readBlocks(core, start, end).catch(unlessDamaged)
        if (blocks !== null) return blocks
      }
    }
    const forget = signal ? onAbort(signal, () => stop?.abort()) : null
    try {
      const blocks = await untilTimeout(checkTimeout(timeout), read())
      return isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))
    } catch (error) {
      failed = true
      if (download !== null) this.undownload(download)
      stop = stop as AbortController | null
      stop?.abort()
      throw error
    } finally {
      forget?.()
    }
  }

  /** The first block that does not come by itself: damaged, or cleared by an author who fetches nothing; −1 if there is none. */
  private _firstLost(core: Core, start: number, end: number): number {
    const damaged = firstDamaged(core, start, end)
    if (damaged !== -1 || !this._isAuthor) return damaged
    return core.bits.firstMissing(start, Math.min(end, core.length))
  }

  /** Waits for each block that is missing, as `get` does. */
  private async _findEach(
    core: Core,
    start: number,
    end: number,
    { cancel, ifAvailable, onwait }: GetOptions<unknown>,
    signal: AbortSignal
  ): Promise<void> {
    let tell = onwait || null
    for (let at = start; ; at++) {
      at = core.bits.firstMissing(at, end)
      if (at === -1) return
      await this._finder.block(at, cancel ?? undefined, { ifAvailable, signal }, tell)
      tell = null
    }
  }

  /** The value of the last block. Errors: `ERR_FEED_EMPTY`, and those of {@link get}. */
  head<const E extends ChosenEncoding = undefined>(options?: HeadOptions<E> | null): Promise<DecodedAs<E, T>>
  head(callback: Callback<T> | null | undefined): void
  head<const E extends ChosenEncoding = undefined>(
    options: HeadOptions<E> | null | undefined,
    callback: Callback<DecodedAs<E, T>> | null | undefined
  ): void
  head(options?: HeadOptions<unknown> | null | Callback<T>, callback?: Callback<never> | null): unknown {
    if (typeof options === 'function') return this.head(null, options)
    checkCallback(callback)
    return settle(this._lastValue(options), callback as Callback<unknown>)
  }

  private async _lastValue(given: HeadOptions<unknown> | null | undefined): Promise<unknown> {
    const options = checkWaiting(given)
    checkFunction(options.onwait, 'onwait')
    this._codecFor(options.valueEncoding)
    const { signal } = options
    throwIfAborted(signal)
    return untilAborted(signal, this._findLast(options))
  }

  private async _findLast(options: HeadOptions<unknown>): Promise<unknown> {
    await this._whenReady()
    // A failed update is no failure: the head that is known is still the answer.
    if (options.update) await this._updateTo(options).catch(ignore)
    if (this.length === 0) throw new DDatabaseError('ERR_FEED_EMPTY')
    return this._got(this.length - 1, options)
  }

  /** Waits until the feed is longer: by one block, or as long as `minLength`. Errors: `ERR_UPDATE_NOT_AVAILABLE`,
   * `ERR_UNEXPECTED_LENGTH`, `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`, `ERR_FEED_CLOSED`. */
  update(options?: UpdateOptions | number | null): Promise<void>
  update(callback: Callback | null | undefined): void
  update(options: UpdateOptions | number | null | undefined, callback: Callback | null | undefined): void
  update(options?: UpdateOptions | number | null | Callback, callback?: Callback | null): unknown {
    if (typeof options === 'function') return this.update(null, options)
    checkCallback(callback)
    return settle(this._updateTo(typeof options === 'number' ? { minLength: options } : options), callback)
  }

  private async _updateTo(given: UpdateOptions | null | undefined): Promise<void> {
    const options = checkWaiting(given)
    if (isGiven(options.minLength) && options.minLength !== -1) checkIndex(options.minLength, 'minLength')
    throwIfAborted(options.signal)
    return untilAborted(options.signal, this._waitForLength(options))
  }

  private async _waitForLength(options: UpdateOptions): Promise<void> {
    const core = await this._whenReady()
    const wanted = options.minLength ?? -1
    const length = wanted === -1 ? core.length + 1 : wanted
    if (core.length >= length) return
    const settings = this._withDefaults(options)
    const isAuthor = this._canWrite && core.behind <= core.length
    if (settings.ifAvailable && isAuthor && !options.force) {
      throw new DDatabaseError('ERR_UPDATE_NOT_AVAILABLE')
    }
    await this._guarded(this._finder.length(length, { ...options, ...settings }))
  }

  /** A hint from outside: the feed is known to have `length` blocks, so updates that hope for more can give up. */
  setExpectedLength(length: number): void {
    this._expectedLength = checkIndex(length, 'length')
    this._whenOpen().then(() => {
      const core = this._openCore()
      this.ifAvailable.ready(() => {
        this._expectedLength = -1
      })
      if (this._expectedLength === -1 || this._expectedLength > core.length) return
      this._waiters.failAll(
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
  seek(bytes: number, options?: SeekOptions | null): Promise<SeekPosition>
  seek(bytes: number, callback: SeekCallback | null | undefined): void
  seek(
    bytes: number,
    options: SeekOptions | null | undefined,
    callback: SeekCallback | null | undefined
  ): void
  seek(bytes: number, options?: SeekOptions | null | SeekCallback, callback?: SeekCallback | null): unknown {
    if (typeof options === 'function') return this.seek(bytes, null, options)
    checkCallback(callback)
    return settle(
      this._seekPlace(bytes, options),
      callback && ((error, found) => (error ? callback(error) : callback(null, found!.index, found!.offset)))
    )
  }

  private async _seekPlace(bytes: number, given: SeekOptions | null | undefined): Promise<SeekPosition> {
    checkBytes(bytes)
    const options = checkWaiting(given)
    if (isGiven(options.start)) checkIndex(options.start, 'start')
    if (isGiven(options.end) && options.end !== -1) checkIndex(options.end, 'end')
    throwIfAborted(options.signal)
    const place = this._finder.place(bytes, { ...options, ...this._withDefaults(options) })
    return untilAborted(options.signal, this._guarded(place))
  }

  /** On `ddatabase/hypercore` a number in digits is one: modules that keep versions as `key@number` ask with what they cut out of it. */
  private _blockNumber(index: number | string): number {
    const digits = typeof index === 'string' && this._dialect !== DDATABASE && /^\d+$/.test(index)
    return digits ? Number(index) : (index as number)
  }

  /** Whether a block, or every block of `start` … `end` − 1, is here. Throws `ERR_FEED_NOT_OPEN` before opening. */
  has(index: number, callback?: Callback<boolean>): boolean
  has(start: number, end: number | null | undefined, callback?: Callback<boolean>): boolean
  has(start: number, end?: number | null | Callback<boolean>, callback?: Callback<boolean>): boolean {
    if (typeof end === 'function') return this.has(start, undefined, end)
    checkCallback(callback)
    const first = checkIndex(this._blockNumber(start), 'start')
    const core = this._openCore()
    if (isGiven(end)) checkIndex(end, 'end')
    const present = isGiven(end)
      ? first <= end && core.bits.firstMissing(first, end) === -1
      : core.bits.get(first)
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
    checkCallback(callback)
    const core = this._openCore()
    const from = checkIndex(typeof start === 'number' && start < 0 ? 0 : (start ?? 0), 'start')
    const to = checkIndex(typeof end === 'number' && end < 0 ? 0 : (end ?? 0), 'end')
    const count = end !== undefined && end < 0 ? 0 : core.bits.total(from, to || core.bits.length)
    if (callback) settle(Promise.resolve(count), callback)
    return count
  }

  protected override _begin(): void {
    // Not before: an opening that fails has to be told, and may be tried again.
    if (this.sparse && this._args.options.eagerUpdate) this._updateForEver()
  }

  /** Follows the length of the feed all the time. */
  private _updateForEver(): void {
    // A decision that nobody can help now would be the same at once again.
    this.update({ ifAvailable: false }).then(
      () => this._updateForEver(),
      (error) => {
        if (this._closingBegun || !this.opened) return
        this._notify('update-error', error)
        this._updateForEver()
      }
    )
  }
}

/** The options of a call that may wait. Errors: TypeError, RangeError. */
function checkWaiting<O extends WaitOptions>(given: O | null | undefined): O {
  const options = checkOptions(given)
  checkTimeout(options.timeout)
  checkSignal(options.signal)
  return options
}

/** The first of blocks `start` … `end` − 1 that was damaged and is not here, or −1. */
function firstDamaged(core: Core, start: number, end: number): number {
  if (core.damaged.size === 0) return -1
  let first = -1
  for (const block of core.damaged) {
    const wanted = block >= start && block < end && (first === -1 || block < first)
    if (wanted && !core.bits.get(block)) first = block
  }
  return first
}
