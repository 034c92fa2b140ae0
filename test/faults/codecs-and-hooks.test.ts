/** Code of the application that fails inside a feed: codecs, onwrite hooks, signers, verifiers, storage functions. */
import assert from 'node:assert/strict'
import test from 'tape'
import { keyPair, sign } from '../../src/crypto/keys.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const open = ours()
const replicaOf = (key: Buffer) => open(new MemoryFiles().factory(), key, { sparse: true })
const bytes = (...texts: string[]) => texts.map((text) => Buffer.from(text))

/** Whether `reason` is `error` or was caused by it. */
function isCausedBy(reason: unknown, error: Error): boolean {
  for (let e = reason; e instanceof Error; e = e.cause) if (e === error) return true
  return false
}

const boom = new Error('boom')

/** Text, except that some values cannot be encoded and some blocks not decoded. */
const delicate = {
  encode(value: string) {
    if (value.startsWith('bad')) throw boom
    if (value.startsWith('odd')) return value.length as unknown as Buffer
    if (value.startsWith('gone')) {
      const bytes = new Uint8Array(8)
      structuredClone(bytes, { transfer: [bytes.buffer] })
      return bytes as Buffer
    }
    return Buffer.from(value)
  },
  decode(block: Uint8Array) {
    const text = Buffer.from(block).toString()
    if (text.startsWith('undecodable')) throw boom
    return text
  }
}

test('a codec that throws while encoding', async (t) => {
  const files = new MemoryFiles()
  const feed = open(files.factory(), null, { valueEncoding: delicate })
  await feed.append(['a', 'b'])
  for (const batch of [
    ['bad'],
    ['bad', 'x', 'y'],
    ['x', 'bad', 'y'],
    ['x', 'y', 'bad'],
    ['x', 'odd', 'y'],
    ['gone']
  ]) {
    const error = await rejection((async () => feed.append(batch))(), batch.join())
    t.equal(typeof error.code, 'string', `[${batch}]: ${String(error.code)}`)
    if (batch.includes('gone')) t.equal(error.code, 'ERR_ENCODING')
    else if (!batch.includes('odd')) t.ok(isCausedBy(error, boom), "with the codec's error as cause")
    await assertFeedIs(feed, { blocks: bytes('a', 'b') })
  }
  t.equal(await feed.append('c'), 2, 'the next append works')

  const answers = await Promise.allSettled(
    ['d', ['e', 'bad'], 'f', ['bad', 'g'], [], ['h', 'i']].map(async (value) => feed.append(value))
  )
  t.deepEqual(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.status)),
    [3, 'rejected', 4, 'rejected', 5, 5],
    'of appends at once only the guilty ones are rejected'
  )
  const blocks = bytes('a', 'b', 'c', 'd', 'f', 'h', 'i')
  await assertFeedIs(feed, { blocks }, replicaOf)
  const stream = feed.feed.createWriteStream()
  const failed = new Promise<Error & { code?: unknown }>((resolve) => stream.on('error', resolve))
  stream.write('bad')
  t.equal(typeof (await within(failed, 'the stream')).code, 'string', 'a write stream fails')
  t.equal(
    typeof (await rejection((async () => feed.put(0, 'bad', await feed.proof(0)))(), 'put')).code,
    'string',
    'put'
  )
  await feed.close()
  const again = open(files.factory())
  await again.ready()
  await assertFeedIs(again, { blocks })
  await again.close()
})

test('a codec that throws while decoding', async (t) => {
  const feed = open(new MemoryFiles().factory(), null, { valueEncoding: delicate })
  await feed.append(['a', 'undecodable', 'c'])
  const reads: Record<string, () => Promise<unknown>> = {
    get: () => feed.get(1),
    getBatch: () => feed.getBatch(0, 3),
    head: async () => {
      await feed.append('undecodable too')
      return feed.head()
    },
    'get with its own encoding': () =>
      feed.get(0, {
        valueEncoding: {
          encode: Buffer.from,
          decode: () => {
            throw boom
          }
        }
      })
  }
  for (const [name, read] of Object.entries(reads)) {
    const error = await rejection(read(), name)
    t.equal(typeof error.code, 'string', `${name}: ${String(error.code)}`)
    t.ok(isCausedBy(error, boom), "with the codec's error as cause")
  }
  const stream = feed.feed.createReadStream()
  const outcome = new Promise<Error & { code?: unknown }>((resolve) => stream.on('error', resolve))
  stream.on('data', () => {})
  t.equal(typeof (await within(outcome, 'the stream')).code, 'string', 'a read stream fails')
  t.equal(await feed.get(0), 'a', 'other blocks can be read')
  await assertFeedIs(feed, { blocks: bytes('a', 'undecodable', 'c', 'undecodable too') })
  await feed.close()
})

test('an onwrite hook that fails', async (t) => {
  const seen: unknown[][] = []
  const onwrite = (index: number, data: unknown, peer: unknown, callback: (error: Error | null) => void) => {
    seen.push([index, String(data), peer])
    const text = String(data)
    if (text === 'throws') throw boom
    const answer = () => callback(text.startsWith('refused') ? boom : null)
    if (text.endsWith('late')) setImmediate(answer)
    else answer()
    // A hook that answers twice must not do harm.
    if (text === 'twice') callback(null)
  }
  const feed = open(new MemoryFiles().factory(), null, { onwrite })
  await feed.append(['a', 'b late'])
  for (const batch of [
    ['refused'],
    ['refused late', 'x'],
    ['x', 'refused', 'y late'],
    ['x late', 'refused late'],
    ['throws']
  ]) {
    const error = await rejection((async () => feed.append(batch))(), batch.join())
    t.ok(isCausedBy(error, boom), `[${batch}] is rejected with the hook's error`)
    await assertFeedIs(feed, { blocks: bytes('a', 'b late') })
  }
  t.equal(await feed.append('twice'), 2, 'the next append works')
  const answers = await Promise.allSettled(
    ['c', 'refused late', 'd late', ['e', 'refused']].map((v) => feed.append(v))
  )
  t.deepEqual(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.status)),
    [3, 'rejected', 4, 'rejected'],
    'of appends at once only the refused ones are rejected'
  )
  t.deepEqual(
    seen.slice(0, 2),
    [
      [0, 'a', null],
      [1, 'b late', null]
    ],
    'it is told index, value and no peer'
  )
  const blocks = bytes('a', 'b late', 'twice', 'c', 'd late')
  await assertFeedIs(feed, { blocks }, replicaOf)

  seen.length = 0
  const told: [number, string | null, unknown][] = []
  const replica = open(new MemoryFiles().factory(), feed.key, {
    sparse: true,
    onwrite(index: number, data: Uint8Array | null, peer: unknown, callback: (error: Error | null) => void) {
      told.push([index, data && Buffer.from(data).toString(), peer])
      setImmediate(callback, index === 1 ? boom : null)
    }
  })
  t.ok(
    isCausedBy(await rejection(replica.put(1, blocks[1], await feed.proof(1)), 'put'), boom),
    'a refused put'
  )
  t.equal(replica.has(1), false, 'is not stored')
  await replica.put(3, blocks[3], await feed.proof(3))
  await replica.put(4, null, await feed.proof(4, { hash: true }))
  t.deepEqual(
    told,
    [
      [1, 'b late', null],
      [3, 'c', null],
      [4, null, null]
    ],
    'it is told the block, or null for a hash'
  )
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => replica.has(i)),
    [false, false, false, true, false]
  )
  await replica.close()
  await feed.close()
})

test('an append before the feed is open asks onwrite with the true index', async (t) => {
  const files = new MemoryFiles()
  const first = open(files.factory())
  await first.append(['a', 'b', 'c'])
  await first.close()
  const indexes: number[] = []
  const feed = open(files.factory(), null, {
    onwrite(index: number, _data: unknown, _peer: unknown, callback: (error: null) => void) {
      indexes.push(index)
      callback(null)
    }
  })
  t.equal(await feed.append(['d', 'e']), 3)
  t.deepEqual(indexes, [3, 4])
  await feed.close()
})

type SignCallback = (error: Error | null, signature?: unknown) => void

test('a signer that fails', async (t) => {
  let how: (data: Uint8Array, secretKey: Uint8Array, callback: SignCallback) => void = () => {}
  const honest = (data: Uint8Array, secretKey: Uint8Array, callback: SignCallback) =>
    setImmediate(() => callback(null, sign(data, secretKey)))
  const crypto = {
    sign: (data: Uint8Array, secretKey: Uint8Array, callback: SignCallback) => how(data, secretKey, callback),
    verify: (_data: Uint8Array, _signature: Uint8Array, _key: Uint8Array, callback: SignCallback) =>
      callback(null, true)
  }
  const files = new MemoryFiles()
  const feed = open(files.factory(), null, { crypto })
  how = honest
  await feed.append(['a', 'b'])
  const failures: Record<string, typeof how> = {
    'answers an error': (_data, _secretKey, callback) => callback(boom),
    'answers an error later': (_data, _secretKey, callback) => setImmediate(callback, boom),
    throws: () => {
      throw boom
    },
    'answers nothing': (_data, _secretKey, callback) => callback(null),
    'answers a short signature': (_data, _secretKey, callback) => callback(null, Buffer.alloc(63)),
    'answers a long signature': (_data, _secretKey, callback) => callback(null, Buffer.alloc(65)),
    'answers text': (_data, _secretKey, callback) => callback(null, 'signature')
  }
  for (const [name, failure] of Object.entries(failures)) {
    how = failure
    const [one, two] = await Promise.allSettled([feed.append('x'), feed.append(['y', 'z'])])
    for (const answer of [one, two]) {
      t.equal(
        answer.status === 'rejected' && typeof answer.reason.code,
        'string',
        `${name}: rejected with a code`
      )
    }
    how = honest
    await assertFeedIs(feed, { blocks: bytes('a', 'b') })
  }
  t.equal(await feed.append(['c', 'd', 'e']), 2, 'the next append works')
  await assertFeedIs(feed, { blocks: bytes('a', 'b', 'c', 'd', 'e') }, replicaOf)
  await feed.close()
})

test('a verifier that fails', async (t) => {
  const source = open(new MemoryFiles().factory())
  await source.append(['a', 'b', 'c'])
  const failures: Record<string, (callback: (error: Error | null, valid?: unknown) => void) => void> = {
    'answers an error': (callback) => callback(boom),
    'answers an error later': (callback) => setImmediate(callback, boom),
    throws: () => {
      throw boom
    },
    'says no': (callback) => callback(null, false)
  }
  for (const [name, failure] of Object.entries(failures)) {
    let calls = 0
    const verify = (
      _data: unknown,
      _signature: unknown,
      _key: unknown,
      callback: (error: Error | null) => void
    ) => {
      calls++
      failure(callback)
    }
    const crypto = { sign: () => {}, verify }
    const replica = open(new MemoryFiles().factory(), source.key, { sparse: true, crypto })
    const error = await rejection(replica.put(1, 'b', await source.proof(1)), 'put')
    if (name === 'says no')
      t.equal(error.message, 'Remote signature could not be verified', 'put is rejected')
    else t.ok(isCausedBy(error, boom), `${name}: put is rejected with the verifier's error`)
    t.equal(replica.length, 0, 'and changes nothing')
    t.equal(calls, name === 'says no' ? 2 : 1, 'the old rule is tried after a no')
    await replica.close()
  }
  await source.close()
})

test('a storage function that throws, or gives nothing', async (t) => {
  const good = new MemoryFiles().factory()
  for (const name of ['key', 'secret_key', 'tree', 'data', 'bitfield', 'signatures']) {
    for (const bad of [
      () => {
        throw boom
      },
      () => undefined,
      () => ({})
    ]) {
      const [answer] = await Promise.allSettled([
        (async () => open((file: string) => (file === name ? bad() : good(file))).ready())()
      ])
      assert.equal(answer.status, 'rejected', `${name}: ${String(bad)}`)
      assert.equal(typeof (answer as PromiseRejectedResult).reason.code, 'string', `${name}: ${String(bad)}`)
    }
  }
  t.pass('fails the opening with a code')
})

test('a storage that throws, answers twice or answers at once', async (t) => {
  const pair = keyPair(Buffer.alloc(32, 3))
  const wrap = (change: (method: (...args: unknown[]) => void) => (...args: unknown[]) => void) => {
    const plain = new MemoryFiles().plainFactory()
    return (name: string) => {
      const storage = plain(name) as unknown as Record<string, (...args: unknown[]) => void>
      return Object.fromEntries(Object.entries(storage).map(([key, method]) => [key, change(method)]))
    }
  }
  let throws = false
  const throwing = wrap((method) => (...args) => {
    if (throws) throw boom
    method(...args)
  })
  const feed: FeedFace = open(throwing, pair.publicKey, { secretKey: pair.secretKey })
  await feed.append(['a', 'b'])
  throws = true
  t.equal(typeof (await rejection((async () => feed.append('x'))(), 'append')).code, 'string', 'append')
  t.equal(typeof (await rejection((async () => feed.get(0))(), 'get')).code, 'string', 'get')
  throws = false
  const [next] = await Promise.allSettled([feed.append(['c'])])
  t.ok(
    next.status === 'fulfilled' || next.reason.code === 'ERR_WRITE_REFUSED',
    'the feed works, or says why not'
  )
  await feed.close()

  const twice = wrap((method) => (...args) => {
    const callback = args.pop() as (...values: unknown[]) => void
    method(...args, (...values: unknown[]) => {
      callback(...values)
      callback(...values)
    })
  })
  const stuttering = open(twice)
  await stuttering.append(['a', 'b'])
  await stuttering.append('c')
  await assertFeedIs(stuttering, { blocks: bytes('a', 'b', 'c') })
  t.pass('answers that come twice')
  await stuttering.close()
})
