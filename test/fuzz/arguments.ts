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
import { inWords, nasty } from './nasty.ts'
import { METHODS, NastyCalls, PATIENCE, STREAM_METHODS } from './nasty-calls.ts'
import { guarded, type Outcome } from './outcome.ts'

type AnyFeed = Feed<unknown>

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

/** Runs one seed. */
export function fuzzArguments(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new Run(new SeededRandom(seed), problems).go())
}

class Run {
  readonly #random: SeededRandom
  readonly #problems: string[]
  readonly #calls: NastyCalls
  /** Blocks below this are what they were, if they are here. */
  #kept = BLOCKS.length

  constructor(random: SeededRandom, problems: string[]) {
    this.#random = random
    this.#problems = problems
    this.#calls = new NastyCalls(random, problems, BLOCKS.length + 1)
  }

  async go(): Promise<string> {
    const stage = this.#random.pick(['opening', 'open', 'open', 'open', 'closed', 'constructors'] as const)
    if (stage === 'constructors') await this.#constructors()
    else await this.#methods(stage)
    this.#calls.countCallbacks()
    return stage
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
      const args = this.#calls.arguments()
      const before = feed.length
      this.#calls.call(feed, name, args)
      if (random.chance(0.3)) await settle(1)
      this.#kept = Math.min(this.#kept, feed.length < before ? feed.length : this.#kept)
      // What truncates later, and to what, the length tells only then.
      if (name === 'truncate' && typeof args[0] === 'number') this.#kept = Math.min(this.#kept, args[0])
    }
    if (stage !== 'closed') {
      await settle(5)
      await this.#works(feed, source, writer)
    }
    this.#calls.endStreams()
    const last = random.chance(0.3) ? 'destroyStorage' : 'close'
    this.#calls.call(feed, last, random.chance(0.5) ? [] : [nasty(random)])
    await within(feed.close(), 'close', PATIENCE)
    // Nothing has to wait any more.
    await this.#calls.settled()
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
      const words = this.#calls.words('feed', args)
      let feed: AnyFeed
      try {
        feed = random.chance(0.5)
          ? (ddatabase as unknown as (...all: unknown[]) => AnyFeed)(...args)
          : new (Feed as unknown as new (...all: unknown[]) => AnyFeed)(...args)
      } catch (error) {
        this.#calls.judge(words, error)
        continue
      }
      feed.on('error', (error) => this.#calls.judge(words, error))
      const judge = (error: unknown) => this.#calls.judge(words, error)
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
        this.#calls.call(feed, name, [name === 'append' ? NEXT : 0])
      await settle(3)
      await within(feed.close().catch(judge), `close after ${words}`, PATIENCE)
      await this.#calls.settled(` of ${words}`)
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
      const words = this.#calls.words('Protocol', args)
      let stream: ProtocolStream
      try {
        stream = new ProtocolStream(...(args as [boolean]))
      } catch (error) {
        this.#calls.judge(words, error)
        continue
      }
      stream.on('error', (error) => this.#calls.judge(words, error))
      stream.on('data', () => {})
      const closed = new Promise((resolve) => stream.on('close', () => resolve(null)))
      for (let calls = random.below(6); calls > 0; calls--) {
        this.#calls.call(stream, random.pick(STREAM_METHODS), this.#calls.arguments())
        if (random.chance(0.3)) await settle(1)
      }
      if (random.chance(0.4)) this.#calls.write(words, stream as never)
      await settle(3)
      stream.destroy()
      await within(closed, `the end of ${words}`, PATIENCE)
    }
  }
}
