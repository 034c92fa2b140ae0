import b4a from 'b4a'
import flat from 'flat-tree'
import { Pages } from '../bitfield/pages.ts'
import { parentHash, signable, treeHash } from '../crypto/hash.ts'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Checkpoint } from '../storage/checkpoint.ts'
import { isBlank } from '../storage/layout.ts'
import type { TouchedPages } from '../storage/touched-pages.ts'
import { nextTurn, turnIsOver } from '../util/turn.ts'
import { bitsOf } from './bit-difference.ts'
import type { Core } from './core.ts'
import { MAX_BLOCK_SIZE } from './encoding.ts'
import { byteOffset } from './places.ts'
import { type CheckSource, TreeCheck } from './tree-check.ts'

/** What {@link recover} knows of a feed. */
export interface RecoverySource {
  /** Storage and bits of the feed; its length and roots are not set yet. */
  core: Core
  /** What is durable for certain; null if nothing is known. */
  checkpoint: Checkpoint | null
  /** Whether a checkpoint of this key lies there, be it of use or not: the feed was open here, where nothing is left beyond an end. */
  known: boolean
  /** Without a checkpoint: whether everything in the files is to be looked at. Otherwise bits below the end are trusted. */
  whole: boolean
  /** Whether that may be done where the bits lead nowhere. */
  small: boolean
  /** Bytes of the `data` file, null if unknown. */
  dataSize: number | null
  readsData: boolean
  /** Null for a static feed without a key, where nothing is signed. */
  key: Uint8Array | null
  verify: ((message: Uint8Array, signature: Uint8Array) => Promise<boolean>) | null
  /** Signs again what was signed before, if the secret key is here. The same input gives the same signature. */
  sign: ((message: Uint8Array) => Uint8Array) | null
  /** Without the secret key: nothing is appended here. */
  copy: boolean
  /** Give up what is damaged instead of refusing to open. */
  repair: boolean
  /** The bitfield is gone beside a tree. */
  bitsLost: boolean
  /** Pages of bits that may differ from the checkpoint; null: any. Set back when all of them are read. */
  touched: TouchedPages | null
  /** Reads the pages of the core, where they come from the checkpoint. */
  readPages(): Promise<void>
}

// How many signatures are tried for nodes that a longer feed left behind.
const DISCONNECTED_TRIES = 8

// How many blocks may be damaged below a root that is not signed.
const BLOCK_TRIES = 8

// Signature slots read at a time.
const SLOTS_AT_A_TIME = 1024
const BLANK_SLOTS = b4a.alloc(SLOTS_AT_A_TIME * SIGNATURE_SIZE)

/** The lengths that a stored feed has had: their roots in the tree file, and whether their signatures hold. */
export class StoredHeads {
  /** Roots that were missing or wrong, and that the nodes below them tell. */
  readonly healed = new Map<number, TreeNode>()
  readonly #source: RecoverySource
  readonly #core: Core

  constructor(source: RecoverySource) {
    this.#source = source
    this.#core = source.core
  }

  /** Forgets what was worked out for a length that is not the one. @param healed - what {@link healed} was before */
  restore(healed: ReadonlyMap<number, TreeNode>): void {
    this.healed.clear()
    for (const [index, node] of healed) this.healed.set(index, node)
  }

  /** The roots of the greatest length in (start, end) whose signature holds, as far as they lie there. */
  async signedRoots(start: number, end: number): Promise<TreeNode[]> {
    if (this.#source.verify === null) return []
    for await (const { index, signature } of this.slotsDown(end - 1, start, DISCONNECTED_TRIES)) {
      const roots = await this.rootsOf(index + 1)
      if (roots === null || !(await this.holds(roots, index + 1, signature))) continue
      return roots.filter((root) => flat.leftSpan(root.index) >= 2 * start)
    }
    return []
  }

  /** Whether these are the roots of a static feed: its key is their hash. Also while it has no key yet. */
  isStatic(roots: readonly TreeNode[]): boolean {
    const { key } = this.#source
    return key === null || (roots.length > 0 && b4a.equals(treeHash(roots), key))
  }

  /** Whether a signature of this length holds over these roots. */
  async holds(roots: readonly TreeNode[], length: number, signature: Uint8Array): Promise<boolean> {
    return this.#source.verify!(signable(treeHash(roots), length), signature)
  }

  /**
   * Roots as they are stored, or as the nodes below them tell; null if one is missing, or if they do not fit.
   * @param byteLength - bytes of that many blocks, if they are known: then a last block's leaf may be told by its data. Only with `fits`
   */
  async rootsOf(
    length: number,
    fits: (roots: readonly TreeNode[]) => boolean | Promise<boolean> = () => true,
    byteLength = Number.NaN
  ): Promise<TreeNode[] | null> {
    const { tree } = this.#core.storage
    const roots: TreeNode[] = []
    let worked = this.healed.size > 0
    let before = 0
    for (const index of flat.fullRoots(2 * length)) {
      const stored = tree.getSync(index) ?? (await tree.get(index))
      worked ||= stored === null
      const node =
        this.healed.get(index) ??
        stored ??
        (await this.#check().below(index)) ??
        (await this.#lastLeaf(this.#check(), index, before, byteLength))
      if (node === null) return null
      roots.push(node)
      before += node.size
    }
    if (!(await fits(roots))) {
      const check = this.#check()
      let offset = 0
      for (const [i, root] of roots.entries()) {
        for await (const healed of this.#otherwise(check, root, offset)) {
          const tried = roots.map((one, j) => (i === j ? healed : one))
          if (!(await fits(tried))) continue
          this.healed.set(root.index, healed)
          return tried
        }
        offset += root.size
      }
      return null
    }
    if (!worked) return roots
    for (const root of roots) {
      if ((await tree.get(root.index)) === null) this.healed.set(root.index, root)
    }
    return roots
  }

  /**
   * Whether each root is stored, and what lies below it: nodes, or its block. Who appends writes all nodes, and who clears or truncates
   * leaves them: roots above nodes that are missing may be anything, and one that was worked out from those below says nothing of them.
   */
  async agree(roots: readonly TreeNode[]): Promise<boolean> {
    const { tree } = this.#core.storage
    const check = this.#check()
    let offset = 0
    for (const root of roots) {
      const { index, size } = root
      const held =
        index % 2 === 1
          ? same(await check.below(index), root) && (await this.#blocksAgree(check, root))
          : await this.#leafAgrees(check, root, offset)
      if (!held || !same(await tree.get(index), root)) return false
      offset += size
    }
    return true
  }

  /** Whether any block below a root is that of its leaf, if any is here: the nodes of another feed agree with each other, too. */
  async #blocksAgree(check: TreeCheck, { index }: TreeNode): Promise<boolean> {
    const { tree } = this.#core.storage
    const end = flat.rightSpan(index) / 2 + 1
    let agrees = true
    let block = flat.leftSpan(index) / 2
    for (let tries = BLOCK_TRIES; this.#source.readsData && tries > 0; tries--) {
      block = this.#core.bits.firstPresent(block, end)
      if (block === -1) break
      const leaf = await tree.get(2 * block)
      const offset = await byteOffset(tree, block).catch(() => null)
      // An empty block is the same in every feed.
      if (leaf?.size !== 0) {
        agrees =
          leaf !== null && offset !== null && same(await check.leafOf(2 * block, offset, leaf.size), leaf)
        if (agrees) break
      }
      block++
    }
    return agrees
  }

  /** Whether a leaf is that of its block, or, where that was cleared, of the pair that whoever truncated has left. */
  async #leafAgrees(check: TreeCheck, leaf: TreeNode, offset: number): Promise<boolean> {
    const { index, size } = leaf
    // Blocks of an application that keeps them itself are not asked for.
    if (!this.#source.readsData || same(await check.leafOf(index, offset, size), leaf)) return true
    const { tree } = this.#core.storage
    const other = flat.sibling(index)
    const [sibling, parent] = [await tree.get(other), await tree.get(flat.parent(index))]
    if (sibling === null || parent === null || other < index) return false
    // The parent knows the sum of the sizes only, and the block of the sibling which part of it is that one's.
    if (!b4a.equals(parentHash(leaf, sibling), parent.hash)) return false
    // Both were cleared: nothing is left to tell, and a folder of which nothing is missing is not refused.
    if (!this.#core.bits.get(other / 2)) return true
    return same(await check.leafOf(other, offset + size, sibling.size), sibling)
  }

  /** A leaf that is the last root, as the end of the data gives it. */
  async #lastLeaf(
    check: TreeCheck,
    index: number,
    offset: number,
    byteLength: number
  ): Promise<TreeNode | null> {
    const size = byteLength - offset
    return index % 2 === 0 && size >= 0 && size <= MAX_BLOCK_SIZE ? check.leafOf(index, offset, size) : null
  }

  /** What a root may have been: as the nodes below it tell, or the data, up to their end if its size is damaged too. */
  async *#otherwise(check: TreeCheck, root: TreeNode, offset: number): AsyncGenerator<TreeNode> {
    const { dataSize } = this.#source
    if (root.index % 2 === 1) {
      const node = await check.below(root.index)
      if (node !== null) yield node
      return
    }
    const sizes = dataSize === null ? [root.size] : [root.size, dataSize - offset]
    for (const size of sizes) {
      if (!(size >= 0 && size <= MAX_BLOCK_SIZE)) continue
      const leaf = await check.leafOf(root.index, offset, size)
      if (leaf !== null) yield leaf
    }
  }

  #check(): TreeCheck {
    const { core, dataSize, readsData } = this.#source
    const nothing = bitsOf(new Pages(core.pages.pageSize))
    const source: CheckSource = {
      tree: core.storage.tree,
      data: core.storage.data,
      dataSize,
      found: nothing,
      proven: nothing,
      from: 0,
      completeFrom: 0,
      suspects: [],
      lostPages: new Set(),
      signedRoots: async () => [],
      readsData
    }
    const check = new TreeCheck(source, core.stage())
    for (const [index, node] of this.healed) check.healed.set(index, node)
    return check
  }

  /** Slots `to` … `from` − 1 that are not blank, the last one first; at most `limit` of them. */
  async *slotsDown(
    from: number,
    to: number,
    limit: number
  ): AsyncGenerator<{ index: number; signature: Uint8Array }> {
    let left = limit
    for (let end = from; end > to; ) {
      const start = Math.max(to, end - SLOTS_AT_A_TIME)
      const slots = await this.#core.storage.signatures.copy(start, end)
      end = start
      // To read a hole of a gigabyte takes seconds, and needs no waiting.
      if (turnIsOver()) await nextTurn()
      // Of a copy that has just begun, the file is nearly all hole: one slot after the other would take seconds for each million.
      if (b4a.equals(slots, BLANK_SLOTS.subarray(0, slots.byteLength))) continue
      for (let i = Math.floor(slots.byteLength / SIGNATURE_SIZE) - 1; i >= 0; i--) {
        const signature = slots.subarray(i * SIGNATURE_SIZE, (i + 1) * SIGNATURE_SIZE)
        if (isBlank(signature)) continue
        if (left-- <= 0) return
        yield { index: start + i, signature }
      }
    }
  }
}

function same(a: TreeNode | null, b: TreeNode): boolean {
  return a !== null && a.size === b.size && b4a.equals(a.hash, b.hash)
}

// Two signatures have a fourth of a byte in common; what differs in less than a quarter is damaged.
const SAME_BYTES = 48

/** Whether a signature that is stored is what is left of another one: cut, or damaged in some places. */
export function isRestOf(stored: Uint8Array, whole: Uint8Array): boolean {
  let same = 0
  let cut = true
  for (const [i, byte] of stored.entries()) {
    if (byte === whole[i]) same++
    else if (byte !== 0) cut = false
  }
  return cut || same >= SAME_BYTES
}
