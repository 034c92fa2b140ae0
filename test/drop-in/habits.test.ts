/** Single things that modules of hypercore 9's time do to feeds and storages, each found by running such a module. */
import RAM from 'random-access-memory'
import test from 'tape'
import hypercore, { type Feed, type RandomAccess, type StorageFactory } from '../../src/hypercore.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, settled } from '../feed/feeds.ts'
import { publishedHypercore } from '../helpers/published.ts'
import { within } from '../helpers/watchdog.ts'

type Answer = (error: Error | null, value?: unknown) => void

/** A file that only answers what is asked, and cannot be written. */
function readOnly(stat: (answer: Answer) => void, read: (answer: Answer) => void): RandomAccess {
  return {
    statable: true,
    stat: stat as never,
    read: ((_offset: number, _size: number, answer: Answer) => read(answer)) as never,
    write: (_offset, _data, answer) => answer(new Error('Not writable')),
    close: (answer) => answer(null)
  }
}

/**
 * Key files that exist only when they are asked for, as stores of many feeds make them. A key that is only known,
 * without a secret key, fails the first time it is looked at, because the store tries to derive one, and is there
 * afterwards.
 */
function derived(key: Uint8Array, secretKey: Uint8Array | null): StorageFactory {
  let known = secretKey !== null
  const lazily = (bytes: Uint8Array | null, text: string): RandomAccess => {
    const look = (answer: Answer, value: unknown) => {
      if (known && bytes !== null) return answer(null, value)
      answer(new Error(known ? text : 'The derivation gave no secret key.'))
      known = true
    }
    return readOnly(
      (answer) => look(answer, { size: bytes?.byteLength }),
      (answer) => look(answer, bytes)
    )
  }
  const files = { key: lazily(key, 'No key.'), secret_key: lazily(secretKey, 'No secret key.') }
  return (name) => (name === 'key' || name === 'secret_key' ? files[name] : (new RAM() as never))
}

test('stores: derived keys are read, and nothing is written to them', async (t) => {
  const made = hypercore(memory())
  await made.ready()
  const { key, secretKey } = made
  await made.close()
  const feed = hypercore(derived(key!, secretKey!), key, { createIfMissing: true })
  await within(feed.append('a'), 'append')
  t.deepEqual([feed.writable, feed.length], [true, 1])
  await feed.close()
})

test('stores: a key without a secret key, that fails to be derived', async (t) => {
  const key = Buffer.alloc(32, 7)
  const feed = hypercore(derived(key, null), key, { createIfMissing: true })
  await within(feed.ready(), 'ready')
  t.deepEqual([feed.key, feed.writable], [key, false])
  await feed.close()
})

test('stores: an error with a code is never taken for a missing key', async (t) => {
  for (const broken of ['key', 'secret_key']) {
    const disk = Object.assign(new Error('EIO'), { code: 'EIO' })
    const fails = (answer: Answer) => answer(disk)
    const feed = hypercore((name) => (name === broken ? readOnly(fails, fails) : (new RAM() as never)))
    const error = await failure(feed.ready(), broken)
    t.deepEqual([error.code, error.cause], ['ERR_STORAGE', disk], broken)
  }
})

test('byte streams: an end of 0 is an open end of seek', async (t) => {
  const source = await feedOf([...'abcdefgh'].map((letter) => letter.repeat(10)))
  const replica = await replicaOf(source)
  await copyBlocks(source, replica, 0)
  const waiting = replica.seek(45, { start: 0, end: 0 })
  t.equal(await settled(waiting), false, 'it waits instead of finding nothing to ask for')
  await copyBlocks(source, replica, 4)
  t.deepEqual(await within(waiting, 'seek'), { index: 4, offset: 5 })
  await Promise.all([source.close(), replica.close()])
})

test('byte streams: a range whose start they have counted up past its end stands for nothing', async (t) => {
  const source = await feedOf(['a', 'b', 'c'])
  const replica = await replicaOf(source)
  const selection = replica.download({ start: 0, end: 2, linear: true })
  replica.undownload({ ...selection, start: 3 })
  t.equal(await settled(selection), false, 'the download goes on')
  await copyBlocks(source, replica, 0, 1)
  await within(selection, 'download')
  t.pass('and ends well')
  await Promise.all([source.close(), replica.close()])
})

test('handles: `close` replaced by a function that closes later with `_close`', async (t) => {
  const feed = hypercore(memory()) as Feed & { _close(callback: (error: Error | null) => void): void }
  await feed.ready()
  let users = 2
  feed.close = ((callback: (error: Error | null) => void) => {
    if (--users === 0) feed._close(callback)
    else callback(null)
  }) as never
  const close = feed.close as unknown as (callback: (error: Error | null) => void) => void
  await within(new Promise((resolve) => close(resolve)), 'the first close')
  t.equal(feed.closed, false)
  t.equal(await within(new Promise((resolve) => close(resolve)), 'the second close'), null)
  t.equal(feed.closed, true)
})

/** What is new, and for users. */
const NEW = ['recovery', 'forks', 'maxUploadRate', 'maxDownloadRate', 'toWeb', 'toWebWritable']

function namesOf(feed: object): string[] {
  const names = new Set<string>()
  for (let at: object = feed; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  }
  return [...names]
}

test('names: modules may call their own properties and methods what they like', async (t) => {
  const published = publishedHypercore(memory())
  const feed = hypercore(memory())
  await Promise.all([feed.ready(), published.call('ready')])
  const known = new Set([...namesOf(published.feed), ...NEW])
  const others = namesOf(feed).filter((name) => !known.has(name))
  t.deepEqual(
    others.filter((name) => !name.startsWith('_')),
    []
  )
  t.ok(others.length > 0, 'all others begin with an underscore')
  await feed.close()
})

test('names: a class with methods that a feed might have', async (t) => {
  class Named extends (hypercore as unknown as typeof import('../../src/feed/feed.ts').Feed) {
    core = 'mine'
    files = 'mine'
    state = 'mine'
    start() {
      throw new Error('nobody calls this')
    }
    begin() {
      throw new Error('nobody calls this')
    }
  }
  const feed = new Named(memory() as never)
  t.equal(await within(feed.append(Buffer.from('a')), 'append'), 0)
  t.deepEqual(await within(feed.get(0), 'get'), Buffer.from('a'))
  t.deepEqual([feed.core, feed.files, feed.state], ['mine', 'mine', 'mine'])
  await feed.close()
})

test('habits: the number of open downloads (hypercore-byte-stream)', async (t) => {
  const key = new Uint8Array(32).fill(1)
  const published = publishedHypercore(memory(), key, { sparse: true })
  const feed = hypercore(memory(), key, { sparse: true })
  await Promise.all([feed.ready(), published.call('ready')])
  for (const one of [published.feed, feed] as unknown as {
    _selections: { length: number }
    download: (range: object, done: () => void) => object
    undownload: (range: object) => void
  }[]) {
    t.equal(one._selections.length, 0)
    const range = one.download({ start: 3, end: 5 }, () => {})
    t.equal(one._selections.length, 1)
    one.undownload(range)
    t.equal(one._selections.length, 0)
  }
  await feed.close()
})

test('habits: a block is asked for with the digits of its number (kappa-osm, from `key@number`)', async (t) => {
  const published = publishedHypercore(memory())
  const feed = hypercore(memory())
  await Promise.all([feed.append(['a', 'b', 'c']), published.call('append', ['a', 'b', 'c'])])
  for (const one of [published.feed, feed] as unknown as {
    has: (index: string) => boolean
    get: (index: string, options: object, done: Answer) => void
  }[]) {
    t.deepEqual([one.has('2'), one.has('3')], [true, false])
    const ask = (index: string) =>
      new Promise((resolve, reject) => {
        one.get(index, { wait: false }, (error, block) => (error ? reject(error) : resolve(block)))
      })
    t.deepEqual(await within(ask('2'), 'get'), Buffer.from('c'))
    t.ok(await failure(within(ask('3'), 'get')), 'one that is not here')
  }
  for (const index of ['', 'a', '-1', '1.5', ' 1', '0x1']) {
    t.equal((await failure(feed.get(index as never))).code, 'ERR_INVALID_ARG_TYPE', JSON.stringify(index))
  }
  await feed.close()
})
