import type { Peer } from 'ddatabase'
import type { JoinOptions, SwarmFeed } from './options.ts'

/** Whom a joined feed tells. */
export interface JoinedHost {
  /** Resolves when the feed was announced and looked up once, and whom that found was connected. */
  flushed(joined: JoinedFeed): Promise<void>
  leave(joined: JoinedFeed): Promise<void>
  peerOpened(joined: JoinedFeed, peer: Peer): void
  peerRemoved(joined: JoinedFeed, peer: Peer): void
  feedClosed(joined: JoinedFeed): void
}

/** A feed in a swarm. */
export class JoinedFeed {
  /** The feed. */
  readonly feed: SwarmFeed
  readonly #host: JoinedHost
  readonly #peers = new Set<Peer>()
  #options: JoinOptions
  #left = false
  #announced = false
  #looked = false
  #failure: Error | null = null

  /** Made by `swarm.join`. @internal */
  constructor(feed: SwarmFeed, options: JoinOptions, host: JoinedHost) {
    this.feed = feed
    this.#options = options
    this.#host = host
    feed.on('peer-open', this.#onopen)
    feed.on('peer-remove', this.#onremove)
    feed.on('close', this.#onclose)
  }

  /** Whether it is announced to others. */
  get server(): boolean {
    return this.#options.server !== false
  }

  /** Whether others are looked for. */
  get client(): boolean {
    return this.#options.client !== false
  }

  /** Feeds with a higher number come first, see {@link JoinOptions.priority}. */
  get priority(): number {
    return this.#options.priority ?? (this.lacksBlocks ? 2 : 1)
  }

  /** Whether blocks are missing here that others may have; those of a sparse copy may be. */
  get lacksBlocks(): boolean {
    const { feed } = this
    return !feed.writable && (feed.sparse || feed.length === 0 || feed.downloaded() < feed.length)
  }

  /** Number of connections on which the peer has opened the feed, too. */
  get peers(): number {
    return this.#peers.size
  }

  /** Whether the network has heard of it, as far as it is announced. */
  get announced(): boolean {
    return this.#announced
  }

  /** Whether others were looked for at least once. */
  get looked(): boolean {
    return this.#looked
  }

  /** Whether it was left, or the feed closed. */
  get left(): boolean {
    return this.#left
  }

  /** Why it could not be joined, or null. It has been left then. */
  get failure(): Error | null {
    return this.#failure
  }

  /**
   * Resolves when the feed was announced and looked up once, and those that were found were connected or did not answer.
   * Errors: `ERR_FEED_UNUSABLE`, `ERR_DIALECT`.
   */
  flushed(): Promise<void> {
    return this.#host.flushed(this)
  }

  /** Stops sharing the feed; other feeds stay on the connections. Resolves when the network has been told. */
  leave(): Promise<void> {
    return this.#host.leave(this)
  }

  // ---- for the swarm ----

  /** @internal */
  change(options: JoinOptions): void {
    this.#options = { ...this.#options, ...options }
  }

  /** @internal */
  searched(announced: boolean): void {
    this.#announced = announced
    this.#looked = true
  }

  /** @internal */
  fail(error: Error): void {
    this.#failure = error
  }

  /** Keeps the feed from deciding that nobody has something, until the function returned is called. @internal */
  hold(): () => void {
    this.feed.ifAvailable.wait()
    let held = true
    return () => {
      if (!held) return
      held = false
      this.feed.ifAvailable.continue()
    }
  }

  /** Takes the listeners off; false if that was done before. @internal */
  end(): boolean {
    if (this.#left) return false
    this.#left = true
    this.#announced = false
    this.feed.off('peer-open', this.#onopen)
    this.feed.off('peer-remove', this.#onremove)
    this.feed.off('close', this.#onclose)
    this.#peers.clear()
    return true
  }

  readonly #onopen = (peer: Peer): void => {
    this.#peers.add(peer)
    this.#host.peerOpened(this, peer)
  }

  readonly #onremove = (peer: Peer): void => {
    this.#peers.delete(peer)
    this.#host.peerRemoved(this, peer)
  }

  readonly #onclose = (): void => this.#host.feedClosed(this)
}
