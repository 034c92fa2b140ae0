/** Arguments of wrong types: refused with a code, at once, and before anything is touched (docs/errors.md). */
import test from 'tape'
import ddatabase, { type ProtocolStream } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { feedOf, memory, method, texts, thrown } from './feeds.ts'

const TYPE = 'ERR_INVALID_ARG_TYPE'
const RANGE = 'ERR_OUT_OF_RANGE'
const VALUE = 'ERR_INVALID_ARG_VALUE'

/** Calls that answer later: they reject, or call back. */
const ANSWERED: [name: string, args: unknown[], code: string][] = [
  ['append', ['x', 5], TYPE],
  ['append', ['x', 'force'], TYPE],
  ['get', ['0'], TYPE],
  ['get', [0, 5], TYPE],
  ['get', [0, 'utf-8'], TYPE],
  ['get', [0, { timeout: '5' }], TYPE],
  ['get', [0, { timeout: -5 }], RANGE],
  ['get', [0, { onwait: true }], TYPE],
  ['get', [0, { valueEncoding: 5 }], TYPE],
  ['get', [0, { valueEncoding: { encode() {} } }], TYPE],
  ['get', [0, { signal: 'x' }], TYPE],
  ['getBatch', ['0', 2], TYPE],
  ['getBatch', [0, {}], TYPE],
  ['getBatch', [0, 2, 5], TYPE],
  ['getBatch', [0, 2, { timeout: {} }], TYPE],
  ['getBatch', [0, 2, { valueEncoding: 5 }], TYPE],
  ['getBatch', [0, 2, { signal: {} }], TYPE],
  ['head', [5], TYPE],
  ['head', [{ timeout: 'x' }], TYPE],
  ['head', [{ onwait: 5 }], TYPE],
  ['head', [{ valueEncoding: 5 }], TYPE],
  ['head', [{ signal: 1 }], TYPE],
  ['update', ['3'], TYPE],
  ['update', [0.5], RANGE],
  ['update', [{ minLength: '3' }], TYPE],
  ['update', [{ timeout: 'x' }], TYPE],
  ['update', [{ signal: 1 }], TYPE],
  ['seek', ['0'], TYPE],
  ['seek', [0, 5], TYPE],
  ['seek', [0, { start: '1' }], TYPE],
  ['seek', [0, { end: {} }], TYPE],
  ['seek', [0, { timeout: 'x' }], TYPE],
  ['seek', [0, { signal: 1 }], TYPE],
  ['clear', ['0'], TYPE],
  ['clear', [0, '1'], TYPE],
  ['clear', [0, 1, 5], TYPE],
  ['clear', [0, 1, { byteOffset: 'x' }], TYPE],
  ['clear', [0, 1, { byteLength: -1 }], RANGE],
  ['truncate', ['1'], TYPE],
  ['signature', ['1'], TYPE],
  ['verify', ['1', new Uint8Array(64)], TYPE],
  ['verify', [1, 'signature'], TYPE],
  ['rootHashes', ['1'], TYPE],
  ['proof', ['1'], TYPE],
  ['proof', [1, 5], TYPE],
  ['proof', [1, { digest: 'x' }], TYPE],
  ['proof', [1, { tree: 5 }], TYPE],
  ['proof', [1, { tree: {} }], TYPE],
  ['put', ['1', 'x', { nodes: [] }], TYPE],
  ['put', [1, 'x', null], TYPE],
  ['put', [1, 'x', { nodes: 5 }], TYPE],
  ['audit', [5], TYPE],
  ['audit', [{ signal: 5 }], TYPE]
]

/** Calls that answer at once: they throw. */
const THROWN: [name: string, args: unknown[], code: string][] = [
  ['has', ['0'], TYPE],
  ['has', [0, '1'], TYPE],
  ['downloaded', ['0'], TYPE],
  ['downloaded', [0, {}], TYPE],
  ['digest', ['0'], TYPE],
  ['download', ['all'], TYPE],
  ['download', [true], TYPE],
  ['download', [{ start: '0' }], TYPE],
  ['download', [{ end: '5' }], TYPE],
  ['download', [{ blocks: 5 }], TYPE],
  ['download', [{ blocks: 'abc' }], TYPE],
  ['download', [{ blocks: ['1'] }], TYPE],
  ['download', [['1']], TYPE],
  ['download', [{ start: -1 }], RANGE],
  ['download', [{ start: 5, end: 3 }], RANGE],
  ['download', [{ start: 5, end: 0 }], RANGE],
  ['download', [{ signal: 5 }], TYPE],
  ['undownload', ['all'], TYPE],
  ['undownload', [{ start: 'x' }], TYPE],
  ['cancel', [0.5], RANGE],
  ['cancel', [0, '1'], TYPE],
  ['setExpectedLength', ['5'], TYPE],
  ['createReadStream', [5], TYPE],
  ['createWriteStream', [5], TYPE],
  ['toWeb', ['x'], TYPE],
  ['toWebWritable', ['x'], TYPE],
  ['replicate', ['yes'], TYPE],
  ['replicate', [], TYPE],
  ['replicate', [true, 5], TYPE],
  ['replicate', [true, { stream: {} }], TYPE],
  ['replicate', [true, { maxRequests: '5' }], TYPE],
  ['replicate', [true, { maxRequests: -5 }], RANGE],
  ['replicate', [true, { maxRequests: Number.NaN }], RANGE],
  ['replicate', [true, { timeout: 'x' }], TYPE],
  ['replicate', [true, { timeout: -5 }], RANGE],
  ['replicate', [true, { timeout: Number.NaN }], RANGE],
  ['replicate', [true, { limits: 5 }], TYPE],
  ['replicate', [true, { recorded: 'x' }], TYPE],
  ['replicate', [true, { random: 5 }], TYPE],
  ['replicate', [true, { onfeedauthenticate: {} }], TYPE],
  ['replicate', [true, { onauthenticate: true }], TYPE],
  ['replicate', [true, { onhandshake: 'x' }], TYPE],
  ['replicate', [true, { ondiscoverykey: {} }], TYPE],
  ['replicate', [true, { onremoteopen: 5 }], TYPE],
  ['replicate', [true, { onchannelclose: true }], TYPE],
  ['replicate', [true, { onextensions: [] }], TYPE],
  ['active', ['callback'], TYPE],
  ['inactive', ['callback'], TYPE],
  ['registerExtension', [5], TYPE],
  ['registerExtension', ['name', 5], TYPE],
  ['registerExtension', ['name', { encoding: 5 }], TYPE],
  ['registerExtension', ['name', { encoding() {} }], TYPE],
  ['registerExtension', ['name', { onmessage: true }], TYPE],
  ['registerExtension', ['name', { onerror: 'x' }], TYPE],
  ['registerExtension', ['name', () => ({ encoding: {} })], TYPE],
  ['registerExtension', ['name', () => ({ onmessage: {} })], TYPE]
]

/** Where the callback goes: after these arguments. */
const CALLBACKS: [name: string, args: unknown[]][] = [
  ['ready', []],
  ['open', []],
  ['append', ['x', null]],
  ['flush', []],
  ['get', [0, {}]],
  ['getBatch', [0, 2, {}]],
  ['head', [{}]],
  ['update', [1]],
  ['seek', [0, {}]],
  ['has', [0, 1]],
  ['downloaded', [0, 1]],
  ['download', [0]],
  ['put', [0, 'x', { nodes: [], signature: null }]],
  ['clear', [0, 1, {}]],
  ['truncate', [0]],
  ['finalize', []],
  ['signature', [0]],
  ['verify', [0, new Uint8Array(64)]],
  ['rootHashes', [0]],
  ['proof', [0, {}]],
  ['audit', [{}]],
  ['close', [true]],
  ['destroyStorage', []]
]

const text = (args: unknown[]) => args.map((arg) => JSON.stringify(arg) ?? String(arg)).join(', ')

test('wrong arguments: answered by rejections and callbacks, without waiting for the opening', async (t) => {
  for (const [name, args, code] of ANSWERED) {
    const gate = new Promise<void>(() => {})
    // A storage that never answers: nothing may be waited for.
    const feed = ddatabase((() => {
      const wait = () => void gate
      return { read: wait, write: wait, stat: wait, statable: true }
    }) as never)
    const told: unknown[] = []
    let error: unknown
    const promise = method(feed, name)(...args) as Promise<unknown>
    promise.catch((failure) => {
      error = failure
    })
    if (args.length === 1 || typeof args.at(-1) === 'object' || name === 'truncate' || name === 'append') {
      method(feed, name)(...args, (failure: unknown) => void told.push(failure))
    }
    await settle(2)
    t.equal((error as { code?: unknown } | undefined)?.code, code, `${name}(${text(args)})`)
    t.ok(error instanceof (code === RANGE ? RangeError : TypeError), 'of its type')
    for (const failure of told) t.equal((failure as { code?: unknown }).code, code, 'also to a callback')
  }
})

test('wrong arguments: thrown where the answer comes at once', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(['a', 'b', 'c'], { sparse: true }, files)
  const before = files.toHex()
  for (const [name, args, code] of THROWN) {
    t.equal(
      thrown(() => method(feed, name)(...args)),
      code,
      `${name}(${text(args)})`
    )
  }
  t.deepEqual(feed.extensions.names(), [])
  const { _selections: selections, _waiters: waiters } = feed as unknown as Record<string, Iterable<unknown>>
  t.deepEqual([[...selections!].length, [...waiters!].length], [0, 0], 'nothing was begun')
  t.deepEqual(files.toHex(), before)
  await feed.close()
})

test('wrong arguments: a callback that is none is thrown, and nothing is done', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(['a', 'b', 'c'], { sparse: true }, files)
  const before = files.toHex()
  for (const [name, args] of CALLBACKS) {
    for (const callback of ['callback', 5, {}, true]) {
      t.equal(
        thrown(() => method(feed, name)(...args, callback)),
        TYPE,
        `${name} with ${JSON.stringify(callback)}`
      )
    }
  }
  await settle()
  t.deepEqual([feed.length, feed.opened, feed.closed], [3, true, false])
  t.deepEqual(files.toHex(), before)
  for (const none of [null, undefined]) {
    t.equal(
      Buffer.from((await method(feed, 'get')(0, null, none)) as Uint8Array).toString(),
      'a',
      'none is fine'
    )
    await method(feed, 'ready')(none)
    await method(feed, 'flush')(none)
  }
  await feed.close()
})

test('wrong arguments: options of a feed', (t) => {
  const bytes = new Uint8Array(32)
  const wrong: [options: object, code: string][] = [
    [{ onwrite: true }, TYPE],
    [{ crypto: {} }, TYPE],
    [{ crypto: { sign() {}, verify: 5 } }, TYPE],
    [{ timeouts: 'soon' }, TYPE],
    [{ timeouts: 5 }, TYPE],
    [{ timeouts: { get: 5 } }, TYPE],
    [{ timeouts: { update: 'x' } }, TYPE],
    [{ maxRequests: 'many' }, TYPE],
    [{ maxRequests: -1 }, RANGE],
    [{ maxRequests: Number.NaN }, RANGE],
    [{ noiseKeyPair: { publicKey: bytes } }, TYPE],
    [{ noiseKeyPair: { publicKey: bytes, secretKey: new Uint8Array(31) } }, VALUE],
    [{ valueEncoding: 5 }, TYPE],
    [{ valueEncoding: { decode() {} } }, TYPE],
    [{ cache: 5 }, TYPE],
    [{ cache: 0 }, TYPE],
    [{ cache: 'none' }, TYPE],
    [{ cache() {} }, TYPE],
    [{ cache: { tree: 'x' } }, TYPE],
    [{ storageCacheSize: 'x' }, TYPE],
    [{ storageCacheSize: -1 }, RANGE],
    [{ cache: { data: Number.NaN } }, RANGE],
    [{ key: 5 }, TYPE],
    [{ key: 'abc' }, VALUE],
    [{ secretKey: bytes }, VALUE]
  ]
  for (const [options, code] of wrong) {
    const files = new MemoryFiles()
    for (const args of [[options], [null, options]]) {
      t.equal(
        thrown(() => (ddatabase as (...all: unknown[]) => unknown)(memory(files), ...args)),
        code,
        JSON.stringify(options)
      )
    }
    t.deepEqual(files.toHex(), {}, 'nothing is written')
  }
  t.end()
})

test('wrong arguments: what is allowed stays allowed', async (t) => {
  const feed = ddatabase<unknown>(memory(), null, {
    onwrite: null,
    maxRequests: Number.POSITIVE_INFINITY,
    timeouts: { get: (done) => done(null), update: (done) => done(null) },
    valueEncoding: 'no such encoding'
  })
  t.equal(await feed.append('x'), 0)
  for (const options of [null, undefined, {}, [], new (class {})()]) {
    t.equal(Buffer.from((await feed.get(0, options as never)) as Uint8Array).toString(), 'x')
  }
  const stream = feed.replicate(true, { stream: null, maxRequests: 0, timeout: Number.POSITIVE_INFINITY })
  t.equal(stream.initiator, true, 'no stream is none')
  stream.destroy()
  await feed.close()
})

test('wrong arguments: null is no option, and a hook that is false is none', async (t) => {
  const options = {
    onwrite: false,
    cache: null,
    timeouts: null,
    verify: null,
    durability: null,
    crypto: null
  }
  const feed = await feedOf<unknown>(['x'], options as never)
  const replica = ddatabase<unknown>(memory(), feed.key, { sparse: true })
  t.equal(Buffer.from((await feed.get(0, { onwait: false } as never)) as Uint8Array).toString(), 'x')
  const names = [
    'onauthenticate',
    'onhandshake',
    'ondiscoverykey',
    'onremoteopen',
    'onchannelclose',
    'onextensions'
  ]
  for (const none of [null, false]) {
    const hooks = Object.fromEntries([...names, 'onfeedauthenticate', 'random'].map((name) => [name, none]))
    const call = (of: object, initiator: boolean) =>
      method(of, 'replicate')(initiator, { ...hooks, live: true }) as ProtocolStream
    const [one, other] = [call(feed, true), call(replica, false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    one.pipe(other).pipe(one)
    for (const name of ['a', 'b']) replica.registerExtension(name + none, { onmessage: none } as never)
    const sender = feed.registerExtension(`a${none}`)
    await within(replica.update({ minLength: 1, timeout: 5000 }), 'the length')
    t.equal(sender.broadcast(new Uint8Array(1)), true)
    await within(method(replica, 'get')(0, { onwait: none }) as Promise<unknown>, 'the block')
    await replica.clear(0)
    one.destroy()
    await within(new Promise((resolve) => other.once('close', resolve as () => void)), 'the end')
  }
  await Promise.all([feed.close(), replica.close()])
})

test('wrong arguments: a function or a class may be a codec', async (t) => {
  const codec = Object.assign(() => {}, {
    encode: (value: string) => Buffer.from(`<${value}>`),
    decode: (block: Uint8Array) => Buffer.from(block).toString().slice(1, -1)
  })
  const feed = await feedOf<string>(['x'], { valueEncoding: codec })
  t.deepEqual([await feed.get(0), texts([await feed.get(0, { valueEncoding: 'binary' })])], ['x', ['<x>']])
  t.deepEqual(texts([feed.registerExtension<string>('name', { encoding: codec }).encode('y')]), ['<y>'])
  await feed.close()
})

test('wrong arguments: seeds of key pairs', (t) => {
  const { Protocol } = ddatabase
  for (const [seed, code] of [
    ['x', TYPE],
    [5, TYPE],
    [{}, TYPE],
    [new Uint8Array(31), VALUE]
  ] as const)
    t.equal(
      thrown(() => Protocol.keyPair(seed as never)),
      code,
      text([seed])
    )
  t.equal(Protocol.keyPair(null).publicKey.byteLength, 32)
  const seed = new Uint8Array(32)
  t.deepEqual(Protocol.keyPair(seed), Protocol.keyPair(seed))
  const stream = new Protocol(true)
  t.equal(
    thrown(() => stream.setTimeout(5, 5 as never)),
    TYPE
  )
  t.equal(stream.timeout?.ms, 20000, 'as it was')
  stream.destroy()
  t.end()
})
