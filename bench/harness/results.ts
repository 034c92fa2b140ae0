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
  /** Operations per second, MB (10^6 bytes) per second, or microseconds; see the row's unit. */
  readonly rate: Spread
  /** Microseconds of wall time per operation. */
  readonly wall: number
  /** Microseconds of processor time per operation. */
  readonly cpu: number
  /** Peak resident memory of the timed part, MB (10^6 bytes). */
  readonly peak: number
  /** Resident memory before the subject was loaded, MB. */
  readonly base: number
  /** This subject's speed over that of another, round by round; keyed by the other. Above 1 is faster, also for latencies. */
  readonly rateOver: Record<string, Spread>
  /** The same for processor time per operation. */
  readonly cpuOver: Record<string, Spread>
  /** Each round as measured. */
  readonly rounds: readonly Measurement[]
}

/** What the figures of a row are. Of rates the greater is better, of microseconds the smaller. */
export type Unit = '/s' | 'MB/s' | 'µs'

/** One line of the table. */
export interface RowResult {
  readonly name: string
  readonly title: string
  readonly operation: string
  readonly unit: Unit
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

function unitOf(row: Row): Unit {
  if (row.quantile !== undefined) return 'µs'
  return row.bytes === undefined ? '/s' : 'MB/s'
}

/** The figure of one measurement, in the unit of the row. */
function rateOf(row: Row, { operations, wall, latency }: Measurement): number {
  if (latency !== undefined) return latency * 1e6
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
  const unit = unitOf(row)
  const speeds =
    unit === 'µs' ? new Map([...rates].map(([name, all]) => [name, all.map((one) => 1 / one)])) : rates

  const figures = (name: string, rounds: readonly Measurement[]): Figures => ({
    rate: spread(rates.get(name)!),
    wall: median(rounds.map((one) => (one.wall / one.operations) * 1e6)),
    cpu: median(rounds.map((one) => (one.cpu / one.operations) * 1e6)),
    peak: median(rounds.map((one) => one.peak / 1e6)),
    base: median(rounds.map((one) => one.base / 1e6)),
    rateOver: against(speeds, name),
    cpuOver: against(cpus, name),
    rounds
  })

  return {
    name: row.name,
    title: row.title,
    operation: row.operation,
    unit,
    subjects: [...measured].map(([subject, rounds]) => {
      const error = errors.get(subject)
      return error === undefined ? { subject, figures: figures(subject, rounds) } : { subject, error }
    })
  }
}
