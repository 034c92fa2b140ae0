import { DDatabaseError } from '../errors.ts'
import { inNextTurn, turnIsOver } from '../util/turn.ts'
import type { RangeMessage } from './messages.ts'
import type { Peer } from './peer.ts'
import { WINDOW } from './wants.ts'

// Wants may start anywhere, but are answered only in steps of a bitfield page (spec WIRE §11.2).
const STEP = 8192

// Windows of a long want that are looked through at once.
const LOOKED_THROUGH = 16

/** A want, or what is left of it. */
interface Wanted {
  /** What was asked for. */
  readonly length: number
  /** Where it ends. */
  readonly end: number
  /** Its first window was told: the others are if they have a block. */
  readonly told: boolean
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
    const wanted = { length, end, told: false }
    if (settling === null) this.answer(start, wanted, first)
    else {
      settling
        .then(() => this.peer.closed || this.answer(start, wanted, first))
        .catch((error) => this.peer.destroy(error))
    }
  }

  /** The remote reads again. */
  resume(): void {
    const { peer } = this
    if (!peer.uploading) this.unanswered.clear()
    for (const [start, wanted] of this.unanswered) {
      if (peer.backedUp) return
      if (turnIsOver()) {
        this.goOn()
        return
      }
      this.unanswered.delete(start)
      const next = wanted.told ? this.nextWindow(start, wanted) : start
      if (next !== -1) this.answer(next, wanted, false)
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
    this.later(covered, { length, end, told: true })
  }

  /** Where the next window with a block begins; −1 if there is none, or it takes longer to find out. */
  private nextWindow(start: number, wanted: Wanted): number {
    const { bits } = this.peer.source.content
    const until = Math.min(wanted.end, start + LOOKED_THROUGH * WINDOW)
    const found = bits.firstPresent(start, until)
    if (found === -1) this.later(until, wanted)
    return found === -1 ? -1 : found - (found % STEP)
  }

  private later(start: number, wanted: Wanted): void {
    if (start >= Math.min(wanted.end, this.peer.source.content.bits.length)) return
    this.unanswered.set(start, wanted)
    this.goOn()
  }

  private goOn(): void {
    if (this.scheduled) return
    this.scheduled = true
    inNextTurn(() => {
      this.scheduled = false
      try {
        if (!this.peer.closed) this.resume()
      } catch (error) {
        // Bits that are read when they are needed may fail to be.
        this.peer.destroy(error as Error)
      }
    })
  }
}
