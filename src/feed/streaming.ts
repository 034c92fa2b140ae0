import { answered, ignore } from '../util/callback.ts'
import {
  type Appendable,
  type ChosenEncoding,
  type Codec,
  type DecodedAs,
  decodeBlock,
  isBinary
} from './encoding.ts'
import { readBlocks, runEnd, unlessDamaged } from './reader.ts'
import { ReadingFeed } from './reading.ts'
import { BlockIterator, BlockSequence, type ReadStreamOptions } from './sequence.ts'
import {
  ReadStream,
  WriteStream,
  type WriteStreamOptions,
  type WriteTarget,
  webReadable,
  webWritable
} from './streams.ts'

// Bytes of blocks that a read stream holds ahead of its consumer.
const STREAM_BYTES = 256 * 1024

/** The part of a feed that is a stream of blocks, read or written. */
export abstract class StreamingFeed<T> extends ReadingFeed<T> implements AsyncIterable<T> {
  /**
   * Reads blocks in order: a stream of `streamx`, which is also an async iterable, and works with `pipeline` of
   * `node:stream`. A stream that is destroyed, or whose loop is left by `break`, takes its requests back.
   * @throws TypeError, RangeError
   */
  createReadStream<const E extends ChosenEncoding = undefined>(
    options?: ReadStreamOptions<E> | null
  ): ReadStream<DecodedAs<E, T>> {
    return new ReadStream<DecodedAs<E, T>>(this._sequence(options))
  }

  /** Appends what is written to it: a stream of `streamx`. @throws TypeError, RangeError */
  createWriteStream(options?: WriteStreamOptions | null): WriteStream<Appendable<T>> {
    return new WriteStream<Appendable<T>>(this._writeTarget(), options)
  }

  /** The values of all blocks that the feed has when the loop begins. For ranges and live tails: {@link createReadStream}. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new BlockIterator<T>(this._sequence(undefined))
  }

  /**
   * As {@link createReadStream}, as a stream of the web. Reads nothing before it is read; `cancel` takes its requests back.
   * @throws TypeError, RangeError
   */
  toWeb<const E extends ChosenEncoding = undefined>(
    options?: ReadStreamOptions<E> | null
  ): ReadableStream<DecodedAs<E, T>> {
    return webReadable(new BlockIterator<DecodedAs<E, T>>(this._sequence(options)))
  }

  /** As {@link createWriteStream}, as a stream of the web, for `pipeTo`: a write is done when it is stored. */
  toWebWritable(options?: WriteStreamOptions | null): WritableStream<Appendable<T>> {
    return webWritable<Appendable<T>>(this._writeTarget(), options)
  }

  private _writeTarget(): WriteTarget<Appendable<T>> {
    return { append: (values) => answered((callback) => this.append(values, callback)) }
  }

  private _sequence<V>(options: ReadStreamOptions<unknown> | null | undefined): BlockSequence<V> {
    const codec = this._codecFor(options?.valueEncoding)
    const feed = this
    // A subclass that changes what `get` gives, to decrypt it for instance, means streams, too: as in the published packages.
    const ownGet = feed.get === StreamingFeed.prototype.get
    return new BlockSequence<V>(
      {
        get length() {
          return feed.length
        },
        ready: () => feed._whenReady().then(ignore),
        get: (index, settings) => feed._got(index, settings) as Promise<V>,
        readRun: (index, limit, count) =>
          ownGet
            ? (feed._guarded(feed._readRun(index, limit, count, codec)) as Promise<V[]>)
            : Promise.resolve([]),
        cancel: (token) => feed._waiters.cancel(token)
      },
      options
    )
  }

  /** Values from `index` on that are here already, few enough to hold in memory. */
  private async _readRun(index: number, limit: number, count: number, codec: Codec): Promise<unknown[]> {
    const core = await this._whenReady()
    const most = Math.min(limit, index + count, Math.max(core.length, index + 1))
    const missing = core.bits.firstMissing(index, most)
    const present = missing === -1 ? most : missing
    if (present <= index) return []
    // A size that is missing is damage, which reading the block by itself deals with.
    const end = await runEnd(core, index, present, STREAM_BYTES).catch(() => index + 1)
    const blocks = await readBlocks(core, index, end).catch(unlessDamaged)
    // Taken away meanwhile, or damaged: the first one is waited for.
    if (blocks === null) return []
    return isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))
  }
}
