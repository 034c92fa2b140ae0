import { nextTurn, TurnBudget } from '../util/turn.ts'

// Above this many bytes a write or read goes through the thread pool: it would hold up the event loop for longer
// than the trip costs.
const MOST = 128 * 1024
// Bytes that may be read and written at once in one turn of the event loop, every call counting at least CALL: some two milliseconds of work.
const PER_TURN = 2 * 1024 * 1024
const CALL = 8 * 1024

/** What of a feed's reading and writing is done at once, without a trip through the thread pool, before the event loop gets its turn. */
export class Pace {
  private readonly offered: boolean
  private readonly budget = new TurnBudget(PER_TURN)

  /** @param offered - whether the storage does anything at once */
  constructor(offered: boolean) {
    this.offered = offered
  }

  /** Whether so many bytes, in so many calls, may be read or written now. */
  allows(size: number, calls = 1): boolean {
    return size <= MOST && this.budget.spend(Math.max(size, calls * CALL))
  }

  /**
   * The next turn of the event loop, if that has to be waited for so that so many bytes may be written at once; else null. A commit of
   * blocks from all over a feed has hundreds of places to write to: to wait for a turn costs less than as many trips through the thread pool.
   */
  turnFor(size: number): Promise<void> | null {
    return this.offered && size <= MOST && this.budget.isSpent ? nextTurn() : null
  }
}
