import { createHash } from 'node:crypto'
import type { KeyPair } from 'ddatabase'
import { SwarmError } from './errors.ts'
import { hex } from './hex.ts'
import {
  type Hyperswarm,
  type HyperswarmConnection,
  startHyperswarm,
  type TopicSession
} from './hyperswarm.ts'
import { JobQueue } from './job-queue.ts'
import type { JoinedFeed } from './joined-feed.ts'
import type { Settings } from './options.ts'
import { about, untilTimeout } from './timing.ts'

/** Whom the search for peers tells. */
export interface DiscoveryHost {
  readonly settings: Settings
  readonly keyPair: KeyPair
  /** Somebody was connected. */
  connected(connection: HyperswarmConnection): void
  /** Whether there are as many peers as allowed. */
  full(): boolean
  /** Resolves when the handshakes that are under way are over. */
  handshakes(): Promise<void>
  /** A feed was announced and looked up, and who was found was connected. */
  searched(joined: JoinedFeed): void
  /** Something went wrong; it is tried again. */
  warn(error: SwarmError): void
}

interface Topic {
  readonly joined: JoinedFeed
  session: TopicSession | null
  /** Searches that found no peer, in a row. */
  vain: number
  timer: NodeJS.Timeout | null
  /** The search that is waited for or under way. */
  search: Promise<void> | null
  /** The first search; resolved when it is over. */
  readonly first: Promise<void>
  firstOver(): void
  removed: boolean
}

// A query on a network that does not answer must not hold up the others for ever.
const LONGEST_QUERY = 30_000
// Topics that are taken back at a time: with more of them packets are lost, and waited for.
const LEAVING = 8
// Peers that were announced and are gone take long to be given up.
const LONGEST_CONNECT = 5000

/**
 * Announces feeds and looks for peers, by Hyperswarm: what matters most first, a few topics at a time. Hyperswarm looks again every ten
 * minutes; here a feed that has no peer is looked up more often.
 */
export class Discovery {
  readonly #host: DiscoveryHost
  readonly #topics = new Map<string, Topic>()
  readonly #queue: JobQueue
  #starting: Promise<Hyperswarm> | null = null
  #swarm: Hyperswarm | null = null
  #connects: Promise<void> | null = null
  #unreached = false
  // Searches that are under way for feeds that lack blocks.
  #wanting = 0
  #closed = false

  constructor(host: DiscoveryHost) {
    this.#host = host
    this.#queue = new JobQueue(host.settings.parallel)
  }

  /** Topics that wait to be announced or looked up. */
  get waiting(): number {
    return this.#queue.waiting + this.#queue.running
  }

  /** Whether a node of the network is running, and has found others. */
  get online(): boolean {
    const dht = this.#swarm?.dht
    return dht?.online === true && dht.nodes.length > 0
  }

  /** Announces a feed and looks for peers, or does so once more after its options have changed. */
  add(joined: JoinedFeed): void {
    if (this.#closed || (!joined.server && !joined.client)) return
    const id = hex(joined.feed.discoveryKey!)
    const known = this.#topics.get(id)
    if (known !== undefined) {
      known.vain = 0
      void this.#search(known)
      return
    }
    let firstOver = (): void => {}
    const first = new Promise<void>((resolve) => {
      firstOver = resolve
    })
    const topic: Topic = {
      joined,
      session: null,
      vain: 0,
      timer: null,
      search: null,
      first,
      firstOver,
      removed: false
    }
    this.#topics.set(id, topic)
    const release = joined.client ? joined.hold() : null
    void first.then(release)
    void this.#search(topic)
  }

  /** Takes a feed back. Resolves when the network has been told. */
  async remove(joined: JoinedFeed): Promise<void> {
    const id = hex(joined.feed.discoveryKey!)
    const topic = this.#topics.get(id)
    if (topic === undefined || topic.joined !== joined) return
    this.#topics.delete(id)
    await this.#end(topic)
  }

  /** A feed has lost its last peer: others are looked for, soon. */
  lost(joined: JoinedFeed): void {
    const topic = this.#topics.get(hex(joined.feed.discoveryKey!))
    if (topic === undefined) return
    topic.vain = 0
    // That may be minutes away.
    if (topic.timer !== null) clearTimeout(topic.timer)
    topic.timer = null
    this.#searchLater(topic)
  }

  /** Resolves when the first search for a feed is over. */
  async first(joined: JoinedFeed): Promise<void> {
    await this.#topics.get(hex(joined.feed.discoveryKey!))?.first
  }

  /** Takes all feeds back, as far as there is time, and leaves the network. */
  async close(milliseconds: number): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const deadline = Date.now() + milliseconds
    this.#queue.clear()
    const topics = [...this.#topics.values()]
    this.#topics.clear()
    const swarm = await this.#starting?.catch(() => null)
    if (milliseconds > 0) {
      const queue = new JobQueue(Math.min(LEAVING, this.#host.settings.parallel))
      await untilTimeout(
        Promise.all(topics.map((topic) => queue.add(0, () => this.#end(topic)))),
        milliseconds
      )
      queue.clear()
    }
    if (swarm) await this.#leaveNetwork(swarm, Math.max(0, deadline - Date.now()))
    // Their timers would keep the process running. On a node that is no more this takes no time.
    await Promise.all(topics.map((topic) => this.#end(topic)))
  }

  async #leaveNetwork(swarm: Hyperswarm, milliseconds: number): Promise<void> {
    // A node that serves says goodbye to those that know its address, who may not answer.
    const left = swarm.destroy({ force: true }).catch(() => {})
    await untilTimeout(left, milliseconds)
    await swarm.dht.destroy({ force: true }).catch(() => {})
    await left
  }

  #search(topic: Topic): Promise<void> {
    topic.search ??= this.#queue.add(topic.joined.priority, () => this.#query(topic))
    return topic.search
  }

  async #query(topic: Topic): Promise<void> {
    const { joined } = topic
    if (topic.timer !== null) clearTimeout(topic.timer)
    topic.timer = null
    if (topic.removed || this.#closed) return
    const { server, client } = joined
    let reached = false
    let noMore = (): void => {}
    try {
      const swarm = await this.#start()
      if (topic.removed || this.#closed) return
      if (client && !joined.feed.writable) noMore = this.#allowOneMore(swarm)
      if (topic.session === null) topic.session = swarm.join(joined.feed.discoveryKey!, { server, client })
      else topic.session.refresh({ server, client }).catch(() => {})
      // Without any other node a query succeeds, too.
      reached = (await untilTimeout(topic.session.flushed(), LONGEST_QUERY)) === true && this.online
    } catch (cause) {
      this.#host.warn(new SwarmError('ERR_DHT', { cause }))
    }
    topic.search = null
    this.#noteReach()
    if (topic.removed) return noMore()
    joined.searched(server && reached)
    // The connections that follow from it do not take a place of the queue.
    void this.#conclude(topic).finally(noMore)
  }

  /** Hyperswarm may make one connection more than there are places, until the function returned is called: somebody may give way. */
  #allowOneMore(swarm: Hyperswarm): () => void {
    if (this.#wanting++ === 0) swarm.maxPeers++
    return () => {
      if (--this.#wanting === 0) swarm.maxPeers--
    }
  }

  // A node that began to serve while it reached nobody would tell its address no sooner than after five minutes.
  #noteReach(): void {
    if (this.#unreached && this.online) this.#swarm?.server.refresh()
    this.#unreached = !this.online
  }

  async #conclude(topic: Topic): Promise<void> {
    await this.#connectsOver()
    topic.firstOver()
    if (topic.removed || this.#closed) return
    this.#host.searched(topic.joined)
    this.#searchLater(topic)
  }

  #searchLater(topic: Topic): void {
    if (topic.removed || this.#closed || topic.timer !== null || topic.search !== null) return
    const { joined } = topic
    // Feeds of others are looked at again for as long as they are joined: all places may be taken later.
    if (!this.#isWanting(joined) && (!joined.client || joined.feed.writable)) return
    const { min, max } = this.#host.settings.searchDelay
    const delay = about(Math.min(max, min * 2 ** topic.vain++))
    topic.timer = setTimeout(() => {
      topic.timer = null
      if (this.#isWanting(joined)) void this.#search(topic)
      else this.#searchLater(topic)
    }, delay)
  }

  /**
   * Whether a feed is still to be announced, or has nobody to get it from: no peer, only such that have nothing of it either, or as many as
   * allowed, who may know less of it than its author, who is not looking for them.
   */
  #isWanting({ client, feed, peers, server, announced }: JoinedFeed): boolean {
    const vain = peers === 0 || (!feed.writable && (feed.length === 0 || this.#host.full()))
    return (client && vain) || (server && !announced)
  }

  /** Resolves when who was found until now was connected, or has had the time. */
  async #connectsOver(): Promise<void> {
    const running = this.#connects
    if (running !== null) await running
    this.#connects ??= this.#settleConnects().finally(() => {
      this.#connects = null
    })
    await this.#connects
  }

  async #settleConnects(): Promise<void> {
    const over = async (): Promise<void> => {
      // Without a socket this fails, too, which the search has told of already.
      await this.#swarm?.flush().catch(() => {})
      await this.#host.handshakes()
    }
    await untilTimeout(over(), LONGEST_CONNECT)
  }

  #start(): Promise<Hyperswarm> {
    this.#starting ??= this.#startNow().catch((error: unknown) => {
      // The next search tries again: the host may be there then.
      this.#starting = null
      throw error
    })
    return this.#starting
  }

  async #startNow(): Promise<Hyperswarm> {
    const { settings, keyPair } = this.#host
    // Two keys for two curves: nobody who sees one can tell the other.
    const seed = createHash('sha256').update('ddatabase-swarm').update(keyPair.secretKey).digest()
    const swarm = await startHyperswarm({
      bootstrap: settings.bootstrap,
      host: settings.host,
      seed,
      maxPeers: settings.maxPeers
    })
    this.#swarm = swarm
    swarm.on('connection', (connection) => this.#host.connected(connection))
    return swarm
  }

  async #end(topic: Topic): Promise<void> {
    this.#release(topic)
    await topic.session?.destroy().catch(() => {})
  }

  #release(topic: Topic): void {
    topic.removed = true
    if (topic.timer !== null) clearTimeout(topic.timer)
    topic.timer = null
    topic.firstOver()
  }
}
