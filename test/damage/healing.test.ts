/** Damaged feeds among peers: what is lost is fetched again, and nothing false is uploaded. */
import { closeSync, openSync, readdirSync, writeSync } from 'node:fs'
import path from 'node:path'
import flat from 'flat-tree'
import test from 'tape'
import ddatabase, { DDatabaseError, type Feed, type Storage } from '../../src/index.ts'
import { failure, memory } from '../feed/feeds.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { until } from '../helpers/replication-feeds.ts'
import { within } from '../helpers/watchdog.ts'
import {
  answers,
  BLOCKS,
  expected,
  flip,
  offsetOf,
  opened,
  slotOf,
  storedAuthor,
  storedCopy,
  storedStatic
} from './stored.ts'

/** Connects two feeds; answers what ends the connection and waits for it. */
function connected(a: Feed, b: Feed): () => Promise<void> {
  const [one, other] = [a.replicate(true, { live: true }), b.replicate(false, { live: true })]
  const errors: unknown[] = []
  for (const stream of [one, other])
    stream.on('error', (error) => DDatabaseError.is(error) && errors.push(error))
  one.pipe(other as never)
  other.pipe(one as never)
  return async () => {
    const closed = Promise.all(
      [one, other].map((stream) => new Promise<void>((resolve) => stream.on('close', () => resolve())))
    )
    one.destroy()
    await within(closed, 'close')
    if (errors.length > 0) throw errors[0]
  }
}

test('healing: a copy fetches what was damaged', async (t) => {
  const author = await storedAuthor()
  const files = await storedCopy(author)
  for (const block of [3, 12, 13, 36]) flip(files, 'data', offsetOf(block))
  flip(files, 'tree', slotOf(24))
  const feed = await opened(files, { sparse: true })
  const source = await opened(author)
  const cut = connected(source, feed)
  t.deepEqual(await answers(feed, { timeout: 5000 }), expected())
  await cut()
  t.deepEqual((await feed.audit({})).damage, [])
  await Promise.all([feed.close(), source.close()])
})

test('healing: a full copy does so by itself', async (t) => {
  const author = await storedAuthor()
  const files = await storedCopy(author)
  flip(files, 'data', offsetOf(12))
  const feed = await opened(files)
  const source = await opened(author)
  const cut = connected(source, feed)
  const fetched = new Promise((resolve) => feed.on('download', resolve))
  const { damage } = await feed.audit({})
  t.deepEqual(
    damage.map(({ start }) => start),
    [12]
  )
  t.equal(await within(fetched, 'download'), 12)
  await cut()
  t.equal(String(await feed.get(12)), String(BLOCKS[12]))
  await Promise.all([feed.close(), source.close()])
})

test('healing: an author that downloads gets its block back', async (t) => {
  const files = await storedAuthor()
  const copy = await opened(await storedCopy(files))
  flip(files, 'data', offsetOf(12))
  const feed = await opened(files, { downloading: true })
  const cut = connected(copy, feed)
  t.equal(String(await feed.get(12, { timeout: 5000 })), String(BLOCKS[12]))
  await cut()
  await Promise.all([feed.close(), copy.close()])
})

test('healing: a peer that leaves ends the wait for a damaged block', async (t) => {
  const files = await storedCopy(await storedAuthor())
  flip(files, 'data', offsetOf(12))
  const feed = await opened(files, { sparse: true })
  t.equal((await failure(feed.get(12))).code, 'ERR_BLOCK_DAMAGED', 'there is none')
  const silent = await opened(await storedAuthor(), { uploading: false })
  await Promise.all([feed.close(), silent.close()])
})

test('healing: nothing false is uploaded', async (t) => {
  const files = await storedAuthor()
  flip(files, 'data', offsetOf(12))
  flip(files, 'data', offsetOf(20))
  // Two levels on the same way, and one elsewhere.
  for (const treeIndex of [7, 15, 43]) flip(files, 'tree', slotOf(treeIndex) + 4)
  const damaged = await opened(files)
  const copy = ddatabase(memory(), damaged.key, { sparse: true })
  await copy.ready()
  const cut = connected(damaged, copy)
  await within(copy.update({ ifAvailable: true }), 'update')
  const read = await answers(copy, { ifAvailable: true, timeout: 5000 })
  const lost = 'ERR_BLOCK_NOT_AVAILABLE'
  t.deepEqual(read, expected({ 12: lost, 20: lost }))
  await cut()
  await Promise.all([damaged.close(), copy.close()])
})

test('healing: a static feed proves blocks by no roots but those of its key', async (t) => {
  const base = await storedStatic()
  for (const treeIndex of [0, 2, 5, 16, 23, 47]) {
    const files = base.clone()
    flip(files, 'bitfield', 32 + 1024 + Math.floor(treeIndex / 8), 7 - (treeIndex % 8))
    // Where nothing can be synchronised bits are believed.
    const damaged = ddatabase(files.factory() as never as Storage)
    // This takes the node for known without its bit. Proofs of the blocks beside it end there, at roots of another length.
    await damaged.get(flat.leftSpan(treeIndex) / 2)
    const sibling = flat.leftSpan(flat.sibling(treeIndex)) / 2
    t.equal((await failure(damaged.proof(sibling))).code, 'ERR_NO_PROOF')
    const copy = ddatabase(memory(), damaged.key, { sparse: true })
    await copy.ready()
    const cut = connected(damaged, copy)
    const block = await copy.get(sibling, { timeout: 5000 })
    t.deepEqual(block, BLOCKS[sibling], `node ${treeIndex}, block ${sibling}: the bit is worked out anew`)
    t.deepEqual(await answers(copy, { timeout: 5000 }), expected())
    await cut()
    await Promise.all([damaged.close(), copy.close()])
  }
})

test('healing: what comes from a peer is not refused because of a node that is damaged here', async (t) => {
  const author = await storedAuthor()
  const files = await storedCopy(author, [0, 5, 36])
  const source = await opened(author)
  for (const treeIndex of [2, 5, 11, 23, 15]) {
    const damaged = files.clone()
    flip(damaged, 'tree', slotOf(treeIndex) + 4)
    const feed = await opened(damaged, { sparse: true })
    const cut = connected(source, feed)
    t.deepEqual(await answers(feed, { timeout: 5000 }), expected(), `node ${treeIndex}`)
    await cut()
    await feed.close()
  }
  await source.close()
})

test('healing: each time that nodes are forgotten there is another checkpoint soon', async (t) => {
  const folder = await temporaryFolder(t)
  const author = ddatabase(folder)
  await author.append(Array.from({ length: 100 }, (_, i) => `block ${i + 100}`))
  await author.close()
  const feed = ddatabase(folder)
  await feed.ready()
  const there = () => readdirSync(folder).some((name) => name.startsWith('checkpoint'))
  const spoil = (file: string, offset: number, size: number) => {
    const fd = openSync(path.join(folder, file), 'r+')
    writeSync(fd, Buffer.alloc(size, 7), 0, size, offset)
    closeSync(fd)
  }
  for (const block of [11, 51]) {
    for (const leaf of [2 * block - 2, 2 * block]) spoil('tree', slotOf(leaf), 32)
    spoil('data', 9 * (block - 1), 18)
    t.equal((await failure(feed.get(block, { wait: false }))).code, 'ERR_BLOCK_DAMAGED')
    t.notOk(there(), 'the checkpoint would miss them')
    await until(there, `a checkpoint after block ${block}`)
  }
  await feed.close()
})
