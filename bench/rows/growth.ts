import { cpSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { BlockRun } from '../harness/blocks.ts'
import { call, type Feed } from '../harness/feed.ts'
import { type Link, throughTcp } from '../harness/link.ts'
import type { Profile } from '../harness/profiles.ts'
import { pump } from '../harness/pump.ts'
import type { Context, Fixture, Row, Work } from '../harness/row.ts'

/*
 * The same work on feeds of 10,000 to 10,000,000 blocks: what each costs may grow with the logarithm of the length only.
 */

const blockSize = 16
const inFlight = 16

function fixture(name: string, blocks: number): Fixture {
  return { name: `growth-${name}`, blockSize, blocks, smokeBlocks: Math.min(blocks, 20_000) / 4 }
}

/** A file in which hypercore 11 notes where its feed is; it refuses a copy, but makes one that is not there. */
const placeFile = 'CORESTORE'

/** A copy of the prepared feed that may be changed. */
function copyOf(context: Context): string {
  const dir = join(context.dir, 'copy')
  cpSync(context.fixtureDir, dir, { recursive: true, filter: (path) => basename(path) !== placeFile })
  return dir
}

async function appends(context: Context): Promise<Work> {
  const count = context.size(500, 50)
  const feed = await context.open(copyOf(context))
  const run = new BlockRun(blockSize, count)
  return {
    prepare: () => run.moveTo(feed.length),
    async step() {
      await pump(count, 1, (position, callback) => feed.append(run.blocks[position]!, callback))
      return count
    }
  }
}

async function gets(context: Context): Promise<Work> {
  const count = context.size(2_000, 200)
  const feed = await context.open(context.fixtureDir)
  return {
    step: () =>
      pump(count, inFlight, (_position, callback) => {
        feed.get(Math.floor(context.random() * context.fixtureBlocks), {}, callback)
      })
  }
}

/** Random single blocks that a sparse replica lacks; when it has half of them, a new one takes its place. */
async function remoteGets(context: Context): Promise<Work> {
  const live = { live: true }
  const count = context.size(500, 50)
  const source = await context.openSource(context.fixtureDir)
  const connect = await throughTcp(() => source, live)
  let target: Feed | null = null
  let link: Link | null = null
  let folder = ''
  let drawn: number[] = []
  const seen = new Set<number>()

  async function replace(): Promise<void> {
    link?.cut()
    const used = target
    if (used) await call((callback) => used.close(callback))
    if (folder !== '') rmSync(folder, { recursive: true })
    folder = join(context.dir, `replica-${seen.size}-${context.random()}`)
    seen.clear()
    target = await context.open(folder, source.key, { sparse: true })
    link = connect(target, live)
    // The handshake, and the first block with the whole proof.
    await call<Uint8Array>((callback) => target!.get(0, {}, callback))
    seen.add(0)
  }

  return {
    async prepare() {
      if (target === null || seen.size + count > context.fixtureBlocks / 2) await replace()
      drawn = []
      while (drawn.length < count) {
        const index = Math.floor(context.random() * context.fixtureBlocks)
        if (seen.has(index)) continue
        seen.add(index)
        drawn.push(index)
      }
    },
    step: () => pump(count, inFlight, (position, callback) => target!.get(drawn[position]!, {}, callback))
  }
}

/** From the constructor to the last block; closing is not timed. */
async function openings(context: Context): Promise<Work> {
  let feed: Feed | null = null
  return {
    async prepare() {
      const used = feed
      if (used) await call((callback) => used.close(callback))
    },
    async step() {
      feed = await openAndRead(context, context.fixtureDir)
      return 1
    }
  }
}

/** The same after a process that was appending to the feed has been killed. */
async function openingsAfterKill(context: Context): Promise<Work> {
  const dir = copyOf(context)
  let feed: Feed | null = null
  return {
    maxSteps: 10,
    async prepare() {
      const used = feed
      if (used) await call((callback) => used.close(callback))
      await context.appendAndDie(dir, blockSize, 1_000)
    },
    async step() {
      feed = await openAndRead(context, dir)
      return 1
    }
  }
}

async function openAndRead(context: Context, dir: string): Promise<Feed> {
  const feed = context.create(dir)
  await call((callback) => feed.ready(callback))
  await call<Uint8Array>((callback) => feed.get(feed.length - 1, {}, callback))
  return feed
}

function rowsOf(name: string, blocks: number, profiles: readonly Profile['name'][]): Row[] {
  const of = `of ${blocks.toLocaleString('en')} blocks`
  const common = { fixture: fixture(name, blocks), profiles }
  return [
    {
      ...common,
      name: `growth-append-${name}`,
      title: `append to a feed ${of}`,
      operation: 'block',
      start: appends
    },
    { ...common, name: `growth-get-${name}`, title: `get at random ${of}`, operation: 'get', start: gets },
    {
      ...common,
      name: `growth-remote-${name}`,
      title: `sparse remote get at random ${of}`,
      operation: 'get',
      replicates: true,
      start: remoteGets
    },
    { ...common, name: `growth-open-${name}`, title: `open ${of}`, operation: 'opening', start: openings },
    {
      ...common,
      name: `growth-killed-${name}`,
      title: `open ${of} after a kill`,
      operation: 'opening',
      start: openingsAfterKill
    }
  ]
}

export const growthRows: readonly Row[] = [
  // In a smoke run the others would be the same again.
  ...rowsOf('10k', 10_000, ['smoke', 'full']),
  ...rowsOf('100k', 100_000, ['full']),
  ...rowsOf('1m', 1_000_000, ['full']),
  ...rowsOf('10m', 10_000_000, ['full'])
]
