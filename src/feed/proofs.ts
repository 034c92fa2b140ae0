import b4a from 'b4a'
import flat from 'flat-tree'
import { signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import { bindsRoots } from '../merkle/fork.ts'
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
import { UnprovenGrowth } from '../replication/source.ts'
import type { StoredSignature } from '../storage/signatures-file.ts'
import { storageError } from '../storage/storage.ts'
import { encodeNode } from '../storage/tree-file.ts'
import type { Application } from './application.ts'
import type { Core } from './core.ts'
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
  for (;;) {
    const { removals } = core
    try {
      const selection = core.tree.proof(2 * block, {
        digest: options.digest ?? 0,
        hash: options.hash === true,
        ...(options.tree && { tree: options.tree })
      })
      if (selection === null) throw new DDatabaseError('ERR_NO_PROOF')
      const nodes = await requireNodes(core, selection.nodes)
      let signature: Uint8Array | null = null
      if (core.live && selection.verifiedBy > 0) {
        signature = await storedSignature(core, selection.verifiedBy / 2 - 1)
        if (signature === null) throw new DDatabaseError('ERR_SIGNATURE_NOT_FOUND')
      }
      if (core.removals === removals) return { nodes, signature }
    } catch (error) {
      // What was to be read may have been cut off meanwhile.
      if (!(await core.removedSince(removals))) throw error
    }
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

/** What storing a block needs to know of its feed. */
export interface PutTarget {
  readonly application: Application
  readonly key: Uint8Array | null
  /**
   * Whether the feed may become longer by a proof that does not show the longer history to continue the one that is here
   * (see `bindsRoots`). What the application puts may.
   */
  readonly anyGrowth: boolean
  /** A block, or its hash, was stored. */
  stored(block: number, data: Uint8Array | null, isNew: boolean, peer: Peer | null, grew: boolean): void
}

/**
 * Verifies a block, or its hash alone, and stores it with the nodes that prove it (spec WIRE §10, FORMAT §9).
 * Nothing is written unless all of it holds.
 *
 * A signature vouches for the roots of its length, and not for those that are here: a proof of another history may hold as
 * well. So growth is stored only if the proof continues what is here, or `target` says otherwise.
 *
 * The application is asked, for the signature and whether the block may be stored, while other operations go on. So the
 * block is verified once more before it is stored, and if the feed has changed so much that another signature counts,
 * all is done again.
 * Errors: `ERR_PROOF_MALFORMED`, `ERR_PROOF_CHECKSUM`, `ERR_PROOF_SIGNATURE`, `ERR_PROOF_NO_SIGNATURE`,
 * `ERR_ROOTS_MISSING`, `ERR_DATA_SIZE`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`, `ERR_FEED_CLOSED`, what the hook says, and
 * {@link UnprovenGrowth}.
 */
export async function putBlock(
  core: Core,
  claim: Claim,
  peer: Peer | null,
  target: PutTarget
): Promise<void> {
  checkClaim(claim)
  // With durability `disk` nobody is told before the block is durable; the next ones are stored meanwhile.
  let tell: (() => void) | null = null
  const stored = (told: () => void): void => {
    if (core.storage.durability.mode === 'process') told()
    else tell = told
  }
  await verifyAndStore(core, claim, peer, target, stored)
  if (tell === null) return
  await core.storage.durability.all()
  ;(tell as () => void)()
}

async function verifyAndStore(
  core: Core,
  claim: Claim,
  peer: Peer | null,
  target: PutTarget,
  stored: (told: () => void) => void
): Promise<void> {
  const { application } = target
  if (!application.hooked && !application.ownCrypto) {
    await core.change(async () => {
      const verified = await verifyClaim(core, claim)
      if (verified.head !== null) await checkHead(core, claim, verified.head, target)
      checkGrowth(core, claim, verified.head, target)
      stored(await store(core, claim, verified, peer, target))
    })
    return
  }
  let asked = false
  for (let done = false; !done; ) {
    const { head } = await core.change(() => verifyClaim(core, claim))
    if (head !== null) await checkHead(core, claim, head, target)
    checkGrowth(core, claim, head, target)
    if (!asked) await application.beforeWrite(claim.block, claim.value, peer)
    asked = true
    done = await core.change(async () => {
      const verified = await verifyClaim(core, claim)
      if (verified.head !== null) {
        if (head === null || !b4a.equals(head.signable, verified.head.signable)) return false
        if (claim.signature === null) checkStatic(core, verified.head, target)
        checkGrowth(core, claim, verified.head, target)
      }
      stored(await store(core, claim, verified, peer, target))
      return true
    })
  }
}

async function verifyClaim(core: Core, claim: Claim): Promise<Verified> {
  const wanted = nodesToRead(claim, core.tree)
  const stored = new Map((await requireNodes(core, wanted)).map((node) => [node.index, node]))
  return verifyBlock(claim, stored)
}

/** Stores what is verified. Answers what tells the feed of it. */
async function store(
  core: Core,
  claim: Claim,
  verified: Verified,
  peer: Peer | null,
  target: PutTarget
): Promise<() => void> {
  const { block, value } = claim
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
  return () => target.stored(block, value, isNew, peer, grew)
}

async function checkHead(
  core: Core,
  claim: Claim,
  head: NonNullable<Verified['head']>,
  target: PutTarget
): Promise<void> {
  const { signature } = claim
  if (signature === null) {
    checkStatic(core, head, target)
    return
  }
  const { key, application } = target
  if (key === null || !(await signatureHolds(application, head.signable, signature, key))) {
    throw new DDatabaseError('ERR_PROOF_SIGNATURE')
  }
}

/** Checks that a longer history continues the one that is here. Errors: {@link UnprovenGrowth}. */
function checkGrowth(
  core: Core,
  { block }: Claim,
  head: Verified['head'],
  { anyGrowth }: Pick<PutTarget, 'anyGrowth'>
): void {
  if (anyGrowth || head === null || head.length <= core.length) return
  if (!bindsRoots(block, head.length, core.roots)) throw new UnprovenGrowth()
}

/** Checks roots that come without a signature: a static feed's key is the hash of its tree. */
function checkStatic(core: Core, head: NonNullable<Verified['head']>, { key }: Pick<PutTarget, 'key'>): void {
  if (core.length > 0 && core.live) throw new DDatabaseError('ERR_PROOF_NO_SIGNATURE')
  if (key === null || !b4a.equals(head.treeHash, key)) throw new DDatabaseError('ERR_PROOF_CHECKSUM')
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
