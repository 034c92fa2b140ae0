/**
 * The hashes of the Merkle tree (spec FORMAT §2.1 – §2.4): BLAKE2b-256 with a type byte in front, so that a
 * leaf can never pass for a parent or a root set (second preimage; compare RFC 6962 §2.1).
 */
import b4a from 'b4a'
import { blake2b, blake2bBatch, blake2bInto, offer } from '#crypto/backend'
import { HASH_SIZE, hashAt, type TreeNode } from '../merkle/node.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'
import { HashInput } from './hash-input.ts'
import { MOST_INPUTS, type Offer, type Prefix, SMALLEST_OFFER } from './offer.ts'

/** What hashes of blocks begin with. */
export const LEAF = 0
/** What hashes of two nodes begin with. */
export const PARENT = 1
const ROOT = 2

// Blocks up to this size are copied beside their prefix: one native call with one argument is about twice as
// fast as a batch of two for small inputs; from a few KB on the copy costs more than the second argument.
const COPY_LIMIT = 2048

// Hashing is synchronous, so one scratch buffer for each kind of input, and one for the hash, suffice.
const leafScratch = b4a.allocUnsafeSlow(9 + COPY_LIMIT)
const leafInput = new HashInput(leafScratch)
const leafPrefix = b4a.allocUnsafeSlow(9)
const parentScratch = b4a.allocUnsafeSlow(9 + 2 * HASH_SIZE)
const parentInput = new HashInput(parentScratch)
const parentView = new DataView(parentInput.buffer, parentInput.byteOffset, parentScratch.length)
const result = b4a.allocUnsafeSlow(HASH_SIZE)
leafScratch[0] = LEAF
leafPrefix[0] = LEAF
parentScratch[0] = PARENT

/** What is hashed in front of a block. */
const beforeBlock: Prefix = {
  size: 9,
  write(target, offset, block) {
    target[offset] = LEAF
    writeUint64(target, block.length, offset + 1)
  }
}

/**
 * Hash of a block: H(00 ‖ u64(length) ‖ block), written at `offset` of `target`.
 * @param offered - of {@link offerLeaf}, if the block was offered
 */
export function leafHashInto(
  target: Uint8Array,
  offset: number,
  block: Uint8Array,
  offered: Offer | null = null
): void {
  if (offered?.into(target, offset, HASH_SIZE)) return
  const length = block.length
  if (length <= COPY_LIMIT) {
    writeUint64(leafScratch, length, 1)
    leafScratch.set(block, 9)
    blake2bInto(target, offset, leafInput, 9 + length)
  } else {
    writeUint64(leafPrefix, length, 1)
    blake2bBatch(target.subarray(offset, offset + HASH_SIZE), [leafPrefix, block])
  }
}

/** Hash of a block, 32 bytes. */
export function leafHash(block: Uint8Array, offered: Offer | null = null): Uint8Array {
  leafHashInto(result, 0, block, offered)
  return hashAt(result, 0)
}

/**
 * Offers a block whose hash will be needed soon to a second thread.
 * @returns null if it is too small, or there is no such thread
 */
export function offerLeaf(block: Uint8Array): Offer | null {
  return offer(beforeBlock, [block], 0, 1)
}

/** The same for several blocks together, at most {@link MOST_INPUTS}. */
export function offerLeavesTogether(blocks: readonly Uint8Array[]): Offer | null {
  return offer(beforeBlock, blocks, 0, blocks.length)
}

// So many offers at a time: one that is being hashed, one that is next, and one until somebody looks again.
const OFFERS = 3
// Small blocks are offered, some together, where there are so many: fewer are hashed before the thread has woken up.
const MANY = 1024

/** Hashes of blocks, that of the i-th at `offset` + i · `stride` of `target`: the last ones in a second thread, if there is one. */
export function leafHashesInto(
  target: Uint8Array,
  offset: number,
  stride: number,
  blocks: readonly Uint8Array[]
): void {
  const offers: { from: number; to: number; offered: Offer }[] = []
  const hash = (at: number): void => leafHashInto(target, offset + at * stride, blocks[at]!)
  const fetch = ({ from, to, offered }: (typeof offers)[0]): void => {
    if (offered.into(target, offset + from * stride, stride)) return
    for (let at = from; at < to; at++) hash(at)
  }
  const most = blocks.length < MANY ? 1 : MOST_INPUTS
  let end = blocks.length
  for (let at = 0; at < end; ) {
    while (offers.length < OFFERS) {
      const from = lastPart(blocks, at, end, most)
      const offered = from === -1 ? null : offer(beforeBlock, blocks, from, end)
      if (offered === null) break
      offers.push({ from, to: end, offered })
      end = from
    }
    for (let bytes = 0; at < end && bytes < SMALLEST_OFFER; at++) {
      hash(at)
      bytes += blocks[at]!.length
    }
    // Where the second has begun, the first is done.
    while (offers.length > 1 && offers[1]!.offered.begun) fetch(offers.shift()!)
  }
  // What has not begun yet is done here while the thread is busy with what has.
  for (const last of offers.reverse()) fetch(last)
}

/** Where the last blocks before `end`, at most `most`, begin that are worth an offer; −1 if fewer would be left from `start` on. */
function lastPart(blocks: readonly Uint8Array[], start: number, end: number, most: number): number {
  let from = end
  for (let bytes = 0; bytes < SMALLEST_OFFER; bytes += blocks[from]!.length) {
    if (2 * (from - 1) < start + end || end - from === most) return -1
    from--
  }
  return from
}

/**
 * Hash of a parent: H(01 ‖ u64(size) ‖ left hash ‖ right hash), written to `target`, which may be one of the two;
 * `size` is the sum of their sizes.
 */
export function parentHashInto(target: Uint8Array, size: number, left: Uint8Array, right: Uint8Array): void {
  writeUint64(parentScratch, size, 1)
  parentScratch.set(left, 9)
  parentScratch.set(right, 9 + HASH_SIZE)
  blake2bInto(target, 0, parentInput, parentScratch.length)
}

/**
 * The same where all three hashes lie in one array, at `left`, `right` and `offset`: in half the time.
 * @param view - of the same bytes as `nodes`
 */
export function parentHashWithin(
  nodes: Uint8Array,
  view: DataView,
  offset: number,
  size: number,
  left: number,
  right: number
): void {
  writeUint64(parentScratch, size, 1)
  // Word by word: a view of each child for `set` would cost more than all the rest.
  for (let i = 0; i < HASH_SIZE; i += 4) {
    parentView.setInt32(9 + i, view.getInt32(left + i))
    parentView.setInt32(9 + HASH_SIZE + i, view.getInt32(right + i))
  }
  blake2bInto(nodes, offset, parentInput, parentScratch.length)
}

/** The parent's hash of two siblings, in either order: the one with the smaller tree index is the left one. */
export function parentHash(a: TreeNode, b: TreeNode): Uint8Array {
  if (a.index < b.index) parentHashInto(result, a.size + b.size, a.hash, b.hash)
  else parentHashInto(result, a.size + b.size, b.hash, a.hash)
  return hashAt(result, 0)
}

/** Hash of a whole tree: H(02 ‖ for each root: hash ‖ u64(index) ‖ u64(size)), roots in ascending tree index order. */
export function treeHash(roots: readonly TreeNode[]): Uint8Array {
  const input = b4a.allocUnsafe(1 + roots.length * (HASH_SIZE + 16))
  const hash = b4a.allocUnsafe(HASH_SIZE)
  input[0] = ROOT
  let offset = 1
  for (const root of roots) {
    input.set(root.hash, offset)
    writeUint64(input, root.index, offset + HASH_SIZE)
    writeUint64(input, root.size, offset + HASH_SIZE + 8)
    offset += HASH_SIZE + 16
  }
  blake2b(hash, input)
  return hash
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
