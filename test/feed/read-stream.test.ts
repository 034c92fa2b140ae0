/** The options of `createReadStream` (spec API §6). */
import test from 'tape'
import type { ReadStreamOptions } from '../../src/index.ts'
import ddatabase from '../../src/index.ts'
import { collect, destroyed, take } from '../helpers/feed-face.ts'
import { within } from '../helpers/watchdog.ts'
import { copyBlocks, feedOf, memory, replicaOf, settled, texts, thrown } from './feeds.ts'

const VALUES = [...'abcdefgh']
type Stream = ReturnType<ReturnType<typeof ddatabase>['createReadStream']>

/** The code a stream is destroyed with. */
function broken(stream: Stream): Promise<unknown> {
  return within(
    new Promise((resolve, reject) => {
      stream.on('data', () => {})
      stream.on('end', () => reject(new Error('the stream ended well')))
      stream.on('error', (error: unknown) => resolve((error as { code?: unknown }).code))
    }),
    'the stream'
  )
}

test('read stream: ranges', async (t) => {
  const feed = await feedOf(VALUES)
  const cases: [options: ReadStreamOptions, chunks: string][] = [
    [{}, 'abcdefgh'],
    [{ start: 3 }, 'defgh'],
    [{ end: 3 }, 'abc'],
    [{ start: 2, end: 5 }, 'cde'],
    [{ start: 8 }, ''],
    [{ start: 9 }, ''],
    [{ start: 5, end: 2 }, ''],
    [{ start: 5, end: 5 }, ''],
    [{ end: 0 }, ''],
    [{ end: -1 }, 'abcdefgh'],
    [{ tail: true }, ''],
    [{ start: 2, tail: true }, ''],
    [{ snapshot: false }, 'abcdefgh'],
    [{ snapshot: false, start: 4 }, 'efgh'],
    [{ snapshot: false, end: 2 }, 'ab'],
    [{ live: true, end: 3 }, 'abc'],
    [{ live: false }, 'abcdefgh']
  ]
  for (const [options, chunks] of cases) {
    for (const batch of [undefined, 1, 2, 3, 100]) {
      const given = Object.freeze(batch === undefined ? { ...options } : { ...options, batch })
      t.equal(texts(await collect(feed.createReadStream(given))).join(''), chunks, JSON.stringify(given))
    }
  }
  t.equal(texts(await collect(feed.createReadStream())).join(''), 'abcdefgh', 'no options')
  await feed.close()
})

test('read stream: made before the feed is open', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const early = collect(feed.createReadStream())
  t.deepEqual(await early, [], 'the length when it opens')
  const stream = feed.createReadStream({ live: true })
  await feed.append(VALUES)
  t.equal(texts(await take(stream, 8)).join(''), 'abcdefgh')
  await destroyed(stream)
  await feed.close()
})

test('read stream: snapshot', async (t) => {
  for (const snapshot of [true, false]) {
    const feed = await feedOf<unknown>(VALUES)
    const stream = feed.createReadStream({ snapshot, batch: 1 })
    const chunks: unknown[] = []
    const end = within(new Promise<void>((resolve) => stream.on('end', () => resolve())), 'the end')
    let appended = Promise.resolve(0)
    stream.on('data', (chunk: unknown) => {
      chunks.push(chunk)
      if (chunks.length === 1) {
        stream.pause()
        appended = feed.append(['x', 'y'])
        appended.then(() => stream.resume())
      }
    })
    await end
    await appended
    t.equal(texts(chunks).join(''), snapshot ? 'abcdefgh' : 'abcdefghxy', `snapshot: ${snapshot}`)
    await feed.close()
  }
})

test('read stream: live and tail', async (t) => {
  const feed = await feedOf<unknown>(VALUES, { valueEncoding: 'utf-8' })
  const live = feed.createReadStream({ live: true, start: 6 })
  const tail = feed.createReadStream({ live: true, tail: true })
  const [seen, fresh] = [take(live, 4), take(tail, 2)]
  t.equal(await settled(fresh), false, 'tail starts at the end')
  await feed.append('x')
  await feed.append('y')
  t.deepEqual(await seen, ['g', 'h', 'x', 'y'])
  t.deepEqual(await fresh, ['x', 'y'])
  await Promise.all([destroyed(live), destroyed(tail)])
  await feed.close()
})

test('read stream: waits also on a feed with ifAvailable', async (t) => {
  // The option of the feed is for get, seek and update: what is to come is not to be had from anybody yet.
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source, { ifAvailable: true })
  await copyBlocks(source, replica, 0)
  const live = replica.createReadStream({ live: true })
  const seen = take(live, 2)
  t.equal(await settled(seen), false)
  await copyBlocks(source, replica, 1)
  t.deepEqual(texts(await seen), ['a', 'b'])
  await destroyed(live)
  t.equal(await broken(replica.createReadStream({ ifAvailable: true })), 'ERR_BLOCK_NOT_AVAILABLE')
  await Promise.all([source.close(), replica.close()])
})

test('read stream: blocks that are missing', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 0, 1)
  t.equal(await broken(replica.createReadStream({ wait: false })), 'ERR_BLOCK_NOT_DOWNLOADED')
  t.equal(await broken(replica.createReadStream({ timeout: 1 })), 'ETIMEDOUT')
  t.equal(await broken(replica.createReadStream({ ifAvailable: true })), 'ERR_BLOCK_NOT_AVAILABLE')
  const chunks = collect(replica.createReadStream({ end: 4 }))
  t.equal(await settled(chunks), false, 'waits')
  await copyBlocks(source, replica, 3, 2)
  t.equal(texts(await chunks).join(''), 'abcd')
  await Promise.all([source.close(), replica.close()])
})

test('read stream: of a closed feed, and of one that cannot be opened', async (t) => {
  const feed = await feedOf(VALUES)
  await feed.close()
  t.equal(await broken(feed.createReadStream()), 'ERR_FEED_CLOSED')
  const none = ddatabase(memory(), { createIfMissing: false })
  t.equal(await broken(none.createReadStream()), 'ERR_NO_FEED')
})

test('read stream: a codec that fails', async (t) => {
  const feed = await feedOf(VALUES)
  const decode = () => {
    throw new Error('boom')
  }
  t.equal(
    await broken(feed.createReadStream({ valueEncoding: { encode: () => Buffer.alloc(0), decode } })),
    'ERR_DECODING'
  )
  t.equal(
    thrown(() => feed.createReadStream({ valueEncoding: {} as never })),
    'ERR_INVALID_ARG_TYPE',
    'no codec'
  )
  await feed.close()
})

test('read stream: a value that no stream can carry is the end, however blocks are read', async (t) => {
  const feed = await feedOf<unknown>([1, null, 2, null, 3], { valueEncoding: 'json' })
  const outcomes = new Set<unknown>()
  for (const batch of [1, 2, 64]) {
    const stream = feed.createReadStream({ batch })
    const chunks: unknown[] = []
    stream.on('data', (chunk: unknown) => chunks.push(chunk))
    stream.on('end', () => outcomes.add('end'))
    stream.on('error', (error: unknown) => outcomes.add((error as { code?: unknown }).code))
    await within(new Promise((resolve) => stream.on('close', () => resolve(null))), 'closing')
    t.ok(
      chunks.every((chunk) => chunk === 1),
      `batch: ${batch}: nothing that comes later: ${chunks}`
    )
  }
  t.equal(outcomes.size, 1, `the same each time: ${[...outcomes]}`)
  await feed.close()
})

test('read stream: is a streamx stream', async (t) => {
  const feed = await feedOf(VALUES)
  const chunks: unknown[] = []
  for await (const chunk of feed.createReadStream({ start: 6 })) chunks.push(chunk)
  t.deepEqual(texts(chunks), ['g', 'h'], 'asynchronous iteration')
  const sink = await feedOf([])
  await within(
    new Promise((resolve) => feed.createReadStream().pipe(sink.createWriteStream(), resolve)),
    'pipe'
  )
  t.deepEqual(texts(await sink.getBatch(0, sink.length)), VALUES, 'pipe')
  await Promise.all([feed.close(), sink.close()])
})
