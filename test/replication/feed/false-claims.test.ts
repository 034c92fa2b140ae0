/** Remotes that say they have what nobody has, and never show it: whoever has something that would do is asked, too. */
import test from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { rejection } from '../../helpers/watchdog.ts'

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

for (const [what, then] of [
  ['says nothing more', () => {}],
  ['takes it back', ({ channel }) => channel.unhave({ start: FAR })],
  ['does not upload', ({ channel }) => channel.status({ uploading: false, downloading: true })]
] as [string, (liar: ReturnType<typeof claiming>) => void][]) {
  test(`false claims: a clone's connection with the writer ends when somebody claims more and ${what}`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(64))
    const clone = await bench.replica(writer)
    const liar = claiming(clone, { start: FAR }, { live: false })
    await until(() => liar.requests.includes(FAR), 'the request')
    const { ends } = connect(writer, clone)
    await until(() => clone.downloaded() === 64, 'all blocks')
    then(liar)
    t.deepEqual(await ends, [null, null])
    t.equal(clone.downloaded(), 64)
    liar.stream.destroy()
    await bench.close()
  })
}

test('false claims: one that shows late what it claimed was no liar', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const behind = await bench.replica(writer)
  const first = connect(writer, behind, { live: true })
  await until(() => behind.downloaded() === 5, 'the copy')
  await first.cut()
  await writer.append(texts(5, 5))
  const clone = await bench.replica(writer)
  const slow = claiming(clone, { start: 5, length: 5 }, { live: false })
  await until(() => slow.requests.length >= 5, 'the requests')
  const { ends } = connect(behind, clone)
  t.deepEqual(await ends, [null, null], 'who is known to have no more may leave')
  t.equal(clone.downloaded(), 5)
  for (let index = 5; index < 10; index++) {
    const proof = await writer.proof(index)
    slow.channel.data({ index, value: Buffer.from(`block ${index}`), ...proof })
  }
  await until(() => clone.downloaded() === 10, 'the rest')
  t.equal(clone.length, 10)
  slow.stream.destroy()
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

test('false claims: an answer that tells of no blocks claims none', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(64))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(3)
  // The window of this one is asked for.
  await rejection(replica.get(2 ** 21, { ifAvailable: true }), 'the block')
  t.equal(replicating(replica).remoteLength, 64)
  await cut()
  await bench.close()
})

test('false claims: hashes that nobody asked for are not stored, however true', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(64))
  for (const allowPush of [false, true]) {
    const replica = await bench.sparse(writer, { allowPush })
    const { channel, stream } = claiming(replica, { start: 0, length: 64 })
    await until(() => replicating(replica).remoteLength === 64, 'the claim')
    channel.data({ index: 9, value: null, ...(await writer.proof(9, { hash: true })) })
    const block = replica.get(3)
    channel.data({ index: 3, value: Buffer.from('block 3'), ...(await writer.proof(3)) })
    t.equal(Buffer.from((await block) as Uint8Array).toString(), 'block 3')
    const { tree } = replica.feed as unknown as { tree: { get(index: number): boolean } }
    t.equal(tree.get(18), allowPush, allowPush ? 'unless all that is pushed is' : 'what was asked for is')
    t.notOk(stream.destroying)
    stream.destroy()
  }
  await bench.close()
})
