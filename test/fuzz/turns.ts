/**
 * Our package and the published one take turns on the same files: they append, clear, truncate and overwrite, and are killed in between.
 *
 * What must hold: our package opens what either of them has left, with every block that must be there and no other; it leaves nothing
 * to repair, an end that is signed, and what a published one reads. What a published package spoils for itself is not looked at (`skipped`).
 * An end that it has left unsigned, or what it has left when it was killed, may be refused or given up in part, with a code (docs/reliability.md).
 */
import { guarded, type Outcome, type Rarities } from './outcome.ts'
import { drawPlan, type Plan } from './turns-plan.ts'
import { type Played, play } from './turns-play.ts'
import { shortest } from './turns-shorter.ts'

/** What only few runs may come to, or too little is tested. */
export const RARE: Rarities = { skipped: 0.05, behind: 0.08, 'given up': 0.03 }

/** Runs one seed. */
export function fuzzTurns(seed: number): Promise<Outcome> {
  return guarded(seed, async (problems) => {
    const plan = drawPlan(seed)
    const played = await play(plan)
    if (played.problem === null) return played.code === 'held' ? nameOf(plan) : played.code
    problems.push(report(plan, played))
    const short = await shortest(plan, async (shorter) => kindOf(await play(shorter)) === kindOf(played))
    if (short !== plan) problems.push(`as short as it gets: ${report(short, await play(short))}`)
    return 'failed'
  })
}

/** What is counted. */
function nameOf({ place, sessions }: Plan): string {
  return sessions.some(({ killed }) => killed !== null) ? `${place}, killed` : place
}

function report(plan: Plan, { problem, story }: Played): string {
  return `${problem}\n  in ${nameOf(plan)}:\n  ${story.join('\n  ')}`
}

/** What went wrong, without what differs from story to story; null if nothing did. */
function kindOf({ problem }: Played): string | null {
  return problem === null
    ? null
    : problem
        .split('\n', 1)
        .join()
        .replaceAll(/[0-9]+|'.*'/g, '')
}
