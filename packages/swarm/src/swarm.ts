import { EventEmitter } from 'node:events'
import { type KeyPair, type Peer, ProtocolStream } from 'ddatabase'
import { addressText, readAddress } from './address.ts'
import type { AnyDuplex, Connection } from './connection.ts'
import { ConnectionTable } from './connection-table.ts'
import { Dialer } from './dialer.ts'
import { Discovery } from './discovery.ts'
import { argumentTypeError, SwarmError } from './errors.ts'
import type { SwarmEvents, SwarmStats } from './events.ts'
import { Exchange, type ExchangeHost } from './exchange.ts'
import { hex } from './hex.ts'
import type { HyperswarmConnection } from './hyperswarm.ts'
import { JoinedFeed, type JoinedHost } from './joined-feed.ts'
import { Listener } from './listener.ts'
import {
  type ConnectionOptions,
  type ConnectOptions,
  checkConnect,
  checkDuplex,
  checkJoin,
  checkListen,
  type JoinOptions,
  type ListenOptions,
  resolveOptions,
  type Settings,
  type SwarmFeed,
  type SwarmOptions
} from './options.ts'
import { Patience } from './patience.ts'

/**
 * Peers that find each other. Feeds are found by their discovery keys over Hyperswarm; peers can also be connected by TCP,
 * WebSocket, and any duplex stream. All joined feeds share the connections.
 *
 * Every connection, of whatever kind, is a protocol stream of `ddatabase` with its own handshake, cipher and capabilities: who does not
 * know the key of a feed gets nothing of it. Errors of connections never get out of the swarm; they are told by events.
 */
export class Swarm extends EventEmitter<SwarmEvents> {
  /** The X25519 pair by which peers recognise this swarm. */
  readonly keyPair: KeyPair
  readonly #options: SwarmOptions
  readonly #settings: Settings
  readonly #table: ConnectionTable
  readonly #discovery: Discovery | null
  readonly #patience: Patience
  // By discovery key in hexadecimal digits.
  readonly #feeds = new Map<string, JoinedFeed>()
  // Whose feeds are being opened, and all that were joined.
  readonly #joined = new Map<SwarmFeed, JoinedFeed>()
  readonly #opening = new Map<JoinedFeed, Promise<void>>()
  readonly #exchanges = new Map<Connection, Exchange>()
  readonly #byStream = new Map<ProtocolStream, Exchange>()
  readonly #dialers = new Map<string, Dialer>()
  readonly #listeners = new Set<Listener>()
  readonly #exchangeHost: ExchangeHost
  readonly #joinedHost: JoinedHost
  #closing: Promise<void> | null = null

  /**
   * Nothing is opened before the first feed is joined, or an address listened on or connected to.
   * @throws TypeError, RangeError for options that cannot be meant
   */
  constructor(options: SwarmOptions = {}) {
    super()
    this.#settings = resolveOptions(options)
    this.#options = options
    this.keyPair = options.keyPair ?? ProtocolStream.keyPair()
    const { Protocol = ProtocolStream, stream } = options
    // Or each connection would fail.
    if (typeof this.keyPair !== 'object') throw argumentTypeError('keyPair should be an object with two keys')
    new Protocol(true, { ...stream, keyPair: this.keyPair }).destroy()
    this.#table = this.#makeTable()
    this.#discovery = this.#settings.dht ? this.#makeDiscovery() : null
    this.#patience = new Patience(this.#settings.patience, (joined) => this.emit('no-peers', joined))
    this.#exchangeHost = {
      find: (id) => this.#feeds.get(id) ?? null,
      open: (discoveryKey, connection) => this.#openOnDemand(discoveryKey, connection),
      refused: (joined, connection) => this.emit('refused', joined, connection)
    }
    this.#joinedHost = {
      flushed: (joined) => this.#flushed(joined),
      leave: (joined) => this.leave(joined.feed),
      peerOpened: (joined, peer) => this.#peerOpened(joined, peer),
      peerRemoved: (joined, peer) => this.#peerRemoved(joined, peer),
      feedClosed: (joined) => void this.leave(joined.feed)
    }
  }

  // ---- feeds ----

  /**
   * Shares a feed: announces it and looks for peers in the background, and replicates it over every connection whose peer has it.
   * A feed that is joined already gets the new options. Feeds that are closed are left by themselves.
   * @throws TypeError for what is no feed; `ERR_SWARM_CLOSED`
   */
  join(feed: SwarmFeed, options: JoinOptions = {}): JoinedFeed {
    checkJoin(feed, options)
    if (this.#closing !== null) throw new SwarmError('ERR_SWARM_CLOSED')
    const known = this.#joined.get(feed)
    if (known !== undefined) {
      known.change(options)
      if (!this.#opening.has(known)) this.#share(known)
      return known
    }
    const joined = new JoinedFeed(feed, options, this.#joinedHost)
    this.#joined.set(feed, joined)
    // Held until the search is, so that "nobody has it" is not said in between.
    const release = joined.client ? joined.hold() : null
    const opening = this.#openFeed(joined).finally(() => {
      this.#opening.delete(joined)
      release?.()
    })
    this.#opening.set(joined, opening)
    return joined
  }

  /** Stops sharing a feed; the connections stay. Resolves when the network has been told. A feed that was not joined is ignored. */
  async leave(feed: SwarmFeed): Promise<void> {
    const joined = this.#joined.get(feed)
    if (joined === undefined || !joined.end()) return
    this.#joined.delete(feed)
    this.#patience.remove(joined)
    const { discoveryKey } = feed
    if (discoveryKey === null || this.#feeds.get(hex(discoveryKey)) !== joined) return
    this.#feeds.delete(hex(discoveryKey))
    for (const exchange of this.#exchanges.values()) exchange.left(joined, hex(discoveryKey))
    await this.#discovery?.remove(joined)
  }

  /** The feeds that were joined, or opened on demand. */
  get feeds(): JoinedFeed[] {
    return [...this.#joined.values()]
  }

  /**
   * Resolves when every feed joined so far was announced and looked up once, and those that were found were connected or did not
   * answer in time. Never rejects: who it did not reach is told by `no-peers`, `warning` and `feed-failed`.
   */
  async flush(): Promise<void> {
    await Promise.allSettled(this.feeds.map((joined) => this.#flushed(joined)))
  }

  // ---- connections ----

  /**
   * Listens for peers, on TCP or for WebSockets.
   * Errors: `ERR_PORT_IN_USE`, `ERR_LISTEN`, `ERR_SWARM_CLOSED`; TypeError, RangeError.
   */
  async listen(options: ListenOptions = {}): Promise<Listener> {
    const { port, websocket } = checkListen(options)
    const host = options.host ?? this.#settings.host
    if (this.#closing !== null) throw new SwarmError('ERR_SWARM_CLOSED')
    const kind = websocket ? 'websocket' : 'tcp'
    const listener = await Listener.start({ port, host, websocket }, (duplex, address) => {
      this.#table.add(duplex, { kind, initiator: false, address }).catch((error) => this.#warn(error))
    })
    if (this.#closing !== null) {
      await listener.close()
      throw new SwarmError('ERR_SWARM_CLOSED')
    }
    this.#listeners.add(listener)
    this.emit('listening', listener)
    return listener
  }

  /** The ports that are listened on. */
  get listening(): Listener[] {
    return [...this.#listeners].filter(({ closed }) => !closed)
  }

  /**
   * Connects to an address: `host:port`, `ws://host:port/path` or `wss://…`. If the connection is lost it is made anew in the
   * background, see {@link ConnectOptions.reconnect}. An address that is connected to already is not dialled twice: what is resolved with
   * then is the connection that there is, or while that is being made anew the next one, or whatever connects to the same peer before.
   * Errors: `ERR_ADDRESS`, `ERR_CONNECTION_REFUSED`, `ERR_CONNECT`, `ERR_CONNECT_TIMEOUT`, `ERR_CONNECTION_LOST`, `ERR_SELF`,
   * `ERR_NOT_WELCOME`, `ERR_MAX_PEERS`, `ERR_SWARM_CLOSED`. A peer that does not welcome this swarm ends the connection when it
   * knows who it is, right after this has resolved.
   */
  async connect(address: string, options: ConnectOptions = {}): Promise<Connection> {
    checkConnect(options)
    const where = readAddress(address)
    if (this.#closing !== null) throw new SwarmError('ERR_SWARM_CLOSED')
    options.signal?.throwIfAborted()
    const known = this.#dialers.get(where.text)
    if (known !== undefined && !known.over) return known.current(options.signal)
    const releases = this.feeds.filter(({ client }) => client).map((joined) => joined.hold())
    const dialer: Dialer = new Dialer(where, options, {
      connectTimeout: this.#settings.connectTimeout,
      delays: this.#settings.reconnectDelay,
      take: (duplex, { kind, text }) => this.#table.add(duplex, { kind, initiator: true, address: text }),
      present: (connection) => this.#table.present(connection),
      warn: (error) => this.#warn(error),
      ended: () => {
        if (this.#dialers.get(where.text) === dialer) this.#dialers.delete(where.text)
      }
    })
    this.#dialers.set(where.text, dialer)
    try {
      return await dialer.first
    } finally {
      for (const release of releases) release()
    }
  }

  /** Ends the connection to an address that was connected to, and does not dial it any more. */
  async disconnect(address: string): Promise<void> {
    await this.#dialers.get(readAddress(address).text)?.close()
  }

  /**
   * Takes a connection that the application brings: any duplex stream of bytes. Resolves when the peer is known.
   * Errors: `ERR_CONNECTION_LOST`, `ERR_SELF`, `ERR_NOT_WELCOME`, `ERR_MAX_PEERS`, `ERR_SWARM_CLOSED`; TypeError.
   */
  async addConnection(duplex: AnyDuplex, options: ConnectionOptions): Promise<Connection> {
    checkDuplex(duplex, options)
    const { initiator, address = null } = options
    return this.#table.add(duplex, { kind: 'stream', initiator, address })
  }

  /** The connections whose peers are known. */
  get connections(): Connection[] {
    return [...this.#table.open]
  }

  /** The feeds that both sides have opened on a connection. */
  feedsOn(connection: Connection): JoinedFeed[] {
    return this.#exchanges.get(connection)?.feeds ?? []
  }

  /** What the swarm has done and is doing, at this moment. */
  get stats(): SwarmStats {
    const connections = { hyperswarm: 0, tcp: 0, websocket: 0, stream: 0 }
    for (const { kind } of this.#table.open) connections[kind]++
    const { sent, received } = this.#table.bytes
    let announced = 0
    for (const joined of this.#feeds.values()) if (joined.announced) announced++
    return {
      peers: this.#table.peers,
      connections,
      total: { ...this.#table.counts },
      bytesSent: sent,
      bytesReceived: received,
      feeds: { joined: this.#joined.size, announced, waiting: this.#discovery?.waiting ?? 0 },
      online: this.#discovery?.online ?? false
    }
  }

  // ---- the end ----

  /** Whether the swarm was closed. */
  get closed(): boolean {
    return this.#closing !== null
  }

  /**
   * Leaves the network and ends all connections in good order, for which `closeTimeout` bounds the time. Feeds stay open: they are
   * the application's.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close(this.#settings.closeTimeout)
    return this.#closing
  }

  /** Ends everything at once: peers and the network find out by themselves. */
  destroy(): Promise<void> {
    this.#table.destroy()
    this.#closing ??= this.#close(0)
    return this.#closing
  }

  /** Closes the swarm at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(milliseconds: number): Promise<void> {
    this.#patience.clear()
    for (const dialer of this.#dialers.values()) dialer.end()
    const listeners = [...this.#listeners].map((listener) => listener.close())
    // Before the feeds are left, so that peers are not told of each of them.
    await Promise.all([...listeners, this.#table.close(), this.#discovery?.close(milliseconds)])
    await Promise.all([...this.#joined.keys()].map((feed) => this.leave(feed)))
    this.#listeners.clear()
    this.emit('close')
  }

  // ---- joining ----

  async #openFeed(joined: JoinedFeed): Promise<void> {
    const { feed } = joined
    try {
      await feed.ready()
    } catch (cause) {
      this.#failed(joined, new SwarmError('ERR_FEED_UNUSABLE', { cause }))
      return
    }
    if (joined.left || this.#closing !== null) return
    const { discoveryKey } = feed
    if (discoveryKey === null) {
      // A static feed has no key before it is finalized.
      this.#failed(joined, new SwarmError('ERR_FEED_UNUSABLE', { about: 'it has no key yet' }))
      return
    }
    const { Protocol = ProtocolStream } = this.#options
    const { dialect } = feed.constructor as { dialect?: { name?: string } }
    if (dialect?.name !== undefined && dialect.name !== Protocol.dialect.name) {
      this.#failed(joined, new SwarmError('ERR_DIALECT', { about: dialect.name }))
      return
    }
    this.#share(joined)
  }

  #share(joined: JoinedFeed): void {
    const id = hex(joined.feed.discoveryKey!)
    const other = this.#feeds.get(id)
    if (other !== undefined && other !== joined) {
      this.#failed(joined, new SwarmError('ERR_FEED_UNUSABLE', { about: 'another copy of it is joined' }))
      return
    }
    this.#feeds.set(id, joined)
    for (const exchange of this.#exchanges.values()) exchange.joined(joined, id)
    if (joined.server || joined.client) this.#discovery?.add(joined)
    else void this.#discovery?.remove(joined)
    if (joined.client && joined.peers === 0) this.#expectPeers(joined)
  }

  #failed(joined: JoinedFeed, error: SwarmError): void {
    joined.fail(error)
    void this.leave(joined.feed)
    this.emit('feed-failed', joined, error)
  }

  async #flushed(joined: JoinedFeed): Promise<void> {
    await this.#opening.get(joined)
    if (joined.failure !== null) throw joined.failure
    await this.#discovery?.first(joined)
  }

  // Patience begins when the first search is over.
  #expectPeers(joined: JoinedFeed): void {
    const begin = (): void => {
      if (!joined.left && this.#closing === null && joined.peers === 0) this.#patience.add(joined)
    }
    if (this.#discovery === null) begin()
    else void this.#discovery.first(joined).then(begin)
  }

  async #openOnDemand(discoveryKey: Uint8Array, connection: Connection): Promise<JoinedFeed | null> {
    const id = hex(discoveryKey)
    const known = this.#feeds.get(id)
    if (known !== undefined) return known
    const { open } = this.#options
    if (open === undefined) return null
    try {
      const feed = await open(discoveryKey, connection)
      if (feed === null || feed === undefined || this.#closing !== null) return null
      const found = this.#joined.get(feed)
      if (found !== undefined) {
        await this.#opening.get(found)
        return this.#feeds.get(id) ?? null
      }
      const joined = this.join(feed, { server: false, client: false })
      await this.#opening.get(joined)
      if (joined.failure !== null) return null
      this.emit('feed', joined, connection)
      // It may be another feed than the one that was asked for.
      return this.#feeds.get(id) ?? null
    } catch (cause) {
      this.#warn(new SwarmError('ERR_OPEN_HOOK', { cause }))
      return null
    }
  }

  // ---- what happens on connections ----

  #peerOpened(joined: JoinedFeed, peer: Peer): void {
    const exchange = this.#byStream.get(peer.stream.stream)
    // The application may replicate the feed on streams of its own.
    if (exchange === undefined) return
    exchange.opened(joined, peer)
    this.#patience.remove(joined)
    this.emit('peer', joined, peer, exchange.connection)
  }

  #peerRemoved(joined: JoinedFeed, peer: Peer): void {
    const exchange = this.#byStream.get(peer.stream.stream)
    if (exchange === undefined) return
    exchange.removed(joined, peer)
    if (!peer.remoteOpened) return
    this.emit('peer-remove', joined, peer, exchange.connection)
    if (joined.left || joined.peers > 0 || !joined.client || this.#closing !== null) return
    this.#discovery?.lost(joined)
    this.#patience.add(joined)
  }

  #connected(connection: Connection): void {
    const exchange = new Exchange(connection, this.#exchangeHost)
    this.#exchanges.set(connection, exchange)
    this.#byStream.set(connection.stream, exchange)
    for (const dialer of this.#dialers.values()) dialer.connected(connection)
    this.emit('connection', connection)
    const wanted = [...this.#feeds.values()].filter(({ client }) => client)
    // Worked out once each: it looks at what is here of the feed.
    const priorities = new Map(wanted.map((joined) => [joined, joined.priority]))
    exchange.ask(wanted.sort((a, b) => priorities.get(b)! - priorities.get(a)!))
  }

  #disconnected(connection: Connection, reason: Error | null): void {
    this.#exchanges.delete(connection)
    this.#byStream.delete(connection.stream)
    this.emit('disconnection', connection, reason)
  }

  #warn(error: SwarmError): void {
    if (this.#closing === null) this.emit('warning', error)
  }

  #makeTable(): ConnectionTable {
    const { accept, Protocol = ProtocolStream, stream = {} } = this.#options
    const { maxPeers, closeTimeout } = this.#settings
    return new ConnectionTable({
      keyPair: this.keyPair,
      Protocol,
      stream,
      maxPeers,
      closeTimeout,
      accept: accept ?? (() => true),
      connected: (connection) => this.#connected(connection),
      disconnected: (connection, reason) => this.#disconnected(connection, reason),
      inUse: (connection) => this.#exchanges.get(connection)?.inUse ?? false,
      // Also of a copy that is complete as far as is known here: its author may have gone on.
      awaitsBlocks: () => [...this.#feeds.values()].some(({ client, feed }) => client && !feed.writable),
      traffic: (connection) => this.#exchanges.get(connection)?.traffic ?? { received: 0, sent: 0, bytes: 0 }
    })
  }

  #makeDiscovery(): Discovery {
    return new Discovery({
      settings: this.#settings,
      keyPair: this.keyPair,
      connected: (connection) => this.#found(connection),
      full: () => this.#table.peers >= this.#settings.maxPeers,
      handshakes: () => this.#table.handshakes(),
      searched: (joined) => this.emit('searched', joined),
      warn: (error) => this.#warn(error)
    })
  }

  #found(connection: HyperswarmConnection): void {
    const { remoteHost, remotePort } = connection.rawStream
    const address = remoteHost === null ? null : addressText(remoteHost, remotePort)
    this.#table
      .add(connection, { kind: 'hyperswarm', initiator: connection.isInitiator, address })
      .catch((error) => this.#warn(error))
  }
}
