import flat from 'flat-tree'
import { DDatabaseError } from '../errors.ts'
import type { TreeNode } from './node.ts'
import type { KnownNodes } from './verify.ts'

/** Where a byte offset lies: in a leaf (an even tree index), or below the nearest node that is known. */
export interface SeekResult {
  treeIndex: number
  /** Bytes between the start of that node and the place sought. */
  offset: number
}

/**
 * Finds the node that contains byte `bytes` of a feed of `length` blocks (spec FORMAT §8.3), reading about
 * 2·log2(length) nodes. Offset 0 is always block 0; an offset at a border belongs to the next block with content.
 *
 * Errors: `ERR_SEEK_OUT_OF_BOUNDS`, and those of `read`.
 */
export async function seek(
  bytes: number,
  length: number,
  known: KnownNodes,
  read: (treeIndex: number) => Promise<TreeNode>
): Promise<SeekResult> {
  if (bytes === 0) return { treeIndex: 0, offset: 0 }
  let offset = bytes
  for (const root of flat.fullRoots(2 * length)) {
    const node = await read(root)
    if (node.size > offset) return descend(root, offset, known, read)
    offset -= node.size
  }
  throw new DDatabaseError('ERR_SEEK_OUT_OF_BOUNDS')
}

async function descend(
  root: number,
  start: number,
  known: KnownNodes,
  read: (treeIndex: number) => Promise<TreeNode>
): Promise<SeekResult> {
  let offset = start
  let nearest = root
  let top = root
  while (top % 2 === 1) {
    // Down the left edge to the first node that is known.
    let left = flat.leftChild(top)
    while (!known.get(left)) {
      if (left % 2 === 0) return { treeIndex: nearest, offset }
      left = flat.leftChild(left)
    }
    const node = await read(left)
    if (node.size > offset) {
      nearest = left
      top = left
    } else {
      offset -= node.size
      top = flat.sibling(left)
      // Only right beside the node below `nearest` do we know that its other half contains the place.
      if (flat.parent(left) === nearest) nearest = top
    }
  }
  return { treeIndex: nearest, offset }
}
