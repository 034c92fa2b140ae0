import { DDatabaseError } from '../errors.ts'
import { inNextTurn, turnIsOver } from '../util/turn.ts'
import type { RangeMessage } from './messages.ts'
import type { Peer } from './peer.ts'
import { WINDOW } from './wants.ts'

// Wants may start anywhere, but are answered only in steps of a bitfield page (spec WIRE §11.2).
const STEP = 8192

/** A want, or what is left of it. */
interface Wanted {
  /** What was asked for. */
  readonly length: number
  /** Where it ends. */
  readonly end: number
}

/**
 * The windows of our bitfield that a remote has asked for. It hears of every change from the first one on. Answers are not
 * made faster than the remote reads them.
 */
export class WantedWindows {
  private readonly peer: Peer
  private readonly windows = new Set<number>()
  // Not answered because the remote does not read, or because there is more than a window of it, by start. The last want of a
  // start counts.
  private readonly unanswered = new Map<number, Wanted>()
  private scheduled = false

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
    // Old peers ask for everything so.
    const end = start === 0 && length === 0 ? Number.POSITIVE_INFINITY : start + length
    if (settling === null) this.answer(start, { length, end }, first)
    else settling.then(() => this.peer.closed || this.answer(start, { length, end }, first))
  }

  /** The remote reads again. */
  resume(): void {
    for (const [start, wanted] of this.unanswered) {
      if (this.peer.backedUp) return
      if (turnIsOver()) {
        this.goOn()
        return
      }
      this.unanswered.delete(start)
      this.answer(start, wanted, false)
    }
  }

  /** Nothing is wanted any more. */
  clear(): void {
    this.windows.clear()
    this.unanswered.clear()
  }

  private answer(start: number, wanted: Wanted, first: boolean): void {
    const { stream, source, backedUp } = this.peer
    const { length: own, bits } = source.content
    // So that the remote learns the length early.
    if (first && own > 0 && bits.get(own - 1)) stream.have({ start: own - 1 })
    else if (backedUp) {
      this.unanswered.set(start, wanted)
      return
    }
    const { length, end } = wanted
    const covered = Math.min(end, start + WINDOW)
    stream.have({ start, length, bitfield: bits.compress(start, covered - start) })
    // Nobody needs more at a time, and what a few bytes ask for is not to take all of a long bitfield's memory and time.
    const next = covered < end ? bits.firstPresent(covered, end) : -1
    if (next === -1) return
    this.unanswered.set(next - (next % STEP), wanted)
    this.goOn()
  }

  private goOn(): void {
    if (this.scheduled) return
    this.scheduled = true
    inNextTurn(() => {
      this.scheduled = false
      if (!this.peer.closed) this.resume()
    })
  }
}
