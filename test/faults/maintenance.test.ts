/** Every storage operation of clear, truncate, flush, finalize and close fails once. */
import assert from 'node:assert/strict'
import test from 'tape'
import { FAULT_MODES, type FaultMode, FaultPlan } from '../helpers/faulty-storage.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs, byteLengthOf, naiveRoots, naiveTreeHash } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { settle } from '../helpers/watchdog.ts'
import { assertDiskError, isDead, sweep } from './sweep.ts'

const open = ours()
const BLOCKS = Array.from({ length: 9 }, (_, i) => Buffer.from(`block ${i}${'.'.repeat(i)}`))
const NEXT = Array.from({ length: 7 }, (_, i) => Buffer.from(`next ${i}`))

/** The lengths that {@link nineBlocks} signs. */
const SIGNED = [4, 5, 8, 9]

/** Nine blocks in batches of four, one, three and one. */
async function nineBlocks(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = open(files.factory())
  await feed.append(BLOCKS.slice(0, 4))
  await feed.append(BLOCKS[4])
  await feed.append(BLOCKS.slice(5, 8))
  await feed.append(BLOCKS[8])
  await feed.close()
  return files
}

/**
 * Makes the call with the nth operation failing; answers its error, or null. A failure may stay untold only in an
 * operation named `tidying`, one whose work changes nothing that can be seen.
 */
async function disturbed(
  plan: FaultPlan,
  mode: FaultMode,
  n: number,
  call: () => Promise<unknown>,
  tidying?: string
): Promise<Error | null> {
  plan.arm(mode, n)
  const [answer] = await Promise.allSettled([call()])
  await settle()
  plan.disarm()
  if (answer.status === 'fulfilled') {
    const harmless = plan.injected === null || !plan.changing || plan.where === tidying
    assert.ok(harmless, `a failed ${plan.where} is told`)
    return null
  }
  assert.notEqual(plan.injected, null, `without a fault: ${answer.reason?.stack}`)
  assertDiskError(answer.reason)
  return answer.reason as Error
}

/** Every block of the feed, whatever its length is. */
async function assertReadable(feed: FeedFace): Promise<void> {
  for (let i = 0; i < feed.length; i++) {
    assert.deepEqual(Buffer.from((await feed.get(i, { wait: false })) as Uint8Array), BLOCKS[i], `block ${i}`)
  }
}

/** Opens the bytes with both packages. */
async function reopened(files: MemoryFiles, check: (feed: FeedFace) => Promise<void>): Promise<void> {
  for (const package_ of [published, open]) {
    const feed = package_(files.clone().factory())
    await feed.ready()
    await check(feed)
    await feed.close()
  }
}

for (const [where, start, end] of [
  ['in the middle', 2, 6],
  ['at the end', 6, 9],
  ['everything', 0, 9]
] as const) {
  test(`failing storage: clear ${where}`, async (t) => {
    const base = await nineBlocks()
    await sweep(t, async (plan, mode, n) => {
      const files = base.clone()
      const feed = open(files.factory(plan))
      await feed.ready()
      const error = await disturbed(plan, mode, n, () => feed.clear(start, end))
      // Of the range each block is there and right or not there; nothing else is touched.
      const check = async (subject: FeedFace, blocks: Buffer[]) => {
        const present = blocks.map((_, i) => (i >= start && i < end ? subject.has(i) : true))
        if (error === null) assert.equal(present.slice(start, end).includes(true), false, 'cleared')
        await assertFeedIs(subject, { blocks, present })
      }
      await check(feed, BLOCKS)
      await reopened(files, (again) => check(again, BLOCKS))
      const all = [...BLOCKS, ...NEXT]
      await feed.append(NEXT)
      await check(feed, all)
      await feed.close()
      await reopened(files, (again) => check(again, all))

      // The fault is gone: a new feed can do it.
      const again = open(files.factory())
      await again.clear(start, end)
      const present = all.map((_, i) => i < start || i >= end)
      await assertFeedIs(again, { blocks: all, present })
      await again.close()
    })
  })
}

// A new signature between old ones, cut short by a disk that is then gone, can be neither finished nor undone.
const NEVER_SIGNED = FAULT_MODES.filter((mode) => mode !== 'dead-torn')

for (const [where, length, modes] of [
  ['to a length that was signed', 5, FAULT_MODES],
  ['to a length that was never signed', 7, NEVER_SIGNED],
  ['to nothing', 0, FAULT_MODES]
] as const) {
  test(`failing storage: truncate ${where}`, async (t) => {
    const base = await nineBlocks()
    await sweep(
      t,
      async (plan, mode, n) => {
        const files = base.clone()
        const feed = open(files.factory(plan))
        await feed.ready()
        // Slots beyond the end mean nothing: a longer batch writes zeros over them.
        const error = await disturbed(plan, mode, n, () => feed.truncate(length), 'del signatures')
        // Where half of the signatures beyond the end were removed, the feed is as long as the last one that is left.
        const between = mode === 'dead-torn' ? SIGNED.filter((signed) => signed > length) : []
        const allowed = error === null ? [length] : [length, BLOCKS.length, ...between]
        const check = async (subject: FeedFace) => {
          assert.ok(
            allowed.includes(subject.length),
            `length ${subject.length} is one of ${allowed.join(', ')}`
          )
          await assertFeedIs(subject, { blocks: BLOCKS.slice(0, subject.length) })
        }
        // On a dead disk what was half deleted stays so; blocks are still readable until the feed is reopened.
        if (error !== null && isDead(mode)) await assertReadable(feed)
        else await check(feed)
        await reopened(files, check)

        const kept = BLOCKS.slice(0, feed.length)
        const found = [...kept, ...NEXT]
        await feed.append(NEXT)
        await assertFeedIs(feed, { blocks: found })
        await feed.close()
        await reopened(files, (subject) => assertFeedIs(subject, { blocks: found }))

        const again = open(files.factory())
        await again.ready()
        assert.equal(again.writable, true, 'writable after reopening')
        assert.equal(again.feed.live, true, 'still signed')
        await again.truncate(length)
        await again.append(NEXT)
        await assertFeedIs(again, { blocks: [...found.slice(0, length), ...NEXT] })
        await again.close()
      },
      modes
    )
  })
}

for (const mode of ['before', 'dead'] as const) {
  test(`failing storage: flush, ${mode}`, async (t) => {
    const plan = new FaultPlan()
    const files = await nineBlocks()
    const feed = open(files.factory(plan))
    await feed.ready()
    // A flush has nothing to write: it may do without storage, or be rejected.
    plan.arm(mode, 1)
    await feed.flush().catch(assertDiskError)
    plan.disarm()
    t.equal(await feed.append(NEXT), BLOCKS.length, 'a flush leaves nothing to undo')
    await feed.close()
    await reopened(files, (again) => assertFeedIs(again, { blocks: [...BLOCKS, ...NEXT] }))
  })
}

test('failing storage: finalize', async (t) => {
  const key = naiveTreeHash(naiveRoots(BLOCKS))
  await sweep(t, async (plan, mode, n) => {
    const files = new MemoryFiles()
    const feed = open(files.factory(plan), null, { live: false })
    await feed.append(BLOCKS)
    await disturbed(plan, mode, n, () => feed.finalize())
    await feed.finalize()
    const done = files.read('key') !== null
    if (done) assert.deepEqual(feed.key, key, 'the key is the tree hash')
    await feed.close()
    if (!done) return
    assert.deepEqual(Buffer.from(files.read('key')!), key, 'the stored key is the tree hash')
    await reopened(files, async (again) => {
      assert.deepEqual(again.key, key, 'the key after reopening')
      assert.equal(again.length, BLOCKS.length, 'length after reopening')
      assert.equal(again.byteLength, byteLengthOf(BLOCKS), 'byteLength after reopening')
      for (let i = 0; i < BLOCKS.length; i++) {
        assert.deepEqual(Buffer.from((await again.get(i)) as Uint8Array), BLOCKS[i])
      }
    })
  })
})

test('failing storage: close', async (t) => {
  const base = await nineBlocks()
  await sweep(
    t,
    async (plan, mode, n) => {
      const files = base.clone()
      const feed = open(files.factory(plan))
      await feed.append(NEXT)
      plan.arm(mode, n)
      const [answer] = await Promise.allSettled([feed.close()])
      await settle()
      plan.disarm()
      if (answer.status === 'rejected') assertDiskError(answer.reason)
      // Closed or not, it answers whoever asks.
      await feed.close().catch((error: { code?: unknown }) => assert.equal(typeof error.code, 'string'))
      await reopened(files, (again) => assertFeedIs(again, { blocks: [...BLOCKS, ...NEXT] }))
    },
    ['before', 'dead']
  )
})
