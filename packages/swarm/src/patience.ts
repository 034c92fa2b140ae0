import type { JoinedFeed } from './joined-feed.ts'

/** Tells of feeds that have had no peer for some time, once each time that they begin to be without. */
export class Patience {
  readonly #milliseconds: number
  readonly #over: (joined: JoinedFeed) => void
  readonly #timers = new Map<JoinedFeed, NodeJS.Timeout>()

  /** @param over - the time is over for a feed */
  constructor(milliseconds: number, over: (joined: JoinedFeed) => void) {
    this.#milliseconds = milliseconds
    this.#over = over
  }

  /** A feed is without peers from now on. */
  add(joined: JoinedFeed): void {
    this.remove(joined)
    const timer = setTimeout(() => {
      this.#timers.delete(joined)
      this.#over(joined)
    }, this.#milliseconds)
    this.#timers.set(joined, timer)
  }

  /** A feed has a peer, or has left. */
  remove(joined: JoinedFeed): void {
    clearTimeout(this.#timers.get(joined))
    this.#timers.delete(joined)
  }

  /** Tells nothing any more. */
  clear(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
