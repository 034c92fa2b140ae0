/** Milliseconds. Who is silent for longer when asked for what it claims is not counted on, if somebody else is there. */
export const DOUBT_AFTER = 2000

// Milliseconds: as long as a stream may be silent, unless the application says otherwise. Then it is believed once more.
const LASTS = 20_000

/**
 * Whether what one peer says it has is counted on, by calls that end when nobody can help (`ifAvailable`), and in `remoteLength`. Only
 * a proof shows that a claim is true, so one that was asked for and not shown counts no longer, until the peer shows something of the kind
 * or enough time has passed. It may be asked as before: a doubt costs nobody a block.
 */
export class Doubt {
  private from = -1
  private until = 0

  /** Whether anything it claims is doubted. */
  get isRaised(): boolean {
    return this.from !== -1 && performance.now() < this.until
  }

  /** From now on what it claims from this block on is doubted. */
  raise(from: number): void {
    this.from = this.isRaised ? Math.min(from, this.from) : from
    this.until = performance.now() + LASTS
  }

  /** Whether its claim of this block is doubted. */
  covers(block: number): boolean {
    return block >= this.from && this.isRaised
  }

  /** It has sent a block, or its hash, that holds. */
  shown(block: number): void {
    if (block >= this.from) this.from = -1
  }
}
