import { Readable, type ReadableEvents, Writable, type WritableEvents } from 'streamx'
import { argumentRangeError, argumentTypeError, DDatabaseError } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'
import { checkOptions } from './options.ts'
import type { BlockIterator, BlockSequence } from './sequence.ts'

/** How a stream's hook answers. */
type StreamCallback = (error: Error | null) => void

/** Options of `createWriteStream` and `toWebWritable`. */
export interface WriteStreamOptions {
  /** Longer strings and buffers are cut into pieces of this size. Default: not at all. */
  maxBlockSize?: number | undefined
}

/** What a write stream needs of its feed. */
export interface WriteTarget<V> {
  append(values: readonly V[]): Promise<number>
}

/** Events of a {@link ReadStream}. */
export interface ReadStreamEvents<T> extends ReadableEvents {
  /** The value of the next block. */
  data: [value: T]
}

// streamx takes a queue that weighs nothing for an empty one, and would lose empty blocks.
const WEIGHT = {
  byteLength: (chunk: unknown) => (isBytes(chunk) ? Math.max(1, chunk.length) : 1024)
}

/** The types of what is inherited from streamx. */
export interface ReadStream<T = Uint8Array> {
  /** The next value if one is there, else null. */
  read(): T | null
  /** The values, for `for await`. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined>
}

/** Reads blocks in order, one a chunk. Blocks that are here are read in runs, ahead of the consumer. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: both describe the same stream
export class ReadStream<T = Uint8Array> extends Readable<ReadStreamEvents<T>> {
  private readonly sequence: BlockSequence<T>

  /** @internal */
  constructor(sequence: BlockSequence<T>) {
    super(WEIGHT)
    this.sequence = sequence
  }

  /** @internal */
  override _open(callback: StreamCallback): void {
    this.sequence.open().then(() => callback(null), callback)
  }

  /** @internal */
  override _read(callback: StreamCallback): void {
    this.fill().then(() => callback(null), callback)
  }

  /** @internal */
  override _predestroy(): void {
    this.sequence.cancel()
  }

  private async fill(): Promise<void> {
    const first = this.sequence.index
    const values = await this.sequence.read()
    if (this.destroying) return
    if (values.length === 0) this.push(null)
    for (let i = 0; i < values.length; i++) {
      if (this.destroying) return
      const value = values[i]
      if (value === null || value === undefined) {
        throw new DDatabaseError('ERR_DECODING', {
          message: `Block ${first + i} is ${value}, which a stream cannot carry`
        })
      }
      this.push(value)
    }
  }
}

/** The types of what is inherited from streamx. */
export interface WriteStream<V = Uint8Array | string> {
  /** Appends a value; false: wait for `drain` before writing more. */
  write(value: V): boolean
  /** Ends the stream; `finished` is called when everything is stored. */
  end(finished?: () => void): this
  /** Appends a last value and ends the stream. */
  end(value: V): this
}

/** Appends what is written to it; chunks that come in one tick become one batch. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: both describe the same stream
export class WriteStream<V = Uint8Array | string> extends Writable<WritableEvents> {
  private readonly target: WriteTarget<V>
  private readonly maxBlockSize: number

  /** @internal */
  constructor(target: WriteTarget<V>, options: WriteStreamOptions | null | undefined) {
    super(WEIGHT)
    this.target = target
    this.maxBlockSize = checkMaxBlockSize(options)
  }

  /** @internal */
  override _writev(batch: V[], callback: StreamCallback): void {
    const values = batch.flatMap((value) => pieces(value, this.maxBlockSize))
    this.target.append(values).then(() => callback(null), callback)
  }
}

/** The option `maxBlockSize` in bytes (of strings: in UTF-16 units), 0 for none. Errors: TypeError, RangeError. */
function checkMaxBlockSize(options: WriteStreamOptions | null | undefined): number {
  const size: unknown = checkOptions(options).maxBlockSize ?? 0
  if (typeof size !== 'number') throw argumentTypeError('maxBlockSize should be a number of bytes')
  if (!Number.isInteger(size) || size < 0) {
    throw argumentRangeError(`maxBlockSize should be a whole number of bytes, got ${size}`)
  }
  return size
}

/** A value in pieces of at most `size`, as it is if that is 0 or it cannot be cut. */
function pieces<V>(value: V, size: number): V[] {
  if (size === 0 || !(typeof value === 'string' || isBytes(value))) return [value]
  const cut: (string | Uint8Array)[] = []
  for (let at = 0, end: number; at < value.length || at === 0; at = end) {
    end = at + size
    // The two halves of a character outside the basic plane would become two replacement characters.
    if (typeof value === 'string' && size > 1 && isHighSurrogate(value, end - 1)) end--
    cut.push(typeof value === 'string' ? value.slice(at, end) : value.subarray(at, end))
  }
  return cut as V[]
}

function isHighSurrogate(text: string, at: number): boolean {
  return at < text.length && (text.charCodeAt(at) & 0xfc00) === 0xd800
}

/** A web stream of the values of an iteration; nothing is read before somebody asks, and a cancelled one waits no more. */
export function webReadable<T>(blocks: BlockIterator<T>): ReadableStream<T> {
  let cancelled = false
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const { value, done } = await blocks.next()
        if (cancelled) return
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        cancelled = true
        await blocks.return()
      }
    },
    // The iteration reads ahead by itself.
    { highWaterMark: 0 }
  )
}

/** A web stream that appends what is written to it; each write is answered when it is stored. */
export function webWritable<V>(
  target: WriteTarget<V>,
  options: WriteStreamOptions | null | undefined
): WritableStream<V> {
  const maxBlockSize = checkMaxBlockSize(options)
  return new WritableStream<V>({
    async write(value) {
      await target.append(pieces(value, maxBlockSize))
    }
  })
}
