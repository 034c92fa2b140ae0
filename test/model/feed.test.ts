/**
 * Thousands of random sequences of operations against a plain array: many short ones, which reach odd states early,
 * and some long ones. A failure prints its seed; `DDATABASE_SEED=<seed>` repeats just that sequence,
 * `DDATABASE_RUNS=<n>` makes n sequences per kind of storage.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import RAM from 'random-access-memory'
import test from 'tape'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { runsFromEnvironment, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { FeedSimulation } from './simulation.ts'

const FIRST_SEED = seedFromEnvironment(1)

/** Operations in the sequence of a seed. */
function stepsOf(seed: number): number {
  return seed % 40 === 1 ? 70 : 4 + (seed % 9)
}

/** The two storages of a sequence, for the feed and for its replica, and how to get rid of them. */
interface Storages {
  feed: unknown
  replica(): unknown
  remove(): Promise<void>
}

// RAM.reusable() keeps the bytes while feeds on it come and go; its type is not declared.
const reusable = () => (RAM as unknown as { reusable(): unknown }).reusable()

/** The kinds of storage, and how many sequences each gets. */
const KINDS: Record<string, { runs: number; create(): Promise<Storages> }> = {
  'random-access-memory': {
    runs: 1500,
    create: async () => ({ feed: reusable(), replica: reusable, remove: async () => {} })
  },
  'storage objects that offer only what they must': {
    runs: 300,
    create: async () => ({
      feed: new MemoryFiles().plainFactory(),
      replica: () => new MemoryFiles().plainFactory(),
      remove: async () => {}
    })
  },
  'a directory': {
    runs: 300,
    create: async () => {
      const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-model-'))
      let replicas = 0
      return {
        feed: path.join(folder, 'feed'),
        replica: () => path.join(folder, `replica-${replicas++}`),
        remove: () => rm(folder, { recursive: true, force: true })
      }
    }
  }
}

for (const [kind, { runs, create }] of Object.entries(KINDS)) {
  const RUNS = runsFromEnvironment(runs)
  test(`random operations against a plain array: ${kind}`, async (t) => {
    let steps = 0
    for (let run = 0; run < RUNS; run++) {
      const seed = FIRST_SEED + run
      const storages = await create()
      const simulation = new FeedSimulation(seed, storages.feed, storages.replica)
      try {
        await simulation.run(stepsOf(seed))
        steps += simulation.steps
      } catch (error) {
        t.fail(
          `seed ${seed} on ${kind}: ${(error as Error).stack}\nlast operations:\n  ${simulation.trace.slice(-25).join('\n  ')}`
        )
        return
      } finally {
        await simulation.abandon()
        await storages.remove()
      }
    }
    t.ok(steps >= RUNS * 4, `${steps} operations in ${RUNS} sequences from seed ${FIRST_SEED}`)
  })
}
