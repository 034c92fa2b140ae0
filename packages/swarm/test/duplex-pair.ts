import { Duplex } from 'node:stream'

/** Two streams: what is written to one is read from the other. If one is destroyed, so is the other. */
export function duplexPair(): [Duplex, Duplex] {
  const one: Duplex = new Half(() => other)
  const other: Duplex = new Half(() => one)
  return [one, other]
}

class Half extends Duplex {
  readonly #other: () => Duplex
  #waiting: (() => void) | null = null

  constructor(other: () => Duplex) {
    super({ allowHalfOpen: true })
    this.#other = other
    this.on('error', () => {})
  }

  override _read(): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: () => void): void {
    const other = this.#other() as Half
    if (other.destroyed || other.push(chunk)) callback()
    else other.#waiting = callback
  }

  override _final(callback: () => void): void {
    this.#other().push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const other = this.#other()
    setImmediate(() => {
      if (!other.readableEnded || error !== null) other.destroy()
    })
    callback(error)
  }
}
