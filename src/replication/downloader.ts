import { LeafOffers } from '../crypto/leaf-offers.ts'
import { DDatabaseError } from '../errors.ts'
import { checkClaim } from '../merkle/verify.ts'
import { type Arrival, Arrivals, type ArrivalsOwner } from './arrivals.ts'
import { Doubt } from './doubt.ts'
import { Foreseen } from './foreseen.ts'
import type { DataMessage } from './messages.ts'
import type { Peer } from './peer.ts'
import { answerSize, DownloadMeter } from './rate-limit.ts'
import type { Replicator } from './replicator.ts'
import {
  AnswerTime,
  BlockQueue,
  type InflightRequest,
  sendRequest,
  URGENT_REQUESTS,
  USUAL_REQUESTS
} from './requests.ts'
import { SeekAnswers, type SeekQuestion } from './seek-answers.ts'
import { Timer } from './timer.ts'

// The bytes for which there may be more requests under way than `maxRequests`, as many as those have of 64 KB, and how many at most.
const WINDOW_BYTES = 1024 * 1024
const MOST_REQUESTS = 256
// More than are under way at a time.
const MOST_TAKEN_BACK = 4 * MOST_REQUESTS

// Errors of a proof that may lack nodes which answers before it were expected to bring.
const LACKING: ReadonlySet<unknown> = new Set([
  'ERR_NODE_NOT_FOUND',
  'ERR_PROOF_CHECKSUM',
  'ERR_PROOF_MALFORMED',
  'ERR_PROOF_NO_SIGNATURE',
  'ERR_PROOF_SIGNATURE',
  'ERR_ROOTS_MISSING'
])

/**
 * What one peer was asked for, and what it sends. Which block is asked of whom is the {@link Replicator}'s business.
 */
export class Downloader implements ArrivalsOwner {
  /** Requests without an answer, oldest first. */
  readonly inflight: InflightRequest[] = []
  // So many at the front have arrived: answers come in the order of the requests, mostly.
  private arrivedFirst = 0
  /** Blocks that calls wait for, that this peer has, and that nobody is asked for yet. May hold others. */
  readonly wished: BlockQueue
  /** How long this peer takes to answer. */
  readonly answerTime = new AnswerTime()
  /** How it answers seeks. */
  readonly seeks = new SeekAnswers()
  /** When the last answer came, in milliseconds. */
  lastAnswer = 0
  /** When what was answered last had been asked for: answers come in order, so what was asked for before was left out. */
  lastAnswered = 0
  /** Whether it is counted on. */
  readonly doubt = new Doubt()
  /** Blocks of this peer are shown to the application, which may keep them. @internal */
  handedOut = false
  /** It sent a block without being asked that could not be verified: so it has to be asked. @internal */
  misled = false
  /** Bytes of a block, on average; −1 as long as none has come. */
  private meanSize = -1

  private readonly peer: Peer
  private readonly replicator: Replicator
  /** What will be known. @internal */
  readonly foreseen: Foreseen
  private readonly cursors = new WeakMap<object, { next: number; left: number }>()
  private timer: Timer | null = null
  private readonly arrivals: Arrivals
  private readonly leaves = new LeafOffers()
  private readonly meter: DownloadMeter
  // Blocks that it was asked for with nodes left out, and then no longer, and how often: answers to that may be on their way.
  private readonly takenBack = new Map<number, number>()

  constructor(peer: Peer, replicator: Replicator) {
    this.peer = peer
    this.replicator = replicator
    this.arrivals = new Arrivals(peer, this)
    this.meter = new DownloadMeter(
      () => peer.downloadLimits,
      () => peer.update()
    )
    const { source } = peer
    const { content } = source
    this.wished = new BlockQueue((block) => source.isWished(block))
    this.foreseen = new Foreseen(content, () => peer.authenticated, this.inflight)
  }

  /** Whether it owes an answer that somebody else was, or could be, asked for meanwhile. */
  get isSlow(): boolean {
    return this.replicator.lateness.any && this.inflight.some(({ overdue }) => overdue)
  }

  /**
   * How many requests for downloads it may owe an answer for: `maxRequests`, and more of small blocks where digests tell what is
   * under way, unless the application has asked for fewer than usual.
   */
  get window(): number {
    const { maxRequests, authenticated } = this.peer
    if (!authenticated || this.meanSize < 0 || maxRequests < USUAL_REQUESTS) return maxRequests
    const small = Math.min(MOST_REQUESTS, Math.floor(WINDOW_BYTES / (this.meanSize + 1)))
    return Math.max(maxRequests, small)
  }

  /** Whether nothing more may be asked for, if so many requests may be out at a time. */
  isFull(limit: number): boolean {
    return this.inflight.length >= limit || !this.meter.open
  }

  /** Whether we do not keep up with storing what it sends: calls that are cancelled do not stop what has come. */
  get isBusy(): boolean {
    return this.arrivals.count > 2 * (this.window + URGENT_REQUESTS)
  }

  /** Asks for a block that is reserved for this peer. */
  request(index: number, bytes: number, hash: boolean, question: SeekQuestion | null = null): void {
    const nodes = this.replicator.digest(this.peer, index)
    const request: InflightRequest = {
      index,
      bytes,
      question,
      hash,
      nodes,
      sent: performance.now(),
      arrived: false,
      overdue: false,
      doubted: false,
      again: false
    }
    this.inflight.push(request)
    this.meter.asked(request)
    if (bytes === 0) this.foreseen.asked(index, nodes)
    this.startTimer()
    this.replicator.lateness.watch()
    sendRequest(this.peer.stream, request)
  }

  /** Where the next request for a download goes: the place, and how many blocks of the run are left. */
  cursor(wanted: object): { next: number; left: number } {
    let cursor = this.cursors.get(wanted)
    if (cursor === undefined) {
      cursor = { next: 0, left: 0 }
      this.cursors.set(wanted, cursor)
    }
    return cursor
  }

  /** A seek is answered: the requests for it are not needed any more. */
  foundBytes(bytes: number): void {
    let found = false
    let late = false
    for (const request of [...this.inflight]) {
      if (request.bytes !== bytes) continue
      if (request.overdue && !request.arrived) late = true
      this.giveUp(request)
      found = true
    }
    this.seeks.found(bytes, late)
    if (found) this.peer.update()
  }

  /** Takes back the requests for blocks that nobody wants any more. */
  cancel(which: (request: InflightRequest) => boolean): void {
    for (const request of [...this.inflight]) {
      if (!which(request)) continue
      this.takeBack(request)
      const { index, bytes, hash } = request
      // A Cancel would take back both.
      if (bytes === 0 && hash && this.peer.check.asks(index)) continue
      this.peer.stream.cancel({ index, bytes, hash })
    }
  }

  /** The remote does not have blocks `start` … `end` − 1 (any more): what was asked for may be somewhere else. */
  absent(start: number, end: number): void {
    for (const request of [...this.inflight]) {
      if (request.bytes === 0 && request.index >= start && request.index < end) this.takeBack(request)
    }
  }

  /** No answers are to be expected any more. */
  drop(): void {
    if (this.inflight.length > 0) this.foreseen.broke()
    this.arrivedFirst = 0
    for (const request of this.inflight.splice(0)) {
      this.mayCross(request)
      this.replicator.release(request)
    }
    this.meter.leave()
    this.stopTimer()
  }

  /** A block, or a hash, has come. Errors: `ERR_LIMIT`, `ERR_PROOF_MALFORMED`. */
  data(message: DataMessage): void {
    const { index, value } = message
    const { reserved } = this.replicator
    const { source } = this.peer
    const request = this.requestFor(index, value === null)
    const crossed = this.crosses(index)
    this.meter.came(request, answerSize(value, message.nodes))
    if (request !== undefined) {
      const now = performance.now()
      this.answerTime.took(now - request.sent)
      this.lastAnswer = now
      this.lastAnswered = Math.max(this.lastAnswered, request.sent)
      // A copy that cannot connect the block to our parent proves it by an older head: the nodes foreseen do not come.
      if (request.nodes % 2 === 1 && message.signature !== null) this.foreseen.broke()
    }
    if (value !== null) {
      const { length } = value
      this.meanSize = this.meanSize < 0 ? length : this.meanSize + (length - this.meanSize) / 16
    }
    const asked = request !== undefined || (value !== null && reserved.has(index))
    const expected = !asked && value !== null && this.replicator.isExpected(this.peer, index)
    if (value !== null && !asked && !expected && !source.allowPush) {
      // The call was cancelled, or it was not asked for.
      if (!source.content.bits.get(index)) this.peer.unhave({ start: index })
      // It may have been sent instead of being announced.
      if (this.peer.hasFollowed) this.peer.showed(index)
      this.peer.update()
    } else if (value === null) {
      // A hash that nobody asked for proves nothing that is needed: it is not worth more than a look.
      if (asked || source.allowPush || this.peer.asPublished) this.store(message, request, !asked, crossed)
      else checkClaim({ block: index, value, nodes: message.nodes, signature: message.signature })
    } else if (source.content.bits.get(index) || !reserved.store(index)) {
      // Somebody else was faster. If that turns out to be wrong, it is asked for again.
      if (request !== undefined) this.settle(request)
      else if (!asked) this.acknowledge(index)
    } else this.store(message, request, !asked, crossed)
    if (expected) this.peer.showed(index)
  }

  /** The request that a Data answers: each is answered once. */
  private requestFor(index: number, hash: boolean): InflightRequest | undefined {
    const { inflight } = this
    while (inflight[this.arrivedFirst]?.arrived) this.arrivedFirst++
    for (let at = this.arrivedFirst; at < inflight.length; at++) {
      const one = inflight[at]!
      // A hash is no answer to a request for the block; it belongs to a seek that is over, or was not asked for.
      if (one.index === index && !one.arrived && (!hash || one.hash)) return one
    }
    if (!hash) return undefined
    // The answer to a seek names the block found, not the one asked.
    return inflight.find((one) => one.bytes > 0 && !one.arrived)
  }

  private store(
    message: DataMessage,
    request: InflightRequest | undefined,
    pushed: boolean,
    crossed: boolean
  ): void {
    const { index: block, value, nodes, signature } = message
    if (request !== undefined) request.arrived = true
    const loan = value === null || signature !== null ? null : this.peer.claimMemory()
    const offered = value === null ? null : this.leaves.add(value)
    try {
      this.arrivals.add({
        claim: { block, value, nodes, signature, offered },
        request,
        pushed,
        crossed,
        loan
      })
    } catch (error) {
      // Else nobody could be asked for it any more.
      if (value !== null) {
        this.replicator.reserved.stored(block)
        this.replicator.free(block)
      }
      throw error
    }
    this.replicator.storeBegun()
  }

  /** Whether nobody keeps what is stored. */
  private get reusesMemory(): boolean {
    return !this.handedOut && this.peer.source.content.keepsNothing
  }

  // ---- what has become of it ----

  /** @internal */
  stored(arrivals: readonly Arrival[]): void {
    for (const arrival of arrivals) {
      this.storeEnded(arrival)
      // Blocks of a storage of the application's, or with a listener, may be in other hands by now.
      if (this.reusesMemory) arrival.loan?.release()
    }
    if (this.peer.closed) {
      // It was the last thing that others had to wait for.
      this.replicator.endings.look()
      return
    }
    let answered = false
    for (const { claim, request } of arrivals) {
      this.acknowledge(claim.block)
      if (request === undefined) continue
      this.doubt.shown(claim.block)
      const { bytes, question } = request
      const { length } = this.peer.source.content
      if (question !== null) this.seeks.answered(bytes, question, claim.block, length)
      this.end(request)
      answered = true
    }
    // What it was not asked for is no sign that an answer will come.
    if (answered) this.timer?.refresh()
    this.peer.update()
    this.replicator.endings.look()
  }

  /** @internal */
  dropped(arrival: Arrival): void {
    const { claim, request } = arrival
    this.storeEnded(arrival)
    // Before anything else is asked for: what is asked for now is not to be freed. A hash that nobody asked for reserved nothing.
    if (claim.value !== null || request !== undefined) this.replicator.free(claim.block)
    if (request !== undefined) {
      this.timer?.refresh()
      this.giveUp(request)
    }
    // This one may have left by now, or would be asked for the same again.
    this.replicator.fillOthersFirst(this.peer)
  }

  /** @internal */
  lacking(arrival: Arrival, error: unknown): boolean {
    const { claim, request, pushed, crossed } = arrival
    const { foreseen, peer } = this
    // What was said of nodes to come may have been wrong. With digest 0 nothing is left out, and there is no excuse, unless it answers what
    // was asked before, or was sent without being asked, on the wrong assumption of what is known here. It may have crossed a request for it, once.
    const followed = peer.hasFollowed && claim.value !== null
    const sent = followed && (request === undefined || !request.again)
    const excused = sent || crossed || (request !== undefined && request.nodes > 0)
    if (!excused || !peer.authenticated || peer.closed) return false
    if (!LACKING.has((error as { code?: unknown } | null)?.code)) return false
    this.storeEnded(arrival)
    foreseen.broke()
    if (request !== undefined) this.end(request)
    else if (sent) this.misled = true
    // From now on nothing is expected that was not asked for; what is under way is no fault.
    if (sent && peer.following) peer.follow(false)
    // What nobody waits for any more need not come again.
    if (pushed && !sent) return true
    if (this.replicator.reserved.take(claim.block)) {
      foreseen.forget()
      this.request(claim.block, 0, request?.hash ?? false)
      this.inflight[this.inflight.length - 1]!.again = true
    }
    return true
  }

  /** @internal */
  refused(arrival: Arrival, error: unknown): void {
    this.storeEnded(arrival)
    // The feed was closed meanwhile: that is not the remote's fault, nor that of other feeds on this stream.
    if (DDatabaseError.is(error) && error.code === 'ERR_FEED_CLOSED') this.peer.close()
    else this.peer.destroy(error as Error)
    this.replicator.free(arrival.claim.block)
    this.replicator.fillAll()
  }

  private storeEnded({ claim }: Arrival): void {
    if (claim.value !== null) this.replicator.reserved.stored(claim.block)
    this.replicator.storeEnded()
  }

  private acknowledge(index: number): void {
    // A Data without a block acknowledges nothing that was stored, but the published peers say it all the same.
    if (this.peer.remoteAck) this.peer.stream.have({ start: index, length: 1, ack: true })
  }

  /** An answer was dealt with: its request is done, and the next ones can go out. */
  private settle(request: InflightRequest): void {
    this.timer?.refresh()
    this.giveUp(request)
    this.peer.update()
  }

  /** A request is done, but what it asks for may come all the same. */
  private takeBack(request: InflightRequest): void {
    this.mayCross(request)
    this.giveUp(request)
  }

  private mayCross(request: InflightRequest): void {
    const { index, bytes, nodes, arrived } = request
    if (arrived || nodes === 0 || bytes > 0) return
    const { takenBack } = this
    const times = takenBack.get(index) ?? 0
    takenBack.delete(index)
    // Most never come: the Cancel was in time. The oldest ones are over by now.
    for (const oldest of takenBack.keys()) {
      if (takenBack.size < MOST_TAKEN_BACK) break
      takenBack.delete(oldest)
    }
    takenBack.set(index, times + 1)
  }

  /** Whether what comes may answer a request that was taken back. */
  private crosses(index: number): boolean {
    const times = this.takenBack.get(index)
    if (times === undefined) return false
    if (times === 1) this.takenBack.delete(index)
    else this.takenBack.set(index, times - 1)
    return true
  }

  /** A request is done without its answer being stored. */
  private giveUp(request: InflightRequest): void {
    this.foreseen.broke()
    this.end(request)
  }

  private end(request: InflightRequest): void {
    const at = this.inflight.indexOf(request)
    if (at === -1) return
    if (at < this.arrivedFirst) this.arrivedFirst--
    // Mostly it is the first one, and `shift` need not move the others.
    if (at === 0) this.inflight.shift()
    else this.inflight.splice(at, 1)
    this.meter.dropped(request)
    this.replicator.release(request)
    // Somebody else may have been waiting for this one's answer.
    if (request.bytes > 0) this.replicator.fillSoon()
    if (this.inflight.length === 0) this.stopTimer()
  }

  private startTimer(): void {
    const { timeout } = this.peer.stream.stream
    if (this.timer !== null || timeout === null) return
    this.timer = new Timer(timeout.ms, () => this.ontimeout())
  }

  private stopTimer(): void {
    this.timer?.destroy()
    this.timer = null
  }

  private ontimeout(): void {
    this.timer = null
    const oldest = this.inflight[0]
    if (oldest === undefined) return
    const { bits, tree } = this.peer.source.content
    if (!oldest.overdue && (oldest.hash ? tree.get(2 * oldest.index) : bits.get(oldest.index))) {
      // Nobody needs it any more; the one that was asked may know that.
      this.takeBack(oldest)
      if (this.inflight.length > 0) this.startTimer()
      return
    }
    this.peer.destroy(new DDatabaseError('ERR_REQUEST_TIMEOUT'))
  }
}
