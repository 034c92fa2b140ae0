import type { FeedWatch } from './feed-watch.ts'
import type { MapWindow } from './messages.ts'

/** Cells that are told of at once. */
export const MAX_CELLS = 8192

/**
 * Cells of `span` blocks each, from block `start` on: how many blocks of each are here, and what became of the others. Costs one
 * look at the bits of the window, however long the feed is.
 */
export function mapWindow(watch: FeedWatch, start: number, span: number, cells: number): MapWindow {
  const { feed } = watch
  const { length } = feed
  const shown = Math.max(0, Math.min(cells, Math.ceil((length - start) / span)))
  const end = Math.min(length, start + shown * span)
  const present: number[] = []
  for (let cell = 0; cell < shown; cell++) {
    const from = start + cell * span
    present.push(feed.downloaded(from, Math.min(end, from + span)))
  }
  const damaged = missingOf(watch, watch.damaged.within(start, end), start, span)
  return {
    start,
    span,
    length,
    present,
    damaged: [...damaged],
    cleared: [...clearedOf(watch, present, damaged, start, end, span)],
    downloading: [...downloadingOf(watch, start, end, span)]
  }
}

/** How many of the blocks in `ranges` are not here, by cell. */
function missingOf(
  { feed }: FeedWatch,
  ranges: Iterable<[start: number, end: number]>,
  start: number,
  span: number
): Map<number, number> {
  const counts = new Map<number, number>()
  for (const [from, to] of ranges) {
    for (let at = from; at < to; ) {
      const cell = Math.floor((at - start) / span)
      const next = Math.min(to, start + (cell + 1) * span)
      add(counts, cell, next - at - feed.downloaded(at, next))
      at = next
    }
  }
  return counts
}

function clearedOf(
  watch: FeedWatch,
  present: readonly number[],
  damaged: ReadonlyMap<number, number>,
  start: number,
  end: number,
  span: number
): Map<number, number> {
  const cleared = watch.ownsEveryBlock
    ? allMissing(present, start, end, span)
    : missingOf(watch, watch.cleared.within(start, end), start, span)
  for (const [cell, count] of cleared) {
    const rest = count - (damaged.get(cell) ?? 0)
    if (rest > 0) cleared.set(cell, rest)
    else cleared.delete(cell)
  }
  return cleared
}

function allMissing(
  present: readonly number[],
  start: number,
  end: number,
  span: number
): Map<number, number> {
  const missing = new Map<number, number>()
  for (const [cell, count] of present.entries()) {
    const from = start + cell * span
    add(missing, cell, Math.min(end, from + span) - from - count)
  }
  return missing
}

function downloadingOf({ feed }: FeedWatch, start: number, end: number, span: number): Map<number, number> {
  const asked = new Set<number>()
  for (const peer of feed.peers) {
    for (const { index, hash } of peer.inflightRequests) {
      if (!hash && index >= start && index < end && !feed.has(index)) asked.add(index)
    }
  }
  const counts = new Map<number, number>()
  for (const block of asked) add(counts, Math.floor((block - start) / span), 1)
  return counts
}

function add(counts: Map<number, number>, cell: number, count: number): void {
  if (count > 0) counts.set(cell, (counts.get(cell) ?? 0) + count)
}
