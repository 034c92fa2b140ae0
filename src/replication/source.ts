/** What replication needs of a feed. The feed implements it; replication knows neither feed nor storage. */
import type { Bitfield } from '../bitfield/bitfield.ts'
import type { PageAccess } from '../bitfield/pages.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { TreeSet } from '../merkle/tree-set.ts'
import type { Claim, Proof } from '../merkle/verify.ts'
import type { ExtensionRegistry } from './extensions.ts'
import type { Guard } from './guard.ts'
import type { Peer } from './peer.ts'
import type { RateLimit } from './rate-limit.ts'

/** Blocks that were read and not verified yet. */
export interface UnverifiedRun {
  /** How many blocks. */
  readonly count: number
  /** Bytes of all of them. */
  readonly byteLength: number
  /** Whether another thread has been asked to hash some of them: until it has, one had better do something else. */
  readonly offered: boolean
  /** The blocks, verified as the feed's option says; null if something does not hold, or the feed has changed meanwhile. */
  verified(): Uint8Array[] | null
}

/** What a call is waiting for. */
export type Wish =
  /** Block `index` to be here. */
  | { kind: 'block'; index: number }
  /** The feed to have at least `length` blocks; `hash`: a proof is enough. */
  | { kind: 'update'; length: number; hash: boolean }
  /**
   * Enough nodes to tell in which block byte `bytes` lies; blocks `start` … `end` − 1 may be asked for (−1: open). With
   * `pair`: block `pair` or the one after it, whose data tells where the border between the two is. `looking`: what has just come is
   * being looked at, and may have made the range smaller.
   */
  | {
      kind: 'seek'
      bytes: number
      start: number
      end: number
      hash: boolean
      pair?: number
      looking?: boolean
    }

/** A download: a range or a list of blocks. */
export interface Wanted {
  readonly start: number
  /** One past the last block, −1 for an open end. */
  readonly end: number
  readonly linear: boolean
  readonly blocks: readonly number[] | null
  /** Only the hashes. */
  readonly hash: boolean
  /** Everything before this place (a block, or a position in `blocks`) is here. */
  readonly from: number
  /** Whether it had no end when it was asked for. */
  readonly isOpen: boolean
}

/** Blocks and bytes transferred. */
export interface TransferStats {
  /** Blocks sent. */
  uploadedBlocks: number
  /** Bytes of the blocks sent, without proofs. */
  uploadedBytes: number
  /** Blocks received that were verified and new. */
  downloadedBlocks: number
  /** Bytes of the blocks received, without proofs. */
  downloadedBytes: number
}

/** The content of an open feed, read and written. */
export interface ReplicatedContent {
  readonly length: number
  readonly bits: Bitfield
  readonly pages: PageAccess
  readonly tree: TreeSet
  /** Nodes and signature that prove a block to somebody with this digest. Errors: `ERR_NO_PROOF` and others. */
  proof(index: number, options: { digest: number; hash: boolean; tree: TreeSet | undefined }): Promise<Proof>
  /** The same, if it needs no waiting; else null. */
  proofSync(
    index: number,
    options: { digest: number; hash: boolean; tree: TreeSet | undefined }
  ): Proof | null
  /** Bytes of a block that is here; null if it goes away meanwhile. */
  block(index: number): Promise<Uint8Array | null>
  /**
   * Bytes of blocks from `start` on, up to `end` − 1, which are all here: as many as have about `bytes` bytes, at least one.
   * Null if some cannot be read, or go away meanwhile.
   */
  run(start: number, end: number, bytes: number): Promise<Uint8Array[] | null>
  /**
   * The same without waiting, as many as `target` has room for, as views of it. Null if not even one has room, or if that is not
   * possible now. With `offer` another thread may hash them.
   */
  runInto(start: number, end: number, target: Uint8Array, offer: boolean): UnverifiedRun | null
  /** Whether nothing of what was put is referred to when it is stored. */
  readonly keepsNothing: boolean
  /** The block that contains byte `bytes`, null if that cannot be told. */
  seek(bytes: number): Promise<number | null>
  /**
   * Verifies and stores blocks in this order, up to the first one that does not hold; `error` tells why that one does not, which
   * may be {@link UnprovenHistory}. Without an error, fewer than all are stored when the event loop should have its turn before
   * the rest.
   * @param anyGrowth - also what makes the feed longer without showing that it continues what is here, if that is believed
   */
  put(
    claims: readonly Claim[],
    peer: Peer,
    anyGrowth?: boolean
  ): Promise<{ readonly stored: number; readonly error: unknown }>
  /** Roots of the feed, ascending. */
  readonly roots: readonly TreeNode[]
  /** Whether the feed is signed as it grows, and so may have been signed twice. */
  readonly live: boolean
  /**
   * Compares a proof with what is here, and stores nothing of it.
   * @param remoteLength - how many blocks the remote says it has
   * @returns length of the history that it belongs to, 0 if it does not show that. Errors: `ERR_FORK` and others.
   */
  examine(claim: Claim, remoteLength: number): Promise<number>
  /** Signed lengths that may be of another history, until `examine` has seen what links them. A list is replaced, not changed. */
  readonly unlinked: readonly { readonly length: number }[]
  /** Whether a remote that cannot show that its history is the one that is here is believed. */
  readonly believes: boolean
}

/** A proof holds, but the history that it speaks of need not be the continuation, or the beginning, of the one that is here. */
export class UnprovenHistory extends Error {
  /** Whether it is shorter than what is here. */
  readonly shorter: boolean

  constructor(shorter: boolean) {
    super('The proof does not show that its history is the one that is here')
    this.shorter = shorter
  }
}

/** A feed as its peers see it. */
export interface ReplicationSource {
  /** The object that events and peers show to the application. */
  readonly owner: unknown
  readonly sparse: boolean
  readonly downloading: boolean
  readonly uploading: boolean
  readonly allowPush: boolean
  readonly maxRequests: number
  /** Whether blocks are appended here, so that a longer history somewhere else is one that was lost here, or a fork. */
  readonly writable: boolean
  /** A remote has a history of `length` blocks that continues the one that is here. */
  longerSeen(length: number): Promise<void>
  /** Bytes a second that all peers together are sent. */
  readonly uploadLimit: RateLimit
  /** Bytes a second that all peers together are asked for. */
  readonly downloadLimit: RateLimit
  /** Totals of all peers, null if not counted. */
  readonly stats: TransferStats | null
  readonly ifAvailable: Guard
  readonly extensions: ExtensionRegistry<Peer>
  /** The open feed. */
  readonly content: ReplicatedContent
  /** Resolves when the appends under way are stored, or soon anyway; null if there are none. */
  settling(): Promise<void> | null
  /** Wishes that are not for one block, in order. */
  otherWishes(): Iterable<Wish>
  /** Blocks that calls wait for, in order. */
  wishedBlocks(): Iterable<number>
  /** Whether a call waits for this block. */
  isWished(index: number): boolean
  /** Downloads in order. */
  downloads(): Iterable<Wanted>
  /** Open-ended downloads end at `length`, as far as is known (spec WIRE §14). */
  endDownloads(length: number): void
  /** Whether nothing would be missing if open-ended downloads ended at `length`. */
  downloadsWithin(length: number): boolean
  /** Open-ended downloads have no end any more: there may be more than is known. */
  reopenDownloads(): void
  /** Blocks that downloads leave out, because the application has cleared them; null if there are none. */
  readonly cleared: { has(block: number): boolean; firstMissing(start: number, end: number): number } | null
  /** Somebody has come: what was cleared is fetched again. */
  forgetCleared(): void
  /** Whether there are any downloads that are not complete. */
  readonly anyDownloads: boolean
  /** Peers can help less than before: calls that give up when nobody can help are to be looked at again. */
  lessAvailable(): void
  emit(event: string, ...values: unknown[]): void
  /** Whether somebody listens for an event. */
  listens(event: string): boolean
}
