/** Openings after a process has died: of the bits, only those pages are read that may have been written since the checkpoint. */
import fs from 'node:fs'
import { cp } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import type { Pages } from '../../src/bitfield/pages.ts'
import ddatabase, { type Feed } from '../../src/index.ts'
import { CheckpointFiles } from '../../src/storage/checkpoint-files.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { TouchedPages } from '../../src/storage/touched-pages.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGE = 8192
// A few blocks more do not fill the last page: a parent of pages is in another page.
const LENGTH = 5 * PAGE - 10

/** A directory where also short feeds tell which pages are touched. */
function storageOf(folder: string): never {
  return Object.assign(directoryStorage(folder), { stampsFrom: 0 }) as never
}

async function open(t: Test, storage: never, key: Uint8Array | null = null, options = {}): Promise<Feed> {
  const feed = ddatabase(storage, key, options)
  await feed.ready()
  t.teardown(() => feed.close())
  return feed
}

/** The folder as a process that dies now leaves it. */
async function killed(t: Test, folder: string): Promise<string> {
  const copy = path.join(await temporaryFolder(t), 'killed')
  await cp(folder, copy, { recursive: true })
  return copy
}

function pagesOf(feed: Feed): Pages {
  return (feed as unknown as { _core: { pages: Pages } })._core.pages
}

/** Whether pages are read when they are needed. */
function readsLater(feed: Feed): boolean {
  return pagesOf(feed).source !== null
}

/** Ranges of pages of which the checkpoint says that they may differ from it; null if it says nothing. */
async function touched(
  folder: string,
  key: Uint8Array
): Promise<readonly (readonly [number, number])[] | null> {
  const files = new CheckpointFiles(directoryStorage(folder), key)
  await files.load()
  return files.touched?.ranges ?? null
}

const many = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => Buffer.from([i & 255]))

/** A closed feed of some pages of bits. */
async function longFeed(t: Test, length = LENGTH): Promise<{ folder: string; key: Uint8Array }> {
  const folder = path.join(await temporaryFolder(t), 'feed')
  const feed = ddatabase(storageOf(folder))
  await feed.append(many(length))
  await feed.close()
  return { folder, key: feed.key! }
}

/** Counts the bytes that are read of files. */
function countReads(t: Test): { bytes: number } {
  const counted = { bytes: 0 }
  const { readSync, readFileSync, read } = fs
  fs.readSync = ((...args: Parameters<typeof readSync>) => {
    const done = readSync(...args)
    counted.bytes += done
    return done
  }) as typeof readSync
  fs.readFileSync = ((...args: Parameters<typeof readFileSync>) => {
    const content = readFileSync(...args)
    counted.bytes += content.length
    return content
  }) as typeof readFileSync
  fs.read = ((...args: unknown[]) => {
    counted.bytes += args[3] as number
    return (read as (...given: unknown[]) => void)(...args)
  }) as typeof read
  t.teardown(() => Object.assign(fs, { readSync, readFileSync, read }))
  return counted
}

test('killed opening: reads little of a feed of a million blocks', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'feed')
  const length = 1_000_000
  let feed = ddatabase(folder)
  for (let at = 0; at < length; at += 50_000) await feed.append(many(50_000))
  await feed.clear(500_000, 500_003)
  await feed.close()
  feed = await open(t, folder as never)
  await feed.append(['one', 'two'])
  await feed.clear(100_000)
  const left = await killed(t, folder)

  const counted = countReads(t)
  const again = await open(t, left as never)
  t.ok(readsLater(again))
  t.ok(counted.bytes > 0 && counted.bytes < 250_000, `${counted.bytes} bytes are read`)
  t.equal(again.length, length + 2)
  t.equal(again.downloaded(), length + 2 - 4)
  t.deepEqual(
    [99_999, 100_000, 500_000, 500_003, length, length + 1].map((block) => again.has(block)),
    [true, false, false, true, true, true]
  )
  t.deepEqual(await again.get(length + 1), Buffer.from('two'))
  t.equal((await again.audit()).invalid, 0)
  await again.append('three')
  await again.close()
  const theirs = published(left)
  await theirs.ready()
  t.equal(theirs.length, length + 3)
  t.equal(theirs.feed.downloaded(), length + 3 - 4, 'the published package sees the same')
  await theirs.close()
})

test('killed opening: the checkpoint tells of pages before they are written, in few ranges', async (t) => {
  const { folder, key } = await longFeed(t)
  t.equal(await touched(folder, key), null, 'closed')
  const feed = await open(t, storageOf(folder))
  await feed.append('more')
  t.deepEqual(await touched(folder, key), [[4, Number.MAX_SAFE_INTEGER]], 'where new blocks go')
  await feed.clear(PAGE - 1, PAGE + 1)
  // Index bytes of a page may lie in another one.
  const some = new TouchedPages((await touched(folder, key)) ?? [])
  t.deepEqual(
    [0, 1, 2, 4, 5].map((page) => some.has(page)),
    [true, true, false, true, true]
  )
  await feed.close()
  t.equal(await touched(folder, key), null, 'closed again')

  const copyFolder = path.join(await temporaryFolder(t), 'copy')
  const long = 400 * PAGE
  const source = await open(t, storageOf(path.join(await temporaryFolder(t), 'source')))
  const blocks = Array.from({ length: PAGE }, () => Buffer.from([1]))
  for (let at = 0; at < long; at += PAGE) await source.append(blocks)
  const copy = await open(t, storageOf(copyFolder), source.key, { sparse: true })
  const put = async (block: number): Promise<void> => {
    const proof = await source.proof(block, { digest: copy.digest(block) })
    await copy.put(block, await source.get(block), proof)
  }
  await put(long - 1)
  await copy.close()
  const reopened = await open(t, storageOf(copyFolder), null, { sparse: true })
  const random = new SeededRandom(7)
  const present: number[] = []
  for (let i = 0; i < 300; i++) {
    const block = random.below(long)
    present.push(block)
    const proof = await source.proof(block, { digest: reopened.digest(block) })
    await reopened.put(block, await source.get(block), proof)
  }
  const ranges = (await touched(copyFolder, source.key!))!
  t.ok(ranges.length <= 60, `${ranges.length} ranges for 300 blocks of 400 pages`)
  const last = await open(t, storageOf(await killed(t, copyFolder)), null, { sparse: true })
  t.ok(readsLater(last))
  t.ok(
    present.every((block) => last.has(block)),
    'all of them are here'
  )
  t.equal(last.downloaded(), reopened.downloaded())
})

test('killed opening: a checkpoint that is made meanwhile', async (t) => {
  const { folder, key } = await longFeed(t)
  const feed = await open(t, storageOf(folder))
  const { _core: core } = feed as unknown as {
    _core: { storage: { written: number; durability: { all(): Promise<void> } } }
  }
  const { durability } = core.storage
  const all = durability.all.bind(durability)
  let begun: () => void = () => {}
  let go: () => void = () => {}
  const waits = new Promise<void>((resolve) => {
    begun = resolve
  })
  durability.all = async () => {
    begun()
    await new Promise<void>((resolve) => {
      go = resolve
    })
    await all()
  }
  core.storage.written = 64 * 1024 * 1024
  await feed.append('begins it')
  await waits
  // Where new blocks go is told of already; an older page is so when the checkpoint counts.
  await feed.append('meanwhile')
  const clearing = feed.clear(2 * PAGE + 5)
  await new Promise((resolve) => setTimeout(resolve, 50))
  const during = await killed(t, folder)
  durability.all = all
  go()
  await clearing
  await feed.append('afterwards')
  const told = new TouchedPages((await touched(folder, key)) ?? [])
  t.deepEqual(
    [0, 2, 4, 5].map((page) => told.has(page)),
    [false, true, true, true],
    'the new one tells of both'
  )
  for (const [left, length] of [
    [during, LENGTH + 2],
    [await killed(t, folder), LENGTH + 3]
  ] as const) {
    const again = await open(t, storageOf(left))
    t.ok(readsLater(again))
    t.equal(again.length, length)
    t.deepEqual(await again.audit(), { valid: again.downloaded(), invalid: 0 })
    if (left !== during) t.notOk(again.has(2 * PAGE + 5), 'cleared')
  }
})

test('killed opening: what another package writes before the next one is not lost', async (t) => {
  const { folder, key } = await longFeed(t)
  const feed = await open(t, storageOf(folder))
  await feed.append('ours')
  const left = await killed(t, folder)
  const theirs = published(left)
  await theirs.ready()
  await theirs.append('theirs')
  await theirs.close()
  const again = await open(t, storageOf(left))
  t.deepEqual(await again.get(LENGTH + 1), Buffer.from('theirs'))
  await again.append('more')
  t.deepEqual(await again.audit(), { valid: LENGTH + 3, invalid: 0 })

  const copyFolder = path.join(await temporaryFolder(t), 'copy')
  const put = async (copy: Pick<Feed, 'put' | 'digest'>, block: number): Promise<void> => {
    const proof = await feed.proof(block, { digest: copy.digest(block) })
    await copy.put(block, await feed.get(block), proof)
  }
  const copy = await open(t, storageOf(copyFolder), key, { sparse: true })
  for (const block of [LENGTH, 7]) await put(copy, block)
  await copy.close()
  const used = await open(t, storageOf(copyFolder), null, { sparse: true })
  await put(used, LENGTH - 1)
  const leftCopy = await killed(t, copyFolder)
  const theirCopy = published(leftCopy, null, { sparse: true })
  await theirCopy.ready()
  const proof = await feed.proof(100, { digest: (theirCopy.feed as unknown as Feed).digest(100) })
  await theirCopy.call('put', 100, await feed.get(100), proof)
  await theirCopy.close()
  const last = await open(t, storageOf(leftCopy), null, { sparse: true })
  t.ok(readsLater(last))
  await put(last, 101)
  t.deepEqual(
    [7, 100, 101, LENGTH - 1].map((block) => last.has(block)),
    [true, true, true, true],
    'in a page that is written again, its bits and theirs are there'
  )
  t.deepEqual(await last.get(100), await feed.get(100))
})

test('killed opening: a list that may not be whole is not believed', async (t) => {
  const { folder, key } = await longFeed(t)
  let feed = await open(t, storageOf(folder))
  await feed.append('more')
  const left = await killed(t, folder)
  const files = new CheckpointFiles(directoryStorage(left), key)
  await files.load()
  t.ok(files.touched !== null)
  // The checkpoint before the last one tells of nothing that came after the last one.
  const names = ['checkpoint.0', 'checkpoint.1'].map((name) => path.join(left, name))
  const [older, newer] = (await sequences(names)).sort((a, b) => a.sequence - b.sequence)
  const bytes = fs.readFileSync(older!.name)
  bytes[bytes.length - 1]! ^= 1
  fs.writeFileSync(older!.name, bytes)
  const other = new CheckpointFiles(directoryStorage(left), key)
  await other.load()
  t.equal(other.touched, null, 'the one before is damaged: there may have been a later one')
  feed = await open(t, storageOf(left))
  t.notOk(readsLater(feed))
  t.equal(feed.length, LENGTH + 1)
  await feed.close()
  t.ok(newer!.sequence > older!.sequence)
})

async function sequences(names: readonly string[]): Promise<{ name: string; sequence: number }[]> {
  return names.map((name) => ({ name, sequence: Number(fs.readFileSync(name).readBigUInt64BE(8)) }))
}
