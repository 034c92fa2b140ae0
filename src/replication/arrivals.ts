import { SMALLEST_OFFER } from '../crypto/offer.ts'
import { DDatabaseError } from '../errors.ts'
import type { Claim } from '../merkle/verify.ts'
import { inNextTurn, nextTurn } from '../util/turn.ts'
import type { Loan } from './loans.ts'
import type { Peer } from './peer.ts'
import type { InflightRequest } from './requests.ts'

// About what a node takes in memory.
const NODE_SIZE = 128

// Handed to the store at a time. It stops sooner when the turn is over; this bounds what is looked at again then.
const PIECE = 256

// Fewer wait for others while at least as many are under way, and not for longer than some turns of the event loop: to store one block
// writes as often as to store several, and published peers send each in a chunk of its own, one or a few in a turn. What is not part
// of such a flow waits for nothing: a few blocks between two feeds of one process have always been there in the turn in which they were
// asked for, and modules count on it.
const FEW = 8
const TURNS = 4

/** A Data message that is to be verified and stored. */
export interface Arrival {
  readonly claim: Claim
  /** What it answers; undefined if that is not a request of its own. */
  readonly request: InflightRequest | undefined
  /** Nothing asked for it. */
  readonly pushed: boolean
  /** It may answer an earlier request that was taken back: then answers before it may have been passed over. */
  readonly crossed: boolean
  /** The memory that it lies in, to be given back when it is stored. */
  readonly loan: Loan | null
}

/** What {@link Arrivals} tells its owner. */
export interface ArrivalsOwner {
  /** They are stored, in this order. */
  stored(arrivals: readonly Arrival[]): void
  /**
   * It does not hold, perhaps because nodes are missing that an answer before it should have brought.
   * @returns whether that is so; then it is asked for again
   */
  lacking(arrival: Arrival, error: unknown): boolean
  /** It was not stored, for reasons that are not the remote's fault. */
  dropped(arrival: Arrival): void
  /** It does not hold, or could not be stored. */
  refused(arrival: Arrival, error: unknown): void
}

/**
 * What one peer sent and what is being verified and stored: what comes in one chunk, and what comes while something is being
 * stored, is stored together. It is answered in the order in which it came.
 */
export class Arrivals {
  /** How many are not stored yet. */
  count = 0
  private readonly peer: Peer
  private readonly owner: ArrivalsOwner
  private waiting: Arrival[] = []
  private busy = false
  private pushes = 0
  private pushedBytes = 0

  constructor(peer: Peer, owner: ArrivalsOwner) {
    this.peer = peer
    this.owner = owner
  }

  /** Stores what has come, soon. Errors: `ERR_LIMIT` for too much that was not asked for. */
  add(arrival: Arrival): void {
    if (arrival.pushed) {
      const { queuedPushes, queuedPushSize } = this.peer.limits
      this.pushes++
      this.pushedBytes += sizeOf(arrival)
      if (this.pushes > queuedPushes || this.pushedBytes > queuedPushSize) {
        throw new DDatabaseError('ERR_LIMIT', { message: 'Too much at once that was not asked for' })
      }
    }
    this.count++
    this.waiting.push(arrival)
    if (this.busy) return
    this.busy = true
    // When the frames at hand have been worked on; or a turn later, if another thread hashes the block until then.
    const offered = arrival.claim.offered && arrival.claim.value!.length >= SMALLEST_OFFER
    if (offered) inNextTurn(() => this.begin(TURNS))
    else queueMicrotask(() => this.begin(TURNS))
  }

  private begin(turns: number): void {
    const underWay = this.peer.inflightRequests.length - this.count
    if (turns > 0 && underWay >= FEW && this.waiting.length < FEW) inNextTurn(() => this.begin(turns - 1))
    else void this.run()
  }

  private async run(): Promise<void> {
    while (this.waiting.length > 0) {
      const arrivals = this.waiting
      this.waiting = []
      await this.store(arrivals)
    }
    this.busy = false
  }

  private async store(arrivals: readonly Arrival[]): Promise<void> {
    const { peer } = this
    for (let at = 0; at < arrivals.length; ) {
      if (this.isPointless(arrivals[at]!)) {
        this.drop(arrivals[at++]!)
        continue
      }
      const piece = arrivals.slice(at, at + PIECE)
      const { stored, error } = await peer.check.put(piece.map(({ claim }) => claim))
      if (stored > 0) this.finish(stored === piece.length ? piece : piece.slice(0, stored))
      at += stored
      // Without an error, what is left of the piece is left because it took long enough. A flood of claims is no reason to
      // keep everybody else from their turns.
      if (stored < piece.length && error === undefined) await nextTurn()
      if (error === undefined) continue
      const failed = arrivals[at++]!
      if (this.owner.lacking(failed, error)) {
        this.end(failed)
        continue
      }
      // What it proves may have to be compared first, which the others need not wait for.
      if (peer.check.growsUnproven(error)) void this.examine(failed, error)
      else if (!(await this.examine(failed, error))) {
        for (const arrival of arrivals.slice(at)) this.drop(arrival)
        return
      }
    }
  }

  /** Whether its peer has left and nobody had asked for it: what was asked for, or is a whole block, is welcome all the same. */
  private isPointless({ claim, pushed }: Arrival): boolean {
    return this.peer.closed && pushed && claim.value === null
  }

  /** Finds out what it means that something was not stored. @returns whether the peer may go on */
  private async examine(arrival: Arrival, error: unknown): Promise<boolean> {
    try {
      const stored = await this.peer.check.refused(arrival.claim, arrival.request?.nodes ?? 0, error)
      if (stored) this.finish([arrival])
      else this.drop(arrival)
      return true
    } catch (reason) {
      this.end(arrival)
      this.owner.refused(arrival, reason)
      return false
    }
  }

  private finish(arrivals: readonly Arrival[]): void {
    for (const arrival of arrivals) this.end(arrival)
    this.owner.stored(arrivals)
  }

  private drop(arrival: Arrival): void {
    this.end(arrival)
    this.owner.dropped(arrival)
  }

  private end(arrival: Arrival): void {
    this.count--
    if (!arrival.pushed) return
    this.pushes--
    this.pushedBytes -= sizeOf(arrival)
  }
}

function sizeOf({ claim: { value, nodes } }: Arrival): number {
  return value === null ? NODE_SIZE * nodes.length : value.length
}
