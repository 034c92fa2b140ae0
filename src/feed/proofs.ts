import flat from 'flat-tree'
import { signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE, type TreeNode } from '../merkle/node.ts'
import type { ProofSelection, TreeSet } from '../merkle/tree-set.ts'
import type { Proof } from '../merkle/verify.ts'
import type { StoredSignature } from '../storage/signatures-file.ts'
import { storageError } from '../storage/storage-error.ts'
import type { Application } from './application.ts'
import type { Core } from './core.ts'
import { proveNode, restoreLeaf, restoreWay } from './healing.ts'
import type { Verified } from './verified.ts'

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
 * @param checked - give no node and no signature that was not compared with what is signed
 * Errors: `ERR_NO_PROOF`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`.
 */
export function createProof(
  core: Core,
  block: number,
  options: ProofOptions,
  checked = false
): Promise<Proof> {
  // Four promises take as long as half of the rest.
  const now = createProofSync(core, block, options, checked)
  return now === null ? createProofWaiting(core, block, options, checked) : Promise.resolve(now)
}

async function createProofWaiting(
  core: Core,
  block: number,
  options: ProofOptions,
  checked: boolean
): Promise<Proof> {
  const verified = checked ? core.verified : null
  let restored = false
  const unproven = new Set<number>()
  for (;;) {
    const { removals } = core
    try {
      const selection = core.tree.proof(2 * block, {
        digest: options.digest ?? 0,
        hash: !!options.hash,
        ...(options.tree && { tree: options.tree })
      })
      if (selection === null) {
        if (verified !== null && core.bits.get(block) && (await restoreLeaf(core, block))) continue
        throw new DDatabaseError('ERR_NO_PROOF')
      }
      if (endsNowhere(core, selection)) {
        if (verified === null || restored || !core.bits.get(block)) throw new DDatabaseError('ERR_NO_PROOF')
        restored = true
        await restoreWay(core, block)
        continue
      }
      // What does not hold is mended, or not known any more: then another selection is made.
      const doubtful = verified === null ? -1 : await firstUnproven(core, verified, selection.nodes)
      if (doubtful !== -1) {
        // Roots are selected whether they are known or not, and what is mended does not stay so where nothing can be written.
        if (unproven.has(doubtful)) throw new DDatabaseError('ERR_NO_PROOF')
        unproven.add(doubtful)
        continue
      }
      const nodes = await requireNodes(core, selection.nodes)
      let signature: Uint8Array | null = null
      if (core.live && selection.verifiedBy > 0) {
        signature = await storedSignature(core, selection.verifiedBy / 2 - 1)
        const length = selection.verifiedBy / 2
        const proves =
          signature !== null &&
          (verified === null || (await verified.signatureHolds(core, length, signature)))
        if (!proves) {
          const known = verified !== null && length < core.length
          throw new DDatabaseError(known ? 'ERR_NO_PROOF' : 'ERR_SIGNATURE_NOT_FOUND')
        }
      }
      if (core.removals === removals) return { nodes, signature }
    } catch (error) {
      // What was to be read may have been cut off meanwhile.
      if (!(await core.removedSince(removals))) throw error
    }
  }
}

/** Whether bits that were damaged let a proof end where nothing can vouch for it: the key of a static feed does for its length alone. */
function endsNowhere({ length, live }: Core, { verifiedBy }: ProofSelection): boolean {
  return verifiedBy < 0 || (!live && verifiedBy > 0 && verifiedBy !== 2 * length)
}

/** The first of these nodes that does not hold, and could not be mended; −1 if there is none. */
async function firstUnproven(
  core: Core,
  verified: Verified,
  treeIndexes: readonly number[]
): Promise<number> {
  for (const treeIndex of treeIndexes) {
    if (!verified.knows(treeIndex) && !(await proveNode(core, treeIndex))) return treeIndex
  }
  return -1
}

/** As {@link createProof} if that needs no waiting; else null. What is wrong, if something is, `createProof` finds out. */
export function createProofSync(
  core: Core,
  block: number,
  options: ProofOptions,
  checked = false
): Proof | null {
  const { digest = 0, hash = false, tree } = options
  const verified = checked ? core.verified : null
  const selection = core.tree.proof(2 * block, tree ? { digest, hash, tree } : { digest, hash })
  if (selection === null || endsNowhere(core, selection)) return null
  try {
    const nodes: TreeNode[] = []
    for (const treeIndex of selection.nodes) {
      if (verified !== null && verified.nodeHoldsSync(core, treeIndex) !== true) return null
      const node = core.storage.tree.getSync(treeIndex)
      if (!node) return null
      nodes.push(node)
    }
    if (!core.live || selection.verifiedBy === 0) return { nodes, signature: null }
    const length = selection.verifiedBy / 2
    if (verified !== null && !verified.knowsSignature(core, length)) return null
    const signature = core.storage.signatures.getSync(length - 1)
    return signature === null ? null : { nodes, signature }
  } catch {
    return null
  }
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
  application: Application,
  key: Uint8Array | null
): Promise<StoredSignature> {
  for (;;) {
    const { removals } = core
    try {
      const found = await validSignature(core, block, application, key)
      if (core.removals === removals) return found
    } catch (error) {
      if (!(await core.removedSince(removals))) throw error
    }
  }
}

async function validSignature(
  core: Core,
  block: number,
  application: Application,
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
    if (await signatureHolds(application, message, found.signature, key)) return found
    from = length
  }
}

function knowsRoots(core: Core, length: number): boolean {
  return flat.fullRoots(2 * length).every((index) => core.tree.get(index))
}

/**
 * Whether a signature holds for a feed with these roots and this length, by the rule of today (tree hash and
 * length, 40 bytes) or of feeds from before version 9 (tree hash alone; spec FORMAT §2.5).
 * Errors: `ERR_VERIFYING` if the application's function fails, `ERR_FEED_CLOSED`.
 */
export async function signatureHolds(
  application: Application,
  message: Uint8Array,
  signature: Uint8Array,
  key: Uint8Array
): Promise<boolean> {
  if (await application.verify(message, signature, key)) return true
  return application.verify(message.subarray(0, HASH_SIZE), signature, key)
}

/** Checks a signature for the feed with its first `length` blocks. Errors: `ERR_SIGNATURE_INVALID`, `ERR_ROOTS_MISSING`, `ERR_VERIFYING`. */
export async function verifySignature(
  core: Core,
  length: number,
  signature: Uint8Array,
  application: Application,
  key: Uint8Array
): Promise<void> {
  const message = signable(treeHash(await rootsOf(core, length)), length)
  if (!(await signatureHolds(application, message, signature, key)))
    throw new DDatabaseError('ERR_SIGNATURE_INVALID')
}

/** The nodes in these slots. Errors: `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
export async function requireNodes(core: Core, treeIndexes: readonly number[]): Promise<TreeNode[]> {
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
