/** What all fuzzers have in common: a run has a seed, and comes to a code and a list of what went wrong. */
import { DDatabaseError, isArgumentError } from '../../src/errors.ts'

/** What a run came to. */
export interface Outcome {
  seed: number
  /** How it went, in a word: a code, or what the fuzzer counts. */
  code: string
  /** What went wrong, if anything did. */
  problems: string[]
}

/** Outcomes that test little: how many of all runs may come to each code. */
export type Rarities = Readonly<Record<string, number>>

// Of fewer runs some may come to the same by chance.
const ENOUGH = 200

/** The codes that more runs came to than may. */
export function tooOften(counts: ReadonlyMap<string, number>, rare: Rarities = {}): string[] {
  const runs = [...counts.values()].reduce((sum, count) => sum + count, 0)
  if (runs < ENOUGH) return []
  return Object.entries(rare)
    .filter(([code, share]) => (counts.get(code) ?? 0) > share * runs)
    .map(([code]) => `${counts.get(code)} of ${runs} runs came to '${code}'`)
}

/** Runs a seed: what escapes from it, to the process or to the caller, is a problem as well. */
export async function guarded(seed: number, run: (problems: string[]) => Promise<string>): Promise<Outcome> {
  const problems: string[] = []
  const escaped = (error: unknown) => void problems.push(`escaped: ${(error as Error)?.stack ?? error}`)
  process.on('uncaughtException', escaped)
  process.on('unhandledRejection', escaped)
  let code = 'none'
  try {
    code = await run(problems)
  } catch (error) {
    problems.push(`failed: ${(error as Error)?.stack ?? String(error)}`)
  } finally {
    for (let turns = 3; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    process.off('uncaughtException', escaped)
    process.off('unhandledRejection', escaped)
  }
  return { seed, code, problems }
}

/** Whether an error is one of those in docs/errors.md. */
export function isCoded(error: unknown): error is Error & { code: string } {
  return DDatabaseError.is(error) || isArgumentError(error)
}

/** An error in one line, with what caused it. */
export function told(error: unknown): string {
  const { stack, cause } = error as { stack?: string; cause?: { stack?: string } }
  return `${stack ?? String(error)}${cause === undefined ? '' : `\n  caused by ${cause.stack ?? String(cause)}`}`
}
