/** The callable, the class and the arguments of the constructor (spec API §1). */
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import hypercore, { Feed as HypercoreFeed, ProtocolStream as HypercoreStream } from '../../src/hypercore.ts'
import ddatabase, {
  Feed,
  type FeedFactory,
  type FeedOptions,
  ProtocolStream,
  type Storage
} from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published, publishedHypercore } from '../helpers/published.ts'
import { memory, method, refusal, texts, thrown } from './feeds.ts'

const PAIR = keyPair(Buffer.alloc(32, 7))
const HEX = Buffer.from(PAIR.publicKey).toString('hex')

/** What both dialects' callables and classes have in common. */
type Create = FeedFactory
type FeedClass = typeof Feed

const DIALECTS: {
  name: string
  create: Create
  Class: FeedClass
  Stream: typeof ProtocolStream
  original: typeof published
}[] = [
  { name: 'ddatabase', create: ddatabase, Class: Feed, Stream: ProtocolStream, original: published },
  {
    name: 'hypercore',
    create: hypercore as Create,
    Class: HypercoreFeed,
    Stream: HypercoreStream,
    original: publishedHypercore
  }
]

for (const { name, create, Class, Stream, original } of DIALECTS) {
  test(`ways in: ${name} is callable, constructible and a class`, async (t) => {
    const made = {
      called: create(memory()),
      constructed: new create(memory()),
      'of the class': new Class(memory())
    }
    for (const [how, feed] of Object.entries(made)) {
      t.ok(feed instanceof create, `${how}: instanceof the callable`)
      t.ok(feed instanceof Class, `${how}: instanceof the class`)
      t.equal(Object.getPrototypeOf(feed), create.prototype, `${how}: has the callable's prototype`)
      await feed.append('x' as never)
      t.equal(feed.length, 1, `${how}: works`)
      await feed.close()
    }
    t.notOk({} instanceof create, 'nothing else is an instance')
    t.equal(
      thrown(() => (Class as unknown as (storage: Storage) => unknown)(memory())) !== 'nothing was thrown',
      true,
      'a class needs new'
    )
  })

  test(`ways in: ${name}, statics`, async (t) => {
    const theirs = original(memory(), PAIR.publicKey, { sparse: true })
    await theirs.ready()
    for (const [what, statics] of [
      ['callable', create],
      ['class', Class]
    ] as const) {
      t.deepEqual(
        statics.discoveryKey(PAIR.publicKey),
        theirs.feed.discoveryKey,
        `discoveryKey of the ${what}`
      )
      t.equal(statics.Protocol, Stream, `Protocol of the ${what}`)
      t.equal(
        thrown(() => statics.discoveryKey('x' as never)),
        'ERR_INVALID_ARG_TYPE',
        `no key, ${what}`
      )
    }
    t.deepEqual(
      [PAIR.publicKey].map(create.discoveryKey),
      [theirs.feed.discoveryKey],
      'also as a mere function'
    )
    await theirs.close()
  })

  test(`ways in: ${name}, classes that extend it`, async (t) => {
    class OfCallable extends create {
      readonly mark = 'callable'
      lastBlock(): number {
        return this.length - 1
      }
    }
    class OfClass extends Class {
      readonly mark = 'class'
      lastBlock(): number {
        return this.length - 1
      }
    }
    for (const Sub of [OfCallable, OfClass]) {
      const feed = new Sub(memory(), PAIR.publicKey, { secretKey: PAIR.secretKey })
      t.ok(feed instanceof Sub && feed instanceof create && feed instanceof Class, `${feed.mark}: instanceof`)
      t.deepEqual(feed.discoveryKey, create.discoveryKey(PAIR.publicKey), `${feed.mark}: its discovery key`)
      await feed.append('x' as never)
      t.equal(feed.lastBlock(), 0, `${feed.mark}: methods of both`)
      t.deepEqual(Sub.discoveryKey(PAIR.publicKey), feed.discoveryKey, `${feed.mark}: statics`)
      t.equal(Sub.Protocol, Stream, `${feed.mark}: stream class`)
      await feed.close()
    }
  })
}

test('ways in: the dialects differ in the discovery key', async (t) => {
  const mine = ddatabase(memory(), PAIR.publicKey)
  const other = hypercore(memory(), PAIR.publicKey)
  t.deepEqual(mine.key, other.key, 'the same key')
  t.notDeepEqual(mine.discoveryKey, other.discoveryKey, 'another discovery key')
  await Promise.all([mine.close(), other.close()])
})

test('ways in: only the hypercore dialect has getBlockInfo', async (t) => {
  const feed = hypercore(memory())
  await feed.append(['ab', 'cde'] as never)
  const info = await feed.getBlockInfo(1)
  t.deepEqual(Object.keys(info).sort(), ['hash', 'index', 'size'])
  t.deepEqual([info.index, info.size, info.hash.byteLength], [2, 3, 32])
  t.notOk('getBlockInfo' in ddatabase.prototype, 'not in ddatabase')
  t.equal(await refusal(feed.getBlockInfo(2)), 'ERR_NODE_NOT_FOUND: No node found')
  t.equal(
    thrown(() => method(feed, 'getBlockInfo')(0, 'callback')),
    'ERR_INVALID_ARG_TYPE'
  )
  const told = await new Promise((resolve) => feed.getBlockInfo(0, (_error, node) => resolve(node?.size)))
  t.equal(told, 2, 'with a callback')
  await feed.close()
  t.equal(await refusal(feed.getBlockInfo(0)), 'ERR_FEED_CLOSED: Feed is closed')
})

type Arguments = [storage: Storage, key?: unknown, options?: unknown]
const create = ddatabase as unknown as (...args: Arguments) => Feed<unknown>

const SHUFFLED: Record<string, unknown[]> = {
  '(storage, key)': [PAIR.publicKey],
  '(storage, hex)': [HEX],
  '(storage, HEX)': [HEX.toUpperCase()],
  '(storage, key, options)': [PAIR.publicKey, { sparse: true }],
  '(storage, key, null)': [PAIR.publicKey, null],
  '(storage, options with key)': [{ key: PAIR.publicKey }],
  '(storage, options with hex)': [{ key: HEX }],
  '(storage, null, options with key)': [null, { key: PAIR.publicKey }],
  '(storage, undefined, options with key)': [undefined, { key: HEX }],
  '(storage, key, options with another key)': [PAIR.publicKey, { key: Buffer.alloc(32, 9) }],
  '(storage, Uint8Array)': [new Uint8Array(PAIR.publicKey)]
}

for (const [what, args] of Object.entries(SHUFFLED)) {
  test(`ways in: ${what}`, async (t) => {
    const feed = create(memory(), ...(args as [unknown, unknown]))
    t.deepEqual(Buffer.from(feed.key!), Buffer.from(PAIR.publicKey), 'the key is known at once')
    t.deepEqual(feed.discoveryKey, ddatabase.discoveryKey(PAIR.publicKey), 'and the discovery key')
    await feed.ready()
    t.deepEqual(Buffer.from(feed.key!), Buffer.from(PAIR.publicKey), 'it stays')
    t.equal(feed.writable, false)
    await feed.close()
  })
}

test('ways in: without a key', async (t) => {
  for (const args of [[], [null], [undefined], [{}], [null, null], [null, {}], [undefined, undefined]]) {
    const feed = create(memory(), ...(args as [unknown, unknown]))
    t.equal(feed.key, null, 'unknown before ready')
    t.equal(feed.discoveryKey, null)
    await feed.ready()
    t.equal(feed.key!.byteLength, 32, 'made')
    t.equal(feed.secretKey!.byteLength, 64)
    t.equal(feed.writable, true)
    await feed.close()
  }
})

test('ways in: (storage, options) takes the options', async (t) => {
  const feed = create(memory(), { valueEncoding: 'json', sparse: true, maxRequests: 3 })
  t.deepEqual([feed.sparse, feed.maxRequests], [true, 3])
  await feed.append({ a: 1 })
  t.deepEqual(await feed.get(0), { a: 1 })
  await feed.close()
})

test('ways in: a secret key in hexadecimal', async (t) => {
  const feed = create(memory(), HEX, { secretKey: Buffer.from(PAIR.secretKey).toString('hex') })
  t.deepEqual(Buffer.from(feed.secretKey!), Buffer.from(PAIR.secretKey))
  t.equal(await feed.append('x'), 0)
  await feed.close()
})

test('ways in: the arguments stay as they are', async (t) => {
  const key = Buffer.from(PAIR.publicKey)
  const options: FeedOptions = Object.freeze({
    key: HEX,
    sparse: true,
    cache: Object.freeze({}),
    timeouts: Object.freeze({
      get: (cb: (error: null) => void) => cb(null),
      update: (cb: (error: null) => void) => cb(null)
    })
  })
  const feed = ddatabase(memory(), key, options)
  await feed.ready()
  t.deepEqual(Object.keys(options), ['key', 'sparse', 'cache', 'timeouts'])
  t.deepEqual(Object.keys(options.cache as object), [])
  t.deepEqual(key, Buffer.from(PAIR.publicKey))
  await feed.close()
})

const WRONG: Record<string, [args: unknown[], code: string]> = {
  'no storage': [[undefined], 'ERR_INVALID_ARG_TYPE'],
  'an object as storage': [[{}], 'ERR_INVALID_ARG_TYPE'],
  'a short key': [[memory(), PAIR.publicKey.subarray(1)], 'ERR_INVALID_ARG_VALUE'],
  'a short hexadecimal key': [[memory(), HEX.slice(2)], 'ERR_INVALID_ARG_VALUE'],
  'no hexadecimal key': [[memory(), `${HEX.slice(2)}zz`], 'ERR_INVALID_ARG_VALUE'],
  'a short key in the options': [[memory(), { key: HEX.slice(2) }], 'ERR_INVALID_ARG_VALUE'],
  'a number as key': [[memory(), 5, {}], 'ERR_INVALID_ARG_TYPE'],
  'a public key as secret key': [[memory(), HEX, { secretKey: HEX }], 'ERR_INVALID_ARG_VALUE'],
  'an object that is no codec': [[memory(), { valueEncoding: { encode() {} } }], 'ERR_INVALID_ARG_TYPE'],
  'an ArrayBuffer for a key': [[memory, new ArrayBuffer(32)], 'ERR_INVALID_ARG_TYPE'],
  'other numbers for a key': [[memory, new Uint16Array(16)], 'ERR_INVALID_ARG_TYPE']
}

test('ways in: wrong arguments', (t) => {
  for (const [what, [args, code]] of Object.entries(WRONG)) {
    const files = new MemoryFiles()
    const [storage, ...others] = args
    const given = typeof storage === 'function' ? memory(files) : storage
    t.equal(
      thrown(() => (create as (...all: unknown[]) => unknown)(given, ...others)),
      code,
      what
    )
    t.deepEqual(files.toHex(), {}, `${what}: nothing is written`)
  }
  try {
    ddatabase(5 as never)
    t.fail('a number is no storage')
  } catch (error) {
    t.equal((error as Error).message, 'Storage should be a function or string')
    t.ok(error instanceof TypeError)
  }
  t.end()
})

test('ways in: asynchronous disposal closes', async (t) => {
  const feed = create(memory())
  await feed.append(['a', 'b'])
  t.deepEqual(texts((await feed.getBatch(0, 2)) as Uint8Array[]), ['a', 'b'])
  await feed[Symbol.asyncDispose]()
  t.equal(feed.closed, true)
})
