/** Reading by `for await`, by streams of Node.js and of the web, and what is left behind when it ends early. */
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import test, { type Test } from 'tape'
import ddatabase, { type Feed, type ReadStreamOptions } from '../../src/index.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, settled, texts, thrown } from './feeds.ts'
import { silentRemote } from './silent-remote.ts'

const VALUES = [...'abcdefgh']
const KEY = Buffer.alloc(32, 7)

async function read<T>(blocks: AsyncIterable<T>, count = Number.POSITIVE_INFINITY): Promise<T[]> {
  const values: T[] = []
  for await (const block of blocks) {
    values.push(block)
    if (values.length >= count) break
  }
  return values
}

function assertIdle(t: Test, feed: Feed<never>, what: string): void {
  const { _waiters: waiters } = feed as unknown as Record<'_waiters', Iterable<unknown>>
  t.equal([...waiters].length, 0, `${what}: nothing waits`)
}

test('iterating: a feed', async (t) => {
  const feed = await feedOf(VALUES)
  t.equal(texts(await within(read(feed), 'the loop')).join(''), 'abcdefgh')
  t.equal(texts(await within(read(feed, 3), 'the loop')).join(''), 'abc', 'left by break')
  const seen: string[] = []
  for await (const block of feed) {
    seen.push(Buffer.from(block).toString())
    if (seen.length === 2) await feed.append('later')
  }
  t.equal(seen.join(''), 'abcdefgh', 'as long as it was at the start')
  await feed.close()
})

test('iterating: before the feed is open, when it is empty, and when it is closed', async (t) => {
  const feed = ddatabase(memory())
  t.deepEqual(await within(read(feed), 'the loop'), [])
  const loop = read(feed.createReadStream({ live: true }), 2)
  await feed.append(['a', 'b'])
  t.equal(texts(await within(loop, 'the live loop')).join(''), 'ab')
  await feed.close()
  t.equal((await failure(read(feed))).code, 'ERR_FEED_CLOSED')
})

test('iterating: values', async (t) => {
  const values = [{ a: 1 }, null, 'text', [1, 2], 0, false]
  const feed = ddatabase(memory(), { valueEncoding: 'json' })
  for (const value of values) await feed.append([value])
  t.deepEqual(await read(feed), values, 'null is a value')
  t.equal((await failure(read(feed.createReadStream()))).code, 'ERR_DECODING', 'of which a stream has none')
  t.deepEqual(texts(await read(feed.createReadStream({ start: 2, end: 3, valueEncoding: 'binary' }))), [
    '"text"\n'
  ])
  const broken = {
    encode: () => Buffer.alloc(1),
    decode: () => {
      throw new Error('boom')
    }
  }
  t.equal((await failure(read(feed.createReadStream({ valueEncoding: broken })))).code, 'ERR_DECODING')
  await feed.close()
})

test('iterating: by hand', async (t) => {
  const feed = await feedOf(VALUES, { valueEncoding: 'utf-8' })
  const blocks = feed[Symbol.asyncIterator]()
  const results = await Promise.all(VALUES.map(() => blocks.next()))
  t.deepEqual(
    results.map(({ value }) => value),
    VALUES,
    'calls that do not wait for each other are answered in order'
  )
  t.deepEqual(await blocks.next(), { value: undefined, done: true })
  t.deepEqual(await blocks.next(), { value: undefined, done: true }, 'for good')
  const other = feed[Symbol.asyncIterator]()
  t.equal((await other.next()).value, 'a')
  t.deepEqual(await other.return!(), { value: undefined, done: true })
  t.deepEqual(await other.next(), { value: undefined, done: true }, 'ended early')
  await feed.close()
})

test('iterating: ended while the next block is waited for', async (t) => {
  const feed = ddatabase(memory(), KEY, { sparse: true })
  await feed.ready()
  const remote = await silentRemote(feed as never, 8)
  await feed.update({ minLength: 1, timeout: 1 }).catch(() => {})
  const source = feed.toWeb({ start: 4, end: 6 }).getReader()
  const next = source.read()
  await remote.heard()
  t.deepEqual([...remote.open], [4])
  await within(source.cancel(), 'cancel')
  t.equal((await within(next, 'read')).done, true)
  await remote.heard()
  t.equal(remote.open.size, 0, 'the request was taken back')
  assertIdle(t, feed as never, 'cancelled')
  await remote.leave()
  await feed.close()
})

test('iterating: a live tail that is left takes its request back', async (t) => {
  const source = await feedOf(VALUES)
  const feed = await replicaOf(source)
  await copyBlocks(source, feed, 0, 1, 7)
  const remote = await silentRemote(feed as never, 8)
  const stream = feed.createReadStream({ live: true })
  const closed = new Promise<void>((resolve) => stream.on('close', () => resolve()))
  t.equal(texts(await within(read(stream, 2), 'the loop')).join(''), 'ab')
  await within(closed, 'close')
  t.equal(stream.destroyed, true, 'the stream is destroyed')
  await remote.heard()
  t.equal(remote.open.size, 0, 'no request is open')
  assertIdle(t, feed as never, 'a break')

  const tail = feed.createReadStream({ start: 2, live: true })
  const failed = read(tail).then(
    () => 'ended',
    (error: Error) => error.message
  )
  await remote.heard()
  t.deepEqual([...remote.open], [2], 'it waits')
  tail.destroy()
  t.notEqual(await within(failed, 'the loop'), 'ended', 'whoever reads it learns it')
  await remote.heard()
  t.equal(remote.open.size, 0, 'and the request is taken back')
  assertIdle(t, feed as never, 'destroy')
  await remote.leave()
  await Promise.all([feed.close(), source.close()])
})

test('iterating: an exception in the loop ends the stream', async (t) => {
  const feed = await feedOf(VALUES)
  const stream = feed.createReadStream({ live: true })
  const loop = (async () => {
    for await (const _ of stream) throw new Error('of the loop')
  })()
  t.equal((await failure(loop)).message, 'of the loop')
  t.equal(stream.destroyed, true)
  assertIdle(t, feed as never, 'an exception')
  await feed.close()
})

test('iterating: web streams of blocks', async (t) => {
  const feed = await feedOf(VALUES)
  const cases: [options: ReadStreamOptions | undefined, chunks: string][] = [
    [undefined, 'abcdefgh'],
    [{ start: 3 }, 'defgh'],
    [{ start: 2, end: 5 }, 'cde'],
    [{ start: 2, end: 5, batch: 1 }, 'cde'],
    [{ end: 0 }, ''],
    [{ live: true, end: 3 }, 'abc']
  ]
  for (const [options, chunks] of cases) {
    t.equal(texts(await read(feed.toWeb(options))).join(''), chunks, JSON.stringify(options) ?? 'everything')
  }
  const [one, two] = feed.toWeb({ start: 6 }).tee()
  t.deepEqual(
    [texts(await read(one)), texts(await read(two))],
    [
      ['g', 'h'],
      ['g', 'h']
    ]
  )
  t.equal(texts(await read(ReadableStream.from(feed.createReadStream({ start: 6 })))).join(''), 'gh', 'from')
  t.equal(texts(await read(ReadableStream.from(feed))).join(''), 'abcdefgh', 'from the feed')
  t.equal(texts(await read(feed.toWeb({ live: true }), 3)).join(''), 'abc', 'left by break')
  assertIdle(t, feed as never, 'left')
  await feed.close()
})

test('iterating: a web stream reads only when it is read', async (t) => {
  const feed = await feedOf(VALUES)
  const reads: number[] = []
  const codec = {
    encode: (text: string) => Buffer.from(text),
    decode: (block: Uint8Array) => {
      reads.push(block[0]!)
      return Buffer.from(block).toString()
    }
  }
  const reader = feed.toWeb({ valueEncoding: codec, batch: 2 }).getReader()
  await settle()
  t.equal(reads.length, 0, 'nothing before')
  t.equal((await reader.read()).value, 'a')
  await settle()
  t.equal(reads.length, 2, 'then a run')
  await reader.cancel()
  const failing = ddatabase(memory(), KEY, { sparse: true }).toWeb({ end: 2, wait: false })
  t.equal((await failure(read(failing))).code, 'ERR_BLOCK_NOT_DOWNLOADED', 'errors arrive')
  await feed.close()
})

test('iterating: writing by web streams', async (t) => {
  const source = await feedOf(VALUES)
  const feed = ddatabase(memory())
  await within(source.toWeb().pipeTo(feed.toWebWritable()), 'pipeTo')
  t.equal(texts(await read(feed)).join(''), 'abcdefgh')
  const writer = feed.toWebWritable({ maxBlockSize: 2 }).getWriter()
  await writer.write('ijklm')
  t.equal(feed.length, 11, 'in pieces, stored when it is answered')
  await writer.close()
  t.equal(texts(await read(feed.createReadStream({ start: 8 }))).join(' '), 'ij kl m')
  await feed.close()
  const closed = feed.toWebWritable().getWriter()
  closed.closed.catch(() => {})
  t.equal((await failure(closed.write('x'))).code, 'ERR_FEED_CLOSED')
  const lists = ddatabase<string[]>(memory(), { valueEncoding: 'json' })
  const values = lists.toWebWritable().getWriter()
  await values.write(['a', 'b'])
  t.deepEqual(await lists.get(0), ['a', 'b'], 'an array is one value')
  await Promise.all([lists.close(), source.close()])
})

test('iterating: pipelines of Node.js', async (t) => {
  const source = await feedOf(VALUES)
  const collected: string[] = []
  const sink = () =>
    new Writable({
      write(chunk, _encoding, callback) {
        collected.push(String(chunk))
        callback()
      }
    })
  await within(pipeline(source, sink()), 'from a feed')
  await within(pipeline(source.createReadStream({ start: 6 }), sink()), 'from a read stream')
  t.equal(collected.join(''), 'abcdefghgh')

  const feed = ddatabase(memory())
  await within(pipeline(Readable.from(VALUES), feed.createWriteStream()), 'into a write stream')
  t.equal(texts(await read(feed)).join(''), 'abcdefgh')
  await within(pipeline(source.createReadStream(), feed.createWriteStream()), 'from one to the other')
  t.equal(feed.length, 16)

  const controller = new AbortController()
  const live = source.createReadStream({ live: true })
  const endless = failure(pipeline(live, sink(), { signal: controller.signal }))
  await settle()
  controller.abort()
  t.equal((await within(endless, 'the pipeline')).name, 'AbortError')
  await settle()
  t.equal(live.destroyed, true, 'an aborted pipeline destroys the stream')
  assertIdle(t, source as never, 'an aborted pipeline')

  const refusing = new Writable({ write: (_chunk, _encoding, callback) => callback(new Error('full')) })
  const broken = source.createReadStream({ live: true })
  t.equal((await failure(pipeline(broken, refusing))).message, 'full')
  await settle()
  t.equal(broken.destroyed, true, 'so does a sink that fails')
  await Promise.all([feed.close(), source.close()])
})

test('iterating: wrong options', async (t) => {
  const feed = await feedOf(VALUES)
  const wrong: [options: unknown, code: string][] = [
    [5, 'ERR_INVALID_ARG_TYPE'],
    ['all', 'ERR_INVALID_ARG_TYPE'],
    [{ start: '1' }, 'ERR_INVALID_ARG_TYPE'],
    [{ start: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ end: '5' }, 'ERR_INVALID_ARG_TYPE'],
    [{ end: 0.5 }, 'ERR_OUT_OF_RANGE'],
    [{ batch: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ timeout: 'soon' }, 'ERR_INVALID_ARG_TYPE'],
    [{ timeout: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ valueEncoding: 5 }, 'ERR_INVALID_ARG_TYPE']
  ]
  for (const [options, code] of wrong) {
    t.equal(
      thrown(() => feed.createReadStream(options as never)),
      code,
      `createReadStream ${JSON.stringify(options)}`
    )
    t.equal(
      thrown(() => feed.toWeb(options as never)),
      code,
      `toWeb ${JSON.stringify(options)}`
    )
  }
  for (const [options, code] of [
    [5, 'ERR_INVALID_ARG_TYPE'],
    [{ maxBlockSize: '3' }, 'ERR_INVALID_ARG_TYPE'],
    [{ maxBlockSize: -1 }, 'ERR_OUT_OF_RANGE']
  ]) {
    t.equal(
      thrown(() => feed.createWriteStream(options as never)),
      code
    )
    t.equal(
      thrown(() => feed.toWebWritable(options as never)),
      code
    )
  }
  await feed.close()
})

test('iterating: await using closes the feed', async (t) => {
  let outer: Feed
  {
    await using feed = await feedOf(['a'])
    outer = feed
    t.equal(texts([await feed.get(0)])[0], 'a')
  }
  t.equal(outer.closed, true)
  t.equal(await settled(outer.close()), true)
})
