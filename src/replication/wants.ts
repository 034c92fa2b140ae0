import { BitPages } from '../util/bit-pages.ts'
import type { Wanted, Wish } from './source.ts'

/** Blocks of one window (spec WIRE §11.2). */
export const WINDOW = 1024 * 1024

/** Windows that may be unanswered at a time. */
const MAX_UNANSWERED = 16

/**
 * Which windows of its bitfield a remote has been asked for: each once per connection, a few at a time. A want that
 * found no place is remembered, so that the wishes are gone through again when one is answered.
 */
export class Wants {
  /** Windows asked and not answered yet. */
  unanswered = 0
  /** A window could not be asked for because too many are unanswered. */
  blocked = false
  private asked = new BitPages()
  private everything = false
  private readonly ask: (start: number) => void

  /** @param ask - sends the Want for the window that starts at this block */
  constructor(ask: (start: number) => void) {
    this.ask = ask
  }

  /** The window with this block. @returns whether it was asked for just now */
  block(block: number): boolean {
    const window = Math.floor(block / WINDOW)
    if (this.everything || this.asked.has(window)) return false
    if (this.unanswered >= MAX_UNANSWERED) {
      this.blocked = true
      return false
    }
    this.asked.add(window)
    this.unanswered++
    this.ask(window * WINDOW)
    return true
  }

  /** The windows of a range, from its start upward, as far as the remote goes: one more at a time. */
  range(start: number, end: number, remoteLength: number): void {
    // However long the remote says it is.
    if (this.everything) return
    const limit = Math.ceil((end === -1 ? remoteLength : Math.min(end, remoteLength)) / WINDOW)
    const first = Math.floor(start / WINDOW)
    const next = first < limit ? this.asked.firstMissing(first, limit) : -1
    if (next !== -1 && !this.blocked) this.block(next * WINDOW)
  }

  /** The windows of a wish. */
  wish(wish: Wish, remoteLength: number): void {
    if (wish.kind === 'block') this.block(wish.index)
    else if (wish.kind === 'seek' && wish.pair !== undefined) this.block(wish.pair)
    else if (wish.kind === 'update') this.block(wish.length - 1)
    else this.range(wish.start, wish.end, remoteLength)
  }

  /** The windows of a download. */
  download(wanted: Wanted, remoteLength: number): void {
    if (wanted.blocks === null) this.range(wanted.start, wanted.end, remoteLength)
    else for (const block of wanted.blocks) this.block(block)
  }

  /** A window was answered. @returns whether one was outstanding */
  answered(): boolean {
    if (this.unanswered === 0) return false
    this.unanswered--
    return true
  }

  /** The remote tells everything without being asked for windows (an old peer). @returns how many were unanswered */
  subscribed(): number {
    this.everything = true
    return this.giveUp()
  }

  /** The remote has taken too long: nothing is waited for any more. @returns how many were unanswered */
  giveUp(): number {
    const { unanswered } = this
    this.unanswered = 0
    this.blocked = false
    return unanswered
  }

  /** Everything may be asked for once more. */
  forget(): void {
    this.asked = new BitPages()
  }

  /** Forgets what was asked: the remote stopped and may resume. @returns how many were unanswered */
  reset(): number {
    const unanswered = this.subscribed()
    this.forget()
    this.everything = false
    return unanswered
  }
}
