/** What happens in a story of turns: drawn from a seed as a whole before anything is done, so that parts of it can be left out. */
import type { DiskOptions } from '../crash/disk.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

/** Where the feed lies: where checkpoints are kept, as in a directory; where there are none; where nothing can be synchronised either. */
export type Place = 'directory' | 'plain' | 'unsynchronised'

/** Whose turn it is. */
export type Package = 'ours' | 'published'

/** One thing that is done. Numbers that are beyond the end, as when something before it was left out, are taken modulo the length. */
export type Step =
  /** One call for each list of blocks, all of them at once. */
  | { readonly what: 'append'; readonly calls: readonly (readonly Buffer[])[] }
  | { readonly what: 'clear'; readonly start: number; readonly end: number }
  | { readonly what: 'truncate'; readonly length: number }

/** From an opening to a close, or to the end of the process. */
export interface Session {
  /** After a session that was killed, and in the end, it is our turn all the same. */
  readonly by: Package
  /** Opens with `overwrite` and another key. Not the first time, and not after a session that was killed. */
  readonly overwrite: boolean
  /** Whether our package reads and writes at once. */
  readonly immediate: boolean
  readonly steps: readonly Step[]
  /** When the process is killed, as a share of the time from the opening on; null if the feed is closed. Not in the last one. */
  readonly killed: number | null
  /** Decides with the seed what is left of writes that were under way. */
  readonly salt: number
}

/** A whole story. */
export interface Plan {
  readonly seed: number
  readonly place: Place
  readonly sessions: readonly Session[]
}

/** The plan of a seed. */
export function drawPlan(seed: number): Plan {
  const random = new SeededRandom(seed)
  const place = random.pick(['directory', 'directory', 'plain', 'unsynchronised'] as const)
  const mayBeKilled = random.chance(0.4)
  const drawing = new Drawing(seed, random)
  const sessions = Array.from({ length: random.between(2, 9) }, (_, i) => drawing.session(mayBeKilled, 7 * i))
  return { seed, place, sessions }
}

/** What the storages of our package offer. Times cannot be simulated, and sizes alone do not tell what somebody else has done. */
export function diskOf({ place }: Plan, { immediate }: Session): DiskOptions {
  return { extraFiles: place === 'directory', immediate, withoutSync: place === 'unsynchronised' }
}

class Drawing {
  readonly #seed: number
  readonly #random: SeededRandom
  /** Blocks there are if nobody is killed. */
  #length = 0
  #drawn = 0

  constructor(seed: number, random: SeededRandom) {
    this.#seed = seed
    this.#random = random
  }

  session(mayBeKilled: boolean, salt: number): Session {
    const random = this.#random
    const by = random.chance(0.5) ? 'ours' : 'published'
    const overwrite = random.chance(0.08)
    if (overwrite) this.#length = 0
    return {
      by,
      overwrite,
      immediate: random.chance(0.5),
      steps: Array.from({ length: random.below(8) }, () => this.#step()),
      killed: mayBeKilled && random.chance(0.35) ? random.next() : null,
      salt
    }
  }

  #step(): Step {
    const random = this.#random
    const what = random.next()
    const length = this.#length
    if (length === 0 || what < 0.45) return this.#append([1])
    if (what < 0.65) return this.#append([random.between(1, random.chance(0.2) ? 40 : 6)])
    if (what < 0.73) return this.#append([1, 1, random.between(1, 3)])
    if (what < 0.88) {
      const start = random.below(length)
      return { what: 'clear', start, end: Math.min(length, start + random.between(1, 5)) }
    }
    this.#length = random.below(length + 1)
    return { what: 'truncate', length: this.#length }
  }

  #append(sizes: readonly number[]): Step {
    const calls = sizes.map((count) => Array.from({ length: count }, () => this.#block()))
    this.#length += calls.flat().length
    return { what: 'append', calls }
  }

  /** Empty, or one that tells where it is from. */
  #block(): Buffer {
    const random = this.#random
    if (random.chance(0.1)) return Buffer.alloc(0)
    return Buffer.from(`${this.#seed}.${this.#drawn++}`.padEnd(random.below(50), 'x'))
  }
}
