import b4a from 'b4a'
import flat from 'flat-tree'
import { leafHashesInto, leafHashInto, parentHashWithin } from '../crypto/hash.ts'
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
  // The slots, and behind them the hashes of nodes that have none here: a hash is written once, where it stays.
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private used: number
  // The roots as a stack, in parallel arrays: objects for the many short-lived ones would cost more than hashing.
  private readonly rootIndexes: number[] = []
  private readonly rootSizes: number[] = []
  private readonly rootOffsets: number[] = []
  /** The committed roots; the first `kept` of them are still roots. */
  private readonly before: readonly TreeNode[]
  private kept: number

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
    this.before = roots
    this.kept = roots.length
    const slots = count > 0 ? (2 * count - 1) * NODE_SIZE : 0
    // Each parent that reaches back takes at least one of the old roots with it.
    this.bytes = b4a.alloc(slots + 2 * roots.length * HASH_SIZE)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
    this.slots = this.bytes.subarray(0, slots)
    this.used = slots
    for (const root of roots) {
      this.rootIndexes.push(root.index)
      this.rootSizes.push(root.size)
      this.rootOffsets.push(this.used)
      this.bytes.set(root.hash, this.used)
      this.used += HASH_SIZE
    }
  }

  /** Stages one block. */
  append(block: Uint8Array): void {
    leafHashInto(this.bytes, this.nextSlot, block)
    this.grow(block.length)
  }

  /** Stages blocks. */
  appendAll(blocks: readonly Uint8Array[]): void {
    leafHashesInto(this.bytes, this.nextSlot, 2 * NODE_SIZE, blocks)
    for (const block of blocks) this.grow(block.length)
  }

  /** Where the next leaf's hash goes. */
  private get nextSlot(): number {
    return (2 * this.length - this.firstIndex) * NODE_SIZE
  }

  /** Makes the tree one leaf larger, whose hash is in its place. */
  private grow(blockSize: number): void {
    const { bytes, view, rootIndexes, rootSizes, rootOffsets } = this
    let index = 2 * this.length
    let size = blockSize
    let offset = this.nextSlot
    this.length++
    this.byteLength += size
    writeUint64(bytes, size, offset + HASH_SIZE)

    // While the last root is our sibling, the two become their parent.
    for (let top = rootIndexes.length - 1; top >= 0; top--) {
      const left = rootIndexes[top]!
      if (flat.sibling(left) !== index) break
      const leftOffset = rootOffsets[top]!
      const rightOffset = offset
      index = flat.parent(left)
      size += rootSizes[top]!
      rootIndexes.pop()
      rootSizes.pop()
      rootOffsets.pop()
      if (top < this.kept) this.kept = top
      const reachesBack = index < this.firstIndex
      offset = reachesBack ? this.used : (index - this.firstIndex) * NODE_SIZE
      parentHashWithin(bytes, view, offset, size, leftOffset, rightOffset)
      if (reachesBack) {
        this.used += HASH_SIZE
        this.reachingBack.push({ index, hash: b4a.from(bytes.subarray(offset, this.used)), size })
      } else writeUint64(bytes, size, offset + HASH_SIZE)
    }
    rootIndexes.push(index)
    rootSizes.push(size)
    rootOffsets.push(offset)
  }

  /** The roots including the staged blocks, ascending. */
  roots(): TreeNode[] {
    return this.rootIndexes.map((index, i) => {
      if (i < this.kept) return this.before[i]!
      const offset = this.rootOffsets[i]!
      return {
        index,
        hash: b4a.from(this.bytes.subarray(offset, offset + HASH_SIZE)),
        size: this.rootSizes[i]!
      }
    })
  }
}
