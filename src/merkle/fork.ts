/**
 * Proofs that one key has signed two histories (docs/protocol.md, "Forks"). Everything here is pure: shapes first, then
 * hashes, then signatures.
 */
import b4a from 'b4a'
import flat from 'flat-tree'
import { parentHash, signable, treeHash } from '../crypto/hash.ts'
import { KEY_SIZE, SIGNATURE_SIZE, verify } from '../crypto/keys.ts'
import { argumentTypeError, argumentValueError } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'
import { HASH_SIZE, type TreeNode } from './node.ts'

/** A signed length of a history, and one node that is shown to belong to it. */
export interface SignedHead {
  /** Blocks. */
  length: number
  /** Roots of the tree of that length, ascending. */
  roots: TreeNode[]
  /** Ed25519 signature of the tree hash and the length, or, from before version 9, of the tree hash alone. */
  signature: Uint8Array
  /** The node that the two histories differ in, then the siblings on the way up from it to one of the roots. */
  nodes: TreeNode[]
}

/** Two signed heads of one key, and a tree index at which they have different nodes; see {@link verifyFork}. */
export interface ForkProof {
  /** Of the history that was kept, and of the other one. */
  heads: [kept: SignedHead, other: SignedHead]
}

/** What a fork proof rests on: that both signatures hold. */
export interface ForkClaim {
  /** The signed message (40 bytes; its first 32 are what was signed before version 9) and the signature, of both heads. */
  signed: readonly [SignedMessage, SignedMessage]
}

/** A message and its signature. */
export interface SignedMessage {
  message: Uint8Array
  signature: Uint8Array
}

// The highest path that tree indexes below 2^53 have.
const MAX_DEPTH = 53

/**
 * Whether `proof` proves that the owner of `key` has signed two histories that contradict each other. Nothing else is
 * needed for that: no feed and no peer.
 *
 * It does if both signatures hold, and both heads have a node with the same tree index and different hashes. (Different sizes
 * count only if the node is a root in both: below, a parent's hash binds no more than their sum.) Two signatures of equal roots
 * are no fork, and neither is a history that is the beginning of the other.
 *
 * @param proof - comes from anywhere: what is no proof gives false, and nothing that it contains throws
 * @param key - public key of the feed, 32 bytes
 * @throws TypeError for a key that is none
 */
export function verifyFork(proof: unknown, key: Uint8Array): boolean {
  if (!isBytes(key)) throw argumentTypeError('key should be bytes')
  if (key.byteLength !== KEY_SIZE) throw argumentValueError(`key should have ${KEY_SIZE} bytes`)
  const claim = readFork(proof)
  if (claim === null) return false
  return claim.signed.every(
    ({ message, signature }) =>
      verify(message, signature, key) || verify(message.subarray(0, HASH_SIZE), signature, key)
  )
}

/** What has to be signed for `proof` to hold; null if it cannot hold, whatever is signed. Never throws. */
export function readFork(proof: unknown): ForkClaim | null {
  try {
    const heads = (proof as Partial<ForkProof> | null | undefined)?.heads
    if (!Array.isArray(heads) || heads.length !== 2) return null
    const [kept, other] = heads.map(readHead)
    if (!kept || !other) return null
    const [a, b] = [kept.node, other.node]
    if (a.index !== b.index) return null
    const bySize = kept.isRoot && other.isRoot && a.size !== b.size
    if (b4a.equals(a.hash, b.hash) && !bySize) return null
    return { signed: [kept.signed, other.signed] }
  } catch {
    // A getter, a proxy: what is looked at may be anything.
    return null
  }
}

/** The nodes that a head shows: those given, and the parents that follow from them. */
export function shownNodes({ roots, nodes }: SignedHead): TreeNode[] {
  const shown = [...roots, ...nodes]
  let top = nodes[0]!
  for (const sibling of nodes.slice(1)) {
    top = parentOf(top, sibling)
    shown.push(top)
  }
  return shown
}

/** The parent of two siblings. */
export function parentOf(a: TreeNode, b: TreeNode): TreeNode {
  return { index: flat.parent(a.index), hash: parentHash(a, b), size: a.size + b.size }
}

function readHead(given: unknown): { node: TreeNode; isRoot: boolean; signed: SignedMessage } | null {
  const { length, roots, signature, nodes } = given as SignedHead
  if (!Number.isSafeInteger(length) || length < 1 || !Number.isSafeInteger(2 * length)) return null
  if (!isOfSize(signature, SIGNATURE_SIZE) || !Array.isArray(roots) || !Array.isArray(nodes)) return null
  if (nodes.length < 1 || nodes.length > MAX_DEPTH || roots.length > MAX_DEPTH) return null
  const own = roots.map(readNode)
  const path = nodes.map(readNode)
  const expected = flat.fullRoots(2 * length)
  if (own.length !== expected.length || own.some((root, i) => root?.index !== expected[i])) return null
  if (path.includes(null)) return null
  const checked = own as TreeNode[]
  if (!Number.isSafeInteger(checked.reduce((sum, { size }) => sum + size, 0))) return null

  const [node, ...siblings] = path as [TreeNode, ...TreeNode[]]
  if (node.index >= 2 * length) return null
  let top = node
  for (const sibling of siblings) {
    if (sibling.index !== flat.sibling(top.index) || !Number.isSafeInteger(top.size + sibling.size))
      return null
    top = parentOf(top, sibling)
  }
  const root = checked.find(({ index }) => index === top.index)
  if (root === undefined || root.size !== top.size || !b4a.equals(root.hash, top.hash)) return null
  const message = signable(treeHash(checked), length)
  return { node, isRoot: siblings.length === 0, signed: { message, signature: b4a.from(signature) } }
}

/** A copy of a node, which is looked at once; null if it is none. */
function readNode(given: unknown): TreeNode | null {
  const { index, hash, size } = (given ?? {}) as TreeNode
  if (!Number.isSafeInteger(index) || index < 0 || !Number.isSafeInteger(size) || size < 0) return null
  return isOfSize(hash, HASH_SIZE) ? { index, hash: b4a.from(hash), size } : null
}

function isOfSize(value: unknown, size: number): value is Uint8Array {
  return isBytes(value) && value.byteLength === size
}

/** A proof as one line of text, with bytes in hexadecimal. */
export function forkToText({ heads }: ForkProof): string {
  const text = (bytes: Uint8Array): string => b4a.toString(bytes, 'hex')
  const plain = (nodes: readonly TreeNode[]): object[] =>
    nodes.map(({ index, hash, size }) => ({ index, hash: text(hash), size }))
  return JSON.stringify({
    heads: heads.map(({ length, roots, signature, nodes }) => ({
      length,
      roots: plain(roots),
      signature: text(signature),
      nodes: plain(nodes)
    }))
  })
}

/** The reverse of {@link forkToText}; null for what is none. Nothing is verified. */
export function forkFromText(text: string): ForkProof | null {
  try {
    return JSON.parse(text, (name, value: unknown) =>
      (name === 'hash' || name === 'signature') && typeof value === 'string' ? b4a.from(value, 'hex') : value
    ) as ForkProof
  } catch {
    return null
  }
}

/**
 * Whether a proof for `block` that reaches a tree of `length` blocks shows it to be a continuation of the tree with these
 * `roots`: each of them is still a root, or a sibling on the way up from the block. Any other one lies somewhere below a node
 * that the proof brings along, and need not be the same there.
 */
export function bindsRoots(block: number, length: number, roots: readonly TreeNode[]): boolean {
  const kept = new Set(flat.fullRoots(2 * length))
  return roots.every(({ index }) => {
    if (kept.has(index)) return true
    const sibling = flat.sibling(index)
    return flat.leftSpan(sibling) <= 2 * block && 2 * block <= flat.rightSpan(sibling)
  })
}
