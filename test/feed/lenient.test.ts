/** Small courtesies to callers: null for "nothing", callbacks without surplus arguments, what an opening tells. */
import test from 'tape'
import hypercore from '../../src/hypercore.ts'
import ddatabase, { Feed } from '../../src/index.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { settle, within } from '../helpers/watchdog.ts'
import {
  copyBlocks,
  failure,
  feedOf,
  memory,
  method,
  refusal,
  replicaOf,
  settled,
  texts,
  thrown
} from './feeds.ts'

test('lenient: null means nothing was said', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b', 'c'])
  const call = (name: string, ...args: unknown[]) => method(feed, name)(...args)
  const read: string[] = []
  for await (const block of feed.createReadStream({ start: null, end: null } as never))
    read.push(...texts([block]))
  t.deepEqual(read, ['a', 'b', 'c'])
  for (const name of ['createReadStream', 'createWriteStream'])
    (call(name, null) as { destroy(): void }).destroy()
  t.deepEqual([call('has', 1, null), call('has', 5, null)], [true, false])
  call('cancel', 0, null)
  t.equal(((await call('signature', null)) as { index: number }).index, 2)
  t.equal(((await call('seek', 1, { start: null, end: null })) as { index: number }).index, 1)
  await call('proof', 1, { digest: null, hash: null, tree: null })
  t.equal(
    await refusal(call('update', { minLength: null, timeout: 5 }) as Promise<void>),
    'ETIMEDOUT: ETIMEDOUT'
  )
  await call('clear', 1, null, { byteOffset: null, byteLength: null, delete: null })
  t.equal(feed.has(1), false)
  await feed.close()
})

test('lenient: callbacks of calls without an answer get no surplus argument', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b'])
  for (const [name, ...args] of [['ready'], ['clear', 0], ['close']] as const) {
    const got = await within(
      new Promise((resolve) => method(feed, name)(...args, (...values: unknown[]) => resolve(values))),
      name
    )
    t.deepEqual(got, [null], name)
  }
})

test('lenient: a proof whose nodes are frozen', async (t) => {
  const source = await feedOf(['a', 'b', 'c'])
  const replica = await replicaOf(source)
  const proof = await source.proof(1)
  Object.freeze(proof.nodes)
  await replica.put(1, 'b', proof)
  t.equal(replica.has(1), true)
  const other = await source.proof(2)
  await replica.put(2, 'c', other)
  t.equal(other.nodes.length, 0, 'others are used up')
  await Promise.all([source.close(), replica.close()])
})

test('lenient: wrong keys', (t) => {
  t.equal(
    thrown(() => ddatabase.discoveryKey(Buffer.alloc(31))),
    'ERR_INVALID_ARG_VALUE'
  )
  t.equal(
    thrown(() => Feed.discoveryKey('key' as never)),
    'ERR_INVALID_ARG_TYPE'
  )
  t.end()
})

test('lenient: leaves beyond a truncated end', async (t) => {
  const feed = hypercore<unknown>(memory())
  await feed.append(['a', 'b', 'c'])
  await feed.truncate(1)
  const info = method(feed, 'getBlockInfo')
  t.equal((await failure(info(2) as Promise<unknown>)).code, 'ERR_NODE_NOT_FOUND')
  t.equal(((await info(0)) as { size: number }).size, 1)
  await feed.close()
})

test('lenient: a failed opening is told also with eagerUpdate and setExpectedLength', async (t) => {
  const source = await feedOf<unknown>(['a'])
  const files = new MemoryFiles()
  const plan = new FaultPlan()
  plan.arm('before', 1)
  const feed = ddatabase<unknown>(files.factory(plan) as never, source.key, {
    sparse: true,
    eagerUpdate: true
  })
  const told: unknown[] = []
  feed.on('error', (error) => told.push((error as { code?: unknown }).code))
  feed.setExpectedLength(3)
  await settle()
  t.deepEqual(told, ['ERR_STORAGE'])
  plan.disarm()
  await feed.ready()
  const waiting = () => [...(feed as unknown as { _waiters: Iterable<unknown> })._waiters].length
  await settle()
  t.equal(waiting(), 1, 'after the next attempt it follows the length')
  await copyBlocks(source as never, feed as never, 0)
  await settle()
  t.equal(waiting(), 1, 'and goes on')
  await Promise.all([source.close(), feed.close()])
})

test('lenient: who keeps small blocks of a run keeps no others', async (t) => {
  const feed = await feedOf<Uint8Array>(Array.from({ length: 640 }, (_, i) => Buffer.alloc(1000, i)))
  const kept: Uint8Array[] = []
  let index = 0
  for await (const block of feed.createReadStream()) if (index++ % 64 === 0) kept.push(block as Uint8Array)
  kept.push((await feed.getBatch(0, 640))[320] as Uint8Array)
  const memoryOf = new Set(kept.map(({ buffer }) => buffer))
  const held = [...memoryOf].reduce((sum, { byteLength }) => sum + byteLength, 0)
  t.ok(held <= kept.length * 8192, `${kept.length} blocks of 1000 bytes hold ${held}`)
  await feed.close()
})

test('lenient: an audit that the closing of the feed overtakes finds no damage', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append(Array.from({ length: 50 }, (_, i) => `block ${i}`))
  const held = storage.hold((file, operation) => file === 'data' && operation === 'read')
  const audit = refusal(feed.audit())
  await within(held, 'the read')
  const closed = feed.close()
  await settled(closed)
  // From now on the storage refuses, as a closed one does.
  feed._storage.data!.read = (_offset, _size, callback) => callback(new Error('Closed'))
  storage.release()
  t.equal(await within(audit, 'audit'), 'ERR_FEED_CLOSED: Feed is closed')
  await within(closed, 'close')
  const again = ddatabase<unknown>(new HeldStorage(storage.files).create)
  await again.ready()
  t.equal(again.downloaded(), 50)
  await again.close()
})
