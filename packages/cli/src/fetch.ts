import type { Feed } from 'ddatabase'
import type { Context } from './context.ts'
import { Failure } from './exit.ts'
import { aborted } from './interrupt.ts'
import type { Network, Remedy } from './network.ts'
import type { Progress } from './progress.ts'
import type { BlockRange } from './range.ts'
import { size } from './units.ts'

/** What is to be fetched. */
export interface Wanted {
  /** Only these blocks; null: all. */
  range: BlockRange | null
  /** No blocks, only the length and the hashes that prove it, unless there is a range. */
  sparse: boolean
}

/** What came of it. */
export interface Fetched {
  /** Blocks that came in this run. */
  blocks: number
  bytes: number
  milliseconds: number
}

// How often a person gets to see how far it is, in milliseconds.
const SHOW = 200

/**
 * Fetches what is wanted and not here, and shows how far it is. Returns when it is all here; what has come is kept
 * whatever happens.
 */
export async function fetchWanted(
  network: Network,
  wanted: Wanted,
  context: Context,
  remedy: Remedy
): Promise<Fetched> {
  const { feed } = network
  const started = performance.now()
  const before = feed.stats!.totals.downloadedBlocks
  const bytesBefore = feed.stats!.totals.downloadedBytes
  if (network.peers === 0) context.out.note('Looking for peers …')
  await network.learnLength(remedy)
  checkRange(wanted.range, feed)
  if (!wanted.sparse || wanted.range !== null) {
    await context.out.showing('fetching', async (progress) => {
      // The author may append while it is fetched.
      for (let length = -1; length < feed.length; ) {
        length = feed.length
        const { start, end } = wanted.range ?? { start: 0, end: null }
        await fetchRange(network, start, end ?? length, progress, context, remedy)
        if (wanted.range?.end === undefined || wanted.range.end === null) await network.learnLength(remedy)
      }
    })
  }
  const { downloadedBlocks, downloadedBytes } = feed.stats!.totals
  return {
    blocks: downloadedBlocks - before,
    bytes: downloadedBytes - bytesBefore,
    milliseconds: performance.now() - started
  }
}

/** Fetches everything that is wanted as it is appended, and tells of it, until Ctrl-C. */
export async function follow(network: Network, wanted: Wanted, { out, signal }: Context): Promise<void> {
  const { feed } = network
  feed.on('download', (index, { byteLength: bytes }) => {
    out.event(`Block ${index} has come, ${size(bytes)}.`, { event: 'block', index, bytes }).catch(() => {})
  })
  const { range, sparse } = wanted
  // Of a range that ends nothing is to come.
  const grows = range === null ? !sparse : range.end === null
  if (grows) feed.download({ start: range?.start ?? 0, end: -1, signal }).then(null, () => {})
  else void keepUp(feed, signal)
  await network.withoutEnd(out.whileRead(aborted(signal)))
}

async function keepUp(feed: Feed, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await feed.update({ signal }).catch(() => {})
}

async function fetchRange(
  network: Network,
  start: number,
  end: number,
  progress: Progress,
  { signal }: Context,
  remedy: Remedy
): Promise<void> {
  const { feed } = network
  const download = feed.download({ start, end, signal })
  const first = await download.progress()
  let counting = false
  const show = async (): Promise<void> => {
    if (counting) return
    counting = true
    try {
      const { blocks, totalBlocks, bytes, totalBytes } = await download.progress()
      const { peers } = network
      // Sizes are known of a whole feed; of a part of one as its blocks come.
      if (totalBytes !== null) progress.at({ done: bytes, total: totalBytes, before: first.bytes, peers })
      else progress.at({ done: blocks, total: totalBlocks, unit: 'blocks', before: first.blocks, peers })
    } catch {
      // The feed was closed meanwhile.
    } finally {
      counting = false
    }
  }
  const timer = setInterval(show, SHOW)
  try {
    await show()
    await network.patiently(Promise.resolve(download), remedy)
    await show()
  } finally {
    clearInterval(timer)
    download.cancel()
  }
}

function checkRange(range: BlockRange | null, feed: Feed): void {
  if (range === null) return
  const end = range.end ?? range.start + 1
  if (end > feed.length) {
    throw new Failure('missing', `The feed has ${feed.length} blocks, so there is no block ${end - 1}.`)
  }
}
