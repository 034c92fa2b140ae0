import type { Channel } from './channel.ts'
import type { SeekQuestion } from './seek-answers.ts'
import type { Wish } from './source.ts'

/** Parallel requests to a peer, where nobody says otherwise. */
export const USUAL_REQUESTS = 16

/** Calls that wait get this many requests more than downloads, so that a full download cannot hold them up. */
export const URGENT_REQUESTS = 16

/** A request that was sent and is not answered yet. */
export interface InflightRequest {
  readonly index: number
  /** The byte offset sought, 0 for an ordinary request. */
  readonly bytes: number
  /** What is asked in a seek; null for an ordinary request. */
  readonly question: SeekQuestion | null
  readonly hash: boolean
  readonly nodes: number
  /** When it was sent, in milliseconds. */
  readonly sent: number
  /** The answer is here, and being verified and stored. */
  arrived: boolean
  /** It took so long that somebody else may be asked, too. */
  overdue: boolean
  /** It took so long that its peer is not counted on, see `Doubt`. */
  doubted: boolean
  /** Asked for once more, after an answer that could not be verified. */
  again: boolean
}

/** Whether the answer to a request could be what is wished for. */
export function isFor(wish: Wish, { index, bytes }: InflightRequest): boolean {
  if (wish.kind === 'seek' && wish.pair === undefined) return bytes === wish.bytes
  if (bytes > 0) return false
  if (wish.kind === 'update') return index >= wish.length - 1
  if (wish.kind === 'block') return index === wish.index
  return index === wish.pair || index === wish.pair! + 1
}

/**
 * The blocks that have been requested from any peer of a feed, or are being stored, so that none is asked for twice
 * without need.
 */
export class Reservations {
  // Whether it is being stored.
  private readonly blocks = new Map<number, boolean>()

  has(block: number): boolean {
    return this.blocks.has(block)
  }

  /** @returns false if the block was reserved already */
  take(block: number): boolean {
    if (this.blocks.has(block)) return false
    this.blocks.set(block, false)
    return true
  }

  /** Nobody is asked for it any more; while it is being stored it stays reserved all the same. */
  release(block: number): void {
    if (this.blocks.get(block) === false) this.blocks.delete(block)
  }

  /** The block has come and is being stored. @returns false if it is already */
  store(block: number): boolean {
    if (this.blocks.get(block)) return false
    this.blocks.set(block, true)
    return true
  }

  /** The block was stored, or refused. */
  stored(block: number): void {
    this.blocks.delete(block)
  }
}

// From so many blocks on in a queue it is looked at which ones are still wanted.
const FEW = 64

/** Blocks in the order in which they were added, each once. (Taking from the front of a Set takes longer each time.) */
export class BlockQueue {
  private items: number[] = []
  private head = 0
  private readonly queued = new Set<number>()
  private limit = FEW
  private readonly isWanted: (block: number) => boolean

  /** @param isWanted - blocks of which this is false need not be in the queue any more */
  constructor(isWanted: (block: number) => boolean) {
    this.isWanted = isWanted
  }

  add(block: number): void {
    if (this.queued.has(block)) return
    if (this.queued.size >= this.limit) this.prune()
    this.queued.add(block)
    this.items.push(block)
  }

  /** Nobody goes through the queue of a peer that is not asked for anything: it would come to hold all that was ever waited for. */
  private prune(): void {
    this.items = this.items
      .slice(this.head)
      .filter((block) => this.isWanted(block) || !this.queued.delete(block))
    this.head = 0
    this.limit = Math.max(FEW, 2 * this.items.length)
  }

  /** Goes through them until `full`; those for which `done` is true are removed. */
  sift(full: () => boolean, done: (block: number) => boolean): void {
    if (this.items.length === 0) return
    let kept: number[] | null = null
    while (this.head < this.items.length && !full()) {
      const block = this.items[this.head++]!
      if (done(block)) this.queued.delete(block)
      else if (kept === null) kept = [block]
      else kept.push(block)
    }
    if (kept === null && 2 * this.head < this.items.length) return
    const rest = this.items.slice(this.head)
    this.items = kept === null ? rest : kept.concat(rest)
    this.head = 0
  }

  clear(): void {
    this.items = []
    this.head = 0
    this.queued.clear()
  }
}

/** Milliseconds. Nobody is given up sooner than this. */
export const SHORTEST = 250

// Nor later, if somebody else is there.
const LONGEST = 2000
const UNKNOWN = 1000

/**
 * How long a peer takes to answer, as far as it is known: a smoothed mean and its deviation, as TCP does it
 * (RFC 6298).
 */
export class AnswerTime {
  /** Milliseconds from a request to its answer; −1 as long as there was none. */
  mean = -1
  private deviation = 0

  /** An answer took `ms`. */
  took(ms: number): void {
    if (this.mean < 0) {
      this.mean = ms
      this.deviation = ms / 2
      return
    }
    this.deviation += (Math.abs(ms - this.mean) - this.deviation) / 4
    this.mean += (ms - this.mean) / 8
  }

  /** Milliseconds within which an answer can be expected. */
  get expected(): number {
    if (this.mean < 0) return UNKNOWN
    return Math.min(LONGEST, Math.max(SHORTEST, this.mean + 4 * this.deviation))
  }

  /** The same where this peer is asked because so many others have taken too long: nobody waits for each as for the first. */
  expectedAfter(late: number): number {
    return Math.max(SHORTEST, this.expected / 2 ** late)
  }
}

/** Sends a request; all four fields are always written, as the published peers do. */
export function sendRequest(channel: Channel, request: InflightRequest): void {
  channel.request({ index: request.index, bytes: request.bytes, hash: request.hash, nodes: request.nodes })
}
