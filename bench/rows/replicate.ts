import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { shuffle } from '../harness/blocks.ts'
import { call, type Feed, type FeedOptions, type WireOptions } from '../harness/feed.ts'
import { type Connect, type Link, throughMemory, throughPort, throughTcp } from '../harness/link.ts'
import { pump } from '../harness/pump.ts'
import type { RemoteSource } from '../harness/remote-source.ts'
import type { Claim, Context, Fixture, Row, Work } from '../harness/row.ts'
import { copiedBlocks, largeBlocks, smallBlocks, someSmallBlocks } from './fixtures.ts'

/** The source of the copies: opened afresh for each, so that its first reads are in every figure. */
interface Source {
  readonly key: Uint8Array
  reopen(): Promise<void>
  readonly connect: Connect
  readonly helper?: RemoteSource
}

type Start = (context: Context, options: FeedOptions) => Promise<Source>

async function here(
  context: Context,
  options: FeedOptions,
  connectTo: (feed: () => Feed) => Connect | Promise<Connect>
): Promise<Source> {
  let feed = await context.openSource(context.fixtureDir, options)
  return {
    key: feed.key,
    async reopen() {
      await call((callback) => feed.close(callback))
      feed = await context.openSource(context.fixtureDir, options)
    },
    connect: await connectTo(() => feed)
  }
}

const inMemory: Start = (context, options) => here(context, options, throughMemory)

const overTcp: Start = (context, options) => here(context, options, (feed) => throughTcp(feed, {}))

const inAnotherProcess: Start = async (context) => {
  const helper = await context.serve()
  return { key: helper.key, reopen: () => helper.reopen(), connect: throughPort(helper.port), helper }
}

/** A fresh replica folder for each use; the one before is removed. */
class ReplicaFolder {
  path = ''
  readonly #context: Context
  #number = 0

  constructor(context: Context) {
    this.#context = context
  }

  next(): string {
    if (this.path !== '') rmSync(this.path, { recursive: true })
    this.path = join(this.#context.dir, String(this.#number++))
    return this.path
  }
}

/** What a replica of the fixture with these blocks must hold. */
function claimOf(
  context: Context,
  fixture: Fixture,
  dir: string,
  present: readonly number[] | number
): Claim {
  const count = typeof present === 'number' ? present : present.length
  const samples = Array.from({ length: 8 }, () => {
    const at = Math.floor(context.random() * count)
    return typeof present === 'number' ? at : present[at]!
  })
  return { dir, blockSize: fixture.blockSize, length: context.fixtureBlocks, present: count, samples }
}

/** What both ends of a copy are told. */
interface Manner {
  readonly feed: FeedOptions
  readonly wire: WireOptions
}

const byDefault: Manner = { feed: {}, wire: {} }

/** What the published packages always do: their wire, and nothing read from the own disk is looked at. */
const asPublished: Manner = { feed: { verify: 'off' }, wire: { authenticated: false } }

/** Whole copies: from the connection to the moment when the replica has everything and has closed its stream. */
async function copies(
  context: Context,
  fixture: Fixture,
  start: Start,
  { feed, wire }: Manner
): Promise<Work> {
  const source = await start(context, feed)
  const folder = new ReplicaFolder(context)
  let target: Feed | null = null
  return {
    ...(source.helper && { helper: source.helper }),
    async prepare() {
      const used = target
      if (used) await call((callback) => used.close(callback))
      await source.reopen()
      target = await context.open(folder.next(), source.key, feed)
    },
    async step() {
      await source.connect(target!, wire).closed
      const count = target!.downloaded(0, context.fixtureBlocks)
      if (count !== context.fixtureBlocks) throw new Error(`The copy ended after ${count} blocks`)
      return count
    },
    claim: () => claimOf(context, fixture, folder.path, context.fixtureBlocks)
  }
}

/** Random single blocks that a sparse replica lacks, each once; when it has all, a new one takes its place. */
async function sparseGets(context: Context, fixture: Fixture, inFlight: number): Promise<Work> {
  const live = { live: true }
  const perStep = context.size(1_000, 100)
  let feed: Feed | null = null
  const connect = await throughTcp(() => feed!, live)
  const folder = new ReplicaFolder(context)
  const order = Array.from({ length: context.fixtureBlocks }, (_, index) => index)
  let target: Feed | null = null
  let link: Link | null = null
  let next = order.length

  async function replace(): Promise<void> {
    link?.cut()
    for (const used of [target, feed]) if (used) await call((callback) => used.close(callback))
    feed = await context.openSource(context.fixtureDir)
    target = await context.open(folder.next(), feed.key, { sparse: true })
    link = connect(target, live)
    shuffle(order, context.random)
    // The handshake, and the first block with the whole proof.
    await get(0)
    next = 1
  }

  const get = (at: number) => call<Uint8Array>((callback) => target!.get(order[at]!, {}, callback))

  return {
    async prepare() {
      if (next + perStep > order.length) await replace()
    },
    async step() {
      const first = next
      await pump(perStep, inFlight, (position, callback) =>
        target!.get(order[first + position]!, {}, callback)
      )
      next = first + perStep
      return perStep
    },
    claim: () => claimOf(context, fixture, folder.path, order.slice(0, next))
  }
}

// A copy takes most of a package, or of two, through its paces: for some three seconds the compiler has as much to do as the
// copying, and what a first copy costs is mostly that.
const WARM = 3

function copy(name: string, title: string, fixture: Fixture, start: Start): Row {
  return {
    name: `replicate-${name}`,
    title: `replicate disk to disk, ${title}`,
    operation: 'block',
    ...(fixture.blockSize < 4096 ? {} : { bytes: fixture.blockSize }),
    replicates: true,
    warm: WARM,
    fixture,
    start: (context) => copies(context, fixture, start, byDefault)
  }
}

/** With the work of the published packages, no more; mixed pairs have that wire anyway. */
function legacy(name: string, title: string, fixture: Fixture): Row {
  const { replicates: _, ...row } = copy(`${name}-legacy`, title, fixture, inMemory)
  return { ...row, start: (context) => copies(context, fixture, inMemory, asPublished) }
}

export const replicateRows: readonly Row[] = [
  copy('memory-512', 'memory pipe, 512 B', someSmallBlocks, inMemory),
  copy('memory-16k', 'memory pipe, 16 KB', copiedBlocks, inMemory),
  copy('memory-64k', 'memory pipe, 64 KB', largeBlocks, inMemory),
  legacy('memory-16k', "memory pipe, 16 KB, legacy wire and verify: 'off'", copiedBlocks),
  legacy('memory-64k', "memory pipe, 64 KB, legacy wire and verify: 'off'", largeBlocks),
  copy('tcp-16k', 'loopback TCP, one process, 16 KB', copiedBlocks, overTcp),
  copy('tcp-two-16k', 'loopback TCP, two processes, 16 KB', copiedBlocks, inAnotherProcess),
  {
    name: 'remote-get-512',
    title: 'sparse remote get at random, loopback TCP, 512 B, 16 in flight',
    operation: 'get',
    replicates: true,
    warm: WARM,
    fixture: smallBlocks,
    start: (context) => sparseGets(context, smallBlocks, 16)
  }
]
