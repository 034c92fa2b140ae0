/** Stored feeds of many kinds, for the fuzzer of files: made once, always the same. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { keyPair } from '../../src/crypto/keys.ts'
import { type DiskOptions, SimulatedDisk } from '../crash/disk.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

/** A feed that was stored and left. */
export interface StoredFeed {
  readonly name: string
  readonly files: MemoryFiles
  /** Its files as they were some time before; files of a backup are like that. */
  readonly older: MemoryFiles
  /** The files of an honest peer, with as many blocks as there are. */
  readonly honest: MemoryFiles
  /** All blocks of the feed, also those that are not in these files. */
  readonly blocks: readonly Buffer[]
  /** What each block, also of those beyond the end, may be read as: all that was ever appended there. */
  readonly appended: readonly (readonly Buffer[])[]
  readonly key: Buffer
  /** Whether the secret key is in the files. */
  readonly writer: boolean
  /** Whether it lies where checkpoints are kept. */
  readonly extraFiles: boolean
}

const open = ours()
const VECTORS = fileURLToPath(new URL('../vectors/storage/', import.meta.url))

function newBlocks(random: SeededRandom, count: number): Buffer[] {
  return Array.from({ length: count }, () =>
    random.chance(0.08) ? Buffer.alloc(0) : random.bytes(1 + random.below(random.chance(0.05) ? 5000 : 40))
  )
}

/** Blocks one by one and in batches: some slots of `signatures` stay empty. */
async function fill(feed: FeedFace, blocks: readonly Buffer[], random: SeededRandom): Promise<void> {
  for (let at = 0; at < blocks.length; ) {
    const count = random.chance(0.5) ? 1 : 1 + random.below(6)
    await feed.append(blocks.slice(at, at + count))
    at += count
  }
}

interface Making {
  readonly random: SeededRandom
  readonly disk: SimulatedDisk
  readonly pair: { publicKey: Uint8Array; secretKey: Uint8Array }
  readonly blocks: Buffer[]
  /** Notes the files as they are. */
  keep(): void
}

/** What was made: `also` are blocks that the feed had and has not any more, `honest` the files of a peer that has all. */
interface Made {
  writer: boolean
  also?: Buffer[]
  honest?: MemoryFiles
}

type Make = (making: Making) => Promise<Made>

function author({ disk, pair }: Making): FeedFace {
  return open(disk.factory(), Buffer.from(pair.publicKey), { secretKey: pair.secretKey })
}

async function copyOf(making: Making, wanted: (block: number) => boolean): Promise<Made> {
  const { disk, blocks, random, keep, pair } = making
  const honest = new MemoryFiles()
  const from = open(honest.factory(), Buffer.from(pair.publicKey), { secretKey: pair.secretKey })
  await fill(from, blocks, random)
  const feed = open(disk.factory(), from.key, { sparse: true })
  await feed.ready()
  for (const block of random.shuffle(blocks.map((_, i) => i))) {
    if (block === 0) keep()
    if (!wanted(block)) continue
    const proof = await from.call('proof', block, { digest: feed.feed.digest(block) })
    await feed.call('put', block, blocks[block], proof)
  }
  await feed.close()
  await from.close()
  return { writer: false, honest }
}

const KINDS: Record<string, { length: number; extraFiles?: boolean; make: Make }> = {
  author: {
    length: 21,
    async make(making) {
      const feed = author(making)
      await fill(feed, making.blocks.slice(0, 12), making.random)
      await feed.close()
      making.keep()
      const again = author(making)
      await fill(again, making.blocks.slice(12), making.random)
      await again.close()
      return { writer: true }
    }
  },
  'author, killed': {
    length: 26,
    async make(making) {
      const feed = author(making)
      await fill(feed, making.blocks.slice(0, 10), making.random)
      await feed.close()
      making.keep()
      await fill(author(making), making.blocks.slice(10), making.random)
      return { writer: true }
    }
  },
  'author, no checkpoints': {
    length: 19,
    extraFiles: false,
    async make(making) {
      const feed = author(making)
      await fill(feed, making.blocks.slice(0, 9), making.random)
      making.keep()
      await fill(feed, making.blocks.slice(9), making.random)
      await feed.close()
      return { writer: true }
    }
  },
  'author, cleared': {
    length: 30,
    async make(making) {
      const feed = author(making)
      await fill(feed, making.blocks, making.random)
      making.keep()
      await feed.clear(3, 9)
      await feed.clear(17, 18)
      await feed.close()
      return { writer: true }
    }
  },
  'author, truncated': {
    length: 14,
    async make(making) {
      const feed = author(making)
      const also = newBlocks(making.random, 6)
      await fill(feed, [...making.blocks, ...also], making.random)
      making.keep()
      await feed.truncate(making.blocks.length)
      await feed.close()
      return { writer: true, also }
    }
  },
  'author, empty': {
    length: 0,
    async make(making) {
      await author(making).close()
      making.keep()
      return { writer: true }
    }
  },
  'author, two pages': {
    length: 8200,
    async make({ disk, pair, blocks, keep }) {
      const feed = open(disk.factory(), Buffer.from(pair.publicKey), { secretKey: pair.secretKey })
      await feed.append(blocks.slice(0, 8190))
      keep()
      await feed.append(blocks.slice(8190))
      await feed.close()
      return { writer: true }
    }
  },
  'author, published': {
    length: 17,
    extraFiles: false,
    async make(making) {
      const { disk, pair, blocks, random } = making
      const feed = published(disk.factory(), Buffer.from(pair.publicKey), { secretKey: pair.secretKey })
      await fill(feed, blocks.slice(0, 8), random)
      making.keep()
      await fill(feed, blocks.slice(8), random)
      await feed.close()
      return { writer: true }
    }
  },
  copy: { length: 23, make: (making) => copyOf(making, () => true) },
  'copy, sparse': { length: 40, make: (making) => copyOf(making, (block) => block % 3 === 0) },
  'copy, no checkpoints': { length: 18, extraFiles: false, make: (making) => copyOf(making, () => true) },
  'copy, of a feed that grew': {
    length: 33,
    async make(making) {
      const { disk, blocks, pair, random, keep } = making
      const honest = new MemoryFiles()
      const from = open(honest.factory(), Buffer.from(pair.publicKey), { secretKey: pair.secretKey })
      const feed = open(disk.factory(), from.key, { sparse: true })
      await feed.ready()
      for (let at = 0; at < blocks.length; ) {
        const end = Math.min(blocks.length, at + 1 + random.below(7))
        await from.append(blocks.slice(at, end))
        for (let i = 0; i < 3; i++) {
          const block = random.below(end)
          const proof = await from.call('proof', block, { digest: feed.feed.digest(block) })
          await feed.call('put', block, blocks[block], proof)
        }
        if (at < 15) keep()
        at = end
      }
      await feed.close()
      await from.close()
      return { writer: false, honest }
    }
  },
  static: {
    length: 11,
    async make(making) {
      const feed = open(making.disk.factory(), null, { live: false })
      await feed.append(making.blocks)
      making.keep()
      await feed.call('finalize')
      await feed.close()
      return { writer: false }
    }
  }
}

async function makeStored(name: string): Promise<StoredFeed> {
  const { length, extraFiles = true, make } = KINDS[name]!
  const random = new SeededRandom([...name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7))
  // They are said to be clean, and whoever opens them may believe it, or not.
  const options: DiskOptions = { extraFiles, stamps: true }
  const disk = new SimulatedDisk(options)
  const blocks =
    length < 1000
      ? newBlocks(random, length)
      : Array.from({ length }, (_, i) => Buffer.from(i % 50 === 0 ? '' : `${i}`))
  let older = disk.files
  const pair = keyPair(random.bytes(32))
  const keep = () => {
    older = disk.files.clone()
  }
  const { writer, also = [], honest } = await make({ random, disk, pair, blocks, keep })
  const files = disk.files.clone()
  const key = Buffer.from(files.read('key')!)
  const appended = [...blocks, ...also].map((block) => [block])
  return { name, files, older, honest: honest ?? files, blocks, appended, key, writer, extraFiles }
}

/** The recorded folders whose blocks their files tell, as the published package reads them. */
async function recorded(name: string): Promise<StoredFeed> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'ddatabase-test-'))
  try {
    cpSync(path.join(VECTORS, name), folder, { recursive: true })
    const files = new MemoryFiles()
    for (const file of readdirSync(folder)) files.put(file, readFileSync(path.join(folder, file)))
    const feed = published(files.clone().factory())
    await feed.ready()
    const blocks: Buffer[] = []
    for (let i = 0; i < feed.length; i++) {
      // Of a block that is not here nothing can be read, whatever becomes of the files.
      blocks.push(feed.has(i) ? Buffer.from((await feed.get(i)) as Uint8Array) : Buffer.from('not here'))
    }
    const { key, writable: writer } = feed
    await feed.close()
    const appended = blocks.map((block) => [block])
    const older = new MemoryFiles()
    const named = `recorded, ${name}`
    return { name: named, files, older, honest: files, blocks, appended, key, writer, extraFiles: true }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const RECORDED = ['five-single', 'batches-reopened', 'legacy-signatures', 'sparse-replica', 'sparse-grown']

/** A feed with the pages of old files: 3328 bytes, with shorter index bytes. */
async function oldPages(): Promise<StoredFeed> {
  const stored = await makeStored('author, no checkpoints')
  const files = stored.files.clone()
  const bitfield = Buffer.from(files.read('bitfield')!.subarray(0, 32 + 3328))
  bitfield.writeUInt16BE(3328, 5)
  bitfield.fill(0, 32 + 3072)
  files.put('bitfield', bitfield)
  return { ...stored, name: 'author, old pages', files, honest: files }
}

let made: Promise<StoredFeed[]> | null = null

/** All of them. */
export function storedFeeds(): Promise<StoredFeed[]> {
  made ??= (async () => {
    const feeds: StoredFeed[] = []
    for (const name of Object.keys(KINDS)) feeds.push(await makeStored(name))
    feeds.push(await oldPages())
    for (const name of RECORDED) feeds.push(await recorded(name))
    return feeds
  })()
  return made
}
