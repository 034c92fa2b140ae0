/** Writes a hash of the concatenated `inputs` into `out`. */
export type HashFunction = (out: Uint8Array, inputs: readonly Uint8Array[]) => void

/** How large an input is of which one speaks here, in bytes. Below, what surrounds a hash decides, and timings mean little. */
const LARGE = 4 * 1024
// Who hashes less than this is not worth the 10 ms and 5 MB that the other function takes to be loaded and compiled.
const WORTH_IT = 8 * 1024 * 1024
// WebAssembly is fully compiled after some 300 KB, which are part of this.
const TRIAL = 1024 * 1024
// What one is used to is kept for less than this.
const GAIN = 0.9

/** One of the two functions while they are compared. */
interface Candidate {
  readonly hash: HashFunction
  /** Bytes that it has hashed. */
  tried: number
  /** The least time for a byte, in ms: other work on the machine makes it longer, never shorter. */
  best: number
}

/**
 * Two functions that give the same hashes, and which of them is faster here, found out on the inputs that are to be hashed
 * anyway. Synchronous, and never waits: the first function hashes until the second is loaded, and if it cannot be.
 */
export class FasterHash {
  private readonly first: Candidate
  private second: Candidate | null = null
  private readonly load: () => Promise<HashFunction>
  private readonly worthLoading: () => boolean
  private readonly now: () => number
  private hashed = 0
  private loading = false
  private chosen: Candidate | null = null

  /**
   * @param load - loads the second function; where it rejects, the first is taken
   * @param worthLoading - asked once before: whether the second may be faster at all
   * @param now - milliseconds, with fractions
   */
  constructor(
    first: HashFunction,
    load: () => Promise<HashFunction>,
    worthLoading: () => boolean,
    now = () => performance.now()
  ) {
    this.first = { hash: first, tried: 0, best: Number.POSITIVE_INFINITY }
    this.load = load
    this.worthLoading = worthLoading
    this.now = now
  }

  /** Which function is faster; null as long as nobody knows. */
  get choice(): 'first' | 'second' | null {
    if (this.chosen === null) return null
    return this.chosen === this.first ? 'first' : 'second'
  }

  /** Writes the hash of the concatenated `inputs` into `out`. */
  hash(out: Uint8Array, inputs: readonly Uint8Array[]): void {
    if (this.chosen !== null) this.chosen.hash(out, inputs)
    else this.compare(out, inputs)
  }

  private compare(out: Uint8Array, inputs: readonly Uint8Array[]): void {
    const { first, second } = this
    let size = 0
    for (const input of inputs) size += input.length
    if (size < LARGE) {
      first.hash(out, inputs)
    } else if (second === null) {
      first.hash(out, inputs)
      this.hashed += size
      if (this.hashed < WORTH_IT || this.loading) return
      if (this.worthLoading()) void this.loadSecond()
      else this.chosen = first
    } else {
      const candidate = first.tried < second.tried ? first : second
      const start = this.now()
      candidate.hash(out, inputs)
      candidate.best = Math.min(candidate.best, (this.now() - start) / size)
      candidate.tried += size
      if (Math.min(first.tried, second.tried) < TRIAL) return
      this.chosen = second.best < GAIN * first.best ? second : first
    }
  }

  private async loadSecond(): Promise<void> {
    this.loading = true
    try {
      this.second = { hash: await this.load(), tried: 0, best: Number.POSITIVE_INFINITY }
    } catch {
      // No WebAssembly, or its module is not where it was installed: what one has does.
      this.chosen = this.first
    }
  }
}
