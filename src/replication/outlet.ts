/**
 * Memory of chunks that leave, used again when whoever takes them is through with them. Fresh memory for each 64 KB that are sent
 * makes the collector run once for some 16 MB of it, which took a fifth of the processor time of replicating.
 *
 * Who reads a stream may keep what it gets. So this is for streams that were piped, and never read in another way, into one of
 * two kinds of things: a stream of our own in the same process, which says when it has worked on a chunk, or a socket of the system,
 * which keeps what it could not pass on yet, and nothing else.
 */
import { borrow, type Loan } from './loans.ts'

/** Takes chunks, and calls `outlet.taken` with each that it is through with. */
export interface ReturningConsumer {
  /** Where its chunks come from. */
  source: Outlet | null
}

/** A socket: the bytes that were written to it and that the system does not have yet. */
interface SystemSocket {
  readonly destroyed: boolean
  readonly writableLength: number
}

// So many are waited for; the memory of those before them is left to the collector.
const MOST_LENT = 64

/** The way out of one stream. */
export class Outlet {
  private readonly isReturning: (consumer: unknown) => consumer is ReturningConsumer
  private consumer: unknown = null
  private seen = false
  // In the order in which they left.
  private readonly lent: Loan[] = []

  /** @param isReturning - whether a consumer returns what it takes, and keeps nothing of it */
  constructor(isReturning: (consumer: unknown) => consumer is ReturningConsumer) {
    this.isReturning = isReturning
  }

  /** Somebody may see and keep chunks: nothing is used again from now on. */
  shown(): void {
    this.seen = true
    this.lent.length = 0
  }

  /**
   * Memory for a chunk of `size` bytes; null if it could not be used again.
   * @param consumer - what the stream is piped into, or null
   * @param queued - bytes that it has not got yet
   */
  borrow(size: number, consumer: unknown, queued: number): Loan | null {
    this.consumer = consumer
    if (this.seen || consumer === null || !this.isTrusted()) return null
    if (isSystemSocket(consumer) && queued === 0 && consumer.writableLength === 0 && !consumer.destroyed) {
      for (const loan of this.lent) loan.release()
      this.lent.length = 0
    }
    return borrow(size)
  }

  /** A chunk in this memory has left. */
  left(loan: Loan): void {
    if (this.seen) return
    if (this.lent.length === MOST_LENT) this.lent.shift()
    this.lent.push(loan)
  }

  /** The consumer is through with a chunk, and keeps nothing of it. It may be one that somebody else has written. */
  taken(chunk: Uint8Array): void {
    const at = this.lent.findIndex(({ bytes }) => bytes.buffer === chunk.buffer)
    if (at === -1) return
    // What left before it was taken before it.
    const loan = this.lent.splice(0, at + 1)[at]!
    if (this.isTrusted()) loan.release()
  }

  // Asked again and again, as methods can be replaced at any time.
  private isTrusted(): boolean {
    const { consumer } = this
    if (!this.isReturning(consumer)) return isSystemSocket(consumer)
    consumer.source ??= this
    return consumer.source === this
  }
}

const net = globalThis.process?.getBuiltinModule?.('node:net')
const stream = globalThis.process?.getBuiltinModule?.('node:stream')

// As they were when this was loaded: whoever records traffic replaces methods of the class.
const METHODS = {
  write: stream?.Duplex.prototype.write,
  _write: net?.Socket.prototype._write,
  _writev: net?.Socket.prototype._writev,
  _writeGeneric: (net?.Socket.prototype as { _writeGeneric?: unknown } | undefined)?._writeGeneric
}

/** Whether it is a TCP, TLS or Unix socket of Node.js whose methods nobody has replaced. */
function isSystemSocket(consumer: unknown): consumer is SystemSocket {
  if (net === undefined || !(consumer instanceof net.Socket)) return false
  const socket = consumer as unknown as Record<string, unknown>
  return Object.entries(METHODS).every(([name, method]) => socket[name] === method)
}
