/** Feeds of the published packages, which answer with promises here, as ours do, and what they can be asked. */
import { createRequire } from 'node:module'
import type { Extension } from '../../src/index.ts'
import type { RawFeed } from '../helpers/feed-face.ts'
import type { AnyFeed, Create, Maker, Member } from './sessions-members.ts'
import { type Story, TheirError } from './sessions-story.ts'

const require = createRequire(import.meta.url)
type Method = (...args: unknown[]) => unknown

const ANSWERED: ReadonlySet<string | symbol> = new Set([
  'append',
  'audit',
  'clear',
  'close',
  'get',
  'getBatch',
  'head',
  'proof',
  'ready',
  'seek',
  'update'
])
const EXTENSIONS = ['one', 'two', 'three']

/** Makes feeds of a published package. */
export function publishedMaker(name: 'ddatabase-published' | 'hypercore-published'): Maker {
  const create = require(name) as (...args: unknown[]) => RawFeed
  return { create: ((...args: unknown[]) => promised(create(...args))) as unknown as Create, isOurs: false }
}

function promised(feed: RawFeed): AnyFeed {
  // It emits every failed opening, also when ready() is told; without a listener that would be a crash.
  feed.on('error', () => {})
  return new Proxy(feed, {
    get(_, name) {
      const value = feed[name]
      if (typeof value !== 'function') return value
      return ANSWERED.has(name) ? (...args: unknown[]) => answerOf(feed, name, args) : value.bind(feed)
    },
    set: (_, name, value) => Reflect.set(feed, name, value)
  }) as unknown as AnyFeed
}

/** What it calls back with the first time: it may do so twice. */
function answerOf(feed: RawFeed, name: string | symbol, args: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const method = feed[name] as Method
    method.call(feed, ...args, (error: Error | null, value: unknown) => {
      if (error) reject(new TheirError(`${String(name)} of a published package: ${error.message}`))
      else resolve(value)
    })
  })
}

/**
 * What applications ask of published packages, as far as these do no harm to themselves by it. Left out is `update` of an author, which
 * spoils what it signs next; clearing while there are peers, as blocks that are just coming or going are lost or sent as
 * zeros; and truncations.
 */
export class PublishedCalls {
  readonly #story: Story
  readonly #extensions = new WeakMap<AnyFeed, Map<string, Extension<unknown>>>()

  constructor(story: Story) {
    this.#story = story
  }

  /** Makes a call. It may be answered or not. */
  any(member: Member): void {
    const { random } = this.#story
    const { feed, isAuthor, name, series } = member
    const index = random.below(series.blocks.length + 2)
    const ticket = random.below(70)
    if (isAuthor && ticket < 20)
      this.#story.call(`${name}: append`, () => member.append(random.pick([1, 1, 2, 10])))
    else if (ticket < 30) {
      const options = random.pick([{}, {}, { wait: false }, { ifAvailable: true }, { timeout: 5 }])
      this.#ask(member, `get ${index}`, options, () => feed.get(index, options))
    } else if (ticket < 38) {
      const end = index + random.between(1, 6)
      this.#ask(member, `getBatch ${index}`, { end }, () => feed.getBatch(index, end))
    } else if (ticket < 45) {
      const range = random.pick([
        { start: index, end: index + 5, linear: random.chance(0.5) },
        { blocks: [index, index + 2, index + 1] },
        { start: 0, end: -1 }
      ])
      this.#ask(member, 'download', range, () => void feed.download(range))
    } else if (ticket < 49 && !isAuthor) {
      const options = random.pick([{}, { ifAvailable: true }, { minLength: index }, { hash: false }])
      this.#ask(member, 'update', options, () => feed.update(options))
    } else if (ticket < 52) {
      const options = isAuthor ? {} : random.pick([{}, { update: true, ifAvailable: true }])
      this.#ask(member, 'head', options, () => feed.head(options))
    } else if (ticket < 55) {
      const options = { ifAvailable: random.chance(0.5) }
      const bytes = random.below(feed.byteLength + 20)
      this.#ask(member, `seek ${bytes}`, options, () => feed.seek(bytes, options))
    } else if (ticket < 58) {
      const end = index + random.between(1, 4)
      this.#ask(member, `cancel ${index}`, { end }, () => feed.cancel(index, end))
    } else if (ticket < 64) {
      const method = random.pick(['setDownloading', 'setUploading'] as const)
      const on = random.chance(0.6)
      this.#ask(member, method, on, () => feed[method](on))
    } else this.#extend(member)
  }

  #ask({ name }: Member, what: string, how: unknown, call: () => unknown): void {
    this.#story.note(`${name}: ${what} ${JSON.stringify(how)}`)
    const answered = async () => call()
    answered().catch(() => {})
  }

  #extend({ feed, name }: Member): void {
    const { random } = this.#story
    const extension = random.pick(EXTENSIONS)
    this.#story.note(`${name}: the extension ${extension}`)
    const known = this.#extensions.get(feed) ?? new Map<string, Extension<unknown>>()
    this.#extensions.set(feed, known)
    const there = known.get(extension)
    if (there === undefined) {
      const onerror = (error: Error) => this.#story.wrong(`a message to ${name}: ${error.stack}`)
      known.set(extension, feed.registerExtension<unknown>(extension, { encoding: 'json', onerror }))
    } else if (random.chance(0.8)) there.broadcast({ to: 'all' })
    else {
      there.destroy()
      known.delete(extension)
    }
  }
}
