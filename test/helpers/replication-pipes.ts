/** Connections in memory between two protocol streams: whole, in pieces, delayed, cut. */

import type { AnyStream } from './replication-subjects.ts'
import type { SeededRandom } from './seeded-random.ts'
import { within } from './watchdog.ts'

/** An error with whatever code it has. */
export type CodedError = Error & { code?: string }

/** How a stream ended: with which error, or null if it ended well. */
export function ending(stream: AnyStream, what = 'a stream'): Promise<CodedError | null> {
  return within(
    new Promise((resolve) => {
      let problem: CodedError | null = null
      stream.on('error', (error: CodedError) => {
        problem = error
      })
      stream.on('close', () => resolve(problem))
    }),
    `the end of ${what}`
  )
}

/** A stream whose errors are looked at by nobody. */
export function unwatched<S extends AnyStream>(stream: S): S {
  stream.on('error', () => {})
  return stream
}

/** Connects two streams; when one goes, the other goes. */
export function join(a: AnyStream, b: AnyStream): void {
  forward(a, b, (chunk) => b.write(chunk))
  forward(b, a, (chunk) => a.write(chunk))
}

/** Hands on what `from` sends and how it ends. */
function forward(from: AnyStream, to: AnyStream, send: (chunk: Uint8Array) => void): void {
  from.on('data', (chunk: Uint8Array) => {
    if (!to.destroying) send(chunk)
  })
  from.on('end', () => to.end())
  from.on('close', () => to.destroy())
}

/** A connection that treats the bytes as badly as a real one may. */
export class RoughPipe {
  readonly #random: SeededRandom
  readonly #streams: readonly [AnyStream, AnyStream]
  #budget: number
  #cut = false

  /**
   * @param random - decides the pieces and the delays
   * @param budget - bytes of both directions together after which the connection is cut; Infinity: never
   */
  constructor(a: AnyStream, b: AnyStream, random: SeededRandom, budget = Infinity) {
    this.#random = random
    this.#streams = [a, b]
    this.#budget = budget
    this.#direction(a, b)
    this.#direction(b, a)
  }

  /** Whether the connection was cut. */
  get wasCut(): boolean {
    return this.#cut
  }

  /** Cuts the connection. */
  cut(): void {
    this.#cut = true
    for (const stream of this.#streams) stream.destroy()
  }

  #direction(from: AnyStream, to: AnyStream): void {
    const queue: (Uint8Array | null)[] = []
    let moving = false
    const move = async () => {
      if (moving) return
      moving = true
      while (queue.length > 0 && !this.#cut) {
        for (let wait = this.#random.below(3); wait > 0; wait--) await new Promise((go) => setImmediate(go))
        const chunk = queue.shift()!
        if (this.#cut || to.destroying) break
        if (chunk === null) {
          to.end()
          continue
        }
        const size = this.#random.chance(0.5) ? chunk.byteLength : this.#random.between(1, chunk.byteLength)
        const piece = chunk.subarray(0, Math.min(size, this.#budget))
        if (size < chunk.byteLength) queue.unshift(chunk.subarray(size))
        this.#budget -= size
        to.write(Buffer.from(piece))
        if (this.#budget <= 0) this.cut()
      }
      moving = false
    }
    from.on('data', (chunk: Uint8Array) => {
      // Pieces of one write arrive together more often than not.
      const last = queue.at(-1)
      if (last && this.#random.chance(0.3)) queue[queue.length - 1] = Buffer.concat([last, chunk])
      else if (chunk.byteLength > 0) queue.push(Buffer.from(chunk))
      void move()
    })
    from.on('end', () => {
      queue.push(null)
      void move()
    })
    from.on('close', () => {
      if (from.destroyed && !this.#cut) setImmediate(() => to.destroying || queue.length > 0 || to.destroy())
    })
  }
}
