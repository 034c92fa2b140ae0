/** What must hold of a feed that is opened after a crash. */
import assert from 'node:assert/strict'
import sodium from 'sodium-native'
import type { Recovery } from '../../src/feed/recovered.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import type { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveRoots, naiveTreeHash } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { SimulatedDisk } from './disk.ts'
import type { State, Story } from './workload.ts'

const open = ours()

/** How the feed came to its end. */
export type End = 'killed' | 'powerless'

/** Refusals of a creation that did not get far. */
const REFUSALS: ReadonlySet<unknown> = new Set([
  'ERR_KEY_MISSING',
  // Half of a key, where the whole one was given.
  'ERR_OTHER_FEED',
  'ERR_KEY_DAMAGED',
  'ERR_SECRET_KEY_DAMAGED',
  'ERR_SECRET_KEY_MISMATCH'
])

/** Opens what is left, checks it, works on, and lets the published package look at it. Answers what was found, for counting. */
export async function checkAfter(
  story: Story,
  moment: number,
  end: End,
  files: MemoryFiles
): Promise<string> {
  const promised = end === 'killed' || story.durability === 'disk'
  const known = story.states.filter((state) => state.asked < moment)
  const acknowledged = known.findLastIndex((state) => state.acknowledged < moment)
  const allowed = promised ? known.slice(acknowledged) : known
  const signed = story.writer ? visibleLengths(story, known, files) : []

  const options = { sparse: true, durability: story.durability, ...(story.writer ? {} : { key: story.key }) }
  const disk = new SimulatedDisk(story.disk.options, files)
  let feed = open(disk.factory(), null, options)
  try {
    await feed.ready()
  } catch (error) {
    const { code } = error as { code?: unknown }
    const mayRefuse = moment < story.opened
    assert.ok(
      mayRefuse && REFUSALS.has(code),
      `opens: ${(error as Error).stack} ${JSON.stringify((error as { damage?: unknown }).damage)}`
    )
    return `refused ${code}`
  }
  if (!feed.key.equals(story.key)) {
    assert.ok(moment < story.opened, 'the same key')
    assert.equal(feed.length, 0, 'a new feed is empty')
    await feed.close()
    return 'new'
  }
  const state = await findState(feed, allowed, story)
  if (promised) {
    const next = allowed.slice(0)
    assertPresent(feed, next, story)
  }

  let blocks: readonly Buffer[] = state.blocks
  let outcome = `${allowed.length > 1 ? 'in flight' : 'whole'}`
  if (feed.writable) {
    const more = [Buffer.from('after the crash'), Buffer.alloc(0), Buffer.from('and more')]
    const visible = signed.some((length) => length > feed.length)
    try {
      await feed.append(more)
      assert.ok(!visible, 'nothing is appended below a signature that can be seen')
      blocks = [...blocks, ...more]
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, 'ERR_BEHIND', (error as Error).stack)
      assert.ok(!promised, 'what was promised is here, so the feed is not behind')
      outcome = 'behind'
      await assertStaysBehind(new SimulatedDisk(story.disk.options, files), signed, options)
      await feed.call('append', more, { force: true })
      blocks = [...blocks, ...more]
    }
  }
  await assertHolds(feed, blocks)
  const here = blocks.map((_, i) => feed.feed.has(i))
  const { length } = feed
  await feed.close()

  feed = open(disk.factory(), null, options)
  await feed.ready()
  const { recovery } = feed.feed as unknown as { recovery: Recovery | null }
  // Without a checkpoint all is looked at again, and what was a hole may have become a block of one zero byte.
  const byChance = story.disk.options.extraFiles !== true && recovery?.lostBlocks === 0
  assert.ok(recovery === null || byChance, `nothing is left to repair: ${JSON.stringify(recovery)}`)
  assert.equal(feed.length, length, 'length when opened once more')
  const stillHere = blocks.map((_, i) => feed.feed.has(i))
  if (!byChance) assert.deepEqual(stillHere, here, 'the same blocks when opened once more')
  await assertHolds(feed, blocks)
  await feed.close()

  const theirs = published(disk.factory())
  await theirs.ready()
  assert.equal(theirs.length, length, 'length for the published package')
  for (let i = 0; i < length; i++) {
    assert.equal(theirs.feed.has(i), stillHere[i], `has(${i}) for the published package`)
    // Of an empty block it cannot do without a `data` file.
    if (stillHere[i] && blocks[i]!.byteLength > 0)
      assert.deepEqual(Buffer.from((await theirs.get(i)) as Uint8Array), blocks[i])
  }
  await theirs.close()
  return outcome
}

/** A feed that is behind is so when it is opened once more, unless it then finds what it lacked. */
async function assertStaysBehind(
  disk: SimulatedDisk,
  signed: readonly number[],
  options: object
): Promise<void> {
  const first = open(disk.factory(), null, options)
  await first.ready()
  await first.close()
  const feed = open(disk.factory(), null, options)
  await feed.ready()
  if (signed.some((length) => length > feed.length)) {
    const code = await feed.append('unasked').catch((refusal) => refusal.code)
    assert.equal(code, 'ERR_BEHIND', 'also when it is opened once more')
  }
  await feed.close()
}

/** The state that the feed is in: one of those allowed, as far as its length and its tree tell. */
async function findState(feed: FeedFace, allowed: readonly State[], story: Story): Promise<State> {
  const { length } = feed
  const roots = length === 0 ? [] : ((await feed.call('rootHashes', length - 1)) as never[])
  const hash = naiveTreeHash(roots).toString('hex')
  const state = allowed.findLast((one) => one.blocks.length === length && one.treeHash === hash)
  if (state !== undefined) {
    await assertHolds(feed, state.blocks)
    return state
  }
  // A truncation that was cut off may leave any signed length; the blocks are those of before.
  const between = allowed.find(
    (one) => one.blocks.length > length && treeHashOf(one.blocks.slice(0, length)) === hash
  )
  const cut = allowed.some((one) => one.blocks.length <= length)
  assert.ok(
    between !== undefined && cut,
    `length ${length} is one of ${allowed.map((one) => one.blocks.length).join(', ')} (${story.durability})`
  )
  await assertHolds(feed, between.blocks.slice(0, length))
  return { ...between, blocks: between.blocks.slice(0, length) }
}

function treeHashOf(blocks: readonly Buffer[]): string {
  return naiveTreeHash(naiveRoots(blocks)).toString('hex')
}

/** Every block that was here in all allowed states is here. */
function assertPresent(feed: FeedFace, allowed: readonly State[], story: Story): void {
  for (let i = 0; i < feed.length; i++) {
    if (allowed.every((state) => state.present[i] === true)) {
      assert.ok(feed.feed.has(i), `has(${i}) of ${feed.length}: it was acknowledged (${story.durability})`)
    }
    // An empty block is here as soon as its leaf is.
    if (allowed.every((state) => state.present[i] === false && state.blocks[i]!.byteLength > 0)) {
      assert.ok(!feed.feed.has(i), `has(${i}) of ${feed.length}: that it was cleared was acknowledged`)
    }
  }
}

/** Every block that the feed says it has is right. */
async function assertHolds(feed: FeedFace, blocks: readonly Buffer[]): Promise<void> {
  assert.equal(feed.length, blocks.length)
  for (let i = 0; i < feed.length; i++) {
    if (!feed.feed.has(i)) continue
    const got = Buffer.from((await feed.get(i, { wait: false })) as Uint8Array)
    assert.ok(got.equals(blocks[i]!), `block ${i} is what was appended`)
  }
}

/** Lengths whose signature can be seen, whole, in what is left. */
function visibleLengths(story: Story, known: readonly State[], files: MemoryFiles): number[] {
  const stored = files.read('signatures')
  if (stored === null) return []
  const lengths: number[] = []
  for (const state of known) {
    const { length } = state.blocks
    const at = 32 + 64 * (length - 1)
    if (length === 0 || stored.byteLength < at + 64) continue
    const message = Buffer.alloc(40)
    message.set(Buffer.from(state.treeHash, 'hex'))
    message.writeBigUInt64BE(BigInt(length), 32)
    const signature = Buffer.alloc(64)
    sodium.crypto_sign_detached(signature, message, story.secretKey!)
    if (signature.equals(stored.subarray(at, at + 64))) lengths.push(length)
  }
  return lengths
}
