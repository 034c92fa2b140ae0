import b4a from 'b4a'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE, hashAt, NODE_SIZE, type TreeNode } from '../merkle/node.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'
import type { NodeCache } from './caches.ts'
import { isBlank, treePosition } from './layout.ts'
import { PageCache } from './page-cache.ts'
import type { StorageFile } from './random-access.ts'
import { SlotCache } from './slot-cache.ts'
import { storageError } from './storage-error.ts'

/**
 * Slots read and cached together. The in-order numbering puts a whole subtree of 16 blocks beside each other,
 * so one read of 1.3 KB brings a leaf, its neighbours and the lower four levels of its proof. With
 * pages of 128 slots random proofs were half as fast, and their garbage cost some 10 MB more.
 */
const PAGE_SLOTS = 32
const PAGE_BYTES = PAGE_SLOTS * NODE_SIZE

/**
 * Every 16th slot is a node that others need, too: the root of the subtree of a page, which proofs of its neighbour have, or, the last one
 * of the page, a node above. They are all that proofs of different places have in common, so they have a cache of their own,
 * and are read one by one. Random proofs of 200,000 blocks take half the time that way, with as much memory.
 */
const UPPER_EVERY = 16
const UPPER_SLOT = UPPER_EVERY - 1
// What a slot takes in that cache, with its number; and which part of the memory is for it: at first, and if there are many of them. The
// rest is for pages. There are two steps and no more, because each one copies the pages that stay.
const UPPER_BYTES = NODE_SIZE + 8
const FIRST_UPPER_PART = 5 / 32
const UPPER_PART = 5 / 8

const EMPTY_PAGE = b4a.alloc(PAGE_BYTES)
// Synchronous reads are copied out at once.
const scratch = b4a.allocUnsafeSlow(PAGE_BYTES)

/** {@link TreeFile.sizeSync}: no node is stored in this slot. */
export const NO_NODE = -1
/** {@link TreeFile.sizeSync}: the slot is not in memory and needs an asynchronous read. */
export const NOT_LOADED = -2

/**
 * The nodes of the Merkle tree (spec FORMAT §1.3), read in pages through a cache.
 *
 * Whether a node *counts* is the tree set's business; a slot that it does not list may hold anything.
 */
export class TreeFile {
  private readonly file: StorageFile
  private readonly pages: PageCache | null
  // Every UPPER_EVERY-th slot.
  private readonly upper: SlotCache | null
  private readonly nodes: NodeCache | null
  // For pages and upper slots together.
  private readonly cacheBytes: number
  // Bytes of whole slots known to exist, or null if the storage cannot tell: then slots are read one by one and not cached,
  // because nobody could say which part of a short page is real.
  private end: number | null
  // Raised by every write: what was being read meanwhile is not put into the cache.
  private epoch = 0
  // The page in hand: its number (−1 for none), where it is, and the offset there. Good until the next page is taken.
  private page = -1
  private bytes: Uint8Array = EMPTY_PAGE
  private start = 0

  /**
   * @param file - the `tree` storage
   * @param size - its size in bytes, null if unknown
   * @param cacheBytes - memory for cached slots, 0 for none
   * @param nodes - a cache of the application's, instead of ours
   */
  constructor(file: StorageFile, size: number | null, cacheBytes: number, nodes: NodeCache | null) {
    this.file = file
    // A slot that was cut off holds no node.
    this.end = size === null ? null : wholeSlots(size)
    this.nodes = nodes
    const own = nodes === null && cacheBytes > 0
    const upperSlots = own ? (cacheBytes * UPPER_PART) / UPPER_BYTES : 0
    this.upper = upperSlots < 2 ? null : new SlotCache(NODE_SIZE, 2 ** Math.floor(Math.log2(upperSlots)))
    this.cacheBytes = cacheBytes
    this.pages = own ? new PageCache(PAGE_BYTES, this.mostPages) : null
  }

  /** Slots up to the end of the file, 0 if the storage cannot tell. */
  get slots(): number {
    return this.end === null ? 0 : Math.max(0, Math.floor((this.end - treePosition(0)) / NODE_SIZE))
  }

  /** The cache in use, null if there is none. */
  get cache(): unknown {
    return this.nodes ?? this.pages
  }

  /** The node stored in a slot, null if the slot is empty. Errors: `ERR_STORAGE`. */
  async get(treeIndex: number): Promise<TreeNode | null> {
    const cached = this.nodes?.get(treeIndex)
    if (cached) return cached
    const { epoch } = this
    let node: TreeNode | null
    if (this.takeSync(treeIndex)) {
      node = decodeNode(treeIndex, this.bytes, this.offsetOf(treeIndex))
    } else if (this.end === null) {
      const slot = await this.file.readIfPresent(treePosition(treeIndex), NODE_SIZE).catch(rethrow)
      node = slot === null ? null : decodeNode(treeIndex, b4a.from(slot), 0)
    } else {
      node = decodeNode(treeIndex, await this.load(treeIndex), (treeIndex % PAGE_SLOTS) * NODE_SIZE)
    }
    // A node that was written over while it was read is not the one that is stored.
    if (node !== null && epoch === this.epoch) this.nodes?.set(treeIndex, node)
    return node
  }

  /** The nodes of several slots, in the order asked. */
  async many(treeIndexes: readonly number[]): Promise<(TreeNode | null)[]> {
    const nodes = new Array<TreeNode | null>(treeIndexes.length)
    for (let i = 0; i < treeIndexes.length; i++) {
      const treeIndex = treeIndexes[i]!
      const node = this.getSync(treeIndex)
      nodes[i] = node === undefined ? await this.get(treeIndex) : node
    }
    return nodes
  }

  /** As {@link get}, but fails with `ERR_NODE_NOT_FOUND` for an empty slot. */
  async require(treeIndex: number): Promise<TreeNode> {
    const node = await this.get(treeIndex)
    if (node === null) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
    return node
  }

  /** The node if that needs no asynchronous read, else undefined. */
  getSync(treeIndex: number): TreeNode | null | undefined {
    if (this.nodes !== null) {
      const cached = this.nodes.get(treeIndex)
      if (cached) return cached
    }
    return this.takeSync(treeIndex) ? decodeNode(treeIndex, this.bytes, this.offsetOf(treeIndex)) : undefined
  }

  /** Size of the node in a slot, {@link NO_NODE} or {@link NOT_LOADED}. */
  sizeSync(treeIndex: number): number {
    if (!this.takeSync(treeIndex)) return NOT_LOADED
    const offset = this.offsetOf(treeIndex)
    return isEmptySlot(this.bytes, offset) ? NO_NODE : readUint64(this.bytes, offset + HASH_SIZE)
  }

  /** Copies the hash of the node in a slot to `target`; its size, {@link NO_NODE} or {@link NOT_LOADED}. */
  nodeSync(treeIndex: number, target: Uint8Array): number {
    if (!this.takeSync(treeIndex)) return NOT_LOADED
    const { bytes } = this
    const offset = this.offsetOf(treeIndex)
    if (isEmptySlot(bytes, offset)) return NO_NODE
    for (let i = 0; i < HASH_SIZE; i++) target[i] = bytes[offset + i]!
    return readUint64(bytes, offset + HASH_SIZE)
  }

  /** Whether the stored hash of a slot equals `hash`; undefined if the slot is not in memory. */
  hashEqualsSync(treeIndex: number, hash: Uint8Array): boolean | undefined {
    if (!this.takeSync(treeIndex)) return undefined
    const { bytes } = this
    const offset = this.offsetOf(treeIndex)
    for (let i = 0; i < HASH_SIZE; i++) {
      if (bytes[offset + i] !== hash[i]) return false
    }
    return true
  }

  /** So many slots as they are stored, read into `target`; null if that needs an asynchronous read, or if the file ends before. */
  slotsSync(treeIndex: number, count: number, target: Uint8Array): Uint8Array | null {
    const position = treePosition(treeIndex)
    const size = count * NODE_SIZE
    if (this.end === null || position + size > this.end) return null
    return this.readSync(position, size, target)
  }

  /** Forgets what was read: from now on the file itself is looked at. (A cache of the application's stays as it is.) */
  async refresh(): Promise<void> {
    const size = await this.file.size().catch(rethrow)
    if (size !== null) this.end = wholeSlots(size)
    this.epoch++
    this.page = -1
    this.pages?.clear()
    this.upper?.clear()
  }

  /** Writes consecutive slots, `slots` being a multiple of 40 bytes, starting with `treeIndex`. */
  async write(treeIndex: number, slots: Uint8Array): Promise<void> {
    const position = treePosition(treeIndex)
    this.forget(treeIndex, slots)
    try {
      await this.file.write(position, slots)
      this.wrote(position, slots)
    } finally {
      this.forget(treeIndex, slots)
    }
  }

  /** As {@link write}, at once; false if the storage cannot do that now. */
  writeSync(treeIndex: number, slots: Uint8Array): boolean {
    const position = treePosition(treeIndex)
    let done = false
    try {
      done = this.file.writeSync(position, slots)
    } catch (error) {
      this.forget(treeIndex, slots)
      throw error
    }
    if (!done) return false
    this.wrote(position, slots)
    this.patch(treeIndex, slots)
    return true
  }

  /** Takes the page of a slot in hand, or the slot alone, if that needs no asynchronous read. */
  private takeSync(treeIndex: number): boolean {
    const page = Math.floor(treeIndex / PAGE_SLOTS)
    if (page === this.page) return true
    if (this.end === null) return false
    const { upper } = this
    const isUpper = upper !== null && treeIndex % UPPER_EVERY === UPPER_SLOT
    // Where the page is here, its root is, too.
    const isRoot = treeIndex % PAGE_SLOTS === UPPER_SLOT
    if (isUpper && !isRoot && this.takeUpper(treeIndex, upper)) return true
    const cached = this.pages?.find(page) ?? -1
    if (cached >= 0) {
      this.take(page, this.pages!.memory, cached)
      return true
    }
    if (isUpper && isRoot && this.takeUpper(treeIndex, upper)) return true
    const size = this.pageSize(page)
    if (size === 0) {
      this.take(page, EMPTY_PAGE, 0)
      return true
    }
    const read = this.readSync(treePosition(page * PAGE_SLOTS), size, scratch)
    if (read === null) return false
    this.keep(page, read)
    return true
  }

  private takeUpper(treeIndex: number, upper: SlotCache): boolean {
    const number = (treeIndex - UPPER_SLOT) / UPPER_EVERY
    let at = upper.find(number)
    if (at < 0) {
      const position = treePosition(treeIndex)
      if (position + NODE_SIZE > this.end!) return false
      const read = this.readSync(position, NODE_SIZE, scratch)
      if (read === null) return false
      const { memory } = upper
      at = upper.add(number)
      upper.memory.set(read, at)
      if (memory !== upper.memory && this.pages !== null) this.pages.limit = this.mostPages
    }
    // Where the page would have to begin for the slot to be there.
    this.take(-1, upper.memory, at - (treeIndex % PAGE_SLOTS) * NODE_SIZE)
    return true
  }

  private get mostPages(): number {
    const { cacheBytes, upper } = this
    const first = cacheBytes * FIRST_UPPER_PART
    const reserved = upper === null ? 0 : upper.byteLength <= first ? first : cacheBytes * UPPER_PART
    return Math.ceil((cacheBytes - reserved) / PAGE_BYTES)
  }

  /** The page of a slot, whole. */
  private async load(treeIndex: number): Promise<Uint8Array> {
    const page = Math.floor(treeIndex / PAGE_SLOTS)
    const epoch = this.epoch
    const read = await this.file.read(treePosition(page * PAGE_SLOTS), this.pageSize(page)).catch(rethrow)
    const bytes = wholePage(read)
    if (epoch === this.epoch && this.pages !== null && this.pages.find(page) < 0) this.keep(page, bytes)
    return bytes
  }

  private readSync(position: number, size: number, target: Uint8Array): Uint8Array | null {
    try {
      return this.file.readSync(position, size, target)
    } catch (error) {
      return rethrow(error)
    }
  }

  /** Where the page in hand has a slot. */
  private offsetOf(treeIndex: number): number {
    return this.start + (treeIndex % PAGE_SLOTS) * NODE_SIZE
  }

  private pageSize(page: number): number {
    return Math.max(0, Math.min(PAGE_BYTES, this.end! - treePosition(page * PAGE_SLOTS)))
  }

  /** Takes a page that was read in hand, and caches a copy. The rest of a short page is empty. */
  private keep(page: number, read: Uint8Array): void {
    if (this.pages === null) {
      this.take(page, wholePage(read), 0)
      // Not for the next time: there is to be no cache.
      this.page = -1
      return
    }
    const start = this.pages.add(page)
    const { memory } = this.pages
    memory.set(read, start)
    memory.fill(0, start + read.length, start + PAGE_BYTES)
    this.take(page, memory, start)
  }

  private take(page: number, bytes: Uint8Array, start: number): void {
    this.page = page
    this.bytes = bytes
    this.start = start
  }

  private wrote(position: number, slots: Uint8Array): void {
    if (this.end !== null) this.end = Math.max(this.end, position + slots.length)
  }

  private forget(treeIndex: number, slots: Uint8Array): void {
    this.epoch++
    this.page = -1
    const last = treeIndex + Math.ceil(slots.length / NODE_SIZE) - 1
    for (let page = Math.floor(treeIndex / PAGE_SLOTS); page * PAGE_SLOTS <= last; page++) {
      this.pages?.delete(page)
    }
    this.forgetUpper(treeIndex, last)
    if (this.nodes !== null) {
      for (let i = treeIndex; i <= last; i++) this.nodes.delete(i)
    }
  }

  private forgetUpper(first: number, last: number): void {
    if (this.upper === null) return
    for (
      let number = Math.ceil((first - UPPER_SLOT) / UPPER_EVERY);
      number * UPPER_EVERY + UPPER_SLOT <= last;
      number++
    ) {
      this.upper.delete(number)
    }
  }

  // After a synchronous write the cached pages are brought up to date instead of being read again: the tip of
  // a feed that is appended to stays in memory.
  private patch(treeIndex: number, slots: Uint8Array): void {
    this.epoch++
    this.page = -1
    const count = slots.length / NODE_SIZE
    const last = treeIndex + count - 1
    this.forgetUpper(treeIndex, last)
    for (let page = Math.floor(treeIndex / PAGE_SLOTS); page * PAGE_SLOTS <= last; page++) {
      const start = this.pages?.find(page) ?? -1
      if (start < 0) continue
      const from = Math.max(treeIndex, page * PAGE_SLOTS)
      const to = Math.min(last + 1, (page + 1) * PAGE_SLOTS)
      this.pages!.memory.set(
        slots.subarray((from - treeIndex) * NODE_SIZE, (to - treeIndex) * NODE_SIZE),
        start + (from - page * PAGE_SLOTS) * NODE_SIZE
      )
    }
    if (this.nodes !== null) {
      for (let i = treeIndex; i <= last; i++) this.nodes.delete(i)
    }
  }
}

/** Bytes of the header and the whole slots in a file of `size` bytes. */
function wholeSlots(size: number): number {
  const start = treePosition(0)
  return size <= start ? size : size - ((size - start) % NODE_SIZE)
}

function wholePage(read: Uint8Array): Uint8Array {
  const bytes = b4a.alloc(PAGE_BYTES)
  bytes.set(read, 0)
  return bytes
}

function isEmptySlot(bytes: Uint8Array, offset: number): boolean {
  // The first bytes of a hash decide all but always.
  if (bytes[offset] !== 0 || bytes[offset + 1] !== 0) return false
  return isBlank(bytes.subarray(offset, offset + NODE_SIZE))
}

/** The node in a slot, null if the slot is blank. The hash is copied, and is a Buffer if `bytes` is. */
export function decodeNode(treeIndex: number, bytes: Uint8Array, offset: number): TreeNode | null {
  if (isEmptySlot(bytes, offset)) return null
  return { index: treeIndex, hash: hashAt(bytes, offset), size: readUint64(bytes, offset + HASH_SIZE) }
}

/** The 40 bytes of a node's slot. */
export function encodeNode(node: TreeNode): Uint8Array {
  const slot = b4a.allocUnsafe(NODE_SIZE)
  encodeNodeInto(slot, 0, node)
  return slot
}

/** Writes the 40 bytes of a node's slot at `offset` of `target`. */
export function encodeNodeInto(target: Uint8Array, offset: number, node: TreeNode): void {
  target.set(node.hash, offset)
  writeUint64(target, node.size, offset + HASH_SIZE)
}

function rethrow(error: unknown): never {
  throw storageError(error)
}
