/** Openings that believe that the files are as they were when they were closed, and those that must not. */
import fs from 'node:fs'
import { readFile, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import type { Pages } from '../../src/bitfield/pages.ts'
import ddatabase, { type Feed, type FeedOptions } from '../../src/index.ts'
import { CheckpointFiles } from '../../src/storage/checkpoint-files.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import type { StorageFactory } from '../../src/storage/random-access.ts'
import type { FileStamp } from '../../src/storage/stamps.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { failure } from './feeds.ts'

/** A directory where also short feeds are said to be clean. */
function storageOf(folder: string, stampOf?: (name: string) => FileStamp | null): StorageFactory {
  const storage = directoryStorage(folder)
  return Object.assign(storage, { stampsFrom: 0, stampOf: stampOf ?? storage.stampOf })
}

/** As after a power failure that took the times of files with it. */
function sizesOnly(folder: string): (name: string) => FileStamp | null {
  return (name) => {
    const file = fs.statSync(path.join(folder, name), { throwIfNoEntry: false })
    return file === undefined ? null : { text: `${file.size}`, settles: 0 }
  }
}

async function open(
  storage: StorageFactory,
  options: FeedOptions & { key?: Uint8Array } = {}
): Promise<Feed> {
  const feed = ddatabase(storage, options.key ?? null, options)
  await feed.ready()
  return feed
}

/** Whether nothing but the checkpoint was read of the bits. */
function believed(feed: Feed): boolean {
  return (feed as unknown as { _core: { pages: Pages } })._core.pages.source !== null
}

/** Whether the checkpoint on the disk says that the files are clean. */
async function isMarked(folder: string, key: Uint8Array): Promise<boolean> {
  const files = new CheckpointFiles(directoryStorage(folder), key)
  await files.load()
  return files.clean !== null
}

const blocksOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => Buffer.from(`block ${i}`))

/** A folder with a closed feed, and its key. */
async function closedFeed(t: Test, blocks: readonly Buffer[]): Promise<{ folder: string; key: Uint8Array }> {
  const folder = await temporaryFolder(t)
  const feed = await open(storageOf(folder))
  await feed.append(blocks as Buffer[])
  await feed.close()
  return { folder, key: feed.key! }
}

test('clean opening: reads little of a feed of a million blocks, and has all of it', async (t) => {
  const folder = await temporaryFolder(t)
  const length = 1_000_000
  const feed = ddatabase(folder)
  const batch = Array.from({ length: 50_000 }, () => Buffer.alloc(1, 7))
  for (let at = 0; at < length; at += batch.length) await feed.append(batch)
  await feed.clear(500_000, 500_003)
  await feed.close()

  const { readSync, readFileSync, read } = fs
  let bytes = 0
  fs.readSync = ((...args: Parameters<typeof readSync>) => {
    const done = readSync(...args)
    bytes += done
    return done
  }) as typeof readSync
  fs.readFileSync = ((...args: Parameters<typeof readFileSync>) => {
    const content = readFileSync(...args)
    bytes += content.length
    return content
  }) as typeof readFileSync
  fs.read = ((...args: unknown[]) => {
    bytes += args[3] as number
    return (read as (...given: unknown[]) => void)(...args)
  }) as typeof read
  t.teardown(() => Object.assign(fs, { readSync, readFileSync, read }))
  const again = ddatabase(folder)
  await again.ready()
  t.ok(believed(again))
  t.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes are read`)
  t.deepEqual(await again.get(length - 1), Buffer.alloc(1, 7))
  t.ok(bytes < 150_000, `${bytes} with the last block`)
  Object.assign(fs, { readSync, readFileSync, read })
  t.equal(again.length, length)
  t.equal(again.downloaded(), length - 3)
  t.deepEqual(
    [499_999, 500_000, 500_002, 500_003].map((block) => again.has(block)),
    [true, false, false, true]
  )
  t.equal((await again.audit()).invalid, 0)
  await again.append('one more')
  await again.close()
  const theirs = published(folder)
  await theirs.ready()
  t.equal(theirs.length, length + 1)
  t.equal(theirs.feed.downloaded(), length - 2, 'the published package sees the same')
  await theirs.close()
})

test('clean opening: what is said is taken back before the first change, and said again at the end', async (t) => {
  const { folder, key } = await closedFeed(t, blocksOf(10))
  t.equal(await isMarked(folder, key), true, 'closed')
  const before = await Promise.all([0, 1].map((i) => readFile(path.join(folder, `checkpoint.${i}`))))
  let feed = await open(storageOf(folder))
  t.equal(believed(feed), true)
  await feed.get(3)
  await feed.close()
  const after = await Promise.all([0, 1].map((i) => readFile(path.join(folder, `checkpoint.${i}`))))
  t.deepEqual(after, before, 'reading changes nothing')
  const changes: ((feed: Feed) => Promise<unknown>)[] = [
    (changed) => changed.append('more'),
    (changed) => changed.clear(2),
    (changed) => changed.truncate(8),
    async (changed) => {
      const { _storage: storage } = changed as unknown as {
        _storage: Record<string, (...args: unknown[]) => unknown>
      }
      await storage.putNode!(0, await storage.getNode!(0))
    }
  ]
  for (const change of changes) {
    feed = await open(storageOf(folder))
    t.equal(believed(feed), true)
    t.equal(await isMarked(folder, key), true)
    await change(feed)
    t.equal(await isMarked(folder, key), false, 'changed')
    await feed.close()
    t.equal(await isMarked(folder, key), true, 'closed')
  }
  feed = await open(storageOf(folder))
  t.equal(believed(feed), true)
  t.deepEqual(
    Array.from({ length: feed.length }, (_, i) => feed.has(i)),
    [true, true, false, true, true, true, true, true]
  )
  await feed.close()
})

test('clean opening: taken back in time of a feed that can be appended to and stays open', async (t) => {
  const { folder, key } = await closedFeed(t, blocksOf(10))
  const feed = await open(storageOf(folder))
  while (await isMarked(folder, key)) await new Promise((resolve) => setTimeout(resolve, 20))
  await feed.get(3)
  await feed.close()
  t.equal(await isMarked(folder, key), true, 'and said again')
  const again = await open(storageOf(folder))
  t.equal(believed(again), true)
  await again.close()
})

test('clean opening: a change is not written if that cannot be taken back', async (t) => {
  const { folder } = await closedFeed(t, blocksOf(10))
  const inner = storageOf(folder)
  let fails = false
  const storage = Object.assign((name: string, options: object) => {
    const file = inner(name, options)
    if (!fails || !name.startsWith('checkpoint')) return file
    const broken = (...args: unknown[]): void => {
      setImmediate(args.at(-1) as (error: Error) => void, Object.assign(new Error('EIO'), { code: 'EIO' }))
    }
    return Object.assign(file, { write: broken, unlink: broken, destroy: broken })
  }, inner) as StorageFactory
  const feed = await open(storage)
  t.equal(believed(feed), true)
  fails = true
  const bits = await readFile(path.join(folder, 'bitfield'))
  const signatures = await readFile(path.join(folder, 'signatures'))
  t.equal((await failure(feed.append('more'))).code, 'ERR_STORAGE')
  t.deepEqual(await readFile(path.join(folder, 'bitfield')), bits)
  t.deepEqual(await readFile(path.join(folder, 'signatures')), signatures)
  t.equal(feed.length, 10)
  fails = false
  await feed.append('more')
  t.equal(feed.length, 11)
  await feed.close()
})

test('clean opening: another package, or somebody who sets times back, changes the files in between', async (t) => {
  const random = new SeededRandom(5)
  const { folder } = await closedFeed(t, blocksOf(40))
  const blocks: (Buffer | null)[] = blocksOf(40)
  let clean = 0
  for (let round = 0; round < 60; round++) {
    const mine = random.chance(0.5)
    const times = await Promise.all(
      ['bitfield', 'tree', 'signatures'].map((name) => stat(path.join(folder, name)))
    )
    if (mine) {
      const feed = await open(storageOf(folder))
      if (believed(feed)) clean++
      const here = Array.from({ length: feed.length }, (_, i) => feed.has(i))
      t.deepEqual(
        here,
        blocks.map((block) => block !== null),
        `round ${round}`
      )
      const block = random.below(blocks.length)
      if (blocks[block] !== null) t.deepEqual(await feed.get(block), blocks[block])
      const what = random.below(4)
      if (what === 0) {
        blocks.push(random.bytes(9))
        await feed.append(blocks.at(-1)!)
      } else if (what === 1) {
        blocks[block] = null
        await feed.clear(block)
      } else if (what === 2 && blocks.length > 30) {
        blocks.length -= 2
        await feed.truncate(blocks.length)
      }
      await feed.close()
    } else {
      const feed = published(folder)
      await feed.ready()
      const block = random.below(blocks.length)
      if (random.chance(0.5)) {
        blocks.push(random.bytes(9))
        await feed.append(blocks.at(-1)!)
      } else {
        blocks[block] = null
        await feed.clear(block, block + 1)
      }
      await feed.close()
      // The time of the last change of any kind still tells.
      for (const [i, name] of ['bitfield', 'tree', 'signatures'].entries())
        await utimes(path.join(folder, name), times[i]!.atimeMs / 1000, times[i]!.mtimeMs / 1000)
    }
  }
  // In place: the files keep their sizes.
  const before = (await stat(path.join(folder, 'signatures'))).size
  const theirs = published(folder)
  await theirs.ready()
  await theirs.call('truncate', blocks.length - 1)
  blocks[blocks.length - 1] = Buffer.from('other nine')
  await theirs.append(blocks.at(-1)!)
  await theirs.close()
  t.equal((await stat(path.join(folder, 'signatures'))).size, before, 'as long')
  const last = await open(storageOf(folder))
  t.equal(believed(last), false, 'not believed')
  t.equal(last.length, blocks.length)
  t.deepEqual(await last.get(blocks.length - 1), blocks.at(-1))
  await last.close()
  t.ok(clean > 5, `${clean} openings of files that nobody had changed`)
})

test('clean opening: a power failure takes the times, and leaves what others wrote', async (t) => {
  const { folder } = await closedFeed(t, blocksOf(20))
  const storage = () => storageOf(folder, sizesOnly(folder))
  await (await open(storage())).close()
  // A longer history, and one as long that is another.
  let theirs = published(folder)
  await theirs.append('theirs')
  await theirs.close()
  let feed = await open(storage())
  t.equal(believed(feed), false, 'the files are longer')
  t.equal(feed.length, 21)
  await feed.close()
  feed = await open(storage())
  t.equal(believed(feed), true)
  await feed.close()
  feed = await open(directoryStorage(folder))
  const { secretKey } = feed
  await feed.close()
  const other = await temporaryFolder(t)
  theirs = published(other, Buffer.from(feed.key!), { secretKey })
  await theirs.append(
    Array.from({ length: 21 }, (_, i) => Buffer.from(`other ${String(i).padStart(2, '0')}`))
  )
  await theirs.close()
  for (const name of ['bitfield', 'tree', 'signatures', 'data'])
    fs.writeFileSync(path.join(folder, name), await readFile(path.join(other, name)))
  feed = await open(storage())
  t.equal(believed(feed), false, 'the roots are others')
  t.deepEqual(await feed.get(20), Buffer.from('other 20'))
  await feed.close()
})

test('clean opening: bits that are damaged at rest, as nobody can see', async (t) => {
  const { folder } = await closedFeed(t, blocksOf(100))
  const storage = () => storageOf(folder, sizesOnly(folder))
  await (await open(storage())).close()
  const bits = await readFile(path.join(folder, 'bitfield'))
  // A block that is not here any more, one that never was, and a node.
  bits[32 + 3]! ^= 0x10
  bits[32 + 100]! ^= 0x10
  bits[32 + 1024 + 5]! ^= 0x10
  fs.writeFileSync(path.join(folder, 'bitfield'), bits)
  let feed = await open(storage())
  t.equal(believed(feed), true)
  t.equal(feed.downloaded(), 100)
  t.deepEqual(await feed.get(27), Buffer.from('block 27'))
  const report = await feed.audit({})
  t.deepEqual(
    (report as unknown as { damage: { file: string; problem: string }[] }).damage.map(({ file }) => file),
    ['bitfield'],
    'an audit sees it'
  )
  await feed.append('more')
  await feed.close()
  feed = await open(storage())
  t.deepEqual((await feed.audit({})) as object, { ...(await feed.audit({})), damage: [], invalid: 0 })
  await feed.close()
  const theirs = published(folder)
  await theirs.ready()
  t.equal(theirs.feed.downloaded(), 101, 'written again with the next change')
  await theirs.close()
})

test('clean opening: the bits cannot be read when they are to be changed', async (t) => {
  const { folder } = await closedFeed(t, blocksOf(100))
  const inner = storageOf(folder)
  let fails = false
  const storage = Object.assign((name: string, options: object) => {
    const file = inner(name, options)
    if (name !== 'bitfield') return file
    const { readSync } = file
    file.readSync = (...args) => {
      if (fails) throw Object.assign(new Error('EIO'), { code: 'EIO' })
      return readSync!.apply(file, args)
    }
    return file
  }, inner) as StorageFactory
  const feed = await open(storage)
  t.equal(believed(feed), true)
  fails = true
  t.equal(feed.has(50), true, 'what is here is known')
  t.deepEqual(await feed.get(50), Buffer.from('block 50'))
  t.equal((await failure(feed.append('more'))).code, 'ERR_STORAGE')
  t.equal((await failure(feed.clear(4))).code, 'ERR_STORAGE')
  t.equal(feed.length, 100)
  t.equal(feed.has(4), true)
  fails = false
  await feed.append('more')
  await feed.clear(4)
  await feed.close()
  const again = await open(storageOf(folder))
  t.equal(again.length, 101)
  t.equal(again.has(4), false)
  t.deepEqual(await again.get(100), Buffer.from('more'))
  await again.close()
})

test('clean opening: a copy goes on with what it has', async (t) => {
  const { folder: from } = await closedFeed(t, blocksOf(300))
  const source = await open(directoryStorage(from))
  const folder = await temporaryFolder(t)
  const random = new SeededRandom(9)
  const here = new Set<number>()
  for (let round = 0; round < 12; round++) {
    const copy = await open(storageOf(folder), { key: source.key!, sparse: true })
    t.equal(believed(copy), round > 0)
    for (let i = 0; i < 8; i++) {
      const block = random.below(300)
      await copy.put(
        block,
        await source.get(block),
        await source.proof(block, { digest: copy.digest(block) })
      )
      here.add(block)
    }
    const wrong = Array.from({ length: 300 }, (_, i) => i).filter((i) => copy.has(i) !== here.has(i))
    t.deepEqual(wrong, [], `round ${round}`)
    await copy.close()
  }
  await source.close()
})

test('clean opening: not said of files that could change without a trace', async (t) => {
  const { folder, key } = await closedFeed(t, blocksOf(3))
  const settling = async (settles: number[]): Promise<boolean> => {
    const feed = await open(
      storageOf(folder, (name) => {
        const { size } = fs.statSync(path.join(folder, name))
        return { text: `${size}`, settles: settles.length > 3 ? settles.shift()! : settles[0]! }
      })
    )
    await feed.append('more')
    await feed.close()
    return isMarked(folder, key)
  }
  t.equal(await settling([0]), true)
  t.equal(await settling([1000]), false, 'not for a long time')
  t.equal(await settling([Number.POSITIVE_INFINITY]), false, 'never')
  t.equal(await settling([10, 10, 10, 0, 0, 0]), true, 'after a while')
  t.equal(await settling([10, 10, 10, 10, 10, 10]), false, 'no end of it')
  // Without anything that tells.
  const plain = Object.assign(directoryStorage(folder), { stampsFrom: 0, stampOf: undefined }) as never
  let feed = await open(plain)
  t.equal(believed(feed), false)
  await feed.append('more')
  await feed.close()
  t.equal(await isMarked(folder, key), false)
  feed = await open(storageOf(folder))
  t.equal(believed(feed), false)
  t.equal(feed.length, 9)
  await feed.close()
  t.equal(await isMarked(folder, key), true, 'said of a feed that was only read')
})
