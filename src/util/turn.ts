/** Fairness towards the event loop while work is done synchronously. */

// Node has setImmediate; elsewhere a timeout of 0 is the closest thing.
const schedule: (task: () => void) => void =
  typeof setImmediate === 'function' ? (task) => void setImmediate(task) : (task) => void setTimeout(task, 0)

/** Resolves in the next turn of the event loop, after pending input and output had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => schedule(resolve))
}

/**
 * Runs `task` when the current run of promises and microtasks is through, and before the event loop goes on. Work that
 * streams hand to each other in microtasks alone would let nothing that a storage answers come in between.
 */
export const soon: (task: () => void) => void =
  typeof globalThis.process?.nextTick === 'function' ? globalThis.process.nextTick : queueMicrotask

/**
 * How much may be done synchronously before the event loop gets its turn. Synchronous reads and writes are
 * several times cheaper than a trip through the thread pool, but promises alone never let sockets and timers
 * run: without a bound, a loop of awaited appends would stop everything else in the process.
 */
export class TurnBudget {
  private left: number
  private readonly perTurn: number
  private renewing = false

  /** @param perTurn - units that may be spent in one turn */
  constructor(perTurn: number) {
    this.perTurn = perTurn
    this.left = perTurn
  }

  /** Takes `units` from this turn's budget; false when it is used up: then go the asynchronous way. */
  spend(units: number): boolean {
    if (this.left <= 0) return false
    this.left -= units
    if (!this.renewing) {
      this.renewing = true
      schedule(() => {
        this.renewing = false
        this.left = this.perTurn
      })
    }
    return true
  }
}
