/** Kills a process that works on real files, again and again, and checks what is left each time. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { DurabilityMode } from '../../src/storage/durability.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { storageOf } from './kill-storage.ts'
import { blockOf, type Line, type Work } from './lines.ts'

const open = ours()
const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))

/** Blocks of a feed; null for one that was cleared. */
export type Content = (Buffer | null)[]

/** What many kills came to. */
export interface Kills {
  kills: number
  operations: number
  failed: number
  recovered: number
}

/** How the process is run. */
export interface Surroundings {
  durability: DurabilityMode
  /** Largest size of a file, in KiB. */
  fileLimit?: number
  /** Whose feed it is. Default `ours`. */
  subject?: 'ours' | 'published'
  /** How long it may work, milliseconds; a random part of it. */
  patience: number
  /** Small blocks that each feed begins with, so that its bitfield has several pages. Default 0. */
  before?: number
}

// A feed that only grows makes comparing it slower and slower.
const KILLS_OF_A_FEED = 20

/**
 * Runs and kills a process `times` times in the same folder, which is emptied for a new feed now and then. Throws at the
 * first thing that does not hold.
 */
export async function killAgainAndAgain(
  folder: string,
  times: number,
  random: SeededRandom,
  surroundings: Surroundings
): Promise<Kills> {
  const kills: Kills = { kills: 0, operations: 0, failed: 0, recovered: 0 }
  const { before = 0 } = surroundings
  let content: Content = []
  let key: string | null = null
  for (; kills.kills < times; kills.kills++) {
    if (kills.kills % KILLS_OF_A_FEED === 0) {
      await rm(folder, { recursive: true, force: true })
      content = []
      key = null
      if (before > 0) {
        content = Array.from({ length: before }, (_, i) => Buffer.from([i & 255]))
        const feed = open(storageOf(folder, true), null, {})
        await feed.append(content as Buffer[])
        key = feed.key.toString('hex')
        await feed.close()
      }
    }
    const lines = await runAndKill(folder, random, surroundings)
    const story = retell(content, lines)
    kills.operations += story.done
    kills.failed += story.failed
    const begun = lines.find((line) => 'begun' in line)
    if (begun === undefined && key === null) continue
    key ??= (begun as { key: string }).key
    const found = await look(folder, key, story.allowed, before > 0)
    content = found.content
    if (found.recovered) kills.recovered++
  }
  return kills
}

/** Lets a process work in the folder and kills it. Answers what it has said. */
export async function runAndKill(
  folder: string,
  random: SeededRandom,
  { before = 0, durability, fileLimit, patience, subject = 'ours' }: Surroundings
): Promise<Line[]> {
  const command = [
    process.execPath,
    '--import',
    'tsx',
    CHILD,
    folder,
    String(random.below(2 ** 31)),
    durability,
    subject,
    before > 0 ? 'long' : ''
  ]
  const limited =
    fileLimit === undefined
      ? command
      : ['bash', '-c', `ulimit -f ${fileLimit}; exec "$@"`, 'bash', ...command]
  const child = spawn(limited[0]!, limited.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  const ended = once(child, 'exit')
  const begins = new Promise<void>((resolve) => {
    child.stdout.once('data', () => resolve())
  })
  await Promise.race([begins, ended])
  // Now and then while it is opening: that is when it repairs.
  await new Promise((resolve) => setTimeout(resolve, random.below(patience)))
  child.kill('SIGKILL')
  const [code] = await ended
  assert.ok(code === null || subject === 'published', 'the process did not end by itself')
  return output
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line)
}

/** What the feed may be: as after the last answer, or as after the operation that was asked for last. */
export function retell(
  before: Content,
  lines: readonly Line[]
): { allowed: Content[]; done: number; failed: number } {
  let content = before
  let next: Content | null = null
  let done = 0
  let failed = 0
  for (const line of lines) {
    if ('asked' in line) next = after(content, line.asked)
    else if ('answered' in line && next !== null) {
      if (line.answered === 'done') {
        content = next
        done++
      } else failed++
      next = null
    }
  }
  return { allowed: next === null ? [content] : [content, next], done, failed }
}

function after(content: Content, work: Work): Content {
  if ('append' in work) return [...content, ...work.append.map(blockOf)]
  if ('truncate' in work) return content.slice(0, work.truncate)
  if ('clear' in work) {
    const [start, end] = work.clear
    return content.map((block, i) => (i >= start && i < end ? null : block))
  }
  return content
}

/** Opens the feed, compares it, and closes it. */
async function look(
  folder: string,
  key: string,
  allowed: readonly Content[],
  long: boolean
): Promise<{ content: Content; recovered: boolean }> {
  const feed = open(storageOf(folder, long), null, { sparse: true })
  await feed.ready()
  assert.equal(feed.key.toString('hex'), key, 'the same key')
  assert.equal(feed.writable, true, 'still writable')
  const fits = allowed.filter((content) => content.length === feed.length)
  assert.ok(
    fits.length > 0,
    `length ${feed.length} is one of ${allowed.map((content) => content.length).join(', ')}`
  )
  const content: Content = []
  for (let i = 0; i < feed.length; i++) {
    const got = feed.feed.has(i) ? Buffer.from((await feed.get(i, { wait: false })) as Uint8Array) : null
    content.push(got)
    const expected = fits.map((one) => one[i]!)
    const holds = expected.some((block) => (block === null ? got === null : got?.equals(block)))
    assert.ok(holds, `block ${i} of ${feed.length} is what it was`)
  }
  const { recovery } = feed.feed as unknown as { recovery: object | null }
  await feed.close().catch((error: { code?: unknown }) => {
    // On a full disk the checkpoint finds no room; the feed is closed all the same.
    assert.equal(error.code, 'ERR_STORAGE')
  })
  const theirs = published(folder, null, { sparse: true })
  await theirs.ready()
  assert.equal(theirs.length, content.length, 'length for the published package')
  const last = content.findLastIndex((block) => block !== null)
  if (last !== -1) assert.ok(Buffer.from((await theirs.get(last)) as Uint8Array).equals(content[last]!))
  await theirs.close()
  return { content, recovered: recovery !== null }
}
