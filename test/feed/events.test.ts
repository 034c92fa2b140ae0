/** The local events: which, with what, how often, and in what order (spec API §4). */
import test from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf } from './feeds.ts'

const EVENTS = [
  'ready',
  'error',
  'close',
  'append',
  'download',
  'upload',
  'sync',
  'clear',
  'remote-update'
] as const

/** What a feed emits from now on, in words. */
function record(feed: Feed<unknown>): string[] {
  const seen: string[] = []
  for (const event of EVENTS) {
    feed.on(event, (...args: unknown[]) => {
      const words = args.map((arg) => (arg instanceof Uint8Array ? `'${Buffer.from(arg)}'` : String(arg)))
      seen.push([event, ...words].join(' '))
    })
  }
  return seen
}

test('events: of a writer, in order', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const seen = record(feed)
  const note = (word: string) => () => void seen.push(word)
  await feed.ready(note('ready callback'))
  await feed.append(['a', 'b'], note('append callback'))
  await feed.append('c')
  await feed.clear(0, 2, note('clear callback'))
  await feed.clear(0, 2)
  await feed.close(note('close callback'))
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(seen, [
    'ready',
    'ready callback',
    'append',
    'append callback',
    'append',
    'clear 0 2',
    'clear callback',
    'close',
    'close callback'
  ])
})

test('events: what is already there when they come', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const at: unknown[] = []
  feed.on('ready', () => at.push(['ready', feed.opened, feed.writable, feed.key !== null]))
  feed.on('append', () => at.push(['append', feed.length, feed.byteLength, feed.has(feed.length - 1)]))
  feed.on('clear', () => at.push(['clear', feed.has(0)]))
  feed.on('close', () => at.push(['close', feed.closed, feed.writable, feed.readable]))
  await feed.append(['a', 'bc'])
  await feed.clear(0)
  await feed.close()
  t.deepEqual(at, [
    ['ready', true, true, true],
    ['append', 2, 3, true],
    ['clear', false],
    ['close', true, false, false]
  ])
})

test('events: appends that are merged into one batch are one event', async (t) => {
  const feed = await feedOf<unknown>([])
  const seen = record(feed)
  await Promise.all([feed.append('a'), feed.append('b'), feed.append(['c', 'd'])])
  t.equal(feed.length, 4)
  t.ok(seen.length >= 1 && seen.length <= 2 && seen.every((event) => event === 'append'), `${seen}`)
  await feed.close()
})

test('events: flush and empty appends are none', async (t) => {
  const feed = await feedOf<unknown>(['a'])
  const seen = record(feed)
  await feed.flush()
  await feed.append([])
  t.deepEqual(seen, [])
  await feed.close()
  t.deepEqual(seen, ['close'])
})

test('events: of a replica', async (t) => {
  const source = await feedOf(['a', 'b', 'c'])
  const replica = await replicaOf(source)
  const seen = record(replica)
  await copyBlocks(source, replica, 1)
  t.deepEqual(seen.splice(0), ['append', "download 1 'b' null"], 'the first block brings the length')
  await copyBlocks(source, replica, 1)
  t.deepEqual(seen.splice(0), [], 'a block that is here already')
  await replica.put(0, null, await source.proof(0, { hash: true }))
  t.deepEqual(seen.splice(0), [], 'a hash')
  await copyBlocks(source, replica, 2)
  t.deepEqual(seen.splice(0), ["download 2 'c' null"])
  await copyBlocks(source, replica, 0)
  t.deepEqual(seen.splice(0), ["download 0 'a' null", 'sync'], 'the last one that was missing')
  await replica.clear(1)
  t.deepEqual(seen.splice(0), ['clear 1 2'])
  await copyBlocks(source, replica, 1)
  t.deepEqual(seen.splice(0), ["download 1 'b' null", 'sync'], 'again, after a clear')
  await source.append('d' as never)
  await copyBlocks(source, replica, 3)
  t.deepEqual(seen.splice(0), ['append', "download 3 'd' null", 'sync'], 'after the feed has grown')
  await source.close()
  await replica.close()
})

test('events: put into a writer does not emit sync', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b'])
  const proof = await feed.proof(0)
  await feed.clear(0)
  const seen = record(feed)
  await feed.put(0, 'a', proof)
  t.deepEqual(seen, ["download 0 'a' null"])
  await feed.close()
})

test('events: clear tells the range that was asked for, and only if something was there', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b', 'c'])
  const seen = record(feed)
  await feed.clear(1)
  await feed.clear(1)
  await feed.clear(1, 1)
  await feed.clear(0, 3, { delete: false })
  t.deepEqual(seen, ['clear 1 2', 'clear 0 3'])
  await feed.close()
})

test('events: error, only for a failed opening', async (t) => {
  const feed = ddatabase<unknown>(memory(), { createIfMissing: false })
  const seen = record(feed)
  await failure(feed.ready())
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(seen, ['error DDatabaseError: No ddatabase is stored here'], 'to a listener')
  await feed.close()
  t.equal(seen.length, 1, 'no close event for a feed that was never open')

  const replica = ddatabase<unknown>(memory(), Buffer.alloc(32, 1))
  const none = record(replica)
  await failure(replica.append('x'))
  await failure(replica.get(0, { wait: false }))
  await failure(replica.signature(0))
  t.deepEqual(none, ['ready'], 'other failures are for their callers')
  await replica.close()
})

test('events: a listener that throws does not change the outcome', async (t) => {
  const feed = await feedOf<unknown>([], {}, new MemoryFiles())
  const uncaught: string[] = []
  const handlers = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => uncaught.push(error.message))
  try {
    feed.once('append', () => {
      throw new Error('of a listener')
    })
    t.equal(await feed.append('a'), 0)
    t.equal(await feed.append('b'), 1)
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const handler of handlers) process.on('uncaughtException', handler)
  }
  t.deepEqual(uncaught, ['of a listener'])
  await feed.close()
})
