import type { Damage } from '../errors.ts'
import type { ForkProof } from '../merkle/fork.ts'
import type { HaveMessage } from '../replication/messages.ts'
import type { Peer } from '../replication/peer.ts'
import type { ProtocolStream } from '../replication/stream.ts'
import type { Recovery } from './recovered.ts'

/** The events of a feed, and what listeners are called with (spec API §4). */
export interface FeedEvents {
  /** The feed is open. */
  ready: []
  /** Opening found what a crash had left, and repaired it; before `ready`. */
  recovered: [recovery: Recovery]
  /**
   * Something stored does not hold. `repaired`: the other files could mend it; otherwise the blocks that it concerned are not
   * here any more, and are fetched again from peers that have them.
   */
  damage: [damage: Damage, repaired: boolean]
  /**
   * A longer history of this feed is known to be signed, of this length, and is not here: appending is refused. Known from a
   * signature that opening found, or from a peer that has that history.
   */
  behind: [length: number]
  /**
   * The key of this feed has signed another history, and a peer has it: the proof, for anybody to verify (`verifyFork`). What
   * is here stays, nothing of the other one is stored, and its peers are refused. Once for each other history; also at each
   * opening, before `ready`, if the storage remembers it.
   */
  fork: [proof: ForkProof]
  /** Opening failed. Errors of connections are on their streams. */
  error: [
    error: Error & {
      /** Stable code of an error of this package. */
      readonly code?: string
    }
  ]
  /** The feed is closed. */
  close: []
  /** The feed has become longer. */
  append: []
  /** A block has come from a peer (null for `put`) and is stored: its bytes, not decoded. */
  download: [index: number, data: Uint8Array, peer: Peer | null]
  /** A block is about to be sent to a peer: its bytes, not decoded. */
  upload: [index: number, data: Uint8Array, peer: Peer]
  /** Every block of the known length is here. */
  sync: []
  /** Blocks `start` … `end` − 1 were cleared. */
  clear: [start: number, end: number]
  /** The feed was attached to a stream. */
  'peer-add': [peer: Peer]
  /** The remote has opened the feed too. */
  'peer-open': [peer: Peer]
  /** The feed has left a stream. */
  'peer-remove': [peer: Peer]
  /** A remote said what it has. */
  'peer-ack': [peer: Peer, have: HaveMessage]
  /** A remote knows of a longer feed, or said for the first time what it has. */
  'remote-update': [peer: Peer]
  /** The feed is being replicated on a stream. */
  replicating: [stream: ProtocolStream]
  /** An update of `eagerUpdate` failed. */
  'update-error': [
    error: Error & {
      /** Stable code of an error of this package. */
      readonly code?: string
    }
  ]
}
