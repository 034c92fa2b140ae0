import type { KeyPair, Peer, ProtocolHandlers, ProtocolStream } from 'ddatabase'
import type { AnyDuplex, Connection } from './connection.ts'
import { argumentRangeError, argumentTypeError } from './errors.ts'

/** What a swarm needs of a feed: every feed of `ddatabase` has it. */
export interface SwarmFeed {
  /** Public key; null before the feed is open, unless it was given. */
  readonly key: Uint8Array | null
  /** What peers find the feed by. */
  readonly discoveryKey: Uint8Array | null
  /** Whether the feed is neither closed nor being closed. */
  readonly readable: boolean
  /** Whether this is the author's feed. */
  readonly writable: boolean
  /** Whether blocks are fetched only when asked for. */
  readonly sparse: boolean
  /** Number of blocks. */
  readonly length: number
  /** Peers on all connections. */
  readonly peers: readonly Peer[]
  /** Held while peers are looked for. */
  readonly ifAvailable: { wait(): void; continue(): void }
  /** Resolves when the feed is open. */
  ready(): Promise<unknown>
  /** Number of blocks that are here. */
  downloaded(): number
  /** Adds the feed to a connection. */
  replicate(stream: ProtocolStream, options: { live: boolean }): ProtocolStream
  /** Listens for peers. */
  on(event: 'peer-open' | 'peer-remove', listener: (peer: Peer) => void): unknown
  /** Listens for the end. */
  on(event: 'close', listener: () => void): unknown
  /** Takes a listener off. */
  off(event: 'peer-open' | 'peer-remove', listener: (peer: Peer) => void): unknown
  /** Takes a listener off. */
  off(event: 'close', listener: () => void): unknown
}

/** An address of a node of the network of peers: `host:port`, or its parts. */
export type BootstrapNode = string | { host: string; port: number }

/** Options of a swarm. */
export interface SwarmOptions {
  /** Nodes by which the network is entered. Default: the public network of Hyperswarm. Given: a private network. */
  bootstrap?: readonly BootstrapNode[] | undefined
  /** false: Hyperswarm is not used, and not loaded; peers are connected by address only. Default true. */
  dht?: boolean | undefined
  /** Address to bind, of Hyperswarm's sockets and of listeners. Default: all interfaces. */
  host?: string | undefined
  /**
   * X25519 pair by which peers recognise this swarm, see `ProtocolStream.keyPair`; that of Hyperswarm is derived from it.
   * Default: a fresh one for each swarm. No two swarms that run at once may have the same.
   */
  keyPair?: KeyPair | undefined
  /** Connections at a time. Default 64. */
  maxPeers?: number | undefined
  /** Topics that are announced or looked up at a time. Default 16. */
  parallel?: number | undefined
  /** Milliseconds without a peer after which `no-peers` is told of a feed that is looked for. Default 10000. */
  patience?: number | undefined
  /** Milliseconds that an outgoing connection may take, handshake included. Default 10000. */
  connectTimeout?: number | undefined
  /** Milliseconds after which an address is dialled again, doubled each time from `min` to `max`. Default 500 and 30000. */
  reconnectDelay?: { min?: number | undefined; max?: number | undefined } | undefined
  /** Milliseconds after which peers of a feed without any are looked for again, doubled each time. Default 5000 and 300000. */
  searchDelay?: { min?: number | undefined; max?: number | undefined } | undefined
  /** Milliseconds that `close` may spend on telling the network and the peers. Default 3000. */
  closeTimeout?: number | undefined
  /**
   * Asked when a peer opens a feed that was not joined: gives the feed, which is then served to everybody who asks until
   * it is left or closed, or nothing to refuse it. The swarm does not close it.
   */
  open?: OpenHook | undefined
  /** Whether a peer is welcome, by its X25519 key. Default: everybody. What it throws refuses the peer. */
  accept?: ((remotePublicKey: Uint8Array) => boolean | Promise<boolean>) | undefined
  /** Class of the streams: `hypercore.Protocol` for feeds of `ddatabase/hypercore`. Default: that of `ddatabase`. */
  Protocol?: typeof ProtocolStream | undefined
  /** Options of all streams, such as `timeout`, `limits` and `requireAuthenticated`. */
  stream?: Pick<ProtocolHandlers, 'timeout' | 'limits' | 'authenticated' | 'requireAuthenticated'> | undefined
}

/** Gives the feed of a discovery key, or nothing. */
export type OpenHook = (
  discoveryKey: Uint8Array,
  connection: Connection
) => SwarmFeed | null | undefined | Promise<SwarmFeed | null | undefined>

/** How a feed is shared. */
export interface JoinOptions {
  /** Announce the feed, so that others find this swarm by it. Default true. */
  server?: boolean | undefined
  /** Look for others that announce the feed, and ask every peer for it. Default true. */
  client?: boolean | undefined
  /**
   * Feeds with a higher number are announced, looked up and asked for first. Default: 2 for a feed that lacks blocks (or
   * may: a sparse copy), 1 for the others.
   */
  priority?: number | undefined
}

/** How an address is connected to. */
export interface ConnectOptions {
  /**
   * `lost` (the default): the first attempt may fail, and a connection that was there and is lost is made anew, for as long as
   * it takes. `always`: the first one, too, is tried until it succeeds. `never`: only once.
   */
  reconnect?: 'lost' | 'always' | 'never' | undefined
  /**
   * Nothing is dialled any more: a call that waits is rejected with the signal's reason, and a connection that is there stays
   * until it is lost.
   */
  signal?: AbortSignal | undefined
}

/** How a port is listened on. */
export interface ListenOptions {
  /** Default 0: any that is free. */
  port?: number | undefined
  /** Address to bind. Default: the swarm's `host`. */
  host?: string | undefined
  /** Take WebSockets instead of plain TCP. Default false. */
  websocket?: boolean | undefined
}

/** What an application knows of a connection that it brings. */
export interface ConnectionOptions {
  /** Which side this is; the other one has to say the opposite. */
  initiator: boolean
  /** Where it leads, for display. */
  address?: string | undefined
}

/** What kind of connection it is. */
export type ConnectionKind = 'hyperswarm' | 'tcp' | 'websocket' | 'stream'

/** Options with their defaults in place. */
export interface Settings {
  bootstrap: readonly BootstrapNode[] | null
  dht: boolean
  host: string | null
  maxPeers: number
  parallel: number
  patience: number
  connectTimeout: number
  reconnectDelay: Delays
  searchDelay: Delays
  closeTimeout: number
}

/** Waiting times that double, in milliseconds. */
export interface Delays {
  min: number
  max: number
}

/** Checks options and fills in the defaults. Errors: TypeError, RangeError. */
export function resolveOptions(options: SwarmOptions): Settings {
  checkObject(options, 'options')
  for (const name of ['open', 'accept', 'Protocol'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') {
      throw argumentTypeError(`${name} should be a function`)
    }
  }
  if (options.Protocol !== undefined && typeof options.Protocol.isProtocolStream !== 'function') {
    throw argumentTypeError('Protocol should be a class of streams')
  }
  checkHost(options.host)
  const { bootstrap } = options
  if (bootstrap !== undefined && !Array.isArray(bootstrap)) {
    throw argumentTypeError('bootstrap should be an array of addresses')
  }
  for (const node of bootstrap ?? []) checkNode(node)
  checkObject(options.stream ?? {}, 'stream')
  return {
    bootstrap: bootstrap ?? null,
    dht: options.dht !== false,
    host: options.host ?? null,
    maxPeers: whole(options.maxPeers, 64, 'maxPeers', 1),
    parallel: whole(options.parallel, 16, 'parallel', 1),
    patience: whole(options.patience, 10_000, 'patience', 0),
    connectTimeout: whole(options.connectTimeout, 10_000, 'connectTimeout', 1),
    reconnectDelay: delays(options.reconnectDelay, 500, 30_000, 'reconnectDelay'),
    searchDelay: delays(options.searchDelay, 5000, 300_000, 'searchDelay'),
    closeTimeout: whole(options.closeTimeout, 3000, 'closeTimeout', 0)
  }
}

/** Checks the arguments of `join`. Errors: TypeError. */
export function checkJoin(feed: unknown, options: JoinOptions): void {
  const { replicate, ready } = (feed ?? {}) as Partial<SwarmFeed>
  if (typeof replicate !== 'function' || typeof ready !== 'function') {
    throw argumentTypeError('feed should be a feed of ddatabase')
  }
  checkObject(options, 'options')
  const { priority } = options
  if (priority === undefined) return
  if (typeof priority !== 'number') throw argumentTypeError('priority should be a number')
  if (Number.isNaN(priority)) throw argumentRangeError('priority should be a number, got NaN')
}

/** Checks the options of `connect`. Errors: TypeError. */
export function checkConnect(options: ConnectOptions): void {
  checkObject(options, 'options')
  const { reconnect, signal } = options
  if (reconnect !== undefined && reconnect !== 'lost' && reconnect !== 'always' && reconnect !== 'never') {
    throw argumentTypeError('reconnect should be "lost", "always" or "never"')
  }
  if (signal !== undefined && signal !== null && typeof signal.throwIfAborted !== 'function') {
    throw argumentTypeError('signal should be an AbortSignal')
  }
}

/** Checks the options of `listen`. Errors: TypeError, RangeError. */
export function checkListen(options: ListenOptions): { port: number; websocket: boolean } {
  checkObject(options, 'options')
  const { port, host, websocket = false } = options
  checkHost(host)
  if (typeof websocket !== 'boolean') throw argumentTypeError('websocket should be a boolean')
  return { port: whole(port, 0, 'port', 0, 65535), websocket }
}

/** Checks the arguments of `addConnection`. Errors: TypeError. */
export function checkDuplex(duplex: AnyDuplex, options: ConnectionOptions): void {
  if (typeof options?.initiator !== 'boolean') throw argumentTypeError('initiator should be a boolean')
  if (typeof duplex?.pipe !== 'function' || typeof duplex.write !== 'function') {
    throw argumentTypeError('duplex should be a duplex stream')
  }
}

function checkObject(value: unknown, name: string): void {
  if (typeof value !== 'object' || value === null) throw argumentTypeError(`${name} should be an object`)
}

// What is no name would be taken for none, and all interfaces be listened on.
function checkHost(host: unknown): void {
  if (host !== undefined && host !== null && typeof host !== 'string')
    throw argumentTypeError('host should be a string')
}

function delays(given: SwarmOptions['reconnectDelay'], min: number, max: number, name: string): Delays {
  checkObject(given ?? {}, name)
  const least = whole(given?.min, min, `${name}.min`, 1)
  return { min: least, max: whole(given?.max, Math.max(max, least), `${name}.max`, least) }
}

function checkNode(node: unknown): void {
  const text = typeof node === 'string' ? /^[^:]+:(\d{1,5})$/.exec(node) : null
  const { host, port } = (node ?? {}) as { host?: unknown; port?: unknown }
  if (text === null && (typeof host !== 'string' || typeof port !== 'number')) {
    throw argumentTypeError('Nodes of bootstrap should be "host:port" or { host, port }')
  }
  // Hyperswarm would throw where nobody can catch it.
  whole(text === null ? (port as number) : Number(text[1]), 0, 'Port of a node of bootstrap', 1, 65535)
}

// Timers cannot do more.
const MOST = 2 ** 31 - 1

/** A whole number from `least` on, or the default. Errors: TypeError, RangeError. */
export function whole(
  value: number | undefined,
  byDefault: number,
  name: string,
  least: number,
  most = MOST
): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw argumentTypeError(`${name} should be a number`)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw argumentRangeError(`${name} should be a whole number from ${least} to ${most}, got ${value}`)
  }
  return value
}
