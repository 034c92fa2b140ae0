/**
 * The published package, killed on real files in the same way as ours (docs/reliability.md): two hundred times, then with a
 * limit on the size of files, then on a full disk (where root can make one). Counts what comes of it; a feed that is lost begins
 * anew.
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type Content, retell, runAndKill, type Surroundings } from '../../test/crash/killing.ts'
import { published } from '../../test/helpers/published.ts'
import { SeededRandom } from '../../test/helpers/seeded-random.ts'

const KILLS = Number(process.env.CRASH_KILLS ?? 200)
const KILLS_OF_A_FEED = 20

const OUTCOMES = [
  'as promised',
  'acknowledged, and lost',
  'wrong bytes',
  'does not open, or cannot read'
] as const

type Outcome = (typeof OUTCOMES)[number]

async function look(folder: string, key: string, allowed: readonly Content[]): Promise<[Outcome, Content]> {
  const feed = published(folder, null, { sparse: true })
  try {
    await feed.ready()
    if (feed.key.toString('hex') !== key || !feed.writable) return ['acknowledged, and lost', []]
    const content: Content = []
    for (let i = 0; i < feed.length; i++) {
      content.push(feed.has(i) ? Buffer.from((await feed.get(i, { wait: false })) as Uint8Array) : null)
    }
    const known = (got: Buffer | null, i: number) =>
      got === null || allowed.some((one) => one[i] === undefined || one[i]?.equals(got))
    if (!content.every(known)) return ['wrong bytes', content]
    const fits = allowed.some(
      (one) => one.length === content.length && one.every((block, i) => block === null || content[i] !== null)
    )
    return [fits ? 'as promised' : 'acknowledged, and lost', content]
  } catch {
    return ['does not open, or cannot read', []]
  } finally {
    await feed.close().catch(() => {})
  }
}

async function kill(name: string, folder: string, surroundings: Surroundings): Promise<void> {
  const random = new SeededRandom(Number(process.env.CRASH_SEED ?? 1))
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>
  let content: Content = []
  let key: string | null = null
  for (let i = 0, ofThis = 0; i < KILLS; i++, ofThis++) {
    if (key === null || ofThis === KILLS_OF_A_FEED) {
      await rm(folder, { recursive: true, force: true })
      content = []
      key = null
      ofThis = 0
    }
    const lines = await runAndKill(folder, random, { ...surroundings, subject: 'published' })
    const begun = lines.find((line) => 'begun' in line)
    if (key === null && begun === undefined) continue
    key ??= (begun as { key: string }).key
    const [outcome, found] = await look(folder, key, retell(content, lines).allowed)
    counts[outcome]++
    content = found
    if (outcome !== 'as promised') key = null
  }
  console.log(name, JSON.stringify(counts))
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-torture-'))
  try {
    const feed = path.join(folder, 'feed')
    await kill('killed', feed, { durability: 'process', patience: 300 })
    await kill('killed, file limit', feed, { durability: 'process', patience: 500, fileLimit: 1024 })
    await rm(feed, { recursive: true, force: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder])
    try {
      await kill('killed, disk full', feed, { durability: 'process', patience: 500 })
    } finally {
      execFileSync('umount', [folder])
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

void main()
