/** Fairness towards the event loop while work is done synchronously. */

// As they were when this was loaded. Who mocks timers later means those of an application, and not the work that goes on in here.
const { setImmediate, setTimeout } = globalThis

/** Runs `task` in the next turn of the event loop, after pending input and output had their chance. */
export const inNextTurn: (task: () => void) => void =
  typeof setImmediate === 'function' ? (task) => void setImmediate(task) : byMessage()

/**
 * Browsers have no setImmediate, and let timeouts that follow each other wait four milliseconds, or a second in a tab
 * that is not seen. A message to oneself comes in the next turn.
 */
function byMessage(): (task: () => void) => void {
  const tasks: (() => void)[] = []
  let ports: InstanceType<typeof MessageChannel> | null = null
  return (task) => {
    if (ports === null) {
      ports = new MessageChannel()
      // A setter of browsers, where this runs.
      Object.assign(ports.port1, { onmessage: () => tasks.shift()!() })
    }
    tasks.push(task)
    ports.port2.postMessage(null)
  }
}

/** Resolves in the next turn of the event loop, after pending input and output had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => inNextTurn(resolve))
}

/** Resolves after so many milliseconds. For work that has to wait; a limit of time is a timer that an application may mock. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}

/**
 * Runs `task` when the current run of promises and microtasks is through, and before the event loop goes on. Work that
 * streams hand to each other in microtasks alone would let nothing that a storage answers come in between.
 */
export const soon: (task: () => void) => void =
  typeof globalThis.process?.nextTick === 'function' ? globalThis.process.nextTick : queueMicrotask

// What the event loop can be kept from its turn for by a run of small pieces of work, in milliseconds.
const TURN = 10

// No piece counts for more: one that seems to last longer was held up by others on this machine.
const LONGEST_PIECE = 4

let running = false
let spent = 0
let lastAsked = 0

/**
 * Whether this turn of the event loop has lasted so long that work which can wait should leave the rest to the next one. All
 * that ask, each time they have done a little, share one turn, however many streams there are.
 */
export function turnIsOver(): boolean {
  const now = performance.now()
  if (!running) {
    running = true
    spent = 0
    lastAsked = now
    inNextTurn(() => {
      running = false
    })
  }
  spent += Math.min(now - lastAsked, LONGEST_PIECE)
  lastAsked = now
  return spent > TURN
}

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

  /** Whether nothing is left until the next turn. */
  get isSpent(): boolean {
    return this.left <= 0
  }

  /** Takes `units` from this turn's budget; false when it is used up: then go the asynchronous way. */
  spend(units: number): boolean {
    if (this.isSpent) return false
    this.left -= units
    if (!this.renewing) {
      this.renewing = true
      inNextTurn(() => {
        this.renewing = false
        this.left = this.perTurn
      })
    }
    return true
  }
}
