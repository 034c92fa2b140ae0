/**
 * What of a feed was compared with its signature since it was opened (docs/design.md, "Verified reads").
 *
 * The roots of the feed's length are in memory and hold: opening compares them with the signature, and whatever changes
 * them verifies or signs. A node holds if the hash of it and its sibling is that of a parent that holds; a block if its hash
 * is that of a leaf that holds.
 */
import b4a from 'b4a'
import flat from 'flat-tree'
import {
  leafHashesInto,
  leafHashInto,
  parentHash,
  parentHashInto,
  signable,
  treeHash
} from '../crypto/hash.ts'
import type { Offer } from '../crypto/offer.ts'
import { HASH_SIZE, type TreeNode } from '../merkle/node.ts'
import { NO_NODE, NOT_LOADED } from '../storage/tree-file.ts'
import { BitPages } from '../util/bit-pages.ts'
import type { Core } from './core.ts'

/**
 * When blocks are compared with what is signed: `first`, at the first use of each since the feed was opened; `always`, at each
 * reading from the storage; `off`, never.
 */
export type VerifyMode = 'first' | 'off' | 'always'

/** How many signatures are tried for roots of an earlier length. */
const TRIES = 64

// Scratch memory of the synchronous check, which copies what it needs.
const climbing = b4a.allocUnsafeSlow(HASH_SIZE)
const stored = b4a.allocUnsafeSlow(HASH_SIZE)
const path: number[] = []

/** Which blocks and nodes hold for certain, and the comparing of the others. */
export class Verified {
  private readonly always: boolean
  private readonly blocks = new BitPages()
  private readonly nodes = new BitPages()
  // Lengths below the present one whose signatures hold.
  private readonly lengths = new BitPages()

  constructor(mode: Exclude<VerifyMode, 'off'>) {
    this.always = mode === 'always'
  }

  /** Blocks `start` … `end` − 1 were appended, with all nodes that came up by it; `back` are those before the first one. */
  appended(start: number, end: number, back: readonly TreeNode[]): void {
    this.blocks.addRange(start, end)
    this.nodes.addRange(2 * start, 2 * end - 1)
    for (const { index } of back) this.nodes.add(index)
  }

  /** A block (or, without `data`, its hash) was verified and stored with these nodes. */
  put(block: number, data: boolean, nodes: Iterable<TreeNode>): void {
    if (data) this.blocks.add(block)
    for (const { index } of nodes) this.nodes.add(index)
  }

  /** Blocks `start` … `end` − 1 (possibly infinite) were taken away, or are not trusted any more. */
  forget(start: number, end: number): void {
    this.blocks.deleteRange(start, end)
    this.nodes.deleteRange(2 * start, 2 * end)
    if (end === Number.POSITIVE_INFINITY) this.lengths.deleteRange(start + 1, end)
  }

  /** A block was compared, from the roots down, or verified and stored. */
  held(block: number): void {
    this.blocks.add(block)
  }

  /** Whether all of blocks `start` … `end` − 1 may be given out as they are read. */
  trusts(start: number, end: number): boolean {
    return !this.always && this.blocks.firstMissing(start, end) === -1
  }

  /**
   * Whether the bytes are those of a block: true or false if that can be told without waiting, else undefined. Costs nothing
   * for a block that is known to hold. Throws the storage's error.
   * @param offered - of the bytes, if their hash is being made already
   */
  blockHoldsSync(
    core: Core,
    block: number,
    bytes: Uint8Array,
    offered: Offer | null = null
  ): boolean | undefined {
    if (this.trusts(block, block + 1)) return true
    leafHashInto(climbing, 0, bytes, offered)
    return this.leafHoldsSync(core, block, bytes.length)
  }

  /** As {@link blockHoldsSync}, waiting for what is needed. Rejects with the storage's error. */
  blockHolds(core: Core, block: number, bytes: Uint8Array): Promise<boolean> {
    return this.blocksHold(core, block, [bytes])
  }

  /** Whether all of these neighbours are what they should be. Rejects with the storage's error. */
  async blocksHold(core: Core, start: number, blocks: readonly Uint8Array[]): Promise<boolean> {
    const places: number[] = []
    for (let i = 0; i < blocks.length; i++) if (!this.trusts(start + i, start + i + 1)) places.push(i)
    const hashes = b4a.allocUnsafe(places.length * HASH_SIZE)
    const unknown = places.length === blocks.length ? blocks : places.map((i) => blocks[i]!)
    leafHashesInto(hashes, 0, HASH_SIZE, unknown)
    for (let i = 0; i < unknown.length; i++) {
      const block = start + places[i]!
      const { length: byteLength } = unknown[i]!
      const at = i * HASH_SIZE
      for (let j = 0; j < HASH_SIZE; j++) climbing[j] = hashes[at + j]!
      const holds =
        this.leafHoldsSync(core, block, byteLength) ??
        (await this.leafHolds(core, block, byteLength, hashes.subarray(at, at + HASH_SIZE)))
      if (!holds) return false
    }
    return true
  }

  /** Whether a leaf is what is in `climbing`; undefined if that takes waiting. */
  private leafHoldsSync(core: Core, block: number, byteLength: number): boolean | undefined {
    const size = core.storage.tree.nodeSync(2 * block, stored)
    if (size === NOT_LOADED) return undefined
    if (size !== byteLength || !equal(stored, climbing)) return false
    const holds = this.climb(core, 2 * block, size)
    if (holds) this.blocks.add(block)
    return holds
  }

  private async leafHolds(core: Core, block: number, byteLength: number, hash: Uint8Array): Promise<boolean> {
    const leaf = await core.storage.tree.get(2 * block)
    if (leaf === null || leaf.size !== byteLength || !equal(leaf.hash, hash)) return false
    const holds = await this.climbWaiting(core, leaf)
    if (holds) this.blocks.add(block)
    return holds
  }

  /** Whether a node was compared already. */
  knows(treeIndex: number): boolean {
    return this.nodes.has(treeIndex)
  }

  /** As {@link nodeHolds} without waiting; undefined if that cannot be told. Throws the storage's error. */
  nodeHoldsSync(core: Core, treeIndex: number): boolean | undefined {
    if (this.nodes.has(treeIndex)) return true
    const size = core.storage.tree.nodeSync(treeIndex, climbing)
    if (size === NO_NODE) return false
    return size === NOT_LOADED ? undefined : this.climb(core, treeIndex, size)
  }

  /** Whether a node that is known is stored as it should be. Rejects with the storage's error. */
  async nodeHolds(core: Core, treeIndex: number): Promise<boolean> {
    const now = this.nodeHoldsSync(core, treeIndex)
    if (now !== undefined) return now
    const node = await core.storage.tree.get(treeIndex)
    return node !== null && this.climbWaiting(core, node)
  }

  /** Climbs from a stored node, whose hash is in `climbing`, to one that holds. Undefined if that takes waiting. */
  private climb(core: Core, treeIndex: number, leafSize: number): boolean | undefined {
    const { tree } = core.storage
    let size = leafSize
    let node = treeIndex
    path.length = 0
    while (!this.nodes.has(node)) {
      path.push(node)
      const root = rootAt(core, node)
      if (root !== null) {
        if (root.size !== size || !equal(root.hash, climbing)) return false
        break
      }
      const sibling = flat.sibling(node)
      if (!core.tree.get(sibling)) return undefined
      const siblingSize = tree.nodeSync(sibling, stored)
      if (siblingSize === NOT_LOADED) return undefined
      if (siblingSize === NO_NODE) return false
      size += siblingSize
      if (sibling > node) parentHashInto(climbing, size, climbing, stored)
      else parentHashInto(climbing, size, stored, climbing)
      path.push(sibling)
      node = flat.parent(node)
      const parentSize = tree.nodeSync(node, stored)
      if (parentSize === NOT_LOADED) return undefined
      if (parentSize !== size || !equal(stored, climbing)) return false
    }
    for (const index of path) this.nodes.add(index)
    return true
  }

  private async climbWaiting(core: Core, from: TreeNode): Promise<boolean> {
    const { tree } = core.storage
    const way: number[] = []
    let node = from
    while (!this.nodes.has(node.index)) {
      way.push(node.index)
      const root = rootAt(core, node.index)
      if (root !== null) {
        if (!sameNode(root, node)) return false
        break
      }
      const siblingIndex = flat.sibling(node.index)
      if (!core.tree.get(siblingIndex)) {
        if (!(await this.wasRoot(core, node))) return false
        break
      }
      const sibling = await tree.get(siblingIndex)
      if (sibling === null) return false
      const parent = await tree.get(flat.parent(node.index))
      const size = node.size + sibling.size
      if (parent === null || parent.size !== size || !b4a.equals(parentHash(node, sibling), parent.hash))
        return false
      way.push(siblingIndex)
      node = parent
    }
    for (const index of way) this.nodes.add(index)
    return true
  }

  /**
   * Whether a node that no known way leads up from was a root of an earlier length that is signed: a copy that was told of a longer
   * feed keeps the roots of the shorter one, but does not know what lies between.
   */
  async wasRoot(core: Core, node: TreeNode): Promise<boolean> {
    const { signatures, tree } = core.storage
    // Functions of the application's own are asked where the published packages ask them, and not here.
    if (core.signatureHolds === null) return true
    const start = flat.rightSpan(node.index) / 2
    // Two siblings have a parent, so a right one is no root.
    if (!core.live || flat.sibling(node.index) < node.index) return false
    const end = Math.min(core.length, flat.rightSpan(flat.sibling(node.index)) / 2)
    let from = start
    for (let tries = 0; tries < TRIES; tries++) {
      const found = await signatures.next(from, end)
      if (found === null) return false
      const length = found.index + 1
      from = length
      const roots: TreeNode[] = []
      for (const index of flat.fullRoots(2 * length)) {
        const root = index === node.index ? node : core.tree.get(index) ? await tree.get(index) : null
        if (root === null) break
        roots.push(root)
      }
      const last = roots[roots.length - 1]
      if (last === undefined || flat.rightSpan(last.index) !== 2 * length - 2) continue
      if (!(await core.signatureHolds(signable(treeHash(roots), length), found.signature))) continue
      for (const { index } of roots) this.nodes.add(index)
      this.lengths.add(length)
      return true
    }
    return false
  }

  /** Whether {@link signatureHolds} needs not look. */
  knowsSignature(core: Core, length: number): boolean {
    return core.signatureHolds === null || length === core.length || this.lengths.has(length)
  }

  /** Whether a stored signature holds over the roots of a length that is known. Rejects with the storage's error. */
  async signatureHolds(core: Core, length: number, signature: Uint8Array): Promise<boolean> {
    if (core.signatureHolds === null || this.knowsSignature(core, length)) return true
    const roots: TreeNode[] = []
    for (const index of flat.fullRoots(2 * length)) {
      const root = await core.storage.tree.get(index)
      if (root === null) return false
      roots.push(root)
    }
    const holds = await core.signatureHolds(signable(treeHash(roots), length), signature)
    if (holds) this.lengths.add(length)
    return holds
  }
}

function rootAt({ roots }: Core, treeIndex: number): TreeNode | null {
  for (let i = roots.length - 1; i >= 0; i--) {
    const root = roots[i]!
    if (root.index === treeIndex) return root
    if (root.index < treeIndex) return null
  }
  return null
}

function sameNode(a: TreeNode, b: TreeNode): boolean {
  return a.size === b.size && b4a.equals(a.hash, b.hash)
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < HASH_SIZE; i++) if (a[i] !== b[i]) return false
  return true
}
