/** `download` and `undownload` without peers: what a selection is, and when it ends (spec API §5, Q5 – Q7). */
import test from 'tape'
import ddatabase, { type DownloadRange, type Selection } from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, settled, thrown } from './feeds.ts'

/** A source of six blocks and a sparse replica with blocks 1 and 2. */
async function pair() {
  const source = await feedOf([...'abcdef'])
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 1, 2)
  return { source, replica, close: () => Promise.all([source.close(), replica.close()]) }
}

const shape = ({ start, end, linear, blocks, hash }: Selection) => ({ start, end, linear, blocks, hash })
const plain = { start: 0, end: -1, linear: false, blocks: null, hash: false }

test('downloads: what is selected', async (t) => {
  const feed = ddatabase(memory(), Buffer.alloc(32, 1), { sparse: true })
  const cases: [range: DownloadRange | number | number[] | null | undefined, selected: object][] = [
    [undefined, plain],
    [null, plain],
    [{}, plain],
    [5, { ...plain, start: 5, end: 6 }],
    [0, { ...plain, start: 0, end: 1 }],
    [[7, 3, 5], { ...plain, start: 3, end: 8, blocks: [7, 3, 5] }],
    [{ blocks: [4] }, { ...plain, start: 4, end: 5, blocks: [4] }],
    [
      { start: 0, end: 9, blocks: [4] },
      { ...plain, end: 9, blocks: [4] }
    ],
    [{ start: 2 }, { ...plain, start: 2 }],
    [
      { start: 2, end: 4, linear: true },
      { ...plain, start: 2, end: 4, linear: true }
    ],
    [
      { end: -1, hash: true },
      { ...plain, hash: true }
    ],
    [{ end: 0 }, { ...plain, end: 0 }]
  ]
  for (const [range, selected] of cases) {
    const given = JSON.stringify(range)
    t.deepEqual(shape(feed.download(range)), selected, given ?? 'nothing')
    t.equal(JSON.stringify(range), given, 'the range stays as it is')
  }
  let told: unknown
  t.deepEqual(shape(feed.download((error) => (told = error))), plain, 'only a callback')
  await feed.close()
  t.equal((told as { code: string }).code, 'ERR_FEED_CLOSED')
})

test('downloads: of what is here already, without peers', async (t) => {
  const { replica, close } = await pair()
  const complete: (DownloadRange | number | number[])[] = [
    1,
    { start: 1, end: 3 },
    [2, 1],
    [],
    { end: 0 },
    { start: 4, end: 4 },
    { blocks: [1], hash: true }
  ]
  for (const range of complete) {
    const what = JSON.stringify(range)
    await within(replica.download(range), what)
    const told = await within(
      new Promise((resolve) => replica.download(range, (...args) => resolve(args[0]))),
      what
    )
    t.equal(told, null, `${what} is answered`)
  }
  const missing: (DownloadRange | number | number[] | null)[] = [
    0,
    null,
    { start: 1 },
    { start: 1, end: 4 },
    [1, 3]
  ]
  for (const range of missing) {
    const selection = replica.download(range)
    t.equal(await settled(selection), false, `${JSON.stringify(range)} waits`)
    replica.undownload(selection)
  }
  await close()
})

test('downloads: asked for before opening', async (t) => {
  const source = await feedOf(['a', 'b'])
  const feed = ddatabase(memory(), source.key, { sparse: true })
  let answered = false
  const nothing = feed.download({ end: 0 }, () => {
    answered = true
  })
  t.equal(feed.opened, false)
  await within(nothing, 'the empty range')
  t.equal(feed.opened, true, 'answered when open')
  t.equal(await settled(Promise.resolve(answered)), true)
  t.equal(answered, true)
  await Promise.all([feed.close(), source.close()])
})

test('downloads: completed by put and append', async (t) => {
  const { source, replica, close } = await pair()
  const range = replica.download({ start: 1, end: 4 })
  const blocks = replica.download([5, 0])
  const hashes = replica.download({ start: 4, end: 5, hash: true })
  t.equal(await settled(range), false)
  await copyBlocks(source, replica, 3)
  await within(range, 'the range')
  await copyBlocks(source, replica, 5)
  t.equal(await settled(blocks), false, 'one of the blocks is missing')
  await copyBlocks(source, replica, 0)
  await within(blocks, 'the blocks')
  await replica.put(4, null, await source.proof(4, { hash: true }))
  await within(hashes, 'the hashes')
  t.equal(replica.has(4), false, 'without the block')
  const grown = source.download({ start: 6, end: 8 })
  await source.append('x' as never)
  t.equal(await settled(grown), false)
  await source.append('y' as never)
  await within(grown, 'blocks that are appended')
  await close()
})

test('downloads: a block that is cleared while others are awaited', async (t) => {
  const { source, replica, close } = await pair()
  const range = replica.download({ start: 1, end: 4 })
  await settled(range)
  await replica.clear(1)
  await copyBlocks(source, replica, 3)
  t.equal(await settled(range), false, 'is missing again')
  await copyBlocks(source, replica, 1)
  await within(range, 'the range')
  await close()
})

test('downloads: a selection can be awaited often, and by callback', async (t) => {
  const { source, replica, close } = await pair()
  const told: unknown[] = []
  const selection = replica.download(3, (error) => told.push(error))
  const early = selection.then(() => 'early')
  await copyBlocks(source, replica, 3)
  t.equal(await within(early, 'early'), 'early')
  t.equal(
    await within(
      selection.then(() => 'late'),
      'late'
    ),
    'late'
  )
  await settled(selection)
  t.deepEqual(told, [null], 'the callback once')
  await close()
})

test('downloads: undownload', async (t) => {
  const { replica, close } = await pair()
  const told: unknown[] = []
  const selection = replica.download({ start: 3, end: 6 }, (error) =>
    told.push((error as { code?: unknown }).code)
  )
  const failed = failure(selection)
  replica.undownload(selection)
  t.deepEqual(told, [], 'the callback is asynchronous')
  const error = await failed
  t.equal(error.message, 'Download was cancelled')
  t.deepEqual([error.code, error.errno], ['ECANCELED', -11])
  replica.undownload(selection)
  await settled(selection)
  t.deepEqual(told, ['ECANCELED'], 'once')
  await close()
})

test('downloads: undownload by value, as callers do', async (t) => {
  const { replica, close } = await pair()
  const ranges: [asked: DownloadRange | number | number[] | null, by: DownloadRange | number][] = [
    [
      { start: 3, end: 6 },
      { start: 3, end: 6 }
    ],
    [
      { start: 3, end: 6, linear: true },
      { start: 3, end: 6, linear: true }
    ],
    [
      { start: 3, end: 6, hash: true },
      { start: 3, end: 6, hash: true }
    ],
    [4, 4],
    [4, { start: 4, end: 5 }],
    [[3, 5], { blocks: [3, 5] }],
    [[3, 5], { start: 3, end: 6 }],
    [null, {}],
    [{ start: 3 }, { start: 3, end: -1 }]
  ]
  for (const [asked, by] of ranges) {
    const error = failure(replica.download(asked))
    replica.undownload(by)
    t.equal((await error).code, 'ECANCELED', `${JSON.stringify(asked)} by ${JSON.stringify(by)}`)
  }
  const selection = replica.download({ start: 3, end: 6, linear: true })
  const copy = { ...selection, extra: true }
  const error = failure(selection)
  replica.undownload(copy)
  t.equal((await error).code, 'ECANCELED', 'by a spread copy')
  await close()
})

test('downloads: undownload takes the first equal one only', async (t) => {
  const { replica, close } = await pair()
  const other = replica.download({ start: 3, end: 6, linear: true })
  const [one, two] = [replica.download({ start: 3, end: 6 }), replica.download({ start: 3, end: 6 })]
  const failed = failure(one)
  replica.undownload({ start: 3, end: 6 })
  t.equal((await failed).code, 'ECANCELED')
  t.equal(await settled(two), false, 'the second goes on')
  t.equal(await settled(other), false, 'and so does what differs')
  replica.undownload(one)
  t.equal(await settled(two), false, 'a selection that has ended stands for no other one')
  await close()
})

test('downloads: undownload of what is unknown is harmless', async (t) => {
  const { replica, close } = await pair()
  const selection = replica.download({ start: 3, end: 6 })
  for (const unknown of [null, undefined, 5, {}, { start: 3, end: 7 }, { start: 3, end: 6, hash: true }]) {
    replica.undownload(unknown as never)
  }
  t.equal(await settled(selection), false)
  await close()
})

test('downloads: closing', async (t) => {
  const { source, replica } = await pair()
  const waiting = failure(replica.download(5))
  await replica.close()
  t.equal((await waiting).code, 'ERR_FEED_CLOSED')
  t.equal((await failure(replica.download(1))).code, 'ERR_FEED_CLOSED', 'afterwards')
  const told: unknown[] = []
  replica.download(1, (error) => told.push(error?.message))
  t.deepEqual(told, ['Feed is closed'], 'the callback is told at once')
  await settled(Promise.resolve())
  t.equal(told.length, 1, 'once')
  await source.close()
})

test('downloads: ranges that are none', async (t) => {
  const { replica, close } = await pair()
  for (const range of [
    -1,
    0.5,
    Number.NaN,
    { start: -1 },
    { end: -2 },
    { start: 5, end: 3 },
    [1, -1],
    'all'
  ]) {
    t.match(
      String(thrown(() => replica.download(range as never))),
      /^ERR_(OUT_OF_RANGE|INVALID_ARG_TYPE)$/,
      JSON.stringify(range)
    )
  }
  await close()
})
