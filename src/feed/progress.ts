import flat from 'flat-tree'
import { PAGE_BLOCKS } from '../bitfield/pages.ts'
import { DDatabaseError } from '../errors.ts'
import { storageError } from '../storage/storage-error.ts'
import { NO_NODE, NOT_LOADED, type TreeFile } from '../storage/tree-file.ts'
import { Mutex } from '../util/mutex.ts'
import { nextTurn, turnIsOver } from '../util/turn.ts'
import type { Core } from './core.ts'
import { byteOffset } from './places.ts'
import { presentRuns } from './reader.ts'

/** How far a download is, at the moment it was asked. */
export interface DownloadProgress {
  /** Selected blocks that are here, whoever brought them; of a download of hashes: hashes. */
  readonly blocks: number
  /** Selected blocks. An open end is where the feed, or the longest one that a connected peer tells of, ends now. */
  readonly totalBlocks: number
  /** Bytes of the selected blocks that are here. 0 for a download of hashes. */
  readonly bytes: number
  /**
   * Bytes of all selected blocks; null as long as this copy has not heard of the nodes that tell. For a download from
   * the first block to the end of the feed it is known as soon as the length is. 0 for a download of hashes.
   */
  readonly totalBytes: number | null
  /** Growth of `blocks` since it was asked before; 0 the first time. See {@link DownloadProgress.bytesPerSecond}. */
  readonly blocksPerSecond: number
  /**
   * Growth of `bytes` per second since this download was asked for its progress before, 0 the first time. Whoever asks
   * again within a quarter of a second gets the rate told last.
   */
  readonly bytesPerSecond: number
}

/** What was counted. */
export type Counted = Omit<DownloadProgress, 'blocksPerSecond' | 'bytesPerSecond'>

// Shorter intervals say more about when a block happened to arrive than about the rate.
const MIN_INTERVAL = 250

/** The rate between one look at a download and the next. */
export class Rate {
  #blocks = 0
  #bytes = 0
  #at = Number.NEGATIVE_INFINITY
  #blocksPerSecond = 0
  #bytesPerSecond = 0

  /** The progress with its rate; `now` in milliseconds. */
  of(counted: Counted, now: number): DownloadProgress {
    const elapsed = now - this.#at
    if (elapsed >= MIN_INTERVAL) {
      // Infinitely long ago the first time, which makes a rate of 0. Blocks may have been cleared since.
      this.#blocksPerSecond = (1000 * Math.max(0, counted.blocks - this.#blocks)) / elapsed
      this.#bytesPerSecond = (1000 * Math.max(0, counted.bytes - this.#bytes)) / elapsed
      this.#blocks = counted.blocks
      this.#bytes = counted.bytes
      this.#at = now
    }
    return { ...counted, blocksPerSecond: this.#blocksPerSecond, bytesPerSecond: this.#bytesPerSecond }
  }
}

/** The blocks of a page of the bitfield that are here. */
interface PageTotal {
  blocks: number
  bytes: number
}

/**
 * Counts the bytes of the blocks that are here. Nothing is counted before somebody asks, and then only the pages of
 * the bitfield that the range touches; their totals are kept and brought up to date with each stored block, so that
 * asking again costs about as much as counting the bits.
 */
export class PresentBytes {
  // By page of the bitfield. A total whose number of blocks is not that of the bits is out of date.
  readonly #pages = new Map<number, PageTotal>()
  // So that no two callers count one page at a time.
  readonly #mutex = new Mutex()

  /** A block of `bytes` was stored. */
  stored(block: number, bytes: number): void {
    if (this.#pages.size === 0) return
    const total = this.#pages.get(Math.floor(block / PAGE_BLOCKS))
    if (total === undefined) return
    total.blocks++
    total.bytes += bytes
  }

  /** Blocks are gone. */
  forget(): void {
    this.#pages.clear()
  }

  /** Bytes of the blocks of `start` … `end` − 1 that are here. Errors: `ERR_STORAGE`. */
  sum(core: Core, start: number, end: number): Promise<number> {
    return this.#mutex.run(async () => {
      let bytes = 0
      const last = Math.min(end, core.bits.length)
      const seen = new Map<number, number>()
      for (const [from] of pagesWithBlocks(core, start, last)) {
        const page = Math.floor(from / PAGE_BLOCKS)
        const blocks = totalOf(core, page)
        if (this.#pages.get(page)?.blocks !== blocks) seen.set(page, blocks)
      }
      // A block whose bit is set may still be about to be announced to `stored`; a turn later it has been. A turn may be long
      // while blocks arrive, so the pages share one.
      if (seen.size > 0) await nextTurn()
      for (const [from, to] of pagesWithBlocks(core, start, last)) {
        const page = Math.floor(from / PAGE_BLOCKS)
        const whole = from === page * PAGE_BLOCKS && (to === (page + 1) * PAGE_BLOCKS || to >= core.length)
        bytes += whole
          ? await this.#pageBytes(core, page, seen.get(page))
          : await bytesOf(core, presentRuns(core, from, to))
        if (turnIsOver()) await nextTurn()
      }
      return bytes
    })
  }

  /** @param seen - how many blocks of the page were here a turn ago, if somebody looked */
  async #pageBytes(core: Core, page: number, seen: number | undefined): Promise<number> {
    let blocks = totalOf(core, page)
    if (this.#pages.get(page)?.blocks !== blocks && blocks !== seen) {
      await nextTurn()
      blocks = totalOf(core, page)
    }
    const known = this.#pages.get(page)
    if (known?.blocks === blocks) return known.bytes
    // What is stored from now on is added while the rest is being counted.
    const total: PageTotal = { blocks, bytes: 0 }
    this.#pages.set(page, total)
    try {
      total.bytes += await bytesOf(core, presentRuns(core, page * PAGE_BLOCKS, (page + 1) * PAGE_BLOCKS))
    } catch (error) {
      this.#pages.delete(page)
      throw error
    }
    return total.bytes
  }
}

function totalOf(core: Core, page: number): number {
  return core.bits.total(page * PAGE_BLOCKS, (page + 1) * PAGE_BLOCKS)
}

/** The part that each page of the bitfield has of `start` … `end` − 1, but of those pages only that have a block there. */
function* pagesWithBlocks(core: Core, start: number, end: number): Generator<[number, number]> {
  for (let at = core.bits.firstPresent(start, end); at !== -1; ) {
    const page = Math.floor(at / PAGE_BLOCKS)
    const to = Math.min(end, (page + 1) * PAGE_BLOCKS)
    yield [Math.max(start, page * PAGE_BLOCKS), to]
    at = core.bits.firstPresent(to, end)
  }
}

async function bytesOf(core: Core, runs: readonly [number, number][]): Promise<number> {
  const { tree } = core.storage
  let bytes = 0
  try {
    for (const [start, end] of runs) {
      // The largest subtrees that lie within the run, from left to right.
      for (let at = start; at < end; ) {
        let leaves = 1
        while (at % (2 * leaves) === 0 && at + 2 * leaves <= end) leaves *= 2
        const size = tree.sizeSync(2 * at + leaves - 1)
        bytes += size >= 0 ? size : await loadSize(tree, 2 * at + leaves - 1, size)
        at += leaves
      }
    }
  } catch (error) {
    throw storageError(error)
  }
  return bytes
}

/** Size of a node that is not in memory, or not stored itself although all blocks below it are. */
async function loadSize(tree: TreeFile, treeIndex: number, known: number): Promise<number> {
  const size = known === NOT_LOADED ? ((await tree.get(treeIndex))?.size ?? NO_NODE) : known
  if (size !== NO_NODE) return size
  if (treeIndex % 2 === 0) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
  const [left, right] = [flat.leftChild(treeIndex), flat.rightChild(treeIndex)]
  return (
    (await loadSize(tree, left, tree.sizeSync(left))) + (await loadSize(tree, right, tree.sizeSync(right)))
  )
}

/** Bytes of all blocks from `start` to `end` − 1, here or not; null if nodes that tell are not known. */
export async function totalBytes(core: Core, start: number, end: number): Promise<number | null> {
  if (end <= start) return 0
  if (end > core.length) return null
  try {
    const last = end === core.length ? core.byteLength : await byteOffset(core.storage.tree, end)
    return last - (await byteOffset(core.storage.tree, start))
  } catch (error) {
    if (DDatabaseError.is(error) && error.code === 'ERR_NODE_NOT_FOUND') return null
    throw storageError(error)
  }
}

/** Sizes of some blocks: of those that are here, and of all if they are known. Errors: `ERR_STORAGE`. */
export async function listedBytes(
  core: Core,
  blocks: Iterable<number>
): Promise<{ bytes: number; totalBytes: number | null }> {
  const { tree } = core.storage
  let bytes = 0
  let total: number | null = 0
  for (const block of blocks) {
    let size = tree.sizeSync(2 * block)
    if (size === NOT_LOADED) {
      size = (await tree.get(2 * block).catch(storageFailure))?.size ?? NO_NODE
    }
    if (size === NO_NODE) total = null
    else if (total !== null) total += size
    if (size !== NO_NODE && core.bits.get(block)) bytes += size
  }
  return { bytes, totalBytes: total }
}

function storageFailure(error: unknown): never {
  throw storageError(error)
}
