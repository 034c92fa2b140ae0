/** Which feeds are replicated on a connection, and what is told of them. */
import ddatabase, { type Feed } from 'ddatabase'
import hypercore, { ProtocolStream as HypercoreStream } from 'ddatabase/hypercore'
import RAM from 'random-access-memory'
import test from 'tape'
import { rejection, within } from '../../../test/helpers/watchdog.ts'
import type { Swarm, SwarmFeed } from '../src/index.ts'
import { copyOf, makeFeed, makeSwarm, next, until } from './helpers.ts'

test('what a peer does not have is refused, and served as soon as it has it', async (t) => {
  const [one, other] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  const refused = next(other, 'refused')
  const joined = other.join(copy)
  t.equal(other.join(copy), joined, 'joined twice is joined once')
  const { address } = await one.listen()
  const connection = await other.connect(address)
  const [refusedFeed, by] = await refused
  t.deepEqual([refusedFeed, by], [joined, connection])
  t.equal(joined.peers, 0)

  const peer = next(other, 'peer')
  // Not asked for here: the other side remembers who asked.
  const here = one.join(feed, { client: false })
  t.deepEqual([here.server, here.client], [true, false])
  await peer
  t.equal(await within(copy.get(1), 'a block'), 'one')
  t.deepEqual([joined.peers, here.peers], [1, 1])

  const removed = next(other, 'peer-remove')
  await here.leave()
  await removed
  t.deepEqual([joined.peers, other.feeds.length, one.feeds.length], [0, 1, 0])
  t.equal(one.connections.length, 1, 'the connection stays')
  t.equal(here.left, true)
  await one.leave(feed)

  const again = next(other, 'peer')
  one.join(feed, { client: false })
  await again
  t.equal(await within(copy.get(2), 'a block'), 'two', 'left and joined again')
})

test('a feed is served as soon as it is there, however many were refused before', async (t) => {
  const [one, other] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  const connection = await other.connect((await one.listen()).address)
  const key = Buffer.alloc(32)
  for (let i = 0; i < 5000; i++) {
    key.writeUInt32LE(i)
    const channel = connection.stream.open(Buffer.from(key))
    if (i % 500 === 0) await until(() => channel.closed, 'the refusal')
  }
  const refused = next(other, 'refused')
  other.join(copy)
  await refused
  one.join(feed, { client: false })
  t.equal(await within(copy.get(1), 'a block'), 'one')
})

test('a peer that only serves does not tell what it has', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t)]
  const feeds = await Promise.all([makeFeed(t), makeFeed(t)])
  for (const feed of feeds) server.join(feed, { client: false })
  const copy = copyOf(t, feeds[0]!)
  const { address } = await server.listen()
  const connection = await client.connect(address)
  await connection.stream.ping()
  client.join(copy)
  t.equal(await within(copy.get(0), 'a block'), 'zero')
  t.equal(connection.stream.channelCount, 1, 'nothing but what was asked for')
})

test('feeds on demand', async (t) => {
  const feed = await makeFeed(t)
  const wanted = copyOf(t, feed)
  const unknown = copyOf(t, { key: Buffer.alloc(32, 1) })
  const asked: string[] = []
  const server = makeSwarm(t, {
    open: async (discoveryKey, connection) => {
      asked.push(Buffer.from(discoveryKey).toString('hex').slice(0, 8))
      t.deepEqual(connection.remotePublicKey, client.keyPair.publicKey)
      await new Promise((resolve) => setImmediate(resolve))
      return Buffer.compare(discoveryKey, feed.discoveryKey!) === 0 ? feed : null
    }
  })
  const client = makeSwarm(t)
  const { address } = await server.listen()
  client.join(wanted)
  client.join(unknown)
  const opened = next(server, 'feed')
  const refused = next(client, 'refused')
  await client.connect(address)
  t.equal(await within(wanted.get(2), 'a block'), 'two')
  t.equal((await refused)[0].feed, unknown)
  const [joined] = await opened
  t.deepEqual([joined.feed, joined.server, joined.client], [feed as SwarmFeed, false, false])
  t.equal(asked.length, 2)

  const second = makeSwarm(t)
  const copy = copyOf(t, feed)
  second.join(copy)
  await second.connect(address)
  t.equal(await within(copy.get(0), 'a block'), 'zero', 'others get it as well')
  t.equal(asked.length, 2, 'and it is not asked for again')

  await server.leave(feed)
  t.equal(server.feeds.length, 0)
})

test('a function for feeds on demand that fails, or gives another feed', async (t) => {
  const feed = await makeFeed(t)
  const other = await makeFeed(t)
  const answers = [
    () => Promise.reject(new Error('no')),
    () => {
      throw new Error('not at all')
    },
    () => other,
    () => null
  ]
  for (const [i, open] of answers.entries()) {
    const server = makeSwarm(t, { open })
    const client = makeSwarm(t)
    const warned = i < 2 ? next(server, 'warning') : null
    const refused = next(client, 'refused')
    client.join(copyOf(t, feed))
    await client.connect((await server.listen()).address)
    await refused
    if (warned !== null) t.equal((await warned)[0].code, 'ERR_OPEN_HOOK')
    t.equal(client.connections.length, 1, 'the connection stays')
  }
})

test('feeds on demand that a peer has closed before the application was asked', async (t) => {
  const feed = await makeFeed(t)
  let asked = 0
  let answer = (): void => {}
  const answering = new Promise<void>((resolve) => {
    answer = resolve
  })
  const server = makeSwarm(t, {
    open: async (discoveryKey) => {
      asked++
      await answering
      return Buffer.compare(discoveryKey, feed.discoveryKey!) === 0 ? feed : null
    }
  })
  const client = makeSwarm(t)
  const connection = await client.connect((await server.listen()).address)
  const key = Buffer.alloc(32)
  for (let i = 0; i < 20_000; i++) {
    key.writeUInt32LE(i)
    connection.stream.open(Buffer.from(key)).close()
    if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const wanted = copyOf(t, feed)
  client.join(wanted)
  await until(() => server.connections[0]?.stream.remoteOpened(feed.key!) === true, 'the last one')
  answer()
  t.equal(await within(wanted.get(2), 'a block'), 'two', 'what is open is asked for')
  t.ok(asked < 10_000, `${asked} questions`)
})

test('openings and closings that cross come to an end', async (t) => {
  const feed = await makeFeed(t)
  const crossings: Record<string, (server: Swarm, client: Swarm, copy: SwarmFeed) => void> = {
    'joined right after it was refused': (server, client, copy) => {
      server.on('connection', ({ stream }) => {
        const refuse = stream.close
        stream.close = (discoveryKey) => {
          refuse.call(stream, discoveryKey)
          server.join(feed, { client: false })
        }
      })
      client.join(copy)
    },
    'left and joined again before the peer has answered': (server, client, copy) => {
      server.join(feed, { client: false })
      client.on('connection', () => {
        // Opened on the connection, closed, and opened again.
        client.join(copy)
        setTimeout(() => {
          void client.leave(copy)
          client.join(copy)
        })
      })
    }
  }
  for (const [name, begin] of Object.entries(crossings)) {
    const [server, client] = [makeSwarm(t), makeSwarm(t)]
    let openings = 0
    for (const swarm of [server, client]) {
      swarm.on('connection', ({ stream }) => void stream.on('discovery-key', () => openings++))
    }
    const copy = copyOf(t, feed)
    await copy.ready()
    begin(server, client, copy)
    await client.connect((await server.listen()).address)
    t.equal(await within(copy.get(2), 'a block'), 'two', name)
    // Nothing is opened any more, or far too much.
    let before: number
    do {
      before = openings
      await new Promise((resolve) => setTimeout(resolve, 500))
    } while (openings !== before && openings < 100)
    t.ok(openings < 20, `${openings} openings`)
    t.deepEqual([client.feeds[0]!.peers, server.feeds[0]!.peers], [1, 1], 'both have it open')
    await Promise.all([server.close(), client.close()])
  }
})

test('a wrong key: nobody has it, and that is told', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, { patience: 50 })]
  server.join(await makeFeed(t))
  const copy = copyOf(t, { key: Buffer.alloc(32, 9) })
  const lonely = next(client, 'no-peers')
  const refused = next(client, 'refused')
  const joined = client.join(copy)
  await client.connect((await server.listen()).address)
  t.equal((await refused)[0], joined)
  t.equal((await lonely)[0], joined)
  const error = await rejection(copy.update({ ifAvailable: true }), 'update')
  t.equal(error.code, 'ERR_UPDATE_NOT_AVAILABLE', 'calls do not wait for ever')
})

test('"not available" waits for a connection that is being made', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  server.join(feed)
  const { address } = await server.listen()
  const copy = copyOf(t, feed, { sparse: true })
  client.join(copy)
  const connecting = client.connect(address)
  await within(copy.update({ ifAvailable: true }), 'update')
  t.equal(copy.length, 3)
  await connecting
})

test('feeds that cannot be shared', async (t) => {
  const swarm = makeSwarm(t)
  const feed = await makeFeed(t)
  const failed = next(swarm, 'feed-failed')
  const damaged = ddatabase(
    () => {
      throw new Error('no storage')
    },
    { valueEncoding: 'utf-8' }
  )
  damaged.on('error', () => {})
  const joined = swarm.join(damaged)
  t.equal((await failed)[1].code, 'ERR_FEED_UNUSABLE')
  t.equal((await rejection(joined.flushed(), 'flushed')).code, 'ERR_FEED_UNUSABLE')
  t.deepEqual([joined.left, joined.failure?.message.slice(0, 27)], [true, 'The feed cannot be shared, '])

  const unfinished = ddatabase(RAM, { live: false })
  t.teardown(() => unfinished.close())
  t.equal((await rejection(swarm.join(unfinished).flushed(), 'flushed')).code, 'ERR_FEED_UNUSABLE')

  const foreign = hypercore(RAM)
  t.teardown(() => foreign.close())
  t.equal((await rejection(swarm.join(foreign).flushed(), 'flushed')).code, 'ERR_DIALECT')

  swarm.join(feed)
  const twin = copyOf(t, feed)
  t.equal((await rejection(swarm.join(twin).flushed(), 'flushed')).code, 'ERR_FEED_UNUSABLE', 'two copies')
  await swarm.flush()
  t.deepEqual(
    swarm.feeds.map((one) => one.feed),
    [feed]
  )
})

test('feeds of the hypercore dialect', async (t) => {
  const options = { Protocol: HypercoreStream }
  const [server, client] = [makeSwarm(t, options), makeSwarm(t, options)]
  const feed = hypercore<string>(RAM, { valueEncoding: 'utf-8' })
  await feed.append('hello')
  const copy = hypercore<string>(RAM, feed.key!, { valueEncoding: 'utf-8' })
  t.teardown(() => Promise.all([feed.close(), copy.close()]))
  server.join(feed)
  client.join(copy)
  await client.connect((await server.listen()).address)
  t.equal(await within(copy.get(0), 'a block'), 'hello')
})

test('a feed that is closed leaves by itself', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  server.join(feed)
  const joined = client.join(copy)
  await client.connect((await server.listen()).address)
  await within(copy.get(0), 'a block')
  const removed = next(client, 'peer-remove')
  await feed.close()
  await removed
  t.deepEqual([server.feeds.length, joined.peers], [0, 0])
  await copy.close()
  t.equal(client.feeds.length, 0)
})

test('what matters most is asked for first', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t)]
  const feeds = await Promise.all([1, 2, 3, 4].map(() => makeFeed(t)))
  const [own, full, empty, urgent] = feeds as [Feed<string>, Feed<string>, Feed<string>, Feed<string>]
  const complete = copyOf(t, full)
  const wire = joinDirectly(full, complete)
  await complete.download({ start: 0, end: 3 })
  wire.destroy()
  const order: string[] = []
  const names = new Map<string, string>()
  for (const [name, { discoveryKey }] of Object.entries({ own, full, empty, urgent })) {
    names.set(Buffer.from(discoveryKey!).toString('hex'), name)
  }
  const handles = [
    client.join(complete),
    client.join(own),
    client.join(copyOf(t, empty)),
    client.join(copyOf(t, urgent), { priority: 10 })
  ]
  await client.flush()
  t.deepEqual(
    handles.map(({ priority }) => priority),
    [1, 1, 2, 10]
  )
  server.on('connection', ({ stream }) => {
    stream.on('remote-open', (key) => order.push(names.get(Buffer.from(key).toString('hex'))!))
  })
  await client.connect((await server.listen()).address)
  await until(() => order.length === 4, 'all were asked for')
  t.deepEqual(order, ['urgent', 'empty', 'full', 'own'])
})

test('1100 feeds over one connection, of which a peer has the last one', async (t) => {
  // As strict a peer as there may be: with the default limit it would take four times as many feeds to be cut off.
  const limits = { pendingChannels: 1024 }
  const [server, client] = [makeSwarm(t, { stream: { limits } }), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  server.join(feed)
  for (let i = 0; i < 1100; i++) {
    const key = Buffer.alloc(32, 5)
    key.writeUInt32LE(i)
    client.join(copyOf(t, { key }))
  }
  client.join(copy, { priority: -1 })
  await client.flush()
  await client.connect((await server.listen()).address)
  t.equal(await within(copy.get(0), 'a block', 60_000), 'zero')
  t.equal(client.connections.length, 1, 'too many questions at once would have ended it')
})

test('a stream of the application’s own is none of the swarm’s business', async (t) => {
  const swarm = makeSwarm(t)
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  swarm.join(feed)
  await swarm.flush()
  let told = 0
  swarm.on('peer', () => told++)
  swarm.on('peer-remove', () => told++)
  const wire = joinDirectly(feed, copy)
  t.equal(await within(copy.get(0), 'a block'), 'zero')
  wire.destroy()
  await until(() => feed.peers.length === 0, 'the end')
  t.equal(told, 0)
  t.equal(swarm.stats.connections.tcp, 0)
})

function joinDirectly(one: Feed<string>, other: Feed<string>): { destroy(): void } {
  const [a, b] = [one.replicate(true, { live: true }), other.replicate(false, { live: true })]
  for (const stream of [a, b]) stream.on('error', () => {})
  a.pipe(b).pipe(a)
  return a
}
