import type { Traffic } from './exchange.ts'

// Milliseconds that a newcomer has: to open the feeds, to tell what it has, and to bring a block.
const TRIAL = 3000
// How often that time is given again to one from whom so many bytes came in it, and no whole block yet: a block of some hundred kilobytes
// takes longer on a slow line, and would be begun anew each time, for ever.
const AGAIN = 9
const ARRIVING = 16_384
// Newcomers at a time.
const MOST = 8

interface Trial {
  timer: NodeJS.Timeout
  /** What had come from whom when it began. */
  readonly before: Map<string, Traffic>
  /** How much had come from the newcomer when it was looked at last. */
  bytes: number
  /** How often its time may be given again. */
  again: number
  over(brought: boolean, idle: string[]): void
}

/**
 * Newcomers for whom there is no place, while a feed of somebody else is followed here. Peers that all wait for the same blocks may have
 * taken each other's places; who then comes with these blocks would be sent away by every one of them, for ever. That the author has
 * appended such blocks they do not know: copies may be complete for all they know. So newcomers get some time beyond the
 * number of peers that is allowed, to show what they bring. Places are lost by those only who brought nothing in that time, and to those
 * only who brought a block: blocks are verified, so nobody drives others out by connecting again and again.
 */
export class Trials {
  readonly #traffic: () => Map<string, Traffic>
  readonly #running = new Map<string, Trial>()

  /** @param traffic - what was exchanged with each peer until now, by an identifier of the peer; the oldest peer first */
  constructor(traffic: () => Map<string, Traffic>) {
    this.#traffic = traffic
  }

  /** Number of newcomers. */
  get size(): number {
    return this.#running.size
  }

  /** Whether a peer is a newcomer. */
  has(id: string): boolean {
    return this.#running.has(id)
  }

  /**
   * Gives a peer its time; false if there are too many already.
   *
   * @param over - called after that: whether the peer has brought a block, and who was here all the time and has brought none. Of those
   *   the ones come first to whom nothing was sent either, and then the oldest ones.
   */
  begin(id: string, over: (brought: boolean, idle: string[]) => void): boolean {
    if (this.#running.size >= MOST) return false
    const before = this.#traffic()
    for (const other of this.#running.keys()) before.delete(other)
    this.#running.set(id, {
      timer: setTimeout(() => this.#look(id), TRIAL),
      before,
      bytes: 0,
      again: AGAIN,
      over
    })
    return true
  }

  #look(id: string): void {
    const trial = this.#running.get(id)!
    const { before, over } = trial
    const now = this.#traffic()
    const { received = 0, bytes = 0 } = now.get(id) ?? {}
    if (received === 0 && bytes - trial.bytes >= ARRIVING && trial.again > 0) {
      trial.bytes = bytes
      trial.again--
      trial.timer = setTimeout(() => this.#look(id), TRIAL)
      return
    }
    this.#running.delete(id)
    const same = (other: string, way: keyof Traffic): boolean =>
      before.get(other)?.[way] === now.get(other)?.[way]
    const idle = [...before.keys()].filter((other) => now.has(other) && same(other, 'received'))
    // Stable: the oldest ones stay in front.
    idle.sort((a, b) => Number(same(b, 'sent')) - Number(same(a, 'sent')))
    over(received > 0, idle)
  }

  /** A peer has gone. */
  end(id: string): void {
    clearTimeout(this.#running.get(id)?.timer)
    this.#running.delete(id)
    // Who comes back was not here all the time, and may be a newcomer, without a place to lose.
    for (const { before } of this.#running.values()) before.delete(id)
  }

  /** Nobody is to be told of anything any more. Newcomers stay newcomers until they go. */
  clear(): void {
    for (const { timer } of this.#running.values()) clearTimeout(timer)
  }
}
