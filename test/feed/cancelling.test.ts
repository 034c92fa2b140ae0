/** `cancel`: of one call by its id, and of ranges (spec API §5). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { failure, feedOf, memory, refusal, settled } from './feeds.ts'

const CANCELLED = 'ERR_REQUEST_CANCELLED: Request cancelled'

const empty = () => feedOf<unknown>([])

/** A `get` with a callback: its id, and what the callback was told. */
function asked(feed: Awaited<ReturnType<typeof empty>>, index: number, options: object = {}) {
  const told: unknown[] = []
  const id = feed.get(index, options, (error, value) =>
    told.push(error ? (error as { code?: unknown }).code : value)
  )
  return { id, told }
}

test('cancelling: a get by the id it returned', async (t) => {
  const feed = await empty()
  const [one, two] = [asked(feed, 5), asked(feed, 5)]
  t.equal(typeof one.id, 'symbol')
  t.notEqual(one.id, two.id, 'each has its own')
  feed.cancel(one.id)
  t.deepEqual(one.told, [], 'the callback is asynchronous')
  await settled(Promise.resolve())
  t.deepEqual([one.told, two.told], [['ERR_REQUEST_CANCELLED'], []], 'only this one')
  feed.cancel(one.id)
  await feed.close()
  await settled(Promise.resolve())
  t.deepEqual([one.told, two.told], [['ERR_REQUEST_CANCELLED'], ['ERR_FEED_CLOSED']], 'once')
})

test('cancelling: a get by an id of the caller', async (t) => {
  const feed = await empty()
  const cancel = Symbol('mine')
  const options = Object.freeze({ cancel })
  const { id, told } = asked(feed, 5, options)
  t.equal(id, cancel, 'which get returns')
  const promised = refusal(feed.get(6, options))
  feed.cancel(cancel)
  t.equal(await promised, CANCELLED, 'also of a call for its promise')
  await settled(Promise.resolve())
  t.deepEqual(told, ['ERR_REQUEST_CANCELLED'], 'all calls with this id')
  await feed.close()
})

test('cancelling: a get before the feed is open', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const { id, told } = asked(feed, 5)
  feed.cancel(id)
  await feed.ready()
  await settled(Promise.resolve())
  t.deepEqual(told, ['ERR_REQUEST_CANCELLED'])
  await feed.close()
})

test('cancelling: a get that is answered already', async (t) => {
  const feed = await feedOf<unknown>(['a'], { valueEncoding: 'utf-8' })
  const { id, told } = asked(feed, 0)
  feed.cancel(id)
  await settled(Promise.resolve())
  t.deepEqual(told, ['a'])
  await feed.close()
})

test('cancelling: nothing in particular cancels nothing', async (t) => {
  const feed = await empty()
  const waiting = [feed.get(5), feed.update(9), feed.seek(100)]
  t.equal(
    feed.get(7, { wait: false }, () => {}),
    undefined,
    'a get that cannot wait has no id'
  )
  for (const id of [undefined, null, Symbol('unknown')]) feed.cancel(id)
  for (const call of waiting) t.equal(await settled(call), false)
  const closed = Promise.all(waiting.map((call) => refusal(call)))
  await feed.close()
  t.deepEqual(await closed, new Array(3).fill('ERR_FEED_CLOSED: Feed is closed'))
})

test('cancelling: a range', async (t) => {
  const feed = await empty()
  const gets = [3, 4, 5, 6].map((index) => feed.get(index))
  const selections = [
    feed.download(4),
    feed.download({ start: 3, end: 6 }),
    feed.download({ start: 4, end: 6 })
  ]
  const seeks = [feed.seek(10, { start: 4, end: 6 }), feed.seek(10, { start: 4, end: 9 }), feed.seek(10)]
  const cancelled = Promise.all([gets[1]!, gets[2]!, seeks[0]!].map((call) => refusal(call)))
  const undone = Promise.all([failure(selections[0]!), failure(selections[2]!)])
  feed.cancel(4, 6)
  t.deepEqual(await cancelled, new Array(3).fill(CANCELLED), 'gets and seeks inside of it')
  t.deepEqual(
    (await undone).map(({ code }) => code),
    ['ECANCELED', 'ECANCELED'],
    'downloads inside of it'
  )
  for (const call of [gets[0]!, gets[3]!, selections[1]!, seeks[1]!, seeks[2]!]) {
    t.equal(await settled(call), false, 'the others go on')
  }
  const last = refusal(gets[0]!)
  feed.cancel(3)
  t.equal(await last, CANCELLED, 'without an end it is one block')
  t.equal(await settled(gets[3]!), false)
  await feed.close()
})

test('cancelling: a range before the feed is open', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const download = failure(feed.download({ start: 2, end: 4 }))
  const get = refusal(feed.get(2))
  feed.cancel(2, 4)
  t.equal((await download).code, 'ECANCELED')
  t.equal(await get, CANCELLED)
  await feed.close()
})

test('cancelling: a getBatch by its range', async (t) => {
  const feed = await empty()
  const batch = failure(feed.getBatch(2, 5))
  await settled(Promise.resolve())
  feed.cancel(2, 5)
  t.equal((await batch).code, 'ECANCELED')
  await feed.close()
})

test('cancelling: a getBatch with a timeout does not take another download with it', async (t) => {
  const feed = await empty()
  const batch = failure(feed.getBatch(2, 5, { timeout: 60_000 }))
  await settled(Promise.resolve())
  const own = feed.download({ start: 2, end: 5 })
  feed.undownload({ start: 2, end: 5 })
  t.equal((await batch).code, 'ECANCELED', 'the first one with this range')
  t.equal(await settled(own), false, 'and only that')
  await feed.close()
})
