/** hyperbee 1.10, unmodified, on a feed of ours: what it writes and reads here, without peers. */
import test from 'tape'
import type { FeedFace } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { Bench } from '../helpers/replication-feeds.ts'
import { OURS_HYPERCORE, PUBLISHED_HYPERCORE } from '../helpers/replication-subjects.ts'
import { rejection } from '../helpers/watchdog.ts'
import { all, beeIn, keys, pairs } from './hyperbee.ts'

test('hyperbee: put, get, del', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  t.equal(await bee.get('a'), null, 'nothing in an empty map')
  t.equal(bee.version, 1)
  await bee.put('b', '1')
  await bee.put('a', '2')
  await bee.put('b', '3')
  t.deepEqual(await bee.get('b'), { seq: 3, key: 'b', value: '3' }, 'the newer value')
  t.deepEqual(await bee.get('a'), { seq: 2, key: 'a', value: '2' })
  await bee.del('b')
  await bee.del('nothing')
  t.equal(await bee.get('b'), null, 'deleted')
  t.deepEqual(await pairs(bee.createReadStream()), ['a=2'])
})

test('hyperbee: a value is replaced only if the comparison says so', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  await bee.put('a', '5')
  const larger = {
    cas: (old: { value: unknown }, next: { value: unknown }) => Number(next.value) > Number(old.value)
  }
  await bee.put('a', '4', larger)
  t.equal((await bee.get('a'))?.value, '5')
  await bee.put('a', '6', larger)
  t.equal((await bee.get('a'))?.value, '6')
})

test('hyperbee: many keys, in a directory that is opened again', async (t) => {
  const folder = await temporaryFolder(t)
  const names = keys(0, 300)
  const first = OURS_HYPERCORE.open(folder)
  const writing = beeIn(first)
  // In an order that splits nodes everywhere.
  for (let i = 0; i < names.length; i++) {
    const name = names[(i * 7) % names.length]!
    await writing.put(name, `value of ${name}`)
  }
  for (const name of names.slice(100, 200)) await writing.del(name)
  await first.close()

  const again = OURS_HYPERCORE.open(folder)
  const bee = beeIn(again)
  await bee.ready()
  const left = [...names.slice(0, 100), ...names.slice(200)]
  t.deepEqual(
    await pairs(bee.createReadStream()),
    left.map((name) => `${name}=value of ${name}`)
  )
  t.equal((await bee.get('0042'))?.value, 'value of 0042')
  t.equal(await bee.get('0142'), null)
  await again.close()
})

test('hyperbee: batches', async (t) => {
  const feed = await new Bench(t, OURS_HYPERCORE).feed()
  const bee = beeIn(feed)
  await bee.put('old', '1')
  let appends = 0
  feed.feed.on('append', () => appends++)
  const batch = bee.batch()
  for (const name of keys(0, 40)) await batch.put(name, `v${name}`)
  await batch.del('old')
  t.equal((await batch.get('0007'))?.value, 'v0007', 'a batch reads what it has written')
  t.equal(await bee.get('0007'), null, 'others do not')
  await batch.flush()
  t.equal(appends, 1, 'one append of all blocks')
  t.deepEqual(
    await pairs(bee.createReadStream()),
    keys(0, 40).map((name) => `${name}=v${name}`)
  )

  const dropped = bee.batch()
  await dropped.put('x', 'y')
  dropped.destroy()
  t.equal(await bee.get('x'), null, 'a batch that is dropped')
  await bee.put('x', 'z')
  t.equal((await bee.get('x'))?.value, 'z', 'and holds nobody back')
})

test('hyperbee: writes at once are made one after the other', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  await Promise.all(keys(0, 50).map((name) => bee.put(name, name)))
  t.deepEqual(
    await pairs(bee.createReadStream()),
    keys(0, 50).map((name) => `${name}=${name}`)
  )
})

test('hyperbee: ranges', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  const batch = bee.batch()
  for (const name of keys(0, 100)) await batch.put(name, name)
  await batch.flush()
  const names = async (range: object) => (await all(bee.createReadStream(range))).map(({ key }) => key)
  t.deepEqual(await names({ gt: '0010', lt: '0015' }), keys(11, 15))
  t.deepEqual(await names({ gte: '0010', lte: '0015' }), keys(10, 16))
  t.deepEqual(await names({ gte: '0090' }), keys(90, 100))
  t.deepEqual(await names({ lt: '0003' }), keys(0, 3))
  t.deepEqual(await names({ gte: '0010', limit: 2 }), keys(10, 12))
  t.deepEqual(await names({ lt: '0010', limit: 3, reverse: true }), keys(7, 10).reverse())
  t.deepEqual(await names({ gt: '0010', lt: '0011' }), [], 'an empty one')
  t.equal((await bee.peek({ gte: '0050' }))?.key, '0050')
})

test('hyperbee: history, versions and differences', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  await bee.put('a', '1')
  await bee.put('b', '2')
  const before = bee.version
  const snapshot = bee.snapshot()
  await bee.put('a', '3')
  await bee.del('b')
  await bee.put('c', '4')
  const events = async (options?: object) =>
    (await all(bee.createHistoryStream(options))).map(({ type, key, value }) => `${type} ${key} ${value}`)
  const history = ['put a 1', 'put b 2', 'put a 3', 'del b null', 'put c 4']
  t.deepEqual(await events(), history)
  t.deepEqual(await events({ reverse: true }), [...history].reverse())
  t.deepEqual(await events({ gte: -2 }), history.slice(3), 'the last two')
  t.deepEqual(await pairs(snapshot.createReadStream()), ['a=1', 'b=2'], 'a snapshot stays as it was')
  t.equal((await bee.checkout(before).get('b'))?.value, '2')
  const difference = (await all(bee.createDiffStream(before))).map(
    ({ left, right }) =>
      `${left?.key ?? '-'}=${left?.value ?? '-'} ${right?.key ?? '-'}=${right?.value ?? '-'}`
  )
  t.deepEqual(difference, ['a=3 a=1', '-=- b=2', 'c=4 -=-'])
})

test('hyperbee: a live history goes on with what is written', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  await bee.put('a', '1')
  const seen: string[] = []
  const following = (async () => {
    for await (const { key } of bee.createHistoryStream({ live: true })) {
      seen.push(key)
      if (key === 'a') await bee.put('b', '2')
      if (key === 'b') return
    }
  })()
  await following
  t.deepEqual(seen, ['a', 'b'])
})

test('hyperbee: subs', async (t) => {
  const bee = beeIn(await new Bench(t, OURS_HYPERCORE).feed())
  const people = bee.sub('people')
  const places = bee.sub('places')
  await people.put('anna', '1')
  await places.put('anna', '2')
  await people.put('bert', '3')
  await people.sub('deep').put('er', '4')
  t.deepEqual(await people.get('anna'), { seq: 1, key: 'anna', value: '1' })
  t.deepEqual(await pairs(places.createReadStream()), ['anna=2'])
  t.deepEqual(await pairs(people.createReadStream({ gt: 'anna', lt: 'c' })), ['bert=3'])
  t.equal((await people.sub('deep').get('er'))?.value, '4')
  await people.del('anna')
  t.equal(await people.get('anna'), null)
  t.equal((await places.get('anna'))?.value, '2')
})

test('hyperbee: on a feed that is not writable', async (t) => {
  const bench = new Bench(t, OURS_HYPERCORE)
  const bee = beeIn(await bench.replica(await bench.writer()))
  t.equal(await bee.get('a'), null)
  const { code } = await rejection(bee.put('a', 'b'), 'put')
  t.equal(code, 'ERR_NOT_WRITABLE')
})

test('hyperbee: its blocks are those that it writes to hypercore 9', async (t) => {
  const write = async (feed: FeedFace) => {
    const bee = beeIn(feed, { metadata: { contentFeed: 'none' } })
    for (const name of keys(0, 60)) await bee.put(name, `value ${name}`)
    await bee.del('0030')
    const batch = bee.batch()
    await batch.put('x', 'y')
    await batch.put('0001', 'new')
    await batch.flush()
    const blocks = await Promise.all(Array.from({ length: feed.length }, (_, i) => feed.get(i)))
    return blocks.map((block) => Buffer.from(block as Uint8Array).toString('hex'))
  }
  const ours = await write(await new Bench(t, OURS_HYPERCORE).feed())
  const published = await write(await new Bench(t, PUBLISHED_HYPERCORE).feed())
  t.equal(ours.length, 64)
  t.deepEqual(ours, published)
})
