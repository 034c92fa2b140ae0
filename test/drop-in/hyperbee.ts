/** hyperbee 1, a sorted map written for hypercore 9, as the tests of this folder use it. It ships no types. */
import { createRequire } from 'node:module'
import type { FeedFace } from '../helpers/feed-face.ts'
import { within } from '../helpers/watchdog.ts'

/** A value and where it is stored. */
export interface Entry {
  seq: number
  key: string
  value: string | null
}

/** Bounds of keys. */
export interface Range {
  gt?: string
  gte?: string
  lt?: string
  lte?: string
  limit?: number
  reverse?: boolean
}

/** A stream of hyperbee. */
export type BeeStream<T> = AsyncIterable<T> & { destroy(): void }

/** A map, or a part or an old version of it. */
export interface Bee {
  readonly version: number
  ready(): Promise<void>
  get(key: string): Promise<Entry | null>
  put(key: string, value: string, options?: { cas?(old: Entry, next: Entry): boolean }): Promise<void>
  del(key: string): Promise<void>
  peek(range: Range): Promise<Entry | null>
  batch(): BeeBatch
  sub(prefix: string): Bee
  checkout(version: number): Bee
  snapshot(): Bee
  createReadStream(range?: Range): BeeStream<Entry>
  createHistoryStream(options?: object): BeeStream<Entry & { type: 'put' | 'del' }>
  createDiffStream(right: Bee | number, range?: Range): BeeStream<{ left: Entry | null; right: Entry | null }>
}

/** Changes that are written together. */
export interface BeeBatch {
  get(key: string): Promise<Entry | null>
  put(key: string, value: string): Promise<void>
  del(key: string): Promise<void>
  flush(): Promise<void>
  destroy(): void
}

const Hyperbee = createRequire(import.meta.url)('hyperbee') as new (feed: unknown, options: object) => Bee

/** A map of texts in a feed. Each method fails if it never answers. */
export function beeIn(feed: FeedFace, options: object = {}): Bee {
  return watched(new Hyperbee(feed.feed, { keyEncoding: 'utf-8', valueEncoding: 'utf-8', ...options }))
}

/** `bee`, but a method that never answers fails. */
function watched<T extends object>(bee: T): T {
  return new Proxy(bee, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        // Parts of the map that are given back come as they are.
        const answer: unknown = member.apply(target, args)
        if (answer instanceof Promise) return within(answer, String(name))
        const isPart = ['batch', 'sub', 'checkout', 'snapshot'].includes(String(name))
        return isPart ? watched(answer as object) : answer
      }
    }
  })
}

/** Everything that a stream gives. */
export function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const collect = async () => {
    const values: T[] = []
    for await (const value of stream) values.push(value)
    return values
  }
  return within(collect(), 'the stream')
}

/** Entries as `key=value`. */
export async function pairs(stream: AsyncIterable<Entry>): Promise<string[]> {
  return (await all(stream)).map(({ key, value }) => `${key}=${value}`)
}

/** `from` … `to` − 1 as keys that sort like the numbers. */
export function keys(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => String(from + i).padStart(4, '0'))
}
