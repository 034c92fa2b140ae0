/** How many bytes a second may be sent, or fetched: of one feed with all its peers, and of one stream with all its feeds. */
import { argumentRangeError, argumentTypeError } from '../errors.ts'
import { isGiven } from '../util/given.ts'

/** Where a limit gets its time from; another one in tests. */
export interface Clock {
  /** Milliseconds, from any beginning. */
  now(): number
  /** Calls `fn` after `ms` milliseconds. @returns what prevents that */
  later(ms: number, fn: () => void): () => void
}

const SYSTEM: Clock = {
  now: () => performance.now(),
  later(ms, fn) {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  }
}

// Milliseconds for which what was not used up is kept. Timers are late, and may then be made up for.
const BURST = 50

// Milliseconds that are waited for at least, so that there are not more than a hundred timers a second.
const PAUSE = 10

// Bytes that a block is taken to have as long as none has come.
const UNKNOWN_SIZE = 64 * 1024

interface Waiting {
  owner: object
  bytes: number
  go: () => void
}

/**
 * A token bucket that may be overdrawn: whoever comes while something is left may go, with however many bytes, and those who come
 * after wait until that is made up for. So over any time t at most rate · (t + 50 ms) and one message go through. Those who wait
 * go in the order in which they came.
 */
export class RateLimit {
  /** Mean of the bytes in which blocks came lately, for {@link DownloadMeter}. */
  blockSize = UNKNOWN_SIZE
  #rate = Number.POSITIVE_INFINITY
  // What may be spent at `#since`; negative: overdrawn.
  #left = 0
  #since = 0
  #queue: Waiting[] = []
  #cancelTimer: (() => void) | null = null
  readonly #clock: Clock

  constructor(clock: Clock = SYSTEM) {
    this.#clock = clock
  }

  /** Bytes a second; `Infinity`: no limit. */
  get rate(): number {
    return this.#rate
  }

  set rate(rate: number) {
    if (rate === this.#rate) return
    this.#refill()
    const most = (rate * BURST) / 1000
    // What was overdrawn is made up for neither later than before nor slower than now.
    if (!this.limits) this.#left = most
    else this.#left = Math.min(most, Math.max(this.#left, (this.#left / this.#rate) * rate))
    this.#rate = rate
    this.#since = this.#clock.now()
    this.#stopTimer()
    this.#serve()
  }

  /** Whether there is a limit. */
  get limits(): boolean {
    return this.#rate !== Number.POSITIVE_INFINITY
  }

  /** Whether something may go now. */
  get open(): boolean {
    if (!this.limits) return true
    this.#refill()
    return this.#left > 0
  }

  /** So many bytes go, whether or not they may; fewer than 0 were not needed after all. */
  spend(bytes: number): void {
    if (!this.limits) return
    this.#refill()
    this.#left -= bytes
    if (bytes < 0 && this.#left > 0) this.#serve()
  }

  /**
   * So many bytes want to go: null if they go now, else a promise of the moment. They are spent then.
   * @param owner - for {@link leave}
   */
  pass(bytes: number, owner: object): Promise<void> | null {
    if (!this.limits) return null
    if (this.#queue.length === 0 && this.open) {
      this.#left -= bytes
      return null
    }
    return new Promise((go) => this.#wait({ owner, bytes, go }))
  }

  /** Calls `go` once, as soon as something may go and those who came before have gone. An owner waits once. */
  wait(owner: object, go: () => void): void {
    if (!this.#queue.some((waiting) => waiting.owner === owner)) this.#wait({ owner, bytes: 0, go })
  }

  /** Somebody does not want to go any more: promises of {@link pass} resolve, and nothing is spent. */
  leave(owner: object): void {
    const left = this.#queue.filter((waiting) => waiting.owner === owner)
    if (left.length === 0) return
    this.#queue = this.#queue.filter((waiting) => waiting.owner !== owner)
    for (const { bytes, go } of left) if (bytes > 0) go()
    this.#serve()
  }

  #refill(): void {
    if (!this.limits) return
    const now = this.#clock.now()
    const gained = ((now - this.#since) * this.#rate) / 1000
    this.#left = Math.min(this.#left + gained, (this.#rate * BURST) / 1000)
    this.#since = now
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
  }

  #wait(waiting: Waiting): void {
    this.#queue.push(waiting)
    this.#serve()
  }

  #serve(): void {
    while (this.#queue.length > 0 && this.open) {
      const { bytes, go } = this.#queue.shift()!
      if (this.limits) this.#left -= bytes
      go()
    }
    if (this.#queue.length === 0) this.#stopTimer()
    if (this.#queue.length === 0 || this.#cancelTimer !== null) return
    const ms = Math.ceil((-this.#left * 1000) / this.#rate) + PAUSE
    this.#cancelTimer = this.#clock.later(Math.min(ms, MAX_DELAY), () => {
      this.#cancelTimer = null
      this.#serve()
    })
  }
}

// Timers cannot do more.
const MAX_DELAY = 2 ** 31 - 1

// About what a node takes in a message, and what is in it beside block and nodes.
const NODE_BYTES = 40
const OTHER_BYTES = 72

/** What counts of an answer: about its bytes on the wire, a block with its proof. */
export function answerSize(value: Uint8Array | null, nodes: readonly unknown[]): number {
  return (value === null ? 0 : value.length) + NODE_BYTES * nodes.length + OTHER_BYTES
}

/** Lets answers go when all limits that apply to them allow it. */
export class UploadMeter {
  readonly #limits: () => readonly RateLimit[]
  #left = false

  /** @param limits - those that apply, always the same ones; asked once, at the first use */
  constructor(limits: () => readonly RateLimit[]) {
    this.#limits = once(limits)
  }

  /** Null if so many bytes may leave now, else a promise of the moment, which also comes with {@link leave}; after that nothing waits. */
  pass(bytes: number): Promise<void> | null {
    // An answer may have been in the making.
    if (this.#left) return null
    let paused: Promise<void> | null = null
    for (const limit of this.#limits()) {
      paused =
        paused === null
          ? limit.pass(bytes, this)
          : paused.then(() => (this.#left ? undefined : (limit.pass(bytes, this) ?? undefined)))
    }
    return paused
  }

  /** Nothing is to leave any more. */
  leave(): void {
    this.#left = true
    for (const limit of this.#limits()) limit.leave(this)
  }
}

/**
 * Bounds what one peer is asked for. How large an answer will be is not known when it is asked for, so the mean of the answers is
 * charged, and what it was not is settled when it comes.
 */
export class DownloadMeter {
  readonly #limits: () => readonly RateLimit[]
  readonly #resume: () => void
  readonly #charged = new Map<object, number[]>()

  /**
   * @param limits - those that apply, always the same ones; asked once, at the first use
   * @param resume - called when more may be asked for, after {@link open} was false
   */
  constructor(limits: () => readonly RateLimit[], resume: () => void) {
    this.#limits = once(limits)
    this.#resume = resume
  }

  /** Whether something may be asked for now. */
  get open(): boolean {
    for (const limit of this.#limits()) {
      if (limit.open) continue
      limit.wait(this, this.#resume)
      return false
    }
    return true
  }

  /** A block is asked for. */
  asked(request: object): void {
    const limits = this.#limits()
    if (!limits.some((limit) => limit.limits)) return
    const charged = limits.map((limit) => (limit.limits ? limit.blockSize : 0))
    for (const limit of limits) limit.spend(limit.blockSize)
    this.#charged.set(request, charged)
  }

  /** An answer has come, asked for or not. */
  came(request: object | undefined, bytes: number): void {
    const charged = request === undefined ? undefined : this.#charged.get(request)
    if (request !== undefined) this.#charged.delete(request)
    let i = 0
    for (const limit of this.#limits()) {
      const before = charged?.[i++] ?? 0
      if (!limit.limits) continue
      limit.blockSize += (bytes - limit.blockSize) / 8
      limit.spend(bytes - before)
    }
  }

  /** What was asked for does not come. Without effect for what has come. */
  dropped(request: object): void {
    const charged = this.#charged.get(request)
    if (charged === undefined) return
    this.#charged.delete(request)
    let i = 0
    for (const limit of this.#limits()) limit.spend(-charged[i++]!)
  }

  /** Nothing is asked for any more. */
  leave(): void {
    for (const request of [...this.#charged.keys()]) this.dropped(request)
    for (const limit of this.#limits()) limit.leave(this)
  }
}

/** An option or a property: bytes a second, or nothing for no limit. Errors: TypeError, RangeError. */
export function checkRate(value: unknown, name: string): number {
  if (!isGiven(value)) return Number.POSITIVE_INFINITY
  if (typeof value !== 'number') throw argumentTypeError(`${name} should be a number of bytes a second`)
  if (!(value > 0)) throw argumentRangeError(`${name} should be greater than 0, got ${value}`)
  return value
}

function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}
