/**
 * Arguments that nobody expects, to every public method of feeds and protocol streams, and to their constructors: before a feed
 * is open, while it is, and after it was closed.
 *
 * What must hold: the call throws or answers an error with a code, or does something sensible; every callback is called once;
 * nothing hangs or escapes; the feed works afterwards, and what it has is true.
 */
import ddatabase, { Feed } from '../../src/index.ts'
import { ProtocolStream } from '../../src/replication/stream.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { inWords, NastyError, nasty } from './nasty.ts'
import { guarded, isCoded, type Outcome, told } from './outcome.ts'

type Loose = Record<string, (...args: unknown[]) => unknown>
type AnyFeed = Feed<unknown>

/** All that applications call. The end of a feed has a stage of its own. */
const METHODS = [
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
const STREAM_METHODS = [
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
const OPTIONS = [
  'key',
  'secretKey',
  'createIfMissing',
  'overwrite',
  'storeSecretKey',
  'writable',
  'live',
  'sparse',
  'eagerUpdate',
  'valueEncoding',
  'maxRequests',
  'downloading',
  'uploading',
  'allowPush',
  'ifAvailable',
  'indexing',
  'onwrite',
  'stats',
  'crypto',
  'durability',
  'verify',
  'repair',
  'noiseKeyPair',
  'timeouts',
  'cache',
  'storageCacheSize'
]
const STREAM_OPTIONS = [
  'encrypted',
  'authenticated',
  'requireAuthenticated',
  'noise',
  'keyPair',
  'timeout',
  'live',
  'limits',
  'dialect',
  'recorded',
  'onauthenticate',
  'onhandshake'
]
const BLOCKS = Array.from({ length: 5 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')
// Milliseconds for what has to be answered: only a hang takes so long.
const PATIENCE = 8000

/** Runs one seed. */
export function fuzzArguments(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new Run(new SeededRandom(seed), problems).go())
}

class Run {
  readonly #random: SeededRandom
  readonly #problems: string[]
  readonly #answers: { what: string; settled: Promise<unknown> }[] = []
  readonly #callbacks: { what: string; times: number; wanted: boolean }[] = []
  readonly #streams: { destroy(): void }[] = []
  /** Blocks below this are what they were, if they are here. */
  #kept = BLOCKS.length

  constructor(random: SeededRandom, problems: string[]) {
    this.#random = random
    this.#problems = problems
  }

  async go(): Promise<string> {
    const stage = this.#random.pick(['opening', 'open', 'open', 'open', 'closed', 'constructors'] as const)
    if (stage === 'constructors') await this.#constructors()
    else await this.#methods(stage)
    for (const { what, times, wanted } of this.#callbacks) {
      if (times > 1 || (wanted && times === 0)) this.#problems.push(`${what}: called back ${times} times`)
    }
    return stage
  }

  #words(name: string, args: readonly unknown[]): string {
    return `${name}(${args.map(inWords).join(', ')})`
  }

  #judge(what: string, error: unknown): void {
    // A proxy of bytes has none of its own: what the engine says of it may come out, too.
    const proxied = error instanceof TypeError && /revoked|incompatible receiver/.test(error.message)
    const own = error instanceof NastyError || proxied
    const cause = (error as { cause?: unknown } | null)?.cause
    if (!own && !isCoded(error) && !(cause instanceof NastyError)) {
      this.#problems.push(`${what}: not a coded error: ${told(error)}`)
    }
  }

  /** Makes a call and looks at what it gives, now or later. */
  #call(target: object, name: string, args: unknown[]): void {
    const words = this.#words(name, args)
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
        if (error) this.#judge(words, error)
      })
    }
    let result: unknown
    try {
      result = method.apply(target, all)
    } catch (error) {
      this.#judge(words, error)
      if (counted !== null && counted.times > 0) this.#problems.push(`${words}: threw and called back`)
      return
    }
    this.#look(words, result)
  }

  #look(words: string, result: unknown): void {
    if (typeof result !== 'object' || result === null) return
    if (result instanceof Promise) {
      const settled = result.catch((error: unknown) => this.#judge(words, error))
      this.#answers.push({ what: words, settled })
    } else if (result instanceof ReadableStream) {
      const reader = result.getReader()
      const read = () => reader.read().catch((error: unknown) => this.#judge(words, error))
      this.#answers.push({ what: words, settled: read() })
      this.#streams.push({ destroy: () => void reader.cancel().catch(() => {}) })
    } else if (result instanceof WritableStream) {
      const writer = result.getWriter()
      const judge = (error: unknown) => this.#judge(words, error)
      writer.closed.catch(() => {})
      this.#answers.push({ what: words, settled: writer.write(nasty(this.#random)).catch(judge) })
    } else if ('destroy' in result && 'on' in result) {
      const stream = result as {
        destroy(): void
        on(event: string, listener: (value: unknown) => void): void
      }
      stream.on('error', (error) => this.#judge(words, error))
      if (!words.startsWith('replicate')) stream.on('data', () => {})
      if (words.startsWith('createWriteStream')) this.#write(words, stream as never)
      this.#streams.push(stream)
    } else if ('then' in result && typeof result.then === 'function') {
      const settled = Promise.resolve(result as PromiseLike<unknown>).catch((error: unknown) =>
        this.#judge(words, error)
      )
      this.#answers.push({ what: words, settled })
    } else if ('send' in result && 'broadcast' in result) {
      for (const name of ['send', 'broadcast']) {
        try {
          ;(result as Loose)[name]!(nasty(this.#random), nasty(this.#random))
        } catch (error) {
          this.#judge(`${words}.${name}`, error)
        }
      }
    }
  }

  #write(words: string, stream: { write(chunk: unknown): unknown }): void {
    try {
      stream.write(nasty(this.#random))
    } catch (error) {
      this.#judge(`${words}.write`, error)
    }
  }

  #arguments(): unknown[] {
    const random = this.#random
    const args = Array.from({ length: random.below(4) }, () => nasty(random))
    // The first one is often right, so that the others are looked at.
    if (random.chance(0.4) && args.length > 0) args[0] = random.below(BLOCKS.length + 1)
    return args
  }

  async #methods(stage: 'opening' | 'open' | 'closed'): Promise<void> {
    const random = this.#random
    const files = new MemoryFiles()
    const source = ddatabase(files.factory() as never) as AnyFeed
    await source.append(BLOCKS)
    const writer = random.chance(0.6)
    const stored = writer ? files : new MemoryFiles()
    if (writer) await source.close()
    const options = { sparse: true, ...(random.chance(0.2) && { ifAvailable: true }) }
    const make = () => ddatabase(stored.factory() as never, writer ? null : source.key, options) as AnyFeed
    const feed = make()
    feed.on('error', () => {})
    if (stage !== 'opening') await feed.ready()
    if (stage === 'closed') await feed.close()
    for (let left = random.between(3, 15); left > 0; left--) {
      const name = random.pick(METHODS)
      const args = this.#arguments()
      const before = feed.length
      this.#call(feed, name, args)
      if (random.chance(0.3)) await settle(1)
      this.#kept = Math.min(this.#kept, feed.length < before ? feed.length : this.#kept)
      // What truncates later, and to what, the length tells only then.
      if (name === 'truncate' && typeof args[0] === 'number') this.#kept = Math.min(this.#kept, args[0])
    }
    if (stage !== 'closed') {
      await settle(5)
      await this.#works(feed, source, writer)
    }
    for (const stream of this.#streams) stream.destroy()
    const last = random.chance(0.3) ? 'destroyStorage' : 'close'
    this.#call(feed, last, random.chance(0.5) ? [] : [nasty(random)])
    await within(feed.close(), 'close', PATIENCE)
    // Nothing has to wait any more.
    for (const { what, settled } of this.#answers) await within(settled, what, PATIENCE)
    await settle(3)
    await source.close()
  }

  /** The feed does what feeds do. */
  async #works(feed: AnyFeed, source: AnyFeed, writer: boolean): Promise<void> {
    const wrong = (what: string) => this.#problems.push(`afterwards: ${what}`)
    await within(feed.ready(), 'ready', PATIENCE)
    if (writer) {
      const index = await within(feed.append(NEXT), 'append', PATIENCE)
      if (index !== feed.length - 1) wrong(`append gave ${index} at ${feed.length}`)
      const got = await within(feed.get(index, { wait: false, valueEncoding: 'binary' }), 'get', PATIENCE)
      if (!NEXT.equals(got as Uint8Array)) wrong(`block ${index} is ${inWords(got)}`)
    } else {
      const proof = await source.proof(3, { digest: feed.digest(3) })
      await within(feed.put(3, BLOCKS[3], proof), 'put', PATIENCE)
      if (!feed.has(3)) wrong('a block was put and is not here')
    }
    for (let index = 0; index < Math.min(this.#kept, feed.length); index++) {
      if (!feed.has(index)) continue
      const got = await within(feed.get(index, { valueEncoding: 'binary' }), `get(${index})`, PATIENCE)
      if (!BLOCKS[index]!.equals(got as Uint8Array)) wrong(`block ${index} is ${inWords(got)}`)
    }
    const { invalid } = await within(feed.audit(), 'audit', PATIENCE)
    if (invalid !== 0) wrong(`audit: ${invalid}`)
  }

  async #constructors(): Promise<void> {
    const random = this.#random
    for (let left = 4; left > 0; left--) {
      const options: Record<string, unknown> = {}
      for (const name of random.shuffle(OPTIONS).slice(0, random.between(1, 3))) options[name] = nasty(random)
      const storage = random.chance(0.7) ? new MemoryFiles().factory() : this.#storage()
      const args = random.pick([
        [storage, options],
        [storage, null, options],
        [storage, nasty(random)],
        [storage, nasty(random), options],
        [storage, Buffer.alloc(32, 1), nasty(random)]
      ])
      const words = this.#words('feed', args)
      let feed: AnyFeed
      try {
        feed = random.chance(0.5)
          ? (ddatabase as unknown as (...all: unknown[]) => AnyFeed)(...args)
          : new (Feed as unknown as new (...all: unknown[]) => AnyFeed)(...args)
      } catch (error) {
        this.#judge(words, error)
        continue
      }
      feed.on('error', (error) => this.#judge(words, error))
      const judge = (error: unknown) => this.#judge(words, error)
      // A storage that never answers keeps its feed from opening, and from closing.
      const opened = await Promise.race([
        feed.ready().then(
          () => true,
          (error) => {
            judge(error)
            return true
          }
        ),
        settle(60).then(() => false)
      ])
      if (!opened) continue
      for (const name of ['append', 'get', 'update', 'audit'])
        this.#call(feed, name, [name === 'append' ? NEXT : 0])
      await settle(3)
      await within(feed.close().catch(judge), `close after ${words}`, PATIENCE)
      for (const { what, settled } of this.#answers) await within(settled, `${what} of ${words}`, PATIENCE)
    }
    await this.#protocol()
  }

  /** Not a name: that would be a folder. */
  #storage(): unknown {
    const random = this.#random
    const value = nasty(random)
    const other = nasty(random)
    if (typeof value === 'string' || inWords(value).startsWith('String')) return () => value
    return random.pick<unknown>([
      value,
      () => value,
      () => ({ read: value, write: other }),
      () => ({
        read: (_offset: number, _size: number, callback: (...all: unknown[]) => void) =>
          callback(value, other),
        write: (_offset: number, _data: unknown, callback: (...all: unknown[]) => void) => callback(other)
      })
    ])
  }

  async #protocol(): Promise<void> {
    const random = this.#random
    for (let left = 3; left > 0; left--) {
      const options: Record<string, unknown> = {}
      for (const name of random.shuffle(STREAM_OPTIONS).slice(0, random.below(3)))
        options[name] = nasty(random)
      const args = random.chance(0.8) ? [random.chance(0.5), options] : [nasty(random), nasty(random)]
      const words = this.#words('Protocol', args)
      let stream: ProtocolStream
      try {
        stream = new ProtocolStream(...(args as [boolean]))
      } catch (error) {
        this.#judge(words, error)
        continue
      }
      stream.on('error', (error) => this.#judge(words, error))
      stream.on('data', () => {})
      const closed = new Promise((resolve) => stream.on('close', () => resolve(null)))
      for (let calls = random.below(6); calls > 0; calls--) {
        this.#call(stream, random.pick(STREAM_METHODS), this.#arguments())
        if (random.chance(0.3)) await settle(1)
      }
      if (random.chance(0.4)) this.#write(words, stream as never)
      await settle(3)
      stream.destroy()
      await within(closed, `the end of ${words}`, PATIENCE)
    }
  }
}
