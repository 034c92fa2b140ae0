/** More ranges than this are not kept apart: what a list of them costs stays small. */
const MAX_RANGES = 100_000

/** A set of numbers ≥ 0 as ranges: ascending, without overlaps. */
export class Ranges {
  readonly #starts: number[] = []
  readonly #ends: number[] = []

  /** Adds `start` … `end` − 1. Ignored if there are too many ranges already. */
  add(start: number, end: number): void {
    if (end <= start) return
    // The first range that touches or follows the new one, and the first one beyond it.
    const from = firstAtLeast(this.#ends, start)
    const to = firstAtLeast(this.#starts, end + 1)
    if (from === to && this.#starts.length >= MAX_RANGES) return
    const low = from < to ? Math.min(start, this.#starts[from]!) : start
    const high = from < to ? Math.max(end, this.#ends[to - 1]!) : end
    this.#starts.splice(from, to - from, low)
    this.#ends.splice(from, to - from, high)
  }

  /** Whether `value` is in the set. */
  has(value: number): boolean {
    const at = firstAtLeast(this.#ends, value + 1)
    return at < this.#starts.length && this.#starts[at]! <= value
  }

  /** The ranges within `start` … `end` − 1, cut to it. */
  *within(start: number, end: number): Generator<[start: number, end: number]> {
    for (let at = firstAtLeast(this.#ends, start + 1); at < this.#starts.length; at++) {
      const from = Math.max(start, this.#starts[at]!)
      const to = Math.min(end, this.#ends[at]!)
      if (from >= end) return
      yield [from, to]
    }
  }

  /** Whether there are none. */
  get empty(): boolean {
    return this.#starts.length === 0
  }
}

function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}
