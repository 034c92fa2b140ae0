/** The feeds of the fuzzer of sessions: one author and several copies of each key, and what their blocks are. */
import type { EventEmitter } from 'node:events'
import type ddatabase from '../../src/index.ts'
import type { Damage, Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { slowStorage } from '../helpers/slow-storage.ts'
import { told } from './outcome.ts'
import type { Story } from './sessions-story.ts'

export type AnyFeed = Feed<unknown>
/** What makes feeds of a dialect. */
export type Create = typeof ddatabase

/** Whose feeds. */
export interface Maker {
  readonly create: Create
  /** Whether it is this package, not a published one. */
  readonly isOurs: boolean
}

const EVENTS = [
  'append',
  'clear',
  'close',
  'download',
  'peer-ack',
  'peer-add',
  'peer-open',
  'peer-remove',
  'ready',
  'remote-update',
  'replicating',
  'sync',
  'update-error',
  'upload'
]

/** Where the files of one feed are, and how it is opened. */
export interface Home {
  readonly options: object
  /** For each opening another one. */
  storage(): unknown
  /** What a published package opens when the feed is closed. */
  published(): Promise<unknown>
  /** Whether nothing is wrong if that is found to be damaged. */
  expects?(damage: Damage): boolean
}

/** All feeds of one key. */
export class Series {
  readonly story: Story
  readonly number: number
  readonly members: Member[] = []
  /** The blocks, as far as their places are known by now. */
  readonly blocks: (Buffer | undefined)[] = []
  key: Buffer | null = null
  #drawn = 0

  constructor(story: Story, number: number) {
    this.story = story
    this.number = number
  }

  get author(): Member {
    return this.members.find(({ isAuthor }) => isAuthor)!
  }

  /** Blocks that tell each other apart. */
  draw(count: number): Buffer[] {
    const { random } = this.story
    return Array.from({ length: count }, () =>
      Buffer.from(`${this.number}.${this.#drawn++} `.padEnd(random.pick([0, 1, 20, 100, 1000]), 'x'))
    )
  }

  /** A block was appended, or read by its author. */
  knows(index: number, block: Buffer): void {
    const known = this.blocks[index]
    if (known !== undefined && !known.equals(block))
      this.story.wrong(`block ${index} of ${this.number} has changed`)
    this.blocks[index] = block
  }

  /** Whether bytes are those of a block, as far as that is known. */
  isRight(index: number, bytes: unknown): boolean {
    const block = this.blocks[index]
    return this.story.truncates || block === undefined || block.equals(bytes as Uint8Array)
  }

  /** The byte that a place is, −1 if that is not known. */
  byteAt(index: number, offset: number): number {
    let bytes = offset
    for (let i = 0; i < index; i++) {
      const block = this.blocks[i]
      if (block === undefined) return -1
      bytes += block.length
    }
    return bytes
  }
}

/** One feed, which may be closed and opened again. */
export class Member {
  readonly name: string
  readonly series: Series
  readonly isAuthor: boolean
  /** Whether it is one of this package. */
  readonly isOurs: boolean
  readonly home: Home
  readonly #create: Create
  readonly #act: (member: Member) => void
  feed: AnyFeed
  /** The feed that was closed last, perhaps before it was open: it tells of that only when it is. */
  #closed: AnyFeed | null = null
  /** Blocks that were stored here for certain, and that nobody has cleared. */
  readonly held = new Set<number>()
  readonly #cleared = new Set<number>()

  /**
   * @param act - does something, from within an event of this feed, if it is ours
   * @param settle - gives it a place of its own
   */
  constructor(
    series: Series,
    { create, isOurs }: Maker,
    act: (member: Member) => void,
    settle: (isAuthor: boolean) => Home = (isAuthor) => inMemory(series, isOurs, isAuthor)
  ) {
    this.series = series
    this.isAuthor = series.members.length === 0
    this.isOurs = isOurs
    this.home = settle(this.isAuthor)
    this.#create = create
    this.#act = act
    const role = this.isAuthor ? 'author' : `copy ${series.members.length}`
    this.name = `${isOurs ? '' : 'published '}${role} of ${series.number}`
    series.members.push(this)
    this.feed = this.#make()
  }

  /** Whether the feed was told to close. */
  get isClosed(): boolean {
    return this.#closed === this.feed
  }

  close(): Promise<void> {
    this.#closed = this.feed
    return this.feed.close()
  }

  /** Another feed of the same files, in place of one that is closed. */
  reopen(): void {
    this.feed = this.#make()
  }

  /** Closes the feed, if it is not, and opens it again, if nobody else does. */
  async openAgain(): Promise<void> {
    const { feed } = this
    await feed.close()
    if (this.feed === feed) this.reopen()
  }

  /** Appends, and keeps in mind what is where. */
  async append(count: number): Promise<void> {
    const blocks = this.series.draw(count)
    const first = await this.feed.append(blocks)
    if (this.series.story.truncates) return
    for (const [i, block] of blocks.entries()) {
      this.series.knows(first + i, block)
      this.stored(first + i)
    }
  }

  /** What cannot be read does not count any more, also if that could not be told. */
  async audit(): Promise<void> {
    let invalid = -1
    try {
      invalid = (await this.feed.audit()).invalid
    } finally {
      if (invalid !== 0) this.cleared(0, this.feed.length)
    }
  }

  /** A block was stored. */
  stored(index: number): void {
    if (!this.#cleared.has(index)) this.held.add(index)
  }

  /** Blocks may be cleared from now on, now or later. */
  cleared(start: number, end: number): void {
    for (let index = start; index < end; index++) {
      this.#cleared.add(index)
      this.held.delete(index)
    }
  }

  check(index: number, block: unknown): void {
    if (!this.series.isRight(index, block)) this.series.story.wrong(`${this.name}: block ${index} is wrong`)
  }

  /** Which blocks somebody has whom this one is ever connected with, or it has itself. */
  reachable(): boolean[] {
    const { author, members } = this.series
    const others = members.filter((other) => other === this || this.isOurs || other.isOurs)
    return Array.from({ length: author.feed.length }, (_, i) => others.some(({ feed }) => feed.has(i)))
  }

  #make(): AnyFeed {
    const { series, name } = this
    const { story } = series
    const { home } = this
    const feed = this.#create(home.storage() as never, series.key, home.options) as AnyFeed
    feed.on('download', (index, data) => {
      this.check(index, data)
      this.stored(index)
    })
    if (!this.isOurs) return feed
    const wrong = (what: string) => story.wrong(`${name}: ${what}`)
    feed.on('error', (error) => story.isExcused(error) || wrong(told(error)))
    feed.on('damage', (damage) => home.expects?.(damage) || wrong(`damage: ${JSON.stringify(damage)}`))
    feed.on('fork', () => story.truncates || wrong('another history'))
    for (const event of EVENTS) {
      ;(feed as unknown as EventEmitter).on(event, () =>
        story.within(`${event} of ${name}`, () => this.#act(this))
      )
    }
    return feed
  }
}

/** @param options - in place of ones that are drawn */
export function inMemory(
  { story: { random } }: Series,
  isOurs: boolean,
  isAuthor: boolean,
  options: object | null = null
): Home {
  const files = new MemoryFiles()
  const isSlow = random.chance(0.4)
  return {
    options: options ?? (isAuthor ? {} : drawOptions(random, isOurs)),
    storage: () => (isSlow ? slowStorage(files, random) : files.factory()),
    published: async () => files.clone().factory()
  }
}

/** Options of a copy. */
export function drawOptions(random: SeededRandom, isOurs = true): object {
  if (!isOurs) return { sparse: random.chance(0.5) }
  return {
    sparse: random.chance(0.5),
    ...(random.chance(0.2) && { eagerUpdate: true }),
    ...(random.chance(0.2) && { maxRequests: random.between(1, 20) }),
    ...(random.chance(0.2) && { ifAvailable: true }),
    ...(random.chance(0.1) && { allowPush: true }),
    ...(random.chance(0.1) && { storageCacheSize: 0 }),
    ...(random.chance(0.1) && {
      onwrite: (_index: number, _data: unknown, _peer: unknown, callback: () => void) =>
        setImmediate(callback)
    })
  }
}
