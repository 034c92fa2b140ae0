/** `createWriteStream` (spec API §6). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { writeAll } from '../helpers/feed-face.ts'
import { within } from '../helpers/watchdog.ts'
import { failure, feedOf, memory, texts, thrown } from './feeds.ts'

test('write stream: chunks of one tick are one batch', async (t) => {
  const feed = await feedOf<unknown>([])
  let appends = 0
  feed.on('append', () => appends++)
  await writeAll(feed.createWriteStream(), ['a', 'b', 'c'])
  t.deepEqual(
    texts((await feed.getBatch(0, 3)) as Uint8Array[]),
    ['a', 'b', 'c'],
    'finish comes after the last append'
  )
  t.equal(appends, 1)
  t.equal((await feed.signature(0)).index, 2, 'one signature')
  await feed.close()
})

test('write stream: maxBlockSize', async (t) => {
  const cases: [chunks: (string | Buffer)[], size: number, blocks: string[]][] = [
    [['abcdefg'], 3, ['abc', 'def', 'g']],
    [['abcdef'], 3, ['abc', 'def']],
    [['abc'], 3, ['abc']],
    [['ab', 'cdef'], 3, ['ab', 'cde', 'f']],
    [[Buffer.from('abcdefg')], 3, ['abc', 'def', 'g']],
    [['abcdefg'], 0, ['abcdefg']]
  ]
  for (const [chunks, maxBlockSize, blocks] of cases) {
    const feed = await feedOf<unknown>([])
    const options = Object.freeze({ maxBlockSize })
    await writeAll(feed.createWriteStream(options), chunks)
    t.deepEqual(
      texts((await feed.getBatch(0, feed.length)) as Uint8Array[]),
      blocks,
      `${chunks} at ${maxBlockSize}`
    )
    await feed.close()
  }
  const objects = await feedOf<unknown>([], { valueEncoding: 'json' })
  await writeAll(objects.createWriteStream({ maxBlockSize: 2 }), [{ long: 'object' }, 5])
  t.deepEqual(await objects.getBatch(0, 2), [{ long: 'object' }, 5], 'other values stay whole')
  t.equal(
    thrown(() => objects.createWriteStream({ maxBlockSize: -1 })),
    'ERR_OUT_OF_RANGE'
  )
  await objects.close()
})

test('write stream: before the feed is open', async (t) => {
  const feed = ddatabase<unknown>(memory(), { valueEncoding: 'utf-8' })
  await writeAll(feed.createWriteStream(), ['a', 'b'])
  t.deepEqual(await feed.getBatch(0, 2), ['a', 'b'])
  await feed.close()
})

test('write stream: an append that fails destroys it, not the feed', async (t) => {
  const feed = await feedOf<unknown>([], { valueEncoding: 'json' })
  const stream = feed.createWriteStream()
  const error = within(new Promise((resolve) => stream.on('error', resolve)), 'the error')
  stream.write(undefined as never)
  stream.write(() => {})
  t.equal(((await error) as { code?: unknown }).code, 'ERR_ENCODING')
  t.equal(feed.length, 0)
  t.equal(await feed.append({ a: 1 }), 0)
  await feed.close()
  const closed = feed.createWriteStream()
  const refused = within(new Promise((resolve) => closed.on('error', resolve)), 'the error')
  closed.write({ a: 1 })
  t.equal(((await refused) as { code?: unknown }).code, 'ERR_FEED_CLOSED')
  t.equal((await failure(feed.append({ a: 1 }))).code, 'ERR_FEED_CLOSED')
})
