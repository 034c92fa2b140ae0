/** The option `timeout`: what it ends, and how long it can be. */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { within } from '../helpers/watchdog.ts'
import { feedOf, refusal, replicaOf, settled, texts } from './feeds.ts'

test('time limits: a storage that does not answer', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append(['a', 'b', 'c'])
  await feed.close()
  const held = new HeldStorage(storage.files)
  const reader = ddatabase<unknown>(held.create)
  await reader.ready()
  const first = held.hold((file, operation) => operation === 'read' && (file === 'data' || file === 'tree'))
  const calls = {
    get: reader.get(0, { timeout: 20 }),
    getBatch: reader.getBatch(0, 3, { timeout: 20 }),
    head: reader.head({ timeout: 20 })
  }
  await within(first, 'the read')
  for (const [name, call] of Object.entries(calls)) t.equal(await refusal(call), 'ETIMEDOUT: ETIMEDOUT', name)
  held.release()
  t.deepEqual(texts([await within(reader.get(0), 'get')]), ['a'], 'the feed goes on')
  await within(reader.close(), 'close')
})

test('time limits: a storage that does not open', async (t) => {
  const storage = new HeldStorage()
  const held = storage.hold((file, operation) => file === 'key' && operation === 'stat')
  const feed = ddatabase<unknown>(storage.create)
  await within(held, 'the first look')
  t.equal(await refusal(feed.get(0, { timeout: 20 })), 'ETIMEDOUT: ETIMEDOUT')
  storage.release()
  await feed.close()
})

test('time limits: what timed out while the feed was opening fetches nothing afterwards', async (t) => {
  const source = await feedOf(['a', 'b', 'c'])
  const storage = new HeldStorage()
  const held = storage.hold((file, operation) => file === 'key' && operation === 'stat')
  const replica = ddatabase<unknown>(storage.create, source.key, { sparse: true })
  await within(held, 'the first look')
  const calls = [
    replica.getBatch(0, 3, { timeout: 20 }),
    replica.getBatch(0, 3, { timeout: 20, ifAvailable: true }),
    replica.getBatch(0, 3, { timeout: 20, cancel: 'it' })
  ]
  for (const call of calls) t.equal(await refusal(call), 'ETIMEDOUT: ETIMEDOUT')
  storage.release()
  await replica.ready()
  await settled(Promise.resolve())
  const { _selections: selections, _waiters: waiters } = replica as unknown as {
    _selections: { length: number }
    _waiters: Iterable<object>
  }
  t.equal(selections.length, 0, 'no downloads')
  t.deepEqual([...waiters], [], 'no calls')
  await Promise.all([replica.close(), source.close()])
})

test('time limits: what no timer can do means none', async (t) => {
  const warnings: string[] = []
  const listen = (warning: Error) => warnings.push(warning.name)
  process.on('warning', listen)
  const source = await feedOf(['a'])
  const replica = await replicaOf(source)
  const calls: Promise<string>[] = []
  for (const timeout of [Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 31 - 1]) {
    calls.push(
      refusal(replica.get(0, { timeout })),
      refusal(replica.getBatch(0, 1, { timeout })),
      refusal(replica.update({ timeout })),
      refusal(replica.seek(5, { timeout }))
    )
  }
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await settled(Promise.race(calls)), false)
  await replica.close()
  t.deepEqual(new Set(await Promise.all(calls)), new Set(['ERR_FEED_CLOSED: Feed is closed']))
  await source.close()
  t.deepEqual(warnings, [])
  process.off('warning', listen)
})
