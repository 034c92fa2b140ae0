/** `get` and `getBatch` of blocks that are here, and of some that are not (spec API §5). */
import test from 'tape'
import ddatabase, { type Storage } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { within } from '../helpers/watchdog.ts'
import { copyBlocks, feedOf, refusal, replicaOf, settled, texts } from './feeds.ts'

const VALUES = Array.from({ length: 20 }, (_, i) => `block ${i}`)

test('reading: getBatch of what is here', async (t) => {
  const feed = await feedOf(VALUES)
  for (const [start, end] of [
    [0, 20],
    [0, 1],
    [7, 13],
    [19, 20],
    [5, 5],
    [20, 20]
  ] as const) {
    t.deepEqual(texts(await feed.getBatch(start, end)), VALUES.slice(start, end), `${start} to ${end}`)
  }
  await feed.close()
})

test('reading: getBatch is one read of the data', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf(VALUES, {}, files)).close()
  const make = files.factory()
  let reads = 0
  const feed = ddatabase(((name: string) => {
    const storage = make(name)
    if (name === 'data') {
      const read = storage.read.bind(storage)
      storage.read = (...args: Parameters<typeof read>) => {
        reads++
        read(...args)
      }
    }
    return storage
  }) as unknown as Storage)
  t.deepEqual(texts(await feed.getBatch(3, 17)), VALUES.slice(3, 17))
  t.equal(reads, 1)
  await feed.close()
})

test('reading: getBatch of what is missing', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 4, 6)
  t.equal(
    await refusal(replica.getBatch(4, 7, { wait: false })),
    'ERR_BLOCK_NOT_DOWNLOADED: Block not downloaded'
  )
  t.equal(await refusal(replica.getBatch(4, 7, { timeout: 1 })), 'ETIMEDOUT: ETIMEDOUT')
  const batch = replica.getBatch(4, 7)
  t.equal(await settled(batch), false, 'waits')
  await copyBlocks(source, replica, 5)
  t.deepEqual(texts(await within(batch, 'getBatch')), VALUES.slice(4, 7), 'until all are here')
  const grown = source.getBatch(18, 22)
  t.equal(await settled(grown), false)
  await source.append(['x', 'y'] as never)
  t.deepEqual(texts(await within(grown, 'getBatch')), ['block 18', 'block 19', 'x', 'y'], 'or appended')
  await Promise.all([source.close(), replica.close()])
})

test("reading: bytes that are read are the caller's to keep", async (t) => {
  const feed = await feedOf(VALUES)
  const first = await feed.get(3)
  first.fill(0)
  t.deepEqual(texts([await feed.get(3)]), ['block 3'])
  const [batched] = await feed.getBatch(3, 4)
  batched!.fill(0)
  t.deepEqual(texts(await feed.getBatch(3, 4)), ['block 3'])
  await feed.close()
})

test('reading: many at once', async (t) => {
  const feed = await feedOf(VALUES)
  const indexes = Array.from({ length: 200 }, (_, i) => (i * 7) % 20)
  const blocks = await Promise.all(indexes.map((index) => feed.get(index)))
  t.deepEqual(
    texts(blocks),
    indexes.map((index) => `block ${index}`)
  )
  await feed.close()
})
