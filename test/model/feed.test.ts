/**
 * Random sequences of operations against a plain array. A failure prints its seed; `DDATABASE_SEED=<seed>` repeats
 * just that sequence, `DDATABASE_RUNS=<n>` makes n sequences per kind of storage.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import RAM from 'random-access-memory'
import test from 'tape'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { runsFromEnvironment, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { FeedSimulation } from './simulation.ts'

const RUNS = runsFromEnvironment(20)
const FIRST_SEED = seedFromEnvironment(1)
const STEPS = 70

/** The two storages of a sequence, for the feed and for its replica, and how to get rid of them. */
interface Storages {
  feed: unknown
  replica(): unknown
  remove(): Promise<void>
}

// RAM.reusable() keeps the bytes while feeds on it come and go; its type is not declared.
const reusable = () => (RAM as unknown as { reusable(): unknown }).reusable()

const KINDS: Record<string, () => Promise<Storages>> = {
  'random-access-memory': async () => ({ feed: reusable(), replica: reusable, remove: async () => {} }),
  'storage objects that offer only what they must': async () => ({
    feed: new MemoryFiles().plainFactory(),
    replica: () => new MemoryFiles().plainFactory(),
    remove: async () => {}
  }),
  'a directory': async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-model-'))
    let replicas = 0
    return {
      feed: path.join(folder, 'feed'),
      replica: () => path.join(folder, `replica-${replicas++}`),
      remove: () => rm(folder, { recursive: true, force: true })
    }
  }
}

for (const [kind, create] of Object.entries(KINDS)) {
  test(`random operations against a plain array: ${kind}`, async (t) => {
    let steps = 0
    for (let run = 0; run < RUNS; run++) {
      const seed = FIRST_SEED + run
      const storages = await create()
      const simulation = new FeedSimulation(seed, storages.feed, storages.replica)
      try {
        await simulation.run(STEPS)
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
    t.ok(steps >= RUNS * STEPS, `${steps} operations in ${RUNS} sequences from seed ${FIRST_SEED}`)
  })
}
