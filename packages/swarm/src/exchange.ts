import type { Peer } from 'ddatabase'
import type { Connection } from './connection.ts'
import { hex } from './hex.ts'
import type { JoinedFeed } from './joined-feed.ts'

// Feeds that were opened and that the peer has not answered; it may end the connection from 4096 on.
const UNANSWERED = 1024
// Feeds that were refused and are remembered, in case they are joined later.
const REMEMBERED = 4096
// From so many feeds on that the application is to be asked about it is looked at which of them are still open.
const QUESTIONS = 4096
// Feeds that the application is asked about at a time.
const ASKED = 16

/** What an exchange needs of the swarm. */
export interface ExchangeHost {
  /** The feed that was joined under a discovery key in hexadecimal digits. */
  find(id: string): JoinedFeed | null
  /** Asks the application for a feed. */
  open(discoveryKey: Uint8Array, connection: Connection): Promise<JoinedFeed | null>
  /** The peer does not have a feed that it was asked for. */
  refused(joined: JoinedFeed, connection: Connection): void
}

/** Numbers of blocks that were received and sent, and of bytes that were received. */
export interface Traffic {
  received: number
  sent: number
  bytes: number
}

// How many times a feed is opened on a connection as soon as the peer opens it, and how long that may wait from then on.
const AT_ONCE = 3
const LONGEST_WAIT_MS = 400

/**
 * Which feeds are open on one connection. The peer is asked for the feeds that peers are looked for of, in the order of their
 * priority and never for too many at a time; and what the peer asks for is opened if it was joined, or the application agrees.
 */
export class Exchange {
  readonly connection: Connection
  readonly #host: ExchangeHost
  // Attached and not answered yet.
  readonly #unanswered = new Set<Peer>()
  readonly #queue: JoinedFeed[] = []
  // Asked for by the peer, and not to be had.
  readonly #missed = new Set<string>()
  readonly #open = new Map<Peer, JoinedFeed>()
  // What the application is to be asked about, by discovery key in hexadecimal digits.
  readonly #questions = new Map<string, Uint8Array>()
  #mostQuestions = QUESTIONS
  #asking = 0
  // How many times the peer has opened a feed.
  readonly #answered = new WeakMap<JoinedFeed, number>()

  constructor(connection: Connection, host: ExchangeHost) {
    this.connection = connection
    this.#host = host
    connection.stream.on('discovery-key', (discoveryKey) => this.#ondiscoverykey(discoveryKey))
  }

  /** The feeds that both sides have opened. */
  get feeds(): JoinedFeed[] {
    return [...this.#open.values()]
  }

  /** Whether something is replicated, or may be soon. */
  get inUse(): boolean {
    return this.#open.size > 0 || this.#asking > 0
  }

  /** The blocks that went over the connection, of the feeds that are open on it now, and all bytes that came by it. */
  get traffic(): Traffic {
    const traffic = { received: 0, sent: 0, bytes: this.connection.bytesReceived }
    for (const { stats } of this.#open.keys()) {
      traffic.received += stats?.downloadedBlocks ?? 0
      traffic.sent += stats?.uploadedBlocks ?? 0
    }
    return traffic
  }

  /** Asks the peer for feeds; those that come first in the list first. */
  ask(feeds: Iterable<JoinedFeed>): void {
    for (const joined of feeds) this.#queue.push(joined)
    this.#askNext()
  }

  /** A feed was joined: the peer gets it if it has asked for it before. */
  joined(joined: JoinedFeed, id: string): void {
    if (this.#missed.delete(id)) this.#attach(joined)
    else if (joined.client) this.ask([joined])
  }

  /** A feed was left. */
  left(joined: JoinedFeed, id: string): void {
    const peer = this.#peerOf(joined)
    if (peer === undefined) return
    if (peer.remoteOpened) this.#remember(id)
    this.#unanswered.delete(peer)
    this.#open.delete(peer)
    peer.close()
    this.#askNext()
  }

  /** The peer has opened a feed, too. */
  opened(joined: JoinedFeed, peer: Peer): void {
    this.#open.set(peer, joined)
    this.#unanswered.delete(peer)
    this.#askNext()
  }

  /** A feed is not on this connection any more. */
  removed(joined: JoinedFeed, peer: Peer): void {
    this.#open.delete(peer)
    if (!this.#unanswered.delete(peer) || this.connection.stream.destroying) return
    // A feed that is being closed leaves its peers, too.
    if (joined.feed.readable) this.#host.refused(joined, this.connection)
    this.#askNext()
  }

  #askNext(): void {
    while (this.#unanswered.size < UNANSWERED && !this.connection.stream.destroying) {
      const joined = this.#queue.shift()
      if (joined === undefined) return
      if (!joined.left && joined.client) this.#attach(joined)
    }
  }

  #attach(joined: JoinedFeed): void {
    const { feed } = joined
    const { stream } = this.connection
    if (!feed.readable || stream.destroying || this.#peerOf(joined) !== undefined) return
    feed.replicate(stream, { live: true })
    const peer = this.#peerOf(joined)
    if (peer === undefined) return
    // The peer's own opening may have been here before; then `peer-open` follows at once.
    this.#unanswered.add(peer)
  }

  #peerOf(joined: JoinedFeed): Peer | undefined {
    return joined.feed.peers.find((peer) => peer.stream.stream === this.connection.stream)
  }

  #ondiscoverykey(discoveryKey: Uint8Array): void {
    const id = hex(discoveryKey)
    const joined = this.#host.find(id)
    if (joined !== null) {
      this.#answerOpen(joined)
      return
    }
    this.#questions.set(id, discoveryKey)
    if (this.#questions.size > this.#mostQuestions) this.#dropQuestions()
    this.#answerNext()
  }

  /** A peer can open and close feeds faster than the application answers: what it has closed nobody needs to be asked about. */
  #dropQuestions(): void {
    const open = new Set<string>()
    for (const { discoveryKey } of this.connection.stream.channels) open.add(hex(discoveryKey))
    for (const id of this.#questions.keys()) if (!open.has(id)) this.#questions.delete(id)
    this.#mostQuestions = Math.max(QUESTIONS, 2 * this.#questions.size)
  }

  /**
   * The peer has opened a feed that is here. Where its opening crossed a closing, its answer to that closes what is opened now, and so
   * on for ever: whoever is asked again and again waits until nothing is on its way any more.
   */
  #answerOpen(joined: JoinedFeed): void {
    const times = (this.#answered.get(joined) ?? 0) + 1
    this.#answered.set(joined, times)
    if (times <= AT_ONCE) {
      this.#attach(joined)
      return
    }
    // Not both sides at the same time.
    const wait = LONGEST_WAIT_MS * Math.random()
    setTimeout(() => {
      if (!joined.left) this.#attach(joined)
    }, wait)
  }

  #answerNext(): void {
    while (this.#asking < ASKED) {
      const [next] = this.#questions
      if (next === undefined) return
      const [id, discoveryKey] = next
      this.#questions.delete(id)
      this.#asking++
      void this.#answer(discoveryKey).finally(() => {
        this.#asking--
        this.#answerNext()
      })
    }
  }

  async #answer(discoveryKey: Uint8Array): Promise<void> {
    const { connection } = this
    const opened = await this.#host.open(discoveryKey, connection)
    if (connection.stream.destroying) return
    // It may have been joined meanwhile, and be open.
    const joined = opened ?? this.#host.find(hex(discoveryKey))
    if (joined !== null) {
      this.#attach(joined)
      return
    }
    this.#remember(hex(discoveryKey))
    connection.stream.close(discoveryKey)
  }

  #remember(id: string): void {
    this.#missed.delete(id)
    this.#missed.add(id)
    if (this.#missed.size <= REMEMBERED) return
    // The peer may have given that one up long ago.
    const [oldest] = this.#missed
    this.#missed.delete(oldest!)
  }
}
