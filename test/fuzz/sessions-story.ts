/** What is done in a run of the fuzzer of sessions, what came of it, and what was wrong. */
import { DDatabaseError } from '../../src/errors.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { isCoded, told } from './outcome.ts'

// Milliseconds for what has to be answered: only a hang takes so long.
const PATIENCE = 8000
// Lines of a story that a failure tells.
const TOLD = 60

/** Why a call may fail that nobody has spoilt. */
const REASONS = new Set([
  'ECANCELED',
  'ERR_BLOCK_NOT_AVAILABLE',
  'ERR_BLOCK_NOT_DOWNLOADED',
  'ERR_FEED_CLOSED',
  'ERR_FEED_EMPTY',
  'ERR_FEED_NOT_OPEN',
  'ERR_NOT_WRITABLE',
  'ERR_NO_PROOF',
  'ERR_REQUEST_CANCELLED',
  'ERR_RESOURCE_CLOSED',
  'ERR_SEEK_NOT_AVAILABLE',
  'ERR_SEEK_NOT_FOUND',
  'ERR_SEEK_OUT_OF_BOUNDS',
  'ERR_UNEXPECTED_LENGTH',
  'ERR_UPDATE_NOT_AVAILABLE',
  'ETIMEDOUT'
])
/** Why a connection may end: it was cut, or one of the feeds was closed. */
const ENDINGS = new Set(['ERR_FEED_CLOSED', 'ERR_STREAM_TRUNCATED'])

/** What an application destroys a stream with. */
export class OwnError extends Error {}

/** What a published package has answered. */
export class TheirError extends Error {}

/** What differs between the fuzzers that have a story. */
export interface Setting {
  /** Whether authors truncate; drawn if it is not said. */
  truncates?: boolean
  /** Whether an error has a reason that was put in its way. */
  isExcused?(error: unknown): boolean
}

/** The story of one run. */
export class Story {
  readonly random: SeededRandom
  readonly problems: string[]
  readonly isExcused: (error: unknown) => boolean
  /** Whether authors truncate: then there are other histories, and nothing is certain but that all calls end, with codes. */
  readonly truncates: boolean
  /** Whether feeds of this package are asked for places. */
  seeks = true
  readonly #lines: string[] = []
  readonly #answers: { what: string; settled: Promise<unknown> }[] = []
  readonly #ends: (() => void)[] = []
  // How many things may still be done from within events, each of which may cause others, and how often one is.
  #within = 0
  readonly #often: number

  constructor(random: SeededRandom, problems: string[], { truncates, isExcused }: Setting = {}) {
    this.isExcused = isExcused ?? (() => false)
    this.random = random
    this.problems = problems
    this.truncates = truncates ?? random.chance(0.15)
    this.#often = random.pick([0.03, 0.06, 0.2])
  }

  /** The last lines. */
  get lines(): string {
    return this.#lines.slice(-TOLD).join('\n')
  }

  note(what: string): void {
    this.#lines.push(what)
  }

  wrong(what: string): void {
    this.problems.push(what)
  }

  /** Makes a call, and looks at what it answers, now or later. */
  call<V>(what: string, call: () => PromiseLike<V> | V, check?: (value: V) => void): void {
    this.note(what)
    const settled = (async () => {
      try {
        const value = await call()
        check?.(value)
      } catch (error) {
        const expected =
          error instanceof TheirError ||
          (isCoded(error) && (this.truncates || REASONS.has(error.code) || this.isExcused(error)))
        if (!expected) this.wrong(`${what}: ${told(error)}`)
      }
    })()
    this.#answers.push({ what, settled })
  }

  /** Looks at why a connection has ended. Nobody here does anything that peers could be accused of. */
  ending(error: unknown): void {
    // A stream hears from `streamx` that the other one of the pipe is gone.
    if (error instanceof OwnError || /premature|destroyed|stream closed/i.test(String(error))) return
    if (this.isExcused(error)) return
    const code = DDatabaseError.is(error) ? error.code : 'none'
    if (!ENDINGS.has(code) && !(this.truncates && code !== 'none')) this.wrong(`a connection: ${told(error)}`)
  }

  /** Looks at why a published package has ended a connection: it has nothing to accuse this one of, either. */
  theirEnding(name: string, error: Error): void {
    if (error instanceof OwnError || /^closed$|premature|destroyed|stream closed/i.test(error.message)) return
    this.wrong(`${name} ends a connection: ${told(error)}`)
  }

  /** Does something from within an event, now and then. */
  within(event: string, act: () => void, often = this.#often): void {
    if (this.#within === 0 || !this.random.chance(often)) return
    this.#within--
    this.note(`within ${event}:`)
    act()
  }

  /** From now on things are done from within events. */
  storm(): void {
    this.#within = this.random.pick([0, 12, 50])
  }

  /** Nothing is done from within events any more. */
  calm(): void {
    this.#within = 0
    this.note('calm')
  }

  /** Does something now, or soon. */
  soon(act: () => void): void {
    const { random } = this
    random.pick([
      act,
      () => queueMicrotask(act),
      () => setImmediate(act),
      () => setTimeout(act, random.below(12))
    ])()
  }

  /** Does something when all is over. */
  atLast(act: () => void): void {
    this.#ends.push(act)
  }

  /** Ends what was to be ended at last, and waits for all calls. */
  async over(): Promise<void> {
    for (const end of this.#ends) end()
    for (const { what, settled } of this.#answers) await this.answered(settled, what)
  }

  /** What must be answered. */
  answered<V>(promise: PromiseLike<V>, what: string): Promise<V> {
    return within(promise, what, PATIENCE)
  }

  /** What must come to be. */
  async until(holds: () => boolean, what: string): Promise<void> {
    const end = Date.now() + PATIENCE
    while (!holds()) {
      if (Date.now() > end) throw new Error(`never: ${what}`)
      await settle(3)
    }
  }

  /** The code that a call must fail with, or what it has answered. */
  async codeOf(promise: PromiseLike<unknown>, what: string): Promise<unknown> {
    try {
      return await this.answered(promise, what)
    } catch (error) {
      return isCoded(error) ? error.code : error
    }
  }
}
