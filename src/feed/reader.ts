import b4a from 'b4a'
import { leafHashesInto } from '../crypto/hash.ts'
import { LeafOffers } from '../crypto/leaf-offers.ts'
import type { Offer } from '../crypto/offer.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE } from '../merkle/node.ts'
import type { UnverifiedRun } from '../replication/source.ts'
import { storageError } from '../storage/storage-error.ts'
import type { Core } from './core.ts'
import { healBlock } from './healing.ts'
import { placeOf, placeSync } from './places.ts'

/** Most bytes that a run of blocks is read in; a longer block is read alone. */
export const RUN_BYTES = 1024 * 1024

/** The bytes of a block that is here, if that needs no waiting; else null. */
export function readBlockSync(core: Core, block: number): Uint8Array | null {
  const cached = core.storage.blocks?.get(block)
  if (cached) return cached
  try {
    const place = placeSync(core.storage.tree, block)
    if (place === null) return null
    const bytes = core.storage.readDataSync(place.offset, place.size)
    // What cannot be verified at once, and what does not hold, is read once more by `readBlock`.
    if (bytes === null) return null
    if (core.verified !== null && core.verified.blockHoldsSync(core, block, bytes) !== true) return null
    core.storage.blocks?.set(block, bytes)
    return bytes
  } catch (error) {
    // So is what cannot be read: `readBlock` finds out whether it is damaged.
    if (core.verified !== null) return null
    throw storageError(error)
  }
}

/**
 * The bytes of a block that is here when this is called, verified as the feed's option says. Blocks may be taken away while it
 * is read; then the bytes count only if they are what the tree says. What is damaged is mended, or not here any more.
 * @returns null if it was taken away
 * Errors: `ERR_BLOCK_DAMAGED`, `ERR_STORAGE`, `ERR_NODE_NOT_FOUND`
 */
export async function readBlock(core: Core, block: number): Promise<Uint8Array | null> {
  for (;;) {
    const now = readBlockSync(core, block)
    if (now !== null) return now
    const { removals, verified } = core
    let place: { offset: number; size: number } | null = null
    try {
      place = await placeOf(core, block)
      const { offset, size } = place
      await checkSize(core, offset, size)
      const bytes = await core.storage.readData(offset, size)
      const holds =
        core.removals === removals
          ? verified === null || (await verified.blockHolds(core, block, bytes))
          : await matchesTree(core, block, bytes)
      if (holds) {
        if (core.removals === removals) core.storage.blocks?.set(block, bytes)
        return bytes
      }
    } catch (error) {
      const judges = verified !== null && core.judgesData
      const damaged = judges && (await isDamage(core, block, error))
      // A node that tells its place was mended meanwhile, because somebody else came upon it.
      if (!damaged && judges && place !== null && (await hasMoved(core, block, place))) continue
      if (core.removals === removals && !damaged) throw error
    }
    if (!core.bits.get(block)) return null
    if (core.removals !== removals) continue
    const healed = await healBlock(core, block)
    if (healed !== null) return healed
  }
}

/** More than any block has that this package has written: a size that is to be looked at before memory is taken for it. */
const SUSPICIOUS = 16 * 1024 * 1024

/** A damaged size can be any: rejects with `ERR_STORAGE` if a large block does not lie within the file. */
async function checkSize(core: Core, offset: number, size: number): Promise<void> {
  if (core.verified === null || size <= SUSPICIOUS) return
  const fileSize = await core.storage.data.size().catch(storageFailure)
  if (fileSize !== null && !(offset + size <= fileSize)) {
    throw new DDatabaseError('ERR_STORAGE', {
      message: `Could not satisfy length: ${size} bytes at ${offset}`
    })
  }
}

/** Whether a block could not be read because it, or a node that tells its place, is not there; else the storage has failed. */
async function isDamage(core: Core, block: number, error: unknown): Promise<boolean> {
  if (DDatabaseError.is(error) && error.code === 'ERR_NODE_NOT_FOUND') return true
  const fileSize = await core.storage.data.size().catch(() => null)
  if (fileSize === null) return false
  const { offset, size } = await placeOf(core, block)
  return !(offset + size <= fileSize)
}

async function hasMoved(
  core: Core,
  block: number,
  tried: { offset: number; size: number }
): Promise<boolean> {
  const { offset, size } = await placeOf(core, block).catch(() => tried)
  return offset !== tried.offset || size !== tried.size
}

/** Runs of blocks from `start` to `end` − 1 that are here, each as its first block and the one after its last. */
export function presentRuns(core: Core, start: number, end: number): [number, number][] {
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

/** Blocks that are read together. */
interface Run {
  offset: number
  size: number
  /** Bytes of each block. */
  sizes: number[]
}

// The thread pool has four threads; more reads at a time would only keep others waiting.
const RUNS_AT_A_TIME = 4

/**
 * The bytes of blocks `start` … `end` − 1 with as few reads as possible: pieces of up to {@link RUN_BYTES}, some at a time, in which
 * large blocks are views.
 * @returns null if some of them are not here: whoever has waited for them may come after a `clear`, whose hole nothing tells from a block
 * where it is not verified
 * Errors: as {@link readBlock}
 */
export async function readBlocks(core: Core, start: number, end: number): Promise<Uint8Array[] | null> {
  for (;;) {
    if (core.bits.firstMissing(start, end) !== -1) return null
    const { removals, verified } = core
    try {
      const blocks = await readRuns(core, start, end)
      const same = core.removals === removals
      if (same && (verified === null || verified.trusts(start, end))) return blocks
      if (await (same ? verified!.blocksHold(core, start, blocks) : allMatch(core, start, blocks)))
        return blocks
    } catch (error) {
      if (core.removals === removals && verified === null) throw error
    }
    if (core.bits.firstMissing(start, end) !== -1) return null
    if (core.removals === removals) return readOneByOne(core, start, end)
  }
}

/** Finds out which block of a run it is that does not hold, or cannot be read. */
async function readOneByOne(core: Core, start: number, end: number): Promise<Uint8Array[] | null> {
  const blocks: Uint8Array[] = []
  for (let block = start; block < end; block++) {
    const bytes = await readBlock(core, block)
    if (bytes === null) return null
    blocks.push(bytes)
  }
  return blocks
}

async function allMatch(core: Core, start: number, blocks: readonly Uint8Array[]): Promise<boolean> {
  return (await matchTree(core, start, blocks)).every(Boolean)
}

/**
 * As many of blocks `start` … `end` − 1, which all are here, as `target` has room for, usually as views of `target`. Null if
 * there is not even room for one, or if it would need waiting; where verifying fails, {@link readBlocks} finds out why.
 * @param offer - whether another thread, if there is one, is to hash large ones until they are verified
 */
export function readInto(
  core: Core,
  start: number,
  end: number,
  target: Uint8Array,
  offer = true
): UnverifiedRun | null {
  const { storage, verified, removals } = core
  // A cache keeps what it is given.
  if (storage.blocks !== null) return null
  try {
    const place = placeSync(storage.tree, start)
    if (place === null || place.size > target.length) return null
    const sizes = [place.size]
    let total = place.size
    for (let block = start + 1; block < end; block++) {
      const size = leafSizeSync(core, block)
      if (size < 0 || total + size > target.length) break
      sizes.push(size)
      total += size
    }
    const read = storage.readDataSync(place.offset, total, target)
    if (read === null) return null
    const blocks: Uint8Array[] = []
    const leaves = new LeafOffers()
    const offers: (Offer | null)[] = []
    let at = 0
    for (const size of sizes) {
      const bytes = read.subarray(at, at + size)
      const block = start + blocks.length
      const wanted = offer && verified !== null && !verified.trusts(block, block + 1)
      offers.push(wanted ? leaves.add(bytes) : null)
      blocks.push(bytes)
      at += size
    }
    leaves.flush()
    const holds = (bytes: Uint8Array, i: number): boolean =>
      verified === null || verified.blockHoldsSync(core, start + i, bytes, offers[i]) === true
    return {
      count: blocks.length,
      byteLength: total,
      offered: leaves.count > 0,
      verified() {
        try {
          return core.removals === removals && blocks.every(holds) ? blocks : null
        } catch {
          return null
        }
      }
    }
  } catch {
    return null
  }
}

async function readRuns(core: Core, start: number, end: number): Promise<Uint8Array[]> {
  if (start >= end) return []
  const { offset } = await placeOf(core, start)
  let run: Run = { offset, size: 0, sizes: [] }
  const runs = [run]
  for (let block = start; block < end; block++) {
    let size = leafSizeSync(core, block)
    if (size < 0) size = await loadLeafSize(core, block)
    if (run.sizes.length > 0 && run.size + size > RUN_BYTES) {
      run = { offset: run.offset + run.size, size: 0, sizes: [] }
      runs.push(run)
    }
    run.sizes.push(size)
    run.size += size
  }
  const blocks: Uint8Array[] = []
  for (let at = 0; at < runs.length; at += RUNS_AT_A_TIME) {
    const read = runs.slice(at, at + RUNS_AT_A_TIME).map((next) => readRun(core, next))
    for (const part of await Promise.all(read)) for (const block of part) blocks.push(block)
  }
  return blocks
}

// Bounds the work done before the first byte is read when blocks are tiny or empty.
const RUN_BLOCKS = 2048

/** End of the run of blocks from `start` that holds about `bytes` bytes, at least one block. All must be known. */
export async function runEnd(core: Core, start: number, limit: number, bytes: number): Promise<number> {
  const last = Math.min(limit, start + RUN_BLOCKS)
  let total = 0
  let end = start
  do {
    const size = leafSizeSync(core, end)
    total += size < 0 ? await loadLeafSize(core, end) : size
    if (total > bytes && end > start) break
    end++
  } while (end < last)
  return end
}

/** Size of a leaf; negative if it is missing or takes a read to tell. A promise per leaf would cost more than all else. */
function leafSizeSync(core: Core, block: number): number {
  try {
    return core.storage.tree.sizeSync(2 * block)
  } catch (error) {
    throw storageError(error)
  }
}

/** Size of a leaf that {@link leafSizeSync} could not tell. */
async function loadLeafSize(core: Core, block: number): Promise<number> {
  try {
    return (await core.storage.tree.require(2 * block)).size
  } catch (error) {
    throw storageError(error)
  }
}

// Small blocks are copied out of the piece that they are read in, a few together: somebody who keeps one keeps its
// neighbours up to this many bytes, and not the whole piece. (A copy of each would cost as much as all the rest.)
const SLAB = 8192
const SMALL_BLOCK = SLAB / 2

async function readRun(core: Core, { offset, size, sizes }: Run): Promise<Uint8Array[]> {
  await checkSize(core, offset, size)
  const bytes = await core.storage.readData(offset, size)
  const blocks: Uint8Array[] = []
  for (let i = 0, at = 0; i < sizes.length; ) {
    let end = at
    let next = i
    while (next < sizes.length && sizes[next]! <= SMALL_BLOCK && end - at + sizes[next]! <= SLAB) {
      end += sizes[next++]!
    }
    if (next === i) {
      blocks.push(bytes.subarray(at, at + sizes[i]!))
      at += sizes[i++]!
      continue
    }
    let slab = bytes.subarray(at, end)
    if (size > SLAB) {
      slab = b4a.allocUnsafeSlow(end - at)
      slab.set(bytes.subarray(at, end))
    }
    for (let from = 0; i < next; i++) {
      blocks.push(slab.subarray(from, from + sizes[i]!))
      from += sizes[i]!
    }
    at = end
  }
  return blocks
}

/** Whether the bytes are those that the tree says; rejects with the storage's error. */
export async function matchesTree(core: Core, block: number, bytes: Uint8Array): Promise<boolean> {
  return (await matchTree(core, block, [bytes]))[0]!
}

/** As {@link matchesTree} for neighbours from `start` on. */
async function matchTree(core: Core, start: number, blocks: readonly Uint8Array[]): Promise<boolean[]> {
  const { tree } = core.storage
  const hashes = b4a.allocUnsafe(blocks.length * HASH_SIZE)
  leafHashesInto(hashes, 0, HASH_SIZE, blocks)
  const matches: boolean[] = []
  for (let i = 0; i < blocks.length; i++) {
    const treeIndex = 2 * (start + i)
    const hash = hashes.subarray(i * HASH_SIZE, (i + 1) * HASH_SIZE)
    const known = tree.hashEqualsSync(treeIndex, hash)
    if (known !== undefined) matches.push(known)
    else {
      const node = await tree.get(treeIndex)
      matches.push(node !== null && b4a.equals(node.hash, hash))
    }
  }
  return matches
}

/** Whether the file has the bytes of a block as its leaf says. For those who hold the feed's mutex: nothing is mended. */
export async function storedHolds(core: Core, block: number): Promise<boolean> {
  try {
    const { offset, size } = await placeOf(core, block)
    await checkSize(core, offset, size)
    return await matchesTree(core, block, await core.storage.readData(offset, size))
  } catch {
    return false
  }
}

/** Blocks `start` … `end` − 1 on their way from the file; null if they are to be read one by one. */
export interface ReadRun {
  readonly start: number
  readonly end: number
  readonly blocks: Promise<Uint8Array[] | null>
}

/** Reads what is here of a feed in pieces of about {@link RUN_BYTES}, each while the one before it is being looked at. */
export async function* readAll(core: Core): AsyncGenerator<ReadRun, void, void> {
  let ahead: ReadRun | null = null
  for (const [from, to] of presentRuns(core, 0, core.length)) {
    for (let start = from; start < to; ) {
      const end: number = await runEnd(core, start, to, RUN_BYTES).catch(() => start + 1)
      const blocks = end - start > 1 ? readRuns(core, start, end).catch(() => null) : Promise.resolve(null)
      if (ahead !== null) yield ahead
      ahead = { start, end, blocks }
      start = end
    }
  }
  if (ahead !== null) yield ahead
}

/** As {@link storedHolds} for a run of blocks that were read together. */
export async function storedRunHolds(core: Core, run: ReadRun): Promise<boolean[]> {
  const { start, end } = run
  const blocks = await run.blocks
  const holds = blocks === null ? [] : await matchTree(core, start, blocks).catch(() => [])
  for (let block = start; block < end; block++) {
    holds[block - start] ||= await storedHolds(core, block)
  }
  return holds
}

function storageFailure(error: unknown): never {
  throw storageError(error)
}

/** Null for a block that has turned out to be damaged: it is looked for again. Other errors are thrown. */
export function unlessDamaged(error: unknown): null {
  if (DDatabaseError.is(error) && error.code === 'ERR_BLOCK_DAMAGED') return null
  throw error
}
