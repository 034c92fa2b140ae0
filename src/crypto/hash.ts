/**
 * The hashes of the Merkle tree (spec FORMAT §2.1 – §2.4): BLAKE2b-256 with a type byte in front, so that a
 * leaf can never pass for a parent or a root set (second preimage; compare RFC 6962 §2.1).
 */
import b4a from 'b4a'
import { blake2b, blake2bBatch } from '#crypto/backend'
import { HASH_SIZE, type TreeNode } from '../merkle/node.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'

const LEAF = 0
const PARENT = 1
const ROOT = 2

// Blocks up to this size are copied beside their prefix: one native call with one argument is about twice as
// fast as a batch of two for small inputs; from a few KB on the copy costs more than the second argument.
const COPY_LIMIT = 2048

// Scratch buffers. Hashing is synchronous and results are copied out, so one of each suffices. The output
// buffer matters too: handing libsodium a fresh small array each time costs more than hashing a parent.
const leafScratch = b4a.allocUnsafeSlow(9 + COPY_LIMIT)
const leafViews = new Map<number, Uint8Array>()
const leafPrefix = b4a.allocUnsafeSlow(9)
const parentScratch = b4a.allocUnsafeSlow(9 + 2 * HASH_SIZE)
const output = b4a.allocUnsafeSlow(HASH_SIZE)
leafScratch[0] = LEAF
leafPrefix[0] = LEAF
parentScratch[0] = PARENT

/** Hash of a block: H(00 ‖ u64(length) ‖ block), written at `offset` of `target`. */
export function leafHashInto(target: Uint8Array, offset: number, block: Uint8Array): void {
  const length = block.byteLength
  if (length <= COPY_LIMIT) {
    writeUint64(leafScratch, length, 1)
    leafScratch.set(block, 9)
    // Feeds tend to have blocks of few sizes: a view per size, made once, saves an allocation per block.
    let view = leafViews.get(length)
    if (view === undefined) {
      view = leafScratch.subarray(0, 9 + length)
      leafViews.set(length, view)
    }
    blake2b(output, view)
  } else {
    writeUint64(leafPrefix, length, 1)
    blake2bBatch(output, [leafPrefix, block])
  }
  target.set(output, offset)
}

/** Hash of a block, 32 bytes. */
export function leafHash(block: Uint8Array): Uint8Array {
  const hash = b4a.allocUnsafe(HASH_SIZE)
  leafHashInto(hash, 0, block)
  return hash
}

/**
 * Hash of a parent: H(01 ‖ u64(size) ‖ left hash ‖ right hash), written at `offset` of `target`.
 * The two hashes are read at `leftOffset` of `left` and `rightOffset` of `right`; `size` is the sum of their sizes.
 */
export function parentHashInto(
  target: Uint8Array,
  offset: number,
  size: number,
  left: Uint8Array,
  leftOffset: number,
  right: Uint8Array,
  rightOffset: number
): void {
  writeUint64(parentScratch, size, 1)
  for (let i = 0; i < HASH_SIZE; i++) {
    parentScratch[9 + i] = left[leftOffset + i]!
    parentScratch[9 + HASH_SIZE + i] = right[rightOffset + i]!
  }
  blake2b(output, parentScratch)
  target.set(output, offset)
}

/** The parent's hash of two siblings, in either order: the one with the smaller tree index is the left one. */
export function parentHash(a: TreeNode, b: TreeNode): Uint8Array {
  const [left, right] = a.index < b.index ? [a, b] : [b, a]
  const hash = b4a.allocUnsafe(HASH_SIZE)
  parentHashInto(hash, 0, a.size + b.size, left.hash, 0, right.hash, 0)
  return hash
}

/** Hash of a whole tree: H(02 ‖ for each root: hash ‖ u64(index) ‖ u64(size)), roots in ascending tree index order. */
export function treeHash(roots: readonly TreeNode[]): Uint8Array {
  const input = b4a.allocUnsafe(1 + roots.length * (HASH_SIZE + 16))
  input[0] = ROOT
  let offset = 1
  for (const root of roots) {
    input.set(root.hash, offset)
    writeUint64(input, root.index, offset + HASH_SIZE)
    writeUint64(input, root.size, offset + HASH_SIZE + 8)
    offset += HASH_SIZE + 16
  }
  blake2b(output, input)
  return b4a.from(output)
}

/** What is signed for a feed of `length` blocks: its tree hash ‖ u64(length), 40 bytes. */
export function signable(treeHash: Uint8Array, length: number): Uint8Array {
  const message = b4a.allocUnsafe(HASH_SIZE + 8)
  message.set(treeHash, 0)
  writeUint64(message, length, HASH_SIZE)
  return message
}

/** The number of blocks that a 40 byte {@link signable} speaks of. */
export function signableLength(message: Uint8Array): number {
  return readUint64(message, HASH_SIZE)
}
