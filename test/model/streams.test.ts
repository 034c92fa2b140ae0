/** Cases of streams that random sequences reach only now and then. */
import path from 'node:path'
import test from 'tape'
import { collect, destroyed, writeAll } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { within } from '../helpers/watchdog.ts'

const open = ours()
const empty = Buffer.alloc(0)
const text = (value: string) => Buffer.from(value)

test('empty blocks are blocks: written and read through streams', async (t) => {
  const chunks = [
    [empty],
    [empty, empty, empty],
    [text('a'), empty],
    [empty, text('a'), empty, empty],
    [text('a'), text('bc'), empty, text('d')]
  ]
  for (const maxBlockSize of [0, 1, 50]) {
    for (const written of chunks) {
      const feed = open(new MemoryFiles().factory())
      await writeAll(feed.feed.createWriteStream({ maxBlockSize }), written)
      const blocks =
        maxBlockSize === 1
          ? written.flatMap((chunk) =>
              chunk.length > 1 ? [chunk.subarray(0, 1), chunk.subarray(1)] : [chunk]
            )
          : written
      const what = `[${written.map((chunk) => `'${chunk}'`)}] with maxBlockSize ${maxBlockSize}`
      t.equal(feed.length, blocks.length, `${what}: ${blocks.length} blocks`)
      await assertFeedIs(feed, { blocks: blocks.slice(0, feed.length) })
      for (const batch of [1, 2, 64]) {
        t.deepEqual(await collect(feed.feed.createReadStream({ batch })), blocks, `read in runs of ${batch}`)
      }
      await feed.close()
    }
  }
})

test('a read stream can be destroyed at any time', async (t) => {
  const feed = open(new MemoryFiles().factory())
  await feed.append(['a', 'b', 'c'])
  for (const options of [
    { live: true },
    { live: true, tail: true },
    { start: 2, end: 9 },
    { live: true, batch: 1 }
  ]) {
    for (let turns = 0; turns < 12; turns++) {
      const stream = feed.feed.createReadStream(options)
      stream.on('data', () => {})
      for (let i = 0; i < turns; i++) {
        if (turns % 2 === 0) await Promise.resolve()
        else await new Promise((resolve) => setImmediate(resolve))
      }
      await destroyed(stream)
    }
    const stream = feed.feed.createReadStream(options)
    const closed = within(new Promise<void>((resolve) => stream.on('close', () => resolve())), 'closing')
    stream.on('error', () => {})
    stream.once('data', () => stream.destroy())
    if ('tail' in options) await feed.append('d')
    await closed
    t.pass(`${JSON.stringify(options)} closes`)
  }
  await feed.append('e')
  await assertFeedIs(feed, { blocks: ['a', 'b', 'c', 'd', 'e'].map(text) })
  await feed.close()
})

test('closing the feed ends the waiting of a read stream', async (t) => {
  const feed = open(new MemoryFiles().factory())
  await feed.append(['a', 'b'])
  const stream = feed.feed.createReadStream({ live: true })
  const failure = new Promise<Error & { code?: unknown }>((resolve) => stream.on('error', resolve))
  let seen = 0
  stream.on('data', () => seen++)
  while (seen < 2) await new Promise((resolve) => setImmediate(resolve))
  await feed.close()
  const error = await within(failure, 'the stream')
  t.equal(error.message, 'Feed is closed')
  t.equal(typeof error.code, 'string')
})

test('a replica that holds nothing but an empty block has no data file, and reads it all the same', async (t) => {
  const folder = await temporaryFolder(t)
  const source = open(new MemoryFiles().factory())
  await source.append([text('a'), empty, text('c')])
  const at = path.join(folder, 'replica')
  const replica = open(at, source.key, { sparse: true })
  await replica.put(1, empty, await source.proof(1))
  await replica.close()
  const again = open(at, null, { sparse: true })
  t.deepEqual(await again.get(1, { wait: false }), empty, 'get')
  t.deepEqual(await again.getBatch(1, 2, { wait: false }), [empty], 'getBatch')
  t.deepEqual({ ...(await again.audit()) }, { valid: 1, invalid: 0 }, 'audit')
  t.equal(again.has(1), true, 'and it stays')
  await again.close()
  await source.close()
})
