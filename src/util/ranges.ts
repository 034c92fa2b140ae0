/** Numbers `start` … `end` − 1. */
export type Range = readonly [start: number, end: number]

/** A set of safe integers ≥ 0 that only grows, as ranges: it takes no more memory for long ones. */
export class Ranges {
  // Ascending, disjoint.
  readonly #ranges: Range[] = []

  constructor(ranges: Iterable<Range> = []) {
    for (const range of ranges) this.add(range)
  }

  /** Ascending and disjoint. */
  get ranges(): readonly Range[] {
    return this.#ranges
  }

  has(number: number): boolean {
    return this.overlaps(number, number + 1)
  }

  /** Whether one of the numbers `start` … `end` − 1 is among them. */
  overlaps(start: number, end: number): boolean {
    const range = this.#ranges[this.#endingFrom(start + 1)]
    return range !== undefined && range[0] < end
  }

  /** Whether all of these numbers are among them. */
  covers([start, end]: Range): boolean {
    const range = this.#ranges[this.#endingFrom(end)]
    return range !== undefined && range[0] <= start
  }

  add([start, end]: Range): void {
    let [from, to] = [start, end]
    const at = this.#endingFrom(start)
    let last = at
    for (; last < this.#ranges.length && this.#ranges[last]![0] <= to; last++) {
      from = Math.min(from, this.#ranges[last]![0])
      to = Math.max(to, this.#ranges[last]![1])
    }
    this.#ranges.splice(at, last - at, [from, to])
  }

  /** Which range is the first that ends at `end` or later. */
  #endingFrom(end: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#ranges[middle]![1] < end) low = middle + 1
      else high = middle
    }
    return low
  }
}
