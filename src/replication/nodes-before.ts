import flat from 'flat-tree'
import type { TreeSet } from '../merkle/tree-set.ts'
import type { TreeBitStore } from '../util/climbing.ts'

/** The nodes of a feed that were there when it had `blocks` blocks: what somebody knows who has followed it so far. */
export class NodesBefore implements TreeBitStore {
  readonly length: number
  private readonly tree: TreeSet

  constructor(tree: TreeSet, blocks: number) {
    this.tree = tree
    this.length = 2 * blocks
  }

  get(treeIndex: number): boolean {
    return flat.rightSpan(treeIndex) < this.length && this.tree.get(treeIndex)
  }

  /** It only looks back. */
  set(): boolean {
    return false
  }
}
