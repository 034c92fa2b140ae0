import type { CpuInfo } from 'node:os'

/** What the system has counted of the threads of this process. */
export interface Usage {
  /** Time of the processors, microseconds. */
  readonly userCPUTime: number
  readonly systemCPUTime: number
  /** How often one that could go on had to leave its processor to another. */
  readonly involuntaryContextSwitches: number
  /** How often one had nothing to do. */
  readonly voluntaryContextSwitches: number
}

/** What there is to tell by. */
export interface Machine {
  usage(): Usage
  /** The processors; empty where the system does not tell. */
  processors(): readonly Pick<CpuInfo, 'times'>[]
  /** Milliseconds. */
  now(): number
}

interface Sample {
  readonly time: number
  readonly usage: Usage
  /** What all processes have used of all processors, milliseconds; null where nobody has asked, or the system does not tell. */
  readonly busy: number | null
}

// To ask takes some 30 microseconds for each processor: of so many one does so without a reason.
const FEW = 8
// What a second thread needs of a processor that nobody uses.
const ROOM = 0.5

// Shorter than this is chance: the system counts the time of processors by ticks of some 10 ms.
const SAMPLE_MS = 100
const SAMPLE_SWITCHES = 100
// Measured on two processors: 0.03 to 0.14 where a process has them for itself (more while its code is being compiled, or where its own
// threads are more than the processors: 0.3), 0.2 to 0.5 where two processes use a second thread.
const CROWDED = 0.2
// What others use, in processors: next to nothing in the first of these cases, more than one in the second.
const OTHERS = 0.3
const IN_A_ROW = 2
const SHORTEST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 4_000

/**
 * Whether other processes want the processors that a second thread of this one would take. What such a thread costs beside its work (two
 * copies through shared memory, being woken) is paid by who waits for a processor then: with two processes on two of them, it made replication
 * slower by a third.
 *
 * Where there are few processors, it is told by what others leave of them, whether the second thread is used or not. Of many, this process
 * may have only some: there it is told by how its threads leave their processors, and whether others use processors at that time; the one alone may
 * be of its own threads' doing, the other alone happens on processors that this process has no part in. While it is crowded one does without the
 * second thread, so nothing of that is seen any more: it is tried again after a pause, longer each time it was in vain.
 */
export class Crowding {
  private readonly machine: Machine
  private before: Sample | null = null
  // The last word about few processors, and how many samples in a row have said the opposite.
  private full: boolean | null = null
  private contrary = 0
  // How many processors there are; 0 where the system does not tell.
  private processors: number | null = null
  private inARow = 0
  private pause = SHORTEST_PAUSE_MS
  private until = Number.NEGATIVE_INFINITY

  constructor(machine: Machine) {
    this.machine = machine
  }

  /** To be asked whenever the second thread would be used. Of few processors nothing is known at first: it seems to be crowded then. */
  get crowded(): boolean {
    const { before } = this
    const now = this.machine.now()
    if (now < this.until) return true
    if (before !== null && now - before.time < SAMPLE_MS) return this.isFull
    // The process may have rested since: that says nothing of what is to come.
    const fresh = before !== null && now - before.time < 2 * SAMPLE_MS
    const usage = this.machine.usage()
    const pushed = fresh && isPushed(before.usage, usage)
    const sample = { time: now, usage, busy: pushed || this.areFew ? this.busy() : null }
    this.before = sample
    const others = before === null ? null : othersUse(before, sample)
    // Also after a rest: who works for a moment at a time would never know otherwise.
    if (this.areFew && others !== null) this.note(others > this.processors! - 1 - ROOM)
    if (!fresh || this.isFull) return this.isFull
    if (!pushed || (others !== null && others <= OTHERS)) {
      this.inARow = 0
      this.pause = Math.max(this.pause / 2, SHORTEST_PAUSE_MS)
      return false
    }
    if (++this.inARow < IN_A_ROW) return false
    this.until = now + this.pause
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS)
    this.inARow = 0
    this.before = null
    return true
  }

  private get areFew(): boolean {
    this.processors ??= this.machine.processors().length
    return this.processors > 0 && this.processors <= FEW
  }

  private get isFull(): boolean {
    return this.areFew && this.full !== false
  }

  private note(full: boolean): void {
    if (full === this.full) this.contrary = 0
    else if (this.full === null || ++this.contrary === IN_A_ROW) {
      this.full = full
      this.contrary = 0
    }
  }

  private busy(): number | null {
    const processors = this.machine.processors()
    let busy = 0
    for (const { times } of processors) busy += times.user + times.nice + times.sys + times.irq
    return processors.length > 0 ? busy : null
  }
}

function isPushed(before: Usage, after: Usage): boolean {
  const pushed = after.involuntaryContextSwitches - before.involuntaryContextSwitches
  const left = after.voluntaryContextSwitches - before.voluntaryContextSwitches
  return pushed + left >= SAMPLE_SWITCHES && pushed > CROWDED * (pushed + left)
}

/** Processors that other processes have used since; null if that is not known. */
function othersUse(before: Sample, after: Sample): number | null {
  if (before.busy === null || after.busy === null) return null
  const own = cpuTime(after.usage) - cpuTime(before.usage)
  return (after.busy - before.busy - own) / (after.time - before.time)
}

/** Milliseconds. */
function cpuTime({ userCPUTime, systemCPUTime }: Usage): number {
  return (userCPUTime + systemCPUTime) / 1000
}
