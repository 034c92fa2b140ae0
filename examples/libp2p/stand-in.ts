import type { Libp2pStream } from './duplex.ts'

// Bytes that may wait for a side that does not read.
const ROOM = 64 * 1024

/** Two ends of one stream, with the methods of libp2p's. What is sent by one is read from the other. */
export function streamPair(): [Libp2pStream, Libp2pStream] {
  const [one, other] = [new End(), new End()]
  one.other = other
  other.other = one
  return [one, other]
}

class End implements Libp2pStream {
  other!: End
  #queue: Uint8Array[] = []
  #size = 0
  #ended = false
  #error: Error | null = null
  #readers: (() => void)[] = []
  #writers: (() => void)[] = []

  send(bytes: Uint8Array): boolean {
    const { other } = this
    if (this.#error !== null) throw this.#error
    other.#queue.push(Uint8Array.from(bytes))
    other.#size += bytes.byteLength
    other.#wake(other.#readers)
    return other.#size < ROOM
  }

  async onDrain(): Promise<void> {
    while (this.other.#size >= ROOM && this.#error === null) {
      await new Promise<void>((resolve) => this.other.#writers.push(resolve))
    }
    if (this.#error !== null) throw this.#error
  }

  async close(): Promise<void> {
    this.other.#ended = true
    this.other.#wake(this.other.#readers)
  }

  abort(error: Error): void {
    for (const end of [this, this.other]) {
      end.#error ??= error
      end.#wake(end.#readers)
      end.#wake(end.#writers)
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (true) {
      const bytes = this.#queue.shift()
      if (bytes !== undefined) {
        this.#size -= bytes.byteLength
        this.#wake(this.#writers)
        yield bytes
      } else if (this.#error !== null) throw this.#error
      else if (this.#ended) return
      else await new Promise<void>((resolve) => this.#readers.push(resolve))
    }
  }

  #wake(waiting: (() => void)[]): void {
    for (const resolve of waiting.splice(0)) resolve()
  }
}
