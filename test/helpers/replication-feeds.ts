/** Feeds with content, and pairs of them that replicate. */
import { createRequire } from 'node:module'
import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import type { FeedFace } from './feed-face.ts'
import { type CodedError, ending, join } from './replication-pipes.ts'
import { type AnyFeed, type AnyStream, replicating, type Subject } from './replication-subjects.ts'
import { within } from './watchdog.ts'

const RAM_3 = createRequire(import.meta.url)('random-access-memory-3') as () => unknown

/** Storage in memory that the implementation can use. */
export function memory(subject: Subject): unknown {
  return subject.isOurs ? () => new RAM({ pageSize: 4096 }) : () => RAM_3()
}

/** Makes feeds of one implementation in memory and closes them at the end of the test. */
export class Bench {
  readonly subject: Subject
  readonly #feeds: FeedFace[] = []

  constructor(t: Test, subject: Subject) {
    this.subject = subject
    t.teardown(() => this.close())
  }

  /** A new feed, opened. */
  async feed(key: Uint8Array | null = null, options: object = {}): Promise<FeedFace> {
    const feed = this.opening(key, options)
    await feed.ready()
    return feed
  }

  /** A feed that may not be open yet. */
  opening(key: Uint8Array | null = null, options: object = {}): FeedFace {
    const feed = this.subject.open(memory(this.subject), key, options)
    this.#feeds.push(feed)
    return feed
  }

  /** A writable feed with these blocks, in one batch. */
  async writer(blocks: readonly unknown[] = [], options: object = {}): Promise<FeedFace> {
    const feed = await this.feed(null, options)
    if (blocks.length > 0) await feed.append([...blocks])
    return feed
  }

  /** An empty replica of a feed. */
  replica(of: FeedFace, options: object = {}): Promise<FeedFace> {
    return this.feed(of.key, options)
  }

  /** A replica of a feed that fetches nothing by itself. */
  sparse(of: FeedFace, options: object = {}): Promise<FeedFace> {
    return this.replica(of, { sparse: true, ...options })
  }

  /** Closes all feeds. */
  async close(): Promise<void> {
    await Promise.all(this.#feeds.splice(0).map((feed) => feed.close().catch(() => {})))
  }
}

/** Two feeds on one connection. */
export interface Connection {
  readonly a: AnyStream
  readonly b: AnyStream
  /** How the two streams end. */
  readonly ends: Promise<[CodedError | null, CodedError | null]>
  /** Destroys both streams and waits until they are closed. */
  cut(): Promise<void>
}

/** Connects two streams. */
export function connectStreams(a: AnyStream, b: AnyStream): Connection {
  const ends = Promise.all([ending(a, 'the first stream'), ending(b, 'the second stream')])
  ends.catch(() => {})
  join(a, b)
  return {
    a,
    b,
    ends,
    async cut() {
      a.destroy()
      b.destroy()
      await ends
    }
  }
}

/** Connects two feeds in memory: the first one initiates. */
export function connect(a: FeedFace, b: FeedFace, options: object = {}, optionsOfB = options): Connection {
  return connectStreams(
    replicating(a).replicate(true, { ...options }),
    replicating(b).replicate(false, { ...optionsOfB })
  )
}

/** Waits until `condition` holds; it is looked at whenever anything happens. */
export function until(condition: () => boolean, what: string): Promise<void> {
  let over = false
  const waiting = new Promise<void>((resolve) => {
    const look = () => {
      if (over || condition()) resolve()
      else setTimeout(look, 2)
    }
    look()
  })
  return within(waiting, what).finally(() => {
    over = true
  })
}

/** Waits until `feed` has all its blocks, `length` of them. */
export function complete(feed: FeedFace, length: number): Promise<void> {
  return until(() => feed.length === length && feed.downloaded() === length, `${length} blocks`)
}

/** The blocks of a feed, which must all be here. */
export async function blocksOf(feed: FeedFace): Promise<string[]> {
  const blocks: string[] = []
  for (let i = 0; i < feed.length; i++) {
    const block = await feed.get(i, { wait: false, valueEncoding: 'binary' })
    blocks.push(Buffer.from(block as Uint8Array).toString())
  }
  return blocks
}

/** `count` blocks of some text. */
export function texts(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `block ${i + from}`)
}

/** Records which of these events happen on a feed or stream. */
export function recordEvents(
  emitter: AnyFeed | AnyStream,
  names: readonly string[],
  log: string[] = []
): string[] {
  for (const name of names) emitter.on(name, () => void log.push(name))
  return log
}

/** A test that is done with each of the implementations, which must agree on it. */
export function forEach(
  subjects: readonly Subject[],
  name: string,
  body: (t: Test, bench: Bench) => Promise<void>
): void {
  for (const subject of subjects) {
    test(`${name} (${subject.name})`, async (t) => {
      const bench = new Bench(t, subject)
      await body(t, bench)
      await bench.close()
    })
  }
}
