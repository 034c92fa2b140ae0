/** Opening, closing, destroying, and the users that hold a feed open (spec API §5). */

import { readdir } from 'node:fs/promises'
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { writeAll } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { failure, feedOf, memory, refusal, settled, texts } from './feeds.ts'

test('lifecycle: ready, often', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const order: string[] = []
  feed.on('ready', () => order.push('event'))
  await Promise.all([feed.ready(() => order.push('one')), feed.ready(() => order.push('two')), feed.open()])
  await feed.ready(() => order.push('three'))
  await settle()
  t.deepEqual(order, ['event', 'one', 'two', 'three'])
  await feed.close()
})

test('lifecycle: appends that were accepted before close are stored', async (t) => {
  for (const opened of [true, false]) {
    const files = new MemoryFiles()
    const feed = ddatabase<unknown>(memory(files))
    if (opened) await feed.ready()
    const appends = [feed.append('a'), feed.append(['b', 'c']), feed.append('d')]
    const flushed = feed.flush()
    const closed = feed.close()
    const late = refusal(feed.append('too late'))
    t.deepEqual(await Promise.all(appends), [0, 1, 3], `opened: ${opened}`)
    await flushed
    await closed
    t.equal(await late, 'ERR_FEED_CLOSED: Feed is closed')
    const again = ddatabase<unknown>(memory(files))
    await again.ready()
    t.deepEqual(texts((await again.getBatch(0, again.length)) as Uint8Array[]), ['a', 'b', 'c', 'd'])
    await again.close()
  }
})

test('lifecycle: a write stream that was ended before close', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>([], {}, files)
  const written = writeAll(feed.createWriteStream(), ['a'])
  await feed.flush()
  await written
  await feed.close()
  const again = await feedOf<unknown>([], {}, files)
  t.equal(again.length, 1)
  await again.close()
})

test('lifecycle: flush answers after the appends before it', async (t) => {
  const feed = await feedOf<unknown>([])
  const order: string[] = []
  await Promise.all([
    feed.append('a').then(() => order.push('append')),
    feed.flush().then((length) => order.push(`flush ${length}`)),
    feed.append('b').then(() => order.push('append'))
  ])
  t.deepEqual(order.slice(0, 2), ['append', 'flush 1'])
  t.equal(await feed.flush(), 2, 'the index of what would come next')
  t.equal(await feed.append([]), 2)
  await feed.close()
})

test('lifecycle: close often, and at the same time', async (t) => {
  const feed = await feedOf<unknown>(['a'])
  const seen: unknown[] = []
  feed.on('close', () => seen.push('event'))
  const first = feed.close((error) => seen.push(['one', error]))
  t.equal(feed.readable, false, 'at once')
  const second = feed.close((error) => seen.push(['two', error]))
  await Promise.all([first, second])
  await feed.close((error) => seen.push(['three', error]))
  await settle()
  t.deepEqual(seen, ['event', ['one', null], ['two', null], ['three', null]])
})

test('lifecycle: close while opening', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const events: string[] = []
  for (const name of ['ready', 'close', 'error'] as const) feed.on(name, () => events.push(name))
  const ready = feed.ready()
  const get = refusal(feed.get(0))
  const closed = feed.close()
  await within(ready, 'ready')
  await within(closed, 'close')
  t.deepEqual(events, ['ready', 'close'], 'waits for the opening')
  t.equal(await get, 'ERR_FEED_CLOSED: Feed is closed')
  t.deepEqual([feed.opened, feed.closed, feed.closing, feed.opening], [true, true, false, false])
  t.equal(await refusal(feed.ready()), 'ERR_RESOURCE_CLOSED: Resource is closed')
})

test('lifecycle: close a feed whose opening fails', async (t) => {
  const feed = ddatabase<unknown>(memory(), { createIfMissing: false })
  const failed = failure(feed.ready())
  await within(feed.close(), 'close')
  t.equal((await failed).code, 'ERR_NO_FEED')
  t.deepEqual([feed.opened, feed.closed], [false, true])
  await feed.close()
})

test('lifecycle: downloads of a feed whose opening fails', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files), { createIfMissing: false })
  const heard: unknown[] = []
  feed.on('error', (error) => heard.push(['event', (error as { code?: unknown }).code]))
  const called = new Promise((resolve) => feed.download(0, resolve))
  const awaited = feed.download({ start: 0, end: 3 })
  t.equal(((await within(called, 'the callback')) as { code?: unknown }).code, 'ERR_NO_FEED')
  t.equal(await refusal(awaited), 'ERR_NO_FEED: No ddatabase is stored here')
  t.deepEqual(heard, [['event', 'ERR_NO_FEED']])
  t.deepEqual(
    [...(feed as unknown as { _selections: Iterable<{ start: number; end: number }> })._selections].map(
      ({ start, end }) => [start, end]
    ),
    [[0, -1]],
    'the download of everything is for the next attempt'
  )
  await feed.close()
})

test('lifecycle: after close the storages are closed', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>(['a'], {}, files)
  const storages = (['key', 'secretKey', 'tree', 'data', 'bitfield', 'signatures'] as const).map(
    (name) => feed._storage[name] as unknown as { closed: boolean }
  )
  await feed.close()
  t.ok(storages.every(({ closed }) => closed))
})

test('lifecycle: what a storage that cannot tell its size is asked for and does not read before it is closed is not absent', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files))
  await feed.append(Array.from({ length: 40 }, (_, i) => `block ${i}`))
  await feed.close()
  for (const call of ['get', 'proof', 'signature', 'seek', 'rootHashes', 'progress', 'audit'] as const) {
    const { storage, late, release } = lateReads(files)
    const again = ddatabase<unknown>(storage)
    again.on('damage', (damage) => t.fail(`damage: ${JSON.stringify(damage)}`))
    await again.ready()
    const begun = late()
    const answer = refusal(
      call === 'progress'
        ? again.download({ start: 3, end: 20 }).progress()
        : (again[call] as (index: number) => Promise<unknown>)(call === 'audit' ? (undefined as never) : 7)
    )
    await within(begun, `a read for ${call}`)
    await again.close()
    release()
    t.equal(await within(answer, call), 'ERR_FEED_CLOSED: Feed is closed', call)
  }
})

test('lifecycle: destroyStorage', async (t) => {
  const folder = await temporaryFolder(t)
  for (const state of ['opening', 'open', 'closed'] as const) {
    const feed = ddatabase<unknown>(`${folder}/${state}`)
    if (state !== 'opening') await feed.append('a')
    if (state === 'closed') await feed.close()
    let closes = 0
    feed.on('close', () => closes++)
    await within(feed.destroyStorage(), 'destroyStorage')
    t.equal(closes, state === 'closed' ? 0 : 1, `${state}: close event`)
    t.deepEqual(await readdir(`${folder}/${state}`).catch(() => []), [], `${state}: the files are gone`)
    await within(feed.destroyStorage(), 'destroyStorage again')
    const fresh = ddatabase<unknown>(`${folder}/${state}`)
    await fresh.ready()
    t.equal(fresh.length, 0, `${state}: and another feed can be made`)
    await fresh.destroyStorage()
  }
})

test('lifecycle: destroyStorage of storages that cannot be destroyed', async (t) => {
  const feed = ddatabase<unknown>(new MemoryFiles().plainFactory() as never)
  await feed.append('a')
  await within(feed.destroyStorage(), 'destroyStorage')
  t.equal(feed.closed, true)
})

test('lifecycle: destroyStorage that fails says so', async (t) => {
  const plan = new FaultPlan()
  const feed = ddatabase<unknown>(new MemoryFiles().factory(plan) as never)
  await feed.append('a')
  plan.arm('before', 1, (_file, operation) => operation === 'unlink')
  t.equal((await failure(feed.destroyStorage())).code, 'ERR_STORAGE')
  plan.disarm()
  await within(feed.destroyStorage(), 'once more')
  t.equal(feed.closed, true)
})

test('lifecycle: destroyStorage of a feed that cannot be opened deletes, or says that it did not', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf<unknown>(['a'], {}, files)).close()
  const feed = ddatabase(memory(files), Buffer.alloc(32, 1))
  t.equal((await failure(feed.ready())).code, 'ERR_OTHER_FEED')
  const code = await within(
    feed.destroyStorage().then(
      () => null,
      (error) => error.code
    ),
    'destroyStorage'
  )
  const left = Object.keys(files.toHex()).length
  t.ok(code !== null || left === 0, `${code}, ${left} files left`)
  await feed.close()
})

test('lifecycle: close from within events and callbacks', async (t) => {
  const files = new MemoryFiles()
  const early = ddatabase<unknown>(memory(files))
  const closed = within(new Promise((resolve) => early.on('close', () => resolve(null))), 'close in ready')
  early.on('ready', () => early.close())
  const get = refusal(early.get(0))
  await closed
  t.equal(await get, 'ERR_FEED_CLOSED: Feed is closed', 'in ready')

  const feed = await feedOf<unknown>([], {}, files)
  feed.on('append', () => feed.close())
  t.equal(await within(feed.append(['a', 'b']), 'append'), 0, 'in append')
  await feed.close()
  const again = await feedOf<unknown>([], {}, files)
  t.equal(again.length, 2, 'which is stored')
  await within(new Promise((resolve) => again.get(0, () => again.close(resolve))), 'close in a callback')
  t.equal(again.closed, true)
})

test('lifecycle: users hold a feed open', async (t) => {
  const feed = await feedOf<unknown>(['a'])
  t.equal(feed.active(), true)
  t.equal(feed.active(), true)
  t.equal(feed.actives, 2)
  const closed = feed.close()
  t.equal(await settled(closed), false, 'close waits for them')
  const told: unknown[] = []
  t.equal(
    feed.active((error) => told.push((error as { code?: unknown }).code)),
    false,
    'no new ones'
  )
  t.deepEqual(told, [], 'the callback is asynchronous')
  feed.inactive()
  t.equal(await settled(closed), false)
  let passed: unknown[] = []
  const boom = new Error('boom')
  feed.inactive<number>((...args) => (passed = args), boom, 7)
  t.deepEqual(passed, [boom, 7], 'the last one passes an answer on')
  await within(closed, 'close')
  t.deepEqual(told, ['ERR_RESOURCE_CLOSED'])
  t.equal(feed.actives, 0)
})

test('lifecycle: close(true) lets users join while others hold the feed', async (t) => {
  const feed = await feedOf<unknown>(['a'])
  feed.active()
  const closed = feed.close(true)
  t.equal(feed.active(), true)
  feed.inactive()
  t.equal(await settled(closed), false)
  feed.inactive()
  await within(closed, 'close')
  t.equal(feed.active(), false, 'not after closing')
})

/** Storages without a size, whose reads can be begun later than they are asked for. */
function lateReads(files: MemoryFiles): { storage: never; late(): Promise<void>; release(): void } {
  const make = files.factory()
  let held: (() => void)[] | null = null
  let begun = (): void => {}
  const storage = (name: string) => {
    const raw = make(name)
    return {
      read: (...args: Parameters<typeof raw.read>) => {
        if (held === null) return raw.read(...args)
        held.push(() => raw.read(...args))
        begun()
      },
      write: raw.write.bind(raw),
      close: raw.close.bind(raw)
    }
  }
  return {
    storage: storage as never,
    late: () => {
      held = []
      return new Promise((resolve) => {
        begun = resolve
      })
    },
    release: () => {
      for (const read of held ?? []) read()
      held = null
    }
  }
}
