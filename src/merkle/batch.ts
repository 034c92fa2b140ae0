import b4a from 'b4a'
import flat from 'flat-tree'
import { leafHashInto, parentHashInto } from '../crypto/hash.ts'
import { writeUint64 } from '../util/uint64.ts'
import { HASH_SIZE, NODE_SIZE, type TreeNode } from './node.ts'

/**
 * A staged append: grows the tree from its roots by whole blocks and collects every node that comes up, in the
 * very bytes that go into the `tree` file. The feed's own state is not touched, so a batch that fails is
 * simply dropped.
 *
 * Cost: one leaf hash and on average one parent hash a block.
 */
export class MerkleBatch {
  /** Blocks of the feed including the staged ones. */
  length: number
  /** Bytes of the feed including the staged ones. */
  byteLength: number
  /**
   * The slots of tree indexes 2·oldLength … 2·newLength−2 as one piece of 40·(2n−1) bytes;
   * parents that are not complete yet are zero (spec FORMAT §7).
   */
  readonly slots: Uint8Array
  /** New parents that reach back before the first staged block, in the order they came up. */
  readonly reachingBack: TreeNode[] = []

  private readonly firstIndex: number
  // The roots as a stack, in parallel arrays: objects for the many short-lived ones would cost more than hashing.
  private readonly rootIndexes: number[] = []
  private readonly rootSizes: number[] = []
  private readonly rootHashes: Uint8Array

  /**
   * @param roots - roots of the committed tree, ascending
   * @param length - its blocks
   * @param byteLength - its bytes
   * @param count - how many blocks will be appended
   */
  constructor(roots: readonly TreeNode[], length: number, byteLength: number, count: number) {
    this.length = length
    this.byteLength = byteLength
    this.firstIndex = 2 * length
    this.slots = b4a.alloc(count > 0 ? (2 * count - 1) * NODE_SIZE : 0)
    // A tree below 2^53 has at most 53 roots, and one more while a block is being added.
    this.rootHashes = b4a.allocUnsafe(54 * HASH_SIZE)
    for (let i = 0; i < roots.length; i++) {
      const root = roots[i]!
      this.rootIndexes.push(root.index)
      this.rootSizes.push(root.size)
      this.rootHashes.set(root.hash, i * HASH_SIZE)
    }
  }

  /** Stages one block. */
  append(block: Uint8Array): void {
    const { rootIndexes, rootSizes, rootHashes } = this
    let top = rootIndexes.length
    let index = 2 * this.length
    let size = block.byteLength
    this.length++
    this.byteLength += size
    leafHashInto(rootHashes, top * HASH_SIZE, block)
    this.collect(index, size, top)

    // While the last root is our sibling, the two become their parent.
    while (top > 0) {
      const left = rootIndexes[top - 1]!
      if (flat.sibling(left) !== index) break
      top--
      index = flat.parent(left)
      size += rootSizes[top]!
      parentHashInto(
        rootHashes,
        top * HASH_SIZE,
        size,
        rootHashes,
        top * HASH_SIZE,
        rootHashes,
        (top + 1) * HASH_SIZE
      )
      this.collect(index, size, top)
    }
    while (rootIndexes.length > top) {
      rootIndexes.pop()
      rootSizes.pop()
    }
    rootIndexes.push(index)
    rootSizes.push(size)
  }

  /** The roots including the staged blocks, ascending. */
  roots(): TreeNode[] {
    return this.rootIndexes.map((index, i) => ({
      index,
      hash: b4a.from(this.rootHashes.subarray(i * HASH_SIZE, (i + 1) * HASH_SIZE)),
      size: this.rootSizes[i]!
    }))
  }

  private collect(index: number, size: number, root: number): void {
    const hash = root * HASH_SIZE
    if (index < this.firstIndex) {
      this.reachingBack.push({
        index,
        hash: b4a.from(this.rootHashes.subarray(hash, hash + HASH_SIZE)),
        size
      })
      return
    }
    const offset = (index - this.firstIndex) * NODE_SIZE
    for (let i = 0; i < HASH_SIZE; i++) this.slots[offset + i] = this.rootHashes[hash + i]!
    writeUint64(this.slots, size, offset + HASH_SIZE)
  }
}
