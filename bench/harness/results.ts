import type { Machine } from './machine.ts'
import type { Measurement } from './measure.ts'
import type { Profile } from './profiles.ts'
import type { Row } from './row.ts'
import { median, ratios, type Spread, spread } from './statistics.ts'

/** One subject in one row: either figures over all rounds, or why there are none. */
export interface SubjectResult {
  readonly subject: string
  readonly error?: string
  readonly figures?: Figures
}

/** Medians over the rounds. */
export interface Figures {
  /** Operations per second, or MB (10^6 bytes) per second; see the row's unit. */
  readonly rate: Spread
  /** Microseconds of wall time per operation. */
  readonly wall: number
  /** Microseconds of processor time per operation. */
  readonly cpu: number
  /** Peak resident memory of the timed part, MB (10^6 bytes). */
  readonly peak: number
  /** Resident memory before the subject was loaded, MB. */
  readonly base: number
  /** This subject's rate over that of another, round by round; keyed by the other. */
  readonly rateOver: Record<string, Spread>
  /** The same for processor time per operation. */
  readonly cpuOver: Record<string, Spread>
  /** Each round as measured. */
  readonly rounds: readonly Measurement[]
}

/** One line of the table. */
export interface RowResult {
  readonly name: string
  readonly title: string
  readonly operation: string
  readonly unit: '/s' | 'MB/s'
  readonly subjects: readonly SubjectResult[]
}

/** Everything that a run found out. */
export interface Results {
  readonly profile: Profile
  readonly machine: Machine
  /** Version of each subject. */
  readonly versions: Record<string, string>
  readonly rows: readonly RowResult[]
}

/** Operations or megabytes per second. */
function rateOf(row: Row, { operations, wall }: Measurement): number {
  return row.bytes === undefined ? operations / wall : (operations * row.bytes) / wall / 1e6
}

/** Sums up the rounds of one row; a subject with an error has no figures. */
export function summarise(
  row: Row,
  measured: ReadonlyMap<string, readonly Measurement[]>,
  errors: ReadonlyMap<string, string>
): RowResult {
  const complete = [...measured].filter(([name]) => !errors.has(name))
  const rates = new Map(complete.map(([name, rounds]) => [name, rounds.map((one) => rateOf(row, one))]))
  const cpus = new Map(
    complete.map(([name, rounds]) => [name, rounds.map((one) => one.cpu / one.operations)])
  )
  const against = (all: ReadonlyMap<string, number[]>, name: string) => {
    const others = [...all].filter(([other]) => other !== name)
    return Object.fromEntries(others.map(([other, values]) => [other, ratios(all.get(name)!, values)]))
  }

  const figures = (name: string, rounds: readonly Measurement[]): Figures => ({
    rate: spread(rates.get(name)!),
    wall: median(rounds.map((one) => (one.wall / one.operations) * 1e6)),
    cpu: median(rounds.map((one) => (one.cpu / one.operations) * 1e6)),
    peak: median(rounds.map((one) => one.peak / 1e6)),
    base: median(rounds.map((one) => one.base / 1e6)),
    rateOver: against(rates, name),
    cpuOver: against(cpus, name),
    rounds
  })

  return {
    name: row.name,
    title: row.title,
    operation: row.operation,
    unit: row.bytes === undefined ? '/s' : 'MB/s',
    subjects: [...measured].map(([subject, rounds]) => {
      const error = errors.get(subject)
      return error === undefined ? { subject, figures: figures(subject, rounds) } : { subject, error }
    })
  }
}
