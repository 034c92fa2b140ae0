/**
 * Every storage operation of an opening fails once. The opening is rejected with a code and nothing hangs; once the
 * fault is gone the same object and a new one open, with the same key, and with no secret lost.
 */
import assert from 'node:assert/strict'
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import { type FaultMode, FaultPlan } from '../helpers/faulty-storage.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { type Failure, MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { rejection, settle } from '../helpers/watchdog.ts'
import { assertDiskError, isDead, sweep } from './sweep.ts'

const open = ours()
const BLOCKS = Array.from({ length: 6 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = [Buffer.from('next 0'), Buffer.from('next 1'), Buffer.from('next 2')]
const PAIR = keyPair(Buffer.alloc(32, 7))
const replicaOf = (key: Buffer) => open(new MemoryFiles().factory(), key, { sparse: true })

/** Opens with the nth operation failing. Answers the feed and the error, or null if it opened. */
async function disturbed(
  plan: FaultPlan,
  mode: FaultMode,
  n: number,
  create: () => FeedFace
): Promise<{ feed: FeedFace; error: Error | null }> {
  plan.arm(mode, n)
  const feed = create()
  const answers = await Promise.allSettled([feed.ready(), feed.ready()])
  await settle()
  plan.disarm()
  const [answer, second] = answers
  assert.equal(second.status, answer.status, 'all who wait for the opening get the same answer')
  if (answer.status === 'fulfilled') {
    assert.ok(plan.injected === null || !plan.changing, `a failed ${plan.where} is told`)
    return { feed, error: null }
  }
  assert.notEqual(plan.injected, null, `without a fault: ${answer.reason?.stack}`)
  assertDiskError(answer.reason)
  return { feed, error: answer.reason }
}

test('failing storage: open an existing feed', async (t) => {
  const base = new MemoryFiles()
  const first = open(base.factory())
  await first.append(BLOCKS.slice(0, 4))
  await first.append(BLOCKS.slice(4))
  const { key, secretKey } = first
  await first.close()
  const before = base.toHex()

  await sweep(t, async (plan, mode, n) => {
    const files = base.clone()
    const { feed, error } = await disturbed(plan, mode, n, () => open(files.factory(plan)))
    if (error !== null) {
      assert.deepEqual(files.toHex(), before, 'no byte has changed')
      await feed.ready()
    }
    for (const subject of [feed, open(files.clone().factory()), published(files.clone().factory())]) {
      await subject.ready()
      assert.deepEqual(subject.key, key, 'the key is the same')
      assert.deepEqual(subject.secretKey, secretKey, 'the secret key is the same')
      assert.equal(subject.writable, true, 'writable')
      await subject.append(NEXT)
      await assertFeedIs(subject, { blocks: [...BLOCKS, ...NEXT] }, replicaOf)
      await subject.close()
    }
  })
})

const FRESH: Record<string, { key: Uint8Array | null; options: object; writable: boolean }> = {
  'with a generated key': { key: null, options: {}, writable: true },
  'with given keys': { key: PAIR.publicKey, options: { secretKey: PAIR.secretKey }, writable: true },
  'that belongs to somebody else': { key: PAIR.publicKey, options: { sparse: true }, writable: false }
}

for (const [name, { key, options, writable }] of Object.entries(FRESH)) {
  test(`failing storage: open a new feed ${name}`, async (t) => {
    const create = (storage: unknown, more: object = {}) => open(storage, key, { ...options, ...more })

    /** It opens and works. A dead disk may leave a half made feed, which says so and can be overwritten. */
    async function assertOpens(feed: FeedFace, files: MemoryFiles, mode: FaultMode): Promise<void> {
      const [answer] = await Promise.allSettled([feed.ready()])
      if (answer.status === 'fulfilled') {
        await assertUsable(feed, files, writable)
        return
      }
      assert.ok(isDead(mode), `it opens once the fault is gone: ${answer.reason?.stack}`)
      assert.equal(typeof answer.reason.code, 'string', 'a half made feed says so')
      const anew = create(files.factory(), { overwrite: true })
      await anew.ready()
      await assertUsable(anew, files, writable)
    }

    await sweep(t, async (plan, mode, n) => {
      const files = new MemoryFiles()
      const { feed, error } = await disturbed(plan, mode, n, () => create(files.factory(plan)))
      const crashed = files.clone()
      // A public key without its secret would be a feed that nobody can ever write.
      if (name === 'with a generated key' && (files.read('key')?.byteLength ?? 0) > 0) {
        assert.equal(files.read('secret_key')?.byteLength, 64, 'a stored key has its secret key beside it')
      }
      assert.ok(error === null || !feed.feed.opened, 'not open after a failed opening')
      // The same object, and a new process after the failure.
      await assertOpens(feed, files, mode)
      await assertOpens(create(crashed.factory()), crashed, mode)
    })
  })
}

async function assertUsable(feed: FeedFace, files: MemoryFiles, writable: boolean): Promise<void> {
  assert.equal(feed.writable, writable, 'writable')
  assert.equal(feed.length, 0, 'empty')
  if (writable) await feed.append(NEXT)
  const { key, secretKey } = feed
  await feed.close()
  for (const package_ of [open, published]) {
    const again = package_(files.clone().factory())
    await again.ready()
    assert.deepEqual(again.key, key, 'the key after reopening')
    assert.deepEqual(again.secretKey, secretKey, 'the secret key after reopening')
    assert.equal(again.writable, writable, 'writable after reopening')
    if (writable) await assertFeedIs(again, { blocks: NEXT }, replicaOf)
    await again.close()
  }
}

for (const [name, key, options] of [
  ['a generated key', null, {}],
  ['given keys', PAIR.publicKey, { secretKey: PAIR.secretKey }]
] as const) {
  test(`failing storage: overwrite a feed with ${name}`, async (t) => {
    const base = new MemoryFiles()
    const first = open(base.factory())
    await first.append(BLOCKS)
    const old = first.key
    await first.close()
    await sweep(t, async (plan, mode, n) => {
      const files = base.clone()
      const overwrite = { ...options, overwrite: true }
      const { feed, error } = await disturbed(plan, mode, n, () => open(files.factory(plan), key, overwrite))
      const crashed = files.clone()
      if (error !== null) await feed.ready()
      assert.notDeepEqual(feed.key, old, 'the old key is gone')
      await assertUsable(feed, files, true)

      // A new process that knows nothing of the overwriting: the old feed, or a new one, or an error with a code.
      const other = open(crashed.factory())
      const [answer] = await Promise.allSettled([other.ready()])
      if (answer.status === 'rejected') assert.equal(typeof answer.reason.code, 'string', 'half overwritten')
      else {
        const blocks = other.length === 0 ? [] : BLOCKS
        if (blocks.length > 0) assert.deepEqual(other.key, old, 'the old blocks belong to the old key')
        await assertFeedIs(other, { blocks })
        if (other.writable) {
          await other.append(NEXT)
          await assertFeedIs(other, { blocks: [...blocks, ...NEXT] }, replicaOf)
        }
        await other.close()
      }
      const anew = open(crashed.factory(), key, overwrite)
      await anew.ready()
      await assertUsable(anew, crashed, true)
    })
  })
}

test('failing storage: a creation that fails, and so does taking it back', async (t) => {
  for (const done of ['nothing', 'half', 'everything'] as const) {
    const refusals = done === 'half' ? /^ERR_(SECRET_)?KEY_(MISSING|DAMAGED)$/ : /^ERR_KEY_MISSING$/
    for (let n = 1; ; n++) {
      const files = new MemoryFiles()
      let writingFailed = false
      let left = n
      const error = Object.assign(new Error('EMFILE: made by a test'), { code: 'EMFILE' })
      const before = (file: string, operation: string): Failure | undefined => {
        if (writingFailed && --left === 0) return { error, done }
        if (file !== 'key' || operation !== 'write' || writingFailed) return undefined
        writingFailed = true
        return { error, done: 'everything' }
      }
      const { code } = await rejection(open(files.factory({ before })).ready(), 'opening')
      if (left > 0) break
      const again = open(files.factory())
      const [answer] = await Promise.allSettled([again.ready()])
      const what = `operation ${n} after it fails, ${done} of it is done`
      t.equal(code, 'ERR_STORAGE', what)
      if (answer.status === 'rejected') t.match(answer.reason.code, refusals, 'a half made feed says so')
      else t.equal(again.writable, true, 'no key is left without its secret key')
      await again.close()
    }
  }
})

test('failing storage: an opening that fails is told to whoever waits, whatever they called', async (t) => {
  const base = new MemoryFiles()
  const first = open(base.factory())
  await first.append(BLOCKS)
  await first.close()
  const calls: Record<string, (feed: FeedFace) => Promise<unknown>> = {
    ready: (feed) => feed.ready(),
    append: (feed) => feed.append('x'),
    get: (feed) => feed.get(0),
    getBatch: (feed) => feed.getBatch(0, 2),
    head: (feed) => feed.head(),
    seek: (feed) => feed.seek(1),
    clear: (feed) => feed.clear(0, 1),
    truncate: (feed) => feed.truncate(1),
    proof: (feed) => feed.proof(0),
    put: (feed) => feed.put(0, 'x', { nodes: [], signature: null }),
    audit: (feed) => feed.audit(),
    flush: (feed) => feed.flush()
  }
  for (const [name, call] of Object.entries(calls)) {
    for (const n of [1, 2, 3]) {
      const plan = new FaultPlan()
      plan.arm('dead', n)
      const feed = open(base.clone().factory(plan))
      const [answer] = await Promise.allSettled([call(feed)])
      plan.disarm()
      if (answer.status === 'fulfilled') t.fail(`${name} answered although operation ${n} failed`)
      else
        t.doesNotThrow(() => assertDiskError(answer.reason), `${name}, operation ${n}: ${answer.reason.code}`)
      await feed.close().catch(() => {})
    }
  }
})
