import { DDatabaseError } from '../errors.ts'
import { storageError } from '../storage/storage.ts'
import { ignore } from '../util/callback.ts'
import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'
import { rootsOf } from './proofs.ts'
import { matchesTree, type Place, placeOf, RUN_BYTES, readBlocks, runEnd } from './reader.ts'

/** Options of `clear`. */
export interface ClearOptions {
  /** false: only forget the blocks, leave their bytes. Default true. */
  delete?: boolean | undefined
  /** Where the bytes start, if the caller knows. */
  byteOffset?: number | undefined
  /** How many bytes there are, if the caller knows. */
  byteLength?: number | undefined
}

/**
 * Forgets blocks `start` … `end` − 1: first their bits, then their bytes; tree and signatures stay. Only what is
 * here is touched, so offsets are always known, also on sparse replicas.
 *
 * If deleting bytes fails, the blocks that are still whole are kept, and the call fails.
 * @returns whether anything was cleared
 * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`
 */
export async function clearBlocks(
  core: Core,
  start: number,
  end: number,
  options: ClearOptions,
  indexing: boolean
): Promise<boolean> {
  const last = Math.min(end, core.bits.length)
  const runs = presentRuns(core, start, last)
  if (runs.length === 0) return false
  const places = options.delete === false || indexing ? [] : await placesOf(core, runs, options)

  const stage = core.stage()
  stage.bits.setRange(start, last, false)
  await core.commit({}, stage)
  for (const [from, to] of runs) {
    for (let block = from; core.storage.blocks !== null && block < to; block++)
      core.storage.blocks.delete(block)
  }
  try {
    for (const { offset, size } of places) await core.storage.data.del(offset, size)
  } catch (error) {
    await keepWhole(core, runs).catch(ignore)
    throw storageError(error)
  }
  return true
}

function presentRuns(core: Core, start: number, end: number): [number, number][] {
  const runs: [number, number][] = []
  for (let at = start; at < end; ) {
    const from = core.bits.firstPresent(at, end)
    if (from === -1) break
    const to = core.bits.firstMissing(from, end)
    at = to === -1 ? end : to
    runs.push([from, at])
  }
  return runs
}

async function placesOf(
  core: Core,
  runs: readonly [number, number][],
  options: ClearOptions
): Promise<Place[]> {
  const { byteOffset, byteLength } = options
  if (byteOffset !== undefined && byteLength !== undefined) return [{ offset: byteOffset, size: byteLength }]
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
      if ((await checkRun(core, block, block + 1))[0]) stage.bits.set(block, true)
    }
  }
  await core.commit({}, stage)
}

/**
 * Cuts the feed down to its first `length` blocks. The new end gets a signature if it has none of its own and
 * `sign` is given, so that a feed that is opened again counts as live and can be replicated.
 *
 * @returns whether anything was removed
 * Errors: `ERR_NODE_NOT_FOUND` (longer than the feed), `ERR_ROOTS_MISSING`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`
 */
export async function truncateFeed(
  core: Core,
  length: number,
  sign: ((roots: Core['roots'], length: number) => Promise<Uint8Array>) | null
): Promise<boolean> {
  if (length > core.length) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
  if (length === core.length) return false
  const oldLength = core.length
  const roots = await rootsOf(core, length)
  const unsigned =
    length > 0 && core.live && (await core.storage.signatures.get(length - 1).catch(fail)) === null
  const signature = unsigned && sign !== null ? await sign(roots, length) : null

  const stage = core.stage()
  stage.tree.truncate(2 * length)
  stage.bits.setRange(length, oldLength, false)
  const { signatures } = core.storage
  const from = Math.max(length, oldLength - RESTORABLE_SLOTS)
  const copied = await signatures.copy(from, oldLength).catch(fail)
  await core.commit(
    {
      signature: signature === null ? null : { block: length - 1, signature },
      // After the bits: a crash in between leaves signatures beyond the end, which mean nothing.
      last: {
        run: () => signatures.remove(length, oldLength),
        undo: () => signatures.restore(from, copied)
      }
    },
    stage,
    { length, byteLength: roots.reduce((sum, root) => sum + root.size, 0), roots }
  )
  return true
}

// If the signatures beyond the new end cannot be removed, the truncation is undone, and as many slots as this are
// put back; the last one covers all the others.
const RESTORABLE_SLOTS = 4096

/** What `audit` found. */
export interface AuditReport {
  /** Blocks whose bytes match the tree. */
  valid: number
  /** Blocks that did not, or could not be read; they are not here any more. */
  invalid: number
}

/**
 * Compares every block that is here with its hash and forgets those that differ or cannot be read. Reads runs of
 * blocks and lets the event loop have its turn in between.
 * Errors: `ERR_STORAGE` (writing the changed bits), `ERR_WRITE_REFUSED`.
 */
export async function auditFeed(core: Core): Promise<AuditReport> {
  const report: AuditReport = { valid: 0, invalid: 0 }
  const invalid: number[] = []
  for (const [from, to] of presentRuns(core, 0, core.length)) {
    for (let start = from; start < to; ) {
      const end = await runEnd(core, start, to, RUN_BYTES).catch(() => start + 1)
      for (const [i, whole] of (await checkRun(core, start, end)).entries()) {
        if (whole) report.valid++
        else invalid.push(start + i)
      }
      start = end
      await nextTurn()
    }
  }
  if (invalid.length > 0) report.invalid = await core.mutex.run(() => forget(core, invalid))
  return report
}

/** Clears the bits of those blocks that still do not match: the feed may have changed since they were checked. */
async function forget(core: Core, blocks: readonly number[]): Promise<number> {
  const stage = core.stage()
  let forgotten = 0
  for (const block of blocks) {
    if (block >= core.length || (await checkRun(core, block, block + 1))[0]) continue
    if (stage.bits.set(block, false)) forgotten++
    core.storage.blocks?.delete(block)
  }
  await core.commit({}, stage)
  return forgotten
}

async function checkRun(core: Core, start: number, end: number): Promise<boolean[]> {
  const together = await readBlocks(core, start, end).catch(() => null)
  const whole: boolean[] = []
  for (let block = start; block < end; block++) {
    const bytes =
      together?.[block - start] ?? (await readBlocks(core, block, block + 1).catch(() => null))?.[0]
    whole.push(bytes !== undefined && (await matchesTree(core, block, bytes).catch(() => false)))
  }
  return whole
}

function fail(error: unknown): never {
  throw storageError(error)
}
