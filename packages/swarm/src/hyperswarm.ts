import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import type { EventEmitter } from 'node:events'
import { isIP } from 'node:net'
import type { AnyDuplex } from './connection.ts'
import type { BootstrapNode } from './options.ts'

/** What is used of Hyperswarm, which has no types of its own. */
export interface Hyperswarm extends EventEmitter {
  readonly dht: HyperDht
  /** Tells the network where this node can be reached. */
  readonly server: { refresh(): void }
  /** While there are fewer connections than this, it makes others. */
  maxPeers: number
  join(topic: Uint8Array, options: TopicOptions): TopicSession
  flush(): Promise<boolean>
  destroy(options: { force: boolean }): Promise<void>
  on(event: 'connection', listener: (connection: HyperswarmConnection) => void): this
}

/** A connection of Hyperswarm. */
export type HyperswarmConnection = AnyDuplex & {
  readonly isInitiator: boolean
  readonly rawStream: RawStream
}

/** The socket below a connection of Hyperswarm. */
export interface RawStream {
  readonly remoteHost: string | null
  readonly remotePort: number
}

/** How a topic is joined. One of both has to be true. */
export interface TopicOptions {
  server: boolean
  client: boolean
}

/** A topic that was joined. */
export interface TopicSession {
  refresh(options: TopicOptions): Promise<boolean>
  flushed(): Promise<boolean>
  destroy(): Promise<void>
}

/** A node of the network. */
export interface HyperDht extends EventEmitter {
  /** Whether requests are answered, as far as there were any. */
  readonly online: boolean
  /** The other nodes that are known. */
  readonly nodes: { readonly length: number }
  destroy(options: { force: boolean }): Promise<void>
}

/** How Hyperswarm is started. */
export interface HyperswarmOptions {
  bootstrap: readonly BootstrapNode[] | null
  host: string | null
  seed: Uint8Array
  maxPeers: number
}

/**
 * Loads Hyperswarm and starts a node, which has to be destroyed. Not before it is needed: it opens sockets.
 * Errors: those of the system for a host that cannot be bound.
 */
export async function startHyperswarm(options: HyperswarmOptions): Promise<Hyperswarm> {
  const [swarmModule, dhtModule] = await Promise.all([import('hyperswarm'), import('hyperdht')])
  const HyperswarmClass = swarmModule.default as new (options: object) => Hyperswarm
  const HyperDhtClass = dhtModule.default as new (options: object) => HyperDht
  const host = options.host ? await bindable(options.host) : null
  const dht = new HyperDhtClass({
    ...(options.bootstrap === null ? {} : { bootstrap: options.bootstrap }),
    ...(host === null ? {} : { host })
  })
  return new HyperswarmClass({ dht, seed: options.seed, maxPeers: options.maxPeers })
}

/**
 * The IP address of a host, after a look whether it can be bound: a node that could not bind it would keep the process alive for ever,
 * also when it is destroyed.
 */
async function bindable(host: string): Promise<string> {
  const address = isIP(host) !== 0 ? host : (await lookup(host, { family: 4 })).address
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(0, address, resolve)
    })
  } finally {
    socket.close()
  }
  return address
}
