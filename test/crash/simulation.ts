/** Tells stories on simulated disks, ends them at every moment or at random, and checks what is left. */
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { checkAfter, type End } from './check.ts'
import { author, clone, copy, type Story } from './workload.ts'

/** Kinds of work: of an author, of a copy that is given blocks, and of one that gets them from a peer. */
export type Kind = 'author' | 'copy' | 'clone'

/** One way to run. */
export interface Plan {
  kind: Kind
  durability: 'process' | 'disk'
  end: End
  /** Blocks that the feed has from an earlier opening. */
  before?: number
}

// Several pages of bits: of those that nothing was written to, an opening reads nothing.
const LONG = 20_000

/** On long feeds; a crash takes a second to be looked at. */
export const LONG_PLANS: readonly Plan[] = (['author', 'copy'] as const).flatMap((kind) =>
  (['killed', 'powerless'] as const).map(
    (end) => ({ kind, durability: 'process', end, before: LONG }) as const
  )
)

/** All others. */
export const PLANS: readonly Plan[] = (['author', 'copy', 'clone'] as const).flatMap((kind) =>
  (['process', 'disk'] as const).flatMap((durability) =>
    (['killed', 'powerless'] as const).map((end) => ({ kind, durability, end }))
  )
)

/** A crash that was not survived: its message replays it. */
export class CrashFailure extends Error {}

/** The story of a seed. */
export async function tell(plan: Plan, seed: number, steps: number): Promise<Story> {
  const random = new SeededRandom(seed)
  const { before = 0, durability, kind } = plan
  const disk = { extraFiles: random.chance(0.7), immediate: random.chance(0.5), stamps: random.chance(0.7) }
  if (before > 0) Object.assign(disk, { extraFiles: true, immediate: true, stamps: true })
  if (kind === 'author') return author(random, durability, disk, steps, undefined, before)
  const files = new MemoryFiles()
  if (kind === 'copy') return copy(random, durability, disk, steps, files, before)
  return clone(random, durability, disk, steps, files)
}

/** Ends a story at one moment. */
export async function crash(
  plan: Plan,
  seed: number,
  story: Story,
  moment: number,
  salt: number,
  steps: number
): Promise<string> {
  const random = new SeededRandom(seed * 1_000_003 + moment * 101 + salt)
  const files = story.disk[plan.end](moment, random)
  try {
    return await checkAfter(story, moment, plan.end, files)
  } catch (error) {
    const replay = `CRASH=${[plan.kind, plan.durability, plan.end, seed, moment, salt, steps, plan.before ?? 0].join(',')}`
    throw new CrashFailure(`${replay}\n${story.steps.join('\n')}\n${(error as Error).stack}`)
  }
}

/** Moments of a story, and a little beyond. */
export function momentsOf(story: Story): number {
  return story.disk.now + 1
}
