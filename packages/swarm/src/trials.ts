import type { Traffic } from './exchange.ts'

// Milliseconds that a newcomer has: to open the feeds, to tell what it has, and to bring a block.
const TRIAL = 3000
// Newcomers at a time.
const MOST = 8

/**
 * Newcomers for whom there is no place, while a feed of somebody else is followed here. Peers that all wait for the same blocks may have
 * taken each other's places; who then comes with these blocks would be sent away by every one of them, for ever. That the author has
 * appended such blocks they do not know: copies may be complete for all they know. So newcomers get some time beyond the
 * number of peers that is allowed, to show what they bring. Places are lost by those only who brought nothing in that time, and to those
 * only who brought a block: blocks are verified, so nobody drives others out by connecting again and again.
 */
export class Trials {
  readonly #traffic: () => Map<string, Traffic>
  readonly #running = new Map<string, { timer: NodeJS.Timeout; before: Map<string, Traffic> }>()

  /** @param traffic - the blocks exchanged with each peer until now, by an identifier of the peer; the oldest peer first */
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
    const timer = setTimeout(() => {
      this.#running.delete(id)
      const now = this.#traffic()
      const same = (other: string, way: keyof Traffic): boolean =>
        before.get(other)?.[way] === now.get(other)?.[way]
      const idle = [...before.keys()].filter((other) => now.has(other) && same(other, 'received'))
      // Stable: the oldest ones stay in front.
      idle.sort((a, b) => Number(same(b, 'sent')) - Number(same(a, 'sent')))
      over((now.get(id)?.received ?? 0) > 0, idle)
    }, TRIAL)
    this.#running.set(id, { timer, before })
    return true
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
