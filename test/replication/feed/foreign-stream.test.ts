/** A protocol stream of the published packages, handed to feeds of this one. */
import { complete, connectStreams, forEach, texts } from '../../helpers/replication-feeds.ts'
import { OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'

forEach([OURS], 'streams: modules that bring a published stream', async (t, bench) => {
  // Any object that looks like a protocol stream is taken for one, also of another copy of the protocol.
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const a = replicating(writer).replicate(new PUBLISHED.Protocol(true, { live: true }), { live: true })
  const b = replicating(replica).replicate(new PUBLISHED.Protocol(false, { live: true }), { live: true })
  const connection = connectStreams(a, b)
  await complete(replica, 3)
  await connection.cut()
  t.equal(replicating(writer).peers.length, 0)
})
