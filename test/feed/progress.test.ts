/** A download that is asked how far it is, and cancelled by its own hand. */
import test from 'tape'
import ddatabase, { type Feed, type Selection } from '../../src/index.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, settled } from './feeds.ts'
import { silentRemote } from './silent-remote.ts'

const SIZES = [3, 0, 10, 7, 1, 20, 5, 4]
const VALUES = SIZES.map((size) => Buffer.alloc(size, 'x'))

/** The progress without its rate. */
async function counted(selection: Selection): Promise<object> {
  const { blocks, totalBlocks, bytes, totalBytes } = await within(selection.progress(), 'progress')
  return { blocks, totalBlocks, bytes, totalBytes }
}

/** Lets every pair of feeds on streams in memory download. */
function connect(a: Feed<never>, b: Feed<never>): () => void {
  const [one, two] = [a.replicate(true, { live: true }), b.replicate(false, { live: true })]
  one.pipe(two).pipe(one)
  return () => {
    one.destroy()
    two.destroy()
  }
}

test('progress: of a range', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  const all = replica.download()
  const range = replica.download({ start: 1, end: 5 })
  t.deepEqual(await counted(all), { blocks: 0, totalBlocks: 0, bytes: 0, totalBytes: 0 }, 'nothing known')
  t.deepEqual(await counted(range), { blocks: 0, totalBlocks: 4, bytes: 0, totalBytes: null })
  await copyBlocks(source, replica, 2)
  t.deepEqual(
    await counted(all),
    { blocks: 1, totalBlocks: 8, bytes: 10, totalBytes: 50 },
    'the length is known'
  )
  await copyBlocks(source, replica, 6, 4)
  t.deepEqual(await counted(all), { blocks: 3, totalBlocks: 8, bytes: 16, totalBytes: 50 })
  t.equal(((await counted(range)) as { bytes: number }).bytes, 11, 'of the range only')
  await copyBlocks(source, replica, 1, 3)
  await within(range, 'the range')
  t.deepEqual(await counted(range), { blocks: 4, totalBlocks: 4, bytes: 18, totalBytes: 18 }, 'after its end')
  await replica.clear(2)
  t.deepEqual(await counted(range), { blocks: 3, totalBlocks: 4, bytes: 8, totalBytes: 18 }, 'cleared')
  t.deepEqual(
    await counted(replica.download({ start: 6, end: 6 })),
    { blocks: 0, totalBlocks: 0, bytes: 0, totalBytes: 0 },
    'an empty range'
  )
  t.deepEqual(
    await counted(replica.download({ start: 6, end: 20 })),
    { blocks: 1, totalBlocks: 14, bytes: 5, totalBytes: null },
    'beyond the end'
  )
  await Promise.all([source.close(), replica.close()])
})

test('progress: of blocks and of hashes', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  const blocks = replica.download([5, 2, 5, 0])
  const hashes = replica.download({ start: 0, end: 8, hash: true })
  t.deepEqual(
    await counted(blocks),
    { blocks: 0, totalBlocks: 3, bytes: 0, totalBytes: null },
    'each block once'
  )
  await copyBlocks(source, replica, 5)
  t.deepEqual(await counted(blocks), { blocks: 1, totalBlocks: 3, bytes: 20, totalBytes: null })
  await copyBlocks(source, replica, 0, 2)
  t.deepEqual(await counted(blocks), { blocks: 3, totalBlocks: 3, bytes: 33, totalBytes: 33 })
  let known = 0
  for (let block = 0; block < 8; block++) if (replica.tree!.get(2 * block)) known++
  t.deepEqual(await counted(hashes), { blocks: known, totalBlocks: 8, bytes: 0, totalBytes: 0 })
  t.deepEqual(await counted(replica.download({ blocks: [0, 7], hash: true })), {
    blocks: Number(replica.tree!.get(0)) + Number(replica.tree!.get(14)),
    totalBlocks: 2,
    bytes: 0,
    totalBytes: 0
  })
  await Promise.all([source.close(), replica.close()])
})

test('progress: an open end reaches as far as a peer tells', async (t) => {
  const feed = ddatabase(memory(), Buffer.alloc(32, 7), { sparse: true })
  const early = feed.download({ start: 2 })
  const first = counted(early)
  t.deepEqual(await first, { blocks: 0, totalBlocks: 0, bytes: 0, totalBytes: 0 }, 'asked before it is open')
  const remote = await silentRemote(feed as never, 100)
  t.deepEqual(await counted(early), { blocks: 0, totalBlocks: 98, bytes: 0, totalBytes: null })
  await remote.leave()
  await feed.close()
  t.equal((await failure(early.progress())).code, 'ERR_FEED_CLOSED')
  t.equal((await failure(feed.download().progress())).code, 'ERR_FEED_CLOSED')
})

test('progress: over several pages of the bitfield, while blocks arrive', async (t) => {
  const random = new SeededRandom(5)
  const sizes = Array.from({ length: 20_000 }, () => random.below(40))
  const source = await feedOf(sizes.map((size) => Buffer.alloc(size)))
  const replica = await replicaOf(source)
  const bytesHere = (start: number, end: number) => {
    let bytes = 0
    for (let block = start; block < end; block++) if (replica.has(block)) bytes += sizes[block]!
    return bytes
  }
  const disconnect = connect(source as never, replica as never)
  await within(replica.update(20_000), 'update')
  const all = replica.download()
  const part = replica.download({ start: 3000, end: 17_500 })
  const whole = sizes.reduce((sum, size) => sum + size, 0)
  let last = 0
  for (let done = false; !done; ) {
    const progress = await within(all.progress(), 'progress')
    done = progress.blocks === progress.totalBlocks
    t.ok(
      progress.bytes >= last && progress.bytes <= whole,
      `${progress.blocks} blocks, ${progress.bytes} bytes`
    )
    t.equal(progress.totalBytes, whole)
    last = progress.bytes
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.equal(last, whole, 'all bytes')
  disconnect()
  await settle()
  t.deepEqual(await counted(part), {
    blocks: 14_500,
    totalBlocks: 14_500,
    bytes: bytesHere(3000, 17_500),
    totalBytes: bytesHere(3000, 17_500)
  })
  const before = bytesHere(0, 20_000)
  await replica.clear(8000, 9000)
  const after = bytesHere(0, 20_000)
  t.ok(after < before)
  t.equal(((await counted(all)) as { bytes: number }).bytes, after, 'after clear')
  await copyBlocks(source, replica, 8500, 8191, 8192)
  t.equal(((await counted(all)) as { bytes: number }).bytes, bytesHere(0, 20_000), 'after more blocks')
  await Promise.all([source.close(), replica.close()])
})

test('progress: the rate is that between two looks', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  const now = performance.now.bind(performance)
  let time = 1000
  performance.now = () => time
  try {
    const selection = replica.download({ start: 0, end: 8 })
    const rate = async () => {
      const { blocksPerSecond, bytesPerSecond } = await selection.progress()
      return [blocksPerSecond, bytesPerSecond]
    }
    t.deepEqual(await rate(), [0, 0], 'nothing to compare with')
    await copyBlocks(source, replica, 0, 2)
    time += 100
    t.deepEqual(await rate(), [0, 0], 'too soon')
    time += 400
    t.deepEqual(await rate(), [4, 26], '2 blocks and 13 bytes in half a second')
    await copyBlocks(source, replica, 5)
    time += 100
    t.deepEqual(await rate(), [4, 26], 'the last one, asked again too soon')
    time += 1900
    t.deepEqual(await rate(), [0.5, 10])
    await replica.clear(5)
    time += 1000
    t.deepEqual(await rate(), [0, 0], 'never negative')
    time += 1000
    t.deepEqual(await rate(), [0, 0], 'nothing arrives')
  } finally {
    performance.now = now
  }
  await Promise.all([source.close(), replica.close()])
})

test('progress: a selection still spreads to its range, and nothing else', async (t) => {
  const feed = ddatabase(memory(), Buffer.alloc(32, 7), { sparse: true })
  const { signal } = new AbortController()
  const selection = feed.download({ start: 3, end: 6, linear: true, signal })
  selection.progress().catch(() => {})
  selection.then(
    () => {},
    () => {}
  )
  const range = { start: 3, end: 6, linear: true, blocks: null, hash: false }
  t.deepEqual({ ...selection }, range)
  const enumerable: string[] = []
  for (const name in selection) enumerable.push(name)
  t.deepEqual(enumerable, Object.keys(range), 'also with for … in')
  t.deepEqual(JSON.parse(JSON.stringify(selection)), range)
  t.equal(Object.hasOwn(selection, 'then'), false, 'then is on the prototype')
  const ended = failure(selection)
  feed.undownload({ ...selection })
  t.equal((await ended).code, 'ECANCELED')
  await feed.close()
})

test('progress: cancel', async (t) => {
  const feed = ddatabase(memory(), Buffer.alloc(32, 7), { sparse: true })
  await feed.ready()
  const remote = await silentRemote(feed as never, 10)
  const [one, two] = [feed.download({ start: 3, end: 6 }), feed.download({ start: 3, end: 6 })]
  const blocks = feed.download([8])
  await remote.heard()
  t.deepEqual([...remote.open].sort(), [3, 4, 5, 8])
  const failed = failure(two)
  two.cancel()
  const error = await failed
  t.deepEqual([error.code, error.errno, error.name], ['ECANCELED', -11, 'AbortError'])
  await remote.heard()
  t.deepEqual([...remote.open].sort(), [3, 4, 5, 8], 'the first one wants the same')
  t.equal(await settled(one), false, 'and goes on')
  const others = [failure(one), failure(blocks)]
  one.cancel()
  blocks.cancel()
  for (const other of others) t.equal((await other).code, 'ECANCELED')
  await remote.heard()
  t.equal(remote.open.size, 0, 'the requests are taken back')
  one.cancel()
  const done = feed.download({ end: 0 })
  await within(done, 'an empty download')
  done.cancel()
  t.equal(await settled(done), true, 'harmless after the end')
  await remote.leave()
  await feed.close()
})
