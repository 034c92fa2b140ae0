/** Random work on a feed on a simulated disk, with a record of what the feed was, and had promised, at each moment. */
import type { DurabilityMode } from '../../src/storage/durability.ts'
import type { FeedFace, OpenFeed } from '../helpers/feed-face.ts'
import type { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveRoots, naiveTreeHash } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { connect, until } from '../helpers/replication-feeds.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { type DiskOptions, SimulatedDisk } from './disk.ts'

const open = ours()

/** What a feed was at one time. */
export interface State {
  readonly blocks: readonly Buffer[]
  /** Which of them were here. */
  readonly present: readonly boolean[]
  /** Of the roots, in hexadecimal. */
  readonly treeHash: string
  /** When somebody asked for it … */
  readonly asked: number
  /** … and when it was acknowledged; Infinity if it never was. */
  acknowledged: number
}

/** What was done. */
export interface Story {
  readonly disk: SimulatedDisk
  readonly durability: DurabilityMode
  /** One after the other; the first one is the empty feed. */
  readonly states: State[]
  readonly writer: boolean
  readonly key: Buffer
  /** Null for a copy. */
  readonly secretKey: Buffer | null
  /** When the feed was open. */
  opened: number
  /** What was done, for a report. */
  readonly steps: string[]
}

// The size of the interval between checkpoints, as far as a test can reach it.
const INTERVAL = 64 * 1024 * 1024

class Teller {
  readonly story: Story
  readonly random: SeededRandom
  feed: FeedFace

  readonly opener: OpenFeed

  constructor(story: Story, random: SeededRandom, feed: FeedFace, opener = open) {
    this.opener = opener
    this.story = story
    this.random = random
    this.feed = feed
  }

  get last(): State {
    return this.story.states[this.story.states.length - 1]!
  }

  begin(blocks: readonly Buffer[], present: readonly boolean[], asked = this.story.disk.now): State {
    const state: State = {
      blocks,
      present,
      treeHash: naiveTreeHash(naiveRoots(blocks)).toString('hex'),
      asked,
      acknowledged: Infinity
    }
    this.story.states.push(state)
    return state
  }

  async until(state: State, work: Promise<unknown>): Promise<void> {
    await work
    state.acknowledged = this.story.disk.now
  }

  newBlocks(count: number): Buffer[] {
    const { random } = this
    return Array.from({ length: count }, () =>
      random.chance(0.1) ? Buffer.alloc(0) : random.bytes(1 + random.below(random.chance(0.05) ? 90_000 : 60))
    )
  }

  async append(): Promise<void> {
    const { random, feed } = this
    // Calls at once become one batch or two: each of them ends a state that may be found.
    const calls = Array.from({ length: random.chance(0.3) ? 3 : 1 }, () =>
      this.newBlocks(random.chance(0.4) ? 1 + random.below(9) : 1)
    )
    this.story.steps.push(
      `append ${calls.map((blocks) => blocks.length).join(', ')} at ${this.last.blocks.length}`
    )
    const work: Promise<void>[] = []
    for (const blocks of calls) {
      const { last } = this
      const state = this.begin([...last.blocks, ...blocks], [...last.present, ...blocks.map(() => true)])
      work.push(this.until(state, feed.append(blocks.length === 1 ? blocks[0] : blocks)))
    }
    await Promise.all(work)
  }

  async clear(): Promise<void> {
    const { random, last } = this
    const start = random.below(last.blocks.length)
    const end = Math.min(last.blocks.length, start + 1 + random.below(6))
    this.story.steps.push(`clear ${start} … ${end}`)
    const present = last.present.map((here, i) => here && (i < start || i >= end))
    await this.until(this.begin(last.blocks, present), this.feed.clear(start, end))
  }

  async truncate(): Promise<void> {
    const { random, last } = this
    const length = Math.max(0, last.blocks.length - 1 - random.below(6))
    this.story.steps.push(`truncate to ${length}`)
    const state = this.begin(last.blocks.slice(0, length), last.present.slice(0, length))
    await this.until(state, this.feed.truncate(length))
  }

  /** A background checkpoint. */
  async checkpoint(): Promise<void> {
    this.story.steps.push('checkpoint')
    const { _core: core } = this.feed.feed as unknown as { _core?: { storage: { written: number } } }
    if (core !== undefined) core.storage.written = INTERVAL
    await this.append()
  }

  async reopen(options: object): Promise<void> {
    this.story.steps.push('close and open')
    await this.feed.close()
    this.feed = this.opener(this.story.disk.factory(), null, options)
    await this.feed.ready()
  }
}

/** Where files can be said to be clean, which is said at the end of each opening and taken back by the next. */
function reopensMore(random: SeededRandom, options: DiskOptions): boolean {
  return options.stamps === true && random.chance(0.3)
}

/** Small blocks, each another one than its neighbours. */
function manyBlocks(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.from([i & 255]))
}

/**
 * An author's work.
 * @param before - blocks that the feed has from an earlier opening: with some, its bitfield has several pages
 */
export async function author(
  random: SeededRandom,
  durability: DurabilityMode,
  options: DiskOptions,
  steps: number,
  opener = open,
  before = 0
): Promise<Story> {
  let disk = new SimulatedDisk(options)
  let feed = opener(disk.factory(), null, { durability })
  await feed.ready()
  const blocks = manyBlocks(before)
  if (before > 0) {
    await feed.append(blocks)
    await feed.close()
    disk = new SimulatedDisk(options, disk.files)
    feed = opener(disk.factory(), null, { durability })
    await feed.ready()
  }
  const { key, secretKey } = feed
  const story: Story = {
    disk,
    durability,
    states: [],
    writer: true,
    key,
    secretKey,
    opened: disk.now,
    steps: []
  }
  const teller = new Teller(story, random, feed, opener)
  teller.begin(
    blocks,
    blocks.map(() => true),
    -1
  ).acknowledged = -1
  for (let i = 0; i < steps; i++) {
    const what = random.next()
    const empty = teller.last.blocks.length === 0
    if (reopensMore(random, options)) await teller.reopen({ durability })
    if (what < 0.6 || empty) await teller.append()
    else if (what < 0.72) await teller.clear()
    else if (what < 0.78) await teller.truncate()
    else if (what < 0.9) await teller.checkpoint()
    else if (what < 0.95) await teller.feed.call('flush')
    else await teller.reopen({ durability })
  }
  if (random.chance(0.3)) await teller.feed.close()
  else await new Promise((resolve) => setTimeout(resolve, 0))
  return story
}

/** An author's feed in `files`, and an empty copy of it on a disk of its own. */
async function beginCopy(
  random: SeededRandom,
  durability: DurabilityMode,
  options: DiskOptions,
  files: MemoryFiles,
  before = 0
) {
  const source = open(files.factory())
  await source.ready()
  let disk = new SimulatedDisk(options)
  let feed = open(disk.factory(), source.key, { durability, sparse: true })
  await feed.ready()
  const blocks = manyBlocks(before)
  const present = blocks.map(() => random.chance(0.01))
  if (before > 0) {
    await source.append(blocks)
    // Who has no block knows no length.
    present[before - 1] = true
    for (const [block, here] of present.entries()) {
      if (!here) continue
      const proof = (await source.call('proof', block, { digest: feed.feed.digest(block) })) as object
      await feed.call('put', block, blocks[block], proof)
    }
    await feed.close()
    disk = new SimulatedDisk(options, disk.files)
    feed = open(disk.factory(), null, { durability, sparse: true })
    await feed.ready()
  }
  const story: Story = {
    disk,
    durability,
    states: [],
    writer: false,
    key: source.key,
    secretKey: null,
    opened: disk.now,
    steps: []
  }
  const teller = new Teller(story, random, feed)
  teller.begin([...blocks], present, -1).acknowledged = -1
  return { source, disk, feed, story, teller, blocks }
}

/** A copy's work: blocks of an author's feed come in any order, and more of it becomes known. */
export async function copy(
  random: SeededRandom,
  durability: DurabilityMode,
  options: DiskOptions,
  steps: number,
  files: MemoryFiles,
  before = 0
): Promise<Story> {
  const { source, story, teller, blocks } = await beginCopy(random, durability, options, files, before)
  for (let i = 0; i < steps; i++) {
    if (blocks.length === 0 || random.chance(0.2)) {
      const more = teller.newBlocks(1 + random.below(7))
      await source.append(more)
      blocks.push(...more)
    }
    const { last } = teller
    const block = random.below(blocks.length)
    const what = random.next()
    if (reopensMore(random, options)) await teller.reopen({ durability, sparse: true })
    if (what < 0.75 || last.present[block] !== true) {
      const proof = (await source.call('proof', block, { digest: teller.feed.feed.digest(block) })) as object
      const grows = (proof as { signature: unknown }).signature !== null
      const length = grows ? Math.max(last.blocks.length, blocks.length) : last.blocks.length
      const present = Array.from({ length }, (_, at) => at === block || last.present[at] === true)
      story.steps.push(`put ${block} of ${length}`)
      const state = teller.begin(blocks.slice(0, length), present)
      await teller.until(state, teller.feed.call('put', block, blocks[block], proof) as Promise<void>)
    } else if (what < 0.85) await teller.clear()
    else if (what < 0.95) {
      const { _core: core } = teller.feed.feed as unknown as { _core: { storage: { written: number } } }
      core.storage.written = INTERVAL
    } else await teller.reopen({ durability, sparse: true })
  }
  await source.close()
  return story
}

/**
 * The work of a copy that gets its blocks from a peer, over connections that end at any time: one by one, then also the
 * length grows, and many at once.
 */
export async function clone(
  random: SeededRandom,
  durability: DurabilityMode,
  options: DiskOptions,
  steps: number,
  files: MemoryFiles
): Promise<Story> {
  const { source, disk, feed, story, teller, blocks } = await beginCopy(random, durability, options, files)
  let connection = connect(source, feed, { live: true, encrypted: false, noise: false })
  // Blocks that were asked for, and when. Calls may be answered before the event, which says that a block is safe.
  const wanted = new Map<number, number>()
  const listen = () => {
    teller.feed.feed.on('download', (index: unknown) => {
      const asked = wanted.get(index as number) ?? 0
      wanted.delete(index as number)
      const { length } = teller.feed
      const present = Array.from({ length }, (_, at) => at === index || teller.last.present[at] === true)
      teller.begin(blocks.slice(0, length), present, asked).acknowledged = disk.now
    })
  }
  listen()
  const fetch = async (start: number, end: number, call: () => Promise<unknown>): Promise<void> => {
    for (let block = start; block < end; block++) {
      if (teller.last.present[block] !== true) wanted.set(block, disk.now)
    }
    await call()
    await until(() => wanted.size === 0, `the events of ${[...wanted.keys()].join(', ')}`)
  }
  for (let i = 0; i < steps; i++) {
    if (blocks.length === 0 || random.chance(0.25)) {
      const more = teller.newBlocks(1 + random.below(7))
      await source.append(more)
      blocks.push(...more)
    }
    const what = random.next()
    const { length } = teller.feed
    if (what < 0.5 || length === 0) {
      const block = random.below(blocks.length)
      story.steps.push(`get ${block} of ${blocks.length}`)
      await fetch(block, block + 1, () => teller.feed.get(block))
    } else if (what < 0.7) {
      const start = random.below(length)
      const end = Math.min(length, start + 1 + random.below(12))
      story.steps.push(`download ${start} … ${end}`)
      // Linear, so that a seed tells the same story each time.
      await fetch(start, end, () => teller.feed.call('download', { start, end, linear: true }))
    } else if (what < 0.78) await teller.clear()
    else if (what < 0.86) {
      const { _core: core } = teller.feed.feed as unknown as { _core: { storage: { written: number } } }
      core.storage.written = INTERVAL
    } else {
      await connection.cut()
      if (what > 0.93 || reopensMore(random, options)) {
        await teller.reopen({ durability, sparse: true })
        listen()
      }
      connection = connect(source, teller.feed, { live: true, encrypted: false, noise: false })
    }
  }
  await connection.cut()
  await source.close()
  return story
}
