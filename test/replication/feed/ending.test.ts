/** How replications end that are not live (spec WIRE §14). */
import test from 'tape'
import {
  Bench,
  blocksOf,
  complete,
  connect,
  connectStreams,
  forEach,
  texts,
  until
} from '../../helpers/replication-feeds.ts'
import { unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { settle, within } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

forEach(BOTH, 'ending: a writer and a replica, whoever initiates', async (t, bench) => {
  const writer = await bench.writer(texts(20))
  for (const swapped of [false, true]) {
    const replica = await bench.replica(writer)
    const { ends } = swapped ? connect(replica, writer) : connect(writer, replica)
    t.deepEqual(await ends, [null, null], 'both streams end well')
    t.deepEqual(await blocksOf(replica), texts(20))
    t.equal(replicating(writer).peers.length + replicating(replica).peers.length, 0, 'no peer is left')
  }
})

forEach(BOTH, 'ending: nothing to transfer', async (t, bench) => {
  const writer = await bench.writer()
  const replica = await bench.replica(writer)
  t.deepEqual(await connect(writer, replica).ends, [null, null])
  t.equal(replica.length, 0)
})

forEach(BOTH, 'ending: the same two feeds again, grown and not grown', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.replica(writer)
  t.deepEqual(await connect(replica, writer).ends, [null, null])
  t.deepEqual(await connect(replica, writer).ends, [null, null], 'with nothing new')
  await writer.append(texts(7, 5))
  t.deepEqual(await connect(replica, writer).ends, [null, null], 'after the feed has grown')
  t.deepEqual(await blocksOf(replica), texts(12))
})

forEach(BOTH, 'ending: two replicas that complete each other', async (t, bench) => {
  const writer = await bench.writer(texts(30))
  const left = await bench.replica(writer)
  const right = await bench.replica(writer)
  for (let i = 0; i < 30; i++) {
    const taker = i % 3 === 0 ? left : right
    await taker.put(i, Buffer.from(`block ${i}`), await writer.proof(i))
  }
  t.deepEqual(await connect(left, right).ends, [null, null])
  t.deepEqual(await blocksOf(left), texts(30))
  t.deepEqual(await blocksOf(right), texts(30))
})

forEach(BOTH, 'ending: two replicas that lack the same blocks', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const left = await bench.replica(writer)
  const right = await bench.replica(writer)
  for (let i = 0; i < 10; i++) {
    if (i === 4) continue
    for (const taker of [left, right]) await taker.put(i, Buffer.from(`block ${i}`), await writer.proof(i))
  }
  const { a, b, cut } = connect(left, right)
  await settle(50)
  t.notOk(a.destroyed || b.destroyed, 'both go on waiting')
  await cut()
})

forEach(BOTH, 'ending: a sparse replica never ends by itself', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const sparse = await bench.sparse(writer)
  const { a, b, cut } = connect(writer, sparse)
  t.equal(String(await sparse.get(3)), 'block 3')
  await sparse.call('download', { start: 0, end: 10 })
  await settle(20)
  t.notOk(a.destroyed || b.destroyed)
  t.equal(sparse.downloaded(), 10)
  await cut()
})

forEach(BOTH, 'ending: one live side keeps the stream open', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  for (const [optionsOfWriter, optionsOfReplica] of [
    [{ live: true }, {}],
    [{}, { live: true }]
  ]) {
    const replica = await bench.replica(writer)
    const { a, b, cut } = connect(writer, replica, optionsOfWriter, optionsOfReplica)
    await complete(replica, 10)
    await settle(20)
    t.notOk(
      a.destroyed || b.destroyed,
      `${JSON.stringify(optionsOfWriter)} and ${JSON.stringify(optionsOfReplica)}`
    )
    await cut()
  }
})

forEach(BOTH, 'ending: a download that was asked for is part of the whole', async (t, bench) => {
  const writer = await bench.writer(texts(25))
  const replica = await bench.replica(writer)
  const ranges = [replica.call('download', { start: 3, end: 9 }), replica.call('download', [20, 1])]
  t.deepEqual(await connect(writer, replica).ends, [null, null])
  await Promise.all(ranges)
  t.deepEqual(await blocksOf(replica), texts(25))
})

forEach([OURS], 'ending: the range of an application keeps its end', async (t, bench) => {
  // Quirk 12 of API §14: the published packages move the end of whatever download comes first.
  const writer = await bench.writer(texts(10))
  const replica = await bench.replica(writer)
  t.deepEqual(await connect(writer, replica).ends, [null, null])
  let answered = false
  const range = replica.call('download', { start: 12, end: 14 }).then(() => {
    answered = true
  })
  await writer.append('block 10')
  const { a, b } = connect(writer, replica)
  await complete(replica, 11)
  await settle(20)
  t.notOk(answered || a.destroyed || b.destroyed, 'the range is not complete, and the replication goes on')
  await writer.append(texts(3, 11))
  await range
  t.ok(replica.has(12, 14))
})

forEach(BOTH, 'ending: closing a feed closes its channels and detaches it', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const replica = await bench.replica(writer)
  const { ends } = connect(writer, replica, { live: false }, { live: true })
  await complete(replica, 10)
  await replica.close()
  t.deepEqual(await ends, [null, null])
  t.equal(replicating(writer).peers.length, 0)
  t.equal(replicating(replica).peers.length, 0)
})

forEach(BOTH, 'ending: destroying one stream detaches both feeds', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const replica = await bench.replica(writer)
  const { a, ends } = connect(writer, replica, { live: true })
  await complete(replica, 10)
  a.destroy()
  await ends
  t.equal(replicating(writer).peers.length, 0)
  t.equal(replicating(replica).peers.length, 0)
})

forEach(BOTH, 'ending: an error given to destroy is the error of the stream', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const { a, ends } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  a.destroy(new Error('enough'))
  t.equal((await ends)[0]?.message, 'enough')
})

forEach(BOTH, 'ending: several feeds end one after the other, the stream with the last', async (t, bench) => {
  const writers = [await bench.writer(texts(3)), await bench.writer(texts(40)), await bench.writer(texts(1))]
  const replicas = await Promise.all(writers.map((writer) => bench.replica(writer)))
  const a = replicating(writers[0]!).replicate(true)
  const b = replicating(replicas[0]!).replicate(false)
  for (const writer of writers.slice(1)) replicating(writer).replicate(a)
  for (const replica of replicas.slice(1)) replicating(replica).replicate(b)
  t.deepEqual(await connectStreams(a, b).ends, [null, null])
  for (const [i, replica] of replicas.entries()) t.equal(replica.length, writers[i]!.length)
})

test('ending: an uploader that does not upload says so when it ends (ours)', async (t) => {
  // Quirk 16 of WIRE §16: the published packages announce uploading although they do not.
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer, { uploading: false })
  const { ends } = connect(writer, replica)
  const said = new Promise<boolean>((resolve) => {
    replicating(writer).once('peer-open', () => {
      const peer = replicating(writer).peers[0]!
      void until(() => !peer.remoteDownloading, 'the end').then(() => resolve(peer.remoteUploading))
    })
  })
  t.equal(await said, false)
  t.deepEqual(await ends, [null, null])
})

for (const [from, to] of BOTH.flatMap((one) => BOTH.map((other) => [one, other] as const))) {
  test(`ending: a copy that uploads nothing (${to.name}), from another copy (${from.name})`, async (t) => {
    const [seeding, cloning] = [new Bench(t, from), new Bench(t, to)]
    const writer = await seeding.writer(texts(5))
    const seeder = await seeding.replica(writer)
    t.deepEqual(await connect(writer, seeder).ends, [null, null])
    for (const options of [{ upload: false }, { upload: false, download: true }]) {
      const clone = await cloning.replica(writer)
      const { ends } = connect(seeder, clone, {}, options)
      t.deepEqual(await within(ends, 'the end', 3000), [null, null], 'both streams end well, and soon')
      t.deepEqual(await blocksOf(clone), texts(5))
    }
  })
}

for (const from of BOTH) {
  test(`ending: a writer that has cleared blocks (${from.name})`, async (t) => {
    const [writing, cloning] = [new Bench(t, from), new Bench(t, OURS)]
    for (const cleared of [[1], [4], [0, 2, 3]]) {
      for (const knowsLength of [false, true]) {
        const writer = await writing.writer(texts(6))
        const clone = await cloning.replica(writer)
        if (knowsLength) await clone.put(5, Buffer.from('block 5'), await writer.proof(5))
        for (const block of cleared) await writer.call('clear', block)
        const { ends } = connect(writer, clone)
        const what = `${cleared} cleared, length ${knowsLength ? '' : 'not '}known before`
        t.deepEqual(await within(ends, 'the end', 3000), [null, null], what)
        for (let i = 0; i < 6; i++) t.equal(clone.has(i), !cleared.includes(i), `block ${i}`)
      }
    }
  })
}

test('ending: what a writer has cleared is taken from another peer first', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const seeder = await bench.replica(writer)
  t.deepEqual(await connect(writer, seeder).ends, [null, null])
  await writer.call('clear', 1)
  const clone = await bench.replica(writer)
  const connections = [connect(writer, clone), connect(seeder, clone)]
  for (const { ends } of connections) t.deepEqual(await within(ends, 'the end', 3000), [null, null])
  t.deepEqual(await blocksOf(clone), texts(5))
})

test('ending: a block that is taken back when it is asked for is not waited for', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const clone = await bench.replica(writer)
  const remote = unwatched(new OURS.Protocol(true, { authenticated: false }))
  const channel: AnyChannel = remote.open(writer.key!, {
    onopen: () => channel.status({ uploading: true, downloading: false }),
    onstatus: ({ downloading }: { downloading: boolean }) => downloading || channel.close(),
    onwant: ({ start, length }: { start: number; length: number }) => {
      channel.have({ start: 0, length: 5 })
      channel.have({ start, length, bitfield: Buffer.from([2, 0b11111000]) })
    },
    onrequest: async ({ index, hash }: { index: number; hash: boolean }) => {
      // So a published writer does with what it clears at that moment.
      if (index === 1) channel.unhave({ start: 1 })
      else {
        const value = hash ? null : await writer.get(index)
        channel.data({ index, value, ...(await writer.proof(index, { hash })) })
      }
    }
  })
  const stream = replicating(clone).replicate(false)
  const { ends } = connectStreams(remote, stream)
  t.deepEqual(await within(ends, 'the end', 3000), [null, null])
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => clone.has(i)),
    [true, false, true, true, true]
  )
})

for (const from of BOTH) {
  test(`ending: a connection that tells nothing does not use up the download of everything (${from.name})`, async (t) => {
    const [writing, cloning] = [new Bench(t, from), new Bench(t, OURS)]
    for (const length of [0, 4]) {
      for (const [options, optionsOfClone] of [
        [{}, { download: false }],
        [{ live: true }, { download: false }],
        [{ upload: false }, {}]
      ]) {
        const writer = await writing.writer(texts(length))
        const clone = await cloning.replica(writer)
        const open = new Promise((resolve) => replicating(clone).once('peer-open', resolve))
        const first = connect(writer, clone, options, optionsOfClone)
        await within(open, 'the first connection')
        await settle(20)
        await first.cut()
        t.equal(clone.length, 0)

        const { cut } = connect(writer, clone, { live: true })
        await writer.append(texts(2, length))
        await complete(clone, length + 2)
        t.deepEqual(await blocksOf(clone), texts(length + 2), JSON.stringify([options, optionsOfClone]))
        await cut()
      }
    }
  })
}
