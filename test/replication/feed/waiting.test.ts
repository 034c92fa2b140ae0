/** Calls that wait for peers: get, getBatch, update, seek, download; their timeouts and cancellation (spec API §5). */
import type { FeedFace } from '../../helpers/feed-face.ts'
import { connect, forEach, texts, until } from '../../helpers/replication-feeds.ts'
import { OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { rejection, settle, within } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

/** A `get` with its id. */
function get(feed: FeedFace, index: number, options: object = {}): { id: unknown; answer: Promise<unknown> } {
  let id: unknown
  const answer = within(
    new Promise((resolve, reject) => {
      id = replicating(feed).get(index, options, (error, value) => (error ? reject(error) : resolve(value)))
    }),
    `get(${index})`
  )
  answer.catch(() => {})
  return { id, answer }
}

forEach(BOTH, 'waiting: calls made before anybody is connected', async (t, bench) => {
  const writer = await bench.writer(texts(20))
  const replica = bench.opening(writer.key, { sparse: true })
  const answers = Promise.all([
    replica.get(3),
    replica.getBatch(5, 8),
    replica.seek(70),
    replica.call('update', { minLength: 20 }),
    replica.call('download', { start: 10, end: 12 }),
    replica.call('download', [18, 0])
  ])
  await settle(10)
  const { cut } = connect(writer, replica, { live: true })
  const [block, batch, place] = await answers
  t.equal(String(block), 'block 3')
  t.deepEqual(batch.map(String), texts(3, 5))
  t.deepEqual(place, await writer.seek(70))
  t.equal(replica.length, 20)
  t.ok(replica.has(10, 12) && replica.has(18) && replica.has(0))
  t.equal(replica.downloaded(), 8, 'and nothing else was fetched')
  await cut()
})

forEach(BOTH, 'waiting: a seek whose range does not contain the place', async (t, bench) => {
  const writer = await bench.writer(texts(8))
  for (const [bytes, start, end] of [
    [31, 6, 8],
    [31, 0, 2],
    [31, 5, 6],
    [22, 4, 6]
  ] as const) {
    const replica = await bench.sparse(writer)
    const { cut } = connect(writer, replica, { live: true })
    const place = await within(replica.seek(bytes, { start, end }), `${bytes} in ${start} to ${end}`)
    t.deepEqual(place, await writer.seek(bytes), `${bytes} in ${start} to ${end}`)
    await cut()
  }
})

forEach(BOTH, 'waiting: several calls for one block are one request', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  const answers = await Promise.all([replica.get(2), replica.get(2), replica.get(2), replica.getBatch(2, 3)])
  t.deepEqual(answers.map(String), ['block 2', 'block 2', 'block 2', 'block 2'])
  t.equal(replicating(writer).stats!.totals.uploadedBlocks, 1)
  await cut()
})

forEach([OURS], 'waiting: each call has bytes of its own, and may change them', async (t, bench) => {
  const long = 'x'.repeat(70_000)
  const writer = await bench.writer([...texts(3), long])
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  const answers = (await Promise.all([2, 2, 3, 3].map((index) => replica.get(index)))) as Buffer[]
  t.deepEqual(answers.map(String), ['block 2', 'block 2', long, long])
  for (const at of [0, 2]) {
    answers[at]!.fill(0)
    t.equal(String(answers[at + 1]), at === 0 ? 'block 2' : long, 'the other call has what it had')
  }
  t.deepEqual(
    [await replica.get(2), await replica.get(3)].map(String),
    ['block 2', long],
    'and so has the feed'
  )
  await cut()
  t.deepEqual(await replica.audit(), { valid: 2, invalid: 0 })
})

forEach(
  BOTH,
  'waiting: onwait is called once, at once, and only if there is something to wait for',
  async (t, bench) => {
    const writer = await bench.writer(texts(5))
    const replica = await bench.sparse(writer)
    const { cut } = connect(writer, replica, { live: true })
    const waits: number[] = []
    const first = get(replica, 2, { onwait: (index: number) => waits.push(index) })
    t.deepEqual(waits, [2], 'synchronously')
    t.equal(String(await first.answer), 'block 2')
    await replica.get(2, { onwait: (index: number) => waits.push(index) })
    t.deepEqual(waits, [2])
    await cut()
  }
)

forEach(BOTH, 'waiting: wait: false', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  t.equal((await rejection(replica.get(2, { wait: false }), 'get')).message, 'Block not downloaded')
  t.equal(
    (await rejection(replica.getBatch(0, 2, { wait: false }), 'getBatch')).message,
    'Block not downloaded'
  )
  t.equal((await rejection(replica.seek(3, { wait: false }), 'seek')).message, 'Out of bounds')
  t.equal(replica.downloaded(), 0)
  await cut()
})

forEach(BOTH, 'waiting: timeouts', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const one = await rejection(replica.get(9, { timeout: 5 }), 'get')
  t.deepEqual([one.message, one.code], ['ETIMEDOUT', 'ETIMEDOUT'])
  const batch = await rejection(replica.getBatch(0, 3, { timeout: 5 }), 'getBatch')
  t.equal(batch.code, 'ETIMEDOUT')
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await replica.get(1, { timeout: 15000 })), 'block 1', 'in time')
  await cut()
})

forEach(BOTH, 'waiting: cancelling by id', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const token = Symbol('ours')
  const calls = [get(replica, 1), get(replica, 1), get(replica, 2, { cancel: token })]
  t.equal(calls[2]!.id, token)
  replicating(replica).cancel(calls[0]!.id)
  replicating(replica).cancel(token)
  for (const cancelled of [calls[0]!, calls[2]!]) {
    t.equal((await rejection(cancelled.answer, 'get')).message, 'Request cancelled')
  }
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await calls[1]!.answer), 'block 1', 'the other one goes on')
  t.notOk(replica.has(2))
  await cut()
})

forEach(BOTH, 'waiting: cancelling by range', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer)
  const inside = [get(replica, 4), get(replica, 5)]
  const outside = get(replica, 6)
  const range = rejection(replica.call('download', { start: 4, end: 6 }), 'download')
  const wider = replica.call('download', { start: 3, end: 6 })
  replicating(replica).cancel(4, 6)
  for (const { answer } of inside) t.equal((await rejection(answer, 'get')).message, 'Request cancelled')
  t.equal(((await range) as { code?: string }).code, 'ECANCELED')
  const { cut } = connect(writer, replica, { live: true })
  t.equal(String(await outside.answer), 'block 6')
  await wider
  await cut()
})

forEach(BOTH, 'waiting: undownload', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer)
  let selection: object = {}
  const answer = new Promise<Error | null>((resolve) => {
    selection = replicating(replica).download({ start: 2, end: 8 }, resolve)
  })
  replicating(replica).undownload(selection)
  const error = (await answer) as Error & { code?: string; errno?: number }
  t.deepEqual([error.message, error.code, error.errno], ['Download was cancelled', 'ECANCELED', -11])
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(0)
  await settle(10)
  t.equal(replica.downloaded(), 1)
  await cut()
})

forEach(
  BOTH,
  'waiting: a request that was cancelled may still be answered, nothing breaks',
  async (t, bench) => {
    const writer = await bench.writer(texts(10))
    const replica = await bench.sparse(writer)
    const { a, b, cut } = connect(writer, replica, { live: true })
    await until(() => replicating(replica).remoteLength === 10, 'the peer')
    const { id, answer } = get(replica, 7)
    replicating(replica).cancel(id)
    t.equal((await rejection(answer, 'get')).message, 'Request cancelled')
    t.equal(String(await replica.get(8)), 'block 8')
    await settle(10)
    t.notOk(a.destroyed || b.destroyed)
    t.equal(String(await replica.get(7)), 'block 7', 'and can be asked for again')
    await cut()
  }
)

forEach(BOTH, 'waiting: linear downloads come in order', async (t, bench) => {
  const writer = await bench.writer(texts(64))
  const replica = await bench.sparse(writer)
  const order: number[] = []
  replicating(writer).on('upload', (index) => order.push(index))
  const { cut } = connect(writer, replica, { live: true }, { live: true, maxRequests: 1 })
  await replica.call('download', { start: 10, end: 30, linear: true })
  t.deepEqual(
    order,
    Array.from({ length: 20 }, (_, i) => i + 10)
  )
  await cut()
})

forEach(BOTH, 'waiting: a download of hashes brings no blocks', async (t, bench) => {
  const writer = await bench.writer(texts(16))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(15)
  replicating(replica).download({ start: 0, end: 4, hash: true })
  const tree = replica.feed.tree as { get(index: number): boolean }
  await until(() => [0, 2, 4, 6].every((index) => tree.get(index)), 'the hashes')
  t.equal(replica.downloaded(), 1)
  t.equal(replicating(writer).stats!.totals.uploadedBlocks, 1)
  await cut()
})

forEach(BOTH, 'waiting: of several updates one wants the block', async (t, bench) => {
  for (const hashes of [
    [true, false],
    [false, true]
  ]) {
    const writer = await bench.writer(texts(6))
    const replica = await bench.sparse(writer)
    const updates = hashes.map((hash) => replica.call('update', { hash }))
    const { cut } = connect(writer, replica, { live: true })
    await within(Promise.all(updates), 'the updates')
    t.deepEqual([replica.length, replica.downloaded()], [6, 1], `${hashes}`)
    await cut()
  }
})

forEach(
  [OURS],
  'waiting: an update that wants the block of a longer feed asks for none before',
  async (t, bench) => {
    const writer = await bench.writer(texts(6))
    const replica = await bench.sparse(writer)
    const far = replica.call('update', { minLength: 8, hash: false })
    const near = replica.call('update')
    const { cut } = connect(writer, replica, { live: true })
    await within(near, 'the first')
    t.deepEqual([replica.length, replica.downloaded()], [6, 0])
    await writer.append(texts(2, 6))
    await within(far, 'the second')
    t.deepEqual([replica.length, replica.downloaded()], [8, 1])
    await cut()
  }
)

forEach(BOTH, 'waiting: update fetches a hash, or a block if told so', async (t, bench) => {
  const writer = await bench.writer(texts(6))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.call('update')
  t.deepEqual([replica.length, replica.downloaded()], [6, 0])
  await writer.append(texts(3, 6))
  await replica.call('update', { hash: false })
  t.deepEqual([replica.length, replica.downloaded()], [9, 1])
  await replica.call('update', 4)
  t.pass('long enough already')
  let answered = false
  const far = replica.call('update', { minLength: 12 }).then(() => {
    answered = true
  })
  await writer.append('9')
  await settle(20)
  t.notOk(answered)
  await writer.append(['10', '11'])
  await far
  t.ok(replica.length >= 12)
  await cut()
})

forEach(BOTH, 'waiting: seek over a network', async (t, bench) => {
  const blocks = Array.from({ length: 200 }, (_, i) => 'x'.repeat((i * 7) % 31))
  const writer = await bench.writer(blocks)
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  for (const bytes of [1, 17, 500, 1234, writer.byteLength - 1]) {
    t.deepEqual(await replica.seek(bytes), await writer.seek(bytes), `byte ${bytes}`)
  }
  t.deepEqual(await replica.seek(0), [0, 0])
  t.deepEqual(await replica.seek(replica.byteLength), [200, 0])
  // Ours believes the border between two blocks only with the data of one of them.
  const most = bench.subject.isOurs ? 6 : 2
  t.ok(replica.downloaded() <= most, `${replica.downloaded()} blocks were fetched`)
  t.deepEqual(await replica.seek(777, { start: 0, end: 200 }), await writer.seek(777))
  await cut()
})

forEach(BOTH, 'waiting: seek in a range without blocks', async (t, bench) => {
  const writer = await bench.writer(texts(50))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.call('update')
  const { message } = await rejection(replica.seek(200, { start: 9, end: 9 }), 'seek')
  t.equal(message, 'Unable to seek to this offset')
  await cut()
})

forEach(BOTH, 'waiting: blocks that a seek is asking with', async (t, bench) => {
  const writer = await bench.writer(texts(200))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.call('update')
  const place = replica.seek(1200, { start: 20, end: 190 })
  const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => replica.get(20 + i)))
  t.deepEqual(answers.map(String), texts(12, 20))
  t.deepEqual(await place, await writer.seek(1200))
  await cut()
})

forEach(BOTH, 'waiting: seek beyond the end waits for it', async (t, bench) => {
  const writer = await bench.writer(['0123456789'])
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.call('update')
  const place = replica.seek(15)
  await settle(20)
  await writer.append('0123456789')
  t.deepEqual(await place, [1, 5])
  await cut()
})

forEach(BOTH, 'waiting: closing the feed ends every wait', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer)
  const { ends } = connect(writer, replica, { live: false })
  const waits = [
    replica.get(9),
    replica.getBatch(7, 9),
    replica.seek(5000),
    replica.call('update', { minLength: 50 }),
    replica.call('download', { start: 5, end: 7 })
  ].map((wait) => rejection(wait, 'a wait'))
  await settle(10)
  await replica.close()
  for (const error of await Promise.all(waits)) t.equal(error.message, 'Feed is closed')
  t.deepEqual(await ends, [null, null])
})

forEach(BOTH, 'waiting: a block that only a later peer has', async (t, bench) => {
  const writer = await bench.writer(texts(10))
  const half = await bench.sparse(writer)
  const filling = connect(writer, half, { live: true })
  await half.call('download', { start: 0, end: 5 })
  await filling.cut()
  const replica = await bench.sparse(writer)
  const first = connect(half, replica, { live: true })
  const missing = replica.get(7)
  t.equal(String(await replica.get(2)), 'block 2')
  await settle(10)
  const second = connect(writer, replica, { live: true })
  t.equal(String(await missing), 'block 7')
  await first.cut()
  await second.cut()
})

forEach(BOTH, 'waiting: a read stream over a network', async (t, bench) => {
  const writer = await bench.writer(texts(40))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.call('update')
  const read: string[] = []
  const stream = replica.feed.createReadStream({ start: 5, end: 35 })
  stream.on('data', (block) => void read.push(String(block)))
  const over = new Promise<void>((resolve, reject) => {
    stream.on('end', () => resolve())
    stream.on('error', reject)
  })
  await within(over, 'the stream')
  t.deepEqual(read, texts(30, 5))
  await cut()
})
