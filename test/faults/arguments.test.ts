/** Wrong arguments: a typed error with a code for the caller, at once, and the feed goes on as if nothing had been. */
import assert from 'node:assert/strict'
import test, { type Test } from 'tape'
import ddatabase, { Feed } from '../../src/index.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const open = ours()
const BLOCKS = Array.from({ length: 5 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')
const LIMIT = 8_388_608 - 4096
const replicaOf = (key: Buffer) => open(new MemoryFiles().factory(), key, { sparse: true })

async function fiveBlocks(options: object = {}): Promise<FeedFace> {
  const feed = open(new MemoryFiles().factory(), null, options)
  await feed.append(BLOCKS)
  return feed
}

/** The feed is as it was, and works. */
async function assertUntouched(t: Test, feed: FeedFace): Promise<void> {
  await assertFeedIs(feed, { blocks: BLOCKS })
  assert.equal(await feed.append(NEXT), BLOCKS.length)
  await assertFeedIs(feed, { blocks: [...BLOCKS, NEXT] }, replicaOf)
  t.pass('the feed goes on as if nothing had been')
  await feed.close()
}

const BAD_NUMBERS = [-1, 0.5, Number.NaN, Infinity, -Infinity, 2 ** 53, '1', 'x', {}, 1n, true]

type Call = (feed: FeedFace, bad: unknown) => Promise<unknown>

const PROOF = { nodes: [], signature: null }
const CALLS: Record<string, Call> = {
  get: (feed, bad) => feed.call('get', bad, { timeout: 50 }),
  'getBatch, start': (feed, bad) => feed.call('getBatch', bad, 3, { timeout: 50 }),
  'getBatch, end': (feed, bad) => feed.call('getBatch', 0, bad, { timeout: 50 }),
  seek: (feed, bad) => feed.call('seek', bad, { wait: false }),
  'clear, start': (feed, bad) => feed.call('clear', bad, 3),
  'clear, end': (feed, bad) => feed.call('clear', 1, bad),
  truncate: (feed, bad) => feed.call('truncate', bad),
  signature: (feed, bad) => feed.call('signature', bad),
  rootHashes: (feed, bad) => feed.call('rootHashes', bad),
  verify: (feed, bad) => feed.call('verify', bad, Buffer.alloc(64)),
  proof: (feed, bad) => feed.call('proof', bad),
  put: (feed, bad) => feed.call('put', bad, NEXT, { ...PROOF, nodes: [] })
}

// A range that ends at infinity is a range to the end.
const MEANINGFUL = new Set(['clear, end Infinity', 'getBatch, end Infinity'])

for (const style of ['promise', 'callback'] as const) {
  test(`wrong indexes and offsets, ${style}`, async (t) => {
    const feed = ours(() => style)(new MemoryFiles().factory())
    await feed.append(BLOCKS)
    for (const [name, call] of Object.entries(CALLS)) {
      const wrong: string[] = []
      for (const bad of BAD_NUMBERS) {
        if (MEANINGFUL.has(`${name} ${String(bad)}`)) continue
        const what = `${name}(${typeof bad === 'string' ? `'${bad}'` : String(bad)})`
        // Written so that an error which is thrown at once counts too.
        const error = await rejection((async () => call(feed, bad))(), what).catch(
          (failure) => failure as Error
        )
        if (typeof (error as { code?: unknown }).code !== 'string') wrong.push(`${what}: ${error.stack}`)
        else if ((error as { code?: unknown }).code === 'ETIMEDOUT') wrong.push(`${what} waited instead`)
      }
      t.deepEqual(wrong, [], `${name}: an error with a code for each of ${BAD_NUMBERS.length} wrong numbers`)
    }
    await assertUntouched(t, feed)
  })
}

test('wrong indexes for the synchronous methods', async (t) => {
  const feed = await fiveBlocks()
  const raw = feed.feed as unknown as Record<string, (...args: unknown[]) => unknown>
  for (const bad of BAD_NUMBERS) {
    for (const [name, args] of [
      ['has', [bad]],
      ['has', [0, bad]],
      ['has', [bad, 3]],
      ['downloaded', [bad]],
      ['downloaded', [0, bad]],
      ['digest', [bad]]
    ] as const) {
      let answer: unknown
      try {
        answer = raw[name]!(...args)
      } catch (error) {
        const { code } = error as { code?: unknown }
        assert.equal(typeof code, 'string', `${name}(${args.map(String)}): ${(error as Error).stack}`)
        continue
      }
      const [low, high] = name === 'downloaded' ? [0, 5] : [0, Number.MAX_SAFE_INTEGER]
      const number = Number(answer)
      assert.ok(number >= low && number <= high, `${name}(${args.map(String)}) answered ${String(answer)}`)
      if (name === 'has' && args.length === 1) assert.equal(answer, false, `has(${String(bad)})`)
    }
  }
  t.pass('an error with a code, or an answer that is true')
  await assertUntouched(t, feed)
})

test('empty and reversed ranges', async (t) => {
  const feed = await fiveBlocks()
  t.equal(feed.has(0, 0), true, 'an empty range is complete')
  t.equal(feed.has(3, 3), true, 'anywhere')
  await feed.clear(4, 0).catch((error) => t.equal(typeof error.code, 'string', 'clear(4, 0) may be refused'))
  t.equal(feed.has(0, 5), true, 'clear(4, 0) clears nothing')
  await feed.clear(3, 3)
  t.equal(feed.has(0, 5), true, 'clear(3, 3) clears nothing')
  await feed.clear(4, 2).catch((error) => t.equal(typeof error.code, 'string', 'clear(4, 2) may be refused'))
  t.equal(feed.has(0, 5), true, 'clear(4, 2) clears nothing')
  for (const [start, end] of [
    [3, 3],
    [4, 2]
  ] as const) {
    const answer = await feed.getBatch(start, end).catch((error) => error)
    if (answer instanceof Error)
      t.equal(typeof (answer as { code?: unknown }).code, 'string', 'getBatch may refuse')
    else t.deepEqual(answer, [], `getBatch(${start}, ${end}) is empty`)
  }
  await assertUntouched(t, feed)
})

test('clearing over the end clears what is there, and truncating to more does nothing', async (t) => {
  const feed = await fiveBlocks()
  await feed
    .clear(3, 100)
    .catch((error) => t.equal(typeof error.code, 'string', 'clear(3, 100) may be refused'))
  const cleared = !feed.has(3)
  const present = [true, true, true, !cleared, !cleared]
  await assertFeedIs(feed, { blocks: BLOCKS, present })
  await feed
    .clear(50, 60)
    .catch((error) => t.equal(typeof error.code, 'string', 'clear(50, 60) may be refused'))
  await feed
    .truncate(50)
    .catch((error) => t.equal(typeof error.code, 'string', 'truncate(50) may be refused'))
  await feed.truncate(5)
  await assertFeedIs(feed, { blocks: BLOCKS, present })
  await feed.append(NEXT)
  await assertFeedIs(feed, { blocks: [...BLOCKS, NEXT], present: [...present, true] }, replicaOf)
  t.pass('nothing else has changed')
  await feed.close()
})

test('wrong options', async (t) => {
  const feed = await fiveBlocks()
  for (const timeout of [-1, Number.NaN, 'soon', {}]) {
    const error = await rejection(
      (async () => feed.get(7, { timeout, wait: true }))(),
      `timeout ${String(timeout)}`
    )
    t.equal(typeof error.code, 'string', `get with a timeout of ${String(timeout)}: ${String(error.code)}`)
  }
  for (const maxBlockSize of [-1, Number.NaN, 0.5, '3']) {
    const outcome = await within(
      new Promise((resolve) => {
        try {
          const stream = feed.feed.createWriteStream({ maxBlockSize })
          stream.on('error', resolve)
          stream.on('finish', () => resolve(null))
          ;(stream as unknown as { end(): void }).end()
        } catch (error) {
          resolve(error)
        }
      }),
      `maxBlockSize ${maxBlockSize}`
    )
    if (outcome !== null)
      t.equal(typeof (outcome as { code?: unknown }).code, 'string', 'the option is refused')
    else t.pass('the option is ignored')
  }
  for (const options of [{ start: -1 }, { start: 0.5 }, { end: Number.NaN }, { start: '1' }, { batch: -1 }]) {
    const outcome = await within(
      new Promise((resolve) => {
        try {
          const stream = feed.feed.createReadStream({ ...options, timeout: 50 })
          stream.on('data', () => {})
          stream.on('error', resolve)
          stream.on('end', () => resolve(null))
        } catch (error) {
          resolve(error)
        }
      }),
      `createReadStream(${JSON.stringify(options)})`
    )
    if (outcome !== null) {
      t.equal(typeof (outcome as { code?: unknown }).code, 'string', `${JSON.stringify(options)} is refused`)
    } else t.pass(`${JSON.stringify(options)} ends`)
  }
  await assertUntouched(t, feed)
})

test('wrong keys and storages are refused by the constructor', (t) => {
  const create = ddatabase as unknown as (...args: unknown[]) => unknown
  const Class = Feed as unknown as new (...args: unknown[]) => unknown
  const storage = () => {
    throw new Error('the storage must not be asked')
  }
  const keys = [Buffer.alloc(31), Buffer.alloc(33), Buffer.alloc(16), Buffer.alloc(64), Buffer.alloc(0)]
  const texts = ['', 'ab', 'a'.repeat(63), 'g'.repeat(64), 'a'.repeat(65), 'a'.repeat(128)]
  for (const key of [...keys, ...texts]) {
    const what = typeof key === 'string' ? `'${key}'` : `${key.byteLength} bytes`
    for (const make of [
      () => create(storage, key),
      () => create(storage, null, { key }),
      () => create(storage, { key }),
      () => new Class(storage, key)
    ]) {
      t.equal(thrownCode(make), 'string', `a key of ${what}`)
    }
  }
  for (const key of [5, true, {}, Symbol('key')])
    t.equal(
      thrownCode(() => create(storage, key, {})),
      'string',
      String(key)
    )
  for (const secretKey of [Buffer.alloc(32), Buffer.alloc(65), 'ab', 'z'.repeat(128), 7]) {
    const options = { secretKey }
    t.equal(
      thrownCode(() => create(storage, null, options)),
      'string',
      `a secret key of ${String(secretKey).length}`
    )
  }
  for (const bad of [undefined, null, 5, {}, true])
    t.equal(
      thrownCode(() => create(bad)),
      'string',
      `storage ${bad}`
    )
  t.end()
})

/** The type of the code of what `make` throws. */
function thrownCode(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    return typeof (error as { code?: unknown }).code
  }
  return 'nothing was thrown'
}

test('the largest block', async (t) => {
  const feed = await fiveBlocks()
  const largest = Buffer.alloc(LIMIT, 1)
  const tooLarge = Buffer.alloc(LIMIT + 1, 2)
  t.equal((await rejection(feed.append(tooLarge), 'too large')).code, 'ERR_BLOCK_TOO_LARGE')
  t.equal((await rejection(feed.append([NEXT, tooLarge, NEXT]), 'in a batch')).code, 'ERR_BLOCK_TOO_LARGE')
  await assertFeedIs(feed, { blocks: BLOCKS })

  const [first, guilty, third] = await Promise.allSettled([
    feed.append('first'),
    feed.append([tooLarge]),
    feed.append('third')
  ])
  t.equal(first.status, 'fulfilled', 'an append beside it')
  t.equal(guilty.status === 'rejected' && guilty.reason.code, 'ERR_BLOCK_TOO_LARGE', 'only the guilty call')
  t.equal(third.status === 'fulfilled' && third.value, BLOCKS.length + 1, 'the append after it')
  t.equal(await feed.append(largest), BLOCKS.length + 2, 'exactly the limit is accepted')
  const blocks = [...BLOCKS, Buffer.from('first'), Buffer.from('third'), largest]
  await assertFeedIs(feed, { blocks }, replicaOf)
  await feed.close()
})

test('a longer block that is stored already stays readable', async (t) => {
  const files = new MemoryFiles()
  const theirs = published(files.factory())
  const long = Buffer.alloc(8_388_608, 3)
  await theirs.append([Buffer.from('before'), long, Buffer.from('after')])
  await theirs.close()
  const feed = open(files.factory())
  t.ok(Buffer.from((await feed.get(1)) as Uint8Array).equals(long), 'get')
  const batch = (await feed.getBatch(0, 3)) as Uint8Array[]
  t.ok(Buffer.from(batch[1]!).equals(long), 'getBatch')
  t.deepEqual({ ...(await feed.audit()) }, { valid: 3, invalid: 0 }, 'audit')
  t.equal(await feed.append('x'), 3, 'and the feed can be appended to')
  await feed.close()
})

test('a feed that is not ours', async (t) => {
  const source = await fiveBlocks()
  const replica = replicaOf(source.key)
  for (const value of ['x', ['x', 'y']]) {
    const error = await rejection(replica.append(value), 'append')
    t.equal(error.code, 'ERR_NOT_WRITABLE')
    t.equal(error.message, 'This feed is not writable. Did you create it?')
  }
  const stream = replica.feed.createWriteStream()
  const failed = new Promise<Error & { code?: unknown }>((resolve) => stream.on('error', resolve))
  stream.write(NEXT)
  t.equal((await within(failed, 'the write stream')).code, 'ERR_NOT_WRITABLE', 'through a write stream')
  await replica.put(2, BLOCKS[2], await source.proof(2))
  t.equal(replica.length, 5, 'it still takes blocks')
  await replica.close()
  t.equal(
    typeof (
      await rejection(
        source.close().then(() => source.append('x')),
        'append'
      )
    ).code,
    'string',
    'closed'
  )
})
