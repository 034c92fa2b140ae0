/** Calls with arguments that nobody expects, and what must hold of each: an error has a code, a callback is called once. */
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'
import { inWords, NastyError, nasty } from './nasty.ts'
import { isCoded, told } from './outcome.ts'

type Loose = Record<string, (...args: unknown[]) => unknown>

/** All that applications call. The end of a feed has a stage of its own. */
export const METHODS = [
  'append',
  'cancel',
  'clear',
  'createReadStream',
  'createWriteStream',
  'digest',
  'download',
  'downloaded',
  'extension',
  'flush',
  'get',
  'getBatch',
  'has',
  'head',
  'audit',
  'proof',
  'put',
  'ready',
  'open',
  'registerExtension',
  'replicate',
  'rootHashes',
  'seek',
  'setDownloading',
  'setExpectedLength',
  'setUploading',
  'signature',
  'toWeb',
  'toWebWritable',
  'truncate',
  'undownload',
  'update',
  'verify'
]
/** The same of protocol streams. */
export const STREAM_METHODS = [
  'open',
  'close',
  'opened',
  'remoteOpened',
  'remoteVerified',
  'requireAuthenticated',
  'finalize',
  'ping',
  'setTimeout',
  'setKeepAlive',
  'registerExtension',
  'remoteSupportsExtension'
]
/** What a function as last argument is no callback for. */
const TAKE_OTHER_FUNCTIONS = new Set(['registerExtension', 'setTimeout', 'replicate'])
// Milliseconds for what has to be answered: only a hang takes so long.
export const PATIENCE = 8000

/** Makes such calls, and keeps what they give until it is settled. */
export class NastyCalls {
  readonly #random: SeededRandom
  readonly #problems: string[]
  // The first argument is often one of these.
  readonly #indexes: number
  readonly #answers: { what: string; settled: Promise<unknown> }[] = []
  readonly #callbacks: { what: string; times: number; wanted: boolean }[] = []
  readonly #streams: { destroy(): void }[] = []

  constructor(random: SeededRandom, problems: string[], indexes: number) {
    this.#random = random
    this.#problems = problems
    this.#indexes = indexes
  }

  words(name: string, args: readonly unknown[]): string {
    return `${name}(${args.map(inWords).join(', ')})`
  }

  judge(what: string, error: unknown): void {
    // A proxy of bytes has none of its own: what the engine says of it may come out, too.
    const proxied = error instanceof TypeError && /revoked|incompatible receiver/.test(error.message)
    const own = error instanceof NastyError || proxied
    const cause = (error as { cause?: unknown } | null)?.cause
    if (!own && !isCoded(error) && !(cause instanceof NastyError)) {
      this.#problems.push(`${what}: not a coded error: ${told(error)}`)
    }
  }

  /** Makes a call and looks at what it gives, now or later. */
  call(target: object, name: string, args: unknown[]): void {
    const words = this.words(name, args)
    const method = (target as Loose)[name]
    if (typeof method !== 'function') {
      this.#problems.push(`there is no ${name}`)
      return
    }
    const all = [...args]
    const takesCallback = !TAKE_OTHER_FUNCTIONS.has(name)
    const counted =
      takesCallback && this.#random.chance(0.4) ? { what: words, times: 0, wanted: false } : null
    if (counted !== null) {
      this.#callbacks.push(counted)
      all.push((error: unknown) => {
        counted.times++
        if (error) this.judge(words, error)
      })
    }
    let result: unknown
    try {
      result = method.apply(target, all)
    } catch (error) {
      this.judge(words, error)
      if (counted !== null && counted.times > 0) this.#problems.push(`${words}: threw and called back`)
      return
    }
    this.#look(words, result)
  }

  #look(words: string, result: unknown): void {
    if (typeof result !== 'object' || result === null) return
    if (result instanceof Promise) {
      const settled = result.catch((error: unknown) => this.judge(words, error))
      this.#answers.push({ what: words, settled })
    } else if (result instanceof ReadableStream) {
      const reader = result.getReader()
      const read = () => reader.read().catch((error: unknown) => this.judge(words, error))
      this.#answers.push({ what: words, settled: read() })
      this.#streams.push({ destroy: () => void reader.cancel().catch(() => {}) })
    } else if (result instanceof WritableStream) {
      const writer = result.getWriter()
      const judge = (error: unknown) => this.judge(words, error)
      writer.closed.catch(() => {})
      this.#answers.push({ what: words, settled: writer.write(nasty(this.#random)).catch(judge) })
    } else if ('destroy' in result && 'on' in result) {
      const stream = result as {
        destroy(): void
        on(event: string, listener: (value: unknown) => void): void
      }
      stream.on('error', (error) => this.judge(words, error))
      if (!words.startsWith('replicate')) stream.on('data', () => {})
      if (words.startsWith('createWriteStream')) this.write(words, stream as never)
      this.#streams.push(stream)
    } else if ('then' in result && typeof result.then === 'function') {
      const settled = Promise.resolve(result as PromiseLike<unknown>).catch((error: unknown) =>
        this.judge(words, error)
      )
      this.#answers.push({ what: words, settled })
    } else if ('send' in result && 'broadcast' in result) {
      for (const name of ['send', 'broadcast']) {
        try {
          ;(result as Loose)[name]!(nasty(this.#random), nasty(this.#random))
        } catch (error) {
          this.judge(`${words}.${name}`, error)
        }
      }
    }
  }

  write(words: string, stream: { write(chunk: unknown): unknown }): void {
    try {
      stream.write(nasty(this.#random))
    } catch (error) {
      this.judge(`${words}.write`, error)
    }
  }

  arguments(): unknown[] {
    const random = this.#random
    const args = Array.from({ length: random.below(4) }, () => nasty(random))
    // The first one is often right, so that the others are looked at.
    if (random.chance(0.4) && args.length > 0) args[0] = random.below(this.#indexes)
    return args
  }

  /** Ends all streams that were given. */
  endStreams(): void {
    for (const stream of this.#streams) stream.destroy()
  }

  /** Waits for all answers. @param when - to be said of one that does not come */
  async settled(when = ''): Promise<void> {
    for (const { what, settled } of this.#answers) await within(settled, `${what}${when}`, PATIENCE)
  }

  /** Looks whether each callback was called as often as it should have been. */
  countCallbacks(): void {
    for (const { what, times, wanted } of this.#callbacks) {
      if (times > 1 || (wanted && times === 0)) this.#problems.push(`${what}: called back ${times} times`)
    }
  }
}
