/** A node of the Merkle tree. */
export interface TreeNode {
  /** Tree index: position in the in-order numbering (block b is node 2b). */
  readonly index: number
  /** BLAKE2b-256, 32 bytes. */
  readonly hash: Uint8Array
  /** Number of data bytes below this node. */
  readonly size: number
}

/** Bytes of a node hash. */
export const HASH_SIZE = 32

/** Bytes of a node in the `tree` file: the hash and its size as uint64 big endian (spec FORMAT §1.3). */
export const NODE_SIZE = 40

// Of a Buffer it makes a Buffer, while the method of that name that Buffers have makes a view.
const { slice } = Uint8Array.prototype

/**
 * A copy of the hash at `offset`, a Buffer if `bytes` is one. Arrays of that size live in the heap of JavaScript itself: half
 * the time of copying into a piece of a pool.
 */
export function hashAt(bytes: Uint8Array, offset: number): Uint8Array {
  return slice.call(bytes, offset, offset + HASH_SIZE)
}
