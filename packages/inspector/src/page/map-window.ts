/** Which part of a feed a map shows: cells of `span` blocks, a power of two, from block `start` on. */
export interface Place {
  start: number
  span: number
}

/** The smallest cells in which `capacity` of them show everything. */
export function wholeFeed(length: number, capacity: number): Place {
  let span = 1
  while (span * capacity < length) span *= 2
  return { start: 0, span }
}

/** A window with these cells, and `block` in the middle if that is possible. */
export function aroundBlock(block: number, span: number, length: number, capacity: number): Place {
  const { span: most } = wholeFeed(length, capacity)
  const taken = Math.min(span, most)
  return clamp({ start: block - Math.floor(capacity / 2) * taken, span: taken }, length, capacity)
}

/** Moved by `cells`. */
export function moved({ start, span }: Place, cells: number, length: number, capacity: number): Place {
  return clamp({ start: start + cells * span, span }, length, capacity)
}

/** A window that begins at a whole cell within the feed, and does not go further beyond its end than it must. */
function clamp({ start, span }: Place, length: number, capacity: number): Place {
  const last = Math.max(0, Math.ceil(length / span) - capacity)
  return { start: Math.max(0, Math.min(last, Math.floor(start / span))) * span, span }
}
