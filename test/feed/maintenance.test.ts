/** clear, truncate and audit: options and counts (spec API §5, FORMAT §9). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { copyBlocks, feedOf, memory, refusal, replicaOf, texts } from './feeds.ts'

const VALUES = ['aa', 'bb', 'cc', 'dd', 'ee']

test('maintenance: clear', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(VALUES, {}, files)
  const here = () => [0, 1, 2, 3, 4].filter((index) => feed.has(index)).join('')
  await feed.clear(4)
  t.deepEqual([here(), files.read('data')!.byteLength], ['0123', 8], 'one block; the file ends earlier')
  await feed.clear(0, 2)
  t.equal(here(), '23', 'a range')
  t.deepEqual(String(files.read('data')), '\0\0\0\0ccdd', 'its bytes are deleted')
  await feed.clear(2, 3, { delete: false })
  t.deepEqual([here(), String(files.read('data'))], ['3', '\0\0\0\0ccdd'], 'only the bits')
  await feed.clear(0, 100)
  t.deepEqual([here(), feed.length, feed.byteLength], ['', 5, 10], 'everything; the length stays')
  await feed.close()
})

test('maintenance: clear with the place given', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(VALUES, {}, files)
  await feed.clear(1, 3, { byteOffset: 2, byteLength: 4 })
  t.deepEqual([feed.has(1), feed.has(2)], [false, false])
  t.equal(String(files.read('data')), 'aa\0\0\0\0ddee')
  await feed.clear(3, 4, { byteOffset: 0, byteLength: 100 })
  t.equal(String(files.read('data')), 'aa\0\0\0\0\0\0ee', 'a wrong one deletes nothing of other blocks')
  t.deepEqual(texts([await feed.get(0), await feed.get(4)]), ['aa', 'ee'])
  await feed.close()
})

test('maintenance: clear on a sparse replica', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 1, 3)
  await replica.clear(0, 3)
  t.deepEqual([replica.has(1), replica.has(3)], [false, true], 'also where offsets are unknown')
  await replica.clear(4)
  t.deepEqual(texts([await replica.get(3)]), ['dd'])
  await copyBlocks(source, replica, 1)
  t.deepEqual(texts([await replica.get(1)]), ['bb'], 'can be had again')
  await Promise.all([source.close(), replica.close()])
})

test('maintenance: truncate', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>(VALUES, {}, files)
  await feed.truncate(5)
  t.equal(feed.length, 5, 'to its own length')
  t.equal(await refusal(feed.truncate(6)), 'ERR_NODE_NOT_FOUND: No node found', 'to more')
  await feed.truncate(3)
  t.deepEqual([feed.length, feed.byteLength, feed.has(3), feed.downloaded()], [3, 6, false, 3])
  t.equal(await refusal(feed.get(3, { wait: false })), 'ERR_BLOCK_NOT_DOWNLOADED: Block not downloaded')
  t.equal(await feed.append('xx'), 3, 'append answers the new index')
  t.deepEqual(texts((await feed.getBatch(0, 4)) as Uint8Array[]), ['aa', 'bb', 'cc', 'xx'])
  await feed.truncate(0)
  t.deepEqual([feed.length, feed.byteLength], [0, 0])
  t.equal(await feed.append('yy'), 0)
  await feed.close()
  const again = ddatabase<unknown>(memory(files))
  await again.ready()
  t.deepEqual([again.live, again.length, again.downloaded()], [true, 1, 1])
  t.deepEqual(texts([(await again.get(0)) as Uint8Array]), ['yy'])
  await again.close()
})

test('maintenance: truncated into a batch, the feed stays live', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>(VALUES, {}, files)
  await feed.truncate(2)
  await feed.close()
  const again = ddatabase<unknown>(memory(files))
  await again.ready()
  t.deepEqual([again.live, again.length], [true, 2])
  t.equal(await again.verify(1, (await again.signature()).signature), true)
  await again.close()
})

test('maintenance: audit', async (t) => {
  const empty = await feedOf([])
  t.deepEqual({ ...(await empty.audit()) }, { valid: 0, invalid: 0 }, 'of an empty feed')
  await empty.close()

  const files = new MemoryFiles()
  const feed = await feedOf(VALUES, {}, files)
  await feed.clear(1)
  t.deepEqual({ ...(await feed.audit()) }, { valid: 4, invalid: 0 }, 'blocks that are not here do not count')
  files.writeAt('data', 4, Buffer.from('x'))
  t.deepEqual({ ...(await feed.audit()) }, { valid: 3, invalid: 1 }, 'a damaged block')
  t.equal(feed.has(2), false, 'is forgotten')
  t.deepEqual({ ...(await feed.audit()) }, { valid: 3, invalid: 0 }, 'the next time it does not count')
  await feed.close()
  const again = ddatabase(memory(files))
  await again.ready()
  t.equal(again.has(2), false, 'also after reopening')
  await again.close()
})
