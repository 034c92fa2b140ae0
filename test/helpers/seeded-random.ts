/** A small reproducible random source, so that every random test can be repeated from its seed. */
export class SeededRandom {
  #state: number

  /** @param seed - any integer; equal seeds give equal sequences */
  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A number in [0, 1) (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  /** An integer in [0, bound); 0 if bound is 0. */
  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.next() < p
  }

  /** One of the elements. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  /** `size` random bytes. */
  bytes(size: number): Buffer {
    const out = Buffer.alloc(size)
    for (let i = 0; i < size; i++) out[i] = this.below(256)
    return out
  }

  /** A shuffled copy. */
  shuffle<T>(list: readonly T[]): T[] {
    const out = [...list]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const swap = out[i] as T
      out[i] = out[j] as T
      out[j] = swap
    }
    return out
  }
}

/** The seed to start from: `DDATABASE_SEED` if set, else `fallback` (a constant, so that CI is repeatable). */
export function seedFromEnvironment(fallback: number): number {
  const given = process.env.DDATABASE_SEED
  return given === undefined || given === '' ? fallback : Number(given)
}

/**
 * How many runs to make: `DDATABASE_RUNS` if set; one if a seed is being replayed; else `fallback`.
 */
export function runsFromEnvironment(fallback: number): number {
  const given = process.env.DDATABASE_RUNS
  if (given !== undefined && given !== '') return Number(given)
  return process.env.DDATABASE_SEED ? 1 : fallback
}
