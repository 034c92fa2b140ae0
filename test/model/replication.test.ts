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

test('random replication between several feeds', async (t) => {
  let blocks = 0
  for (let run = 0; run < RUNS; run++) {
    const seed = FIRST_SEED + run
    const simulation = new ReplicationSimulation(seed)
    try {
      await simulation.run(STEPS)
      blocks += simulation.blocks.length
    } catch (error) {
      const members = simulation.members.map(
        ({ name, feed }) => `${name}: ${feed.downloaded()} of ${feed.length}`
      )
      t.fail(
        `seed ${seed}: ${(error as Error).stack}\n${members.join(', ')}\nlast operations:\n  ${simulation.trace.slice(-30).join('\n  ')}`
      )
      return
    } finally {
      await simulation.close()
    }
  }
  t.ok(blocks > 0, `${blocks} blocks in ${RUNS} sequences from seed ${FIRST_SEED}`)
})
