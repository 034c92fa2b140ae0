/** Remotes that say they have what nobody has, and never show it: whoever has something that would do is asked, too. */
import test from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'

const FAR = 2 ** 39

/** A remote that says it has these blocks, and answers nothing. No timeout ends its stream. */
function claiming(
  feed: FeedFace,
  blocks: { start: number; length?: number },
  options: object = {}
): { channel: AnyChannel; remote: AnyStream; stream: AnyStream; requests: number[] } {
  const requests: number[] = []
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const channel: AnyChannel = remote.open(feed.key!, {
    onwant: ({ start }: { start: number }) => {
      if (start === 0) channel.have(blocks)
    },
    onrequest: ({ index }: { index: number }) => requests.push(index)
  })
  const stream = unwatched(replicating(feed).replicate(false, { live: true, timeout: 0, ...options }))
  join(remote, stream)
  return { channel, remote, stream, requests }
}

test('false claims: an update is asked of the one that can answer it', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(64))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(3)
  const liar = claiming(replica, { start: FAR })
  await until(() => replicating(replica).remoteLength > FAR, 'the claim')
  const update = replica.call('update')
  await until(() => liar.requests.includes(FAR), 'the request')
  await writer.append('block 64')
  await update
  t.equal(replica.length, 65)
  t.notOk(liar.stream.destroying, 'the other one may still answer')
  liar.stream.destroy()
  await cut()
  await bench.close()
})

test('false claims: a seek is asked of the one that can answer it', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(64))
  const replica = await bench.sparse(writer)
  const liar = claiming(replica, { start: FAR, length: 8 })
  await until(() => replicating(replica).remoteLength > FAR, 'the claim')
  const place = replica.seek(100)
  await until(() => liar.requests.length === 4, 'the requests')
  const { cut } = connect(writer, replica, { live: true })
  t.deepEqual(await place, await writer.seek(100))
  t.equal(liar.requests.length, 4, 'the silent one was asked for no more')
  liar.stream.destroy()
  await cut()
  await bench.close()
})

test('false claims: what nobody asked for does not put a timeout off', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(64))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(3)
  await cut()
  const { channel, remote, stream } = claiming(replica, { start: FAR }, { timeout: 500 })
  const end = ending(stream)
  await until(() => replicating(replica).remoteLength > FAR, 'the claim')
  replica.get(FAR).catch(() => {})
  let block = 0
  const pushing = setInterval(async () => {
    const index = block++ % 64
    const proof = await writer.proof(index, { hash: true })
    if (!remote.destroyed) channel.data({ index, value: null, ...proof })
  }, 100)
  t.equal((await end)?.code, 'ERR_REQUEST_TIMEOUT')
  clearInterval(pushing)
  await bench.close()
})
