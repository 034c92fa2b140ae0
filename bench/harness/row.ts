import type { Extras, Feed, FeedOptions } from './feed.ts'
import type { Profile } from './profiles.ts'
import type { RemoteSource } from './remote-source.ts'

/** A feed that is prepared once per subject, by a process of its own, and then only read. */
export interface Fixture {
  /** Folder name; rows that name the same fixture share it. */
  readonly name: string
  /** Bytes per block. */
  readonly blockSize: number
  /** Number of blocks. */
  readonly blocks: number
  /** Number of blocks in a smoke run. */
  readonly smokeBlocks: number
}

/** What a writing row says its files hold; the published package, or what the subject names, opens them and checks it. */
export interface Claim {
  /** Folder of the feed. */
  readonly dir: string
  readonly blockSize: number
  /** Length of the feed. */
  readonly length: number
  /** Number of blocks that must be present. */
  readonly present: number
  /** Indexes of present blocks whose bytes are compared. */
  readonly samples: readonly number[]
}

/** What a row gets from the harness, in the measuring process. */
export interface Context {
  /** Opens a feed of the measured subject and waits until it is ready. */
  open(dir: string, key?: Uint8Array | null, options?: FeedOptions): Promise<Feed>
  /** Makes a feed of the measured subject, which starts to open (not waited for). */
  create(dir: string): Feed
  /** As `open`, for the end that blocks come from: in a mixed pair that is another subject. */
  openSource(dir: string, options?: FeedOptions): Promise<Feed>
  /** Starts a process that opens the prepared feed, as a source, and serves it over TCP. */
  serve(): Promise<RemoteSource>
  /** Has another process append so many blocks to a feed, which is ended by SIGKILL when all are acknowledged. */
  appendAndDie(dir: string, blockSize: number, blocks: number): Promise<void>
  /** Folder of the prepared feed; an empty string for rows without a fixture. */
  readonly fixtureDir: string
  /** Number of blocks of the prepared feed. */
  readonly fixtureBlocks: number
  /** An existing, empty folder of this measurement only. */
  readonly dir: string
  /** `real` in a real run, `smoke` in a smoke run. */
  size(real: number, smoke: number): number
  /** Random numbers in [0, 1), the same sequence for each subject within a round. */
  random(): number
}

/** The work of one measurement. It is repeated until enough time was spent in `step`. */
export interface Work {
  /** Runs before each step and is not timed. */
  prepare?(): void | Promise<void>
  /** Timed. Returns how many operations it completed. */
  step(): Promise<number>
  /** For rows that write: what the files hold now, all of it acknowledged. */
  claim?(): Claim
  /** Seconds that each operation took, added by `step`; for rows with a quantile. */
  readonly latencies?: number[]
  /** Most steps of a measurement, for rows that prepare each of them at length. */
  readonly maxSteps?: number
  /** A second process, whose processor time and memory count as well. */
  readonly helper?: RemoteSource
}

/** One line of the table. */
export interface Row {
  /** `<verb>-<detail>`, the name for `--row`. */
  readonly name: string
  readonly title: string
  /** What one operation is, in the singular. */
  readonly operation: string
  /** Bytes per operation, for rows that are reported in MB/s; the others are reported in operations/s. */
  readonly bytes?: number
  /** Seconds to warm up for, where the profile's are too few to have the code compiled that the row is about. */
  readonly warm?: number
  /** For rows about latency: which quantile of `latencies` is reported (0.5: the median). */
  readonly quantile?: number
  /** Whether mixed pairs are measured as well, since blocks go from one feed to another. */
  readonly replicates?: boolean
  /** Subjects that lack one of these methods are left out. */
  readonly needs?: readonly (keyof Extras)[]
  readonly fixture?: Fixture
  /** Profiles in which it is one of "all rows"; without it, in each. */
  readonly profiles?: readonly Profile['name'][]
  start(context: Context): Promise<Work>
}
