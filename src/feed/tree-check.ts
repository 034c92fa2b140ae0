import b4a from 'b4a'
import flat from 'flat-tree'
import { leafHash, parentHash } from '../crypto/hash.ts'
import type { Damage } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { StorageFile } from '../storage/random-access.ts'
import type { TreeFile } from '../storage/tree-file.ts'
import { nextTurn } from '../util/turn.ts'
import type { Bits } from './bit-difference.ts'
import type { Stage } from './core.ts'
import { byteOffset } from './places.ts'
import { MOST_BLOCKS, MOST_BYTES, subtreeHolds } from './subtree.ts'

/** What a {@link TreeCheck} goes by. */
export interface CheckSource {
  tree: TreeFile
  data: StorageFile
  /** Bytes of the `data` file, null if unknown. */
  dataSize: number | null
  /** Bits as they are in the file. */
  found: Bits
  /** Bits that hold for certain. */
  proven: Bits
  /** From this block on everything is looked at, whether a bit claims it or not. */
  from: number
  /** From this block on it is of interest whether all of it holds, whatever the bits say: those of an append that was interrupted. */
  completeFrom: number
  /** Blocks before `from` to look at: ascending ranges, their ends exclusive. */
  suspects: readonly (readonly [number, number])[]
  /** Pages of `found` that lost bits which `proven` has: its data bits are looked at as well. */
  lostPages: ReadonlySet<number>
  /** Roots of a length in (start, end] that holds because it is signed, as far as they lie there; empty if there is none. */
  signedRoots(start: number, end: number): Promise<TreeNode[]>
  /** Whether blocks are compared with their hashes; an application that writes `data` itself may not have done so yet. */
  readsData: boolean
  /** Whether a proven node that no way leads up from may be trusted. Without it: yes. */
  trusts?: (node: TreeNode) => Promise<boolean>
  /** Told of each block that is compared; `bytes` is null if they cannot be had, and good until the next one. */
  compared?: (block: number, bytes: Uint8Array | null, holds: boolean) => void
}

interface Placed {
  node: TreeNode
  /** Where its bytes begin, NaN if that cannot be told. */
  offset: number
}

// Nodes between two turns of the event loop.
const NODES_PER_TURN = 4096

// Each subtree of so many nodes is followed by a turn.
const TURN_NODES = 1024

// Most bytes that are read ahead where blocks are looked at one after the other.
const WINDOW = 256 * 1024

const PAGE_BLOCKS = 8192

/**
 * Walks down from roots that are proven, as far as there is something to look at, and compares each node with its
 * children and each block with its leaf. Bits of what holds are set in a stage, others are cleared.
 *
 * A node that is missing or does not hold is worked out from what is below it, if that gives the hash above it.
 * Cost: two reads and a hash a node on the way to what is looked at, and the bytes of the blocks that are.
 */
export class TreeCheck {
  /** Nodes that are to be written: they were missing, or did not hold. */
  readonly healed = new Map<number, TreeNode>()
  /** Blocks with a bit that are not here. */
  lost = 0
  /** Blocks without a bit that are here. */
  found = 0
  /** Things that were proven once and do not hold. */
  readonly damage: Damage[] = []
  /** Whether every node and every block from `from` on was there and held. */
  complete = true

  readonly #source: CheckSource
  readonly #stage: Stage
  #window: Uint8Array = b4a.alloc(0)
  #windowStart = 0
  // Up to this block one node is looked at after the other.
  #piecewise = 0

  constructor(source: CheckSource, stage: Stage) {
    this.#source = source
    this.#stage = stage
  }

  /** A node counts, whatever its bit says. */
  restore(treeIndex: number): void {
    this.#stage.treeBits.set(treeIndex, true)
  }

  /** Checks the tree under these roots, ascending, from the first block on. Rejects with the storage's error. */
  async run(roots: readonly TreeNode[]): Promise<void> {
    const stack: Placed[] = []
    let offset = 0
    for (const node of roots) {
      stack.unshift({ node, offset })
      offset += node.size
    }
    for (let steps = 0; ; steps++) {
      if (steps >= NODES_PER_TURN) {
        await nextTurn()
        steps = 0
      }
      const next = stack.pop()
      if (next === undefined) return
      const { node } = next
      const start = flat.leftSpan(node.index) / 2
      const end = flat.rightSpan(node.index) / 2 + 1
      if (!this.#looksAt(start, end)) continue
      if (node.index % 2 === 0) await this.#checkBlock(start, node, next.offset)
      else if (this.#holdsWhole(next, start, end)) steps += 2 * (end - start)
      else {
        const below = await this.#children(node, start, end, next.offset)
        if (below !== null) stack.push(...(await this.#placed(below, start, next.offset)))
      }
    }
  }

  /**
   * Whether everything below a node that holds is here and holds: nearly always, and then it is found out in one go. False where
   * that is not so, or not worth it, and one node after the other has to be looked at.
   */
  #holdsWhole({ node, offset }: Placed, start: number, end: number): boolean {
    const { compared, data, dataSize, found, from, proven, readsData, tree } = this.#source
    if (start < this.#piecewise || end - start > MOST_BLOCKS || node.size > MOST_BYTES) return false
    // Not if there are blocks without a bit, or blocks that need not be read.
    if (!readsData || this.healed.size > 0 || found.bits.firstMissing(start, end) !== -1) return false
    const wanted =
      start >= from || (this.#coveredBySuspects(start, end) && proven.bits.firstPresent(start, end) === -1)
    if (!wanted || !(offset + node.size <= (dataSize ?? 0))) return false
    const holds = subtreeHolds(tree, data, node, offset, compared)
    if (holds) this.#stage.treeBits.setRange(2 * start, 2 * end - 1, true)
    // Below it nothing is tried in one go any more: that would be work for each level.
    else this.#piecewise = end
    return holds
  }

  /** Nodes from the left to the right with their offsets, the first one last. */
  async #placed(nodes: readonly TreeNode[], start: number, offset: number): Promise<Placed[]> {
    const placed: Placed[] = []
    let block = start
    let at = offset
    for (const node of nodes) {
      const first = flat.leftSpan(node.index) / 2
      // What lies before it is a tree of its own that is not looked at.
      if (first !== block) at = (await byteOffset(this.#source.tree, first).catch(() => null)) ?? Number.NaN
      placed.unshift({ node, offset: at })
      at += node.size
      block = flat.rightSpan(node.index) / 2 + 1
    }
    return placed
  }

  #looksAt(start: number, end: number): boolean {
    if (end > this.#source.from) return true
    const suspect = this.#suspectAt(start)
    return suspect !== undefined && suspect[0] < end
  }

  #coveredBySuspects(start: number, end: number): boolean {
    const suspect = this.#suspectAt(start)
    return suspect !== undefined && suspect[0] <= start && end <= suspect[1]
  }

  /** The first range of suspects that ends after a block. */
  #suspectAt(block: number): readonly [number, number] | undefined {
    const { suspects } = this.#source
    let low = 0
    let high = suspects.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (suspects[middle]![1] <= block) low = middle + 1
      else high = middle
    }
    return suspects[low]
  }

  /**
   * The nodes to go on with below one that holds: its children, if they hold. Otherwise those that hold for another
   * reason, and everything else below it is forgotten.
   */
  async #children(parent: TreeNode, start: number, end: number, offset: number): Promise<TreeNode[] | null> {
    const [leftIndex, rightIndex] = [flat.leftChild(parent.index), flat.rightChild(parent.index)]
    const left = await this.#node(leftIndex)
    const right = await this.#node(rightIndex)
    const pair =
      left !== null && right !== null && areChildren(parent, left, right)
        ? ([left, right] as [TreeNode, TreeNode])
        : await this.#heal(parent, left, right, offset)
    if (pair !== null) {
      for (const { index } of pair) this.#stage.treeBits.set(index, true)
      return pair
    }
    if (end > this.#source.completeFrom) this.complete = false
    if (this.#isProven(leftIndex) && this.#isProven(rightIndex)) {
      this.damage.push({ file: 'tree', problem: 'nodes do not hold', start, end })
      this.#forget(parent.index, start, end, [])
      return null
    }
    const tops = await this.#topsBelow(parent.index, start, end)
    this.#forget(parent.index, start, end, tops)
    return tops
  }

  #isProven(treeIndex: number): boolean {
    const { from, proven } = this.#source
    return flat.rightSpan(treeIndex) < 2 * from && proven.treeBits.get(treeIndex)
  }

  /**
   * Nodes below `above` that are known without a way up to it: a copy that was told of a longer feed has the roots of
   * the shorter one, but not what lies between. They hold if they were proven, or as roots that were signed.
   */
  async #topsBelow(above: number, start: number, end: number): Promise<TreeNode[]> {
    const { found, proven, from, signedRoots } = this.#source
    const tops: TreeNode[] = end > from ? await signedRoots(start, end) : []
    let covered = start
    for (const { index } of tops) covered = flat.rightSpan(index) / 2 + 1
    // Up to this block damage was told of, with a node further up.
    let told = start
    const stack = [flat.rightChild(above), flat.leftChild(above)]
    for (;;) {
      const index = stack.pop()
      if (index === undefined) return tops
      const first = flat.leftSpan(index)
      const last = flat.rightSpan(index)
      if (last < 2 * covered || first >= 2 * from) continue
      if (!proven.treeBits.any(first, last + 1) || !found.treeBits.any(first, last + 1)) continue
      if (this.#isProven(index)) {
        const node = await this.#node(index)
        if (node !== null && (this.#source.trusts === undefined || (await this.#source.trusts(node)))) {
          tops.push(node)
          continue
        }
        const problem = 'nodes are missing or do not hold'
        if (first >= 2 * told)
          this.damage.push({ file: 'tree', problem, start: first / 2, end: last / 2 + 1 })
        told = Math.max(told, last / 2 + 1)
        // The bit alone may be wrong: what lies below it may hold, and others hold by the same signature.
        if (node !== null) continue
      }
      if (index % 2 === 1) stack.push(flat.rightChild(index), flat.leftChild(index))
    }
  }

  /** Takes all bits below a node, except for those below and of `kept`, ascending. */
  #forget(above: number, start: number, end: number, kept: readonly TreeNode[]): void {
    const { treeBits, bits } = this.#stage
    const had = treeBits.get(above)
    let from = start
    const upTo = (block: number): void => {
      this.lost += bits.total(from, block)
      bits.setRange(from, block, false)
    }
    let node = 2 * start
    for (const { index } of kept) {
      upTo(flat.leftSpan(index) / 2)
      from = flat.rightSpan(index) / 2 + 1
      treeBits.setRange(node, flat.leftSpan(index), false)
      node = flat.rightSpan(index) + 1
      treeBits.set(index, true)
    }
    upTo(end)
    treeBits.setRange(node, 2 * end - 1, false)
    treeBits.set(above, had)
  }

  async #checkBlock(block: number, leaf: TreeNode, offset: number): Promise<void> {
    const { found, proven, from, lostPages } = this.#source
    const claimed = found.bits.get(block)
    if (claimed && block < from && proven.bits.get(block)) return
    // The bits of a block and of its leaf are written together: where the leaf is known, the block was cleared.
    const wasCleared = !claimed && found.treeBits.get(leaf.index) && block < this.#source.completeFrom
    const lookedFor = block >= from || lostPages.has(Math.floor(block / PAGE_BLOCKS))
    if (wasCleared || !(claimed || lookedFor)) return
    if (!this.#source.readsData) return
    const bytes = await this.#read(offset, leaf.size)
    const holds = bytes !== null && b4a.equals(leafHash(bytes), leaf.hash)
    this.#source.compared?.(block, bytes, holds)
    if (holds !== claimed) this.#stage.bits.set(block, holds)
    if (holds && !claimed) this.found++
    if (!holds && claimed) this.lost++
    if (!holds && block >= this.#source.completeFrom) this.complete = false
  }

  #node(treeIndex: number): Promise<TreeNode | null> | TreeNode | null {
    const healed = this.healed.get(treeIndex)
    if (healed !== undefined) return healed
    const now = this.#source.tree.getSync(treeIndex)
    return now === undefined ? this.#source.tree.get(treeIndex) : now
  }

  /** Children worked out from what is below them, or from the data; null if that does not give their parent either. */
  async #heal(
    parent: TreeNode,
    left: TreeNode | null,
    right: TreeNode | null,
    offset: number
  ): Promise<[TreeNode, TreeNode] | null> {
    const leaves = parent.index % 4 === 1
    const newLeft = leaves
      ? right && (await this.leafOf(flat.leftChild(parent.index), offset, parent.size - right.size))
      : await this.below(flat.leftChild(parent.index))
    const newRight = leaves
      ? left &&
        (await this.leafOf(flat.rightChild(parent.index), offset + left.size, parent.size - left.size))
      : await this.below(flat.rightChild(parent.index))
    const pairs: [TreeNode | null, TreeNode | null][] = [
      [newLeft, right],
      [left, newRight],
      [newLeft, newRight]
    ]
    const healed = this.#fitting(parent, left, right, pairs)
    if (healed !== null || leaves) return healed
    // More than one level is damaged: all of it from the leaves up.
    const deepLeft = await this.#deep(flat.leftChild(parent.index))
    const deepRight = await this.#deep(flat.rightChild(parent.index))
    return this.#fitting(parent, left, right, [
      [deepLeft, right],
      [left, deepRight],
      [deepLeft, deepRight]
    ])
  }

  /** The first pair that gives the parent; those of it that are not stored are noted. */
  #fitting(
    parent: TreeNode,
    left: TreeNode | null,
    right: TreeNode | null,
    pairs: readonly (readonly [TreeNode | null, TreeNode | null])[]
  ): [TreeNode, TreeNode] | null {
    for (const [one, other] of pairs) {
      if (one === null || other === null || one.size < 0 || other.size < 0) continue
      if (!areChildren(parent, one, other)) continue
      if (one !== left) this.healed.set(one.index, one)
      if (other !== right) this.healed.set(other.index, other)
      return [one, other]
    }
    return null
  }

  /** A parent as the leaves below it give it; null if one of them is missing. */
  async #deep(treeIndex: number): Promise<TreeNode | null> {
    if (treeIndex % 2 === 0) return this.#node(treeIndex)
    const left = await this.#deep(flat.leftChild(treeIndex))
    const right = left === null ? null : await this.#deep(flat.rightChild(treeIndex))
    if (left === null || right === null) return null
    if (treeIndex % TURN_NODES === TURN_NODES - 1) await nextTurn()
    return { index: treeIndex, hash: parentHash(left, right), size: left.size + right.size }
  }

  /** A parent as its children give it; of those that are missing, as theirs give them. */
  async below(treeIndex: number): Promise<TreeNode | null> {
    if (treeIndex % 2 === 0) return null
    const children: TreeNode[] = []
    for (const child of [flat.leftChild(treeIndex), flat.rightChild(treeIndex)]) {
      const node = (await this.#node(child)) ?? (await this.below(child))
      if (node === null) return null
      children.push(node)
    }
    const [left, right] = children as [TreeNode, TreeNode]
    return { index: treeIndex, hash: parentHash(left, right), size: left.size + right.size }
  }

  /** A leaf as its data give it; null if there are none. */
  async leafOf(treeIndex: number, offset: number, size: number): Promise<TreeNode | null> {
    if (size < 0 || !this.#source.readsData) return null
    const bytes = await this.#read(offset, size)
    return bytes === null ? null : { index: treeIndex, hash: leafHash(bytes), size }
  }

  /** Bytes of the `data` file, null if it ends before. Reads ahead where one read follows the other. */
  async #read(offset: number, size: number): Promise<Uint8Array | null> {
    const { data, dataSize } = this.#source
    if (size === 0) return EMPTY
    if (!Number.isSafeInteger(offset + size) || (dataSize !== null && offset + size > dataSize)) return null
    const at = offset - this.#windowStart
    if (at >= 0 && at + size <= this.#window.byteLength) return this.#window.subarray(at, at + size)
    const follows = at === this.#window.byteLength && at > 0
    const ahead = follows && dataSize !== null ? Math.min(WINDOW, dataSize - offset) : size
    const length = Math.max(size, ahead)
    try {
      this.#window = data.readSync(offset, length) ?? (await data.read(offset, length))
      this.#windowStart = offset
      return this.#window.subarray(0, size)
    } catch (error) {
      if (dataSize === null) return null
      throw error
    }
  }
}

const EMPTY = b4a.alloc(0)

function areChildren(parent: TreeNode, left: TreeNode, right: TreeNode): boolean {
  return left.size + right.size === parent.size && b4a.equals(parentHash(left, right), parent.hash)
}
