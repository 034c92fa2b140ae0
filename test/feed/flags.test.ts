/** Flags that are not booleans: what counts as true does so by truthiness, as in the published packages. */
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import hypercore from '../../src/hypercore.ts'
import ddatabase, { type Feed, type FeedOptions } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { within } from '../helpers/watchdog.ts'
import { failure, feedOf, memory, method, refusal, replicaOf, settled } from './feeds.ts'

const PAIR = keyPair(Buffer.alloc(32, 8))
// What programs without types pass: from a command line, from a count, from a configuration.
const YES = [true, 1, 'yes', {}] as unknown as true[]
const NO = [false, 0, '', null, undefined] as unknown as undefined[]

const open = async (options: FeedOptions<unknown>, files = new MemoryFiles()): Promise<Feed<unknown>> => {
  const feed = ddatabase<unknown>(memory(files), PAIR.publicKey, options)
  await within(feed.ready(), 'ready')
  return feed
}

test('flags: sparse, allowPush, writable and indexing', async (t) => {
  for (const [flags, expected] of [
    [YES, true],
    [NO, false]
  ] as const) {
    for (const flag of flags) {
      const feed = await open({ sparse: flag, allowPush: flag })
      t.deepEqual([feed.sparse, feed.allowPush], [expected, expected], `${String(flag)}`)
      await feed.close()
      const replica = ddatabase(memory(), PAIR.publicKey, { writable: flag })
      t.equal(replica.writable, expected, 'before it is known')
      const refused = await within(
        replica.ready().then(
          () => false,
          (error) => error.code === 'ERR_NOT_WRITABLE_OPTION'
        ),
        'ready'
      )
      t.equal(refused, expected, 'writable')
      await replica.close()
      const files = new MemoryFiles()
      const writer = await feedOf<unknown>(['xyz'], { indexing: flag }, files)
      t.equal(files.read('data')?.byteLength ?? 0, expected ? 0 : 3, 'indexing')
      await writer.close()
    }
  }
})

test('flags: overwrite, and force of the other dialect', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf<unknown>(['a'], {}, files)).close()
  for (const flag of YES) {
    const feed = ddatabase(memory(files.clone()), { overwrite: flag })
    await feed.ready()
    t.equal(feed.length, 0, 'overwrite')
    await feed.close()
    const forced = hypercore(memory(files.clone()), PAIR.publicKey, { force: flag })
    await forced.ready()
    t.deepEqual([forced.length, forced.key!.toString()], [0, PAIR.publicKey.toString()], 'force')
    await forced.close()
  }
  for (const flag of NO) {
    const feed = ddatabase(memory(files.clone()), { overwrite: flag })
    await feed.ready()
    t.equal(feed.length, 1)
    await feed.close()
    const other = hypercore(memory(files.clone()), PAIR.publicKey, { force: flag })
    t.equal((await failure(other.ready())).code, 'ERR_OTHER_FEED')
  }
})

test('flags: ifAvailable of the feed, and of a call', async (t) => {
  for (const flag of YES) {
    const feed = await open({ sparse: true, ifAvailable: flag })
    t.equal((await failure(feed.get(0))).code, 'ERR_BLOCK_NOT_AVAILABLE')
    await feed.close()
  }
  const feed = await open({ sparse: true })
  const replica = await feedOf<unknown>(['a'], { valueEncoding: 'utf-8' }).then(async (source) => {
    const copy = await replicaOf(source as Feed)
    await copy.put(0, Buffer.from('a'), await source.proof(0))
    return copy
  })
  for (const flag of YES) {
    // A read stream takes what is given; other calls take booleans only, and else the word of the feed.
    const stream = replica.createReadStream({ end: 2, ifAvailable: flag })
    const ended = new Promise((resolve) => stream.once('error', resolve))
    stream.resume()
    t.equal(((await within(ended, 'the end')) as { code?: string }).code, 'ERR_BLOCK_NOT_AVAILABLE')
    const call = failure(feed.get(0, { ifAvailable: flag }))
    t.equal(await settled(call), (flag as unknown) === true, 'get')
    feed.cancel(0)
    await call
  }
  await Promise.all([feed.close(), replica.close()])
})

test('flags: of calls', async (t) => {
  const source = await feedOf<unknown>([...'abcd'])
  const nodes = async (hash: boolean | undefined) => (await source.proof(1, { hash })).nodes.length
  const plain = await nodes(false)
  for (const hash of YES) t.equal(await nodes(hash), plain + 1, 'proof: hash')
  for (const hash of NO) t.equal(await nodes(hash), plain)
  const replica = await replicaOf(source as Feed)
  for (const flag of YES) {
    const selection = replica.download({ start: 50, end: 60, linear: flag, hash: flag })
    t.deepEqual([selection.linear, selection.hash], [true, true], 'download')
    replica.undownload({ start: 50, end: 60, linear: true, hash: true })
    t.equal((await failure(selection)).code, 'ECANCELED', 'is the same as with true')

    // While somebody looks for peers, who may still find a longer feed.
    source.ifAvailable.wait()
    const forced = source.update({ ifAvailable: true, force: flag })
    forced.catch(() => {})
    t.equal(await settled(forced), false, 'update: force')
    source.ifAvailable.continue()
    t.equal((await failure(forced)).code, 'ERR_UPDATE_NOT_AVAILABLE')

    t.equal(await settled(replica.head({ update: flag })), false, 'head: update')
  }
  source.ifAvailable.wait()
  t.equal((await failure(source.update({ ifAvailable: true }))).code, 'ERR_UPDATE_NOT_AVAILABLE', 'at once')
  source.ifAvailable.continue()
  await Promise.all([source.close(), replica.close()])
})

test('flags: of read streams, and of close', async (t) => {
  for (const flag of YES) {
    const feed = await feedOf<unknown>(['a', 'b'], { valueEncoding: 'utf-8' })
    for (const [options, expected] of [
      [{ live: flag }, ['a', 'b', 'x']],
      [{ live: flag, tail: flag }, ['x']]
    ] as const) {
      const stream = feed.createReadStream(options)
      const seen: unknown[] = []
      const all = new Promise<void>((resolve) => {
        stream.on('data', (value) => seen.push(value) === expected.length && resolve())
      })
      t.equal(await settled(all), false)
      await feed.append('x')
      await within(all, 'the stream')
      t.deepEqual(seen, expected)
      stream.destroy()
      await feed.truncate(2)
    }
    feed.active()
    const closed = method(feed, 'close')(flag) as Promise<void>
    t.equal(feed.active(), true, 'close: allowActive')
    feed.inactive()
    feed.inactive()
    await within(closed, 'close')
  }
})

test('flags: eagerUpdate', async (t) => {
  for (const flag of YES) {
    const feed = await open({ sparse: true, eagerUpdate: flag })
    await settled(Promise.resolve())
    t.equal([...(feed as unknown as { _waiters: Iterable<unknown> })._waiters].length, 1)
    await feed.close()
  }
})

test('flags: repair', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf<unknown>([...'abcd'], {}, files)).close()
  for (const flag of YES) {
    const copy = files.clone()
    const bytes = Buffer.from(copy.read('tree')!)
    bytes[3]! ^= 1
    const feed = ddatabase(memory(copy))
    await feed.ready()
    copy.put('tree', bytes)
    const { damage, repaired } = await feed.audit({ repair: flag })
    t.deepEqual([damage.length, repaired.length], [1, 1])
    await feed.close()
  }
})

test('flags: append gives up a history only with a true that is one', async (t) => {
  const feed = await feedOf<unknown>(['a'])
  ;(feed as unknown as { _core: { behind: number } })._core.behind = 3
  for (const flag of YES.slice(1)) t.match(await refusal(feed.append('b', { force: flag })), /^ERR_BEHIND: /)
  t.equal(await feed.append('b', { force: true }), 1)
  await feed.close()
})
