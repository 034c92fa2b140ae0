import b4a from 'b4a'
import flat from 'flat-tree'
import { leafHash, parentHash, signable, treeHash } from '../crypto/hash.ts'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import type { Offer } from '../crypto/offer.ts'
import { DDatabaseError } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'
import { HASH_SIZE, type TreeNode } from './node.ts'

/**
 * Checks blocks against the tree (spec WIRE §10) in two pure steps, so that all reading happens once, in between:
 * {@link nodesToRead} says from indexes alone which stored nodes will be needed, {@link verifyBlock} hashes.
 */

/** What goes with a block to prove that it belongs to the feed. */
export interface Proof {
  /** Requested hash (if the block itself is absent), siblings from the bottom up, then roots ascending. */
  nodes: TreeNode[]
  /** Signature of the feed with the length that the proof reaches, null if it ends at a node that is known. */
  signature: Uint8Array | null
}

/** A block, or only its hash, with its proof. */
export interface Claim {
  block: number
  /** The bytes of the block, null for its hash only: then the first node is the leaf. */
  value: Uint8Array | null
  nodes: readonly TreeNode[]
  signature: Uint8Array | null
  /** Of the block's bytes, if their hash is being made already. */
  offered?: Offer | null
}

/** Which nodes are known and trusted (the tree set of the feed). */
export interface KnownNodes {
  get(treeIndex: number): boolean
}

/** The outcome of {@link verifyBlock}. */
export interface Verified {
  /** Nodes that are proven now and were not known, or not exactly, before. */
  nodes: TreeNode[]
  /** Set if the proof reaches the roots of a tree: accept only if its signature (or a static feed's key) fits. */
  head: {
    length: number
    byteLength: number
    roots: TreeNode[]
    treeHash: Uint8Array
    signable: Uint8Array
  } | null
}

/**
 * Checks the shape of what a stranger sent, before any hashing.
 * Errors: `ERR_PROOF_MALFORMED` (hashes not 32 bytes, signature not 64, sizes or indexes beyond 2^53 − 1,
 * a hash-only claim whose first node is not the leaf).
 */
export function checkClaim(claim: Claim): void {
  const { nodes, signature, value, block } = claim
  if (signature !== null && !(isBytes(signature) && signature.length === SIGNATURE_SIZE)) {
    throw malformed('a signature has 64 bytes')
  }
  let total = value === null ? 0 : value.length
  for (const node of nodes) {
    if (!Number.isSafeInteger(node?.index) || node.index < 0)
      throw malformed('a node index is not a number below 2^53')
    if (!Number.isSafeInteger(node.size) || node.size < 0)
      throw malformed('a node size is not a number below 2^53')
    if (!(isBytes(node.hash) && node.hash.length === HASH_SIZE)) throw malformed('a node hash has 32 bytes')
    total += node.size
  }
  if (!Number.isSafeInteger(total)) throw malformed('the sizes add up to more than 2^53')
  if (value === null && nodes[0]?.index !== 2 * block) throw malformed('the hash of the block is missing')
}

/**
 * Verifies a block in one pass, if its proof ends at a node that is known: by far the most of a download.
 *
 * @param stored - a known node; null if it cannot be told without waiting
 * @returns null for everything else, also for what does not hold: {@link nodesToRead} and {@link verifyBlock} find out
 */
export function verifyUp(
  { block, value, nodes, offered }: Claim,
  known: KnownNodes,
  stored: (treeIndex: number) => TreeNode | null
): Verified | null {
  if (value === null) return null
  const fresh: TreeNode[] = []
  let top: TreeNode = { index: 2 * block, hash: leafHash(value, offered), size: value.length }
  let next = 0
  for (let factor = 2; !known.get(top.index); factor *= 2) {
    const isLeft = Math.floor(top.index / factor) % 2 === 0
    const sibling = isLeft ? top.index + factor : top.index - factor
    const given = nodes[next]?.index === sibling ? nodes[next++]! : null
    const isKnown = known.get(sibling)
    const other = isKnown ? stored(sibling) : given
    if (other === null || (isKnown && given !== null && !b4a.equals(given.hash, other.hash))) return null
    if (!isKnown) fresh.push(other)
    fresh.push(top)
    const index = isLeft ? top.index + factor / 2 : top.index - factor / 2
    top = { index, hash: parentHash(top, other), size: top.size + other.size }
  }
  const trusted = stored(top.index)
  if (trusted === null || !b4a.equals(trusted.hash, top.hash)) return null
  // A leaf that came without data may have a size that is to be settled.
  if (fresh.length === 0 && trusted.size !== top.size) return null
  return { nodes: fresh, head: null }
}

/** Tree indexes of the stored nodes that {@link verifyBlock} of this claim can need, without duplicates. */
export function nodesToRead(claim: Claim, known: KnownNodes): number[] {
  const { nodes, value, block } = claim
  const wanted = new Set<number>()
  let current = 2 * block
  let next = value === null ? 1 : 0
  if (known.get(current)) {
    // The leaf's size was perhaps never proven (see `settleSizes`); its neighbours tell.
    for (const near of [current, flat.sibling(current), flat.parent(current)]) {
      if (known.get(near)) wanted.add(near)
    }
    return [...wanted]
  }
  while (!known.get(current)) {
    const sibling = flat.sibling(current)
    const given = nodes[next]?.index === sibling
    if (given) next++
    if (known.get(sibling)) wanted.add(sibling)
    else if (!given) break
    current = flat.parent(current)
    if (current > Number.MAX_SAFE_INTEGER) throw malformed('the path leaves the tree')
  }
  if (known.get(current)) wanted.add(current)
  const last = nodes.length > 0 ? nodes[nodes.length - 1]!.index : current
  const top = Math.max(flat.rightSpan(current), flat.rightSpan(last))
  if (!Number.isSafeInteger(top + 2)) throw malformed('the claimed length is not a number below 2^53')
  for (const root of flat.fullRoots(top + 2)) {
    if (known.get(root)) wanted.add(root)
  }
  return [...wanted]
}

/**
 * Hashes from the block upward until a trusted node or the roots of a tree are reached.
 *
 * A node that is known already is never replaced by one of the proof: a hash-only proof can carry false sizes
 * for the two leaves at its bottom (only their sum is bound by the parent's hash).
 *
 * @param stored - the nodes named by {@link nodesToRead}, by tree index
 * Errors: `ERR_PROOF_CHECKSUM` (a hash differs from the one known), `ERR_ROOTS_MISSING`, `ERR_PROOF_MALFORMED`
 */
export function verifyBlock(claim: Claim, stored: ReadonlyMap<number, TreeNode>): Verified {
  const { block, value } = claim
  const remaining = [...claim.nodes]
  const fresh: TreeNode[] = []
  let top: TreeNode =
    value === null ? remaining.shift()! : { index: 2 * block, hash: leafHash(value), size: value.length }

  const leaf = stored.get(top.index)
  if (leaf !== undefined) {
    if (!b4a.equals(leaf.hash, top.hash)) throw new DDatabaseError('ERR_PROOF_CHECKSUM')
    return { nodes: value === null ? [] : settleSizes(leaf, top, stored), head: null }
  }

  while (true) {
    const sibling = flat.sibling(top.index)
    const given = remaining[0]?.index === sibling ? remaining.shift()! : undefined
    const own = stored.get(sibling)
    if (given !== undefined && own !== undefined && !b4a.equals(given.hash, own.hash)) {
      throw new DDatabaseError('ERR_PROOF_CHECKSUM')
    }
    const other = own ?? given
    if (other === undefined) break
    if (own === undefined) fresh.push(other)
    fresh.push(top)
    top = { index: flat.parent(top.index), hash: parentHash(top, other), size: top.size + other.size }
    const trusted = stored.get(top.index)
    if (trusted !== undefined) {
      if (!b4a.equals(trusted.hash, top.hash)) throw new DDatabaseError('ERR_PROOF_CHECKSUM')
      return { nodes: fresh, head: null }
    }
  }
  return verifyRoots(top, remaining, fresh, stored)
}

function verifyRoots(
  top: TreeNode,
  remaining: TreeNode[],
  fresh: TreeNode[],
  stored: ReadonlyMap<number, TreeNode>
): Verified {
  // No parent can be made any more, so this is a root; the last root tells the length that is claimed.
  const last = remaining.length > 0 ? remaining[remaining.length - 1]!.index : top.index
  const treeLength = Math.max(flat.rightSpan(top.index), flat.rightSpan(last)) + 2
  if (!Number.isSafeInteger(treeLength)) throw malformed('the claimed length is not a number below 2^53')
  const roots: TreeNode[] = []
  const indexes = flat.fullRoots(treeLength)
  // Other roots, however well signed, say nothing of this block: there are nodes missing on the way up to one of them.
  if (!indexes.includes(top.index)) throw new DDatabaseError('ERR_ROOTS_MISSING')
  for (const index of indexes) {
    const own = stored.get(index)
    const given = index === top.index ? top : remaining[0]?.index === index ? remaining.shift()! : undefined
    if (own !== undefined && given !== undefined && !b4a.equals(own.hash, given.hash)) {
      throw new DDatabaseError('ERR_PROOF_CHECKSUM')
    }
    const root = own ?? given
    if (root === undefined) throw new DDatabaseError('ERR_ROOTS_MISSING')
    if (own === undefined) fresh.push(root)
    roots.push(root)
  }
  if (remaining.length > 0) throw malformed('there are nodes that belong nowhere')
  const hash = treeHash(roots)
  const length = treeLength / 2
  const byteLength = roots.reduce((sum, root) => sum + root.size, 0)
  if (!Number.isSafeInteger(byteLength)) throw malformed('the sizes add up to more than 2^53')
  return {
    nodes: fresh,
    head: { length, byteLength, roots, treeHash: hash, signable: signable(hash, length) }
  }
}

/**
 * A leaf that came without data carries a size that only its parent's sum vouches for: bytes may have been shifted
 * between the two leaves of a pair. The data settles it, for both.
 */
function settleSizes(leaf: TreeNode, proven: TreeNode, stored: ReadonlyMap<number, TreeNode>): TreeNode[] {
  if (leaf.size === proven.size) return []
  const settled = [proven]
  const sibling = stored.get(flat.sibling(leaf.index))
  const parent = stored.get(flat.parent(leaf.index))
  if (sibling !== undefined && parent !== undefined) {
    const size = parent.size - proven.size
    if (size < 0) throw new DDatabaseError('ERR_DATA_SIZE')
    settled.push({ index: sibling.index, hash: sibling.hash, size })
  }
  return settled
}

function malformed(reason: string): DDatabaseError {
  return new DDatabaseError('ERR_PROOF_MALFORMED', { message: `The proof is malformed: ${reason}` })
}
