import b4a from 'b4a'
import { DDatabaseError } from '../errors.ts'
import { NODE_SIZE, type TreeNode } from '../merkle/node.ts'
import {
  type Claim,
  checkClaim,
  nodesToRead,
  type Verified,
  verifyBlock,
  verifyUp
} from '../merkle/verify.ts'
import type { Peer } from '../replication/peer.ts'
import type { DataRun } from '../storage/storage.ts'
import { storageError } from '../storage/storage-error.ts'
import { encodeNodeInto, NO_NODE, NOT_LOADED } from '../storage/tree-file.ts'
import { turnIsOver } from '../util/turn.ts'
import type { Application } from './application.ts'
import type { Core, Head, Stage } from './core.ts'
import { type Belief, checkHistory, unlinkOf } from './growth.ts'
import { mendFor } from './healing.ts'
import { fullRoots } from './places.ts'
import { requireNodes, signatureHolds } from './proofs.ts'

/** What storing a block needs to know of its feed. */
export interface PutTarget {
  readonly application: Application
  readonly key: Uint8Array | null
  /** What proofs need not show. What the application puts is believed. */
  readonly belief: Belief
  /** Blocks, or their hashes, were stored, in this order. */
  stored(blocks: readonly StoredBlock[], peer: Peer | null): void
  /** These are here, but could not be made durable, so they do not count as stored: calls that wait for them get them all the same. */
  readable(blocks: readonly StoredBlock[]): void
}

/** A block, or its hash, that was stored. */
export interface StoredBlock {
  readonly block: number
  /** The bytes, null for the hash alone. */
  readonly value: Uint8Array | null
  /** The block was not here before. */
  readonly isNew: boolean
  /** Its proof made the feed longer. */
  readonly grew: boolean
}

/** How far {@link putBlocks} got. */
export interface PutOutcome {
  /** The first so many are stored. */
  readonly stored: number
  /** Why the next one is not; undefined if all are stored, or if the rest had better be stored in another turn. */
  readonly error: unknown
}

/**
 * Verifies blocks, or their hashes alone, in their order and stores them with the nodes that prove them (spec WIRE §10, FORMAT
 * §9): all up to the first one that does not hold. Nothing of that one, nor of those behind it, is written.
 *
 * When that takes so long that the event loop should have its turn, it ends early, without an error, with one block at least.
 *
 * Where the application is not to be asked, all are written in one commit. Otherwise it is asked, for the signature and
 * whether the block may be stored, one block after the other, while other operations go on; then the
 * block is verified once more before it is stored, and if the feed has changed so much that another signature counts,
 * all is done again.
 * Errors of the outcome: `UnprovenHistory`, `ERR_PROOF_MALFORMED`, `ERR_PROOF_CHECKSUM`, `ERR_PROOF_SIGNATURE`, `ERR_PROOF_NO_SIGNATURE`,
 * `ERR_ROOTS_MISSING`, `ERR_DATA_SIZE`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`, `ERR_FEED_CLOSED`, and what the hook says.
 */
export async function putBlocks(
  core: Core,
  claims: readonly Claim[],
  peer: Peer | null,
  target: PutTarget
): Promise<PutOutcome> {
  const { durability } = core.storage
  const { hooked, ownCrypto } = target.application
  // With durability `disk` nobody is told before the blocks are durable.
  const late: StoredBlock[] = []
  const tell = (blocks: readonly StoredBlock[]): void => {
    if (durability.mode === 'process') target.stored(blocks, peer)
    else late.push(...blocks)
  }
  let stored = 0
  let error: unknown
  let mended = -1
  try {
    while (stored < claims.length) {
      if (error !== undefined) {
        // What is stored here may be at fault: once for each block.
        if (mended === stored || !(await mendFor(core, claims[stored]!, error))) break
        mended = stored
        error = undefined
      }
      // Each block with a signature is a commit of its own.
      if (stored > 0 && turnIsOver()) break
      const from = stored
      if (hooked || ownCrypto) {
        try {
          tell([await putAsked(core, claims[from]!, peer, target)])
          stored++
        } catch (reason) {
          error = reason
        }
        continue
      }
      await core.change(async () => {
        const batch = new PutBatch(core)
        try {
          await batch.fill(claims, from, target)
        } catch (reason) {
          error = reason
        }
        if (batch.blocks.length > 0) await batch.commit()
        stored += batch.blocks.length
        tell(batch.blocks)
      })
    }
  } catch (reason) {
    error = reason
  }
  if (late.length === 0) return { stored, error }
  try {
    await durability.all()
  } catch (reason) {
    // What could not be made durable does not count as stored. But whoever asks for it now gets it.
    target.readable(late)
    return { stored: stored - late.length, error: reason }
  }
  target.stored(late, peer)
  return { stored, error }
}

/** Verifies and stores one block whose feed has functions of the application's own. */
async function putAsked(
  core: Core,
  claim: Claim,
  peer: Peer | null,
  target: PutTarget
): Promise<StoredBlock> {
  const { application } = target
  checkClaim(claim)
  let asked = false
  for (;;) {
    const { head } = await core.change(() => new PutBatch(core).verify(claim))
    if (head !== null) await checkHead(core, claim, head, target)
    checkHistory(core, claim, head, target.belief)
    if (!asked) await application.beforeWrite(claim.block, claim.value, peer)
    asked = true
    const done = await core.change(async () => {
      const batch = new PutBatch(core)
      const verified = await batch.verify(claim)
      if (verified.head !== null) {
        if (head === null || !b4a.equals(head.signable, verified.head.signable)) return null
        if (claim.signature === null) checkStatic(core, verified.head, target)
        checkHistory(core, claim, verified.head, target.belief)
      }
      batch.add(claim, verified, await batch.place(claim, verified))
      await batch.commit()
      return batch.blocks[0]!
    })
    if (done !== null) return done
  }
}

// Blocks that are verified between two looks at the clock.
const BLOCKS_PER_LOOK = 8

// More than this is stored in several commits: the blocks are in memory until then, and hashing holds up everything else.
const MAX_BYTES = 1024 * 1024

/** Blocks that are verified one after the other, each with what those before it have proven, and stored together. */
class PutBatch {
  /** What was added. */
  readonly blocks: StoredBlock[] = []
  /** The head that the last block's proof reaches; nothing is added behind it. */
  head: NonNullable<Verified['head']> | null = null
  private readonly core: Core
  private readonly stage: Stage
  // What was proven, by tree index.
  private readonly nodes = new Map<number, TreeNode>()
  private readonly runs: { offset: number; end: number; blocks: Uint8Array[] }[] = []
  private signature: Uint8Array | null = null
  private bytes = 0
  // The block behind the last one that has a place.
  private next = -1

  constructor(core: Core) {
    this.core = core
    this.stage = core.stage()
  }

  /**
   * Verifies blocks from `from` on and adds them, up to the first one with a head, and as long as the commit is not too
   * large, nor this turn of the event loop too long. Errors: why one does not hold; those before it are added.
   */
  async fill(claims: readonly Claim[], from: number, target: PutTarget): Promise<void> {
    for (let i = from; i < claims.length && this.head === null && this.bytes < MAX_BYTES; i++) {
      if (i > from && (i - from) % BLOCKS_PER_LOOK === 0 && turnIsOver()) return
      const claim = claims[i]!
      checkClaim(claim)
      const verified = this.verifySync(claim) ?? (await this.verify(claim))
      if (verified.head !== null) await checkHead(this.core, claim, verified.head, target)
      checkHistory(this.core, claim, verified.head, target.belief)
      this.add(claim, verified, this.placeSync(claim, verified) ?? (await this.place(claim, verified)))
    }
  }

  /** Verifies a block if that needs no waiting and its proof ends at a node that is known; else null. */
  verifySync(claim: Claim): Verified | null {
    return verifyUp(claim, this.stage.treeBits, this.nodeSync)
  }

  /** Verifies a block. Errors: those of {@link verifyBlock}, `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
  async verify(claim: Claim): Promise<Verified> {
    const stored = new Map<number, TreeNode>()
    const missing: number[] = []
    for (const treeIndex of nodesToRead(claim, this.stage.tree)) {
      const node = this.nodes.get(treeIndex)
      if (node === undefined) missing.push(treeIndex)
      else stored.set(treeIndex, node)
    }
    const { verified } = this.core
    for (const node of await requireNodes(this.core, missing)) {
      // Nothing is verified by a node that is damaged itself.
      if (verified !== null && !(await verified.nodeHolds(this.core, node.index))) {
        throw new DDatabaseError('ERR_NODE_NOT_FOUND')
      }
      stored.set(node.index, node)
    }
    return verifyBlock(claim, stored)
  }

  private readonly nodeSync = (treeIndex: number): TreeNode | null => {
    const node = this.nodes.get(treeIndex)
    if (node !== undefined) return node
    const { storage, verified } = this.core
    if (verified !== null && verified.nodeHoldsSync(this.core, treeIndex) !== true) return null
    return storage.tree.getSync(treeIndex) ?? null
  }

  /**
   * Byte offset of a block that was verified, if that needs no waiting; else null. The sizes that it has proven itself come first:
   * those of two children are bound by their parent's hash in their sum only, until the data of one of them tell.
   */
  placeSync(claim: Claim, { nodes }: Verified): number | null {
    const { block, value } = claim
    if (value === null || value.length === 0) return 0
    if (block === this.next) return this.runs[this.runs.length - 1]!.end
    let offset = 0
    for (const root of fullRoots(block)) {
      const size =
        (nodes.find(({ index }) => index === root) ?? this.nodes.get(root))?.size ??
        this.core.storage.tree.sizeSync(root)
      if (size === NO_NODE) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
      if (size === NOT_LOADED) return null
      offset += size
    }
    return offset
  }

  /** As {@link placeSync}, waiting. Errors: `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
  async place(claim: Claim, verified: Verified): Promise<number> {
    const now = this.placeSync(claim, verified)
    if (now !== null) return now
    const { tree } = this.core.storage
    let offset = 0
    for (const root of fullRoots(claim.block)) {
      const node = verified.nodes.find(({ index }) => index === root) ?? this.nodes.get(root)
      offset += (node ?? (await tree.require(root).catch(fail))).size
    }
    return offset
  }

  /** Adds a block that was verified, with its head if it has one; `offset` is its place. */
  add(claim: Claim, { nodes, head }: Verified, offset: number): void {
    const { block, value, signature } = claim
    const { core, stage } = this
    for (const node of nodes) this.nodes.set(node.index, node)
    // Up to a node that is known everything is among them, so that nothing has to be looked for above.
    const bits = head === null && value !== null ? stage.treeBits : stage.tree
    for (const { index } of nodes) bits.set(index, true)
    bits.set(2 * block, true)
    const isNew = value !== null && stage.bits.set(block, true)
    if (isNew) core.storage.blocks?.delete(block)
    this.head = head
    if (head !== null) this.signature = signature
    this.blocks.push({ block, value, isNew, grew: head !== null && head.length > core.length })
    if (value === null || value.length === 0) return
    const end = offset + value.length
    const run = this.runs[this.runs.length - 1]
    if (run !== undefined && run.end === offset) {
      run.blocks.push(value)
      run.end = end
    } else this.runs.push({ offset, end, blocks: [value] })
    this.next = block + 1
    this.bytes += value.length
  }

  /** Stores everything. Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`; then nothing is stored. */
  async commit(): Promise<void> {
    const { core, head, signature } = this
    const data: readonly DataRun[] = this.runs
    const grew = head !== null && head.length > core.length
    const last = this.blocks[this.blocks.length - 1]
    const unlink = unlinkOf(core, last?.block ?? 0, head)
    const unlinks = unlink !== null && (await core.unlinked.add(unlink))
    await core.commit(
      {
        data,
        slots: slotsOf(this.nodes),
        signature: head === null || signature === null ? null : { block: head.length - 1, signature }
      },
      this.stage,
      grew ? ownHead(head) : undefined
    )
    if (head !== null) core.live = signature !== null
    if (unlinks) core.unlinked.stored()
    if (core.verified === null) return
    let nodes: Iterable<TreeNode> = this.nodes.values()
    for (const { block, value } of this.blocks) {
      core.verified.put(block, value !== null, nodes)
      nodes = []
    }
  }
}

/** The hashes may be views of what came from the network, and roots live long. */
function ownHead(head: Head): Head {
  return { ...head, roots: head.roots.map((root) => ({ ...root, hash: b4a.from(root.hash) })) }
}

/** Nodes as pieces of the `tree` file, neighbours together. */
function slotsOf(nodes: ReadonlyMap<number, TreeNode>): { treeIndex: number; bytes: Uint8Array }[] {
  if (nodes.size === 0) return []
  const indexes = new Float64Array(nodes.size)
  let count = 0
  for (const index of nodes.keys()) indexes[count++] = index
  indexes.sort()
  const slots: { treeIndex: number; bytes: Uint8Array }[] = []
  const bytes = b4a.allocUnsafe(indexes.length * NODE_SIZE)
  let first = 0
  for (let i = 0; i < indexes.length; i++) {
    encodeNodeInto(bytes, i * NODE_SIZE, nodes.get(indexes[i]!)!)
    if (indexes[i + 1] === indexes[i]! + 1) continue
    slots.push({ treeIndex: indexes[first]!, bytes: bytes.subarray(first * NODE_SIZE, (i + 1) * NODE_SIZE) })
    first = i + 1
  }
  return slots
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

/** Checks roots that come without a signature: a static feed's key is the hash of its tree. */
function checkStatic(core: Core, head: NonNullable<Verified['head']>, { key }: Pick<PutTarget, 'key'>): void {
  if (core.length > 0 && core.live) throw new DDatabaseError('ERR_PROOF_NO_SIGNATURE')
  if (key === null || !b4a.equals(head.treeHash, key)) throw new DDatabaseError('ERR_PROOF_CHECKSUM')
}

function fail(error: unknown): never {
  throw storageError(error)
}
