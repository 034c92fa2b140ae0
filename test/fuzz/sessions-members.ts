/** The feeds of the fuzzer of sessions: one author and several copies of each key, and what their blocks are. */
import type { EventEmitter } from 'node:events'
import type ddatabase from '../../src/index.ts'
import type { Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { slowStorage } from '../helpers/slow-storage.ts'
import type { Story } from './sessions-story.ts'

export type AnyFeed = Feed<unknown>
/** What makes feeds of a dialect. */
export type Create = typeof ddatabase

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

/** All feeds of one key. */
export class Series {
  readonly story: Story
  readonly create: Create
  readonly number: number
  readonly members: Member[] = []
  /** The blocks, as far as their places are known by now. */
  readonly blocks: (Buffer | undefined)[] = []
  key: Buffer | null = null
  #drawn = 0

  constructor(story: Story, create: Create, number: number) {
    this.story = story
    this.create = create
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
  readonly #files = new MemoryFiles()
  readonly #options: object
  readonly #isSlow: boolean
  readonly #act: (member: Member) => void
  feed: AnyFeed
  /** The feed that was closed last, perhaps before it was open: it tells of that only when it is. */
  #closed: AnyFeed | null = null

  /** @param act - does something, from within an event of this feed */
  constructor(series: Series, act: (member: Member) => void) {
    const { random } = series.story
    this.series = series
    this.isAuthor = series.members.length === 0
    this.#isSlow = random.chance(0.4)
    this.#options = this.isAuthor ? {} : this.#drawOptions()
    this.#act = act
    this.name = `${this.isAuthor ? 'author' : `copy ${series.members.length}`} of ${series.number}`
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

  /** Appends, and keeps in mind what is where. */
  async append(count: number): Promise<void> {
    const blocks = this.series.draw(count)
    const first = await this.feed.append(blocks)
    if (this.series.story.truncates) return
    for (const [i, block] of blocks.entries()) this.series.knows(first + i, block)
  }

  check(index: number, block: unknown): void {
    if (!this.series.isRight(index, block)) this.series.story.wrong(`${this.name}: block ${index} is wrong`)
  }

  #drawOptions(): object {
    const { random } = this.series.story
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

  #make(): AnyFeed {
    const { series, name } = this
    const { story, create } = series
    const storage = this.#isSlow ? slowStorage(this.#files, story.random) : this.#files.factory()
    const feed = create(storage as never, series.key, this.#options) as AnyFeed
    const wrong = (what: string) => story.wrong(`${name}: ${what}`)
    feed.on('error', (error) => wrong(error.stack ?? String(error)))
    feed.on('damage', (damage) => wrong(`damage: ${JSON.stringify(damage)}`))
    feed.on('fork', () => story.truncates || wrong('another history'))
    feed.on('download', (index, data) => this.check(index, data))
    for (const event of EVENTS) {
      ;(feed as unknown as EventEmitter).on(event, () =>
        story.within(`${event} of ${name}`, () => this.#act(this))
      )
    }
    return feed
  }
}
