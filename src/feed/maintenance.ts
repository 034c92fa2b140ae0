import b4a from 'b4a'
import flat from 'flat-tree'
import { signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import { storageError } from '../storage/storage-error.ts'
import { ignore } from '../util/callback.ts'
import type { Core } from './core.ts'
import { type Place, placeOf } from './places.ts'
import { rootsOf } from './proofs.ts'
import { presentRuns, storedHolds } from './reader.ts'

/** Options of `clear`. */
export interface ClearOptions {
  /** false: only forget the blocks, leave their bytes. Default true. */
  delete?: boolean | undefined
  /** Where the bytes start. Not looked at: the tree tells, and a wrong number would delete bytes of other blocks. */
  byteOffset?: number | undefined
  /** How many bytes there are. Not looked at either. */
  byteLength?: number | undefined
}

/**
 * Forgets blocks `start` … `end` − 1: first their bits, then their bytes; tree and signatures stay. Only what is
 * here is touched, so offsets are always known, also on sparse replicas.
 *
 * If deleting bytes fails, the blocks that are still whole are kept, and the call fails.
 * @returns what was cleared: runs of neighbours, each its first block and the one after the last; null if there was nothing
 * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`
 */
export async function clearBlocks(
  core: Core,
  start: number,
  end: number,
  options: ClearOptions,
  indexing: boolean
): Promise<[number, number][] | null> {
  const last = Math.min(end, core.bits.length)
  const runs = presentRuns(core, start, last)
  if (runs.length === 0) return null
  const places = options.delete === false || indexing ? [] : await placesOf(core, runs)

  const stage = core.stage()
  stage.bits.setRange(start, last, false)
  await core.commit({ synced: core.storage.durability.mode === 'disk' }, stage)
  core.removals++
  core.verified?.forget(start, last)
  for (const [from, to] of runs) {
    for (let block = from; core.storage.blocks !== null && block < to; block++)
      core.storage.blocks.delete(block)
  }
  try {
    // A checkpoint that claims the blocks would be believed after a power failure.
    if (places.length > 0) await core.checkpoints?.cleared({ start, end: last })
    for (const { offset, size } of places) await core.storage.data.del(offset, size)
  } catch (error) {
    await keepWhole(core, runs).catch(ignore)
    throw storageError(error)
  }
  return runs
}

async function placesOf(core: Core, runs: readonly [number, number][]): Promise<Place[]> {
  const places: Place[] = []
  for (const [from, to] of runs) {
    const first = await placeOf(core, from)
    const last = await placeOf(core, to - 1)
    const size = last.offset + last.size - first.offset
    if (size > 0) places.push({ offset: first.offset, size })
  }
  return places
}

async function keepWhole(core: Core, runs: readonly [number, number][]): Promise<void> {
  const stage = core.stage()
  for (const [from, to] of runs) {
    for (let block = from; block < to; block++) {
      if (await storedHolds(core, block)) stage.bits.set(block, true)
    }
  }
  await core.commit({}, stage)
}

/**
 * Cuts the feed down to its first `length` blocks. The new end gets a signature if it has none of its own and
 * `sign` is given, so that a feed that is opened again counts as live and can be replicated.
 *
 * The signer may take its time, and the feed is not held meanwhile: if it has changed, it is asked anew.
 * @returns the length before; null if nothing was to be removed
 * Errors: `ERR_NODE_NOT_FOUND` (longer than the feed), `ERR_ROOTS_MISSING`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`,
 * `ERR_SIGNING`, `ERR_FEED_CLOSED`
 */
export async function truncateFeed(
  core: Core,
  length: number,
  sign: ((roots: TreeNode[], length: number) => Promise<Uint8Array>) | null
): Promise<number | null> {
  let signed: SignedHead | null = null
  for (;;) {
    const given: SignedHead | null = signed
    const outcome: number | TreeNode[] = await core.change(async () => {
      core.truncating = true
      try {
        return await truncate(core, length, given, sign !== null)
      } finally {
        core.truncating = false
      }
    })
    if (typeof outcome === 'number') return outcome === length ? null : outcome
    signed = { roots: outcome, signature: await sign!(outcome, length) }
  }
}

interface SignedHead {
  roots: TreeNode[]
  signature: Uint8Array
}

/** Truncates, or answers the roots that are to be signed first. */
async function truncate(
  core: Core,
  length: number,
  signed: SignedHead | null,
  signs: boolean
): Promise<number | TreeNode[]> {
  if (length > core.length) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
  const oldLength = core.length
  if (length === oldLength) return oldLength
  const roots = await rootsOf(core, length)
  let signature: Uint8Array | null = null
  if (signs && length > 0 && core.live) {
    const unsigned = !(await isSigned(core, roots, length))
    if (unsigned && (signed === null || !b4a.equals(treeHash(signed.roots), treeHash(roots)))) return roots
    if (unsigned) signature = signed!.signature
  }

  const stage = core.stage()
  stage.tree.truncate(2 * length)
  stage.bits.setRange(length, oldLength, false)
  const { signatures } = core.storage
  const from = Math.max(length, oldLength - RESTORABLE_SLOTS)
  const copied = await signatures.copy(from, oldLength).catch(fail)
  // With what an append that was interrupted has left, so that the file ends there; but not what tells of a history that was lost.
  const end = core.behind > 0 ? oldLength : Math.max(oldLength, signatures.slots + 1)
  const head = { length, byteLength: roots.reduce((sum, root) => sum + root.size, 0), roots }
  await core.checkpoints?.truncated(head)
  await core.commit(
    {
      // What is appended next takes the place of what was here: a signature of before must not come back.
      synced: true,
      signature: signature === null ? null : { block: length - 1, signature },
      // After the bits: a crash in between leaves signatures beyond the end, and the next opening the feed as it was.
      last: {
        run: () => signatures.remove(length, end),
        undo: () => signatures.restore(from, copied)
      }
    },
    stage,
    head
  )
  core.removals++
  core.verified?.forget(length, Number.POSITIVE_INFINITY)
  await core.unlinked.cut(length)
  return oldLength
}

/** Whether a length has its signature. In the middle of a batch there may be one of another history, which the batch was written over. */
async function isSigned(core: Core, roots: readonly TreeNode[], length: number): Promise<boolean> {
  const stored = await core.storage.signatures.get(length - 1).catch(fail)
  if (stored === null) return false
  return core.signatureHolds === null || core.signatureHolds(signable(treeHash(roots), length), stored)
}

/**
 * Forgets blocks and nodes that turned out to be of another history: all below some roots of a shorter head, which has `length`
 * blocks, and the signature of that head.
 * @param roots - tree indexes
 * @returns blocks that were here, as runs of neighbours
 * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`
 */
export async function forgetSubtrees(
  core: Core,
  length: number,
  roots: readonly number[]
): Promise<[number, number][]> {
  const spans = roots.map((root) => [flat.leftSpan(root) / 2, flat.rightSpan(root) / 2 + 1] as const)
  const runs = spans.flatMap(([start, end]) => presentRuns(core, start, end))
  const stage = core.stage()
  for (const [start, end] of spans) {
    stage.bits.setRange(start, end, false)
    stage.treeBits.setRange(2 * start, 2 * end - 1, false)
  }
  const { signatures } = core.storage
  const copied = await signatures.copy(length - 1, length).catch(fail)
  // A checkpoint that still claims what is given up would make the next opening fail.
  await core.checkpoints?.forgotten()
  await core.commit(
    {
      synced: true,
      last: {
        run: () => signatures.remove(length - 1, length),
        undo: () => signatures.restore(length - 1, copied)
      }
    },
    stage
  )
  core.removals++
  for (const [start, end] of spans) core.verified?.forget(start, end)
  for (const [start, end] of runs) {
    for (let block = start; core.storage.blocks !== null && block < end; block++)
      core.storage.blocks.delete(block)
  }
  await core.unlinked.settled(length)
  return runs
}

/**
 * If the signatures beyond a new end cannot be removed, what made that the end is undone, and as many slots as this are put back;
 * the last one covers all the others.
 */
export const RESTORABLE_SLOTS = 4096

function fail(error: unknown): never {
  throw storageError(error)
}
