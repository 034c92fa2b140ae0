/** What is done about damage that is found where a feed is used (docs/design.md, "Damage"). */
import b4a from 'b4a'
import flat from 'flat-tree'
import { Bitfield } from '../bitfield/bitfield.ts'
import { PAGE_BLOCKS, PAGE_SIZE, Pages } from '../bitfield/pages.ts'
import { type Damage, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import { type Claim, nodesToRead } from '../merkle/verify.ts'
import { storageError } from '../storage/storage-error.ts'
import { encodeNode } from '../storage/tree-file.ts'
import { ignore } from '../util/callback.ts'
import { bitsOf, sameNodes } from './bit-difference.ts'
import type { Core, Stage } from './core.ts'
import { TreeCheck } from './tree-check.ts'

/** How many blocks are remembered as damaged; others are just not here. */
const MOST_REMEMBERED = 65_536

/** What looking at a range of blocks from the roots down has come to. Nothing is changed yet. */
export interface RangeCheck {
  /** The bits as they should be: of what does not hold they are taken. */
  stage: Stage
  /** Nodes that can be mended. */
  nodes: TreeNode[]
  /** Blocks of the range that are here and hold. */
  valid: number
  /** Their bytes. */
  bytes: number
  /** Blocks of the range, ascending, that have a bit and do not hold. */
  invalid: number[]
  /** All that was found, in the order of the blocks. */
  damage: Damage[]
  /** That part of it that is mended when this is written. */
  mended: Damage[]
}

/**
 * Compares blocks `start` … `end` − 1, and the nodes on the way to them, with the roots. Of the nodes only those that are known
 * count. To be called by who holds the feed's mutex, or, for a draft, by who looks again.
 * @param how - `compared` is told of each block, see `CheckSource`; `compares`: also where the application writes the `data` file;
 * `drafts`: what it comes to is not going to be written
 * Rejects with the storage's error.
 */
export async function checkRange(
  core: Core,
  start: number,
  end: number,
  how: {
    compared?: (block: number, bytes: Uint8Array | null, holds: boolean) => void
    compares?: boolean
    drafts?: boolean
  } = {}
): Promise<RangeCheck> {
  // While others hold the mutex, the stage that the application's bits go into as well is theirs.
  const stage = how.drafts ? core.draft() : core.stage()
  const found = bitsOf(core.pages)
  const { tree, data } = core.storage
  let valid = 0
  let size = 0
  const blocks: Damage[] = []
  const check = new TreeCheck(
    {
      tree,
      data,
      dataSize: await data.size(),
      found,
      proven: { bits: NOTHING, treeBits: found.treeBits },
      from: core.length,
      completeFrom: core.length,
      suspects: [[start, end]],
      lostPages: new Set(),
      signedRoots: async () => [],
      readsData: how.compares ?? core.judgesData,
      trusts: async (node) => core.verified === null || core.verified.wasRoot(core, node),
      compared: (block, bytes, holds) => {
        how.compared?.(block, bytes, holds)
        if (holds) {
          valid++
          size += bytes!.byteLength
        } else if (core.bits.get(block)) blocks.push(dataDamage(block, bytes === null))
      }
    },
    stage
  )
  for (const root of core.roots) await healRoot(core, root, start, end, check)
  await check.run(core.roots)
  const invalid: number[] = []
  for (let at = core.bits.firstPresent(start, end); at !== -1; at = core.bits.firstPresent(at + 1, end)) {
    if (!stage.bits.get(at)) invalid.push(at)
  }
  const nodes = [...check.healed.values()]
  const mended = nodes.map(({ index }) => nodeDamage(index))
  for (const page of stage.pages.dirty) {
    // Nodes are known that no bit told of.
    if (check.damage.length > 0 || sameNodes(stage.pages.read(page), core.pages.read(page))) continue
    mended.push({ file: 'bitfield', problem: 'bits of nodes do not hold', start, end })
  }
  const damage = [...mended, ...check.damage, ...blocks].sort((a, b) => a.start - b.start)
  return { stage, nodes, valid, bytes: size, invalid, damage, mended }
}

const NOTHING = new Bitfield(new Pages(PAGE_SIZE))

/** The slot of a root has to say what was verified, or signed, when it came. */
async function healRoot(
  core: Core,
  root: TreeNode,
  start: number,
  end: number,
  check: TreeCheck
): Promise<void> {
  if (flat.rightSpan(root.index) < 2 * start || flat.leftSpan(root.index) >= 2 * end) return
  const stored = await core.storage.tree.get(root.index)
  if (stored === null || stored.size !== root.size || !b4a.equals(stored.hash, root.hash)) {
    check.healed.set(root.index, root)
  }
  if (!core.tree.get(root.index)) check.restore(root.index)
}

function dataDamage(block: number, missing: boolean): Damage {
  const problem = missing ? 'bytes are missing' : 'the block does not match its hash'
  return { file: 'data', problem, start: block, end: block + 1 }
}

function nodeDamage(treeIndex: number): Damage {
  return {
    file: 'tree',
    problem: 'a node does not hold',
    start: flat.leftSpan(treeIndex) / 2,
    end: flat.rightSpan(treeIndex) / 2 + 1
  }
}

/**
 * Deals with a block that is here and could not be verified: nodes that can be mended are; a block that does not hold is not here
 * any more.
 * @returns its bytes, or null if it was taken away meanwhile
 * Errors: `ERR_BLOCK_DAMAGED` if it is given up, `ERR_STORAGE`, `ERR_FEED_CLOSED`
 */
export function healBlock(core: Core, block: number): Promise<Uint8Array | null> {
  return core.change(async () => {
    if (block >= core.length || !core.bits.get(block)) return null
    let kept: Uint8Array | null = null
    const checked = await checkRange(core, block, block + 1, {
      compared: (compared, bytes, holds) => {
        if (compared === block && holds) kept = b4a.from(bytes!)
      }
    }).catch(rethrow)
    if (!core.judgesData) throw damaged(block, checked.damage)
    // Nothing leads to it from the roots: as good as unknown.
    if (kept === null && checked.stage.bits.set(block, false)) {
      checked.stage.treeBits.set(2 * block, false)
      checked.invalid.push(block)
      checked.damage.push({ file: 'tree', problem: 'nothing proves the block', start: block, end: block + 1 })
    }
    await settleRange(core, checked, block, block + 1)
    if (kept === null) throw damaged(block, checked.damage)
    core.verified?.held(block)
    return kept
  })
}

/**
 * Makes sure that a node that is known is stored as it should be. What cannot be mended is not known any more.
 * @returns whether it holds
 * Errors: `ERR_STORAGE`, `ERR_FEED_CLOSED`
 */
export async function proveNode(core: Core, treeIndex: number): Promise<boolean> {
  const { verified } = core
  if (verified === null || (await verified.nodeHolds(core, treeIndex).catch(rethrow))) return true
  return core.change(async () => {
    if (!core.tree.get(treeIndex)) return false
    if (await verified.nodeHolds(core, treeIndex).catch(rethrow)) return true
    const block = flat.leftSpan(treeIndex) / 2
    if (block >= core.length) return false
    const checked = await checkRange(core, block, block + 1).catch(rethrow)
    await settleRange(core, checked, block, block + 1)
    if (!core.tree.get(treeIndex)) return false
    if (await verified.nodeHolds(core, treeIndex).catch(rethrow)) return true
    // The way up is unknown, and no signature speaks for it.
    const stage = core.stage()
    stage.treeBits.set(treeIndex, false)
    await core.checkpoints?.forgotten().catch(ignore)
    await core.commit({}, stage).catch(() => core.storage.bitfield.adopt(stage.pages))
    return false
  })
}

/**
 * Looks for the way from the roots to a block that is here and whose leaf is not known.
 * @returns whether the leaf is known now
 * Errors: `ERR_STORAGE`, `ERR_FEED_CLOSED`
 */
export function restoreLeaf(core: Core, block: number): Promise<boolean> {
  return core.change(async () => {
    if (!core.tree.get(2 * block)) await findWay(core, block)
    return core.tree.get(2 * block)
  })
}

/** Looks for the way from the roots to a block that is here, and knows what is on it again. Errors: `ERR_STORAGE`, `ERR_FEED_CLOSED` */
export function restoreWay(core: Core, block: number): Promise<void> {
  return core.change(() => findWay(core, block))
}

async function findWay(core: Core, block: number): Promise<void> {
  if (block >= core.length || !core.bits.get(block)) return
  await settleRange(core, await checkRange(core, block, block + 1).catch(rethrow), block, block + 1)
}

/** Errors of a proof that a damaged node of one's own can be the cause of. */
const DOUBTFUL: ReadonlySet<unknown> = new Set([
  'ERR_PROOF_CHECKSUM',
  'ERR_PROOF_SIGNATURE',
  'ERR_NODE_NOT_FOUND',
  'ERR_ROOTS_MISSING',
  'ERR_DATA_SIZE'
])

/**
 * Finds out whether a block that came from elsewhere was refused because of a node that is damaged here, and mends it or forgets it.
 * @returns whether it is to be tried again
 * Errors: `ERR_STORAGE`, `ERR_FEED_CLOSED`
 */
export async function mendFor(core: Core, claim: Claim, error: unknown): Promise<boolean> {
  const { verified } = core
  if (verified === null || !DDatabaseError.is(error) || !DOUBTFUL.has(error.code)) return false
  let mended = false
  for (const treeIndex of nodesToRead(claim, core.tree)) {
    if (await verified.nodeHolds(core, treeIndex).catch(rethrow)) continue
    mended = true
    await proveNode(core, treeIndex)
  }
  return mended
}

function damaged(block: number, damage: readonly Damage[]): DDatabaseError {
  return new DDatabaseError('ERR_BLOCK_DAMAGED', {
    message: `Block ${block} is damaged in the storage, and no peer has it`,
    damage
  })
}

/**
 * Writes what {@link checkRange} has come to, and tells of it. What cannot be written, on media that are read only or full, holds
 * until the feed is closed. Called under the feed's mutex.
 * @returns whether it could be written
 */
export async function settleRange(
  core: Core,
  checked: RangeCheck,
  start: number,
  end: number
): Promise<boolean> {
  const { stage, nodes, damage, mended } = checked
  const { pages } = stage
  const gone: [number, number][] = []
  // More than the range may be gone: what lies below a node that cannot be mended.
  for (const page of pages.dirty) addGone(gone, core, stage, page)
  if (pages.dirty.length === 0 && nodes.length === 0) {
    if (damage.length > 0) core.ondamage?.(damage, mended, gone)
    return true
  }
  const forgets = pages.dirty.some((page) => !sameNodes(pages.read(page), core.pages.read(page)))
  let written = true
  try {
    // A checkpoint that still claims what is given up would make the next opening fail.
    if (forgets) await core.checkpoints?.forgotten()
    else for (const [from, to] of gone) await core.checkpoints?.cleared({ start: from, end: to })
    await core.commit(
      { slots: nodes.map((node) => ({ treeIndex: node.index, bytes: encodeNode(node) })) },
      stage
    )
  } catch {
    written = false
    core.storage.bitfield.adopt(pages)
  }
  for (const [from, to] of gone) {
    core.removals++
    core.verified?.forget(from, to)
    for (let block = from; core.storage.blocks !== null && block < to; block++)
      core.storage.blocks.delete(block)
    remember(core, from, to)
  }
  if (forgets) core.verified?.forget(start, end)
  core.ondamage?.(damage, mended, gone)
  return written
}

/** Blocks of a page of the bitfield that lose their bit, as ranges. */
function addGone(gone: [number, number][], core: Core, stage: Stage, page: number): void {
  const first = page * PAGE_BLOCKS
  const end = first + PAGE_BLOCKS
  for (let at = core.bits.firstPresent(first, end); at !== -1; at = core.bits.firstPresent(at + 1, end)) {
    if (stage.bits.get(at)) continue
    const last = gone[gone.length - 1]
    if (last?.[1] === at) last[1]++
    else gone.push([at, at + 1])
  }
}

function rethrow(error: unknown): never {
  throw storageError(error)
}

/** Notes the blocks below `length` that a stage takes away. */
export function rememberLost(core: Core, stage: Stage, length: number): void {
  const gone: [number, number][] = []
  for (const page of stage.pages.dirty) addGone(gone, core, stage, page)
  for (const [from, to] of gone) remember(core, from, Math.min(to, length))
}

function remember(core: Core, from: number, to: number): void {
  for (let block = from; block < to && core.damaged.size < MOST_REMEMBERED; block++) core.damaged.add(block)
}
