/** Peers as feeds show them (spec API §8.3), and the events of their coming and going (spec API §4). */
import test from 'tape'
import { Replicator } from '../../../src/replication/replicator.ts'
import {
  Bench,
  blocksOf,
  complete,
  connect,
  connectStreams,
  forEach,
  recordEvents,
  texts,
  until
} from '../../helpers/replication-feeds.ts'
import { nextEvent, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]
const PEER_EVENTS = ['peer-add', 'peer-open', 'peer-remove']

forEach(BOTH, 'peers: what a peer says about itself', async (t, bench) => {
  const writer = await bench.writer(texts(12))
  const sparse = await bench.sparse(writer)
  const { a, b, cut } = connect(writer, sparse, { live: true, ack: true }, { live: true, maxRequests: 3 })
  await sparse.get(5)
  t.equal(replicating(writer).peers.length, 1)
  const ofWriter = replicating(writer).peers[0]!
  const ofSparse = replicating(sparse).peers[0]!
  t.ok(Array.isArray(replicating(sparse).peers))
  t.equal(ofSparse.feed, sparse.feed)
  t.equal(ofSparse.stream.stream, b)
  t.equal(ofWriter.stream.stream, a)
  t.equal(ofSparse.remoteLength, 12)
  t.equal(replicating(sparse).remoteLength, 12, 'the largest of the peers')
  t.equal(ofWriter.remoteLength, 6, 'what the remote is known to know: it was sent block 5')
  t.equal(ofSparse.remoteBitfield.get(4), true)
  t.equal(ofSparse.remoteBitfield.get(5), false, 'a block that is here is not of interest')
  t.deepEqual([ofSparse.downloading, ofSparse.uploading], [true, true])
  t.deepEqual([ofWriter.downloading, ofWriter.uploading], [false, true], 'a writer does not download')
  t.deepEqual([ofSparse.remoteDownloading, ofSparse.remoteUploading], [false, true])
  t.deepEqual([ofWriter.remoteDownloading, ofWriter.remoteUploading], [true, true])
  t.deepEqual([ofSparse.remoteOpened, ofWriter.remoteOpened], [true, true])
  t.deepEqual(
    [ofSparse.ack, ofSparse.remoteAck, ofWriter.ack, ofWriter.remoteAck],
    [false, true, true, false]
  )
  t.deepEqual([ofSparse.live, ofSparse.sparse, ofWriter.sparse], [true, true, false])
  t.deepEqual([ofSparse.maxRequests, ofWriter.maxRequests], [3, 16])
  t.deepEqual([ofSparse.inflightRequests.length, ofSparse.inflightWants], [0, 0])
  t.deepEqual(ofSparse.remotePublicKey, a.publicKey)
  t.deepEqual(ofWriter.remotePublicKey, b.publicKey)
  t.equal(ofSparse.remoteType, null, 'not piped into a socket')
  t.equal(ofSparse.remoteAddress, null)
  await cut()
  t.equal(replicating(sparse).remoteLength, 0, 'without peers')
})

forEach([OURS], 'peers: the public key has two names', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const { a, cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  t.deepEqual(replicating(replica).peers[0]!.publicKey, a.publicKey, 'as the manual calls it')
  await cut()
})

forEach(BOTH, 'peers: counters, per peer and in total', async (t, bench) => {
  const writer = await bench.writer(['a', 'bb', 'ccc'])
  const other = await bench.writer(['unrelated'])
  const replica = await bench.replica(writer, { sparse: true })
  const { cut } = connect(writer, replica, { live: true, stats: true })
  await replica.get(1)
  await replica.get(2)
  const up = { uploadedBlocks: 2, uploadedBytes: 5, downloadedBlocks: 0, downloadedBytes: 0 }
  const down = { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 2, downloadedBytes: 5 }
  t.deepEqual({ ...replicating(writer).peers[0]!.stats }, up)
  t.deepEqual({ ...replicating(replica).peers[0]!.stats }, down)
  t.deepEqual({ ...replicating(writer).stats!.totals }, up)
  t.deepEqual({ ...replicating(replica).stats!.totals }, down)
  t.deepEqual(
    replicating(replica).stats!.peers.map((peer) => ({ ...peer })),
    [down]
  )
  const { totals } = replicating(replica).stats!
  await replica.get(0)
  t.equal(totals.downloadedBlocks, 3, 'totals is the live object')
  await cut()
  t.deepEqual(replicating(replica).stats!.peers, [], 'without peers')
  t.equal(replicating(replica).stats!.totals.downloadedBytes, 6, 'totals stay')
  t.equal(replicating(other).stats!.totals.uploadedBlocks, 0)
})

forEach(BOTH, 'peers: no counters if they are switched off', async (t, bench) => {
  const writer = await bench.writer(texts(3), { stats: false })
  const replica = await bench.replica(writer, { stats: false })
  t.deepEqual(await connect(writer, replica).ends, [null, null])
  t.equal(replicating(writer).stats, null)
  t.equal(replicating(replica).stats, null)
})

forEach(BOTH, 'peers: coming, opening and going, in this order', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const ofWriter = recordEvents(replicating(writer), PEER_EVENTS)
  const ofReplica = recordEvents(replicating(replica), PEER_EVENTS)
  const a = replicating(writer).replicate(true)
  t.deepEqual(ofWriter, ['peer-add'], 'attached at once')
  t.equal(replicating(writer).peers.length, 1)
  t.equal(replicating(writer).peers[0]!.remoteOpened, false)
  const b = replicating(replica).replicate(false)
  t.deepEqual(await connectStreams(a, b).ends, [null, null])
  t.deepEqual(ofWriter, PEER_EVENTS)
  t.deepEqual(ofReplica, PEER_EVENTS)
})

forEach(BOTH, 'peers: the events carry the peer', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const seen: unknown[] = []
  for (const event of PEER_EVENTS) replicating(replica).on(event, (peer) => seen.push(peer))
  let atRemoval = -1
  replicating(replica).on('peer-remove', () => {
    atRemoval = replicating(replica).peers.length
  })
  await connect(writer, replica).ends
  t.equal(seen.length, 3)
  t.equal(new Set(seen).size, 1)
  t.equal(atRemoval, 0, 'a peer that is removed is not in the list any more')
})

forEach(BOTH, 'peers: a stream that goes before the remote has come', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const log = recordEvents(replicating(writer), PEER_EVENTS)
  const stream = replicating(writer).replicate(true)
  stream.destroy()
  await nextEvent(stream, 'close')
  t.deepEqual(log, ['peer-add', 'peer-remove'])
  t.equal(replicating(writer).peers.length, 0)
})

forEach(BOTH, 'peers: several at once', async (t, bench) => {
  const writer = await bench.writer(texts(50))
  const replica = await bench.replica(writer)
  const first = connect(writer, replica, { live: true })
  await complete(replica, 50)
  const late = await bench.sparse(writer)
  const second = connect(writer, late, { live: true })
  const third = connect(replica, late, { live: true })
  await late.call('download', { start: 0, end: 50 })
  t.equal(replicating(writer).peers.length, 2)
  t.equal(replicating(late).peers.length, 2)
  const { uploadedBlocks: ofWriter } = replicating(writer).stats!.totals
  const { uploadedBlocks: ofReplica } = replicating(replica).stats!.totals
  // The published packages fetch a block again from the peer that has not heard that it is here (quirk 13 of WIRE §16).
  if (bench.subject.isOurs) t.equal(ofWriter + ofReplica, 100, 'no block was sent twice')
  else t.ok(ofWriter + ofReplica >= 100)
  for (const connection of [first, second, third]) await connection.cut()
})

forEach(BOTH, 'peers: destroying one ends its stream', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const { ends } = connect(writer, replica, { live: true })
  await complete(replica, 3)
  replicating(replica).peers[0]!.destroy(new Error('not this one'))
  t.equal((await ends)[1]?.message, 'not this one')
  t.equal(replicating(replica).peers.length, 0)
})

forEach(BOTH, 'peers: what the remote knows follows what it announces', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const sparse = await bench.sparse(writer)
  const { cut } = connect(writer, sparse, { live: true })
  await until(() => replicating(sparse).remoteLength === 3, 'the length')
  const lengths: number[] = []
  replicating(sparse).on('remote-update', (peer) => lengths.push(peer.remoteLength))
  await writer.append('one more')
  await until(() => lengths.length === 1, 'the first growth')
  await writer.append(texts(4))
  await until(() => lengths.length === 2, 'the second growth')
  await settle()
  t.deepEqual(lengths, [4, 8])
  await cut()
})

forEach(
  BOTH,
  'peers: end() of a live peer stops its downloads but keeps the connection',
  async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.replica(writer)
    const { a, b, cut } = connect(writer, replica, { live: true })
    await complete(replica, 3)
    replicating(replica).peers[0]!.end()
    await until(() => !replicating(writer).peers[0]!.remoteDownloading, 'the status')
    await writer.append('not for you')
    await settle(20)
    t.equal(replica.length, 3)
    t.notOk(a.destroyed || b.destroyed)
    await cut()
  }
)

test('peers: more requests at a time than remotes of this version take are not made', async (t) => {
  const bench = new Bench(t, OURS)
  const blocks = texts(9000)
  const writer = await bench.writer(blocks)
  const replica = await bench.replica(writer)
  const { ends } = connect(writer, replica, {}, { maxRequests: 20_000 })
  t.equal(replicating(replica).peers[0]!.maxRequests, 4096 - 16)
  t.deepEqual(await ends, [null, null])
  t.deepEqual(await blocksOf(replica), blocks)
})

test('peers: what is announced of a very large batch is no more at a time than remotes take', (t) => {
  const replicator = new Replicator({} as never)
  const heard: { start: number; length?: number }[] = []
  replicator.peers.push({ news: (message: { start: number }) => heard.push(message) } as never)
  replicator.announce(7, 2 ** 25 + 1, null)
  t.deepEqual(heard, [
    { start: 7, length: 2 ** 24 },
    { start: 7 + 2 ** 24, length: 2 ** 24 },
    { start: 7 + 2 ** 25 }
  ])
  t.end()
})
