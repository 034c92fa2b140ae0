import { DOUBT_AFTER } from './doubt.ts'
import type { Peer } from './peer.ts'
import type { Replicator } from './replicator.ts'
import { type InflightRequest, isFor, SHORTEST, URGENT_REQUESTS } from './requests.ts'
import type { Wish } from './source.ts'
import { Timer } from './timer.ts'

// Milliseconds between two looks for answers that do not come.
const LOOK = 100

// From so many blocks being stored on nobody is blamed for being slow.
const MANY = 16

// A request that waits behind others for this many times as long as an answer should take is late, too.
const LONGEST_QUEUE = 4

/**
 * Sees to it that nobody who is silent or slow holds up a block that another peer has, nor an update or a seek that a block of
 * another peer's would do for. How long is too long is measured by the peer that could be asked instead: as long as nobody else
 * could be faster, nobody is late.
 *
 * A request that is late is not taken back. It stays with the peer that owes the answer, and counts among what that one may
 * be asked for; so one that never answers gets a handful of requests and then its timeout.
 */
export class Lateness {
  private readonly replicator: Replicator
  // Blocks that somebody is late with. May hold others as long as they are asked for, or until the next look.
  private readonly blocks = new Set<number>()
  private timer: Timer | null = null
  private due = 0
  private stalled = false

  constructor(replicator: Replicator) {
    this.replicator = replicator
  }

  /** Whether anybody may be late. */
  get any(): boolean {
    return this.blocks.size > 0
  }

  /** A request was sent, or a peer has come: if there is somebody else to ask, answers are looked out for. */
  watch(): void {
    if (this.timer !== null || this.replicator.peers.length < 2) return
    this.due = performance.now() + LOOK
    this.timer = new Timer(LOOK, () => this.look())
  }

  private look(): void {
    const { replicator } = this
    this.timer = null
    const now = performance.now()
    // This process did nothing for a while, so the answers may be here and not read yet: they are waited for once.
    this.stalled = !this.stalled && now - this.due > LOOK
    if (this.stalled) {
      this.watch()
      return
    }
    let waiting = false
    let overdue = false
    const late: InflightRequest[] = []
    const doubted: InflightRequest[] = []
    const { length } = replicator.source.content
    for (const peer of replicator.peers) {
      for (const request of peer.inflightRequests) {
        if (!request.overdue && !request.arrived && this.isLate(peer, request, now)) {
          request.overdue = true
          this.blocks.add(request.index)
          late.push(request)
        }
        if (!request.doubted && !request.arrived && this.isDoubtful(peer, request, now)) {
          request.doubted = true
          doubted.push(request)
          peer.downloader.doubt.raise(request.index < length ? 0 : length)
        }
        if (request.overdue) overdue = true
        if (!request.overdue || !request.doubted) waiting = true
      }
    }
    if (overdue) this.forgetAnswered()
    else this.blocks.clear()
    if (waiting) this.watch()
    if (doubted.length > 0) replicator.source.lessAvailable()
    if (late.length === 0) return
    this.askOthers(late)
    replicator.endings.look()
  }

  /** Nobody is asked for them any more: of several slow peers one is always late, and they would add up for as long as that lasts. */
  private forgetAnswered(): void {
    const asked = new Set<number>()
    for (const { inflightRequests } of this.replicator.peers) {
      for (const { index } of inflightRequests) asked.add(index)
    }
    for (const index of this.blocks) if (!asked.has(index)) this.blocks.delete(index)
  }

  /** Has others asked for what peers have just become late with: as many at once as are late with it. */
  private askOthers(late: readonly InflightRequest[]): void {
    const { replicator } = this
    const { reserved } = replicator
    const turns = new Map(late.map((request) => [request.index, this.late(replicator.wishesFor(request))]))
    for (const index of turns.keys()) replicator.free(index)
    replicator.fillAll()
    for (let asked = 1; ; asked++) {
      for (const [index, turn] of turns) if (asked >= turn || !reserved.has(index)) turns.delete(index)
      if (turns.size === 0) return
      for (const index of turns.keys()) replicator.free(index)
      replicator.fillAll()
      // If nobody else could be asked: somebody was.
      for (const index of turns.keys()) reserved.take(index)
    }
  }

  private isLate(peer: Peer, request: InflightRequest, now: number): boolean {
    const { replicator } = this
    const { peers } = replicator
    const age = now - request.sent
    const silence = this.silence(peer, request, now)
    if (silence < SHORTEST && age < LONGEST_QUEUE * SHORTEST) return false
    const wishes = replicator.wishesFor(request)
    const late = this.late(wishes)
    return peers.some((other) => {
      if (other === peer || !other.mayAsk || other.downloader.isSlow) return false
      const expected = other.downloader.answerTime.expectedAfter(late)
      if (silence < expected && age < LONGEST_QUEUE * expected) return false
      return (
        wishes.some((wish) => replicator.hasFor(other, wish)) || replicator.endings.isKept(other, request)
      )
    })
  }

  /** How long a peer has not answered anything since a request. */
  private silence(peer: Peer, request: InflightRequest, now: number): number {
    // While it is us who do not keep up, only the time of all counts.
    if (peer.isWaiting || this.replicator.storing > MANY) return 0
    return Math.min(now - request.sent, now - peer.downloader.lastAnswer)
  }

  /**
   * Whether a peer is not to be counted on for what it was asked for: for this it is given more time than for somebody else to be asked,
   * as nothing is gained where nobody else has it. As long as it is the only one, the time of its stream counts.
   */
  private isDoubtful(peer: Peer, request: InflightRequest, now: number): boolean {
    const silence = this.silence(peer, request, now)
    const longest = LONGEST_QUEUE * DOUBT_AFTER
    // A large block takes its time.
    if (silence < (peer.isSending ? longest : DOUBT_AFTER)) {
      const left = request.bytes === 0 && request.sent < peer.downloader.lastAnswered
      if (!left || now - request.sent < longest) return false
    }
    return this.replicator.peers.some((other) => {
      if (other === peer || !other.mayAsk || other.mayTell) return false
      return !other.downloader.isSlow && !other.downloader.doubt.isRaised
    })
  }

  /** How many peers are late with something that would do for one of these. */
  private late(wishes: readonly Wish[]): number {
    if (!this.any || wishes.every((wish) => wish.kind === 'block' && !this.blocks.has(wish.index))) return 0
    return this.replicator.peers.filter(({ inflightRequests }) =>
      inflightRequests.some((request) => request.overdue && wishes.some((wish) => isFor(wish, request)))
    ).length
  }

  /** Whether somebody else who has the block is to be preferred to this peer. */
  hasBetter(peer: Peer, index: number): boolean {
    const { peers } = this.replicator
    if (peers.length === 1) return false
    const { isSlow } = peer.downloader
    return peers.some((other) => {
      if (other === peer || other.downloader.isSlow) return false
      return (
        (isSlow || isMuchFaster(other, peer)) &&
        other.mayAsk &&
        other.inflightRequests.length < other.maxRequests + URGENT_REQUESTS &&
        other.remoteBitfield.has(index)
      )
    })
  }

  /**
   * The same for a seek. First come those who are not late with anything, of these those who were of use in the last seek, then
   * those who have answered this one least often: so whoever answers without finding the place has to let others try.
   */
  hasBetterSeeker(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): boolean {
    const { peers } = this.replicator
    if (peers.length === 1) return false
    const { isSlow, seeks } = peer.downloader
    const count = seeks.count(wish.bytes)
    return peers.some((other) => {
      const { downloader } = other
      if (other === peer || !other.mayAsk || downloader.isBusy) return false
      let better: boolean
      if (downloader.isSlow !== isSlow) better = isSlow
      else if (downloader.seeks.poor !== seeks.poor) better = seeks.poor
      else if (downloader.seeks.count(wish.bytes) !== count)
        better = downloader.seeks.count(wish.bytes) < count
      else better = isMuchFaster(other, peer)
      return (
        better &&
        !downloader.isFull(other.maxRequests + URGENT_REQUESTS) &&
        this.replicator.hasFor(other, wish)
      )
    })
  }

  /** Whether this peer has been asked for a block that somebody else may be asked for, too. */
  isAskedAlready(peer: Peer, index: number): boolean {
    return this.blocks.has(index) && peer.inflightRequests.some((request) => request.index === index)
  }
}

function isMuchFaster({ downloader: { answerTime } }: Peer, than: Peer): boolean {
  const { mean } = answerTime
  return mean >= 0 && than.downloader.answerTime.mean > 100 + 4 * mean
}
