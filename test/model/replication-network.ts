/** Connections between the feeds of a simulation. */
import { type CodedError, join, RoughPipe } from '../helpers/replication-pipes.ts'
import { type AnyStream, replicating } from '../helpers/replication-subjects.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle } from '../helpers/watchdog.ts'
import type { Member } from './replication-simulation.ts'

interface Connection {
  readonly name: string
  readonly streams: readonly [AnyStream, AnyStream]
  readonly pipe: RoughPipe | null
  readonly ends: Promise<(CodedError | null)[]>
}

/** Who is connected to whom. */
export class Network {
  /** Connections that were ever made. */
  made = 0
  readonly #random: SeededRandom
  readonly #note: (text: string) => void
  readonly #failed: (error: Error) => void
  readonly #members: Member[] = []
  readonly #connections: Connection[] = []

  /**
   * @param note - is told what is done
   * @param failed - is told of streams that end with an error that no bad connection explains
   */
  constructor(random: SeededRandom, note: (text: string) => void, failed: (error: Error) => void) {
    this.#random = random
    this.#note = note
    this.#failed = failed
  }

  /** Connections there are. */
  get open(): number {
    return this.#connections.length
  }

  add(member: Member): void {
    this.#members.push(member)
  }

  /** Connects two random members, which may be connected already, badly. */
  connectTwo(): void {
    const [a, b] = this.#random.shuffle(this.#members) as [Member, Member]
    const budget = this.#random.chance(0.5) ? Infinity : this.#random.between(1, 8000)
    this.#note(`connect ${a.name} and ${b.name} for ${budget} bytes`)
    // A source of its own: how often it is asked depends on the machine.
    const own = new SeededRandom(this.#random.below(2 ** 32))
    this.#connect(a, b, (x, y) => new RoughPipe(x, y, own, budget))
  }

  /** Connects everybody with everybody, well. */
  connectAll(): void {
    for (const [i, a] of this.#members.entries()) {
      for (const b of this.#members.slice(i + 1)) {
        this.#connect(a, b, (x, y) => {
          join(x, y)
          return null
        })
      }
    }
  }

  /** Cuts a random connection. */
  cutOne(): void {
    const connection = this.#random.pick(this.#connections)
    if (connection === undefined) return
    this.#note(`cut ${connection.name}`)
    connection.pipe?.cut()
  }

  /** Cuts all connections and waits until they are gone. */
  async cutAll(): Promise<void> {
    const ends = this.#connections.map((connection) => connection.ends)
    for (const { streams } of [...this.#connections]) for (const stream of streams) stream.destroy()
    await Promise.all(ends)
    await settle(2)
  }

  /** Bytes sent over the connections that there are. */
  bytesSent(): number {
    return this.#connections.reduce((sum, { streams: [a, b] }) => sum + a.bytesSent + b.bytesSent, 0)
  }

  /** Waits until nobody sends anything any more. */
  async quiet(): Promise<void> {
    let before = -1
    while (this.bytesSent() !== before) {
      before = this.bytesSent()
      await settle(20)
    }
  }

  #connect(a: Member, b: Member, pipe: (x: AnyStream, y: AnyStream) => RoughPipe | null): void {
    const options = {
      live: true,
      encrypted: this.#random.chance(0.5),
      maxRequests: this.#random.pick([1, 4, 16])
    }
    const streams = [
      replicating(a.feed).replicate(true, options),
      replicating(b.feed).replicate(false, options)
    ] as const
    const name = `${a.name} – ${b.name}`
    const ends = Promise.all(streams.map((stream) => ended(stream)))
    const connection: Connection = { name, streams, pipe: pipe(...streams), ends }
    this.made++
    this.#connections.push(connection)
    void ends.then(([x, y]) => {
      this.#connections.splice(this.#connections.indexOf(connection), 1)
      for (const error of [x, y]) {
        // A connection may break in the middle of a message; nothing else is the fault of the connection.
        if (error && error.code !== 'ERR_STREAM_TRUNCATED') this.#failed(error)
      }
    })
  }
}

function ended(stream: AnyStream): Promise<CodedError | null> {
  return new Promise((resolve) => {
    let problem: CodedError | null = null
    stream.on('error', (error) => {
      problem = error
    })
    stream.on('close', () => resolve(problem))
  })
}
