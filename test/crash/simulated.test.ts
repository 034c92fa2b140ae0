/**
 * Crashes on a simulated disk: killed at every moment, and the power gone with any part of what was not synchronised. The
 * long version is `npm run test:torture`. `CRASH=author,disk,powerless,7,120,0,14` replays one; the message of a failure says which.
 */
import test from 'tape'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { crash, LONG_PLANS, momentsOf, PLANS, type Plan, tell } from './simulation.ts'

const STORIES = Number(process.env.CRASH_STORIES ?? 3)
const CRASHES = Number(process.env.CRASH_COUNT ?? 25)
const STEPS = Number(process.env.CRASH_STEPS ?? 14)
const LONG_COUNT = Number(process.env.CRASH_LONG_COUNT ?? 1)
const EVERY = Number(process.env.CRASH_EVERY ?? 1)
const EVERY_STEPS = Number(process.env.CRASH_EVERY_STEPS ?? 4)
const FIRST_SEED = Number(process.env.CRASH_SEED ?? 1)
const REPLAY = process.env.CRASH

if (REPLAY !== undefined) {
  test(`replay of ${REPLAY}`, async (t) => {
    const [kind, durability, end, seed, moment, salt, steps, before] = REPLAY.split(',')
    const plan = { kind, durability, end, before: Number(before) } as Plan
    const story = await tell(plan, Number(seed), Number(steps))
    t.ok(await crash(plan, Number(seed), story, Number(moment), Number(salt), Number(steps)))
  })
} else {
  for (const plan of [...PLANS, ...LONG_PLANS]) {
    const long = plan.before !== undefined
    test(`simulated crashes: ${long ? 'long ' : ''}${plan.kind}, durability ${plan.durability}, ${plan.end}`, async (t) => {
      const outcomes: Record<string, number> = {}
      const failures: string[] = []
      for (let seed = FIRST_SEED; seed < FIRST_SEED + STORIES && failures.length < 3; seed++) {
        const story = await tell(plan, seed, STEPS)
        const random = new SeededRandom(seed)
        for (let i = 0; i < (long ? LONG_COUNT : CRASHES) && failures.length < 3; i++) {
          try {
            const outcome = await crash(plan, seed, story, random.below(momentsOf(story)), i, STEPS)
            outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
          } catch (error) {
            failures.push((error as Error).message)
          }
        }
      }
      t.deepEqual(failures, [], `survived: ${JSON.stringify(outcomes)}`)
    })
  }

  // Killed at every moment; and the power gone at every moment, once.
  for (const plan of PLANS) {
    test(`crashes at every moment: ${plan.kind}, durability ${plan.durability}, ${plan.end}`, async (t) => {
      const failures: string[] = []
      let crashes = 0
      for (let seed = FIRST_SEED; seed < FIRST_SEED + EVERY && failures.length < 3; seed++) {
        const story = await tell(plan, seed, EVERY_STEPS)
        const moments = momentsOf(story)
        for (let moment = 0; moment < moments && failures.length < 3; moment++) {
          crashes++
          await crash(plan, seed, story, moment, 0, EVERY_STEPS).catch((error: Error) => {
            failures.push(error.message)
          })
        }
      }
      t.deepEqual(failures, [], `survived ${crashes}`)
    })
  }
}
