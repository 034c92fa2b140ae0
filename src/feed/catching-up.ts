import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'

/** What catching up needs to know of its feed. */
export interface CatchingUpHost {
  /** The open feed. */
  readonly core: Core | null
  /** Whether blocks are appended here, and the feed is not closing. */
  readonly writable: boolean
  /** Whether the application has chosen whether blocks are fetched from peers. */
  readonly downloadingSet: boolean
  /** Begins, or ends, to fetch blocks from peers. */
  switchDownloading(on: boolean): void
  /** Appending is refused from now on. */
  behind(length: number): void
}

/**
 * What a writer does when a peer has a longer history of its own feed, because it was restored from an old copy, or because another
 * device has the same key: it appends nothing until it has that history, and fetches it if the application has not said otherwise.
 */
export class CatchingUp {
  readonly #host: CatchingUpHost
  #on = false
  // The longest history that the application was told of.
  #told = 0

  constructor(host: CatchingUpHost) {
    this.#host = host
  }

  /** A peer has a history of `length` blocks that continues ours. */
  async longerSeen(length: number): Promise<void> {
    const host = this.#host
    const { core } = host
    if (core === null || !host.writable || length <= core.length) return
    if (length > core.behind) {
      core.behind = length
      this.#tell(length)
    }
    // Whoever hears the event may want to decide for itself.
    await nextTurn()
    if (this.#on || !host.writable || host.downloadingSet || core.behind <= core.length) return
    this.#on = true
    host.switchDownloading(true)
  }

  /** The feed became longer, to `length` blocks, by what a peer sent. */
  lengthened(length: number): void {
    if (this.#host.writable && length > this.#told) this.#tell(length)
  }

  #tell(length: number): void {
    this.#told = length
    this.#host.behind(length)
  }

  /** The longer history is given up. */
  gaveUp(): void {
    if (!this.#on) return
    this.#on = false
    if (!this.#host.downloadingSet) this.#host.switchDownloading(false)
  }
}
