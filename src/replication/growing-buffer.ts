/** Collects bytes that arrive in pieces, at a cost that is linear in what arrived, not in what was announced. */
import b4a from 'b4a'

const EMPTY = b4a.alloc(0)

/** Bytes collected from pieces, in one array that grows by doubling. */
export class GrowingBuffer {
  /** Number of bytes collected. */
  length = 0
  private bytes: Uint8Array
  private readonly limit: number

  /**
   * @param capacity - bytes to allocate right away, or the memory to begin with
   * @param limit - bytes that will be collected at most; the array never grows beyond it
   */
  constructor(capacity: number | Uint8Array = 0, limit = Number.POSITIVE_INFINITY) {
    if (typeof capacity === 'object') this.bytes = capacity
    else this.bytes = capacity === 0 ? EMPTY : b4a.allocUnsafe(capacity)
    this.limit = limit
  }

  /** Adds the bytes of `source` from `start` up to `end`. */
  append(source: Uint8Array, start = 0, end = source.length): void {
    this.claim(end - start).set(start === 0 && end === source.length ? source : source.subarray(start, end))
  }

  /** Adds `size` bytes that the caller writes: where they go. */
  claim(size: number): Uint8Array {
    const length = this.length + size
    if (length > this.bytes.length) {
      const grown = b4a.allocUnsafe(Math.min(this.limit, Math.max(length, 2 * this.bytes.length, 64)))
      grown.set(this.bytes.subarray(0, this.length), 0)
      this.bytes = grown
    }
    const target = this.bytes.subarray(this.length, length)
    this.length = length
    return target
  }

  /** The collected bytes from `start` on, not copied; valid until more are added. */
  view(start = 0, end = this.length): Uint8Array {
    return this.bytes.subarray(start, end)
  }
}
