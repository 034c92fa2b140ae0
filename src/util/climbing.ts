/** Bits by tree index, and how they climb: what the stored bits and the tree built on them have in common. */
import { iterator } from 'flat-tree'

/** A set of bits by tree index. */
export interface TreeBitStore {
  get(treeIndex: number): boolean
  /** Answers whether the bit changed. */
  set(treeIndex: number, value: boolean): boolean
  /** Any bound above the highest bit that is set. */
  readonly length: number
  /** Sets or clears the bits `start` … `end` − 1; a store without it gets one `set` after the other. */
  setRange?(start: number, end: number, value: boolean): void
}

/**
 * Sets bit `treeIndex` and, as long as the sibling is set too, the parent above; stops at a parent that is set
 * already. Answers false, without looking further, if the bit was set already. Cost: O(log n).
 */
export function setClimbing(bits: TreeBitStore, treeIndex: number): boolean {
  if (!bits.set(treeIndex, true)) return false
  // Half of all leaves are left children whose sibling is not there yet: no cursor needed for these.
  if ((treeIndex & 3) === 0 && !bits.get(treeIndex + 2)) return true
  const node = iterator(treeIndex)
  while (bits.get(siblingOf(node))) {
    if (!bits.set(node.parent(), true)) break
  }
  return true
}

/** A place in the tree that moves: what is used of an iterator. (Declared here: the types of this package name no others.) */
export interface Cursor {
  readonly index: number
  /** 2^(depth + 1): the distance of neighbours at this depth. */
  readonly factor: number
  isLeft(): boolean
}

/** Tree index of the sibling of the node under a cursor. */
export function siblingOf(node: Cursor): number {
  return node.isLeft() ? node.index + node.factor : node.index - node.factor
}
