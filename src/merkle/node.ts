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
