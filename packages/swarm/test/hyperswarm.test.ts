/** Peers that find each other, on a network of ten nodes on loopback. */
import { createSocket } from 'node:dgram'
import ddatabase from 'ddatabase'
import RAM from 'random-access-memory'
import test from 'tape'
import { rejection, within } from '../../../test/helpers/watchdog.ts'
import { Swarm } from '../src/index.ts'
import { adopt, copyOf, LOOPBACK, makeFeed, makeNetwork, makeSwarm, next, until } from './helpers.ts'

const EAGER = { searchDelay: { min: 200, max: 1000 }, patience: 300 }

// Hyperswarm takes twelve seconds to find out that nobody answers: they pass while other tests run.
const absent = beginWithoutNetwork()

/** A writer and a reader on a network that is not there yet. */
async function beginWithoutNetwork() {
  const socket = createSocket('udp4').bind(0, LOOPBACK)
  await new Promise((resolve) => socket.once('listening', resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))

  const options = { bootstrap: [{ host: LOOPBACK, port }], host: LOOPBACK, ...EAGER }
  const [writer, reader] = [new Swarm(options), new Swarm(options)]
  const feed = ddatabase<string>(RAM, { valueEncoding: 'utf-8' })
  await feed.append(['zero', 'one', 'two'])
  const copy = ddatabase<string>(RAM, feed.key, { valueEncoding: 'utf-8' })
  const lonely = new Promise((resolve) => reader.once('no-peers', resolve))
  const joined = writer.join(feed, { client: false })
  reader.join(copy, { server: false })
  const flushed = Promise.all([writer.flush(), reader.flush()])
  return { port, writer, reader, joined, feed, copy, flushed, lonely }
}

test('hyperswarm: by key alone', async (t) => {
  const bootstrap = await makeNetwork(t)
  const [writer, reader] = [makeSwarm(t, { bootstrap }), makeSwarm(t, { bootstrap })]
  const feed = await makeFeed(t)
  const joined = writer.join(feed)
  t.deepEqual([joined.announced, joined.looked], [false, false])
  await within(joined.flushed(), 'the announcement')
  t.deepEqual([joined.announced, joined.looked, writer.stats.feeds.announced], [true, true, 1])
  t.ok(writer.stats.online)

  const copy = copyOf(t, feed, { sparse: true })
  const connected = next(writer, 'connection')
  reader.join(copy)
  // Nobody is known yet; the search is waited for.
  await within(copy.update({ ifAvailable: true }), 'update')
  t.equal(copy.length, 3)
  t.equal(await within(copy.get(1), 'a block'), 'one')
  const [connection] = await connected
  t.equal(connection.kind, 'hyperswarm')
  t.match(String(connection.address), /^127\.0\.0\.1:\d+$/)
  t.deepEqual(connection.remotePublicKey, reader.keyPair.publicKey)
  t.ok(connection.stream.authenticated, 'our own handshake inside of Hyperswarm’s')
  await within(reader.flush(), 'flush')

  const second = await makeFeed(t, ['another'])
  const secondCopy = copyOf(t, second)
  reader.join(second)
  writer.join(secondCopy)
  t.equal(await within(secondCopy.get(0), 'a block'), 'another', 'over the same connection')
  t.deepEqual([writer.connections.length, reader.connections.length], [1, 1])

  await within(writer.close(), 'close')
  await until(() => reader.connections.length === 0, 'the end')
  // What was announced was taken back.
  const late = makeSwarm(t, { bootstrap, ...EAGER })
  await late.join(copyOf(t, feed), { server: false }).flushed()
  await until(() => late.connections.length > 0, 'the connection')
  t.deepEqual([late.connections.length, late.stats.total.failed], [1, 0], 'only the reader is found')
})

test('hyperswarm: a feed nobody has', async (t) => {
  const bootstrap = await makeNetwork(t)
  const swarm = makeSwarm(t, { bootstrap, ...EAGER })
  const copy = copyOf(t, { key: Buffer.alloc(32, 3) })
  const lonely = next(swarm, 'no-peers')
  const searched: number[] = []
  swarm.on('searched', () => searched.push(Date.now()))
  const joined = swarm.join(copy)
  const error = await rejection(copy.get(0, { ifAvailable: true }), 'get')
  t.equal(error.code, 'ERR_BLOCK_NOT_AVAILABLE', 'when the search is over, not before, and not never')
  t.ok(joined.looked)
  await lonely
  await until(() => searched.length >= 3, 'it is looked for further on')
  await within(joined.leave(), 'leave')
  t.equal(swarm.stats.feeds.joined, 0)
})

test('hyperswarm: who comes later is found', async (t) => {
  const bootstrap = await makeNetwork(t)
  const reader = makeSwarm(t, { bootstrap, ...EAGER })
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  // Only a search of the reader's own can find the writer, which does not look for anybody.
  reader.join(copy, { server: false })
  await reader.flush()
  const writer = makeSwarm(t, { bootstrap })
  writer.join(feed, { client: false })
  t.equal(await within(copy.get(0), 'a block', 60_000), 'zero')

  await writer.destroy()
  await feed.append('three')
  const back = makeSwarm(t, { bootstrap })
  back.join(feed, { client: false })
  t.equal(await within(copy.get(3), 'a new block', 60_000), 'three', 'and found again')
})

test('hyperswarm: neither, then both', async (t) => {
  const bootstrap = await makeNetwork(t)
  const [writer, reader] = [makeSwarm(t, { bootstrap }), makeSwarm(t, { bootstrap, ...EAGER })]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  const joined = writer.join(feed, { server: false, client: false })
  await within(joined.flushed(), 'nothing to do')
  t.notOk(writer.stats.online, 'no node was started for it')
  reader.join(copy, { server: false })
  await reader.flush()
  t.equal(copy.length, 0)
  writer.join(feed, { server: true })
  await within(joined.flushed(), 'the announcement')
  t.equal(await within(copy.get(0), 'a block', 60_000), 'zero')
  t.ok(joined.announced)
})

test('hyperswarm: with TCP beside it there is one connection', async (t) => {
  const bootstrap = await makeNetwork(t)
  const options = { bootstrap, reconnectDelay: { min: 20, max: 100 } }
  const [one, other] = [makeSwarm(t, options), makeSwarm(t, options)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  const { address } = await one.listen()
  await other.connect(address)
  await one.join(feed).flushed()
  other.join(copy)
  await other.flush()
  t.equal(await within(copy.get(0), 'a block'), 'zero')
  await until(() => one.connections.length === 1 && other.connections.length === 1, 'one connection')
  // It stays so: neither of the two networks tries to get back what the other has.
  const opened = one.stats.total.opened
  await new Promise((resolve) => setTimeout(resolve, 1500))
  t.equal(one.stats.total.opened, opened)
  t.equal(one.connections[0]!.kind, other.connections[0]!.kind)
})

test('hyperswarm: a network that is not there, and comes', async (t) => {
  const { port, writer, reader, joined, feed, copy, flushed, lonely } = await absent
  adopt(t, writer, reader)
  t.teardown(() => Promise.all([feed.close(), copy.close()]))
  await within(flushed, 'flush', 60_000)
  await within(lonely, 'no-peers', 60_000)
  t.deepEqual([writer.stats.online, joined.announced, joined.looked], [false, false, true])

  await makeNetwork(t, 10, port)
  t.equal(await within(copy.get(0), 'a block', 60_000), 'zero')
  t.deepEqual([writer.stats.online, joined.announced], [true, true])
})

test('hyperswarm: peers that are as many as allowed', async (t) => {
  const bootstrap = await makeNetwork(t)
  const feed = await makeFeed(t)
  const writer = makeSwarm(t, { bootstrap, maxPeers: 2 })
  await writer.join(feed).flushed()
  const copies = [0, 1, 2, 3].map(() => copyOf(t, feed))
  const readers = copies.map((copy) => {
    const reader = makeSwarm(t, { bootstrap, maxPeers: 3, ...EAGER })
    reader.join(copy)
    return reader
  })
  // They get it from each other.
  await within(Promise.all(copies.map((copy) => copy.get(2))), 'the blocks', 60_000)
  t.ok(writer.stats.peers <= 2)
  for (const reader of readers) t.ok(reader.stats.peers <= 3)
})

for (const client of [true, false]) {
  test(`hyperswarm: a writer that comes ${client ? 'and looks for them' : 'and waits'} when all places are taken by peers that have nothing`, async (t) => {
    const bootstrap = await makeNetwork(t)
    const feed = await makeFeed(t)
    const copies = [copyOf(t, feed), copyOf(t, feed)]
    const readers = copies.map((copy) => {
      const reader = makeSwarm(t, { bootstrap, maxPeers: 1, ...EAGER })
      reader.join(copy)
      return reader
    })
    await until(() => readers.every(({ stats }) => stats.peers === 1), 'their connection')
    const writer = makeSwarm(t, { bootstrap, maxPeers: 2 })
    writer.join(feed, { client })
    t.deepEqual(await within(Promise.all(copies.map((copy) => copy.get(2))), 'the blocks', 60_000), [
      'two',
      'two'
    ])
  })
}

test('hyperswarm: an author who waits is found by copies that are complete for all they know, and have no place', async (t) => {
  const bootstrap = await makeNetwork(t)
  const feed = await makeFeed(t)
  const writer = makeSwarm(t, { bootstrap })
  writer.join(feed, { client: false })
  const copies = [copyOf(t, feed), copyOf(t, feed)]
  const readers = copies.map((copy) => {
    const reader = makeSwarm(t, { bootstrap, maxPeers: 1, ...EAGER })
    reader.join(copy)
    return reader
  })
  const blocks = [0, 1, 2].flatMap((index) => copies.map((copy) => copy.get(index)))
  await within(Promise.all(blocks), 'the blocks', 60_000)
  await writer.destroy()
  await until(() => readers.every(({ stats }) => stats.peers === 1), 'their connection')
  await until(() => copies.every(({ peers }) => peers.length === 1), 'the feed on it')
  await feed.append('three')
  const back = makeSwarm(t, { bootstrap })
  back.join(feed, { client: false })
  const news = Promise.all(copies.map((copy) => copy.get(3)))
  t.deepEqual(await within(news, 'the new block', 60_000), ['three', 'three'])
})

test('hyperswarm: a host by its name, and one that cannot be bound', async (t) => {
  const bootstrap = await makeNetwork(t)
  const feed = await makeFeed(t)
  const named = makeSwarm(t, { bootstrap, host: 'localhost' })
  await within(named.join(feed).flushed(), 'the announcement')
  t.ok(named.stats.online)

  // Of a network that is for documents; a rejection that nobody handles would end the tests here.
  const swarm = makeSwarm(t, { bootstrap, host: '203.0.113.7', searchDelay: { min: 50 } })
  const warned = next(swarm, 'warning')
  const copy = copyOf(t, feed)
  swarm.join(copy)
  await within(swarm.flush(), 'flush')
  const [first] = await warned
  t.deepEqual([first.code, (first.cause as { code?: string }).code], ['ERR_DHT', 'EADDRNOTAVAIL'])
  const { code } = await rejection(copy.update({ ifAvailable: true }), 'an update')
  t.equal(code, 'ERR_UPDATE_NOT_AVAILABLE', 'the feed does not wait for the search any more')
  const [second] = await next(swarm, 'warning')
  t.equal(second.code, 'ERR_DHT', 'it is tried again')
})

test('hyperswarm: 100 feeds, the important ones first', async (t) => {
  const bootstrap = await makeNetwork(t)
  const writer = makeSwarm(t, { bootstrap, parallel: 4 })
  const feeds = await Promise.all(Array.from({ length: 100 }, (_, i) => makeFeed(t, [`feed ${i}`])))
  const announced: number[] = []
  writer.on('searched', ({ feed }) => announced.push(feeds.indexOf(feed as never)))
  feeds.forEach((feed, i) => void writer.join(feed, { priority: i >= 90 ? 5 : 1 }))
  await within(writer.flush(), 'flush', 60_000)
  t.equal(writer.stats.feeds.announced, 100)
  t.equal(writer.stats.feeds.waiting, 0)
  const late = [...announced.keys()].filter((at) => announced[at]! >= 90 && at >= 25)
  t.deepEqual(late, [], 'those with a high priority were among the first')

  const reader = makeSwarm(t, { bootstrap })
  const copies = feeds.map((feed) => copyOf(t, feed))
  for (const copy of copies) reader.join(copy)
  const values = await within(Promise.all(copies.map((copy) => copy.get(0))), 'the blocks', 60_000)
  t.deepEqual(
    values,
    [...feeds.keys()].map((i) => `feed ${i}`)
  )
  t.equal(reader.stats.total.opened, 1, 'over one connection')
})
