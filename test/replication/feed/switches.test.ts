/** What can be switched: uploading, downloading, pushing, following the length, and the hook before writes. */
import {
  type Bench,
  complete,
  connect,
  connectStreams,
  forEach,
  texts,
  until
} from '../../helpers/replication-feeds.ts'
import { unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyPeer, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { settle, within } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

forEach(BOTH, 'switches: options of replicate win over those of the feed', async (t, bench) => {
  const writer = await bench.writer(texts(4))
  const replica = await bench.replica(writer)
  const { cut } = connect(writer, replica, { live: true }, { live: true, download: false })
  await until(() => replicating(writer).peers[0]!.remoteDownloading === false, 'the status')
  await settle(10)
  t.equal(replica.length, 0)
  replicating(replica).peers[0]!.setDownloading(true)
  await complete(replica, 4)
  await cut()

  const mute = await bench.replica(writer)
  const second = connect(writer, mute, { live: true, upload: false }, { live: true })
  await until(() => replicating(mute).peers[0]!.remoteUploading === false, 'the status')
  await settle(10)
  t.equal(mute.length, 0)
  replicating(writer).peers[0]!.setUploading(true)
  await complete(mute, 4)
  await second.cut()
})

forEach(
  BOTH,
  'switches: an author that has cleared blocks gets them back when it begins to download',
  async (t, bench) => {
    const writer = await bench.writer(texts(4))
    const replica = await bench.replica(writer)
    const { cut } = connect(writer, replica, { live: true }, { live: true })
    await complete(replica, 4)
    await writer.clear(0, 4)
    replicating(writer).setDownloading(true)
    const value = await within(writer.get(1), 'the block')
    t.deepEqual(Buffer.from(value as Uint8Array), Buffer.from(texts(4)[1] as string))
    await cut()
  }
)

forEach(
  BOTH,
  'switches: what the feed does already does not change what a peer was told',
  async (t, bench) => {
    const writer = await bench.writer(texts(4))
    const replica = await bench.replica(writer, { downloading: true })
    const { cut } = connect(writer, replica, { live: true, upload: false }, { live: true, download: false })
    await until(() => replicating(replica).peers[0]?.remoteOpened === true, 'the peers')
    replicating(writer).setUploading(true)
    replicating(replica).setDownloading(true)
    await settle(10)
    const [there] = replicating(writer).peers
    const [here] = replicating(replica).peers
    t.deepEqual([there!.uploading, here!.downloading], [false, false])
    for (const flag of [false, true]) {
      replicating(writer).setUploading(flag)
      replicating(replica).setDownloading(flag)
      await settle(10)
      t.deepEqual([there!.uploading, here!.downloading], [flag, flag], 'but a change is for all')
    }
    await complete(replica, 4)
    await cut()
  }
)

forEach(BOTH, 'switches: flags count by truthiness', async (t, bench) => {
  const writer = await bench.writer(texts(4))
  for (const flag of [true, 1, 'yes']) {
    const replica = await bench.replica(writer)
    // Only replication that is not live marks everything anew. (The published packages call what is passed here.)
    replicating(replica).undownload({ start: 0, end: -1, callback() {} })
    const { a, cut } = connect(writer, replica, { live: flag, ack: flag })
    await until(() => replicating(writer).peers[0]?.remoteOpened === true, 'the peers')
    const [there] = replicating(replica).peers
    t.deepEqual([there!.live, there!.ack], [true, true], String(flag))
    const acknowledged = new Promise<void>((resolve) => a.once('ack', () => resolve()))
    await replica.get(2)
    await within(acknowledged, 'the acknowledgement')
    t.equal(replica.downloaded(), 1, 'and nothing else was asked for')
    await cut()
  }
})

forEach(BOTH, 'switches: options of the feed', async (t, bench) => {
  const writer = await bench.writer(texts(4), { uploading: false })
  const replica = await bench.replica(writer, { downloading: false })
  t.deepEqual([replicating(writer).uploading, replicating(replica).downloading], [false, false])
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replicating(replica).peers[0]?.remoteUploading === false, 'the status')
  t.deepEqual(
    [replicating(replica).peers[0]!.downloading, replicating(writer).peers[0]!.uploading],
    [false, false]
  )
  await settle(10)
  t.equal(replica.length, 0)
  replicating(replica).setDownloading(true)
  replicating(writer).setUploading(true)
  await complete(replica, 4)
  t.deepEqual([replicating(writer).uploading, replicating(replica).downloading], [true, true])
  await cut()
})

forEach(BOTH, 'switches: stopping and going on', async (t, bench) => {
  const writer = await bench.writer(texts(4))
  const replica = await bench.replica(writer)
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 4)
  replicating(replica).setDownloading(false)
  await until(() => !replicating(writer).peers[0]!.remoteDownloading, 'the status')
  await writer.append(texts(3, 4))
  await settle(20)
  t.equal(replica.length, 4)
  replicating(replica).setDownloading(true)
  await complete(replica, 7)
  replicating(writer).setUploading(false)
  await until(() => !replicating(replica).peers[0]!.remoteUploading, 'the status')
  await writer.append(texts(3, 7))
  await settle(20)
  t.equal(replica.length, 7)
  replicating(writer).setUploading(true)
  await complete(replica, 10)
  await cut()
})

forEach(
  BOTH,
  'switches: requests in flight are given up when the remote stops uploading',
  async (t, bench) => {
    const writer = await bench.writer(texts(40))
    const other = await bench.replica(writer)
    await connect(writer, other).ends
    const replica = await bench.replica(writer)
    let uploads = 0
    replicating(writer).on('upload', () => {
      if (++uploads === 3) replicating(writer).setUploading(false)
    })
    const first = connect(writer, replica, { live: true })
    await until(() => uploads >= 3, 'some uploads')
    await until(() => !replicating(replica).peers[0]!.remoteUploading, 'the status')
    await settle(10)
    t.equal(replicating(replica).peers[0]!.inflightRequests.length, 0)
    t.ok(replica.downloaded() < 40)
    const second = connect(other, replica, { live: true })
    await complete(replica, 40)
    await first.cut()
    await second.cut()
  }
)

forEach(BOTH, 'switches: a peer connected later gets the new state', async (t, bench) => {
  const writer = await bench.writer(texts(4))
  const replica = await bench.replica(writer)
  replicating(replica).setDownloading(false)
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replicating(writer).peers[0]?.remoteDownloading === false, 'the status')
  t.equal(replicating(replica).peers[0]!.downloading, false)
  await cut()
})

forEach(
  BOTH,
  'switches: setDownloading before the feed is open is not overridden by opening',
  async (t, bench) => {
    const writer = bench.opening()
    replicating(writer).setDownloading(true)
    await writer.ready()
    t.equal(writer.writable, true)
    t.equal(replicating(writer).downloading, true)
  }
)

forEach([OURS], 'switches: an eager replica follows the length', async (t, bench) => {
  // The published packages never stop asking once such a feed is closed.
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer, { eagerUpdate: true })
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replica.length === 3, 'the length')
  await writer.append(texts(4))
  await until(() => replica.length === 7, 'the new length')
  t.equal(replica.downloaded(), 0, 'only proofs came')
  await cut()
  await writer.append(texts(2))
  const again = connect(writer, replica, { live: true })
  await until(() => replica.length === 9, 'the length on another connection')
  await again.cut()
})

/** A remote that is only a stream: sends blocks of `writer` that nobody asked for. */
async function push(bench: Bench, allowPush: boolean): Promise<{ has: boolean; unhaves: number }> {
  const writer = await bench.writer(texts(4))
  const replica = await bench.sparse(writer, { allowPush })
  const stream = new bench.subject.Protocol(true, { live: true })
  let unhaves = 0
  const connection = connectStreams(stream, replicating(replica).replicate(false, { live: true }))
  await new Promise<void>((resolve) => {
    const channel = stream.open(writer.key, {
      onopen: () => {
        channel.want({ start: 0, length: 2 ** 20 })
        void writer
          .proof(2)
          .then((proof) => channel.data({ index: 2, value: Buffer.from('block 2'), ...proof }))
      },
      onunhave: () => {
        unhaves++
        resolve()
      }
    })
    void until(() => replica.has(2) || unhaves > 0, 'the block or its refusal').then(resolve)
  })
  const has = replica.has(2)
  await connection.cut()
  return { has, unhaves }
}

forEach(
  BOTH,
  'switches: blocks that nobody asked for are refused, or taken with allowPush',
  async (t, bench) => {
    t.deepEqual(await push(bench, false), { has: false, unhaves: 1 })
    t.deepEqual(await push(bench, true), { has: true, unhaves: 0 })
  }
)

forEach(BOTH, 'switches: onwrite sees received blocks', async (t, bench) => {
  const writer = await bench.writer(['a', 'b'])
  const seen: [number, string, boolean][] = []
  const replica = await bench.replica(writer, {
    onwrite: (index: number, data: Uint8Array, peer: AnyPeer | null, callback: () => void) => {
      seen.push([index, String(data), peer === replicating(replica).peers[0]])
      t.notOk(replica.has(index), 'before the block is stored')
      setImmediate(callback)
    }
  })
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 2)
  t.deepEqual(seen.sort(), [
    [0, 'a', true],
    [1, 'b', true]
  ])
  await cut()
})

forEach(BOTH, 'switches: a veto of onwrite ends the stream with its error', async (t, bench) => {
  const writer = await bench.writer(['good', 'bad'])
  const replica = await bench.sparse(writer, {
    onwrite: (_index: number, data: Uint8Array, _peer: unknown, callback: (error?: Error) => void) =>
      callback(String(data) === 'bad' ? new Error('not in my house') : undefined)
  })
  const first = connect(writer, replica, { live: true })
  t.equal(String(await replica.get(0)), 'good')
  const waiting = replica.get(1)
  waiting.catch(() => {})
  t.equal((await first.ends)[1]?.message, 'not in my house')
  t.notOk(replica.has(1))
  const second = connect(writer, replica, { live: true })
  t.equal(
    (await second.ends)[1]?.message,
    'not in my house',
    'the call goes on waiting and the next peer is tried'
  )
  await replica.close()
})

forEach(BOTH, 'switches: maxRequests bounds what is in flight', async (t, bench) => {
  const writer = await bench.writer(texts(200))
  const replica = await bench.replica(writer)
  replicating(replica).maxRequests = 5
  let most = 0
  replicating(replica).on('download', (_index, _data, peer: AnyPeer) => {
    most = Math.max(most, peer.inflightRequests.length)
  })
  const { cut } = connect(writer, replica, { live: true })
  unwatched(replicating(replica).peers[0]!.stream.stream)
  await complete(replica, 200)
  t.ok(most > 1 && most <= 5, `${most} requests`)
  await cut()
})
