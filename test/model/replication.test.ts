/**
 * Random replication between 2 to 6 feeds over connections that split, delay and break. A failure prints its seed;
 * `DDATABASE_SEED=<seed>` repeats just that sequence, `DDATABASE_RUNS=<n>` makes n sequences.
 */
import test from 'tape'
import { runsFromEnvironment, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { ReplicationSimulation } from './replication-simulation.ts'

const RUNS = runsFromEnvironment(40)
const FIRST_SEED = seedFromEnvironment(1)
const STEPS = 120

let blocks = 0

/** How often a sequence is run that sends too much because the machine holds the process up. */
const TRIES = 3

/** Runs a sequence. @returns what went wrong, or null */
async function runSeed(seed: number, tries = TRIES): Promise<string | null> {
  const simulation = new ReplicationSimulation(seed)
  try {
    await simulation.run(STEPS)
    blocks += simulation.blocks.length
    return null
  } catch (error) {
    const excused = simulation.heldUp && /bytes were sent/.test((error as Error).message)
    if (!excused || tries === 1) {
      const members = simulation.members.map(
        ({ name, feed }) => `${name}: ${feed.downloaded()} of ${feed.length}`
      )
      return `seed ${seed}: ${(error as Error).stack}\n${members.join(', ')}\nlast operations:\n  ${simulation.trace.slice(-30).join('\n  ')}`
    }
  } finally {
    await simulation.close()
  }
  return runSeed(seed, tries - 1)
}

test('random replication between several feeds', async (t) => {
  for (let run = 0; run < RUNS; run++) {
    const seed = FIRST_SEED + run
    const failure = await runSeed(seed)
    if (failure !== null) return t.fail(failure)
  }
  t.ok(blocks > 0, `${blocks} blocks in ${RUNS} sequences from seed ${FIRST_SEED}`)
})
