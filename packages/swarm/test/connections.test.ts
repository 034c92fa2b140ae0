/** Connections that are made by address, or brought: how they begin, end, and are found to be the same. */

import { connect as connectTcp } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ProtocolStream } from 'ddatabase'
import test from 'tape'
import { rejection, within } from '../../../test/helpers/watchdog.ts'
import { ConnectionTable } from '../src/connection-table.ts'
import { type Connection, Swarm, type SwarmError } from '../src/index.ts'
import { Trials } from '../src/trials.ts'
import { duplexPair } from './duplex-pair.ts'
import { copyOf, deafAddress, LOOPBACK, makeFeed, makeServer, makeSwarm, next, until } from './helpers.ts'

const FAST = { reconnectDelay: { min: 10, max: 50 } }

for (const websocket of [false, true]) {
  const kind = websocket ? 'websocket' : 'tcp'

  test(`${kind}: many feeds over one connection`, async (t) => {
    const [server, client] = [makeSwarm(t), makeSwarm(t)]
    const feeds = await Promise.all(['a', 'b', 'c', 'd'].map((name) => makeFeed(t, [`${name}0`, `${name}1`])))
    for (const feed of feeds) server.join(feed)
    const copies = feeds.map((feed) => copyOf(t, feed))
    for (const copy of copies) client.join(copy)
    const listener = await server.listen({ websocket })
    t.equal(listener.address, `${websocket ? 'ws://' : ''}${LOOPBACK}:${listener.port}`)

    const told = next(server, 'connection')
    const connection = await client.connect(listener.address)
    const values = await within(Promise.all(copies.map((copy) => copy.get(1))), 'the blocks')
    t.deepEqual(values, ['a1', 'b1', 'c1', 'd1'])
    const [there] = await told
    t.deepEqual([connection.kind, there.kind], [kind, kind])
    t.deepEqual([connection.initiator, there.initiator], [true, false])
    t.deepEqual(connection.remotePublicKey, server.keyPair.publicKey)
    t.deepEqual(there.remotePublicKey, client.keyPair.publicKey)
    t.ok(connection.stream.authenticated, 'our own handshake and cipher')
    t.equal(client.connections.length, 1)
    await until(() => client.feedsOn(connection).length === 4, 'all feeds are open')
    t.equal(client.stats.connections[kind], 1)
    t.equal(client.stats.bytesSent, connection.bytesSent)

    const ended = next(server, 'disconnection')
    await connection.close()
    t.equal((await ended)[1], null, 'it ended in good order there')
    t.equal(await connection.closed, null, 'and here')
    t.deepEqual([client.connections.length, client.stats.peers], [0, 0])
    const { opened, closed, failed } = client.stats.total
    t.deepEqual({ opened, closed, failed }, { opened: 1, closed: 1, failed: 0 })
    t.equal(client.stats.bytesReceived, connection.bytesReceived, 'bytes of what is over still count')
  })

  test(`${kind}: an address that refuses, a port in use`, async (t) => {
    const swarm = makeSwarm(t)
    const scheme = websocket ? 'ws://' : ''
    const refused = await rejection(swarm.connect(`${scheme}${await deafAddress()}`), 'connect')
    t.equal(refused.code, 'ERR_CONNECTION_REFUSED')
    t.match(refused.message, /Nothing listens at this address \(.*127\.0\.0\.1:\d+.*\)/)

    const { port } = await swarm.listen({ websocket })
    const taken = await rejection(swarm.listen({ port, websocket }), 'listen')
    t.equal(taken.code, 'ERR_PORT_IN_USE')
    const nowhere = await rejection(swarm.listen({ host: '203.0.113.1', websocket }), 'listen')
    t.equal(nowhere.code, 'ERR_LISTEN')
    t.equal(swarm.listening.length, 1)
  })

  test(`${kind}: who says nothing is given up`, async (t) => {
    const address = await makeServer(t)
    const swarm = makeSwarm(t, { connectTimeout: 200 })
    const error = await rejection(swarm.connect(`${websocket ? 'ws://' : ''}${address}`), 'connect')
    t.equal(error.code, 'ERR_CONNECT_TIMEOUT')
  })

  test(`${kind}: a call that is aborted`, async (t) => {
    const address = await makeServer(t)
    const swarm = makeSwarm(t)
    const stop = new AbortController()
    const connecting = swarm.connect(`${websocket ? 'ws://' : ''}${address}`, { signal: stop.signal })
    stop.abort(new Error('enough'))
    t.equal((await rejection(connecting, 'connect')).message, 'enough')
    const late = swarm.connect(`${websocket ? 'ws://' : ''}${address}`, { signal: stop.signal })
    t.equal((await rejection(late, 'connect')).message, 'enough')
  })
}

test('any duplex stream', async (t) => {
  const [one, other] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  one.join(feed)
  other.join(copy)
  const [a, b] = duplexPair()
  const [here] = await Promise.all([
    one.addConnection(a, { initiator: true, address: 'a wire' }),
    other.addConnection(b, { initiator: false })
  ])
  t.equal(await within(copy.get(2), 'the block'), 'two')
  t.deepEqual([here.kind, here.address], ['stream', 'a wire'])
  const lost = next(one, 'disconnection')
  b.destroy(new Error('cut'))
  t.ok((await lost)[1] instanceof Error, 'a broken wire is no good order')
})

test('what cannot be a connection, a feed, or an option', async (t) => {
  const swarm = makeSwarm(t)
  const [a] = duplexPair()
  const feed = await makeFeed(t)
  const codeOf = async (call: Promise<unknown>) => (await rejection(call, 'the call')).code
  t.equal(await codeOf(swarm.addConnection(a, {} as never)), 'ERR_INVALID_ARG_TYPE')
  t.equal(await codeOf(swarm.addConnection({} as never, { initiator: true })), 'ERR_INVALID_ARG_TYPE')
  t.equal(await codeOf(swarm.connect('nonsense')), 'ERR_ADDRESS')
  t.equal(await codeOf(swarm.disconnect('nonsense')), 'ERR_ADDRESS')
  t.equal(await codeOf(swarm.listen({ port: 65536 })), 'ERR_OUT_OF_RANGE')
  for (const wrong of [null, 'a feed', {}]) {
    t.throws(() => swarm.join(wrong as never), { code: 'ERR_INVALID_ARG_TYPE' }, `join ${wrong}`)
  }
  t.throws(() => swarm.join(feed, null as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => swarm.join(feed, { priority: 'high' as never }), { code: 'ERR_INVALID_ARG_TYPE' })
  const options = [
    null,
    { maxPeers: 0 },
    { parallel: 1.5 },
    { patience: '1' },
    { host: 1 },
    { open: {} },
    { accept: true },
    { bootstrap: 'a:1' },
    { bootstrap: ['a'] },
    { bootstrap: [{ host: 'a' }] },
    { bootstrap: ['a:0'] },
    { bootstrap: ['a:65536'] },
    { bootstrap: ['::1:5'] },
    { bootstrap: [{ host: 'a', port: Number.NaN }] },
    { bootstrap: [{ host: 'a', port: -1 }] },
    { reconnectDelay: { min: 0 } },
    { searchDelay: { min: 10, max: 5 } },
    { reconnectDelay: 5 },
    { searchDelay: 'soon' },
    { Protocol: () => {} },
    { stream: 5 }
  ]
  for (const wrong of options) {
    t.throws(() => new Swarm(wrong as never), /should be/, JSON.stringify(wrong))
  }
  const ofStreams = [
    { keyPair: 5 },
    { keyPair: () => {} },
    { keyPair: {} },
    { stream: { timeout: '5' } },
    { stream: { limits: 5 } },
    { stream: { requireAuthenticated: 'yes' } }
  ]
  for (const wrong of ofStreams) {
    t.throws(() => new Swarm(wrong as never), { code: 'ERR_INVALID_ARG_TYPE' }, JSON.stringify(wrong))
  }
  t.throws(() => swarm.join(feed, { priority: Number.NaN }), { code: 'ERR_OUT_OF_RANGE' })
  for (const wrong of [null, 5, { host: 5 }, { host: false }, { websocket: 'yes' }]) {
    t.equal(
      await codeOf(swarm.listen(wrong as never)),
      'ERR_INVALID_ARG_TYPE',
      `listen(${JSON.stringify(wrong)})`
    )
  }
  for (const wrong of [null, 5, { signal: 5 }, { signal: {} }, { reconnect: true }]) {
    const call = swarm.connect('127.0.0.1:1', wrong as never)
    t.equal(await codeOf(call), 'ERR_INVALID_ARG_TYPE', `connect(…, ${JSON.stringify(wrong)})`)
  }
})

test('handshakes: whoever waits for them does not wait for those that begin later', async (t) => {
  const table = new ConnectionTable({
    keyPair: ProtocolStream.keyPair(),
    Protocol: ProtocolStream,
    stream: {},
    maxPeers: 64,
    closeTimeout: 100,
    accept: () => true,
    connected: () => {},
    disconnected: () => {},
    inUse: () => false,
    awaitsBlocks: () => false,
    traffic: () => ({ received: 0, sent: 0, bytes: 0 })
  })
  t.teardown(() => table.destroy())
  const stranger = () => {
    const [near, far] = duplexPair()
    const connection = table.add(near, { kind: 'stream', initiator: false, address: null })
    return { far, ended: rejection(connection, 'the handshake') }
  }
  await within(table.handshakes(), 'none')
  const strangers = [stranger(), stranger()]
  let over = false
  const waiting = table.handshakes().then(() => {
    over = true
  })
  for (let i = 0; i < 4; i++) {
    strangers.push(stranger())
    const { far, ended } = strangers[i]!
    t.equal(over, i > 1, `${i} of the first two are over`)
    far.destroy()
    await ended
    if (i === 1) await within(waiting, 'the handshakes of the beginning', 10_000)
  }
  const rest = table.handshakes()
  table.destroy()
  await within(rest, 'the others')
})

test('a port for WebSockets that is given back: who said nothing goes, connections stay', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, FAST)]
  const listener = await server.listen({ websocket: true })
  const connection = await client.connect(listener.address)
  const silent = connectTcp(listener.port, LOOPBACK)
  t.teardown(() => silent.destroy())
  await new Promise((resolve) => silent.once('connect', resolve))
  // What is asked after it is answered after it was taken.
  await fetch(listener.address.replace('ws:', 'http:'))
  const closed = new Promise((resolve) => silent.once('close', resolve))
  await listener.close()
  await within(closed, 'the end of the silent one')
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  server.join(feed)
  client.join(copy)
  t.equal(await within(copy.get(1), 'a block'), 'one')
  t.equal(await Promise.race([connection.closed, 'there']), 'there')
})

test('noise on the line ends that connection only', async (t) => {
  const address = await makeServer(
    t,
    (socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'.repeat(9))
  )
  const swarm = makeSwarm(t)
  const listener = await swarm.listen()
  const error = await rejection(swarm.connect(address), 'connect')
  t.equal(error.code, 'ERR_CONNECTION_LOST')
  t.ok(error.cause instanceof Error, 'why is told')

  const other = makeSwarm(t)
  const warned = next(swarm, 'warning')
  const [a, b] = duplexPair()
  const bad = swarm.addConnection(a, { initiator: false })
  b.write(Buffer.alloc(1000, 7))
  t.equal((await rejection(bad, 'addConnection')).code, 'ERR_CONNECTION_LOST')
  t.ok(await other.connect(listener.address), 'others are welcome')
  const silent = await makeSwarm(t).connect(listener.address)
  silent.destroy()
  await other.close()
  await until(() => swarm.connections.length === 0, 'all have left')
  // Strangers at the port are told in the background.
  const socket = (await import('node:net')).connect(listener.port, LOOPBACK)
  socket.end(Buffer.alloc(100, 1))
  t.equal((await warned)[0].code, 'ERR_CONNECTION_LOST')
})

test('a swarm does not talk to itself', async (t) => {
  const swarm = makeSwarm(t, FAST)
  const { address } = await swarm.listen()
  for (const reconnect of ['never', 'lost', 'always'] as const) {
    const error = await rejection(swarm.connect(address, { reconnect }), 'connect')
    t.equal(error.code, 'ERR_SELF', reconnect)
  }
  t.equal(swarm.connections.length, 0)
})

test('who is not welcome', async (t) => {
  const stranger = makeSwarm(t)
  const friend = makeSwarm(t)
  const heard: Uint8Array[] = []
  const swarm = makeSwarm(t, {
    accept: async (key) => {
      heard.push(key)
      return Buffer.compare(key, friend.keyPair.publicKey) === 0
    }
  })
  const { address } = await swarm.listen()
  t.ok(await friend.connect(address))
  const warned = next(swarm, 'warning')
  // The stranger has shown who it is in the last message of the handshake.
  const connection = await stranger.connect(address, { reconnect: 'never' })
  t.ok(await within(connection.closed, 'the end'), 'no good order')
  t.equal((await warned)[0].code, 'ERR_NOT_WELCOME')
  t.deepEqual(heard, [friend.keyPair.publicKey, stranger.keyPair.publicKey])

  const strict = makeSwarm(t, {
    accept: () => {
      throw new Error('no list')
    }
  })
  const unwelcome = await rejection(strict.connect(address), 'connect')
  t.equal(unwelcome.code, 'ERR_NOT_WELCOME', 'an exception refuses')
  t.equal((unwelcome.cause as Error).message, 'no list')
})

test('as many peers as allowed; those that share nothing give way', async (t) => {
  const swarm = makeSwarm(t, { maxPeers: 2 })
  const feed = await makeFeed(t)
  swarm.join(feed)
  const { address } = await swarm.listen()
  const copies = [0, 1].map(() => copyOf(t, feed))
  for (const copy of copies) {
    const peer = makeSwarm(t)
    peer.join(copy)
    await peer.connect(address)
    await within(copy.get(0), 'a block')
  }
  const late = makeSwarm(t)
  const error = await rejection(
    late
      .connect(address)
      .then((connection) => connection.closed.then(() => Promise.reject(new Error('closed')))),
    'connect'
  )
  t.ok(error, 'the third is sent away')
  await until(() => swarm.stats.total.refused === 1, 'it is counted')
  t.equal(swarm.stats.peers, 2)
  t.equal((await rejection(swarm.connect((await late.listen()).address), 'connect')).code, 'ERR_MAX_PEERS')
})

test('a peer that shares nothing gives way after a while', async (t) => {
  const swarm = makeSwarm(t, { maxPeers: 1 })
  const { address } = await swarm.listen()
  const idle = await makeSwarm(t).connect(address)
  await until(() => swarm.connections.length === 1, 'the connection')
  settle(swarm.connections[0]!)
  const useful = await makeSwarm(t).connect(address)
  await within(idle.closed, 'the end of the idle connection')
  t.equal(useful.stream.destroying, false)
  t.equal(swarm.stats.peers, 1)
})

// As if a connection had been there for long.
const settle = (connection: Connection): unknown =>
  Object.defineProperty(connection, 'since', { value: Date.now() - 60_000 })

// Two swarms, connected by a wire of memory. Resolves with the connection as the first one sees it.
async function wire(one: Swarm, other: Swarm): Promise<Connection> {
  const [a, b] = duplexPair()
  const [near] = await Promise.all([
    one.addConnection(a, { initiator: true }),
    other.addConnection(b, { initiator: false })
  ])
  return near
}

test('strangers that do not finish their handshakes keep each other out, but nobody that is connected to', async (t) => {
  const [swarm, other] = [makeSwarm(t, { maxPeers: 1 }), makeSwarm(t)]
  const [near] = duplexPair()
  const silent = rejection(swarm.addConnection(near, { initiator: false }), 'the silent one')
  const [second] = duplexPair()
  const refused = await rejection(swarm.addConnection(second, { initiator: false }), 'a second one')
  t.equal(refused.code, 'ERR_MAX_PEERS')
  const connection = await swarm.connect((await other.listen()).address)
  t.equal(connection.stream.destroying, false)
  near.destroy()
  t.equal((await silent).code, 'ERR_CONNECTION_LOST')
})

test('one place that becomes free is given once, also to newcomers who come at once', async (t) => {
  const swarm = makeSwarm(t, { maxPeers: 3 })
  const idle = await wire(swarm, makeSwarm(t))
  const young = [await wire(swarm, makeSwarm(t)), await wire(swarm, makeSwarm(t))]
  settle(idle)
  // While the connection of the idle one is still ending.
  const newcomers = await Promise.allSettled([1, 2, 3].map(() => wire(swarm, makeSwarm(t))))
  t.deepEqual(newcomers.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected'])
  t.deepEqual(
    [idle, ...young].map(({ stream }) => stream.destroying),
    [true, false, false]
  )
  t.equal(swarm.stats.peers, 3)
})

test('who has two connections gives way with both, or not at all', async (t) => {
  const feed = await makeFeed(t)
  const [swarm, peer] = [makeSwarm(t, { maxPeers: 1 }), makeSwarm(t)]
  const connections = [await wire(swarm, peer), await wire(swarm, peer)]
  settle(connections[0]!)
  const early = await rejection(wire(swarm, makeSwarm(t)), 'a newcomer')
  t.equal(early.code, 'ERR_MAX_PEERS', 'the second one may be about to be used')
  t.equal(swarm.stats.peers, 1)
  settle(connections[1]!)
  swarm.join(feed)
  const newcomer = makeSwarm(t)
  const copy = copyOf(t, feed)
  newcomer.join(copy)
  await wire(swarm, newcomer)
  t.deepEqual(
    connections.map(({ stream }) => stream.destroying),
    [true, true]
  )
  t.equal(swarm.stats.peers, 1)
  t.equal(await within(copy.get(1), 'a block'), 'one')
})

test('who leaves and comes back as a newcomer has no place to lose', async (t) => {
  const feed = await makeFeed(t)
  const waiting = makeSwarm(t, { maxPeers: 2 })
  await waiting.join(copyOf(t, feed)).flushed()
  const [first, second, third, writer] = [makeSwarm(t), makeSwarm(t), makeSwarm(t), makeSwarm(t)]
  for (const empty of [first, second, third]) empty.join(copyOf(t, feed))
  writer.join(feed, { client: false })
  const gone = await wire(waiting, first)
  await wire(waiting, second)
  const bringing = await wire(waiting, writer)
  await gone.close()
  await wire(waiting, third)
  const back = await wire(waiting, first)
  t.equal(waiting.connections.length, 4, 'two, and two newcomers')
  await Promise.race([until(() => waiting.connections.length === 3, 'a decision'), back.closed])
  await until(() => waiting.connections.length === 2, 'both decisions')
  t.equal(bringing.stream.destroying, false, 'who brought blocks stays')
  t.equal(waiting.stats.peers, 2)
})

test('newcomers are not counted while the swarm is closed either', async (t) => {
  const feed = await makeFeed(t)
  const waiting = makeSwarm(t, { maxPeers: 1 })
  await waiting.join(copyOf(t, feed)).flushed()
  for (let i = 0; i < 2; i++) {
    const empty = makeSwarm(t)
    empty.join(copyOf(t, feed))
    await wire(waiting, empty)
  }
  t.deepEqual([waiting.connections.length, waiting.stats.peers], [2, 1])
  const closing = waiting.close()
  t.deepEqual([waiting.connections.length, waiting.stats.peers], [2, 1])
  await closing
  t.deepEqual([waiting.connections.length, waiting.stats.peers], [0, 0])
})

test('peers that have nothing give way to one that brings what all wait for', async (t) => {
  const feed = await makeFeed(t)
  const waiting = makeSwarm(t, { maxPeers: 1 })
  const [other, empty, writer, late] = [makeSwarm(t), makeSwarm(t), makeSwarm(t), makeSwarm(t)]
  const copy = copyOf(t, feed)
  waiting.join(copy)
  other.join(copyOf(t, feed))
  empty.join(copyOf(t, feed))
  writer.join(feed, { client: false })
  const { address } = await waiting.listen()
  const connect = (swarm: Swarm) => swarm.connect(address, { reconnect: 'never' })
  const first = await connect(other)
  await until(() => waiting.connections.length === 1, 'the first one')

  const second = await connect(empty)
  await until(() => waiting.connections.length === 2, 'the second one')
  t.equal(waiting.stats.peers, 1, 'who may stay or not is not counted')
  await within(second.closed, 'the end of the second one')
  t.equal(waiting.stats.total.refused, 1, 'it had nothing either')
  t.equal(first.stream.destroying, false)

  const third = await connect(writer)
  t.equal(await within(copy.get(2), 'a block'), 'two')
  await within(first.closed, 'the end of the first one')
  t.equal(third.stream.destroying, false)
  t.deepEqual([waiting.stats.peers, waiting.stats.total.refused], [1, 1])

  await until(() => copy.downloaded() === 3, 'all blocks')
  late.join(copyOf(t, feed))
  const fourth = await connect(late)
  await within(fourth.closed, 'the end of the last one')
  t.equal(third.stream.destroying, false)
  t.deepEqual([waiting.stats.peers, waiting.stats.total.refused], [1, 2])
})

test('peers that are complete for all they know give way to one that has more', async (t) => {
  const feed = await makeFeed(t, ['zero'])
  const [writer, ...readers] = [makeSwarm(t), makeSwarm(t, { maxPeers: 1 }), makeSwarm(t, { maxPeers: 1 })]
  const copies = [copyOf(t, feed), copyOf(t, feed)]
  writer.join(feed)
  for (const [i, reader] of readers.entries()) {
    reader.join(copies[i]!)
    const connection = await wire(writer, reader)
    t.equal(await within(copies[i]!.get(0), 'the block'), 'zero')
    await connection.close()
    await until(() => reader.stats.peers === 0, 'its end')
  }
  await wire(readers[0]!, readers[1]!)
  await until(() => copies[0]!.peers.length === 1, 'the feed')
  await feed.append('one')
  const brings = await wire(writer, readers[0]!)
  t.equal(await within(copies[0]!.get(1), 'the new block'), 'one')
  t.equal(await within(copies[1]!.get(1), 'the new block, by way of the other one'), 'one')
  await until(() => readers[1]!.connections.length === 0, 'a decision')
  t.equal(brings.stream.destroying, false)
})

test('blocks that come meanwhile save the places of who brings them', async (t) => {
  const feed = await makeFeed(t, [])
  const waiting = makeSwarm(t, { maxPeers: 1 })
  const [writer, other] = [makeSwarm(t), makeSwarm(t)]
  const copy = copyOf(t, feed)
  waiting.join(copy)
  writer.join(feed)
  const { address } = await waiting.listen()
  const first = await writer.connect(address, { reconnect: 'never' })
  await until(() => waiting.connections.length === 1, 'the writer')
  const second = copyOf(t, feed)
  other.join(second)
  const connection = await other.connect(address, { reconnect: 'never' })
  await until(() => waiting.connections.length === 2, 'the newcomer')
  await feed.append(['zero', 'one'])
  t.equal(await within(second.get(1), 'a block, by way of the one that has to choose'), 'one')
  await within(connection.closed, 'the end of the newcomer')
  t.equal(first.stream.destroying, false)
  t.deepEqual([waiting.stats.peers, waiting.stats.total.refused], [1, 1])
})

test('two connections to one peer become one: the newest', async (t) => {
  const [one, other] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  one.join(feed)
  other.join(copy)
  const [here, there] = await Promise.all([one.listen(), other.listen({ websocket: true })])
  let lonely = 0
  other.on('peer-remove', (joined) => {
    if (joined.peers === 0) lonely++
  })
  // Each connects to the other, at once.
  await Promise.all([one.connect(there.address), other.connect(here.address)])
  await until(() => one.stats.total.opened === 2 && other.stats.total.opened === 2, 'both connections')
  await until(() => one.connections.length === 1 && other.connections.length === 1, 'one of them')
  t.equal(one.connections[0]!.kind, other.connections[0]!.kind, 'it is the same')
  t.equal(await within(copy.get(1), 'a block'), 'one')
  t.equal(one.stats.total.duplicates + other.stats.total.duplicates, 1, 'one side has decided')
  t.equal(lonely, 0, 'the feed was never without a peer')
  t.equal(one.stats.peers, 1)
})

test('a connection whose successor is lost stays; three at once are counted once each', async (t) => {
  const [one, other, another] = [makeSwarm(t), makeSwarm(t), makeSwarm(t)]
  const stays = await wire(one, other)
  const lost = await wire(one, other)
  lost.destroy()
  await until(() => other.connections.length === 1 && one.connections.length === 1, 'the loss')
  // What became of these is decided later.
  for (let i = 0; i < 3; i++) await wire(one, another)
  await until(() => another.connections.length === 1 && one.connections.length === 2, 'the newest of three')
  t.equal(stays.stream.destroying, false)
  const counts = [one.stats.total.duplicates, another.stats.total.duplicates] as const
  // Of the oldest one both sides may decide, at the same time.
  t.ok(Math.max(...counts) <= 2 && counts[0] + counts[1] >= 2, `each at most once: ${counts}`)
})

test('a lost connection is made anew, also to a program that was started again', async (t) => {
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  const client = makeSwarm(t, FAST)
  client.join(copy)
  let server = makeSwarm(t)
  const { port, address } = await server.listen()
  server.join(feed)
  const first = await client.connect(address)
  t.equal(await within(copy.get(0), 'a block'), 'zero')

  const again = next(client, 'connection')
  server.connections[0]!.destroy(new Error('a bad moment'))
  const [second] = await again
  t.notEqual(second, first)

  const warned = next(client, 'warning', ({ code }) => code === 'ERR_CONNECTION_REFUSED')
  await server.destroy()
  await warned
  const anew = next(client, 'connection')
  server = makeSwarm(t)
  await feed.append('three')
  server.join(feed)
  await server.listen({ port })
  await anew
  t.equal(await within(copy.get(3), 'a new block'), 'three')

  await client.disconnect(address)
  await until(() => server.connections.length === 0, 'the end')
  t.equal(client.connections.length, 0, 'what was disconnected stays so')
  t.equal(server.listening.length, 1)
  await server.listening[0]!.close()
  t.equal(server.listening.length, 0, 'a port that was given back is not listened on')
})

test('an address that is asked for again while its connection is made anew', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, { reconnectDelay: { min: 200, max: 200 } })]
  const listener = await server.listen()
  const { address } = listener
  const first = await client.connect(address)
  t.equal(await client.connect(address), first, 'the one that is there')

  await until(() => server.connections.length === 1, 'the connection')
  const heard = new Promise<Connection>((resolve, reject) => {
    client.once('disconnection', () => client.connect(address).then(resolve, reject))
  })
  server.connections[0]!.destroy(new Error('a bad moment'))
  const second = await within(heard, 'connect')
  t.notEqual(second, first)
  t.equal(client.connections[0], second, 'the next one')

  second.destroy(new Error('another bad moment'))
  const third = await within(client.connect(address), 'connect')
  t.deepEqual([third !== second, third.stream.destroying], [true, false])
  t.equal(client.stats.total.opened, 3, 'dialled once each time')

  third.destroy()
  const fourth = await within(client.connect(address), 'connect')
  t.notEqual(fourth, third, 'one that was ended on purpose is not waited for')

  await listener.close()
  const stop = new AbortController()
  await until(() => server.connections.length === 1, 'the connection')
  server.connections[0]!.destroy(new Error('the last bad moment'))
  await fourth.closed
  const waiting = rejection(client.connect(address, { signal: stop.signal }), 'connect')
  const ended = rejection(client.connect(address), 'connect')
  stop.abort(new Error('enough'))
  t.equal((await within(waiting, 'the one with a signal')).message, 'enough')
  await client.disconnect(address)
  t.equal((await within(ended, 'the other one')).code, 'ERR_SWARM_CLOSED')
})

test('an address that is asked for again, and its peer is connected another way', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, { reconnectDelay: { min: 60_000, max: 60_000 } })]
  const [listener, own] = [await server.listen(), await client.listen()]
  const first = await client.connect(listener.address)
  await listener.close()
  await until(() => server.connections.length === 1, 'the connection')
  server.connections[0]!.destroy(new Error('a bad moment'))
  await first.closed
  const waiting = client.connect(listener.address)
  await server.connect(own.address)
  const other = await within(waiting, 'connect')
  t.deepEqual([other.initiator, other.remotePublicKey], [false, server.keyPair.publicKey])
  t.equal(await client.connect(listener.address), other, 'and when it is there')
})

test('an address that is not there yet', async (t) => {
  const swarm = makeSwarm(t, FAST)
  const address = await deafAddress()
  const warned = next(swarm, 'warning', ({ code }) => code === 'ERR_CONNECTION_REFUSED')
  const connecting = swarm.connect(address, { reconnect: 'always' })
  t.equal(
    swarm.connect(address, { reconnect: 'never' }) instanceof Promise,
    true,
    'asked twice, dialled once'
  )
  await warned
  const stop = new AbortController()
  const waiting = rejection(swarm.connect(address, { signal: stop.signal }), 'connect')
  stop.abort(new Error('enough'))
  t.equal((await within(waiting, 'the one with a signal')).message, 'enough')
  const server = makeSwarm(t)
  await server.listen({ port: Number(address.split(':')[1]) })
  const connection: Connection = await within(connecting, 'connect')
  t.deepEqual(connection.remotePublicKey, server.keyPair.publicKey)
  t.equal(swarm.stats.total.opened, 1)
})

test('an address that is not there, and is asked for again and again: nothing is left of what was given up', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const swarm = makeSwarm(t, { reconnectDelay: { min: 60_000, max: 60_000 } })
  const address = await deafAddress()
  const never = rejection(swarm.connect(address, { reconnect: 'always' }), 'connect')
  const reasons: WeakRef<Error>[] = []
  const giveUp = async () => {
    const stop = new AbortController()
    const waiting = swarm.connect(address, { signal: stop.signal })
    await new Promise((resolve) => setImmediate(resolve))
    const reason = new Error('enough')
    reasons.push(new WeakRef(reason))
    stop.abort(reason)
    await waiting.catch(() => {})
  }
  for (let i = 0; i < 50; i++) await giveUp()
  const left = () => reasons.filter((reason) => reason.deref() !== undefined).length
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    collect()
  }
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(left() <= 5, `${left()} of 50`)
  await swarm.disconnect(address)
  t.equal((await never).code, 'ERR_SWARM_CLOSED')
})

test('reconnect: never', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, FAST)]
  const { address } = await server.listen()
  const connection = await client.connect(address, { reconnect: 'never' })
  await until(() => server.connections.length === 1, 'the connection')
  server.connections[0]!.destroy(new Error('a bad moment'))
  await connection.closed
  // Whoever wants it again may dial again.
  await until(() => server.connections.length === 0, 'the end')
  t.ok(await client.connect(address, { reconnect: 'never' }))
  await until(() => server.stats.total.opened === 2, 'the second connection')
  t.equal(client.stats.total.opened, 2)
})

test('a signal that comes when there is a connection', async (t) => {
  const [server, client] = [makeSwarm(t), makeSwarm(t, FAST)]
  const { address } = await server.listen()
  const stop = new AbortController()
  const connection = await client.connect(address, { signal: stop.signal })
  await until(() => server.connections.length === 1, 'the connection')
  stop.abort()
  t.equal(client.connections.length, 1, 'it stays')
  server.connections[0]!.destroy(new Error('a bad moment'))
  await connection.closed
  t.ok(await client.connect(address), 'the address is not dialled by anybody else')
  await until(() => server.stats.total.opened === 2, 'the second connection')
  t.equal(client.stats.total.opened, 2)
})

test('closing: in good order, at once, twice', async (t) => {
  const [one, other] = [makeSwarm(t), makeSwarm(t)]
  const feed = await makeFeed(t)
  const copy = copyOf(t, feed)
  one.join(feed)
  other.join(copy)
  const listener = await one.listen()
  await other.connect(listener.address)
  await within(copy.get(0), 'a block')
  const ended = next(other, 'disconnection')
  const closing = one.close()
  t.equal(one.close(), closing)
  await within(closing, 'close')
  t.equal((await ended)[1], null)
  t.deepEqual([one.closed, one.feeds.length, one.connections.length, one.listening.length], [true, 0, 0, 0])
  t.notOk(feed.closed, 'feeds are the application’s')
  t.throws(() => one.join(feed), { code: 'ERR_SWARM_CLOSED' })
  const calls = [
    one.connect('127.0.0.1:1'),
    one.listen(),
    one.addConnection(duplexPair()[0], { initiator: true })
  ]
  for (const call of calls) t.equal((await rejection(call, 'the call')).code, 'ERR_SWARM_CLOSED')
  await one.flush()
  await within(other.destroy(), 'destroy')
  await other.destroy()

  // What is under way ends with the swarm.
  const address = await makeServer(t)
  const dialling = makeSwarm(t)
  const connecting = dialling.connect(address, { reconnect: 'always' })
  await dialling.close()
  t.equal((await rejection(connecting, 'connect')).code, 'ERR_SWARM_CLOSED')
})

test('await using', async (t) => {
  const feed = await makeFeed(t)
  let outer: ReturnType<typeof makeSwarm>
  {
    await using swarm = makeSwarm(t)
    swarm.join(feed)
    await swarm.listen()
    outer = swarm
  }
  t.ok(outer.closed)
})

test('a remote that does not read holds up nobody', async (t) => {
  // `close` is bounded though the goodbye never leaves.
  const swarm = makeSwarm(t, { closeTimeout: 100 })
  const [a, b] = duplexPair()
  const mute = new ProtocolStream(false, { live: true })
  mute.on('error', () => {})
  b.pipe(mute).pipe(b)
  await swarm.addConnection(a, { initiator: true })
  b.unpipe(mute)
  await within(swarm.close(), 'close')
  t.equal(swarm.connections.length, 0)
})

test('a stream that never ends holds up nobody', async (t) => {
  const pair = async (one: Swarm, other: Swarm): Promise<Connection> => {
    const [a, b] = duplexPair()
    a._destroy = () => {}
    const [connection] = await Promise.all([
      one.addConnection(a, { initiator: true }),
      other.addConnection(b, { initiator: false })
    ])
    return connection
  }
  const other = makeSwarm(t)
  const destroyed = makeSwarm(t)
  await pair(destroyed, other)
  await within(destroyed.destroy(), 'destroy')
  t.equal(destroyed.connections.length, 0)

  const closed = makeSwarm(t, { closeTimeout: 100 })
  await pair(closed, other)
  await within(closed.close(), 'close')
  t.equal(closed.connections.length, 0)

  const swarm = makeSwarm(t)
  const lost = await pair(swarm, other)
  const told = next(swarm, 'disconnection')
  lost.stream.destroy(new Error('noise'))
  t.equal((await told)[1]?.message, 'noise', 'what is lost is told')
  t.equal(swarm.stats.peers, 0)
})

test('errors have a code, a sentence, and a cause', async (t) => {
  const swarm = makeSwarm(t)
  const error = (await rejection(swarm.connect(await deafAddress()), 'connect')) as SwarmError
  t.equal(error.name, 'SwarmError')
  t.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})

test('newcomers have as long as it takes, within bounds, while something comes from them', async (t) => {
  const traffic = new Map([['here', { received: 0, sent: 0, bytes: 0 }]])
  const trials = new Trials(() => new Map([...traffic].map(([id, counts]) => [id, { ...counts }])))
  const verdict = (id: string) => {
    const over = new Promise<[boolean, string[]]>((resolve) => trials.begin(id, (...told) => resolve(told)))
    traffic.set(id, { received: 0, sent: 0, bytes: 100 })
    return over
  }
  const slow = verdict('slow')
  // A block that is under way, and arrives only after the silent one has had its time.
  traffic.get('slow')!.bytes = 1_000_000
  t.deepEqual(await within(verdict('silent'), 'the silent one'), [false, ['here']])
  traffic.get('slow')!.received = 1
  t.deepEqual(await within(slow, 'the slow one'), [true, ['here']])
  t.equal(trials.size, 0)
})
