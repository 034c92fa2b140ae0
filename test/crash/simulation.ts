/** Tells stories on simulated disks, ends them at every moment or at random, and checks what is left. */
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { checkAfter, type End } from './check.ts'
import { author, copy, type Story } from './workload.ts'

/** Kinds of work. */
export type Kind = 'author' | 'copy'

/** One way to run. */
export interface Plan {
  kind: Kind
  durability: 'process' | 'disk'
  end: End
}

/** All of them. */
export const PLANS: readonly Plan[] = (['author', 'copy'] as const).flatMap((kind) =>
  (['process', 'disk'] as const).flatMap((durability) =>
    (['killed', 'powerless'] as const).map((end) => ({ kind, durability, end }))
  )
)

/** A crash that was not survived: its message replays it. */
export class CrashFailure extends Error {}

/** The story of a seed. */
export async function tell(plan: Plan, seed: number, steps: number): Promise<Story> {
  const random = new SeededRandom(seed)
  const disk = { extraFiles: random.chance(0.7), immediate: random.chance(0.5) }
  return plan.kind === 'author'
    ? author(random, plan.durability, disk, steps)
    : copy(random, plan.durability, disk, steps, new MemoryFiles())
}

/** Ends a story at one moment. */
export async function crash(
  plan: Plan,
  seed: number,
  story: Story,
  moment: number,
  salt: number
): Promise<string> {
  const random = new SeededRandom(seed * 1_000_003 + moment * 101 + salt)
  const files = story.disk[plan.end](moment, random)
  try {
    return await checkAfter(story, moment, plan.end, files)
  } catch (error) {
    const replay = `CRASH=${[plan.kind, plan.durability, plan.end, seed, moment, salt].join(',')}`
    throw new CrashFailure(`${replay}\n${story.steps.join('\n')}\n${(error as Error).stack}`)
  }
}

/** Moments of a story, and a little beyond. */
export function momentsOf(story: Story): number {
  return story.disk.now + 1
}
