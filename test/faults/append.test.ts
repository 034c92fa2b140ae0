/**
 * Every storage operation of an append fails once. A rejected append changes nothing: what was there stays, the next
 * append verifies, and the rejected blocks never appear, neither now nor after reopening, nor in the published package.
 * Only when undoing failed too (a dead disk) may they be seen after reopening, and then the feed must verify.
 */
import assert from 'node:assert/strict'
import test from 'tape'
import type { FaultMode, FaultPlan } from '../helpers/faulty-storage.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs, byteLengthOf } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { settle } from '../helpers/watchdog.ts'
import { assertDiskError, isDead, isRefusal, sweep } from './sweep.ts'

const open = ours()
const replicaOf = (key: Buffer) => open(new MemoryFiles().factory(), key, { sparse: true })
const blocks = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => Buffer.from(`${name} ${i}${'.'.repeat(i % 4)}`))

/** A feed that took these batches, closed again. */
async function feedOf(...batches: Buffer[][]): Promise<{ files: MemoryFiles; content: Buffer[] }> {
  const files = new MemoryFiles()
  const feed = open(files.factory())
  await feed.ready()
  for (const batch of batches) await feed.append(batch)
  await feed.close()
  return { files, content: batches.flat() }
}

interface Case {
  /** Batches that are there before. */
  before: Buffer[][]
  /** Calls that are made at once, without waiting. */
  calls: Buffer[][]
}

const CASES: Record<string, Case> = {
  'the first block of a feed': { before: [], calls: [blocks('new', 1)] },
  'one block': { before: [blocks('a', 3), blocks('b', 2)], calls: [blocks('new', 1)] },
  'an empty block': { before: [blocks('a', 3)], calls: [[Buffer.alloc(0)]] },
  'a batch': { before: [blocks('a', 3), blocks('b', 2)], calls: [blocks('new', 4)] },
  'a batch that completes parents over older blocks': {
    before: [blocks('a', 7)],
    calls: [blocks('new', 1), blocks('more', 8)]
  },
  'large blocks, which are written while they are hashed': {
    before: [blocks('a', 3)],
    calls: [[Buffer.alloc(70_000, 1), ...blocks('new', 2), Buffer.alloc(40_000, 2)], blocks('small', 2)]
  },
  'appends at once, which are merged': {
    before: [blocks('a', 3), blocks('b', 2)],
    calls: [blocks('first', 1), blocks('second', 2), blocks('third', 1), blocks('fourth', 3)]
  }
}

for (const [name, { before, calls }] of Object.entries(CASES)) {
  test(`failing storage: append ${name}`, async (t) => {
    const base = await feedOf(...before)
    await sweep(t, (plan, mode, n) => attempt(plan, mode, n, base, calls))
  })
}

async function attempt(
  plan: FaultPlan,
  mode: FaultMode,
  n: number,
  base: { files: MemoryFiles; content: Buffer[] },
  calls: Buffer[][]
): Promise<void> {
  const files = base.files.clone()
  const feed = open(files.factory(plan))
  await feed.ready()
  plan.arm(mode, n)
  const answers = await Promise.allSettled(
    calls.map((values) => feed.append(values.length === 1 ? values[0] : values))
  )
  await settle()
  plan.disarm()

  const content = [...base.content]
  const rejected: Buffer[] = []
  answers.forEach((answer, i) => {
    if (answer.status === 'fulfilled') {
      assert.equal(answer.value, content.length, 'an acknowledged append says where it is')
      content.push(...calls[i]!)
    } else {
      if (!isRefusal(answer.reason)) assertDiskError(answer.reason)
      rejected.push(...calls[i]!)
    }
  })
  if (plan.injected === null) assert.equal(rejected.length, 0, 'nothing failed, so nothing is rejected')
  else if (plan.changing) assert.ok(rejected.length > 0, 'a write that failed is told')

  // The feed as it is now: nothing of the rejected values.
  assert.equal(feed.length, content.length, 'length after a rejected append')
  assert.equal(feed.byteLength, byteLengthOf(content), 'byteLength after a rejected append')
  assert.equal(feed.has(content.length), false, 'no block after the last')
  await assertReadable(feed, content)

  // What a crash at this moment would leave behind.
  const possible = isDead(mode) && plan.injected !== null ? rejected : []
  await assertReopens(files.clone(), content, possible)

  const next = blocks('next', 6)
  // The disk is there again: what could not be undone is undone by now.
  assert.equal(
    await feed.append(next[0]),
    content.length,
    'the next append goes where the rejected one did not'
  )
  await feed.append(next.slice(1))
  content.push(...next)
  await assertFeedIs(feed, { blocks: content }, replicaOf)
  await feed.close()
  await assertReopens(files, content, [])
}

async function assertReadable(feed: FeedFace, content: readonly Buffer[]): Promise<void> {
  for (let i = 0; i < content.length; i++) {
    assert.equal(feed.has(i), true, `has(${i})`)
    assert.deepEqual(
      Buffer.from((await feed.get(i, { wait: false })) as Uint8Array),
      content[i],
      `block ${i}`
    )
  }
}

/** Both packages find exactly `content` (and, if `possible` is not empty, maybe some of it after that). */
async function assertReopens(files: MemoryFiles, content: readonly Buffer[], possible: readonly Buffer[]) {
  const theirs = published(files.clone().factory())
  await theirs.ready()
  await assertFeedIs(theirs, { blocks: withVisible(theirs, content, possible) })
  await theirs.close()

  const feed = open(files.factory())
  await feed.ready()
  assert.equal(feed.writable, true, 'writable after reopening')
  const found = withVisible(feed, content, possible)
  await assertFeedIs(feed, { blocks: found })
  // Longer than anything that was rejected: remains of it would come between.
  const after = [...blocks('after', 3), Buffer.alloc(0), ...blocks('reopening', 14)]
  await feed.append(after[0])
  await feed.append(after.slice(1))
  await assertFeedIs(feed, { blocks: [...found, ...after] }, replicaOf)
  await feed.close()
}

function withVisible(feed: FeedFace, content: readonly Buffer[], possible: readonly Buffer[]): Buffer[] {
  const all = [...content, ...possible]
  assert.ok(
    feed.length >= content.length && feed.length <= all.length,
    `length ${feed.length} after reopening; acknowledged were ${content.length}, rejected ${possible.length}`
  )
  return all.slice(0, feed.length)
}

test('failing storage: a batch over the border of two bitfield pages', async (t) => {
  const base = await feedOf(blocks('old', 8190))
  await sweep(
    t,
    async (plan, mode, n) => {
      const files = base.files.clone()
      const feed = open(files.factory(plan))
      await feed.ready()
      plan.arm(mode, n)
      const batch = blocks('new', 5)
      const [answer] = await Promise.allSettled([feed.append(batch)])
      await settle()
      plan.disarm()
      if (answer.status === 'rejected') assertDiskError(answer.reason)
      const content = answer.status === 'rejected' ? base.content : [...base.content, ...batch]
      await assertTail(feed, content)
      for (const package_ of [open, published]) {
        const again = package_(files.clone().factory())
        await again.ready()
        await assertTail(again, content)
        await again.close()
      }
      await feed.append(blocks('next', 7))
      await assertTail(feed, [...content, ...blocks('next', 7)])
      await feed.close()
    },
    ['before', 'torn', 'after']
  )
})

/** The checks of {@link assertFeedIs}, of the last blocks only. */
async function assertTail(feed: FeedFace, content: readonly Buffer[]): Promise<void> {
  assert.equal(feed.length, content.length, 'length')
  assert.equal(feed.byteLength, byteLengthOf(content), 'byteLength')
  assert.equal(feed.has(content.length), false, 'no block after the last')
  for (let i = content.length - 10; i < content.length; i++) {
    assert.deepEqual(
      Buffer.from((await feed.get(i, { wait: false })) as Uint8Array),
      content[i],
      `block ${i}`
    )
    const { index, signature } = await feed.signature(i)
    assert.equal(await feed.verify(index, signature), true, `the signature of block ${i}`)
  }
}
