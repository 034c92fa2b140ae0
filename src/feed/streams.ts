import { Readable, Writable } from 'streamx'
import { argumentRangeError, DDatabaseError } from '../errors.ts'
import { checkIndex } from './options.ts'

/** How a stream's hook answers. */
type StreamCallback = (error: Error | null) => void

/** Options of `createReadStream`. */
export interface ReadStreamOptions {
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
  ifAvailable?: boolean | undefined
  /** Milliseconds to wait for a block. */
  timeout?: number | undefined
  /** Most blocks read at once. Default 64. */
  batch?: number | undefined
  valueEncoding?: unknown
}

/** Options of `createWriteStream`. */
export interface WriteStreamOptions {
  /** Longer strings and buffers are cut into pieces of this size. Default: not at all. */
  maxBlockSize?: number | undefined
}

/** What a read stream needs of its feed. */
export interface ReadSource {
  readonly length: number
  ready(): Promise<void>
  get(index: number, options: object): Promise<unknown>
  /** Values of a run of blocks from `index` that are here already: up to `limit`, at most `count`. Empty: not here. */
  readRun(index: number, limit: number, count: number): Promise<unknown[]>
  cancel(token: unknown): void
}

/** What a write stream needs of its feed. */
export interface WriteTarget {
  append(values: unknown[]): Promise<number>
}

const DEFAULT_BATCH = 64

// streamx takes a queue that weighs nothing for an empty one, and would lose empty blocks.
const WEIGHT = {
  byteLength: (chunk: unknown) => (chunk instanceof Uint8Array ? Math.max(1, chunk.byteLength) : 1024)
}

/** Reads blocks in order, one a chunk. Blocks that are here are read in runs, ahead of the consumer. */
export class ReadStream extends Readable {
  private readonly source: ReadSource
  private readonly options: ReadStreamOptions
  private readonly batch: number
  private readonly token = Symbol('read stream')
  private index: number
  private end: number

  constructor(source: ReadSource, options: ReadStreamOptions) {
    super(WEIGHT)
    this.source = source
    this.options = options
    this.index = options.start === undefined ? 0 : checkIndex(options.start, 'start')
    // −1: wherever the feed ends when the stream gets there.
    this.end = typeof options.end !== 'number' || options.end === -1 ? -1 : checkEnd(options.end)
    this.batch = options.batch === undefined ? DEFAULT_BATCH : Math.max(1, checkIndex(options.batch, 'batch'))
  }

  override _open(callback: StreamCallback): void {
    this.source.ready().then(() => {
      const { live, snapshot, tail } = this.options
      if (this.end === -1) {
        if (live === true) this.end = Number.POSITIVE_INFINITY
        else if (snapshot !== false) this.end = this.source.length
      }
      if (tail === true) this.index = this.source.length
      callback(null)
    }, callback)
  }

  override _read(callback: StreamCallback): void {
    this.fill().then(() => callback(null), callback)
  }

  override _predestroy(): void {
    // Nobody wants the block that is being waited for any more.
    this.source.cancel(this.token)
  }

  private async fill(): Promise<void> {
    const limit = this.end === -1 ? this.source.length : this.end
    if (this.index >= limit) {
      this.push(null)
      return
    }
    const values = await this.source.readRun(this.index, limit, this.batch)
    // From here on `_predestroy` can cancel the call; before, there was nothing to cancel.
    if (this.destroying) return
    if (values.length === 0) values.push(await this.next())
    for (const value of values) {
      if (this.destroying) return
      if (value === null || value === undefined) {
        throw new DDatabaseError('ERR_DECODING', {
          message: `Block ${this.index} is ${value}, which a stream cannot carry`
        })
      }
      this.push(value)
      this.index++
    }
  }

  private next(): Promise<unknown> {
    const { wait, ifAvailable, timeout, valueEncoding } = this.options
    return this.source.get(this.index, {
      wait: wait !== false,
      ifAvailable,
      timeout,
      valueEncoding,
      cancel: this.token
    })
  }
}

function checkEnd(end: number): number {
  return end === Number.POSITIVE_INFINITY ? end : checkIndex(end, 'end')
}

/** Appends what is written to it; chunks that come in one tick become one batch. */
export class WriteStream extends Writable {
  private readonly target: WriteTarget
  private readonly maxBlockSize: number

  constructor(target: WriteTarget, options: WriteStreamOptions) {
    super(WEIGHT)
    this.target = target
    this.maxBlockSize = options.maxBlockSize ?? 0
    if (!Number.isInteger(this.maxBlockSize) || this.maxBlockSize < 0) {
      throw argumentRangeError(`maxBlockSize should be a whole number of bytes, got ${options.maxBlockSize}`)
    }
  }

  override _writev(batch: unknown[], callback: StreamCallback): void {
    const values = this.maxBlockSize > 0 ? batch.flatMap((value) => [...this.pieces(value)]) : batch
    this.target.append(values).then(() => callback(null), callback)
  }

  private *pieces(value: unknown): Generator<unknown> {
    if (typeof value === 'string') {
      for (let at = 0; at < value.length || at === 0; at += this.maxBlockSize) {
        yield value.slice(at, at + this.maxBlockSize)
      }
    } else if (value instanceof Uint8Array) {
      for (let at = 0; at < value.byteLength || at === 0; at += this.maxBlockSize) {
        yield value.subarray(at, at + this.maxBlockSize)
      }
    } else {
      yield value
    }
  }
}
