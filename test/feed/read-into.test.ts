/** Blocks that are read for an upload and looked at later. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import type { Core } from '../../src/feed/core.ts'
import { readInto } from '../../src/feed/reader.ts'
import type { Feed } from '../../src/index.ts'
import ddatabase from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'

const coreOf = (feed: Feed) => (feed as unknown as { _core: Core })._core
const block = (fill: string) => Buffer.alloc(20_000, fill)

/** A feed in a folder, opened afresh, with blocks a, b, c and d. */
async function reopened(folder: string): Promise<Feed> {
  const first = ddatabase(folder)
  await first.append(['a', 'b', 'c', 'd'].map(block))
  await first.close()
  const feed = ddatabase(folder)
  await feed.ready()
  return feed
}

test('read into: as many as there is room for, as views of it', async (t) => {
  const folder = await temporaryFolder(t)
  const feed = await reopened(folder)
  const target = Buffer.alloc(65_000)
  const blocks = readInto(coreOf(feed), 1, 4, target)!.verified()!
  t.deepEqual(
    blocks.map(String),
    ['b', 'c', 'd'].map((fill) => block(fill).toString())
  )
  t.ok(blocks.every(({ buffer }) => buffer === target.buffer))
  t.equal(readInto(coreOf(feed), 0, 4, target)!.verified()!.length, 3)
  t.equal(readInto(coreOf(feed), 0, 4, Buffer.alloc(19_999)), null, 'no room for one')
  await feed.close()
})

test('read into: what was replaced meanwhile is not given out', async (t) => {
  const folder = await temporaryFolder(t)
  const feed = await reopened(folder)
  const target = Buffer.alloc(65_000)
  const old = readInto(coreOf(feed), 2, 4, target)!
  await feed.truncate(2)
  await feed.append(['C', 'D'].map(block))
  t.equal(old.verified(), null)
  t.deepEqual(
    readInto(coreOf(feed), 2, 4, target)!.verified()!.map(String),
    ['C', 'D'].map((fill) => block(fill).toString())
  )
  await feed.close()
})

test('read into: nor is what does not hold', async (t) => {
  const folder = await temporaryFolder(t)
  const feed = await reopened(folder)
  const data = await open(path.join(folder, 'data'), 'r+')
  await data.write('x', 20_001)
  await data.close()
  const target = Buffer.alloc(65_000)
  t.equal(readInto(coreOf(feed), 0, 3, target)!.verified(), null)
  t.equal(readInto(coreOf(feed), 0, 1, target)!.verified()!.length, 1, 'what is before it is')
  await feed.close()
})
