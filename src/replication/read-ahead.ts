/**
 * Blocks for the answers to one peer, read before it is their turn: large ones, so that another thread hashes them while
 * others are being sent. A published peer draws blocks at random, so a run is often a single block; several runs are read, and
 * offered to the thread, together, because to be woken for each costs as much as to hash it.
 */
import b4a from 'b4a'
import type { RequestMessage } from './messages.ts'
import type { UnverifiedRun } from './source.ts'

/** About so many bytes are read together. */
export const BATCH_BYTES = 64 * 1024

/** What one batch was read into. Nobody gets hold of it, unless it is {@link show}n: blocks leave as copies. */
interface BatchMemory {
  readonly bytes: Uint8Array
  used: number
  /** Runs in it that are not done with. */
  runs: number
  /** Somebody who may keep the blocks has seen one. */
  shown: boolean
}

/** Blocks of neighbours, read and not looked at yet. */
export interface ReadRun {
  readonly start: number
  readonly blocks: UnverifiedRun
  readonly memory: BatchMemory
}

/** Where the requests and blocks are. */
export interface ReadAheadHost {
  /** The requests from place `from` of the queue on that are for neighbours that are here. */
  nextRun(from: number): readonly RequestMessage[]
  /**
   * As many of these blocks as `target` has room for; null if that cannot be done without waiting, or they may not be read so.
   * @param offer - whether another thread may hash them
   */
  runInto(start: number, end: number, target: Uint8Array, offer: boolean): UnverifiedRun | null
}

// Memory of BATCH_BYTES that nobody uses, for all peers.
const spare: Uint8Array[] = []
const MOST_SPARE = 4

/** At most two batches of one peer: the one that is being sent, and the one that is being hashed. */
export class ReadAhead {
  private readonly host: ReadAheadHost
  // In the order in which they will be asked for.
  private readonly runs: ReadRun[] = []

  /** @param host - where the requests and blocks are */
  constructor(host: ReadAheadHost) {
    this.host = host
  }

  /**
   * Blocks for some of these requests, which are the run at the front of the queue; null if they cannot be had without waiting.
   * To be given back with {@link done}.
   */
  take(run: readonly RequestMessage[]): ReadRun | null {
    const { runs } = this
    const start = run[0]!.index
    // What was to come before is not wanted any more.
    while (runs.length > 0 && runs[0]!.start !== start) this.done(runs.shift()!)
    if (runs.length === 0) this.readBatch(run, 0)
    const read = runs.shift()
    if (read === undefined) return null
    if (read.blocks.offered && runs.every(({ memory }) => memory === read.memory)) {
      const place = runs.reduce((count, { blocks }) => count + blocks.count, read.blocks.count)
      this.readBatch(this.host.nextRun(place), place)
    }
    return read
  }

  /** A run is not needed any more. */
  done({ memory }: ReadRun): void {
    if (--memory.runs === 0 && !memory.shown && spare.length < MOST_SPARE) spare.push(memory.bytes)
  }

  /** Nothing is going to be asked for. */
  leave(): void {
    for (const read of this.runs.splice(0)) this.done(read)
  }

  /** Reads for the run of requests at place `from` of the queue; for the next ones, too, if a thread hashes them. */
  private readBatch(first: readonly RequestMessage[], from: number): void {
    if (first.length === 0) return
    const { host, runs } = this
    const bytes = spare.pop() ?? b4a.allocUnsafeSlow(BATCH_BYTES)
    const memory: BatchMemory = { bytes, used: 0, runs: 0, shown: false }
    for (let run = first, place = from; run.length > 0; run = host.nextRun(place)) {
      const start = run[0]!.index
      // A single one is needed at once.
      const alone = place === 0 && run.length === 1 && host.nextRun(1).length === 0
      const blocks = host.runInto(start, start + run.length, bytes.subarray(memory.used), !alone)
      if (blocks === null) break
      memory.runs++
      memory.used += blocks.byteLength
      runs.push({ start, blocks, memory })
      if (!blocks.offered) break
      place += blocks.count
    }
    if (memory.runs === 0 && spare.length < MOST_SPARE) spare.push(bytes)
  }
}
