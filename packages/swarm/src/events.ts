import type { Peer } from 'ddatabase'
import type { Connection } from './connection.ts'
import type { SwarmError } from './errors.ts'
import type { JoinedFeed } from './joined-feed.ts'
import type { Listener } from './listener.ts'

/** The events of a swarm, and what listeners are called with. */
export interface SwarmEvents {
  /** A peer is connected and known by its key. Feeds are being opened on the connection. */
  connection: [connection: Connection]
  /** A connection is over: with the reason, or null if it ended in good order. */
  disconnection: [connection: Connection, reason: Error | null]
  /** A peer has opened a joined feed, too. */
  peer: [joined: JoinedFeed, peer: Peer, connection: Connection]
  /** A peer has closed a joined feed, or its connection is over. */
  'peer-remove': [joined: JoinedFeed, peer: Peer, connection: Connection]
  /** A peer was asked for a joined feed and does not have it, or refuses it. */
  refused: [joined: JoinedFeed, connection: Connection]
  /** A feed was opened on demand: `open` has given it. */
  feed: [joined: JoinedFeed, connection: Connection]
  /** A feed was announced and looked up, for the first time or once more, and who was found was connected. */
  searched: [joined: JoinedFeed]
  /** A feed that is looked for has had no peer for the time of `patience`. It is looked for further on. */
  'no-peers': [joined: JoinedFeed]
  /** A feed could not be joined; see `joined.failure`. */
  'feed-failed': [joined: JoinedFeed, error: SwarmError]
  /** A port is listened on. */
  listening: [listener: Listener]
  /** Something failed in the background, and is tried again if that makes sense. Never needs to be listened to. */
  warning: [error: SwarmError]
  /** The swarm is closed. */
  close: []
}

/** What a swarm has done and is doing. */
export interface SwarmStats {
  /** Different peers that are connected. */
  peers: number
  /** Connections that are open, by kind. */
  connections: { hyperswarm: number; tcp: number; websocket: number; stream: number }
  /** Connections since the swarm was made. */
  total: {
    /** Whose handshake was completed. */
    opened: number
    /** Of these, those that are over. */
    closed: number
    /** Attempts from either side that did not become a connection. */
    failed: number
    /** Closed because there was a newer one with the same peer. */
    duplicates: number
    /** Failed because there were as many as allowed. */
    refused: number
  }
  /** Bytes over all connections, also those that are over. */
  bytesSent: number
  /** Bytes over all connections, also those that are over. */
  bytesReceived: number
  feeds: {
    /** Joined, or opened on demand. */
    joined: number
    /** Known to the network. */
    announced: number
    /** Waiting to be announced or looked up. */
    waiting: number
  }
  /** Whether Hyperswarm is in use and has reached its network. */
  online: boolean
}
