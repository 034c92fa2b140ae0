import { DDatabaseError } from '../errors.ts'
import type { RangeMessage } from './messages.ts'
import type { Peer } from './peer.ts'

// Wants may start anywhere, but are answered only in steps of a bitfield page (spec WIRE §11.2).
const STEP = 8192

/**
 * The windows of our bitfield that a remote has asked for. It hears of every change from the first one on. Answers are not
 * made faster than the remote reads them.
 */
export class WantedWindows {
  private readonly peer: Peer
  private readonly windows = new Set<number>()
  // Not answered because the remote does not read: lengths by start. The last want of a start counts.
  private readonly unanswered = new Map<number, number>()

  constructor(peer: Peer) {
    this.peer = peer
  }

  /** Whether the remote wants to know about blocks. */
  get any(): boolean {
    return this.windows.size > 0
  }

  /** A Want arrived. Errors: `ERR_LIMIT`. */
  want({ start, length }: RangeMessage): void {
    if (start % STEP !== 0 || length % STEP !== 0) return
    const first = !this.any
    this.windows.add(start)
    if (this.windows.size > this.peer.limits.wants) {
      throw new DDatabaseError('ERR_LIMIT', { message: 'Too many wants' })
    }
    // What was appended before the remote came belongs to what it is told first: if it is not live, it may leave with
    // what it knows then.
    const settling = first ? this.peer.source.settling() : null
    if (settling === null) this.answer(start, length, first)
    else settling.then(() => this.peer.closed || this.answer(start, length, first))
  }

  /** The remote reads again. */
  resume(): void {
    for (const [start, length] of this.unanswered) {
      if (this.peer.backedUp) return
      this.unanswered.delete(start)
      this.answer(start, length, false)
    }
  }

  /** Nothing is wanted any more. */
  clear(): void {
    this.windows.clear()
    this.unanswered.clear()
  }

  private answer(start: number, length: number, first: boolean): void {
    const { stream, source } = this.peer
    const { length: own, bits } = source.content
    // So that the remote learns the length early.
    if (first && own > 0 && bits.get(own - 1)) stream.have({ start: own - 1 })
    else if (this.peer.backedUp) {
      this.unanswered.set(start, length)
      return
    }
    stream.have({ start, length, bitfield: bits.compress(start, length) })
  }
}
