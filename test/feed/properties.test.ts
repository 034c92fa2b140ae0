/** Properties before opening, while open and after closing (spec API §3). */
import test from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { copyBlocks, feedOf, memory, replicaOf } from './feeds.ts'

const shown = (feed: Feed<unknown>) => ({
  opened: feed.opened,
  opening: feed.opening,
  closed: feed.closed,
  closing: feed.closing,
  actives: feed.actives,
  writable: feed.writable,
  readable: feed.readable,
  live: feed.live,
  length: feed.length,
  byteLength: feed.byteLength,
  peers: feed.peers.length,
  remoteLength: feed.remoteLength,
  bitfield: feed.bitfield !== null,
  tree: feed.tree !== null
})

test('properties: through the life of a feed', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const base = { actives: 0, live: true, length: 0, byteLength: 0, peers: 0, remoteLength: 0 }
  t.deepEqual(
    shown(feed),
    {
      ...base,
      opened: false,
      opening: true,
      closed: false,
      closing: false,
      writable: false,
      readable: true,
      bitfield: false,
      tree: false
    },
    'before ready'
  )
  await feed.append(['a', 'bc'])
  const open = {
    ...base,
    length: 2,
    byteLength: 3,
    opened: true,
    opening: false,
    closed: false,
    closing: false,
    writable: true,
    readable: true,
    bitfield: true,
    tree: true
  }
  t.deepEqual(shown(feed), open, 'open')
  const { key, discoveryKey, secretKey } = feed
  const closing = feed.close()
  t.deepEqual(
    shown(feed),
    { ...open, closing: true, writable: false, readable: false },
    'while it is closing: appends are refused'
  )
  await closing
  t.deepEqual(shown(feed), { ...open, closed: true, writable: false, readable: false }, 'closed')
  t.deepEqual([feed.key, feed.discoveryKey, feed.secretKey], [key, discoveryKey, secretKey], 'the keys stay')
  t.equal((feed as unknown as { id?: unknown }).id, undefined, 'no id')
})

test('properties: the data bits', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b', 'c', 'd'])
  await feed.clear(1)
  const { bitfield } = feed
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => bitfield!.get(i)),
    [true, false, true, true, false]
  )
  t.equal(bitfield!.total(0, 4), 3)
  t.equal(bitfield!.total(), 3)
  t.ok(bitfield!.length >= 4)
  const iterator = bitfield!.iterator(0, 4)
  t.deepEqual([iterator.next(), iterator.next()], [1, -1], 'iterates over what is missing')
  t.equal(bitfield!.set(1, true), true, 'set answers whether it changed')
  t.equal(bitfield!.set(1, true), false)
  t.equal(feed.has(1), true)
  bitfield!.set(1, false)
  await feed.close()
})

test('properties: the tree set', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b', 'c'])
  const { tree } = feed
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => tree!.get(i)),
    [true, true, true, false, true]
  )
  t.equal(tree!.blocks(), 3)
  t.equal(tree!.verifiedBy(0), 6)
  t.equal(tree!.digest(0), feed.digest(0))
  t.ok(tree!.proof(0) !== null)
  t.deepEqual([...(tree!.roots() as Iterable<number>)], [1, 4])
  for (const name of ['set', 'truncate'] as const) t.equal(typeof tree![name], 'function', name)
  await feed.close()
})

test('properties: stats', async (t) => {
  const nothing = { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 0, downloadedBytes: 0 }
  const source = await feedOf(['ab', 'cde'])
  t.deepEqual(source.stats, { peers: [], totals: nothing }, 'appends are no transfers')
  const replica = await replicaOf(source)
  const { totals } = replica.stats!
  await copyBlocks(source, replica, 1, 1)
  t.equal(replica.stats!.totals, totals, 'the totals are the live object')
  t.deepEqual(
    totals,
    { ...nothing, downloadedBlocks: 1, downloadedBytes: 3 },
    'a block that is new counts once'
  )
  await replica.close()
  const off = await replicaOf(source, { stats: false })
  await copyBlocks(source, off, 0)
  t.equal(off.stats, null, 'switched off')
  await off.close()
  const explicit = await feedOf([], { stats: undefined })
  t.ok(explicit.stats, 'undefined is the default')
  await explicit.close()
  await source.close()
})

test('properties: guards, timeouts and extensions', async (t) => {
  const feed = await feedOf([])
  t.equal(feed.ifAvailable.waiting, false)
  t.deepEqual(Object.keys(feed.timeouts).sort(), ['get', 'update'])
  t.deepEqual([...feed.extensions.names()], [])
  const given = {
    get: (callback: (error: null) => void) => callback(null),
    update: (callback: (error: null) => void) => callback(null)
  }
  const other = await feedOf([], { timeouts: given })
  t.equal(other.timeouts, given)
  await Promise.all([feed.close(), other.close()])
})
