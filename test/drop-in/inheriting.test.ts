/** Functions that inherit from a feed's, as modules made classes before the language had some (hypercore-encrypted does), here and on hypercore 9. */
import { createRequire } from 'node:module'
import { inherits } from 'node:util'
import test from 'tape'
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import { failure, memory } from '../feed/feeds.ts'
import { within } from '../helpers/watchdog.ts'

const published = createRequire(import.meta.url)('hypercore-published') as unknown

type Done<T = unknown> = (error: Error | null, value?: T, turned?: boolean) => void

/** What the test uses of a feed. */
interface Old {
  key: Uint8Array
  discoveryKey: Uint8Array
  opened: boolean
  length: number
  mine: string
  on(event: string, listener: () => void): void
  append(batch: string | string[], done?: Done): void
  get(index: number, options: object | null, done?: Done<Uint8Array>): void
  head(done: Done<string>): void
  close(done: Done): void
  replicate(initiator: boolean, options?: object): NodeJS.ReadWriteStream
  createReadStream(options?: object): AsyncIterable<string> & NodeJS.ReadableStream
  createWriteStream(): NodeJS.WritableStream
  _readyAndGet(index: number, options: object | null, done: Done): void
}

type OldClass = {
  new (storage: unknown, key?: unknown, options?: object): Old
  call(self: Old, storage: unknown, key?: unknown, options?: object): void
  prototype: Old
}

/** A class of feeds whose blocks are stored backwards. It only knows callbacks. */
function backwards(base: unknown): OldClass {
  const Base = base as OldClass
  const turned = (text: string) => [...text].reverse().join('')
  function Backwards(this: Old, storage: unknown, key?: unknown, options?: object) {
    this.mine = 'before'
    Base.call(this, storage, key, options)
    this.on('append', () => {
      this.mine = 'appended'
    })
  }
  inherits(Backwards as never, Base as never)
  Backwards.prototype.append = function (this: Old, batch: string | string[], done: Done = () => {}) {
    Base.prototype.append.call(this, [batch].flat().map(turned), done)
  }
  Backwards.prototype.get = function (this: Old, index: number, options: object | Done, done?: Done) {
    if (typeof options === 'function') return this.get(index, {}, options as Done)
    if (!this.opened) return this._readyAndGet(index, options, done!)
    Base.prototype.get.call(this, index, options, (error, block, isTurned) => {
      if (error) done!(error)
      // hypercore 9 asks this function once more for a block that it waited for.
      else done!(null, isTurned ? block : turned(String(block)), true)
    })
  }
  return Backwards as unknown as OldClass
}

function told<T>(call: (done: Done<T>) => void, what: string): Promise<T> {
  const answer = new Promise<T>((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)))
  })
  return within(answer, what)
}

async function values(feed: Old, options?: object): Promise<string[]> {
  const read: string[] = []
  for await (const value of feed.createReadStream(options)) read.push(value)
  return read
}

for (const [name, Base] of Object.entries({ 'hypercore 9': published, ours: hypercore })) {
  test(`inheriting: a function that calls the constructor on its own object, ${name}`, async (t) => {
    const Backwards = backwards(Base)
    const feed = new Backwards(memory())
    t.ok(feed instanceof Backwards && feed instanceof (Base as OldClass))
    t.equal(feed.mine, 'before', 'what was there stays')
    await told((done) => feed.append(['one', 'two'], done), 'append')
    t.equal(feed.mine, 'appended')
    const writing = feed.createWriteStream()
    const finished = new Promise((resolve) => writing.on('finish', resolve))
    writing.write('three')
    writing.end()
    await within(finished, 'finish')
    t.equal(feed.length, 3)
    t.equal(await told((done) => feed.get(0, null, done as Done), 'get'), 'one')
    t.equal(await told<string>((done) => feed.head(done), 'head'), 'three')
    t.deepEqual(await within(values(feed), 'stream'), ['one', 'two', 'three'])
    t.deepEqual(await within(values(feed, { start: 1, live: false }), 'stream'), ['two', 'three'])

    const plain = new (Base as OldClass)(memory(), feed.key)
    const copy = new Backwards(memory(), feed.key)
    const first = told((done) => copy.get(0, {}, done as Done), 'a get before it is open')
    for (const one of [plain, copy]) {
      const stream = feed.replicate(true, { live: true })
      stream.pipe(one.replicate(false, { live: true })).pipe(stream)
    }
    t.equal(await first, 'one')
    t.deepEqual(await within(values(copy), 'remote stream'), ['one', 'two', 'three'])
    const stored = await told<Uint8Array>((done) => plain.get(2, null, done), 'stored')
    t.equal(String(stored), 'eerht')
    t.deepEqual(copy.discoveryKey, plain.discoveryKey)
    for (const one of [feed, plain, copy]) await told((done) => one.close(done), 'close')
  })
}

test('inheriting: functions that take options, arrays and errors as their base does', async (t) => {
  const Backwards = backwards(ddatabase)
  const feed = new Backwards(memory(), { valueEncoding: 'utf-8' } as never)
  t.deepEqual(await within(values(feed), 'an empty feed'), [])
  const failed = told((done) => feed.get(7, { wait: false }, done as Done), 'get')
  t.equal((await failure(failed)).code, 'ERR_BLOCK_NOT_DOWNLOADED')
  await told((done) => feed.close(done), 'close')
  const writing = feed.createWriteStream()
  const refused = new Promise<{ code?: string }>((resolve) => writing.on('error', resolve as never))
  writing.write('late')
  t.equal((await within(refused, 'refused')).code, 'ERR_FEED_CLOSED')
})

test('inheriting: a feed is made once', async (t) => {
  const feed = ddatabase(memory())
  const again = ddatabase as unknown as OldClass
  t.throws(() => again.call(feed as unknown as Old, memory()), { code: 'ERR_INVALID_ARG_TYPE' })
  await feed.append('a')
  t.equal(feed.length, 1, 'it is as it was')
  await feed.close()
})

test('inheriting: a `get` of an object of its own, that only knows promises', async (t) => {
  const other = ddatabase(memory(), { valueEncoding: 'utf-8' })
  const get = other.get as (index: number) => Promise<string>
  Object.assign(other, { get: async (index: number) => `${await get.call(other, index)}!` })
  await other.append(['b', 'c'])
  const read: string[] = []
  for await (const value of other) read.push(value)
  t.deepEqual(read, ['b!', 'c!'])
  t.equal(await other.head(), 'c!')
  await other.close()
})
