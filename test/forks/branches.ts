/** Feeds of one key with different histories. */
import type { Test } from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import type { ForkProof } from '../../src/index.ts'
import { verifyFork } from '../../src/index.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { Bench, blocksOf, type Connection, complete, connect } from '../helpers/replication-feeds.ts'
import {
  OURS,
  OURS_HYPERCORE,
  PUBLISHED,
  PUBLISHED_HYPERCORE,
  type Subject
} from '../helpers/replication-subjects.ts'
import { settle } from '../helpers/watchdog.ts'

/** Our feeds, and who has the other branch, in both dialects. */
export const PAIRS: readonly { name: string; ours: Subject; holder: Subject }[] = [
  { name: 'ours', ours: OURS, holder: OURS },
  { name: 'ours (hypercore)', ours: OURS_HYPERCORE, holder: OURS_HYPERCORE },
  { name: 'published ddatabase', ours: OURS, holder: PUBLISHED },
  { name: 'published hypercore', ours: OURS_HYPERCORE, holder: PUBLISHED_HYPERCORE }
]

/** One key, and the devices that write with it. */
export class Author {
  readonly pair = keyPair()
  readonly bench: Bench
  readonly others: Bench

  constructor(t: Test, ours: Subject, holder: Subject = ours) {
    this.bench = new Bench(t, ours)
    this.others = new Bench(t, holder)
  }

  get key(): Uint8Array {
    return this.pair.publicKey
  }

  /** A device of ours that has appended these batches. */
  async device(...batches: readonly string[][]): Promise<FeedFace> {
    return this.#write(this.bench, {}, batches)
  }

  /** The same with options. */
  async deviceWith(options: object, ...batches: readonly string[][]): Promise<FeedFace> {
    return this.#write(this.bench, options, batches)
  }

  /** A device with the other implementation. */
  async otherDevice(...batches: readonly string[][]): Promise<FeedFace> {
    return this.#write(this.others, {}, batches)
  }

  /** A device with the other implementation that takes nothing from peers, to be used with {@link insist}. */
  async stubbornDevice(...batches: readonly string[][]): Promise<FeedFace> {
    return this.#write(this.others, { downloading: false }, batches)
  }

  async #write(bench: Bench, options: object, batches: readonly string[][]): Promise<FeedFace> {
    const feed = await bench.feed(Buffer.from(this.key), {
      secretKey: Buffer.from(this.pair.secretKey),
      ...options
    })
    for (const batch of batches) await feed.append([...batch])
    return feed
  }

  /** An empty copy of ours. */
  replica(options: object = {}): Promise<FeedFace> {
    return this.bench.feed(Buffer.from(this.key), options)
  }

  async close(): Promise<void> {
    await this.bench.close()
    await this.others.close()
  }
}

/** `count` blocks of one branch, from a block on. */
export function branch(name: string, from: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name} ${from + i}`)
}

/** Keeps the forks that a feed is told of. */
export function forksOf(face: FeedFace): ForkProof[] {
  const forks: ForkProof[] = []
  face.feed.on('fork', (proof: ForkProof) => forks.push(proof))
  return forks
}

/** The list that the feed keeps. */
export function remembered(face: FeedFace): readonly ForkProof[] {
  return (face.feed as unknown as { forks: readonly ForkProof[] }).forks
}

/** Connects two feeds for good; with which code it ends. Of two of ours, one ends it, and the other one's stream is closed by that. */
export function meet(
  feed: FeedFace,
  other: FeedFace,
  options: object = {}
): Connection & { end: Promise<string | undefined> } {
  const connection = connect(feed, other, { live: true, ...options })
  const end = connection.ends.then(([here, there]) => (here ?? there)?.code)
  return { ...connection, end }
}

/** Fetches all there is, and leaves; the copy goes on wanting what comes. */
export async function fetched(from: FeedFace, copy: FeedFace): Promise<void> {
  const { cut } = connect(from, copy, { live: true })
  await complete(copy, from.length)
  await cut()
}

/** Checks one proof with everything that must be in it. */
export function checkProof(
  t: Test,
  proof: ForkProof | undefined,
  key: Uint8Array,
  kept: number,
  other: number
): void {
  t.ok(proof !== undefined && verifyFork(proof, key), 'the proof holds')
  t.deepEqual(
    proof?.heads.map(({ length }) => length),
    [kept, other],
    'and is about these lengths'
  )
}

/** Checks that all of a feed is one branch, and sound. */
export async function checkIs(
  t: Test,
  feed: FeedFace,
  blocks: readonly string[],
  what = 'the copy'
): Promise<void> {
  t.deepEqual(await blocksOf(feed), blocks, `${what} has its branch, and nothing else`)
  t.deepEqual({ ...(await feed.audit()) }, { valid: blocks.length, invalid: 0 }, `${what} is sound`)
}

/** Appends whatever the device has heard of other histories: ours would refuse, published ones know nothing of them. */
export async function insist(device: FeedFace, blocks: string[]): Promise<void> {
  if ('forks' in device.feed) await device.call('append', blocks, { force: true })
  else await device.append(blocks)
}

/** Lets everything that is under way happen. */
export async function quiet(): Promise<void> {
  for (let i = 0; i < 5; i++) await settle(10)
}
