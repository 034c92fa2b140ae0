/** `seek` and its options, without peers (spec API §5, FORMAT §8.3). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published } from '../helpers/published.ts'
import { within } from '../helpers/watchdog.ts'
import { copyBlocks, feedOf, memory, refusal, replicaOf, settled } from './feeds.ts'

const VALUES = ['', 'ab', '', 'cde', 'f', '', '']
const NOT_FOUND = 'ERR_SEEK_NOT_FOUND: Unable to seek to this offset'

test('seek: every offset, as the original', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(VALUES, {}, files)
  const original = published(files.clone().factory())
  for (let bytes = 0; bytes <= 6; bytes++) {
    const { index, offset } = await feed.seek(bytes)
    t.deepEqual(
      [index, offset],
      await original.seek(bytes),
      `byte ${bytes}: block ${index}, offset ${offset}`
    )
  }
  t.deepEqual(await feed.seek(6), { index: 7, offset: 0 }, 'the end')
  await original.close()
  await feed.close()
})

test('seek: callback and promise', async (t) => {
  const feed = await feedOf(VALUES)
  const told = await within(
    new Promise((resolve) => feed.seek(3, (...args) => resolve(args))),
    'seek(callback)'
  )
  t.deepEqual(told, [null, 3, 1], 'two values')
  const failed = await within(
    new Promise((resolve) =>
      feed.seek(9, { wait: false }, (error, ...more) => resolve([(error as Error).message, ...more]))
    ),
    'seek(options, callback)'
  )
  t.deepEqual(failed, ['Out of bounds'], 'an error comes alone')
  t.deepEqual(await feed.seek(3, {}), { index: 3, offset: 1 })
  await feed.close()
})

test('seek: beyond the end', async (t) => {
  const feed = await feedOf(VALUES)
  t.equal(await refusal(feed.seek(7, { wait: false })), 'ERR_SEEK_OUT_OF_BOUNDS: Out of bounds')
  t.equal(
    await refusal(feed.seek(7, { ifAvailable: true })),
    'ERR_SEEK_NOT_AVAILABLE: Seek not available from peers'
  )
  t.equal(await refusal(feed.seek(7, { timeout: 1 })), 'ETIMEDOUT: ETIMEDOUT')
  const waiting = feed.seek(8)
  t.equal(await settled(waiting), false)
  await feed.append('gh' as never)
  t.equal(await settled(feed.seek(8)), true)
  await feed.append('ij' as never)
  t.deepEqual(await waiting, { index: 8, offset: 0 }, 'waits for data')
  await feed.close()
})

test('seek: on an empty feed', async (t) => {
  const feed = await feedOf([])
  t.deepEqual(await feed.seek(0), { index: 0, offset: 0 })
  t.equal(await refusal(feed.seek(1, { wait: false })), 'ERR_SEEK_OUT_OF_BOUNDS: Out of bounds')
  await feed.close()
})

test('seek: where nodes are missing', async (t) => {
  const source = await feedOf([...'abcdefgh'].map((letter) => letter.repeat(10)))
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 0)
  t.deepEqual(await replica.seek(5), { index: 0, offset: 5 }, 'in a known block')
  t.deepEqual(await replica.seek(15), { index: 1, offset: 5 }, 'in a block whose leaf is known')
  t.deepEqual(await replica.seek(80), { index: 8, offset: 0 }, 'at the end')
  t.equal(await refusal(replica.seek(45, { wait: false })), NOT_FOUND, 'below a parent')
  t.equal(
    await refusal(replica.seek(45, { ifAvailable: true })),
    'ERR_SEEK_NOT_AVAILABLE: Seek not available from peers'
  )
  const waiting = replica.seek(45)
  const within4to8 = replica.seek(45, { start: 2, end: 6 })
  t.deepEqual([await settled(waiting), await settled(within4to8)], [false, false])
  t.equal(await refusal(replica.seek(45, { start: 0, end: 4 })), NOT_FOUND, 'blocks that cannot hold it')
  t.equal(await refusal(replica.seek(45, { start: 4, end: 4 })), NOT_FOUND, 'an empty range')
  t.equal(await refusal(replica.seek(99, { start: 4, end: 2 })), NOT_FOUND, 'an empty range, beyond the end')
  t.deepEqual(
    await replica.seek(15, { start: 5, end: 5 }),
    { index: 1, offset: 5 },
    'a range restricts only what is asked for'
  )
  await copyBlocks(source, replica, 4)
  t.deepEqual(
    await Promise.all([waiting, within4to8]),
    new Array(2).fill({ index: 4, offset: 5 }),
    'found when the nodes are here'
  )
  await Promise.all([source.close(), replica.close()])
})

test('seek: with end = last block + 1, as byte streams do', async (t) => {
  const feed = await feedOf([...'abcd'].map((letter) => letter.repeat(10)))
  for (const [bytes, index] of [
    [10, 1],
    [29, 2],
    [30, 3],
    [39, 3]
  ] as const) {
    const place = await feed.seek(bytes, { start: 1, end: 4, ifAvailable: true })
    t.deepEqual(place, { index, offset: bytes - 10 * index })
  }
  await feed.close()
})

test('seek: before opening', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf(VALUES, {}, files)).close()
  const feed = ddatabase(memory(files))
  t.deepEqual(await feed.seek(6), { index: 7, offset: 0 })
  await feed.close()
})
