/**
 * What applications do, at times that nobody expects: several feeds of several owners over several connections, closed, cut and opened again
 * while calls are under way, and from within events.
 *
 * What must hold: every call ends, with what is true or with an error that has a code; nobody is accused of anything; nothing escapes;
 * and afterwards, over connections that stay, everybody gets what is there.
 */
import { SeededRandom } from '../helpers/seeded-random.ts'
import { guarded, type Outcome } from './outcome.ts'
import { SessionRun } from './sessions-run.ts'

/** Runs one seed. */
export function fuzzSessions(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new SessionRun(new SeededRandom(seed), problems).go())
}
