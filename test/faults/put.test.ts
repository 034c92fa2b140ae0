/** Every storage operation of a put fails once: the block is not there, and putting it again works. */
import assert from 'node:assert/strict'
import test from 'tape'
import type { FaultMode, FaultPlan } from '../helpers/faulty-storage.ts'
import { copyProof, type FeedFace, type Proof } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { byteLengthOf, naiveRoots, naiveVerify, sameNodes } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { settle } from '../helpers/watchdog.ts'
import { assertDiskError, isDead, sweep } from './sweep.ts'

const open = ours()
const BLOCKS = Array.from({ length: 11 }, (_, i) => Buffer.from(`block ${i}${'.'.repeat(i)}`))
/** The replica knows the feed up to here and holds blocks 1 and 4. */
const KNOWN = 6
const HELD = [1, 4]

interface Setting {
  source: FeedFace
  replica: MemoryFiles
}

async function setting(): Promise<Setting> {
  const source = open(new MemoryFiles().factory())
  await source.append(BLOCKS.slice(0, KNOWN))
  const replica = new MemoryFiles()
  const feed = open(replica.factory(), source.key, { sparse: true })
  for (const i of HELD) await feed.put(i, BLOCKS[i], await source.proof(i))
  await feed.close()
  await source.append(BLOCKS.slice(KNOWN))
  return { source, replica }
}

interface Case {
  index: number
  hashOnly?: boolean
  /** Whether the proof leaves out what the replica has. */
  digest?: boolean
}

const CASES: Record<string, Case> = {
  'a block below known parents': { index: 0, digest: true },
  'a block with a whole proof': { index: 2 },
  'a block that makes the feed longer': { index: 9 },
  'only the hash of a block': { index: 7, hashOnly: true }
}

for (const [name, { index, hashOnly = false, digest = false }] of Object.entries(CASES)) {
  test(`failing storage: put ${name}`, async (t) => {
    const { source, replica } = await setting()
    const proofOf = async (feed: FeedFace, i: number, hash = false) =>
      source.proof(i, { hash, digest: digest ? feed.digest(i) : 0 })
    await sweep(t, async (plan, mode, n) => {
      const files = replica.clone()
      const feed = open(files.factory(plan), null, { sparse: true })
      await feed.ready()
      const proof = await proofOf(feed, index, hashOnly)
      await attempt(plan, mode, n, { source, files, feed, proof, index, hashOnly })
    })
    await source.close()
  })
}

interface Attempt {
  source: FeedFace
  files: MemoryFiles
  feed: FeedFace
  proof: Proof
  index: number
  hashOnly: boolean
}

async function attempt(plan: FaultPlan, mode: FaultMode, n: number, a: Attempt): Promise<void> {
  const { source, files, feed, index, hashOnly } = a
  const value = hashOnly ? null : BLOCKS[index]
  plan.arm(mode, n)
  const [answer] = await Promise.allSettled([feed.put(index, value, copyProof(a.proof))])
  await settle()
  plan.disarm()
  const failed = answer.status === 'rejected'
  if (failed) {
    assert.notEqual(plan.injected, null, `without a fault: ${answer.reason?.stack}`)
    assertDiskError(answer.reason)
  } else assert.ok(plan.injected === null || !plan.changing, `a failed ${plan.where} is told`)

  const held = failed || hashOnly ? HELD : [...HELD, index]
  const longer = !failed && index >= KNOWN
  await assertReplica(feed, source.key, held, longer ? [BLOCKS.length] : [KNOWN])

  // After a crash: the same, unless the disk was gone and the block (which is true) had got there before.
  const possible = isDead(mode) && failed && !hashOnly ? [index] : []
  const lengths = isDead(mode) && failed ? [KNOWN, BLOCKS.length] : [longer ? BLOCKS.length : KNOWN]
  await reopened(files, source.key, held, lengths, possible)

  // The disk is there again: what could not be undone is undone by now.
  await feed.put(index, value, copyProof(a.proof))
  await completes(feed, source)
  await feed.close()

  const again = open(files.factory(), null, { sparse: true })
  await again.ready()
  await completes(again, source)
  await again.close()
}

/** Every block can be added by proofs, and then everything is there. */
async function completes(feed: FeedFace, source: FeedFace): Promise<void> {
  for (let i = BLOCKS.length - 1; i >= 0; i--) await feed.put(i, BLOCKS[i], await source.proof(i))
  await assertReplica(feed, source.key, [...BLOCKS.keys()], [BLOCKS.length])
}

async function reopened(
  files: MemoryFiles,
  key: Buffer,
  held: number[],
  lengths: number[],
  possible: number[]
) {
  for (const package_ of [published, open]) {
    const feed = package_(files.clone().factory(), null, { sparse: true })
    await feed.ready()
    await assertReplica(feed, key, held, lengths, possible)
    await feed.close()
  }
}

async function assertReplica(
  feed: FeedFace,
  key: Buffer,
  held: readonly number[],
  lengths: readonly number[],
  possible: readonly number[] = []
): Promise<void> {
  assert.deepEqual(feed.key, key, 'key')
  assert.ok(lengths.includes(feed.length), `length ${feed.length} is one of ${lengths.join(', ')}`)
  const known = BLOCKS.slice(0, feed.length)
  assert.equal(feed.byteLength, byteLengthOf(known), 'byteLength')
  let present = 0
  for (let i = 0; i < BLOCKS.length; i++) {
    const here = feed.has(i)
    if (!possible.includes(i)) assert.equal(here, held.includes(i), `has(${i})`)
    if (!here) continue
    present++
    assert.deepEqual(Buffer.from((await feed.get(i, { wait: false })) as Uint8Array), BLOCKS[i], `block ${i}`)
  }
  assert.deepEqual({ ...(await feed.audit()) }, { valid: present, invalid: 0 }, 'audit')
  sameNodes(await feed.rootHashes(feed.length - 1), naiveRoots(known), 'roots')
  const { index, signature } = await feed.signature(feed.length - 1)
  assert.equal(index, feed.length - 1, 'the last length is signed')
  assert.ok(naiveVerify(known, feed.length, signature, key), 'the signature of the last length')
}
