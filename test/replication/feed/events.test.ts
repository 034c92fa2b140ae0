/** Events of a feed that come from replicating (spec API §4), and acknowledgements. */
import { complete, connect, forEach, texts, until } from '../../helpers/replication-feeds.ts'
import {
  OURS,
  OURS_HYPERCORE,
  PUBLISHED,
  PUBLISHED_HYPERCORE,
  replicating
} from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

forEach(BOTH, 'events: download and upload carry index, data and peer', async (t, bench) => {
  const writer = await bench.writer(['a', 'bb', 'ccc'])
  const replica = await bench.replica(writer)
  const up: [number, string][] = []
  const down: [number, string][] = []
  const peers: unknown[] = []
  replicating(writer).on('upload', (index, data, peer) => {
    up.push([index, String(data)])
    peers.push(peer)
  })
  replicating(replica).on('download', (index, data, peer) => {
    down.push([index, String(data)])
    peers.push(peer)
  })
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 3)
  const blocks = [
    [0, 'a'],
    [1, 'bb'],
    [2, 'ccc']
  ]
  t.deepEqual(up.sort(), blocks)
  t.deepEqual(down.sort(), blocks)
  t.deepEqual(new Set(peers), new Set([replicating(writer).peers[0], replicating(replica).peers[0]]))
  await cut()
})

forEach(BOTH, 'events: data is encoded bytes whatever the encoding', async (t, bench) => {
  const writer = await bench.writer([{ json: true }], { valueEncoding: 'json' })
  const replica = await bench.replica(writer, { valueEncoding: 'json' })
  const seen: unknown[] = []
  replicating(replica).on('download', (_index, data) => seen.push(data))
  await connect(writer, replica).ends
  t.ok(seen[0] instanceof Uint8Array)
  t.deepEqual(await replica.get(0), { json: true })
})

forEach(BOTH, 'events: a replica says append and sync', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const log: string[] = []
  replicating(replica).on('append', () => log.push(`append ${replica.length}`))
  replicating(replica).on('sync', () => log.push(`sync ${replica.downloaded()}`))
  const { cut } = connect(writer, replica, { live: true })
  await until(() => log.includes('sync 3'), 'sync')
  t.deepEqual(log, ['append 3', 'sync 3'])
  await writer.append(texts(2))
  await until(() => log.includes('sync 5'), 'sync')
  t.equal(log.filter((line) => line === 'sync 5').length, 1)
  t.ok(log.indexOf('append 5') < log.indexOf('sync 5'))
  await cut()
})

forEach(
  BOTH,
  'events: a writer never says sync, a sparse replica when it has everything',
  async (t, bench) => {
    const writer = await bench.writer(texts(2))
    const sparse = await bench.sparse(writer)
    let ofWriter = 0
    let ofSparse = 0
    replicating(writer).on('sync', () => ofWriter++)
    replicating(sparse).on('sync', () => ofSparse++)
    const { cut } = connect(writer, sparse, { live: true })
    await sparse.get(1)
    await settle()
    t.equal(ofSparse, 0)
    await sparse.get(0)
    await until(() => ofSparse === 1, 'sync')
    t.equal(ofWriter, 0)
    await cut()
  }
)

forEach(BOTH, 'events: every Have is a peer-ack', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const haves: unknown[] = []
  replicating(replica).on('peer-ack', (peer, have) => {
    haves.push([peer === replicating(replica).peers[0], have.start, have.length, !!have.bitfield, have.ack])
  })
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 3)
  await writer.append(texts(2))
  await complete(replica, 5)
  t.deepEqual(haves, [
    [true, 2, 1, false, false],
    [true, 0, 2 ** 20, true, false],
    [true, 3, 2, false, false]
  ])
  await cut()
})

forEach(BOTH, 'events: acknowledgements arrive at the stream that asked for them', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer)
  const { a, b, cut } = connect(writer, replica, { live: true, ack: true }, { live: true })
  const acks: number[] = []
  a.on('ack', (have) => acks.push(have.start, have.length))
  b.on('ack', () => t.fail('the replica asked for none'))
  await replica.get(2)
  await until(() => acks.length === 2, 'the first acknowledgement')
  await replica.get(0)
  await until(() => acks.length === 4, 'the second acknowledgement')
  t.deepEqual(acks, [2, 1, 0, 1])
  await cut()
})

forEach(BOTH, 'events: no acknowledgements without being asked', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const { a, cut } = connect(writer, replica, { live: true })
  a.on('ack', () => t.fail('an acknowledgement'))
  await complete(replica, 3)
  await settle()
  await cut()
  t.pass('none')
})

forEach(BOTH, 'events: an acknowledgement is for what this side has itself', async (t, bench) => {
  // A chain: the middle one asks its source for nothing but hears of the far end only through its own stream.
  const writer = await bench.writer(texts(4))
  const middle = await bench.replica(writer)
  const end = await bench.replica(writer)
  const near = connect(writer, middle, { live: true, ack: true })
  const far = connect(middle, end, { live: true, ack: true })
  const ofNear: number[] = []
  const ofFar: number[] = []
  near.a.on('ack', (have) => ofNear.push(have.start))
  far.a.on('ack', (have) => ofFar.push(have.start))
  await complete(end, 4)
  await until(() => ofNear.length >= 4 && ofFar.length >= 4, 'the acknowledgements')
  t.deepEqual(new Set(ofNear), new Set([0, 1, 2, 3]))
  t.deepEqual(new Set(ofFar), new Set([0, 1, 2, 3]))
  await near.cut()
  await far.cut()
})

forEach(BOTH, 'events: replicating comes with each replicate call (ddatabase)', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const streams: unknown[] = []
  replicating(writer).on('replicating', (stream) => streams.push(stream))
  const stream = replicating(writer).replicate(true)
  t.deepEqual(streams, [stream])
  replicating(writer).replicate(stream)
  t.deepEqual(streams, [stream, stream], 'also for a stream that carries the feed already')
  stream.destroy()
})

forEach(
  [OURS_HYPERCORE, PUBLISHED_HYPERCORE],
  'events: replicating comes with each peer (hypercore)',
  async (t, bench) => {
    const writer = await bench.writer(texts(1))
    const streams: unknown[] = []
    replicating(writer).on('replicating', (stream) => streams.push(stream))
    const stream = replicating(writer).replicate(true)
    t.deepEqual(streams, [stream])
    replicating(writer).replicate(stream)
    t.deepEqual(streams, [stream], 'not for a stream that carries the feed already')
    stream.destroy()
  }
)

forEach(BOTH, 'events: clear tells the peers', async (t, bench) => {
  const writer = await bench.writer(texts(6))
  const sparse = await bench.sparse(writer)
  const { cut } = connect(writer, sparse, { live: true })
  await sparse.get(5)
  const peer = replicating(sparse).peers[0]!
  t.equal(peer.remoteBitfield.get(2), true)
  await writer.clear(1, 4)
  await until(() => !peer.remoteBitfield.get(2), 'the message')
  t.deepEqual(
    [0, 1, 2, 3, 4].map((index) => peer.remoteBitfield.get(index)),
    [true, false, false, false, true]
  )
  await cut()
})

forEach([OURS], 'events: flush announces nothing', async (t, bench) => {
  // Quirk 5 of WIRE §16: the published packages announce a block that does not exist, and then break the connection.
  const writer = await bench.writer(texts(2))
  const replica = await bench.replica(writer)
  const { a, b, cut } = connect(writer, replica, { live: true })
  await complete(replica, 2)
  await writer.flush()
  await settle(20)
  t.equal(replicating(replica).remoteLength, 2)
  t.notOk(a.destroyed || b.destroyed)
  await writer.append('x')
  await complete(replica, 3)
  await cut()
})
