import { setImmediate as nextTurn } from 'node:timers/promises'
import { readBlock } from './blocks.ts'
import type { FeedWatch } from './feed-watch.ts'
import type { SearchLine } from './messages.ts'

/** Bytes of what is sought. */
export const MAX_NEEDLE = 1024
/** Matches after which a search stops; it can be taken up again. */
const MAX_MATCHES = 100
/** Bytes that are shown on either side of a match. */
const AROUND = 40
/** How long it goes on without letting others have their turn, and how often it says how far it is, in milliseconds. */
const TURN = 10
const TELL = 200

/** What to look for. */
export interface SearchQuery {
  needle: Uint8Array
  /** Whether A and a are different. Only letters of ASCII are ever the same. */
  matchCase: boolean
  /** First block. */
  from: number
}

/**
 * Looks through the blocks that are here, one at a time and in order, for the first match in each. Ends after the last block,
 * after 100 matches, or when `signal` says so.
 */
export async function* search(
  watch: FeedWatch,
  { needle, matchCase, from }: SearchQuery,
  signal: AbortSignal
): AsyncGenerator<SearchLine> {
  const { feed } = watch
  const sought = matchCase ? Buffer.from(needle) : lowerCase(needle)
  const end = feed.length
  let [searched, bytes, unreadable, matches] = [0, 0, 0, 0]
  let [turn, told] = [performance.now(), performance.now()]
  let next: number | null = null
  for (let block = from; !signal.aborted && !feed.closed; block++) {
    block = feed.bitfield?.firstPresent(block, end) ?? -1
    if (block === -1) break
    const content = await readBlock(watch, block).catch(() => null)
    searched++
    if (content === null) unreadable++
    else {
      bytes += content.byteLength
      const offset = (
        matchCase ? Buffer.from(content.buffer, content.byteOffset, content.byteLength) : lowerCase(content)
      ).indexOf(sought)
      if (offset !== -1) {
        yield { type: 'match', block, offset, ...around(content, offset, sought.byteLength) }
        if (++matches >= MAX_MATCHES) {
          next = block + 1 < end ? block + 1 : null
          break
        }
      }
    }
    const now = performance.now()
    if (now - told > TELL) {
      told = now
      yield { type: 'progress', block, searched, bytes }
    }
    if (now - turn > TURN) {
      await nextTurn()
      turn = performance.now()
    }
  }
  yield { type: 'end', searched, bytes, unreadable, next }
}

function around(
  content: Uint8Array,
  offset: number,
  size: number
): { before: string; match: string; after: string } {
  const text = (start: number, end: number) => Buffer.from(content.subarray(start, end)).toString('utf8')
  return {
    before: text(Math.max(0, offset - AROUND), offset),
    match: text(offset, offset + size),
    after: text(offset + size, offset + size + AROUND)
  }
}

function lowerCase(bytes: Uint8Array): Buffer {
  const lower = Buffer.from(bytes)
  for (let i = 0; i < lower.byteLength; i++) {
    const byte = lower[i]!
    if (byte >= 0x41 && byte <= 0x5a) lower[i] = byte + 0x20
  }
  return lower
}
