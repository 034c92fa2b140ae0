import b4a from 'b4a'
import flat from 'flat-tree'
import { signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE, type TreeNode } from '../merkle/node.ts'
import type { TreeSet } from '../merkle/tree-set.ts'
import {
  type Claim,
  checkClaim,
  nodesToRead,
  type Proof,
  type Verified,
  verifyBlock
} from '../merkle/verify.ts'
import type { Peer } from '../replication/peer.ts'
import type { StoredSignature } from '../storage/signatures-file.ts'
import { storageError } from '../storage/storage.ts'
import { encodeNode } from '../storage/tree-file.ts'
import { promised } from '../util/callback.ts'
import type { Core } from './core.ts'
import type { CryptoHooks } from './options.ts'
import { byteOffset } from './reader.ts'

/** Options of `proof`. */
export interface ProofOptions {
  /** What the other side has, as a digest (spec WIRE §9.2). Default 0: nothing. */
  digest?: number | undefined
  /** Include the hash of the block itself. Default false. */
  hash?: boolean | undefined
  /** Tree set of what the other side has; extended by what the digest says. */
  tree?: TreeSet | undefined
}

/**
 * The nodes, and the signature if one is needed, that prove `block` to somebody who has what `options` say
 * (spec WIRE §9.3).
 * Errors: `ERR_NO_PROOF`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`.
 */
export async function createProof(core: Core, block: number, options: ProofOptions): Promise<Proof> {
  const selection = core.tree.proof(2 * block, {
    digest: options.digest ?? 0,
    hash: options.hash === true,
    ...(options.tree && { tree: options.tree })
  })
  if (selection === null) throw new DDatabaseError('ERR_NO_PROOF')
  const nodes = await requireNodes(core, selection.nodes)
  if (!core.live || selection.verifiedBy === 0) return { nodes, signature: null }
  const signature = await storedSignature(core, selection.verifiedBy / 2 - 1)
  if (signature === null) throw new DDatabaseError('ERR_SIGNATURE_NOT_FOUND')
  return { nodes, signature }
}

/** Root nodes of the first `length` blocks. Errors: `ERR_ROOTS_MISSING`, `ERR_STORAGE`. */
export async function rootsOf(core: Core, length: number): Promise<TreeNode[]> {
  if (!knowsRoots(core, length)) throw new DDatabaseError('ERR_ROOTS_MISSING')
  return requireNodes(core, flat.fullRoots(2 * length))
}

/**
 * The first stored signature at or after `block`. Slots in the middle of a batch may hold what an earlier life of
 * the storage left there (overwrite, a failed append), so a signature counts only if it holds.
 * Errors: `ERR_NO_SIGNATURE`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`.
 */
export async function nextSignature(
  core: Core,
  block: number,
  crypto: CryptoHooks,
  key: Uint8Array | null
): Promise<StoredSignature> {
  if (block < 0 || block >= core.length) throw new DDatabaseError('ERR_NO_SIGNATURE')
  for (let from = block; ; ) {
    const found = await core.storage.signatures.next(from, core.length).catch(fail)
    if (found === null || key === null) throw new DDatabaseError('ERR_SIGNATURE_NOT_FOUND')
    const length = found.index + 1
    // On a sparse replica the roots of a length may be unknown; it stores only what it has verified.
    if (!knowsRoots(core, length)) return found
    const message = signable(treeHash(await rootsOf(core, length)), length)
    if (await signatureHolds(crypto, message, found.signature, key)) return found
    from = length
  }
}

function knowsRoots(core: Core, length: number): boolean {
  return flat.fullRoots(2 * length).every((index) => core.tree.get(index))
}

/**
 * Whether a signature holds for a feed with these roots and this length, by the rule of today (tree hash and
 * length, 40 bytes) or of feeds from before version 9 (tree hash alone; spec FORMAT §2.5).
 * Errors: `ERR_VERIFYING` if the application's function fails.
 */
export async function signatureHolds(
  crypto: CryptoHooks,
  message: Uint8Array,
  signature: Uint8Array,
  key: Uint8Array
): Promise<boolean> {
  const check = (data: Uint8Array): Promise<boolean> =>
    promised<boolean>((callback) => crypto.verify(data, signature, key, callback))
  try {
    return (await check(message)) || (await check(message.subarray(0, HASH_SIZE)))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new DDatabaseError('ERR_VERIFYING', { message: `The verifier failed: ${reason}`, cause })
  }
}

/** Checks a signature for the feed with its first `length` blocks. Errors: `ERR_SIGNATURE_INVALID`, `ERR_ROOTS_MISSING`, `ERR_VERIFYING`. */
export async function verifySignature(
  core: Core,
  length: number,
  signature: Uint8Array,
  crypto: CryptoHooks,
  key: Uint8Array
): Promise<void> {
  const message = signable(treeHash(await rootsOf(core, length)), length)
  if (!(await signatureHolds(crypto, message, signature, key)))
    throw new DDatabaseError('ERR_SIGNATURE_INVALID')
}

/** What storing a block needs to know of its feed. */
export interface PutTarget {
  readonly crypto: CryptoHooks
  readonly key: Uint8Array | null
  /** Asks the application; resolves to go on. */
  beforeWrite(block: number, data: Uint8Array | null, peer: Peer | null): Promise<void>
  /** A block, or its hash, was stored. */
  stored(block: number, data: Uint8Array | null, isNew: boolean, peer: Peer | null, grew: boolean): void
}

/**
 * Verifies a block, or its hash alone, and stores it with the nodes that prove it (spec WIRE §10, FORMAT §9).
 * Nothing is written unless all of it holds.
 * Errors: `ERR_PROOF_MALFORMED`, `ERR_PROOF_CHECKSUM`, `ERR_PROOF_SIGNATURE`, `ERR_PROOF_NO_SIGNATURE`,
 * `ERR_ROOTS_MISSING`, `ERR_DATA_SIZE`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`, and what the hook says.
 */
export async function putBlock(
  core: Core,
  claim: Claim,
  peer: Peer | null,
  target: PutTarget
): Promise<void> {
  checkClaim(claim)
  await core.mutex.run(() => verifyAndStore(core, claim, peer, target))
}

async function verifyAndStore(core: Core, claim: Claim, peer: Peer | null, target: PutTarget): Promise<void> {
  const { block, value } = claim
  const wanted = nodesToRead(claim, core.tree)
  const stored = new Map((await requireNodes(core, wanted)).map((node) => [node.index, node]))
  const verified = verifyBlock(claim, stored)
  if (verified.head !== null) await checkHead(core, claim, verified.head, target)
  await target.beforeWrite(block, value, peer)

  const proven = new Map(verified.nodes.map((node) => [node.index, node]))
  const offset = value === null || value.byteLength === 0 ? 0 : await offsetWith(core, block, proven)
  const { head } = verified
  const stage = core.stage()
  for (const node of verified.nodes) stage.tree.set(node.index)
  stage.tree.set(2 * block)
  const isNew = value !== null && stage.bits.set(block, true)
  if (isNew) core.storage.blocks?.delete(block)
  const grew = head !== null && head.length > core.length
  await core.commit(
    {
      data: value === null || value.byteLength === 0 ? null : { offset, blocks: [value] },
      slots: verified.nodes.map((node) => ({ treeIndex: node.index, bytes: encodeNode(node) })),
      signature:
        head === null || claim.signature === null
          ? null
          : { block: head.length - 1, signature: claim.signature }
    },
    stage,
    // The hashes may be views of what came from the network, and roots live long.
    grew ? { ...head, roots: head.roots.map((root) => ({ ...root, hash: b4a.from(root.hash) })) } : undefined
  )
  if (head !== null) core.live = claim.signature !== null
  target.stored(block, value, isNew, peer, grew)
}

async function checkHead(
  core: Core,
  claim: Claim,
  head: NonNullable<Verified['head']>,
  target: PutTarget
): Promise<void> {
  const { signature } = claim
  const { key, crypto } = target
  if (signature === null) {
    if (core.length > 0 && core.live) throw new DDatabaseError('ERR_PROOF_NO_SIGNATURE')
    // A static feed's key is the hash of its tree.
    if (key === null || !b4a.equals(head.treeHash, key)) throw new DDatabaseError('ERR_PROOF_CHECKSUM')
    return
  }
  if (key === null || !(await signatureHolds(crypto, head.signable, signature, key))) {
    throw new DDatabaseError('ERR_PROOF_SIGNATURE')
  }
}

/** Byte offset of a block whose neighbours may be among the nodes that were just proven. */
async function offsetWith(core: Core, block: number, proven: ReadonlyMap<number, TreeNode>): Promise<number> {
  if (proven.size === 0) return byteOffset(core.storage.tree, block).catch(fail)
  let offset = 0
  for (const root of flat.fullRoots(2 * block)) {
    const node = proven.get(root) ?? (await core.storage.tree.require(root).catch(fail))
    offset += node.size
  }
  return offset
}

async function requireNodes(core: Core, treeIndexes: readonly number[]): Promise<TreeNode[]> {
  const nodes: TreeNode[] = []
  for (const node of await core.storage.tree.many(treeIndexes).catch(fail)) {
    if (node === null) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
    nodes.push(node)
  }
  return nodes
}

function storedSignature(core: Core, block: number): Promise<Uint8Array | null> {
  return core.storage.signatures.get(block).catch(fail)
}

function fail(error: unknown): never {
  throw storageError(error)
}
