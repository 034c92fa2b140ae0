/** The bitfield is gone, and something else is damaged, or the key is another one: nothing is signed twice, and no copy is given up unasked. */
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { copyBlocks, memory } from '../feed/feeds.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { published } from '../helpers/published.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const LENGTH = 8
const blocks = Array.from({ length: LENGTH }, (_, i) => Buffer.from(`block ${i}`))

/** Changes bytes of a file. */
async function flip(folder: string, name: string, ...offsets: number[]): Promise<void> {
  const file = path.join(folder, name)
  const bytes = await readFile(file)
  for (const offset of offsets) bytes[offset]! ^= 4
  await writeFile(file, bytes)
}

/** A power failure takes the bits of the first eight blocks back, and of all nodes up to their root. */
async function loseBits(folder: string): Promise<void> {
  const file = path.join(folder, 'bitfield')
  const bytes = await readFile(file)
  bytes[32] = 0
  // Node 7 is the lowest bit of the first byte.
  bytes[32 + 1024]! &= 1
  bytes[32 + 1024 + 1] = 0
  await writeFile(file, bytes)
}

const nodes = (...indexes: number[]) => indexes.map((index) => 32 + 40 * index)

const AUTHORS: Record<string, (folder: string) => Promise<void>> = {
  async 'this package'(folder) {
    const feed = ddatabase(folder)
    for (const block of blocks) await feed.append(block)
    await feed.close()
  },
  async 'the published package'(folder) {
    const feed = published(folder)
    await feed.ready()
    for (const block of blocks) await feed.append(block)
    await feed.close()
  }
}

const LOSSES: Record<string, (folder: string) => Promise<void>> = {
  lost: (folder) => rm(path.join(folder, 'bitfield')),
  emptied: (folder) => truncate(path.join(folder, 'bitfield'), 0)
}

for (const [who, make] of Object.entries(AUTHORS)) {
  for (const [how, lose] of Object.entries(LOSSES)) {
    test(`bitfield ${how}: an author of ${who} with a damaged root and the node below it goes on where it was`, async (t) => {
      const folder = await temporaryFolder(t)
      await make(folder)
      await lose(folder)
      await flip(folder, 'tree', ...nodes(7, 3))
      const signatures = await readFile(path.join(folder, 'signatures'))
      const feed = ddatabase(folder)
      await within(feed.ready(), 'ready')
      t.deepEqual([feed.length, feed.recovery?.healedNodes], [LENGTH, 2], 'both are worked out')
      t.equal(await feed.append('other'), LENGTH)
      t.deepEqual({ ...(await feed.audit()) }, { valid: LENGTH + 1, invalid: 0 })
      await feed.close()
      const after = await readFile(path.join(folder, 'signatures'))
      t.ok(after.subarray(0, signatures.byteLength).equals(signatures), 'and nothing is signed twice')
    })

    test(`bitfield ${how}: an author of ${who} with all nodes damaged signs nothing twice`, async (t) => {
      const folder = await temporaryFolder(t)
      await make(folder)
      await lose(folder)
      await flip(folder, 'tree', ...nodes(...Array.from({ length: 15 }, (_, i) => i)))
      const signatures = await readFile(path.join(folder, 'signatures'))
      const feed = ddatabase(folder)
      feed.on('error', () => {})
      const opened = await within(
        feed.ready().then(
          () => null,
          (error) => error
        ),
        'ready'
      )
      if (opened !== null) t.equal(opened.code, 'ERR_FEED_DAMAGED', 'refused')
      else t.equal((await rejection(feed.append('other'), 'append')).code, 'ERR_BEHIND', 'no append')
      t.equal(opened !== null, who === 'this package', 'where a checkpoint knows the length, opening fails')
      await feed.close().catch(() => {})
      t.deepEqual(await readFile(path.join(folder, 'signatures')), signatures)
    })
  }
}

/** A folder with a copy of a feed in it. */
async function copied(t: Test, by: keyof typeof AUTHORS): Promise<string> {
  const author = ddatabase(await temporaryFolder(t))
  await author.append(blocks)
  const folder = await temporaryFolder(t)
  const create = by === 'this package' ? ddatabase : published
  const feed: unknown = create(folder, author.key!)
  const copy = (by === 'this package' ? feed : (feed as FeedFace).feed) as Feed
  await (feed as Feed).ready()
  const here = copy.replicate(true, { live: true })
  const there = author.replicate(false, { live: true })
  here.on('error', () => {})
  there.on('error', () => {})
  here.pipe(there).pipe(here)
  await new Promise<void>((resolve, reject) => {
    copy.download({ start: 0, end: LENGTH }, (error) => (error ? reject(error) : resolve()))
  })
  here.destroy()
  there.destroy()
  await (feed as Feed).close()
  await author.close()
  return folder
}

const CHANGES: Record<string, (folder: string) => Promise<unknown>> = {
  'a bit of the key': (folder) => flip(folder, 'key', 3),
  'a bit of the key, bitfield lost': async (folder) => {
    await flip(folder, 'key', 3)
    await LOSSES.lost!(folder)
  },
  'a bit of the key, no checkpoints': async (folder) => {
    await flip(folder, 'key', 3)
    for (const name of ['checkpoint.0', 'checkpoint.1']) await rm(path.join(folder, name), { force: true })
  },
  'signatures lost': (folder) => rm(path.join(folder, 'signatures'))
}

for (const by of Object.keys(AUTHORS)) {
  for (const [what, change] of Object.entries(CHANGES)) {
    test(`a copy of ${by}: ${what}`, async (t) => {
      const folder = await copied(t, by)
      const names = ['key', 'bitfield', 'signatures', 'tree', 'data']
      const before = await Promise.all(names.map((name) => readFile(path.join(folder, name))))
      await change(folder)
      const feed = ddatabase(folder)
      const error = await rejection(feed.ready(), 'ready')
      t.ok(['ERR_FEED_DAMAGED', 'ERR_KEY_DAMAGED'].includes(error.code as string), error.code as string)
      if (error.code === 'ERR_FEED_DAMAGED')
        t.ok((error as { damage?: unknown[] }).damage?.length, 'with a list')
      await feed.close().catch(() => {})
      for (const [i, name] of names.entries()) await writeFile(path.join(folder, name), before[i]!)
      const again: Feed = ddatabase(folder)
      await again.ready()
      t.deepEqual([again.length, again.downloaded()], [LENGTH, LENGTH], 'put back, everything is here')
      await again.close()
    })
  }
}

test('bits lost: a copy that knows nothing behind a large root finds its blocks again', async (t) => {
  const author = ddatabase(memory())
  // One root: of its length the copy has half the pages of bits.
  await author.append(Array.from({ length: 32_768 }, (_, i) => `block ${i}`))
  const folder = await temporaryFolder(t)
  const copy = ddatabase(folder, author.key!, { sparse: true })
  await copy.ready()
  await copyBlocks(author, copy, 3, 4, 5)
  await Promise.all([copy.close(), author.close()])
  await loseBits(folder)
  const again = ddatabase(folder)
  await again.ready()
  t.deepEqual([again.length, again.recovery?.foundBlocks], [32_768, 3])
  t.equal(String(await again.get(4)), 'block 4')
  await again.close()
})

test('bits lost: an author whose application has set a bit far away finds its blocks again', async (t) => {
  const folder = await temporaryFolder(t)
  const author = ddatabase(folder)
  await author.append(blocks)
  author.bitfield!.set(100_000, true)
  await author.append('one more')
  await author.close()
  await loseBits(folder)
  const again = ddatabase(folder)
  await again.ready()
  t.deepEqual([again.length, again.recovery?.foundBlocks], [LENGTH + 1, LENGTH])
  await again.close()
})

test('bits lost: a copy of a static feed is not taken for what it was at its last checkpoint, empty', async (t) => {
  const folder = await temporaryFolder(t)
  const author = ddatabase(path.join(folder, 'author'), { live: false })
  await author.append(['a', 'b', 'c', 'd', 'e'])
  await author.finalize()
  const where = path.join(folder, 'copy')
  const copy = ddatabase(where, author.key, { sparse: true })
  await copy.ready()
  const names = ['checkpoint.0', 'checkpoint.1'].map((name) => path.join(where, name))
  const before = await Promise.all(names.map((name) => readFile(name).catch(() => null)))
  t.ok(
    before.some((bytes) => bytes !== null),
    'there is a checkpoint'
  )
  await copyBlocks(author, copy, 4, 1)
  await Promise.all([author.close(), copy.close()])
  for (const [i, name] of names.entries())
    await (before[i] === null ? rm(name, { force: true }) : writeFile(name, before[i]!))
  await rm(path.join(where, 'bitfield'))
  const again = ddatabase(where, { sparse: true })
  await within(again.ready(), 'ready')
  t.deepEqual([again.length, again.has(1), again.has(4), again.has(0)], [5, true, true, false])
  t.equal(String(await again.get(1)), 'b')
  await again.close()
})
