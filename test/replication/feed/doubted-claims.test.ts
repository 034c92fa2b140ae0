/** Remotes that say they have more than they show: `remoteLength` and `ifAvailable` do not count on them for longer than is reasonable. */
import test, { type Test } from 'tape'
import { Doubt } from '../../../src/replication/doubt.ts'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { rejection, settle } from '../../helpers/watchdog.ts'

const FAR = 2 ** 39

/** A remote that says it has block `index`, and answers nothing. No timeout ends its stream. */
function claiming(
  feed: FeedFace,
  index: number
): { channel: AnyChannel; stream: AnyStream; requests: number[] } {
  const requests: number[] = []
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0, encrypted: false }))
  const channel: AnyChannel = remote.open(feed.key!, {
    onwant: ({ start, length }: { start: number; length: number }) => {
      channel.have({ start, length, bitfield: Buffer.alloc(0) })
      channel.have({ start: index })
    },
    onrequest: ({ index }: { index: number }) => requests.push(index)
  })
  const stream = unwatched(replicating(feed).replicate(false, { live: true, timeout: 0, encrypted: false }))
  join(remote, stream)
  return { channel, stream, requests }
}

/** A sparse copy beside the writer, and a remote that claims block `index`. */
async function stage(t: Test, index: number, length = 64) {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(length))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(3)
  const liar = claiming(replica, index)
  await until(() => replicating(replica).remoteLength === index + 1, 'the claim')
  const end = async () => {
    liar.stream.destroy()
    await cut()
    await bench.close()
  }
  return { bench, writer, replica, liar, cut, end }
}

for (const [what, index, call, code] of [
  ['an update', FAR, (feed) => feed.call('update', { ifAvailable: true }), 'ERR_UPDATE_NOT_AVAILABLE'],
  ['a block', FAR, (feed) => feed.get(FAR, { ifAvailable: true }), 'ERR_BLOCK_NOT_AVAILABLE'],
  ['a seek', 1000, (feed) => feed.call('seek', 10_000, { ifAvailable: true }), 'ERR_SEEK_NOT_AVAILABLE']
] as [string, number, (feed: FeedFace) => Promise<unknown>, string][]) {
  test(`doubted claims: ${what} that nobody shows is not available`, async (t) => {
    const { replica, liar, end } = await stage(t, index)
    t.equal((await rejection(call(replica), what)).code, code)
    t.ok(liar.requests.includes(index), 'it was asked')
    t.equal(replicating(replica).remoteLength, 64, 'and is not believed')
    t.equal((await rejection(call(replica), what)).code, code, 'nor the next time')
    t.equal(String(await replica.get(5)), 'block 5')
    t.notOk(liar.stream.destroying)
    await end()
  })
}

test('doubted claims: the only peer is waited for', async (t) => {
  const { replica, cut, end } = await stage(t, FAR)
  await cut()
  let over = false
  const done = () => {
    over = true
  }
  replica.call('update', { ifAvailable: true }).then(done, done)
  await new Promise((resolve) => setTimeout(resolve, 2600))
  t.notOk(over)
  t.equal(replicating(replica).remoteLength, FAR + 1)
  await end()
})

test('doubted claims: one whose answer is on its way is waited for', async (t) => {
  const { replica, liar, end } = await stage(t, FAR)
  let over = false
  const done = () => {
    over = true
  }
  replica.call('update', { ifAvailable: true }).then(done, done)
  await until(() => liar.requests.includes(FAR), 'the request')
  // The first bytes of a Data of a thousand.
  liar.stream.write(Buffer.from([0xe8, 0x07, 0x09, 0x08]))
  await new Promise((resolve) => setTimeout(resolve, 2600))
  t.notOk(over)
  await end()
})

test('doubted claims: one that was slow is believed when it shows what it has', async (t) => {
  const { bench, writer, replica, liar, end } = await stage(t, 69, 64)
  // The same author, on a machine that has more and is slow.
  const { secretKey } = writer
  const longer = await bench.feed(writer.key, { secretKey })
  await longer.append(texts(70))
  await rejection(replica.call('update', { ifAvailable: true }), 'the update')
  t.equal(replicating(replica).remoteLength, 64)
  const update = replica.call('update')
  await until(() => liar.requests.filter((index) => index === 69).length > 2, 'it is asked again')
  const { nodes, signature } = await longer.proof(69, { hash: true })
  // Its head was asked for as well.
  for (let i = 0; i < 2; i++) liar.channel.data({ index: 69, value: null, nodes, signature })
  await update
  t.equal(replica.length, 70)
  liar.channel.have({ start: 79 })
  await until(() => replicating(replica).remoteLength === 80, 'the new claim')
  t.pass('it is counted on again')
  await settle()
  await end()
})

test('doubted claims: for how long, and of what', (t) => {
  const { now } = performance
  let time = 1000
  performance.now = () => time
  t.teardown(() => {
    performance.now = now
  })
  const doubt = new Doubt()
  t.notOk(doubt.isRaised)
  t.notOk(doubt.covers(5))
  doubt.raise(64)
  t.ok(doubt.isRaised)
  t.notOk(doubt.covers(63), 'what was there before')
  t.ok(doubt.covers(64))
  doubt.shown(63)
  t.ok(doubt.isRaised, 'shows nothing')
  doubt.shown(64)
  t.notOk(doubt.isRaised)
  doubt.raise(64)
  doubt.raise(0)
  doubt.raise(64)
  t.ok(doubt.covers(0), 'two doubts')
  time += 19_000
  t.ok(doubt.isRaised)
  time += 2000
  t.notOk(doubt.isRaised, 'not for ever')
  t.end()
})
