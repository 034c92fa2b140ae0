/** What the server and the page say to each other, in JSON. Bytes are hexadecimal, counts are blocks unless they say bytes. */

/** Something about a feed that its owner should know. */
export interface Warning {
  kind: 'damage' | 'fork' | 'behind' | 'recovered' | 'failed' | 'closed'
  text: string
}

/** A feed in the list. */
export interface FeedSummary {
  id: string
  name: string
  key: string | null
  state: 'opening' | 'open' | 'closed' | 'failed'
  length: number
  byteLength: number
  /** Blocks that are here. */
  present: number
  writable: boolean
  peers: number
  warnings: Warning[]
}

/** Blocks and bytes that went to and from peers since the feed was opened. */
export interface Transfers {
  uploadedBlocks: number
  uploadedBytes: number
  downloadedBlocks: number
  downloadedBytes: number
}

/** A connected peer. */
export interface PeerSummary {
  id: number
  address: string | null
  type: string | null
  publicKey: string | null
  /** Blocks that it says the feed has. */
  remoteLength: number
  /** Share of the blocks of each of equal parts of the feed that it has, 0 … 1, from samples. */
  has: number[]
  /** It fetches blocks from here. */
  wants: boolean
  /** Blocks that are here, and that it was neither sent nor has said it has, from samples; null if nothing is known of it. */
  lacks: number | null
  /** The last block that it asked for and was sent, and how many milliseconds ago. */
  sent: { block: number; ago: number } | null
  /** It sends blocks. */
  gives: boolean
  /** Blocks that it was asked for and has not sent yet: as many as are told here, … */
  owes: number[]
  /** … and how many there are. */
  owed: number
  /** Milliseconds since the oldest of them was asked for. */
  owedFor: number
  transfers: Transfers | null
}

/** An audit, running or done. */
export interface AuditState {
  state: 'running' | 'done' | 'failed' | 'cancelled'
  /** Blocks looked at, of `total`. */
  checked: number
  total: number
  /** Blocks that are as they were signed, and those that were not and are not here any more. */
  valid: number
  invalid: number
  /** Places where something did not hold, and how many of them were mended. */
  damaged: number
  repaired: number
  /** The first of those places, in words. */
  places: string[]
  /** Why it failed. */
  error: string | null
}

/** The feed that the page looks at. */
export interface FeedDetail {
  id: string
  discoveryKey: string | null
  sparse: boolean
  live: boolean
  remoteLength: number
  /** Goes up when what is here, or was asked for, has changed. */
  revision: number
  transfers: Transfers | null
  /** When the transfers were read, in milliseconds. */
  time: number
  peers: PeerSummary[]
  audit: AuditState | null
}

/** A part of the block map: cells of `span` blocks each. */
export interface MapWindow {
  start: number
  span: number
  length: number
  /** Blocks of each cell that are here. */
  present: number[]
  /** Pairs of a cell and its missing blocks that were cleared, … */
  cleared: [cell: number, count: number][]
  /** … that were found damaged, … */
  damaged: [cell: number, count: number][]
  /** … and that a peer was asked for and has not sent yet. */
  downloading: [cell: number, count: number][]
}

/** What became of a block. */
export type BlockState = 'present' | 'missing' | 'downloading' | 'cleared' | 'damaged'

/** A block in a list. */
export interface BlockRow {
  index: number
  state: BlockState
  /** Bytes; null if that is not known here. */
  size: number | null
  /** Its first bytes. */
  preview: string | null
}

/** A node of the Merkle tree. */
export interface NodeInfo {
  index: number
  hash: string
  size: number
}

/** What proves a block, from nothing but the key. */
export interface ProofInfo {
  /** False if what is known here proves nothing of this block; there are no nodes then. */
  proven: boolean
  block: number
  key: string
  /** The block's bytes are here. */
  here: boolean
  /** The leaf if the block is not here, siblings from the bottom up, then the other roots. */
  nodes: NodeInfo[]
  /** Null for a static feed: its key is the hash of its tree. */
  signature: string | null
  /** Tree indexes among those asked for that are known here. */
  known: number[]
}

/** One line of an answer to a search. */
export type SearchLine =
  | { type: 'match'; block: number; offset: number; before: string; match: string; after: string }
  | { type: 'progress'; block: number; searched: number; bytes: number }
  | {
      type: 'end'
      searched: number
      bytes: number
      /** Blocks that are here and could not be read. */
      unreadable: number
      /** Where to go on; null if everything was searched. */
      next: number | null
    }

/** Why a request failed. */
export interface Failure {
  code: string
  message: string
}
