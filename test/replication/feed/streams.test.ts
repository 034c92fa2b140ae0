/** `feed.replicate` and its streams: arguments, sharing one stream among feeds, feeds opened on demand (spec API §8). */
import test from 'tape'
import hypercore, * as hypercoreExports from '../../../src/hypercore.ts'
import ddatabase, * as ddatabaseExports from '../../../src/index.ts'
import {
  Bench,
  complete,
  connect,
  connectStreams,
  forEach,
  texts,
  until
} from '../../helpers/replication-feeds.ts'
import { ending, unwatched } from '../../helpers/replication-pipes.ts'
import {
  type AnyChannel,
  nextEvent,
  OURS,
  OURS_HYPERCORE,
  PUBLISHED,
  PUBLISHED_HYPERCORE,
  replicating
} from '../../helpers/replication-subjects.ts'
import { rejection, settle, within } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]
const ALL = [...BOTH, OURS_HYPERCORE, PUBLISHED_HYPERCORE]

forEach(ALL, 'streams: what replicate can be given', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const feed = replicating(writer)
  const { Protocol } = bench.subject
  const streams = [
    feed.replicate(true),
    feed.replicate(true, { live: true }),
    feed.replicate({ initiator: true, live: true }),
    feed.replicate(new Protocol(true)),
    feed.replicate(new Protocol(true), { live: true }),
    feed.replicate(false, { stream: new Protocol(true) })
  ]
  for (const [i, stream] of streams.entries()) {
    t.ok(Protocol.isProtocolStream(stream), `call ${i} answers a protocol stream`)
    t.equal(stream.initiator, true)
    t.ok(stream.opened(writer.key), 'with the feed on it')
  }
  t.equal(feed.peers.length, 6)
  t.equal(feed.replicate(streams[0]!), streams[0], 'the stream itself')
  t.equal(feed.peers.length, 6, 'a second time has no effect')
  for (const wrong of [undefined, null, {}, { live: true }, 'yes']) {
    t.throws(() => feed.replicate(wrong), /Must specify initiator boolean in replication stream/)
  }
  for (const stream of streams) unwatched(stream).destroy()
})

forEach(BOTH, 'streams: extensions per peer are refused', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  t.throws(
    () => replicating(writer).replicate(true, { extensions: ['a'], timeout: 0 }),
    /Per peer extensions is not supported/
  )
})

forEach([OURS], 'streams: the options stay as they were', async (t, bench) => {
  // Quirk 18 of WIRE §16.
  const options = Object.freeze({ live: true, ack: true, encrypted: true })
  const writers = [await bench.writer(texts(1)), await bench.writer(texts(1))]
  const streams = writers.map((writer) => unwatched(replicating(writer).replicate(true, options)))
  const open = { live: true }
  for (const writer of writers) streams.push(unwatched(replicating(writer).replicate(true, open)))
  t.deepEqual(open, { live: true })
  const key = (index: number) => Buffer.from(streams[index]!.publicKey!).toString('hex')
  t.notEqual(key(0), key(1), 'each feed has its own static key')
  t.equal(key(0), key(2), 'and uses it for all its streams')
  for (const stream of streams) stream.destroy()
})

forEach(BOTH, 'streams: noiseKeyPair of the feed, keyPair of the call', async (t, bench) => {
  const { Protocol } = bench.subject
  const [one, two] = [Protocol.keyPair(), Protocol.keyPair()]
  const writer = await bench.writer(texts(1), { noiseKeyPair: one })
  const replica = await bench.replica(writer)
  for (const [options, expected] of [
    [{ live: true }, one],
    [{ live: true, keyPair: two }, two]
  ] as const) {
    const { b, cut } = connect(writer, replica, options, { live: true })
    await until(() => b.remotePublicKey !== null, 'the handshake')
    t.deepEqual(b.remotePublicKey, expected.publicKey)
    await cut()
  }
})

forEach(BOTH, 'streams: replicating before the feed is open', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = bench.opening(writer.key)
  const stream = replicating(replica).replicate(true)
  t.equal(replicating(replica).peers.length, 0)
  t.deepEqual(await connectStreams(stream, replicating(writer).replicate(false)).ends, [null, null])
  t.equal(replica.downloaded(), 3)
})

forEach(BOTH, 'streams: a feed that cannot be opened ends its stream with the error', async (t, bench) => {
  const feed = bench.opening(null, { createIfMissing: false })
  const error = await ending(replicating(feed).replicate(true))
  t.equal(error?.message, bench.subject.dialect === 'ddatabase' ? 'No ddatabase is stored here' : '')
})

forEach([OURS], 'streams: a feed that is closed', async (t, bench) => {
  // The published packages attach the closed feed and leave the stream to its timeout.
  const feed = await bench.writer(texts(1))
  await feed.close()
  const error = await ending(replicating(feed).replicate(true))
  t.equal(error?.code, 'ERR_FEED_CLOSED')
  t.equal(replicating(feed).peers.length, 0)
})

forEach(BOTH, 'streams: a stream that is destroyed already', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const stream = unwatched(new bench.subject.Protocol(true))
  stream.destroy()
  await nextEvent(stream, 'close')
  t.equal(replicating(writer).replicate(stream), stream)
  t.equal(replicating(writer).peers.length, 0)
})

forEach(ALL, 'streams: many feeds on one stream, in both directions', async (t, bench) => {
  const count = 12
  const writers = await Promise.all(Array.from({ length: count }, (_, i) => bench.writer(texts(i + 1))))
  const replicas = await Promise.all(writers.map((writer) => bench.replica(writer)))
  const a = new bench.subject.Protocol(true, { live: true })
  const b = new bench.subject.Protocol(false, { live: true })
  // Half of the feeds are written on the one side, half on the other; attached in opposite orders.
  const here = writers.map((writer, i) => (i % 2 === 0 ? writer : replicas[i]!))
  const there = writers.map((writer, i) => (i % 2 === 0 ? replicas[i]! : writer))
  for (const feed of here) replicating(feed).replicate(a, { live: true })
  for (const feed of there.reverse()) replicating(feed).replicate(b, { live: true })
  const connection = connectStreams(a, b)
  await Promise.all(replicas.map((replica, i) => complete(replica, i + 1)))
  t.equal(a.channelCount, count)
  t.equal(b.channelCount, count)
  await connection.cut()
})

forEach(ALL, 'streams: feeds opened when the remote asks for them', async (t, bench) => {
  const writers = await Promise.all([1, 2, 3].map((length) => bench.writer(texts(length))))
  const replicas = await Promise.all(writers.map((writer) => bench.replica(writer)))
  const a = replicating(writers[0]!).replicate(true, { live: true })
  for (const writer of writers.slice(1)) replicating(writer).replicate(a, { live: true })
  const b = new bench.subject.Protocol(false, { live: true })
  const asked: string[] = []
  b.on('discovery-key', (discoveryKey: Uint8Array) => {
    const name = Buffer.from(discoveryKey).toString('hex')
    asked.push(name)
    const found = replicas.find((feed) => Buffer.from(feed.feed.discoveryKey!).toString('hex') === name)!
    // One later, one at once.
    if (found === replicas[1]) setImmediate(() => replicating(found).replicate(b, { live: true }))
    else replicating(found).replicate(b, { live: true })
  })
  const connection = connectStreams(a, b)
  await Promise.all(replicas.map((replica, i) => complete(replica, i + 1)))
  t.equal(asked.length, 3)
  await connection.cut()
})

forEach(BOTH, 'streams: feeds that the remote refuses or does not know', async (t, bench) => {
  const [shared, refused, ignored] = [
    await bench.writer(texts(2)),
    await bench.writer(texts(2)),
    await bench.writer()
  ]
  const replica = await bench.replica(shared)
  const a = replicating(shared).replicate(true, { live: true })
  replicating(refused).replicate(a, { live: true })
  replicating(ignored).replicate(a, { live: true })
  const b = replicating(replica).replicate(false, { live: true })
  b.on('discovery-key', (discoveryKey: Uint8Array) => {
    if (Buffer.from(discoveryKey).equals(refused.feed.discoveryKey!)) b.close(discoveryKey)
  })
  const removed = nextEvent(replicating(refused), 'peer-remove')
  const connection = connectStreams(a, b)
  await complete(replica, 2)
  await within(removed, 'the refusal')
  t.equal(replicating(refused).peers.length, 0)
  t.equal(replicating(ignored).peers.length, 1, 'it may still be opened')
  t.notOk(a.destroyed || b.destroyed)
  await connection.cut()
})

forEach(BOTH, 'streams: prefinalize holds a stream for a feed that comes later', async (t, bench) => {
  const first = await bench.writer(texts(2))
  const second = await bench.writer(texts(3))
  const replicas = [await bench.replica(first), await bench.replica(second)]
  const a = replicating(first).replicate(true)
  const b = replicating(replicas[0]!).replicate(false)
  a.prefinalize.wait()
  b.prefinalize.wait()
  const { ends } = connectStreams(a, b)
  await nextEvent(a, 'prefinalize')
  await settle(10)
  t.notOk(a.destroyed || b.destroyed)
  replicating(second).replicate(a)
  replicating(replicas[1]!).replicate(b)
  a.prefinalize.continue()
  b.prefinalize.continue()
  t.deepEqual(await ends, [null, null])
  t.equal(replicas[1]!.downloaded(), 3)
})

forEach(BOTH, 'streams: closing one feed leaves the others', async (t, bench) => {
  const writers = [await bench.writer(texts(2)), await bench.writer(texts(2))]
  const replicas = [await bench.replica(writers[0]!), await bench.replica(writers[1]!)]
  const a = replicating(writers[0]!).replicate(true, { live: true })
  replicating(writers[1]!).replicate(a, { live: true })
  const b = replicating(replicas[0]!).replicate(false, { live: true })
  replicating(replicas[1]!).replicate(b, { live: true })
  const connection = connectStreams(a, b)
  await complete(replicas[1]!, 2)
  await writers[0]!.close()
  await until(() => replicating(replicas[0]!).peers.length === 0, 'the end of the channel')
  await writers[1]!.append('more')
  await complete(replicas[1]!, 3)
  t.notOk(a.destroyed || b.destroyed)
  await connection.cut()
})

for (const mode of [{ encrypted: false }, { encrypted: false, noise: false }]) {
  forEach(ALL, `streams: ${JSON.stringify(mode)}`, async (t, bench) => {
    const writer = await bench.writer(texts(9))
    const replica = await bench.replica(writer)
    const { a, ends } = connect(writer, replica, mode)
    t.deepEqual(await ends, [null, null])
    t.equal(replica.downloaded(), 9)
    t.equal(a.publicKey === null, 'noise' in mode)
  })
}

test('streams: the class is exported and reachable from the callable exports', (t) => {
  const callables = [ddatabase, hypercore] as unknown as { Protocol: unknown }[]
  t.equal(callables[0]!.Protocol, OURS.Protocol)
  t.equal(callables[1]!.Protocol, OURS_HYPERCORE.Protocol)
  t.ok(Object.values(ddatabaseExports).includes(OURS.Protocol as never))
  t.ok(Object.values(hypercoreExports).includes(OURS_HYPERCORE.Protocol as never))
  t.end()
})

forEach([OURS], 'streams: errors say what was wrong', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const thrown = await rejection(
    Promise.resolve().then(() => replicating(writer).replicate('no')),
    'replicate'
  )
  t.ok(thrown instanceof TypeError)
  t.equal(thrown.code, 'ERR_INVALID_ARG_TYPE')
})

forEach(
  [OURS, PUBLISHED],
  'streams: nobody is asked about a feed that is being opened for the stream',
  async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const other = await bench.writer(texts(2))
    const opening = bench.opening(writer.key, { sparse: true })
    const [a, b] = [
      replicating(writer).replicate(true, { live: true }),
      replicating(opening).replicate(false, { live: true })
    ]
    replicating(other).replicate(a, { live: true })
    const asked: string[] = []
    b.on('discovery-key', (discoveryKey: Uint8Array) => {
      asked.push(Buffer.from(discoveryKey).toString('hex'))
      b.close(discoveryKey)
    })
    const { cut } = connectStreams(a, b)
    t.equal(String(await within(opening.get(1), 'the block')), 'block 1')
    t.deepEqual(asked, [Buffer.from(replicating(other).discoveryKey!).toString('hex')], 'but about others')
    await cut()
  }
)

test('streams: about a feed that was to be opened, and cannot be, somebody else is asked', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(3))
  const carrier = await bench.writer(texts(1))
  const [a, b] = [
    replicating(writer).replicate(true, { live: true }),
    replicating(carrier).replicate(false, { live: true })
  ]
  const asked: string[] = []
  b.on('discovery-key', (discoveryKey: Uint8Array) => asked.push(Buffer.from(discoveryKey).toString('hex')))
  const expected = (b as unknown as ddatabaseExports.ProtocolStream).expect(replicating(writer).discoveryKey!)
  const again = (b as unknown as ddatabaseExports.ProtocolStream).expect(replicating(writer).discoveryKey!)
  const opened = new Promise((resolve) => b.once('remote-open', resolve))
  const { cut } = connectStreams(a, b)
  await within(opened, 'the Open')
  expected()
  t.deepEqual(asked, [], 'not while it may still be opened')
  again()
  t.deepEqual(asked, [Buffer.from(replicating(writer).discoveryKey!).toString('hex')])
  await cut()
})

for (const { name, Protocol } of [OURS, PUBLISHED]) {
  test(`streams: a listener may close a feed while it is being opened on the stream (${name})`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    const a = replicating(writer).replicate(true, { live: true })
    const b = new Protocol(false, { live: true })
    const opened = nextEvent(b, 'remote-open')
    const { cut } = connectStreams(a, b)
    await within(opened, 'the Open')
    b.once('duplex-channel', (channel: AnyChannel) => channel.close())
    replicating(replica).replicate(b, { live: true })
    t.equal(replicating(replica).peers.length, 0)
    const { code } = await rejection(replica.get(1, { ifAvailable: true }), 'get')
    t.equal(code, 'ERR_BLOCK_NOT_AVAILABLE', 'nobody is waited for')
    await until(() => replicating(writer).peers.length === 0, 'the end of the channel')
    t.notOk(a.destroying || b.destroying, 'the stream stays')
    await cut()
  })
}
