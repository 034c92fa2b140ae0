/** Plays a story of turns, and checks after each of them that what must be there is there. */
import assert from 'node:assert/strict'
import { keyPair } from '../../src/crypto/keys.ts'
import type { Recovery } from '../../src/feed/recovered.ts'
import { SimulatedDisk } from '../crash/disk.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveRoots, naiveVerify, sameNodes } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { isCoded, told } from './outcome.ts'
import { type Content, differenceOf, isMissing, isTakenAway } from './turns-content.ts'
import { diskOf, type Package, type Plan, type Session } from './turns-plan.ts'
import { type Known, Work } from './turns-work.ts'

const OPEN = { ours: ours(), published }
const SLOT = 64

/** What came of it. */
export interface Played {
  /**
   * `held`; `behind`: it did, and it was right that an author was told of a longer history; `given up`: what nobody can tell from damage, or
   * from what a power failure leaves, was refused, or not all of it was opened; `skipped`: the published package alone has made what it
   * cannot read itself; or `failed`.
   */
  readonly code: 'held' | 'behind' | 'given up' | 'skipped' | 'failed'
  /** What went wrong, or null. */
  readonly problem: string | null
  /** What was done until then, line by line. */
  readonly story: readonly string[]
}

/** Plays a plan to its end, or until something is wrong. */
export async function play(plan: Plan): Promise<Played> {
  const playing = new Play(plan)
  try {
    return { code: await playing.go(), problem: null, story: playing.story }
  } catch (error) {
    const { damage } = error as { damage?: unknown }
    const problem = `${told(error)}${damage === undefined ? '' : `\n${JSON.stringify(damage)}`}`
    return { code: 'failed', problem, story: playing.story }
  }
}

/** A part of what there was, or what there was before, is opened. */
class Less extends Error {}

/** A session that is open. */
interface Turn {
  readonly session: Session
  readonly by: Package
  readonly disk: SimulatedDisk
  readonly feed: FeedFace
  readonly work: Work
  /** When it was open. */
  readonly opened: number
}

class Play {
  readonly story: string[] = []
  readonly #plan: Plan
  #files = new MemoryFiles()
  #pair: ReturnType<typeof keyPair>
  /** How many feeds there have been in these files. */
  #feeds = 0
  /** What may be there now. */
  #allowed: readonly Content[] = [{ blocks: [], present: [] }]
  /** Whose turn it was, and whether it was killed. */
  #before: { readonly by: Package; readonly killed: boolean } | null = null
  /** Histories that a published package may have signed when it was killed. */
  #signed: Content[] = []
  /** Whether signatures of another key may have been left. */
  #foreign = false
  #behind = false
  /** Whether a published package was killed: it writes in no order that could be relied on. */
  #torn = false
  /** Whether the end was not signed when it was opened last, as published packages leave it when they truncate within a batch. */
  #unsigned = false

  constructor(plan: Plan) {
    this.#plan = plan
    this.#pair = this.#newPair()
  }

  async go(): Promise<Played['code']> {
    try {
      return await this.#sessions()
    } catch (error) {
      const uncertain = this.#torn || this.#unsigned
      if (!uncertain || !(isCoded(error) || error instanceof Less)) throw error
      this.story.push(`  ${error.message}`)
      return 'given up'
    }
  }

  async #sessions(): Promise<Played['code']> {
    const { sessions } = this.#plan
    for (const [i, session] of sessions.entries()) {
      const last = i === sessions.length - 1
      const turn = await this.#open(session, last)
      if (turn === null) return 'skipped'
      try {
        for (const step of session.steps) await turn.work.do(step)
      } catch (error) {
        // It reads what it has left when it was killed.
        if (turn.by === 'published' && this.#torn) return 'skipped'
        throw error
      }
      if (session.killed !== null && !last) await this.#kill(turn, session.killed)
      else await this.#close(turn)
      if (turn.by === 'published' && !(await this.#isRightForThem(turn.work.last, turn.disk.files)))
        return 'skipped'
    }
    return this.#behind ? 'behind' : 'held'
  }

  /** Opens the feed, and finds out what is there. Null if what a published package has left is of no use to itself. */
  async #open(session: Session, last: boolean): Promise<Turn | null> {
    const before = this.#before
    const afterKill = before?.killed === true
    const by = afterKill || last ? 'ours' : session.by
    const overwrites = session.overwrite && before !== null && !afterKill
    this.story.push(`${by}${overwrites ? ', overwriting' : ''}:`)
    if (overwrites) this.#overwrite(by)

    const isNew = overwrites || before === null
    const { publicKey, secretKey } = this.#pair
    const wasUnsigned = this.#unsigned && afterKill
    this.#unsigned =
      by === 'ours' && (wasUnsigned || !this.#allowed.some((content) => this.#isSigned(content, this.#files)))
    const disk = new SimulatedDisk(by === 'ours' ? diskOf(this.#plan, session) : {}, this.#files)
    const options = isNew ? { secretKey: Buffer.from(secretKey), overwrite: overwrites } : {}
    const feed = OPEN[by](disk.factory(), isNew ? Buffer.from(publicKey) : null, options)
    await feed.ready()
    assert.ok(feed.key.equals(publicKey), 'the same key')
    const content = await this.#found(feed)
    if (content === null) return null
    const worker = {
      disk,
      feed,
      content,
      story: this.story,
      givesUp: (length: number) => this.#givesUp(length, disk.files)
    }
    return { session, by, disk, feed, work: new Work(worker), opened: disk.now }
  }

  #newPair(): ReturnType<typeof keyPair> {
    return keyPair(new SeededRandom(1009 * this.#plan.seed + this.#feeds++).bytes(32))
  }

  #overwrite(by: Package): void {
    this.#pair = this.#newPair()
    this.#allowed = [{ blocks: [], present: [] }]
    this.#signed = []
    // A published package leaves the files as they are.
    this.#torn &&= by === 'published'
    this.#foreign = by === 'published'
  }

  /**
   * Whether a published package finds what must be there, in a copy of the files, above a tree that is that of the blocks: it keeps
   * nodes in memory that it has truncated, and may sign what it reads right and nobody can verify.
   */
  async #isRightForThem({ blocks, present }: Content, files = this.#files): Promise<boolean> {
    const feed = published(new SimulatedDisk({}, files).factory())
    try {
      await feed.ready()
      assert.equal(feed.length, blocks.length)
      for (const i of blocks.keys()) {
        if (feed.has(i)) assert.deepEqual(Buffer.from((await feed.get(i)) as Uint8Array), blocks[i])
        else assert.ok(!present[i])
      }
      if (blocks.length > 0) sameNodes(await feed.rootHashes(blocks.length - 1), naiveRoots(blocks), 'roots')
      await feed.close()
      return true
    } catch {
      return false
    }
  }

  /**
   * What is there, which has to be something that may be. Null if a published package was killed after it had deleted what its bits
   * still tell of.
   */
  async #found(feed: FeedFace): Promise<Content | null> {
    const recovery = recoveryOf(feed)
    if (recovery !== null) this.story.push(`  (recovery: ${JSON.stringify(recovery)})`)
    const allowed = this.#allowed
    const killed = this.#before?.killed === true ? this.#before.by : null
    const mayLack = (i: number) =>
      (killed === 'published' && isMissing(allowed, i)) || (killed === 'ours' && isTakenAway(allowed, i))
    const got: (Buffer | null)[] = []
    for (let i = 0; i < feed.length; i++) {
      try {
        got.push(feed.has(i) ? Buffer.from((await feed.get(i)) as Uint8Array) : null)
      } catch (error) {
        const isDamaged = (error as { code?: unknown }).code === 'ERR_BLOCK_DAMAGED'
        if (isDamaged && mayLack(i) && killed === 'published') return null
        throw error
      }
    }
    const differences = allowed.map((content) => differenceOf(content, got, mayLack))
    const at = differences.lastIndexOf(null)
    const isPart = ({ blocks }: Content) =>
      got.length < blocks.length && got.every((block, i) => block === null || block.equals(blocks[i]!))
    if (at === -1 && (this.#torn || allowed.some(isPart))) throw new Less(`opens with ${got.length} blocks`)
    assert.ok(at >= 0, `opens with something else: ${differences.join('; or ')}`)
    return { blocks: allowed[at]!.blocks, present: got.map((block) => block !== null) }
  }

  /**
   * Whether it is right that an author is told that it is behind (docs/reliability.md, "Damage at rest"): a published package was killed when
   * it had written a signature, or has left some of another feed where nobody can tell that they are. Both can be seen in the files.
   */
  #givesUp(length: number, files: MemoryFiles): boolean {
    const slots = slotsOf(files)
    const killed = this.#signed.some(
      (content) => content.blocks.length > length && this.#isSigned(content, files)
    )
    const beyond = slots.some((slot, i) => i >= length && slot.some((byte) => byte !== 0))
    const foreign = this.#plan.place === 'plain' && this.#foreign && beyond
    this.#behind ||= killed || foreign
    return killed || foreign
  }

  /** Whether the signature of an end is there. */
  #isSigned({ blocks }: Content, files: MemoryFiles): boolean {
    const { length } = blocks
    const slot = slotsOf(files)[length - 1]
    return length === 0 || (slot !== undefined && naiveVerify(blocks, length, slot, this.#pair.publicKey))
  }

  async #kill({ session, by, disk, feed, work, opened }: Turn, share: number): Promise<void> {
    const moment = opened + Math.floor(share * (disk.now - opened + 2))
    this.story.push(`  killed at ${moment} of ${opened} … ${disk.now}`)
    this.#files = disk.killed(moment, new SeededRandom(this.#plan.seed + session.salt))
    const known = work.states.filter(({ asked }) => asked < moment)
    this.#allowed = known.slice(lastAcknowledged(known, moment))
    if (by === 'published') this.#signed.push(...known)
    this.#torn ||= by === 'published'
    this.#before = { by, killed: true }
    await feed.close().catch(() => {})
  }

  async #close(turn: Turn): Promise<void> {
    const { by, disk, feed, work } = turn
    await feed.close()
    this.#files = disk.files.clone()
    this.#allowed = [work.last]
    this.#before = { by, killed: false }
    if (by === 'ours') await this.#checkOurs(turn)
  }

  /** What our package has closed needs nothing more, is signed, and right for a published one as well. */
  async #checkOurs({ session, feed: closed, work }: Turn): Promise<void> {
    const { blocks } = work.last
    const { length } = blocks
    if (length > 0) {
      const disk = new SimulatedDisk(diskOf(this.#plan, session), this.#files)
      const feed = OPEN.ours(disk.factory())
      await feed.ready()
      const recovery = recoveryOf(feed)
      if (recovery !== null) {
        // Who changes nothing leaves the signatures of an overwritten feed, and what was found beside them is found again.
        assert.deepEqual(recovery, recoveryOf(closed), 'nothing is left to repair')
        assert.deepEqual(work.states[0]!.blocks, blocks)
        await feed.close()
        return
      }
      const end = await feed.signature(length - 1).catch(() => null)
      const changed = work.states.some((state) => state.blocks.length !== length)
      assert.ok(end !== null || !changed, 'its end is signed')
      if (end !== null) assert.ok(naiveVerify(blocks, length, end.signature, feed.key), 'its signature holds')
      await feed.close()
    }
    assert.ok(await this.#isRightForThem(work.last), 'a published package reads what our package has left')
  }
}

function recoveryOf(feed: FeedFace): Recovery | null {
  return (feed.feed as unknown as { recovery?: Recovery | null }).recovery ?? null
}

/** From which of the states on they are allowed after the process was killed. */
function lastAcknowledged(known: readonly Known[], moment: number): number {
  return known.findLastIndex(({ acknowledged }) => acknowledged < moment)
}

/** All signatures that are stored, also empty ones. */
function slotsOf(files: MemoryFiles): Uint8Array[] {
  const stored = files.read('signatures')?.subarray(32) ?? new Uint8Array(0)
  return Array.from({ length: Math.floor(stored.byteLength / SLOT) }, (_, i) =>
    stored.subarray(SLOT * i, SLOT * (i + 1))
  )
}
