/** Which tree nodes are known: the tree bits of the bitfield file (spec FORMAT §5.1). */
import { fullRoots, parent, sibling } from 'flat-tree'
import { setClimbing, type TreeBitStore } from '../util/climbing.ts'
import { DATA_BYTES, PAGE_TREE_INDEXES, type PageAccess, TREE_BYTES } from './pages.ts'
import { findBit, withBits } from './scan.ts'

// Where the tree bits of a page start, in bits.
const FIRST_BIT = 8 * DATA_BYTES

// Up to this many blocks are appended faster one by one.
const ONE_BY_ONE = 8

/**
 * The tree bits over a set of pages, committed or staged. Has no state of its own. Tree indexes are safe
 * integers ≥ 0. Nothing climbs here: see `TreeSet`.
 */
export class TreeBits implements TreeBitStore {
  #pages: PageAccess

  constructor(pages: PageAccess) {
    this.#pages = pages
  }

  /** Addressable tree bits: 8 × (highest byte that ever changed + 1); after loading 16384 × pages. */
  get length(): number {
    return 8 * this.#pages.treeBytes
  }

  /** Whether the node is known. */
  get(treeIndex: number): boolean {
    const content = this.#pages.read(Math.floor(treeIndex / PAGE_TREE_INDEXES))
    if (content === null) return false
    const bit = treeIndex & (PAGE_TREE_INDEXES - 1)
    return (content[DATA_BYTES + (bit >> 3)]! & (0x80 >> (bit & 7))) !== 0
  }

  /** Sets or clears one bit. Answers whether it changed. */
  set(treeIndex: number, value: boolean): boolean {
    const page = Math.floor(treeIndex / PAGE_TREE_INDEXES)
    this.#pages.touch(page)
    const content = this.#pages.read(page)
    const bit = treeIndex & (PAGE_TREE_INDEXES - 1)
    const at = bit >> 3
    const mask = 0x80 >> (bit & 7)
    const before = content === null ? 0 : content[DATA_BYTES + at]!
    if (withBits(before, mask, value) === before) return false
    const bytes = this.#pages.write(page, DATA_BYTES + at, DATA_BYTES + at + 1)
    bytes[DATA_BYTES + at] = withBits(bytes[DATA_BYTES + at]!, mask, value)
    this.#changed(page * TREE_BYTES + at)
    return true
  }

  /** Sets or clears the bits `start` … `end` − 1. */
  setRange(start: number, end: number, value: boolean): void {
    if (end <= start) return
    const lastPage = Math.floor((end - 1) / PAGE_TREE_INDEXES)
    // Clearing what does not exist changes nothing but the number of pages.
    const stop = value ? lastPage : Math.min(lastPage, this.#pages.length - 1)
    for (let page = Math.floor(start / PAGE_TREE_INDEXES); page <= stop; page++) {
      const first = page * PAGE_TREE_INDEXES
      const from = FIRST_BIT + Math.max(start - first, 0)
      const to = FIRST_BIT + Math.min(end - first, PAGE_TREE_INDEXES)
      const content = this.#pages.read(page)
      const nothingToDo = content === null ? !value : findBit(content, from, to, !value) === -1
      if (nothingToDo) continue
      fill(this.#pages.write(page, from >> 3, ((to - 1) >> 3) + 1), from, to, value)
      if (value) this.#changed(page * TREE_BYTES + ((to - 1) >> 3) - DATA_BYTES)
    }
    this.#pages.touch(lastPage)
  }

  /**
   * Sets the bits that appending the blocks `oldLength` … `newLength` − 1 one after the other sets: each leaf
   * and every parent that becomes complete, also those further back. Cost: a few bytes per hundred blocks.
   */
  setAppended(oldLength: number, newLength: number): void {
    if (newLength - oldLength <= ONE_BY_ONE || !this.#isClean(2 * oldLength, 2 * newLength)) {
      for (let block = oldLength; block < newLength; block++) setClimbing(this, 2 * block)
      return
    }
    const start = 2 * oldLength
    const end = 2 * newLength - 1
    this.setRange(start, end, true)
    // In between all nodes are complete but the parents of the new roots. (The last one's is number `end`.)
    const incomplete = new Set(fullRoots(2 * newLength).map((root) => parent(root)))
    for (const node of incomplete) if (node >= start && node < end) this.set(node, false)
    // Further back, the parents of the old roots were the incomplete ones.
    for (const root of fullRoots(start)) {
      const node = parent(root)
      if (!incomplete.has(node)) this.set(node, true)
    }
  }

  /**
   * Whether the bits are as appending alone leaves them, as far as climbing from the new leaves looks: all old
   * roots known, and nothing that needs a block from `start` on. A damaged or truncated bitfield may differ.
   */
  #isClean(start: number, end: number): boolean {
    for (const root of fullRoots(start)) {
      if (!this.get(root) || this.get(parent(root))) return false
    }
    for (const root of fullRoots(end)) {
      if (this.get(sibling(root))) return false
    }
    return !this.any(start, end)
  }

  /** Whether any of the nodes `start` … `end` − 1 is known. */
  any(start: number, end: number): boolean {
    for (let page = Math.floor(start / PAGE_TREE_INDEXES); page * PAGE_TREE_INDEXES < end; page++) {
      const content = this.#pages.read(page)
      if (content === null) continue
      const first = page * PAGE_TREE_INDEXES
      const from = FIRST_BIT + Math.max(start - first, 0)
      const to = FIRST_BIT + Math.min(end - first, PAGE_TREE_INDEXES)
      if (findBit(content, from, to, true) !== -1) return true
    }
    return false
  }

  #changed(treeByte: number): void {
    if (treeByte >= this.#pages.treeBytes) this.#pages.treeBytes = treeByte + 1
  }
}

/** Sets or clears the bits `from` … `to` − 1 of `bytes`; from < to. */
function fill(bytes: Uint8Array, from: number, to: number, value: boolean): void {
  const first = from >> 3
  const last = (to - 1) >> 3
  const leftMask = 0xff >> (from & 7)
  const rightMask = (0xff00 >> (((to - 1) & 7) + 1)) & 0xff
  if (first === last) {
    setMasked(bytes, first, leftMask & rightMask, value)
    return
  }
  setMasked(bytes, first, leftMask, value)
  bytes.fill(value ? 0xff : 0, first + 1, last)
  setMasked(bytes, last, rightMask, value)
}

function setMasked(bytes: Uint8Array, at: number, mask: number, value: boolean): void {
  bytes[at] = withBits(bytes[at]!, mask, value)
}
