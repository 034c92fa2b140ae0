/** The short run that a fuzzer makes as a test. */
import test from 'tape'
import { runsFromEnvironment, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { type Outcome, type Rarities, tooOften } from './outcome.ts'

/** One fuzzer in the test suite. */
export interface ShortRun {
  name: string
  fuzz(seed: number): Promise<Outcome>
  /** Seeds that once failed. */
  found: readonly number[]
  /** What only few runs may come to. */
  rare?: Rarities
  /** How many seeds from 1 on. All short runs together take about a minute. */
  runs: number
}

/** Runs the seeds that once failed, and some more; those of `DDATABASE_SEED` and `DDATABASE_RUNS` if given. */
export function fuzzTest({ name, fuzz, found, rare, runs }: ShortRun): void {
  const first = seedFromEnvironment(1)
  const count = runsFromEnvironment(runs)
  test(name, async (t) => {
    const codes = new Map<string, number>()
    const range = Array.from({ length: count }, (_, i) => first + i)
    for (const seed of [...found, ...range]) {
      const { code, problems } = await fuzz(seed)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      if (problems.length > 0) t.fail(`DDATABASE_SEED=${seed} fails:\n${problems.join('\n')}`)
    }
    for (const excess of tooOften(codes, rare)) t.fail(excess)
    t.pass(`seeds ${first} … ${first + count - 1}: ${JSON.stringify(Object.fromEntries(codes))}`)
  })
}
