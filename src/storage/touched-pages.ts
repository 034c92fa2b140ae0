/** Pages of the `bitfield` file that may differ from a checkpoint: ranges, which only grow. */
export class TouchedPages {
  // Ascending, disjoint: pages start … end − 1.
  readonly #ranges: [start: number, end: number][] = []

  constructor(ranges: Iterable<PageRange> = []) {
    for (const range of ranges) this.add(range)
  }

  /** Ascending and disjoint. */
  get ranges(): readonly PageRange[] {
    return this.#ranges
  }

  has(page: number): boolean {
    return this.overlaps(page, page + 1)
  }

  /** Whether one of the pages `start` … `end` − 1 is among them. */
  overlaps(start: number, end: number): boolean {
    return this.#ranges.some((range) => range[0] < end && start < range[1])
  }

  /** Whether all of these pages are among them. */
  covers([start, end]: PageRange): boolean {
    return this.#ranges.some((range) => range[0] <= start && end <= range[1])
  }

  add([start, end]: PageRange): void {
    let [from, to] = [start, end]
    let at = 0
    while (at < this.#ranges.length && this.#ranges[at]![1] < from) at++
    let last = at
    for (; last < this.#ranges.length && this.#ranges[last]![0] <= to; last++) {
      from = Math.min(from, this.#ranges[last]![0])
      to = Math.max(to, this.#ranges[last]![1])
    }
    this.#ranges.splice(at, last - at, [from, to])
  }

  /** Those of them below `count`, ascending. */
  *below(count: number): Generator<number> {
    for (const [start, end] of this.#ranges) {
      for (let page = start; page < Math.min(end, count); page++) yield page
    }
  }
}

/** Pages `start` … `end` − 1. */
export type PageRange = readonly [start: number, end: number]

/** The end of a range without one. */
export const NO_END = Number.MAX_SAFE_INTEGER
