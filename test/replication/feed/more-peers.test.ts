/** Feeds with several peers: who is heard before a clone counts as complete, and who is asked when somebody is slow. */
import test, { type Test } from 'tape'
import { AnswerTime } from '../../../src/replication/requests.ts'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, complete, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { rejection, settle, within } from '../../helpers/watchdog.ts'

/** A remote of the test's own for `feed`: knows the key, says it has `length` blocks, and answers as `onrequest` does. */
function fakeRemote(
  feed: FeedFace,
  length: number,
  handlers: (channel: () => AnyChannel) => object = () => ({}),
  options: object = {}
): { remote: AnyStream; stream: AnyStream; requests: number[] } {
  const requests: number[] = []
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const channel: AnyChannel = remote.open(feed.key!, {
    onwant: (message: { start: number; length: number }) => {
      if (message.start === 0) channel.have({ start: 0, length })
      channel.have({ ...message, bitfield: Buffer.alloc(0), length: message.length })
      if (message.start === 0) channel.have({ start: 0, length })
    },
    onrequest: ({ index, hash, nodes }: { index: number; hash: boolean; nodes: number }) => {
      // Its head is asked for as well, which nobody waits for.
      if (!hash || nodes > 0 || index !== length - 1) requests.push(index)
    },
    ...handlers(() => channel)
  })
  const stream = unwatched(replicating(feed).replicate(false, { live: true, ...options }))
  join(remote, stream)
  return { remote, stream, requests }
}

for (const first of [0, 5]) {
  for (const pause of ['none', 'a microtask', 'until the first one is heard']) {
    test(`more peers: a clone from one with ${first} blocks, then the writer; between them ${pause}`, async (t) => {
      const bench = new Bench(t, OURS)
      const writer = await bench.writer(texts(first))
      const behind = await bench.replica(writer)
      if (first > 0) {
        const { cut } = connect(writer, behind, { live: true })
        await complete(behind, first)
        await cut()
      }
      await writer.append(texts(10 - first, first))
      const clone = await bench.replica(writer)
      const one = connect(behind, clone, { live: true }, {})
      if (pause === 'a microtask') await null
      if (pause.startsWith('until')) {
        await until(() => clone.length === first && clone.downloaded() === first, 'the first blocks')
        await settle(10)
      }
      const two = connect(writer, clone)
      await complete(clone, 10)
      t.deepEqual(await two.ends, [null, null], 'the connection with the writer ends')
      await one.cut()
      await bench.close()
    })
  }
}

test('more peers: a download of everything ends when a peer that said nothing has left', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(6))
  const clone = await bench.replica(writer)
  const silent = replicating(clone).replicate(false, { timeout: 0 })
  silent.on('data', () => {})
  const done = clone.call('download', { start: 0, end: -1 })
  const { ends } = connect(writer, clone)
  await complete(clone, 6)
  await ends
  await settle(10)
  silent.destroy()
  await done
  t.equal(clone.downloaded(), 6)
  await bench.close()
})

test('more peers: nobody heard, nothing known: a download of everything goes on', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(6))
  const clone = await bench.replica(writer)
  const silent = replicating(clone).replicate(false, { timeout: 0 })
  silent.on('data', () => {})
  const done = clone.call('download', { start: 0, end: -1 })
  let over = false
  done.then(
    () => {
      over = true
    },
    () => {}
  )
  silent.destroy()
  await settle(10)
  t.notOk(over)
  await connect(writer, clone).ends
  await done
  t.equal(clone.downloaded(), 6)
  await bench.close()
})

test('more peers: what a silent one was asked for is asked of another', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(40))
  const replica = await bench.sparse(writer)
  const { stream, requests } = fakeRemote(replica, 40)
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(7) === true, 'the Have')
  const value = replica.get(7)
  await until(() => requests.length > 0, 'the request')
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await value), 'block 7')
  t.deepEqual(requests, [7], 'the silent one was asked once')
  for (let i = 20; i < 30; i++) t.equal(String(await replica.get(i)), `block ${i}`)
  t.deepEqual(requests, [7], 'and nothing more as long as somebody else has it')
  t.notOk(stream.destroying, 'it may still answer')
  stream.destroy()
  await cut()
  await bench.close()
})

test('more peers: the more are silent, the sooner others are asked, and the more of them', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(40))
  const replica = await bench.sparse(writer)
  const asked: number[] = []
  const silent = Array.from({ length: 8 }, () =>
    fakeRemote(replica, 40, () => ({
      onrequest: ({ hash }: { hash: boolean }) => hash || asked.push(performance.now())
    }))
  )
  await until(
    () => replicating(replica).peers.filter((peer) => peer.remoteBitfield.get(7)).length === 8,
    'the Haves'
  )
  const value = replica.get(7)
  await until(() => asked.length === 8, 'all are asked')
  // Those of one turn are less than the shortest patience apart.
  const turns = [1]
  for (let i = 1; i < asked.length; i++) {
    if (asked[i]! - asked[i - 1]! < 200) turns[turns.length - 1]!++
    else turns.push(1)
  }
  t.deepEqual(turns.slice(0, 2), [1, 1], 'one after the other at first')
  t.ok(turns.length <= 5, `then several at a time: ${turns.join(', ')}`)
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await value), 'block 7')
  for (const { stream } of silent) stream.destroy()
  await cut()
  await bench.close()
})

test('more peers: how long others are waited for', (t) => {
  const time = new AnswerTime()
  t.deepEqual(
    [0, 1, 2, 3, 9].map((late) => time.expectedAfter(late)),
    [1000, 500, 250, 250, 250],
    'unknown'
  )
  for (let i = 0; i < 50; i++) time.took(400)
  t.deepEqual(
    [0, 1, 9].map((late) => Math.round(time.expectedAfter(late))),
    [400, 250, 250],
    'known'
  )
  t.end()
})

test('more peers: nobody is late because we did not look', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer)
  const proof = await writer.proof(7)
  const answering = (channel: () => AnyChannel) => ({
    onrequest: ({ index, hash }: { index: number; hash: boolean }) => {
      if (hash) return
      asked++
      setTimeout(() => channel().data({ index, value: Buffer.from('block 7'), ...proof }), 150)
    }
  })
  let asked = 0
  const remotes = [fakeRemote(replica, 10, answering), fakeRemote(replica, 10, answering)]
  await until(
    () => replicating(replica).peers.filter((peer) => peer.remoteBitfield.get(7)).length === 2,
    'both Haves'
  )
  const value = replica.get(7)
  await until(() => asked > 0, 'the request')
  // Longer than anybody may take to answer, and no time in which an answer could have been read.
  for (const end = performance.now() + 2500; performance.now() < end; );
  t.equal(String(await value), 'block 7')
  t.equal(asked, 1, 'the other one was not asked')
  for (const { stream } of remotes) stream.destroy()
  await bench.close()
})

test('more peers: a download goes on without the silent one, whose stream ends at its timeout', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(100))
  const replica = await bench.sparse(writer)
  const { remote, stream, requests } = fakeRemote(replica, 100, undefined, { timeout: 3000 })
  const pings = setInterval(() => remote.ping(), 100)
  const end = ending(stream)
  const done = replica.call('download', { start: 0, end: 100 })
  await until(() => requests.length === 16, 'the requests')
  const { cut } = connect(writer, replica, { live: true })
  await done
  t.equal(replica.downloaded(), 100)
  t.equal(requests.length, 16, 'it was asked for no more than it ever owed')
  t.equal((await end)?.code, 'ERR_REQUEST_TIMEOUT')
  clearInterval(pings)
  await cut()
  await bench.close()
})

test('more peers: a late answer is welcome, and one that is not needed any more is no harm', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer)
  const late: (() => Promise<unknown>)[] = []
  const slow = fakeRemote(replica, 10, (channel) => ({
    onrequest: ({ index }: { index: number }) => {
      late.push(async () =>
        channel().data({ index, value: Buffer.from(`block ${index}`), ...(await writer.proof(index)) })
      )
    }
  }))
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(1) === true, 'the Have')
  const values = [replica.get(1), replica.get(2)]
  await until(() => late.length === 2, 'two requests')
  const other = fakeRemote(replica, 10)
  await until(() => other.requests.length === 2, 'the other one is asked for both')
  await late[0]!()
  t.equal(String(await values[0]), 'block 1', 'the late one comes first')
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await values[1]), 'block 2', 'somebody who answers')
  await late[1]!()
  await settle(20)
  t.notOk(slow.stream.destroying, 'no harm')
  t.deepEqual(
    replicating(replica).peers[0]!.inflightRequests.map(({ index }) => index),
    [],
    'it owes nothing any more'
  )
  await cut()
  for (const { stream } of [slow, other]) stream.destroy()
  await bench.close()
})

test('more peers: one that lies costs its own connection, and the block comes from another', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer)
  const liar = fakeRemote(replica, 10, (channel) => ({
    onrequest: async ({ index }: { index: number }) => {
      channel().data({ index, value: Buffer.from('block X'), ...(await writer.proof(index)) })
    }
  }))
  const end = ending(liar.stream)
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(4) === true, 'the Have')
  const value = replica.get(4)
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await value), 'block 4')
  t.ok(/^ERR_PROOF/.test((await end)?.code ?? ''))
  await cut()
  await bench.close()
})

test('more peers: updates and seeks are asked of another, too', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(40))
  const replica = await bench.sparse(writer)
  const { stream, requests } = fakeRemote(replica, 40)
  const update = replica.call('update')
  await until(() => requests.length > 0, 'the request')
  const { cut } = connect(writer, replica, { live: true })
  await update
  t.equal(replica.length, 40)
  t.deepEqual(await replica.seek(123), await writer.seek(123))
  stream.destroy()
  await cut()
  await bench.close()
})

/** An `ifAvailable` get that can be helped at first; then `change` happens. */
async function disappoints(
  t: Test,
  change: (fake: ReturnType<typeof fakeRemote>, replica: FeedFace, channel: () => AnyChannel) => void
): Promise<void> {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  let channel: () => AnyChannel = () => {
    throw new Error('not open')
  }
  const fake = fakeRemote(replica, 5, (given) => {
    channel = given
    return {}
  })
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(3) === true, 'the Have')
  const value = replica.get(3, { ifAvailable: true })
  await until(() => fake.requests.length > 0, 'the request')
  await settle(5)
  change(fake, replica, channel)
  const { code } = await rejection(value, 'get')
  t.equal(code, 'ERR_BLOCK_NOT_AVAILABLE')
  fake.stream.destroy()
  await bench.close()
}

test('more peers: ifAvailable when the only peer leaves', (t) =>
  disappoints(t, ({ stream }) => stream.destroy()))
test('more peers: ifAvailable when the only peer takes the block back', (t) =>
  disappoints(t, (_fake, _replica, channel) => void channel().unhave({ start: 3 })))
test('more peers: ifAvailable when the only peer stops uploading', (t) =>
  disappoints(
    t,
    (_fake, _replica, channel) => void channel().status({ uploading: false, downloading: false })
  ))
test('more peers: ifAvailable when our downloading is switched off', (t) =>
  disappoints(t, (_fake, replica) => replicating(replica).setDownloading(false)))

test('more peers: ifAvailable with somebody who does not say what it has', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const stream = unwatched(replicating(replica).replicate(false, { live: true, timeout: 300 }))
  remote.open(writer.key!, {})
  const pings = setInterval(() => remote.ping(), 20)
  join(remote, stream)
  await until(() => replicating(replica).peers[0]?.remoteOpened === true, 'the Open')
  const { code } = await rejection(replica.get(3, { ifAvailable: true }), 'get')
  t.equal(code, 'ERR_BLOCK_NOT_AVAILABLE')
  t.notOk(stream.destroying)
  clearInterval(pings)
  stream.destroy()
  await bench.close()
})

for (const leaves of ['the stream', 'the feed', 'only its uploads', 'nothing'] as const) {
  test(`more peers: one sends a block of a longer history, and ends ${leaves} before it has shown that it continues ours`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(4))
    const victim = await bench.sparse(writer)
    const before = connect(writer, victim, { live: true })
    await victim.get(1)
    await before.cut()
    await writer.append(texts(8, 4))
    let asked = (): void => {}
    const askedToContinue = new Promise<void>((resolve) => {
      asked = resolve
    })
    const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
    const answer = async (index: number, hash: boolean): Promise<void> => {
      const { nodes, signature } = await writer.proof(index, { hash, digest: 0 })
      channel.data({ index, value: hash ? null : Buffer.from(`block ${index}`), nodes, signature })
    }
    const channel: AnyChannel = remote.open(writer.key!, {
      onwant: () => channel.have({ start: 0, length: 12 }),
      onrequest: ({ index, hash }: { index: number; hash: boolean }) => {
        if (index === 3 || index === 11) void answer(index, hash)
        else if (hash) asked()
      }
    })
    const stream = unwatched(replicating(victim).replicate(false, { live: true, timeout: 0 }))
    join(remote, stream)
    const got = victim.get(11)
    await within(askedToContinue, 'the question whether it continues ours')
    const { cut } = connect(writer, victim, { live: true })
    await until(() => replicating(victim).peers.some(({ remoteLength }) => remoteLength === 12), 'the writer')
    await settle(20)
    if (leaves === 'the stream') stream.destroy()
    else if (leaves === 'the feed') channel.close()
    else if (leaves === 'only its uploads') channel.status({ uploading: false, downloading: false })
    t.equal(String(await within(got, 'the block, which the writer has')), 'block 11')
    await cut()
    remote.destroy()
    stream.destroy()
  })
}
