/** A protocol stream of the published packages, handed to feeds of this one. */
import { complete, connectStreams, forEach, texts, until } from '../../helpers/replication-feeds.ts'
import { type AnyStream, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'

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

forEach([OURS], 'streams: one that leaves it to the feed to answer a Close', async (t, bench) => {
  // What hyperdrive 10.8 does: it refuses the feed of the contents until it has read of it.
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const a = asOfSeven(new PUBLISHED.Protocol(true, { live: true }))
  const b = asOfSeven(new PUBLISHED.Protocol(false, { live: true }))
  a.on('discovery-key', () => void replicating(writer).replicate(a, { live: true }))
  let refused = false
  b.on('discovery-key', (discoveryKey: Uint8Array) => {
    b.close(discoveryKey)
    refused = true
  })
  replicating(writer).replicate(a, { live: true })
  const connection = connectStreams(a, b)
  await until(() => refused, 'the refusal')
  await until(() => !b.remoteOpened(writer.key), 'the answer to it')
  t.equal(replicating(writer).peers.length, 0, 'the writer has left')
  replicating(replica).replicate(b, { live: true })
  await complete(replica, 3)
  await connection.cut()
})

interface Channelizer {
  remote: (PublishedChannel | null)[]
  created: Map<string, PublishedChannel>
  getChannel(discoveryKey: Uint8Array): PublishedChannel | null
  onclose(id: number, message: { discoveryKey: Uint8Array | null }): void
}

interface PublishedChannel {
  discoveryKey: Buffer
  handlers: { onclose?(): void } | null
}

/** A published stream that takes a Close as `hypercore-protocol` 7 does: it forgets the channel, and sends nothing itself. */
function asOfSeven(stream: AnyStream): SevenStream {
  const { channelizer } = stream as unknown as { channelizer: Channelizer }
  channelizer.onclose = (id, { discoveryKey }) => {
    const channel = channelizer.remote[id] ?? (discoveryKey && channelizer.getChannel(discoveryKey))
    if (id < channelizer.remote.length) channelizer.remote[id] = null
    if (!channel) return
    channel.handlers?.onclose?.()
    channelizer.created.delete(channel.discoveryKey.toString('hex'))
  }
  return stream as SevenStream
}

type SevenStream = AnyStream & {
  close(discoveryKey: Uint8Array): void
  remoteOpened(key: Uint8Array | null): boolean
}
