import type { Damage } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Stage } from './core.ts'

/** What an opening found and did after a crash (`feed.recovery`). */
export interface Recovery {
  /** Blocks the feed has now. */
  length: number
  /** Blocks it had according to its bitfield. */
  formerLength: number
  /** Blocks that the bitfield claimed and that are not here. */
  lostBlocks: number
  /** Blocks that are here and that the bitfield did not know. */
  foundBlocks: number
  /** Nodes of the tree that were worked out and written again. */
  healedNodes: number
  /** Whether the signature of the last block was missing, or cut, and was made again. */
  signed: boolean
  /** What had been on the disk for certain and did not hold; it is repaired, or, with `repair`, given up. */
  damage: readonly Damage[]
}

/** What recovering comes to: nothing is written yet. */
export interface Recovered {
  length: number
  roots: TreeNode[]
  /** The bits as they are to be; null if they are right in the file. */
  stage: Stage | null
  /** Nodes to be written. */
  nodes: TreeNode[]
  /** A signature to be written into the last block's slot. */
  signature: Uint8Array | null
  /** Length of the longest history that is signed and not here, 0 if there is none. */
  behind: number
  /** Null if there was nothing to repair. */
  report: Recovery | null
  /** Whether a checkpoint claims exactly this state. */
  claimed: boolean
  /** Whether a signature, or the key of a static feed, says that this is its length. */
  proven: boolean
  /** What the signatures file has beyond the end, where that tells of nothing lost and is to be removed. */
  beyond: BeyondEnd
}

/**
 * - `'signatures'`: somebody who knows no checkpoints has overwritten a feed, and left them. They go before a checkpoint is made, beside
 *   which they would tell of a longer history.
 * - `'scraps'`: slots that are empty or cut short, which an append has left that was interrupted. Behind them a later one that is
 *   interrupted would make a part of a signature look like that of a longer history, and an empty slot like a truncation.
 */
export type BeyondEnd = 'nothing' | 'scraps' | 'signatures'
