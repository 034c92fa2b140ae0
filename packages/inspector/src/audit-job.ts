import type { Feed } from 'ddatabase'
import type { AuditState } from './messages.ts'

/** An audit in the background. */
export class AuditJob {
  /** Resolves when it has ended, however that was. */
  readonly done: Promise<void>
  readonly #cancelling = new AbortController()
  #report: AuditState

  /** @param damaged - told the blocks `start` … `end` − 1 that did not match, ascending, at the end */
  constructor(feed: Feed<unknown>, damaged: (start: number, end: number) => void) {
    const total = feed.downloaded()
    this.#report = { state: 'running', checked: null, total, valid: 0, invalid: 0, note: null }
    this.done = this.#run(feed, damaged)
  }

  /** Whether it has not ended yet. */
  get running(): boolean {
    return this.#report.state === 'running'
  }

  /** How far it is. */
  report(): AuditState {
    return this.#report
  }

  /** Ends it. Nothing was changed then. */
  cancel(): void {
    this.#cancelling.abort()
  }

  async #run(feed: Feed<unknown>, damaged: (start: number, end: number) => void): Promise<void> {
    const before = bitsOf(feed)
    const cleared: [number, number][] = []
    const onclear = (start: number, end: number) => {
      cleared.push([start, end])
    }
    feed.on('clear', onclear)
    try {
      const { valid, invalid } = await feed.audit({ signal: this.#cancelling.signal })
      for (const [start, end] of lost(before, bitsOf(feed))) {
        if (!cleared.some(([from, to]) => from <= start && end <= to)) damaged(start, end)
      }
      this.#report = { ...this.#report, state: 'done', checked: valid + invalid, valid, invalid }
    } catch (error) {
      const cancelled = this.#cancelling.signal.aborted
      const note = cancelled ? null : (error as Error).message
      this.#report = { ...this.#report, state: cancelled ? 'cancelled' : 'failed', note }
    } finally {
      feed.removeListener('clear', onclear)
    }
  }
}

function bitsOf(feed: Feed<unknown>): Uint8Array {
  return feed.bitfield?.toBytes(0, feed.length) ?? new Uint8Array(0)
}

/** The runs of bits that were set and are not any more. */
function* lost(before: Uint8Array, after: Uint8Array): Generator<[start: number, end: number]> {
  let start = -1
  for (let at = 0; at <= before.byteLength; at++) {
    const bits = at < before.byteLength ? before[at]! & ~(after[at] ?? 0) : 0
    if (bits === 0 && start === -1) continue
    for (let bit = 0; bit < 8; bit++) {
      const block = 8 * at + bit
      if ((bits & (0x80 >> bit)) !== 0) {
        if (start === -1) start = block
      } else if (start !== -1) {
        yield [start, block]
        start = -1
      }
    }
  }
}
