/** Peers that find each other: feeds over Hyperswarm, TCP, WebSocket and any duplex stream. */
export type { AnyDuplex, Connection } from './connection.ts'
export { SwarmError, type SwarmErrorCode } from './errors.ts'
export type { SwarmEvents, SwarmStats } from './events.ts'
export type { JoinedFeed } from './joined-feed.ts'
export type { Listener } from './listener.ts'
export type {
  BootstrapNode,
  ConnectionKind,
  ConnectionOptions,
  ConnectOptions,
  JoinOptions,
  ListenOptions,
  OpenHook,
  SwarmFeed,
  SwarmOptions
} from './options.ts'
export { Swarm, Swarm as default } from './swarm.ts'
