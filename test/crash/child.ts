/**
 * A process that works on the feed in a directory until it is killed. It says each operation before it begins it, and
 * again when it is answered; lines of JSON, which are written at once.
 */
import { writeSync } from 'node:fs'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { storageOf } from './kill-storage.ts'
import { blockOf, type Line, type Work } from './lines.ts'

const [folder, seed, durability, subject, long] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string
]

function say(line: Line): void {
  for (;;) {
    try {
      writeSync(1, `${JSON.stringify(line)}\n`)
      return
    } catch (error) {
      // Whoever reads has not got its turn yet. Lines as short as these are written whole or not at all.
      if ((error as { code?: unknown }).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}

async function work(): Promise<void> {
  const random = new SeededRandom(Number(seed))
  const open = subject === 'published' ? published : ours()
  const feed = open(storageOf(folder, long === 'long'), null, { durability })
  await feed.ready()
  say({ begun: true, key: feed.key.toString('hex') })
  for (;;) {
    const next = choose(random, feed.length)
    say({ asked: next })
    try {
      if ('append' in next) await feed.append(next.append.map(blockOf))
      else if ('clear' in next) await feed.clear(...next.clear)
      else if ('truncate' in next) await feed.truncate(next.truncate)
      else await feed.call('flush')
      say({ answered: 'done' })
    } catch (error) {
      say({ answered: 'failed', code: (error as { code?: unknown }).code })
    }
  }
}

function choose(random: SeededRandom, length: number): Work {
  const what = random.next()
  if (what < 0.06 && length > 0) {
    const start = random.below(length)
    return { clear: [start, Math.min(length, start + 1 + random.below(20))] }
  }
  if (what < 0.08 && length > 0) return { truncate: length - 1 - random.below(Math.min(length, 10)) }
  if (what < 0.1) return { flush: true }
  const count = random.chance(0.3) ? 1 + random.below(40) : 1
  const large = random.chance(0.1) ? 200_000 : 300
  return { append: Array.from({ length: count }, () => [random.below(2 ** 31), random.below(large)]) }
}

// Beyond a file limit a write is to fail, as on a full disk, instead of ending the process.
process.on('SIGXFSZ', () => {})
void work()
