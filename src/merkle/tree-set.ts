/**
 * Which nodes of a tree are known, and what follows from it: the length, what to ask a peer for (digest) and
 * what to send it (proof). Spec FORMAT §4 and WIRE §9. Sets of numbers only; hashes are elsewhere.
 */
import { fullRoots, iterator, parent } from 'flat-tree'
import { argumentRangeError } from '../errors.ts'
import { BitPages } from '../util/bit-pages.ts'
import { type Cursor, setClimbing, siblingOf, type TreeBitStore } from '../util/climbing.ts'

/** The nodes a holder selects to prove one node. */
export interface ProofSelection {
  /** Tree indexes in the order of the message: the requested hash if asked for, siblings bottom up, roots ascending. */
  readonly nodes: number[]
  /** 2 · the length whose signature is needed, 0 if none is, −1 if there is none: the set has a gap that it cannot have. */
  readonly verifiedBy: number
}

/** See {@link TreeSet.proof}. */
export interface ProofSelectionOptions {
  /** What the requester has around the node, as told by its {@link TreeSet.digest}. Default 0: nothing. */
  digest?: number | undefined
  /** Also send the node itself, first. */
  hash?: boolean | undefined
  /** Nodes known to be at the requester; the digest's are added to it. */
  tree?: TreeSet | undefined
}

/** The set of known tree nodes over a store of bits. */
export class TreeSet {
  #bits: TreeBitStore

  constructor(bits: TreeBitStore) {
    this.#bits = bits
  }

  /** Whether the node is known. False for anything that is not a tree index. */
  has(treeIndex: number): boolean {
    return isTreeIndex(treeIndex) && this.#bits.get(treeIndex)
  }

  /** The same as {@link has}. */
  get(treeIndex: number): boolean {
    return this.has(treeIndex)
  }

  /**
   * Adds a node, and all parents that become known by it (both children are). Answers false if it was known.
   * RangeError `ERR_OUT_OF_RANGE` if it is not a safe integer ≥ 0.
   */
  set(treeIndex: number): boolean {
    assertTreeIndex(treeIndex)
    return setClimbing(this.#bits, treeIndex)
  }

  /** The number of blocks, as far as the known nodes tell. Cost: O(log n). */
  blocks(): number {
    // The highest known node of the left spine 0, 1, 3, 7, 15, …, then how far right the tree goes from there.
    const max = this.#bits.length
    let top = 0
    for (let node = 0; 2 * node < max; ) {
      node = 2 * node + 1
      if (this.has(node)) top = node
    }
    return this.verifiedBy(top) / 2
  }

  /** The roots of {@link blocks}, ascending. */
  roots(): number[] {
    return fullRoots(2 * this.blocks())
  }

  /** 2 · the length that the root above a known node belongs to; 0 if the node is not known. */
  verifiedBy(treeIndex: number): number {
    if (!this.has(treeIndex)) return 0
    const node = iterator(treeIndex)
    while (this.has(parentOf(node)) && this.has(siblingOf(node))) node.parent()

    // Then along the right edge: at each depth the right neighbour's left child, or further down its left edge
    // to the first node that is known.
    let top = node.index
    let factor = node.factor
    while (factor > 2) {
      top += factor - factor / 4
      factor /= 2
      while (factor > 2 && !this.has(top)) {
        top -= factor / 4
        factor /= 2
      }
    }
    return this.has(top) ? top + 2 : top
  }

  /**
   * Cuts to `treeLength` / 2 blocks: clears the bits from `treeLength` (even) up to the present length, and
   * those of parents that are no longer complete. RangeError `ERR_OUT_OF_RANGE` if it is not an even tree index.
   */
  truncate(treeLength: number): void {
    assertTreeIndex(treeLength)
    if (treeLength % 2 !== 0) throw argumentRangeError('The length in tree indexes must be even')
    const end = 2 * this.blocks()
    if (this.#bits.setRange !== undefined) {
      this.#bits.setRange(treeLength, end, false)
    } else {
      for (let i = treeLength; i < end; i++) this.#bits.set(i, false)
    }
    // Every incomplete node below the length is the parent of one of the roots: right after its span.
    for (const root of fullRoots(treeLength)) this.#bits.set(parent(root), false)
  }

  /**
   * Sums up what is known around a node, for a holder to leave it out of a proof (spec WIRE §9.2): bit 0 = a
   * parent is known, bit k + 1 = the sibling at level k is, where with bit 0 the highest bit stands for that
   * parent instead. 1 = the node itself is known, 0 = nothing. At most 2^53 − 1; not for bit operators.
   */
  digest(treeIndex: number): number {
    if (!isTreeIndex(treeIndex)) return 0
    if (this.has(treeIndex)) return 1
    const node = iterator(treeIndex)
    node.sibling()
    const max = Math.max(node.index + 2, this.#bits.length)
    let digest = 0
    let bit = 2
    // Until the node spans all that can be known and its parent lies on the left spine.
    while (node.index + node.factor / 2 - 1 < max || node.offset > 1) {
      if (this.has(node.index)) digest += bit
      if (this.has(parentOf(node))) {
        digest += 2 * bit + 1
        if (!Number.isSafeInteger(digest)) return 0
        // Every sibling up to the parent is known: as good as knowing the node.
        return digest + 1 === 4 * bit ? 1 : digest
      }
      node.parent()
      node.sibling()
      bit *= 2
    }
    return Number.isSafeInteger(digest) ? digest : 0
  }

  /**
   * Selects the nodes that prove `treeIndex` to a requester (spec WIRE §9.3), or null if the node is not known
   * here. `digest` and the index may come from a remote: any number ends within some hundred steps.
   */
  proof(treeIndex: number, options: ProofSelectionOptions = {}): ProofSelection | null {
    if (!this.has(treeIndex)) return null
    const nodes = options.hash ? [treeIndex] : []
    const digest = options.digest ?? 0
    if (digest === 1) return { nodes, verifiedBy: 0 }

    let remote = options.tree
    if (digest > 1 && Number.isSafeInteger(digest)) {
      remote ??= new TreeSet(new MemoryBits())
      this.#applyDigest(treeIndex, digest, remote)
    }

    const node = iterator(treeIndex)
    while (remote === undefined || !remote.has(node.index)) {
      const sibling = siblingOf(node)
      if (!this.has(sibling)) {
        // Here the node is a root: the other roots and a signature prove it.
        const verifiedBy = this.verifiedBy(node.index)
        let isRoot = false
        for (const root of fullRoots(verifiedBy)) {
          if (root === node.index) isRoot = true
          else if (!remote?.has(root)) nodes.push(root)
        }
        return { nodes, verifiedBy: isRoot && this.has(node.index) ? verifiedBy : GAP }
      }
      if (!remote?.has(sibling)) nodes.push(sibling)
      node.parent()
    }
    return { nodes, verifiedBy: 0 }
  }

  /** Adds to `remote` the nodes that `digest` claims and that are known here. */
  #applyDigest(treeIndex: number, digest: number, remote: TreeSet): void {
    const rooted = digest % 2 === 1
    const node = iterator(treeIndex)
    let rest = Math.floor(digest / 2)
    // Beyond the exact integers nothing is known here, whatever the digest says.
    while (rest > 0 && Number.isSafeInteger(node.index)) {
      if (rest === 1 && rooted) {
        if (this.has(node.index)) remote.set(node.index)
        // Who has a root has the roots before it.
        if (!node.isLeft()) node.sibling()
        for (const root of fullRoots(node.index + node.factor / 2 + 1)) {
          if (this.has(root)) remote.set(root)
        }
        return
      }
      const sibling = siblingOf(node)
      if (rest % 2 === 1 && this.has(sibling)) remote.set(sibling)
      node.parent()
      rest = Math.floor(rest / 2)
    }
  }
}

/** What a proof is verified by that ends where no length has a root, or at a node which is not known though both its children are: bits were damaged. */
const GAP = -1

/** A sparse set of bits in memory. For what a peer is known to have. */
export class MemoryBits implements TreeBitStore {
  readonly #bits = new BitPages()
  #length = 0

  /** 8 × (highest byte that ever changed + 1). */
  get length(): number {
    return this.#length
  }

  get(treeIndex: number): boolean {
    return this.#bits.has(treeIndex)
  }

  set(treeIndex: number, value: boolean): boolean {
    if (this.#bits.has(treeIndex) === value) return false
    if (value) this.#bits.add(treeIndex)
    else this.#bits.delete(treeIndex)
    this.#length = Math.max(this.#length, 8 * (Math.floor(treeIndex / 8) + 1))
    return true
  }
}

function parentOf(node: Cursor): number {
  return node.isLeft() ? node.index + node.factor / 2 : node.index - node.factor / 2
}

function isTreeIndex(treeIndex: number): boolean {
  return Number.isSafeInteger(treeIndex) && treeIndex >= 0
}

function assertTreeIndex(treeIndex: number): void {
  if (!isTreeIndex(treeIndex)) throw argumentRangeError(`${treeIndex} is not a tree index`)
}
