import { DDatabaseError } from 'ddatabase'
import type { FeedWatch } from './feed-watch.ts'
import type { BlockRow } from './messages.ts'

/** Blocks in a list. */
export const MAX_ROWS = 200
/** Bytes of a block that a list shows. */
const PREVIEW = 96
/** Bytes that are read for a list; of blocks beyond that only the place is told. */
const LIST_BYTES = 8 * 1024 * 1024

/** The bytes of a block that is here. Errors: `ERR_BLOCK_NOT_DOWNLOADED`, `ERR_STORAGE`, `ERR_FEED_CLOSED`. */
export function readBlock({ feed }: FeedWatch, block: number): Promise<Uint8Array> {
  return feed.get(block, { wait: false, valueEncoding: 'binary' })
}

/** Fetches a block from peers. Errors: `ETIMEDOUT`, `ERR_BLOCK_NOT_AVAILABLE`, and those of {@link readBlock}. */
export async function fetchBlock({ feed }: FeedWatch, block: number, timeout: number): Promise<void> {
  await feed.get(block, { timeout, ifAvailable: true, valueEncoding: 'binary' })
}

/** A list of `count` blocks from `start` on. */
export async function listBlocks(watch: FeedWatch, start: number, count: number): Promise<BlockRow[]> {
  const end = Math.min(watch.feed.length, start + Math.min(count, MAX_ROWS))
  const rows: BlockRow[] = []
  let bytes = 0
  for (let index = start; index < end; index++) {
    let size: number | null = null
    let preview: string | null = null
    let state = watch.stateOf(index)
    if (state === 'present' && bytes < LIST_BYTES) {
      try {
        const block = await readBlock(watch, index)
        size = block.byteLength
        bytes += size
        preview = Buffer.from(block.subarray(0, PREVIEW)).toString('hex')
      } catch (error) {
        if (watch.feed.closed) throw error
        // A block that turned out damaged is not here any more, or cannot be read.
        state = watch.feed.has(index) ? 'damaged' : watch.stateOf(index)
      }
    }
    rows.push({ index, state, size, preview })
  }
  return rows
}

/** The number of a block of the feed. Errors: `ERR_BLOCK_NOT_DOWNLOADED` for others. */
export function checkBlock({ feed }: FeedWatch, block: number): number {
  if (Number.isSafeInteger(block) && block >= 0 && block < feed.length) return block
  throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED', { message: `There is no block ${block}` })
}
