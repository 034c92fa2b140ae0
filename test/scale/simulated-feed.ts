import b4a from 'b4a'
import flat from 'flat-tree'
import {
  DATA_BYTES,
  INDEX_OFFSET,
  PAGE_BLOCKS,
  PAGE_SIZE,
  PAGE_TREE_INDEXES
} from '../../src/bitfield/pages.ts'
import { leafHash, parentHash, signable, treeHash } from '../../src/crypto/hash.ts'
import { keyPair, SIGNATURE_SIZE, sign } from '../../src/crypto/keys.ts'
import { NODE_SIZE, type TreeNode } from '../../src/merkle/node.ts'
import { encodeHeader, HEADER_SIZE, signaturePosition, treePosition } from '../../src/storage/layout.ts'
import type { RandomAccess, StorageCallback } from '../../src/storage/random-access.ts'
import { encodeNodeInto } from '../../src/storage/tree-file.ts'

/** What a file would hold in bytes `offset` … `offset + size` − 1; there are never more than the file has. */
type Content = (target: Uint8Array, offset: number) => void

interface SimulatedFile {
  size: number
  content: Content
}

/**
 * A feed whose blocks are all alike, as a storage that works its files out when they are read: subtrees of the same depth have the
 * same hash, so 53 nodes are all there is to know, however long the feed is. It is signed once, at its end, and has all its blocks.
 * Writing fails.
 */
export class SimulatedFeed {
  /** Blocks. */
  readonly length: number
  /** Every block of the feed. */
  readonly block: Uint8Array
  /** Public key. */
  readonly key: Uint8Array
  /** The key that signed it. */
  readonly secretKey: Uint8Array
  /** Bytes that were read, by file name. */
  readonly read: Record<string, number> = {}
  // The node of each depth, with a tree index that means nothing.
  readonly #depths: TreeNode[] = []
  readonly #roots: number[]
  readonly #files: Record<string, SimulatedFile>

  /** @param length - blocks, up to 2^48: byte positions in the tree file have to be exact */
  constructor(length: number, block: Uint8Array = b4a.from('the same in each block')) {
    this.length = length
    this.block = block
    const { publicKey, secretKey } = keyPair(b4a.alloc(32, 7))
    this.key = publicKey
    this.secretKey = secretKey
    this.#depths.push({ index: 0, hash: leafHash(block), size: block.byteLength })
    for (let depth = 1; 2 ** depth <= length; depth++) {
      const child = this.#depths[depth - 1]!
      const [left, right] = [child, { ...child, index: 1 }]
      this.#depths.push({ index: 0, hash: parentHash(left, right), size: 2 * child.size })
    }
    this.#roots = flat.fullRoots(2 * length)
    const hash = treeHash(this.#roots.map((index) => this.node(index)!))
    const signature = sign(signable(hash, length), secretKey)
    const pages = Math.ceil(length / PAGE_BLOCKS)
    this.#files = {
      key: { size: publicKey.byteLength, content: bytes(publicKey) },
      secret_key: { size: 0, content: () => {} },
      data: {
        size: length * block.byteLength,
        content: (target, offset) => repeat(target, block, offset % block.byteLength)
      },
      tree: {
        size: treePosition(2 * length - 1),
        content: headed(encodeHeader('tree', NODE_SIZE), NODE_SIZE, (slot, index) => {
          const node = this.node(index)
          if (node !== null) encodeNodeInto(slot, 0, node)
        })
      },
      signatures: {
        size: signaturePosition(length),
        content: headed(encodeHeader('signatures', SIGNATURE_SIZE), SIGNATURE_SIZE, (slot, index) => {
          if (index === length - 1) slot.set(signature)
        })
      },
      bitfield: {
        size: HEADER_SIZE + pages * PAGE_SIZE,
        content: headed(encodeHeader('bitfield', PAGE_SIZE), PAGE_SIZE, (page, index) =>
          this.#page(page, index)
        )
      }
    }
  }

  /** Bytes of all blocks. */
  get byteLength(): number {
    return this.length * this.block.byteLength
  }

  /** The node in a slot of the tree; null if it is not complete. */
  node(index: number): TreeNode | null {
    if (flat.rightSpan(index) >= 2 * this.length) return null
    return { ...this.#depths[flat.depth(index)]!, index }
  }

  /** All of a file. */
  file(name: string): Uint8Array {
    const { size, content } = this.#files[name]!
    const target = b4a.alloc(size)
    content(target, 0)
    return target
  }

  /** To be given to a feed as its storage. */
  readonly storage = (name: string): RandomAccess => {
    const { size, content } = this.#files[name]!
    const read = (offset: number, length: number): Uint8Array => {
      if (offset + length > size) throw new Error(`The file ${name} has ${size} bytes`)
      this.read[name] = (this.read[name] ?? 0) + length
      const target = b4a.alloc(length)
      content(target, offset)
      return target
    }
    return {
      statable: true,
      read(offset, length, callback: StorageCallback<Uint8Array>) {
        let bytes: Uint8Array
        try {
          bytes = read(offset, length)
        } catch (error) {
          queueMicrotask(() => callback(error as Error))
          return
        }
        queueMicrotask(() => callback(null, bytes))
      },
      write(_offset, _data, callback) {
        queueMicrotask(() => callback(new Error('A simulated file cannot be written to')))
      },
      stat(callback) {
        queueMicrotask(() => callback(null, { size }))
      },
      readSync: read,
      sizeSync: () => size
    }
  }

  /** Index bytes are left out: nothing reads them. */
  #page(page: Uint8Array, number: number): void {
    const blocks = Math.min(PAGE_BLOCKS, this.length - number * PAGE_BLOCKS)
    fillBits(page, 0, blocks)
    const first = number * PAGE_TREE_INDEXES
    const indexes = Math.min(PAGE_TREE_INDEXES, 2 * this.length - 1 - first)
    fillBits(page, 8 * DATA_BYTES, 8 * DATA_BYTES + indexes)
    // All nodes up to the last leaf are complete, but those that reach beyond the end: the parents above each root.
    for (const root of this.#roots) {
      for (let index = flat.parent(root); index < 2 * this.length; index = flat.parent(index)) {
        const bit = 8 * DATA_BYTES + index - first
        if (index >= first && index < first + PAGE_TREE_INDEXES) page[bit >> 3]! &= ~(0x80 >> (bit & 7))
      }
    }
    page.fill(0, INDEX_OFFSET)
  }
}

function bytes(content: Uint8Array): Content {
  return (target, offset) => target.set(content.subarray(offset, offset + target.byteLength))
}

/** A header, and entries of one size behind it. */
function headed(header: Uint8Array, size: number, fill: (entry: Uint8Array, index: number) => void): Content {
  const entry = b4a.alloc(size)
  return (target, offset) => {
    for (let at = 0; at < target.byteLength; ) {
      const position = offset + at - HEADER_SIZE
      if (position < 0) {
        const part = header.subarray(offset + at, offset + target.byteLength)
        target.set(part, at)
        at += part.byteLength
        continue
      }
      const index = Math.floor(position / size)
      entry.fill(0)
      fill(entry, index)
      const start = position - index * size
      const part = entry.subarray(start, start + target.byteLength - at)
      target.set(part, at)
      at += part.byteLength
    }
  }
}

function repeat(target: Uint8Array, block: Uint8Array, start: number): void {
  for (let at = 0; at < target.byteLength; ) {
    const from = at === 0 ? start : 0
    const part = block.subarray(from, from + target.byteLength - at)
    target.set(part, at)
    at += part.byteLength
  }
}

function fillBits(page: Uint8Array, start: number, end: number): void {
  if (end <= start) return
  const whole = end - (end & 7)
  page.fill(0xff, start >> 3, whole >> 3)
  if (whole < end) page[whole >> 3]! |= 0xff00 >> (end & 7)
}
