import type { Feed, Selection } from 'ddatabase'
import type { Argv } from 'yargs'
import { BATCH_BYTES } from './chunks.ts'
import type { CommonArguments, Context } from './context.ts'
import { type NetworkArguments, networkOptions } from './network.ts'
import { isKey, openFeed, parseKey, using } from './open-feed.ts'
import { borrowing } from './temporary.ts'

/** Adds the folder or key of a feed as first argument, and how peers are found for a key. */
export function feedSource(parser: Argv<CommonArguments>) {
  return networkOptions(parser).positional('feed', {
    type: 'string',
    demandOption: true,
    describe: 'Folder of the feed, or its key: then it is read from peers'
  })
}

/** A feed to read from. */
export interface Source {
  feed: Feed
  /** Whether blocks that are not here can come from peers; nothing is kept then. */
  remote: boolean
  /** Waits for something that may need peers, but not for ever. */
  patiently<T>(work: Promise<T>): Promise<T>
  /** Waits for as long as it takes. */
  withoutEnd<T>(work: Promise<T>): Promise<T>
}

const NOTHING = (): string => 'run it again then'

/** Reads from a feed in a folder, or on the network if a key is given. */
export async function reading<T>(
  args: NetworkArguments & { feed: string },
  context: Context,
  work: (source: Source) => Promise<T>
): Promise<T> {
  const { feed: word } = args
  if (!isKey(word)) {
    return using(await openFeed(context.out, word, { sparse: true }), word, (feed) =>
      work({ feed, remote: false, patiently: (waiting) => waiting, withoutEnd: (waiting) => waiting })
    )
  }
  return borrowing(parseKey(word), args, context, async (network) => {
    await network.learnLength(NOTHING)
    return work({
      feed: network.feed,
      remote: true,
      patiently: (waiting) => network.patiently(waiting, NOTHING),
      withoutEnd: (waiting) => network.withoutEnd(waiting)
    })
  })
}

// What is fetched before a slow reader gets there: the temporary folder should not take the whole feed.
const AHEAD_BYTES = 64 * 1024 * 1024
const LEAST_AHEAD = 64

/** Which blocks are read, and until when. */
export interface ReadOptions {
  start: number
  /** One past the last block; null: go on for ever with the blocks to come. */
  end: number | null
  signal: AbortSignal
}

/** The blocks in order; those that are not here are fetched if peers are there. Ends early when the signal is aborted. */
export async function* blocksOf(
  { feed, remote, patiently, withoutEnd }: Source,
  { start, end, signal }: ReadOptions
): AsyncGenerator<Uint8Array> {
  let most = LEAST_AHEAD
  // Blocks that are to come are not waited for one after the other.
  const ahead = (from: number): Selection => {
    // Nobody knows how large they are: as on average.
    most = Math.max(LEAST_AHEAD, Math.ceil((AHEAD_BYTES * feed.length) / Math.max(1, feed.byteLength)))
    const upTo = from + most < (end ?? feed.length) ? from + most : (end ?? -1)
    const download = feed.download({ start: from, end: upTo, linear: true })
    download.then(null, () => {})
    return download
  }
  let download = remote ? ahead(start) : null
  const stream = feed.createReadStream({ start, ...(end === null ? { live: true } : { end }), wait: remote })
  const stop = (): void => void stream.destroy()
  signal.addEventListener('abort', stop)
  try {
    if (signal.aborted) return
    const blocks = stream[Symbol.asyncIterator]()
    let [index, kept, keptBytes] = [start, start, 0]
    for (;;) {
      // Somebody may append much later: then it is not given up.
      const { value, done } = await (end === null ? withoutEnd : patiently)(blocks.next())
      if (done === true) return
      yield value
      index++
      keptBytes += value.byteLength
      // The copy is in a temporary folder: it should not grow with what was read. In runs, which cost no more than one block.
      if (download === null || (keptBytes < BATCH_BYTES && index - kept < most / 2)) continue
      // One that begins before would fetch it all again from the next peer.
      const before = download
      download = ahead(index)
      before.cancel()
      await feed.clear(kept, index)
      kept = index
      keptBytes = 0
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    stream.destroy()
    download?.cancel()
  }
}
