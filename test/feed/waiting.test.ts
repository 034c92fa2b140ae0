/** Calls that wait: get, head, update and their options, without peers (spec API §5). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'
import { copyBlocks, feedOf, memory, refusal, replicaOf, settled, texts } from './feeds.ts'

const NOT_DOWNLOADED = 'ERR_BLOCK_NOT_DOWNLOADED: Block not downloaded'
const NO_UPDATE = 'ERR_UPDATE_NOT_AVAILABLE: No update available from peers'
const UNEXPECTED = 'ERR_UNEXPECTED_LENGTH: Expected length is less than current length'

const remote = async () => {
  const source = await feedOf(['a', 'b', 'c'])
  const replica = await replicaOf(source)
  return { source, replica, close: () => Promise.all([source.close(), replica.close()]) }
}

test('waiting: get until the block is appended or put', async (t) => {
  const { source, replica, close } = await remote()
  const block = replica.get(1)
  const later = source.get(3)
  t.deepEqual([await settled(block), await settled(later)], [false, false])
  await copyBlocks(source, replica, 0)
  t.equal(await settled(block), false, 'another block')
  await copyBlocks(source, replica, 1)
  await source.append('d' as never)
  t.deepEqual(texts([await block, await later]), ['b', 'd'])
  await close()
})

test('waiting: get with wait: false', async (t) => {
  const { replica, close } = await remote()
  t.equal(await refusal(replica.get(1, { wait: false })), NOT_DOWNLOADED)
  const told: unknown[] = []
  const answer = replica.get(1, { wait: false }, (error) => told.push(error?.message))
  t.equal(answer, undefined, 'no id')
  t.deepEqual(told, [], 'the callback is asynchronous')
  await settled(Promise.resolve())
  t.deepEqual(told, ['Block not downloaded'])
  await close()
})

test('waiting: get with a timeout', async (t) => {
  const { source, replica, close } = await remote()
  t.equal(await refusal(replica.get(1, { timeout: 1 })), 'ETIMEDOUT: ETIMEDOUT')
  for (const timeout of [0, undefined, 60_000]) {
    const block = replica.get(1, { timeout })
    t.equal(await settled(block), false, `timeout: ${timeout}`)
    replica.cancel(1)
  }
  await copyBlocks(source, replica, 1)
  t.deepEqual(texts([await replica.get(1, { timeout: 1 })]), ['b'], 'a block that is here')
  await close()
})

test('waiting: onwait', async (t) => {
  const { source, replica, close } = await remote()
  const calls: unknown[] = []
  const options = Object.freeze({ onwait: (...args: unknown[]) => calls.push(args) })
  const block = replica.get(1, options)
  t.deepEqual(calls, [[1]], 'called at once')
  await settled(block)
  await copyBlocks(source, replica, 0)
  await copyBlocks(source, replica, 1)
  await block
  t.equal(calls.length, 1, 'and once')
  await replica.get(1, options)
  await refusal(replica.get(2, { ...options, wait: false }))
  t.equal(calls.length, 1, 'not without waiting')
  const early = ddatabase<unknown>(memory(), source.key)
  const waiting = early.get(2, options)
  await early.ready()
  t.equal(await settled(waiting), false)
  t.deepEqual(calls, [[1], [2]], 'nor before the feed is open')
  await early.close()
  await close()
})

test('waiting: closing ends it', async (t) => {
  const { source, replica } = await remote()
  const calls = [
    replica.get(1),
    replica.getBatch(0, 2),
    replica.update(),
    replica.seek(1),
    replica.head({ update: true })
  ]
  await settled(calls[0]!)
  const answers = Promise.all(calls.map((call) => refusal(call)))
  await replica.close()
  const [get, batch, update, seek, head] = await answers
  const closed = 'ERR_FEED_CLOSED: Feed is closed'
  t.deepEqual([get, batch, update, seek], new Array(4).fill(closed))
  t.match(String(head), /^ERR_FEED_(CLOSED|EMPTY)/, 'head does not tell why an update failed')
  await source.close()
})

test('waiting: update', async (t) => {
  const { source, replica, close } = await remote()
  await within(replica.update(0), 'a length of 0')
  const [next, two, ten] = [replica.update(), replica.update(2), replica.update({ minLength: 10 })]
  t.deepEqual([await settled(next), await settled(two), await settled(ten)], [false, false, false])
  await copyBlocks(source, replica, 0)
  await within(Promise.all([next, two]), 'updates that have come true')
  t.equal(await settled(ten), false)
  await within(replica.update(3), 'long enough already')
  const fourth = replica.update()
  t.equal(await settled(fourth), false, 'without a length: one more than now')
  const told = new Promise((resolve) => source.update((error) => resolve(error)))
  await source.append('d' as never)
  t.equal(await within(told, 'update(callback)'), null, 'an append is an update')
  await close()
})

test('waiting: update counts from the length when the feed is ready', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const first = feed.update()
  await feed.append('a')
  await within(first, 'update')
  t.equal(feed.length, 1)
  await feed.close()
})

test('waiting: nothing is left with a guard that is held of calls that are over', async (t) => {
  const { source, replica, close } = await remote()
  replica.ifAvailable.wait()
  const waits = replica.get(1, { ifAvailable: true })
  for (let i = 0; i < 20; i++) {
    const over = new AbortController()
    const get = refusal(replica.get(2, { ifAvailable: true, signal: over.signal }))
    const update = refusal(replica.update({ ifAvailable: true, signal: over.signal }))
    t.equal(await settled(get), false)
    over.abort()
    await Promise.all([get, update])
  }
  const left = (replica.ifAvailable as unknown as { queue: readonly unknown[] }).queue.length
  t.ok(left <= 1, `${left} of 40 calls`)
  t.equal(await settled(waits), false, 'one that is not over waits')
  await copyBlocks(source, replica, 1)
  t.deepEqual(texts([await waits]), ['b'])
  const none = refusal(replica.get(0, { ifAvailable: true }))
  t.equal(await settled(none), false)
  replica.ifAvailable.continue()
  t.equal(await none, 'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers')
  await close()
})

test('waiting: update with ifAvailable', async (t) => {
  const { source, replica, close } = await remote()
  t.equal(await refusal(replica.update({ ifAvailable: true })), NO_UPDATE)
  t.equal(await refusal(source.update({ ifAvailable: true })), NO_UPDATE, 'a writer, at once')
  t.equal(await refusal(source.update({ ifAvailable: true, force: true })), NO_UPDATE, 'a writer that asks')
  await within(source.update({ ifAvailable: true, minLength: 3 }), 'long enough already')
  const always = ddatabase(memory(), source.key, { ifAvailable: true })
  t.equal(await refusal(always.update()), NO_UPDATE, 'as the option of the feed')
  t.equal(await refusal(always.get(0)), 'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers')
  t.equal(await settled(always.update({ ifAvailable: false })), false, 'which calls can overrule')
  await always.close()
  await close()
})

test('waiting: functions in timeouts, replaced at run time, hold decisions back', async (t) => {
  const { replica, close } = await remote()
  const held: string[] = []
  const go: (() => void)[] = []
  for (const name of ['get', 'update'] as const) {
    replica.timeouts[name] = (callback) => {
      held.push(name)
      go.push(() => callback(null))
    }
  }
  const answers = [replica.get(1, { ifAvailable: true }), replica.update({ ifAvailable: true })]
  const refused = Promise.all(answers.map((answer) => refusal(answer)))
  t.deepEqual([await settled(answers[0]!), await settled(answers[1]!)], [false, false])
  t.deepEqual(held, ['get', 'update'])
  for (const release of go) release()
  t.deepEqual(await refused, ['ERR_BLOCK_NOT_AVAILABLE: Block not available from peers', NO_UPDATE])
  await close()
})

test('waiting: closing while a decision is held back', async (t) => {
  const { source, replica } = await remote()
  replica.ifAvailable.wait()
  const calls = [
    replica.get(1, { ifAvailable: true }),
    replica.update({ ifAvailable: true }),
    replica.seek(1, { ifAvailable: true })
  ]
  await settled(calls[0]!)
  const answers = Promise.all(calls.map((call) => refusal(call)))
  await replica.close()
  for (const answer of await answers) t.match(answer, /^ERR_FEED_CLOSED: (Feed is closed|Closed)$/)
  await source.close()
})

test('waiting: setExpectedLength', async (t) => {
  const { source, replica, close } = await remote()
  await copyBlocks(source, replica, 0)
  replica.ifAvailable.wait()
  const pending = replica.update({ ifAvailable: true })
  const patient = replica.update()
  t.equal(await settled(pending), false)
  replica.setExpectedLength(4)
  t.equal(await settled(pending), false, 'a longer feed is expected')
  const refused = refusal(pending)
  replica.setExpectedLength(3)
  t.equal(await refused, UNEXPECTED, 'of an update under way')
  t.equal(await refusal(replica.update({ ifAvailable: true })), UNEXPECTED, 'of a new one')
  t.equal(await settled(patient), false, 'not of those that may wait')
  replica.ifAvailable.continue()
  await settled(patient)
  t.equal(await refusal(replica.update({ ifAvailable: true })), NO_UPDATE, 'forgotten when the guard is free')
  await close()
})

test('waiting: setExpectedLength before opening', async (t) => {
  const { source, close } = await remote()
  const replica = ddatabase(memory(), source.key)
  replica.ifAvailable.wait()
  replica.setExpectedLength(0)
  t.equal(await refusal(replica.update({ ifAvailable: true })), UNEXPECTED)
  await replica.close()
  replica.setExpectedLength(0)
  t.pass('after closing it is ignored')
  await close()
})

test('waiting: eagerUpdate', async (t) => {
  const { source, close } = await remote()
  // Asking "can anybody help?" over and over would spin.
  const feed = ddatabase(memory(), source.key, { sparse: true, eagerUpdate: true, ifAvailable: true })
  const errors: unknown[] = []
  feed.on('update-error', (error) => errors.push(error))
  await feed.ready()
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  t.deepEqual(errors, [], 'nobody there is no error: it waits')
  const grown = within(new Promise<void>((resolve) => feed.once('append', () => resolve())), 'append')
  const up = source.replicate(true)
  up.pipe(feed.replicate(false)).pipe(up)
  await grown
  t.equal(feed.length, 3, 'and learns the length of whoever comes')
  await feed.close()
  t.deepEqual(errors, [], 'and ends with the feed')
  await close()
})

test('waiting: head', async (t) => {
  const { source, replica, close } = await remote()
  t.equal(await refusal(replica.head()), 'ERR_FEED_EMPTY: feed is empty')
  t.equal(
    await refusal(replica.head({ update: true, ifAvailable: true })),
    'ERR_FEED_EMPTY: feed is empty',
    'a failed update is hidden'
  )
  t.deepEqual(texts([await source.head()]), ['c'])
  t.deepEqual(
    texts([await source.head({ update: true, ifAvailable: true })]),
    ['c'],
    'or answered with the old head'
  )
  const told = await within(
    new Promise((resolve) => source.head((...args) => resolve(String(args[1])))),
    'head(callback)'
  )
  t.equal(told, 'c')
  await copyBlocks(source, replica, 0)
  t.equal(await refusal(replica.head({ wait: false })), NOT_DOWNLOADED)
  t.equal(
    await refusal(replica.head({ ifAvailable: true })),
    'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers'
  )
  const updated = source.head({ update: true })
  await source.append('d' as never)
  t.deepEqual(texts([await updated]), ['d'], 'update: true waits for a longer feed')
  await close()
})

test('waiting: what an author has cleared is not waited for, alone or among others', async (t) => {
  const { source, close } = await remote()
  await source.clear(1)
  const unavailable = 'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers'
  t.equal(await refusal(source.get(1)), unavailable)
  t.equal(await refusal(source.getBatch(0, 3)), unavailable)
  t.equal(await refusal(source.getBatch(0, 3, { wait: false })), NOT_DOWNLOADED)
  t.deepEqual(texts(await source.getBatch(2, 3)), ['c'])
  const longer = source.getBatch(2, 4)
  const later = source.getBatch(5, 6)
  t.equal(await settled(longer), false, 'what may be appended is')
  await source.append(['d', 'e', 'f'] as never)
  t.deepEqual(texts(await longer), ['c', 'd'])
  t.deepEqual(texts(await later), ['f'])
  source.setDownloading(true)
  t.equal(await settled(source.getBatch(0, 3)), false, 'nor given up by one that downloads')
  await close()
})

test('waiting: getBatch with ifAvailable, a token and onwait', async (t) => {
  const { source, replica, close } = await remote()
  await copyBlocks(source, replica, 1)
  const unavailable = 'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers'
  t.equal(await refusal(replica.getBatch(0, 3, { ifAvailable: true })), unavailable)
  t.deepEqual(texts(await replica.getBatch(1, 2, { ifAvailable: true })), ['b'], 'what is here')

  const told: number[] = []
  const options = { cancel: 'mine', onwait: (index: number) => told.push(index) }
  const batch = replica.getBatch(1, 3, options)
  t.equal(await settled(batch), false)
  t.deepEqual(told, [2], 'the first block that is missing')
  replica.cancel('mine')
  t.equal(await refusal(batch), 'ERR_REQUEST_CANCELLED: Request cancelled')

  const all = replica.getBatch(0, 3, options)
  t.equal(await settled(all), false)
  await copyBlocks(source, replica, 2)
  t.equal(await settled(all), false, 'one is missing')
  await copyBlocks(source, replica, 0)
  t.deepEqual(texts(await all), ['a', 'b', 'c'])
  t.deepEqual(told, [2, 0], 'once for each call')
  await close()
})

test('waiting: an author is told of blocks that it has not any more', async (t) => {
  const { source, replica, close } = await remote()
  await copyBlocks(source, replica, 0, 1, 2)
  await source.clear(1)
  t.equal(await refusal(source.get(1)), 'ERR_BLOCK_NOT_AVAILABLE: Block not available from peers')
  source.setDownloading(true)
  const block = source.get(1)
  t.equal(await settled(block), false, 'who downloads waits for peers')
  const there = replica.replicate(true, { live: true })
  const here = source.replicate(false, { live: true })
  here.pipe(there).pipe(here)
  t.deepEqual(texts([await within(block, 'get')]), ['b'])
  here.destroy()
  there.destroy()
  await close()
})
