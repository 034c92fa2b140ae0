import type { Feed } from 'ddatabase'
import type { AuditState } from './messages.ts'

/** Places of damage that are told. */
const MAX_PLACES = 100

/** An audit in the background. */
export class AuditJob {
  /** Resolves when it has ended, however that was. */
  readonly done: Promise<void>
  readonly #cancelling = new AbortController()
  #report: AuditState

  /** @param repair - mend what can be mended from the files themselves */
  constructor(feed: Feed<unknown>, repair: boolean) {
    const none = { valid: 0, invalid: 0, damaged: 0, repaired: 0, places: [], error: null }
    this.#report = { state: 'running', checked: 0, total: feed.downloaded(), ...none }
    this.done = this.#run(feed, repair)
  }

  /** Whether it has not ended yet. */
  get running(): boolean {
    return this.#report.state === 'running'
  }

  /** How far it is, or what it found. */
  report(): AuditState {
    return this.#report
  }

  /** Ends it early. */
  cancel(): void {
    this.#cancelling.abort()
  }

  async #run(feed: Feed<unknown>, repair: boolean): Promise<void> {
    try {
      const { valid, invalid, damage, repaired } = await feed.audit({
        repair,
        signal: this.#cancelling.signal,
        onprogress: ({ blocks, totalBlocks }) => {
          this.#report = { ...this.#report, checked: blocks, total: totalBlocks }
        }
      })
      this.#report = {
        ...this.#report,
        state: 'done',
        checked: this.#report.total,
        valid,
        invalid,
        damaged: damage.length,
        repaired: repaired.length,
        places: damage.slice(0, MAX_PLACES).map(({ file, problem, start, end }) => {
          const place = end - start === 1 ? `block ${start}` : `blocks ${start} to ${end - 1}`
          return `${file}: ${problem} (${place})`
        })
      }
    } catch (error) {
      const cancelled = this.#cancelling.signal.aborted
      this.#report = {
        ...this.#report,
        state: cancelled ? 'cancelled' : 'failed',
        error: cancelled ? null : (error as Error).message
      }
    }
  }
}
