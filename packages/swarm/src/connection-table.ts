import type { KeyPair, ProtocolHandlers, ProtocolStream } from 'ddatabase'
import { type AnyDuplex, Connection } from './connection.ts'
import { SwarmError } from './errors.ts'
import type { Traffic } from './exchange.ts'
import { hex } from './hex.ts'
import type { ConnectionKind } from './options.ts'
import { Trials } from './trials.ts'

/** What the table needs to know, and whom it tells. */
export interface TableHost {
  readonly keyPair: KeyPair
  readonly Protocol: typeof ProtocolStream
  readonly stream: ProtocolHandlers
  readonly maxPeers: number
  readonly closeTimeout: number
  /** Whether a peer is welcome. */
  accept(remotePublicKey: Uint8Array): boolean | Promise<boolean>
  /** A peer is connected: its feeds may be opened. */
  connected(connection: Connection): void
  /** A connection that was told of is over. */
  disconnected(connection: Connection, reason: Error | null): void
  /** Whether feeds are replicated on a connection. */
  inUse(connection: Connection): boolean
  /** Whether peers may have blocks that are not here. */
  awaitsBlocks(): boolean
  /** What went over a connection. */
  traffic(connection: Connection): Traffic
}

/** How a connection begins. */
export interface Beginning {
  kind: ConnectionKind
  initiator: boolean
  address: string | null
}

/** Counters of connections since the swarm began. */
export interface ConnectionCounts {
  /** Handshakes that were completed and taken. */
  opened: number
  /** Of these, those that are over. */
  closed: number
  /** Attempts from either side that did not become a connection. */
  failed: number
  /** Of those that are over, those that gave way to a newer one with the same peer. */
  duplicates: number
  /** Connections that were too many: they failed, or were closed when they had brought nothing. */
  refused: number
}

// For so long an old connection is kept beside a new one, on which feeds are still being opened.
const OVERLAP = 1000
// Younger connections may still be about to open their first feed.
const SETTLED = 5000

/**
 * All connections: their handshakes, their number, and one for each peer.
 *
 * Two swarms may connect twice, each to the other or over several kinds of networks. Both see both connections, but not
 * in the same order, so if each closed the one that it likes less, both might be closed. Therefore one of the two decides
 * alone, the one with the greater key: it keeps the connection that was completed last, because an older one may be the remains of
 * a network or a process that is no more. The other side uses both until then.
 */
export class ConnectionTable {
  readonly counts: ConnectionCounts = { opened: 0, closed: 0, failed: 0, duplicates: 0, refused: 0 }
  readonly #host: TableHost
  readonly #handshaking = new Set<Connection>()
  readonly #open = new Set<Connection>()
  // By hexadecimal key of the peer.
  readonly #byPeer = new Map<string, Set<Connection>>()
  #bytesSent = 0
  #bytesReceived = 0
  // Those who wait, each for the handshakes of one moment.
  readonly #waiting = new Set<{ left: Set<Connection>; over(): void }>()
  readonly #overlaps = new Map<Connection, NodeJS.Timeout>()
  // By hexadecimal key of the peer.
  readonly #trials: Trials
  #ended = false

  constructor(host: TableHost) {
    this.#host = host
    this.#trials = new Trials(() => this.#traffic())
  }

  /** Connections whose peer is known. */
  get open(): ReadonlySet<Connection> {
    return this.#open
  }

  /** Number of different peers, without those that are about to show whether they bring anything. */
  get peers(): number {
    return this.#byPeer.size - this.#trials.size
  }

  /** Bytes over all connections, also those that are over. */
  get bytes(): { sent: number; received: number } {
    let sent = this.#bytesSent
    let received = this.#bytesReceived
    for (const connections of [this.#handshaking, this.#open]) {
      for (const { bytesSent, bytesReceived } of connections) {
        sent += bytesSent
        received += bytesReceived
      }
    }
    return { sent, received }
  }

  /** This connection, or if it is over the newest one to the same peer; null if there is none. */
  present(connection: Connection): Connection | null {
    const there = this.#there(connection)
    return there.includes(connection) ? connection : (there.at(-1) ?? null)
  }

  /** Resolves when the handshakes that are under way now are over. Not those that begin meanwhile: strangers may always begin one. */
  handshakes(): Promise<void> {
    if (this.#handshaking.size === 0) return Promise.resolve()
    return new Promise((over) => this.#waiting.add({ left: new Set(this.#handshaking), over }))
  }

  /**
   * Takes a connection on: resolves when the peer is known and welcome.
   * Errors: `ERR_SWARM_CLOSED`, `ERR_MAX_PEERS`, `ERR_SELF`, `ERR_NOT_WELCOME`, `ERR_CONNECTION_LOST`.
   */
  async add(duplex: AnyDuplex, { kind, initiator, address }: Beginning): Promise<Connection> {
    const refusal = this.#ended ? 'ERR_SWARM_CLOSED' : this.#isCrowded(initiator) ? 'ERR_MAX_PEERS' : null
    if (refusal !== null) {
      this.counts.failed++
      if (refusal === 'ERR_MAX_PEERS') this.counts.refused++
      duplex.on('error', () => {})
      duplex.destroy()
      throw new SwarmError(refusal)
    }
    const { Protocol, keyPair, stream: options, closeTimeout } = this.#host
    let unwelcome: SwarmError | null = null
    const stream = new Protocol(initiator, {
      ...options,
      live: true,
      keyPair,
      onauthenticate: async (remotePublicKey, done) => {
        unwelcome = await this.#judge(remotePublicKey)
        done(unwelcome)
      },
      onhandshake: () => this.#admit(connection)
    })
    const connection: Connection = new Connection(duplex, stream, { kind, address, closeTimeout })
    this.#handshaking.add(connection)
    const begun = new Promise<void>((resolve) => stream.once('handshake', resolve))
    void connection.closed.then((reason) => this.#remove(connection, unwelcome ?? reason))
    const ended = connection.closed.then((reason) => {
      if (reason instanceof SwarmError) throw reason
      throw unwelcome ?? new SwarmError('ERR_CONNECTION_LOST', { cause: reason ?? undefined })
    })
    await Promise.race([begun, ended])
    // The peer may be one too many.
    if (!this.#open.has(connection)) await ended
    return connection
  }

  /** Ends all connections in good order; further ones are refused. */
  async close(): Promise<void> {
    this.#end()
    await Promise.all([...this.#open].map((connection) => connection.close()))
  }

  /** Ends all connections at once; further ones are refused. */
  destroy(): void {
    this.#end()
    for (const connection of this.#open) connection.destroy()
  }

  // Strangers that do not finish their handshakes must not take the place of peers, nor be without bound, nor keep this side from
  // connecting to others.
  #isCrowded(initiator: boolean): boolean {
    const same = [...this.#handshaking].filter((connection) => connection.initiator === initiator)
    return same.length >= this.#host.maxPeers
  }

  async #judge(remotePublicKey: Uint8Array): Promise<SwarmError | null> {
    if (hex(remotePublicKey) === hex(this.#host.keyPair.publicKey)) return new SwarmError('ERR_SELF')
    try {
      return (await this.#host.accept(remotePublicKey)) === true ? null : new SwarmError('ERR_NOT_WELCOME')
    } catch (cause) {
      return new SwarmError('ERR_NOT_WELCOME', { cause })
    }
  }

  #admit(connection: Connection): void {
    if (connection.stream.destroying) return
    const id = hex(connection.remotePublicKey)
    const others = [...(this.#byPeer.get(id) ?? [])]
    const full = others.length === 0 && this.peers >= this.#host.maxPeers
    if (full && !this.#makeRoom() && !this.#try(id)) {
      this.counts.refused++
      connection.refuse('ERR_MAX_PEERS')
      return
    }
    this.#handshakeOver(connection)
    this.#open.add(connection)
    this.#byPeer.set(id, new Set([...others, connection]))
    this.counts.opened++
    this.#host.connected(connection)
    const decides = id < hex(this.#host.keyPair.publicKey)
    // More than two are not needed by anybody.
    for (const other of decides ? others : others.slice(0, -1)) this.#replace(other)
  }

  #replace(connection: Connection): void {
    if (this.#overlaps.has(connection)) return
    const timer = setTimeout(() => {
      this.#overlaps.delete(connection)
      if (!this.#open.has(connection) || connection.stream.destroying) return
      // What was to take its place may be gone.
      if (this.#there(connection).at(-1) === connection) return
      this.counts.duplicates++
      connection.refuse('ERR_DUPLICATE')
    }, OVERLAP)
    this.#overlaps.set(connection, timer)
  }

  #end(): void {
    this.#ended = true
    for (const timer of this.#overlaps.values()) clearTimeout(timer)
    this.#trials.clear()
    for (const connection of this.#handshaking) connection.refuse('ERR_SWARM_CLOSED')
  }

  // A peer that shares nothing gives way to one that may.
  #makeRoom(): boolean {
    const settled = Date.now() - SETTLED
    for (const [id, connections] of this.#byPeer) {
      // A newcomer has no place to give; and a place is that of a peer, whatever its connections are.
      if (this.#trials.has(id)) continue
      const all = [...connections]
      if (all.some((connection) => connection.since > settled || this.#host.inUse(connection))) continue
      for (const connection of all) this.#dismiss(connection)
      return true
    }
    return false
  }

  // A peer that may bring what those who are here do not have.
  #try(id: string): boolean {
    if (!this.#host.awaitsBlocks()) return false
    return this.#trials.begin(id, (brought, [idle]) => {
      // There may be room by now.
      if (this.peers <= this.#host.maxPeers) return
      const leaving = brought && idle !== undefined ? idle : id
      if (leaving === id) this.counts.refused++
      for (const connection of [...this.#byPeer.get(leaving)!]) this.#dismiss(connection)
    })
  }

  // The connections to the same peer that are not about to end, the newest one last.
  #there(connection: Connection): Connection[] {
    const all = [...(this.#byPeer.get(hex(connection.remotePublicKey)) ?? [])]
    return all.filter(({ stream }) => !stream.destroying)
  }

  #traffic(): Map<string, Traffic> {
    const traffic = new Map<string, Traffic>()
    for (const [id, connections] of this.#byPeer) {
      const all = [...connections].map((connection) => this.#host.traffic(connection))
      const sum = (way: keyof Traffic): number => all.reduce((total, one) => total + one[way], 0)
      traffic.set(id, { received: sum('received'), sent: sum('sent'), bytes: sum('bytes') })
    }
    return traffic
  }

  #dismiss(connection: Connection): void {
    this.#forget(connection)
    connection.refuse('ERR_MAX_PEERS')
  }

  #remove(connection: Connection, reason: Error | null): void {
    this.#bytesSent += connection.bytesSent
    this.#bytesReceived += connection.bytesReceived
    if (this.#handshakeOver(connection)) {
      this.counts.failed++
      return
    }
    this.#open.delete(connection)
    this.#forget(connection)
    this.counts.closed++
    this.#host.disconnected(connection, reason)
  }

  #forget(connection: Connection): void {
    const id = hex(connection.remotePublicKey)
    const connections = this.#byPeer.get(id)
    connections?.delete(connection)
    if (connections?.size !== 0) return
    this.#byPeer.delete(id)
    this.#trials.end(id)
  }

  // Whether it was under way.
  #handshakeOver(connection: Connection): boolean {
    if (!this.#handshaking.delete(connection)) return false
    for (const waiting of this.#waiting) {
      waiting.left.delete(connection)
      if (waiting.left.size > 0) continue
      this.#waiting.delete(waiting)
      waiting.over()
    }
    return true
  }
}
