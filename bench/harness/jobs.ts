import type { Measurement } from './measure.ts'
import type { Claim } from './row.ts'

/** Fields of every job. */
interface Common {
  /** Folder of the project, from which the subjects are loaded. */
  readonly root: string
  readonly subject: string
}

/** Makes a feed that other processes will read. */
export interface PrepareJob extends Common {
  readonly kind: 'prepare'
  readonly dir: string
  readonly blockSize: number
  readonly blocks: number
}

/** Measures one row once. */
export interface MeasureJob extends Common {
  readonly kind: 'measure'
  readonly row: string
  /** The subject of the end that blocks come from. */
  readonly source: string
  readonly dir: string
  readonly fixtureDir: string
  readonly fixtureBlocks: number
  readonly smoke: boolean
  readonly seed: number
  /** Least seconds of warming up and of timed work. */
  readonly warm: number
  readonly timed: number
}

/** Opens what another process wrote and checks it. */
export interface CheckJob extends Common {
  readonly kind: 'check'
  readonly claim: Claim
}

/** Opens a prepared feed and serves it to the process that started this one; see `serve.ts`. */
export interface ServeJob extends Common {
  readonly kind: 'serve'
  readonly dir: string
}

/** Appends to a feed and reports; then the process is ended, as all are, by SIGKILL. */
export interface AppendJob extends Common {
  readonly kind: 'append'
  readonly dir: string
  readonly blockSize: number
  readonly blocks: number
}

/** What a process is started for. */
export type Job = PrepareJob | MeasureJob | CheckJob | ServeJob | AppendJob

/** What a process reports, as one line of JSON. */
export interface Answer {
  /** Why the job failed. */
  readonly error?: string
  readonly measurement?: Measurement
  readonly claim?: Claim
}
