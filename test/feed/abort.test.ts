/** `signal` in the options of every call that waits: it ends the call at once and takes everything back. */
import { getEventListeners } from 'node:events'
import test, { type Test } from 'tape'
import ddatabase, { DDatabaseError, type Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { rejection, settle, within } from '../helpers/watchdog.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, settled, thrown } from './feeds.ts'
import { silentRemote } from './silent-remote.ts'

type Call = (feed: Feed, signal: AbortSignal) => PromiseLike<unknown>

/** Calls that wait on an empty replica, and the code they end with. */
const WAITING: Record<string, [call: Call, code: string]> = {
  get: [(feed, signal) => feed.get(3, { signal }), 'ERR_REQUEST_CANCELLED'],
  getBatch: [(feed, signal) => feed.getBatch(2, 5, { signal }), 'ERR_REQUEST_CANCELLED'],
  'getBatch with a timeout': [
    (feed, signal) => feed.getBatch(2, 5, { signal, timeout: 60_000 }),
    'ERR_REQUEST_CANCELLED'
  ],
  'head that updates': [(feed, signal) => feed.head({ update: true, signal }), 'ERR_REQUEST_CANCELLED'],
  update: [(feed, signal) => feed.update({ signal }), 'ERR_REQUEST_CANCELLED'],
  seek: [(feed, signal) => feed.seek(10, { signal }), 'ERR_REQUEST_CANCELLED'],
  'download of a range': [(feed, signal) => feed.download({ start: 1, end: 4, signal }), 'ECANCELED'],
  'download of blocks': [(feed, signal) => feed.download({ blocks: [1, 3], signal }), 'ECANCELED'],
  'download of everything': [(feed, signal) => feed.download({ signal }), 'ECANCELED']
}

/** All calls that take a signal. */
const CALLS: typeof WAITING = {
  ...WAITING,
  audit: [(feed, signal) => feed.audit({ signal }), 'ERR_REQUEST_CANCELLED']
}

/** Nothing of a call is left in the queues of a feed. */
function assertIdle(t: Test, feed: Feed, what: string): void {
  const { _waiters: waiters, _selections: selections } = feed as unknown as Record<
    '_waiters' | '_selections',
    Iterable<unknown>
  >
  t.deepEqual([[...waiters].length, [...selections].length], [0, 0], `${what}: nothing waits`)
}

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length
}

const KEY = Buffer.alloc(32, 7)
const replica = () => ddatabase(memory(), KEY, { sparse: true })

for (const [name, [call, code]] of Object.entries(WAITING)) {
  test(`abort: ${name} while it waits`, async (t) => {
    const feed = replica()
    await feed.ready()
    const remote = await silentRemote(feed as never, 8)
    const controller = new AbortController()
    const promise = failure(call(feed, controller.signal), name)
    await remote.heard()
    t.ok(remote.open.size > 0, 'something was asked for')
    t.equal(listeners(controller.signal), 1, 'one listener')
    const reason = new Error('enough')
    controller.abort(reason)
    const error = await promise
    t.ok(DDatabaseError.is(error), 'our error')
    t.deepEqual([error.name, error.code, error.cause], ['AbortError', code, reason])
    await remote.heard()
    t.equal(remote.open.size, 0, 'the requests were taken back')
    assertIdle(t, feed, name)
    t.equal(listeners(controller.signal), 0, 'no listener is left')
    await remote.leave()
    await feed.close()
  })
}

for (const [name, [call, code]] of Object.entries(CALLS)) {
  test(`abort: ${name} with a signal that is aborted already`, async (t) => {
    let asked = 0
    const feed = ddatabase(
      () => {
        asked++
        return new MemoryFiles().factory()('') as never
      },
      KEY,
      { sparse: true }
    )
    const before = asked
    const signal = AbortSignal.abort('early')
    const error = await failure(call(feed, signal), name)
    t.deepEqual([error.name, error.code, error.cause], ['AbortError', code, 'early'])
    t.equal(asked, before, 'the storage was not asked')
    t.equal(feed.opened, false, 'before the feed is open')
    assertIdle(t, feed, name)
    t.equal(listeners(signal), 0, 'no listener')
    await feed.close()
  })

  test(`abort: ${name} while the feed is opening`, async (t) => {
    let open: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const files = new MemoryFiles()
    const feed = ddatabase(slow(files, gate), KEY, { sparse: true })
    const controller = new AbortController()
    const promise = failure(call(feed, controller.signal), name)
    await settle()
    controller.abort()
    const error = await promise
    t.deepEqual([error.name, error.code], ['AbortError', code])
    t.equal((error.cause as Error).name, 'AbortError', 'the reason of abort()')
    t.equal(feed.opened, false, 'without waiting for the opening')
    assertIdle(t, feed, name)
    open()
    await feed.ready()
    await settle()
    assertIdle(t, feed, `${name}, opened`)
    t.equal(listeners(controller.signal), 0)
    await feed.close()
  })

  test(`abort: ${name} refuses what is no signal`, async (t) => {
    const feed = await feedOf(['a', 'b'], { sparse: true })
    for (const wrong of [5, 'signal', true, {}, { aborted: false }, new AbortController(), () => {}]) {
      const outcome = name.startsWith('download')
        ? thrown(() => call(feed, wrong as never))
        : (await rejection(call(feed, wrong as never), name)) &&
          (await failure(call(feed, wrong as never))).code
      t.equal(outcome, 'ERR_INVALID_ARG_TYPE', String(wrong))
    }
    assertIdle(t, feed, name)
    await feed.close()
  })
}

/** A storage that answers nothing before the gate is open. */
function slow(files: MemoryFiles, gate: Promise<void>): never {
  const make = files.factory() as unknown as (name: string) => Record<string, (...args: unknown[]) => void>
  return ((name: string) => {
    const file = make(name)
    return new Proxy(file, {
      get(target, property) {
        const value = Reflect.get(target, property)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => void gate.then(() => value.apply(target, args))
      }
    })
  }) as never
}

test('abort: calls that are answered leave no listener', async (t) => {
  const source = await feedOf([...'abcdef'])
  const feed = await replicaOf(source)
  await copyBlocks(source, feed, 0, 1, 2)
  const { signal } = new AbortController()
  await feed.get(1, { signal })
  await feed.getBatch(0, 3, { signal })
  await feed.head({ signal, wait: false }).catch(() => {})
  await feed.update({ minLength: 6, signal })
  await feed.seek(2, { signal })
  await feed.download({ start: 0, end: 3, signal })
  const { valid, invalid } = await feed.audit({ signal })
  t.deepEqual([valid, invalid], [3, 0])
  t.equal(listeners(signal), 0, 'at once')

  const waiting = [
    feed.get(3, { signal }),
    feed.getBatch(2, 5, { signal }),
    feed.download({ start: 3, end: 5, signal })
  ]
  await settle()
  t.equal(listeners(signal), 1, 'one for all that wait')
  await copyBlocks(source, feed, 3, 4)
  await Promise.all(waiting)
  await settle()
  t.equal(listeners(signal), 0, 'after waiting')

  const failed = failure(feed.get(5, { signal, timeout: 1 }))
  t.equal((await failed).code, 'ETIMEDOUT')
  const closed = failure(feed.get(5, { signal }))
  await Promise.all([feed.close(), source.close()])
  t.equal((await closed).code, 'ERR_FEED_CLOSED')
  await settle()
  t.equal(listeners(signal), 0, 'after a failure')
})

test('abort: one signal for thousands of gets', async (t) => {
  const warnings: Error[] = []
  const note = (warning: Error) => void warnings.push(warning)
  process.on('warning', note)
  const feed = replica()
  await feed.ready()
  const remote = await silentRemote(feed as never, 5000)
  const controller = new AbortController()
  const { signal } = controller
  const gets = Array.from({ length: 5000 }, (_, i) => failure(feed.get(i, { signal })))
  await remote.heard()
  t.equal(listeners(signal), 1, 'one listener')
  t.ok(remote.open.size > 0, 'some were asked for')
  controller.abort()
  const errors = await Promise.all(gets)
  t.ok(
    errors.every(({ code }) => code === 'ERR_REQUEST_CANCELLED'),
    'all end'
  )
  await remote.heard()
  t.equal(remote.open.size, 0, 'nothing is asked for any more')
  assertIdle(t, feed, 'afterwards')
  process.off('warning', note)
  t.deepEqual(warnings, [], 'no warning')
  await remote.leave()
  await feed.close()
})

test('abort: others who want the same go on', async (t) => {
  const feed = replica()
  await feed.ready()
  const remote = await silentRemote(feed as never, 8)
  const controller = new AbortController()
  const aborted = failure(feed.get(3, { signal: controller.signal }))
  const other = feed.get(3)
  const selection = feed.download({ start: 5, end: 7, signal: controller.signal })
  const same = feed.download({ start: 5, end: 7 })
  const undone = failure(selection)
  await remote.heard()
  controller.abort()
  t.equal((await aborted).code, 'ERR_REQUEST_CANCELLED')
  t.equal((await undone).code, 'ECANCELED')
  await remote.heard()
  t.deepEqual([...remote.open].sort(), [3, 5, 6], 'what they ask for is not taken back')
  t.equal(await settled(other), false)
  t.equal(await settled(same), false)
  const ends = [failure(other), failure(same)]
  await feed.close()
  for (const end of ends) t.equal((await end).code, 'ERR_FEED_CLOSED')
})

test('abort: with a callback', async (t) => {
  const feed = replica()
  const controller = new AbortController()
  const { signal } = controller
  const told: unknown[] = []
  const note = (error: Error | null) => void told.push((error as { code?: unknown } | null)?.code)
  t.equal(typeof feed.get(1, { signal }, note), 'symbol', 'get answers its id')
  feed.getBatch(0, 2, { signal }, note)
  feed.head({ update: true, signal }, note)
  feed.update({ signal }, note)
  feed.seek(9, { signal }, note)
  feed.download({ start: 1, end: 2, signal }, note)
  await feed.ready()
  await settle()
  t.deepEqual(told, [])
  controller.abort()
  t.deepEqual(told, [], 'asynchronously')
  await settle()
  t.deepEqual(told.sort(), ['ECANCELED', ...new Array(5).fill('ERR_REQUEST_CANCELLED')])
  feed.download({ signal }, note)
  await settle()
  t.equal(told.length, 7, 'also when it was aborted before')
  await feed.close()
})

test('abort: a block that is here already', async (t) => {
  const feed = await feedOf(['a'], {})
  const controller = new AbortController()
  t.equal(Buffer.from(await feed.get(0, { signal: controller.signal })).toString(), 'a')
  controller.abort()
  t.equal((await failure(feed.get(0, { signal: controller.signal }))).code, 'ERR_REQUEST_CANCELLED')
  t.equal(Buffer.from(await feed.get(0, { signal: null })).toString(), 'a', 'null is no signal')
  await feed.close()
})

test('abort: an audit changes nothing', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf([...'abcdef'], {}, files)
  const data = (feed as unknown as { _files: { data: { raw: { write(...args: unknown[]): void } } } })._files
    .data
  await new Promise((resolve) => data.raw.write(2, Buffer.from('X'), resolve))
  const controller = new AbortController()
  const audit = failure(feed.audit({ signal: controller.signal }))
  controller.abort()
  t.equal((await audit).code, 'ERR_REQUEST_CANCELLED')
  t.equal(feed.has(2), true, 'the block is not forgotten')
  const { valid, invalid } = await within(feed.audit({}), 'audit')
  t.deepEqual([valid, invalid], [5, 1])
  t.equal(feed.has(2), false)
  await feed.close()
})

test('abort: a signal that fails to be listened to', async (t) => {
  for (const [name, [call]] of Object.entries(CALLS)) {
    const feed = replica()
    await feed.ready()
    const { signal } = new AbortController()
    signal.addEventListener = () => {
      throw new Error('not to be listened to')
    }
    for (const time of ['once', 'again']) {
      const { message } = await failure(
        Promise.resolve().then(() => call(feed, signal)),
        name
      )
      t.equal(message, 'not to be listened to', `${name}, ${time}`)
    }
    await settle()
    assertIdle(t, feed, name)
    // What is left of a call would fail now, and nobody would hear of it: that ends the process.
    await feed.close()
    await settle()
  }
})

test('abort: a signal that fails to be left alone', async (t) => {
  for (const [name, [call, code]] of Object.entries(WAITING)) {
    const feed = replica()
    await feed.ready()
    const controller = new AbortController()
    controller.signal.removeEventListener = () => {
      throw new Error('not to be left alone')
    }
    const aborted = failure(call(feed, controller.signal), name)
    await settle()
    controller.abort()
    t.equal((await aborted).code, code, name)
    await settle()
    assertIdle(t, feed, name)
    await feed.close()
  }
  const feed = await feedOf(['a', 'b'])
  const { signal } = new AbortController()
  signal.removeEventListener = () => {
    throw new Error('not to be left alone')
  }
  t.equal(String(await feed.head({ signal })), 'b')
  const soon = feed.get(2, { signal })
  await feed.append('c')
  t.equal(String(await soon), 'c', 'a call that waited is answered')
  await settle()
  await feed.close()
})
