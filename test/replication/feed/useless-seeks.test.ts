/** Seeks beside remotes that answer them in vain, or not at all: they are answered by somebody else, and cost no more each time. */
import test from 'tape'
import { SeekAnswers } from '../../../src/replication/seek-answers.ts'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { rejection, settle } from '../../helpers/watchdog.ts'

const LENGTH = 1024
// One of the second half of the feed's bytes, of the third quarter, and so on: nothing that answers one answers another.
const PLACES = [5000, 7000, 8000, 8600, 9000, 2000, 3500, 4200]

/** A remote that says it has all blocks, and answers the requests of a seek as it likes. No timeout ends its stream. */
function remoteOf(
  feed: FeedFace,
  answer: (index: number, channel: AnyChannel) => unknown
): { stream: AnyStream; requests: number[] } {
  const requests: number[] = []
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const channel: AnyChannel = remote.open(feed.key!, {
    onwant: ({ start, length }: { start: number; length: number }) => {
      // Who waits for what is available waits for an answer.
      channel.have({ start, length, bitfield: Buffer.alloc(0) })
      if (start === 0) channel.have({ start: 0, length: LENGTH })
    },
    onrequest: ({ index, bytes }: { index: number; bytes: number }) => {
      if (bytes === 0) return
      requests.push(index)
      answer(index, channel)
    }
  })
  const stream = unwatched(replicating(feed).replicate(false, { live: true, timeout: 0 }))
  join(remote, stream)
  return { stream, requests }
}

/** Answers with the hash of a block that is known already: it holds, and tells nothing. */
function inVain(writer: FeedFace): (index: number, channel: AnyChannel) => Promise<void> {
  return async (_index, channel) => {
    const { nodes, signature } = await writer.proof(3, { hash: true })
    channel.data({ index: 3, value: null, nodes, signature })
  }
}

/** A sparse copy that has block 3 of the writer's feed. */
async function stage(t: test.Test) {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(LENGTH))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(3)
  await cut()
  const heard = (count: number) =>
    until(
      () => replicating(replica).peers.filter((peer) => peer.remoteBitfield.get(9)).length === count,
      'the Haves'
    )
  return { bench, writer, replica, heard }
}

test('useless seeks: who answers in vain is not asked again, and somebody else finds the place', async (t) => {
  const { bench, writer, replica, heard } = await stage(t)
  const liar = remoteOf(replica, inVain(writer))
  await heard(1)
  const place = replica.seek(5000)
  await until(() => liar.requests.length > 0, 'the requests')
  await settle(50)
  t.ok(liar.requests.length <= 4, `asked ${liar.requests.length} times`)
  const { cut } = connect(writer, replica, { live: true })
  t.deepEqual(await place, await writer.seek(5000))
  t.ok(liar.requests.length <= 4, 'and not again')
  t.notOk(liar.stream.destroying, 'what it says is true')
  liar.stream.destroy()
  await cut()
  await bench.close()
})

test('useless seeks: nobody else is there', async (t) => {
  const { bench, writer, replica, heard } = await stage(t)
  const liar = remoteOf(replica, inVain(writer))
  await heard(1)
  const { code } = await rejection(replica.call('seek', 5000, { ifAvailable: true }), 'the seek')
  t.equal(code, 'ERR_SEEK_NOT_AVAILABLE')
  liar.stream.destroy()
  await bench.close()
})

for (const [what, answer] of [
  ['answers in vain', inVain],
  ['says nothing', () => () => {}]
] as const) {
  test(`useless seeks: one after the other, beside a remote that ${what}`, async (t) => {
    const { bench, writer, replica, heard } = await stage(t)
    const liar = remoteOf(replica, answer(writer))
    await heard(1)
    const { cut } = connect(writer, replica, { live: true })
    await heard(2)
    for (const place of PLACES) t.deepEqual(await replica.seek(place), await writer.seek(place), `${place}`)
    t.ok(liar.requests.length <= 4, `asked ${liar.requests.length} times in all`)
    await cut()
    await heard(1)
    const before = liar.requests.length
    const last = replica.seek(9500)
    last.catch(() => {})
    await until(() => liar.requests.length > before, 'it is asked when nobody else is there')
    liar.stream.destroy()
    await bench.close()
  })
}

test('useless seeks: all at once, beside a remote that answers in vain', async (t) => {
  const { bench, writer, replica, heard } = await stage(t)
  const liar = remoteOf(replica, inVain(writer))
  await heard(1)
  const places = PLACES.map((place) => replica.seek(place))
  await until(() => liar.requests.length > 0, 'the requests')
  const { cut } = connect(writer, replica, { live: true })
  for (const [i, place] of PLACES.entries()) t.deepEqual(await places[i], await writer.seek(place))
  liar.stream.destroy()
  await cut()
  await bench.close()
})

test('useless seeks: one that tells as little as it can has to let others try', async (t) => {
  const { bench, writer, replica, heard } = await stage(t)
  // The very block that was asked for, and after a while: it narrows the range.
  const liar = remoteOf(replica, (index, channel) => {
    setTimeout(async () => {
      const { nodes, signature } = await writer.proof(index, { hash: true })
      channel.data({ index, value: null, nodes, signature })
    }, 20)
  })
  await heard(1)
  const { cut } = connect(writer, replica, { live: true })
  await heard(2)
  t.deepEqual(await replica.seek(5000), await writer.seek(5000))
  t.ok(liar.requests.length <= 4, `asked ${liar.requests.length} times`)
  liar.stream.destroy()
  await cut()
  await bench.close()
})

test('useless seeks: what counts as useful', (t) => {
  const question = { start: 8, end: 16, length: 64, remoteLength: 64 }
  const answers = new SeekAnswers()
  t.notOk(answers.wasInVain(100, question))
  answers.answered(100, question, 20, 64)
  t.ok(answers.poor, 'another block')
  t.ok(answers.wasInVain(100, question))
  t.notOk(answers.wasInVain(100, { ...question, end: 12 }), 'the range is smaller')
  t.notOk(answers.wasInVain(100, { ...question, remoteLength: 65 }), 'it has more')
  t.notOk(answers.wasInVain(101, question), 'another place')
  answers.answered(100, question, 9, 64)
  t.notOk(answers.poor, 'a block of the range')
  t.equal(answers.count(100), 2)
  answers.found(100, false)
  t.equal(answers.count(100), 0)

  const beyond = { start: 0, end: -1, length: 64, remoteLength: 65 }
  answers.answered(7, beyond, 9, 64)
  t.notOk(answers.poor, 'there is nothing yet')
  answers.answered(100, question, 20, 64)
  answers.answered(7, beyond, 9, 64)
  t.ok(answers.poor, 'the feed is as long as before')
  answers.answered(7, beyond, 64, 65)
  t.notOk(answers.poor, 'it has grown')

  answers.found(8, true)
  t.ok(answers.poor, 'somebody else was asked and found it')
  answers.keep(() => false)
  t.equal(answers.count(7), 0, 'nobody looks for it any more')
  for (let bytes = 0; bytes < 300; bytes++) answers.answered(bytes, question, 9, 64)
  t.equal(answers.count(0), 0, 'not remembered for ever')
  t.equal(answers.count(299), 1)
  t.end()
})
