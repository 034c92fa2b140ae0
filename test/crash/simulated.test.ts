/**
 * Crashes on a simulated disk: killed at every moment, and the power gone with any part of what was not synchronised. The
 * long version is `npm run test:torture`. `CRASH=author,disk,powerless,7,120,0` replays one; the message of a failure says which.
 */
import test from 'tape'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { crash, momentsOf, PLANS, type Plan, tell } from './simulation.ts'

const STORIES = Number(process.env.CRASH_STORIES ?? 3)
const CRASHES = Number(process.env.CRASH_COUNT ?? 25)
const STEPS = Number(process.env.CRASH_STEPS ?? 14)
const FIRST_SEED = Number(process.env.CRASH_SEED ?? 1)
const REPLAY = process.env.CRASH

if (REPLAY !== undefined) {
  test(`replay of ${REPLAY}`, async (t) => {
    const [kind, durability, end, seed, moment, salt] = REPLAY.split(',')
    const plan = { kind, durability, end } as Plan
    const story = await tell(plan, Number(seed), STEPS)
    t.ok(await crash(plan, Number(seed), story, Number(moment), Number(salt)))
  })
} else {
  for (const plan of PLANS) {
    test(`simulated crashes: ${plan.kind}, durability ${plan.durability}, ${plan.end}`, async (t) => {
      const outcomes: Record<string, number> = {}
      const failures: string[] = []
      for (let seed = FIRST_SEED; seed < FIRST_SEED + STORIES && failures.length < 3; seed++) {
        const story = await tell(plan, seed, STEPS)
        const random = new SeededRandom(seed)
        for (let i = 0; i < CRASHES && failures.length < 3; i++) {
          try {
            const outcome = await crash(plan, seed, story, random.below(momentsOf(story)), i)
            outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
          } catch (error) {
            failures.push((error as Error).message)
          }
        }
      }
      t.deepEqual(failures, [], `survived: ${JSON.stringify(outcomes)}`)
    })
  }
}
