/** What the system has counted of the threads of this process. */
export interface Switches {
  /** How often one that could go on had to leave its processor to another. */
  readonly involuntaryContextSwitches: number
  /** How often one had nothing to do. */
  readonly voluntaryContextSwitches: number
}

// Shorter than this is chance.
const SAMPLE_MS = 50
const SAMPLE_SWITCHES = 50
// Measured on two processors: 0.03 to 0.14 where a process has them for itself (more while its code is being compiled), 0.2 to 0.5 where
// two processes use a second thread.
const CROWDED = 0.25
const IN_A_ROW = 2
const SHORTEST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 4_000

/**
 * Whether other processes want the processors that a second thread of this one would take. What such a thread costs beside its work (two
 * copies through shared memory, being woken) is paid by who waits for a processor then: with two processes on two of them, it made replication
 * slower by a third.
 *
 * Told by how its threads leave their processors. While it is crowded one does without the second thread, so nothing is seen any more: it is tried
 * again after a pause, longer each time it was in vain.
 */
export class Crowding {
  private readonly usage: () => Switches
  private readonly now: () => number
  private since = Number.NEGATIVE_INFINITY
  private before: Switches | null = null
  private inARow = 0
  private pause = SHORTEST_PAUSE_MS
  private until = Number.NEGATIVE_INFINITY

  /** @param now - milliseconds */
  constructor(usage: () => Switches, now = () => performance.now()) {
    this.usage = usage
    this.now = now
  }

  /** To be asked whenever the second thread would be used. */
  get crowded(): boolean {
    const now = this.now()
    if (now < this.until) return true
    if (this.before !== null && now - this.since < SAMPLE_MS) return false
    return this.look(now)
  }

  private look(now: number): boolean {
    const { before } = this
    const switches = this.usage()
    // The process may have rested since: that says nothing of what is to come.
    const fresh = now - this.since < 2 * SAMPLE_MS
    if (before !== null && fresh) {
      const pushed = switches.involuntaryContextSwitches - before.involuntaryContextSwitches
      const left = switches.voluntaryContextSwitches - before.voluntaryContextSwitches
      if (pushed + left < SAMPLE_SWITCHES || pushed <= CROWDED * (pushed + left)) {
        this.inARow = 0
        this.pause = Math.max(this.pause / 2, SHORTEST_PAUSE_MS)
      } else if (++this.inARow === IN_A_ROW) {
        this.until = now + this.pause
        this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS)
        this.inARow = 0
        this.before = null
        return true
      }
    }
    this.before = switches
    this.since = now
    return false
  }
}
