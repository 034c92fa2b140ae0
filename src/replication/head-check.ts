import { DDatabaseError } from '../errors.ts'
import type { Claim } from '../merkle/verify.ts'
import { type Deferred, deferred, ignore } from '../util/callback.ts'
import type { DataMessage } from './messages.ts'
import type { Peer } from './peer.ts'
import { UnprovenHistory } from './source.ts'
import { Timer } from './timer.ts'

// Milliseconds between two looks at the head of one remote, so that a feed which grows fast is not looked at all the time.
const PAUSE = 1000

// Milliseconds that a remote with another history is given to find out, and for the answer that tells it to get there.
const LINGER = 1000
const DELIVERY = 100

// Milliseconds that an end is put off for a remote that has not said what it has, or not told its head.
const PATIENCE = 5000

// How often a block is tried again that proves a longer history, which somebody makes longer all the time.
const TRIES = 8

// Errors of a proof that is a true one of another history, perhaps.
const CONTRADICTIONS: ReadonlySet<unknown> = new Set([
  'ERR_PROOF_CHECKSUM',
  'ERR_PROOF_SIGNATURE',
  'ERR_ROOTS_MISSING'
])

// Errors that are not the remote's fault.
const OURS: ReadonlySet<unknown> = new Set([
  'ERR_STORAGE',
  'ERR_FEED_CLOSED',
  'ERR_NODE_NOT_FOUND',
  'ERR_VERIFYING'
])

/** A request that is none of the downloader's. */
interface Question {
  readonly index: number
  /** Only an answer with a signature is one. */
  readonly signed: boolean
  readonly answer: Deferred<DataMessage | null>
}

/**
 * Whether one remote has the same history as we do, as far as both reach (docs/protocol.md, "Forks"). It is asked for the hash of
 * the last block that both have, with nothing left out, and the answer is compared with what is here and dropped. That happens
 * when it first says what it has, before it is asked for anything else, and again when there is more to compare.
 *
 * These requests reserve nothing, count nowhere, and are not waited for, unless something is stored only with their answer.
 */
export class HeadCheck {
  private readonly peer: Peer
  // Blocks that the remote says it has, and blocks up to which it was compared, or has proven to be alike.
  private claimed = 0
  private compared = 0
  // What it claimed at the last look.
  private lookedAt = 0
  // Lengths that it was asked to link with the rest of what is here.
  private readonly linked = new Set<number>()
  // What was claimed here and there when something of the remote's was not believed.
  private disbelief: { claimed: number; length: number; growth: boolean } | null = null
  private looked = false
  private looking = false
  private extended = false
  private pause: Timer | null = null
  private readonly questions: Question[] = []
  // What this side waits with before it ends.
  private ending: (() => void) | null = null
  private endingTimer: Timer | null = null
  private impatient = false
  private growing: Promise<void> | null = null
  // Nothing of the remote is stored before that.
  private suspended: Promise<void> | null = null

  // The remote has asked for our head, and has got it.
  private told = false
  // The remote has another history.
  private refusal: Error | null = null
  private lingering: Timer | null = null

  constructor(peer: Peer) {
    this.peer = peer
  }

  /** Whether the remote has another history: nothing is taken from it, and nothing given, but what it may compare. */
  get isRefused(): boolean {
    return this.refusal !== null
  }

  /**
   * Lets the remote have our head, if it is one that compares, before it is destroyed because of a fork. Otherwise who finds out
   * first would keep the other from knowing.
   * @returns whether that takes a moment, and the peer is destroyed later
   */
  lingers(error: Error | null | undefined): boolean {
    if (this.lingering !== null) return true
    if (!DDatabaseError.is(error) || error.code !== 'ERR_FORK') return false
    if (this.refusal !== null || !this.peer.authenticated || !this.peer.remoteOpened) return false
    this.refusal = error
    this.stop()
    this.peer.stopDownloading()
    this.linger(this.told ? DELIVERY : LINGER)
    return true
  }

  /** Our head was sent to the remote, for it to compare. */
  answered(): void {
    this.told = true
    if (this.lingering !== null) this.linger(DELIVERY)
  }

  private linger(ms: number): void {
    this.lingering?.destroy()
    this.lingering = new Timer(ms, () => {
      this.lingering = null
      this.peer.destroy(this.refusal)
    })
  }

  /**
   * Whether this remote is compared. Who wants to behave as the published packages do gets that, unless something would be stored that
   * may be of another history.
   */
  private get enabled(): boolean {
    return !this.peer.asPublished && this.peer.source.content.live
  }

  private get mayAsk(): boolean {
    const { remoteOpened, remoteUploading, closed } = this.peer
    return remoteOpened && remoteUploading && !closed && !this.isRefused
  }

  /** The window of the remote's bitfield that tells what to compare; −1 if there is nothing to compare. */
  get window(): number {
    const { content, writable } = this.peer.source
    if (!this.enabled || !this.mayAsk || (content.length === 0 && !writable)) return -1
    return Math.max(0, content.length - 1)
  }

  /**
   * Whether a request may leave out what is known here. Not before the head was asked for, and what links others, and not when it is
   * the first one for more than we have: published peers never send a root that was left out once.
   */
  leavesOut(index: number): boolean {
    const { length, unlinked } = this.peer.source.content
    if (this.enabled && unlinked.some((one) => !this.linked.has(one.length))) return false
    const first = index >= length && !this.extended
    if (index >= length) this.extended = true
    return !first && (this.looked || !this.enabled || !this.isDue)
  }

  /** The remote says what it has. */
  heard(): void {
    this.claimed = Math.max(this.claimed, this.peer.remoteLength)
    this.look()
    this.reconsider()
    this.endIfIdle()
  }

  /** The remote has nothing any more. */
  emptied(): void {
    this.claimed = 0
    this.compared = 0
    this.lookedAt = 0
    this.stop()
  }

  /** The feed is longer now; `proven`: by a proof of this remote's. */
  grew(proven: boolean): void {
    if (proven) this.compared = Math.max(this.compared, this.peer.source.content.length)
    else this.look()
    this.reconsider()
  }

  /** The feed has `length` blocks left. */
  shrunk(length: number): void {
    this.compared = Math.min(this.compared, length)
  }

  /** Compares, if there is something to compare. */
  look(): void {
    if (this.looking || this.pause !== null || !this.enabled || !this.mayAsk) return
    const index = this.isDue ? this.target() : -1
    if (index !== -1) {
      this.looked = true
      this.lookedAt = this.claimed
      this.begin(this.compare(index, this.linkTargets()))
      return
    }
    const linking = this.linkTargets()
    if (linking.length > 0) this.begin(this.examine(linking))
  }

  private begin(question: Promise<unknown>): void {
    this.looking = true
    question
      .catch((error) => {
        if (!OURS.has(error?.code)) this.peer.destroy(error)
      })
      .finally(() => {
        this.looking = false
        if (this.peer.closed) return
        // A remote that finds another history here does not stay.
        const linking = this.mayAsk ? this.linkTargets() : []
        if (linking.length > 0) {
          this.begin(this.examine(linking))
          return
        }
        this.pause = new Timer(PAUSE, () => {
          this.pause = null
          this.look()
        })
        this.endIfIdle()
      })
  }

  private get isDue(): boolean {
    const { content, writable } = this.peer.source
    if (Math.min(content.length, this.claimed) > this.compared) return true
    // A writer that has nothing and fetches everything is told by what it gets.
    if (content.length === 0 && this.peer.downloading && !this.peer.sparse) return false
    return writable && this.claimed > content.length && this.claimed > this.lookedAt
  }

  /** The block to ask for, −1 if there is none, or if it will be known better in a moment. */
  private target(): number {
    const { remoteBitfield, inflightWants, source } = this.peer
    const { length } = source.content
    const common = length === 0 ? this.claimed : Math.min(length, this.claimed)
    if (remoteBitfield.has(common - 1)) return common - 1
    if (inflightWants > 0) return -1
    const before = remoteBitfield.last(common)
    return before === -1 ? remoteBitfield.next(common, this.claimed) : before
  }

  /**
   * Blocks of the remote's whose ways up lead through all roots of the lengths that nobody has linked yet, as far as it has some. Each
   * length is asked for once.
   */
  private linkTargets(): number[] {
    const { remoteBitfield, source } = this.peer
    const targets: number[] = []
    for (const { length } of source.content.unlinked) {
      if (this.linked.has(length)) continue
      const span = lastSpan(length)
      const index = remoteBitfield.next(length - span, Math.min(length + span, this.claimed))
      if (index === -1) continue
      this.linked.add(length)
      targets.push(index)
    }
    return targets
  }

  /** Compares what the remote says of some blocks, one after the other. */
  private async examine(targets: readonly number[]): Promise<void> {
    for (const message of targets.map((index) => this.ask(index))) await this.examineAnswer(await message)
  }

  /** @returns the length of the remote's history; 0 if the answer does not show that, or there is none */
  private async examineAnswer(message: DataMessage | null): Promise<number> {
    if (message === null || this.peer.closed) return 0
    return this.peer.source.content.examine(claimOf(message), this.claimed)
  }

  /** @param linking - what is compared before: who has two histories here has to know which one is the remote's */
  private async compare(index: number, linking: readonly number[]): Promise<void> {
    const { content } = this.peer.source
    const linked = this.examine(linking)
    const answer = this.ask(index)
    await linked
    const message = await answer
    if (message === null) return
    const common = Math.min(content.length, this.claimed)
    const { length: before } = content
    const length = await this.examineAnswer(message)
    if (this.peer.closed) return
    this.compared = Math.max(this.compared, common)
    // What was appended meanwhile was not compared: the next look does.
    if (length > content.length && content.length === before) await this.peer.source.longerSeen(length)
  }

  // ---- what is to be stored ----

  /** Verifies and stores what the remote sent, up to what is refused: then `error` says why; see {@link refused}. */
  async put(claims: readonly Claim[]): Promise<{ stored: number; error: unknown }> {
    if (this.suspended !== null) await this.suspended
    return this.peer.source.content.put(claims, this.peer)
  }

  /** Whether something was refused only as long as the remote has not shown that it continues what is here. */
  growsUnproven(error: unknown): boolean {
    return error instanceof UnprovenHistory
  }

  private async putNow(claim: Claim, anyGrowth = false): Promise<void> {
    const { peer } = this
    const { error } = await peer.source.content.put([claim], peer, anyGrowth)
    if (error !== undefined) throw error
  }

  /**
   * Something was refused by {@link put}: finds out what that means.
   * @param digest - what the request for it left out
   * @returns true if it is stored now, false if it cannot be told yet. Errors: `ERR_FORK`; why it was refused.
   */
  async refused(claim: Claim, digest: number, error: unknown): Promise<boolean> {
    if (error instanceof UnprovenHistory)
      return error.shorter ? this.disbelieved(claim.block) : this.grow(claim)
    if (CONTRADICTIONS.has((error as { code?: unknown } | null)?.code)) {
      const { content } = this.peer.source
      const { unlinked } = content
      await this.contradicted(claim, digest)
      // It did not agree with what was of another history, and is gone.
      if (content.unlinked.length < unlinked.length) return false
    }
    throw error
  }

  /** Whether what was sent is of another history. Errors: `ERR_FORK`. */
  private async contradicted(claim: Claim, digest: number): Promise<void> {
    const { content } = this.peer.source
    await content.examine(claim, this.claimed).catch(rethrowFork)
    if (digest === 0 || this.suspended !== null || !this.enabled || !this.mayAsk) return
    const asked = this.withinReason(this.ask(claim.block)).then(async (message) => {
      if (message !== null) await content.examine(claimOf(message), this.claimed).catch(rethrowFork)
    })
    this.suspended = asked.catch(ignore).then(() => {
      this.suspended = null
    })
    await asked
  }

  /** Stores what makes the feed longer, as soon as the remote has shown that it continues what is here. */
  private async grow(claim: Claim): Promise<boolean> {
    const { peer } = this
    for (let tries = 0; tries < TRIES; tries++) {
      if (!this.mayAsk) return false
      const index = this.continuation()
      if (index === -1) {
        // It has nothing to show it with, which is mostly no reason to do without what it has.
        const { believes, length } = peer.source.content
        if (believes) {
          await this.putNow(claim, true)
          return true
        }
        return this.disbelieved(length, this.claimed, true)
      }
      this.growing ??= this.askToContinue(index)
        .catch((error) => {
          // Also if nobody waits for it any more.
          if (!OURS.has(error?.code)) peer.destroy(error)
          throw error
        })
        .finally(() => {
          this.growing = null
        })
      const grown = this.growing.then(() => true)
      // What came is given up, and asked for again, only if somebody else could be faster.
      const limit = Math.max(PAUSE, peer.downloader.answerTime.expected)
      while ((await this.within(limit, grown)) === null) {
        if (!peer.isOnlyOneWith(claim.block)) return false
      }
      try {
        await this.putNow(claim)
        return true
      } catch (error) {
        if (!(error instanceof UnprovenHistory)) throw error
        if (error.shorter) return this.disbelieved(claim.block)
      }
    }
    return false
  }

  /** What the remote has cannot be shown to belong to the history that is here: as good as not there. */
  private disbelieved(start: number, end = start + 1, growth = false): false {
    this.disbelief = { claimed: this.claimed, length: this.peer.source.content.length, growth }
    this.peer.lacks(start, end)
    return false
  }

  /** If what was not believed could be shown now, the remote is asked once more what it has. */
  private reconsider(): void {
    const { disbelief } = this
    if (disbelief === null || this.isRefused) return
    const { claimed, length, growth } = disbelief
    const { content } = this.peer.source
    const longer = content.length > length && content.length >= claimed
    if (!longer && this.claimed <= claimed && (!growth || this.continuation() === -1)) return
    this.disbelief = null
    this.peer.wantAgain()
  }

  private async askToContinue(index: number): Promise<void> {
    const { timeout } = this.peer.stream.stream
    const answer = this.ask(index, true).then((message) => ({ message }))
    const answered = await (timeout === null ? answer : this.within(timeout.ms, answer))
    if (answered === null) throw new DDatabaseError('ERR_REQUEST_TIMEOUT')
    const { message } = answered
    // It does not upload any more, or has nothing that proves this block.
    if (message === null) return
    const claim = claimOf(message)
    await this.putNow(claim).catch(async (error) => {
      // It has become longer meanwhile: whoever waits for this tries again.
      if (error instanceof UnprovenHistory) return
      if (CONTRADICTIONS.has(error?.code)) await this.contradicted(claim, 0)
      throw error
    })
  }

  /** A block of the remote's whose proof shows whether its history continues ours, −1 if it has none. */
  private continuation(): number {
    const { length } = this.peer.source.content
    if (length === 0) return -1
    // Blocks below the sibling of the last root.
    return this.peer.remoteBitfield.next(length, Math.min(length + lastSpan(length), this.peer.remoteLength))
  }

  // ---- asking ----

  /**
   * Asks for the hash of a block, with everything that proves it. Null: there is no answer.
   * @param signed - the proof has to reach roots, so a hash without a signature answers something else: a request for the block,
   * which has been cleared
   */
  private ask(index: number, signed = false): Promise<DataMessage | null> {
    const question = { index, signed, answer: deferred<DataMessage | null>() }
    this.questions.push(question)
    this.peer.stream.request({ index, bytes: 0, hash: true, nodes: 0 })
    return question.answer.promise
  }

  /** Whether the hash of this block is asked for. */
  asks(block: number): boolean {
    return this.questions.some(({ index }) => index === block)
  }

  /** Takes what is an answer to a question of this side. */
  take(message: DataMessage): boolean {
    const answers = message.signature !== null
    const at = this.questions.findIndex(
      ({ index, signed }) => index === message.index && (answers || !signed)
    )
    if (at === -1) return false
    this.questions.splice(at, 1)[0]!.answer.resolve(message)
    return true
  }

  /** The remote does not have blocks `start` … `end` − 1 (any more). Other hashes may come all the same: they outlive their blocks. */
  absent(start: number, end: number): void {
    const over = this.questions.filter(({ index, signed }) => signed && index >= start && index < end)
    for (const question of over) {
      this.questions.splice(this.questions.indexOf(question), 1)
      question.answer.resolve(null)
    }
  }

  /** No answers are to be expected any more. */
  stop(): void {
    for (const { answer } of this.questions.splice(0)) answer.resolve(null)
    if (!this.peer.closed) return
    this.pause?.destroy()
    this.endingTimer?.destroy()
    this.lingering?.destroy()
    this.ending = null
  }

  /** The outcome, or null if it takes much longer than answers of this remote do. */
  private withinReason<T>(outcome: Promise<T>): Promise<T | null> {
    return this.within(this.peer.downloader.answerTime.expected, outcome)
  }

  private within<T>(ms: number, outcome: Promise<T>): Promise<T | null> {
    return new Promise((resolve, reject) => {
      const timer = new Timer(ms, () => resolve(null))
      outcome.then(resolve, reject).finally(() => timer.destroy())
    })
  }

  // ---- the end ----

  /**
   * Lets this side end: at once, or when the remote has been compared, but not much later.
   * @returns whether `end` is called later
   */
  postpones(end: () => void): boolean {
    if (this.impatient || this.peer.closed || !this.isBusy) return false
    this.ending = end
    this.endingTimer ??= new Timer(PATIENCE, () => {
      this.impatient = true
      this.endNow()
    })
    return true
  }

  /** Whether the remote may still be found to have another history. */
  private get isBusy(): boolean {
    if (this.looking) return true
    return !this.looked && this.peer.inflightWants > 0 && this.window !== -1
  }

  /** Ends, if that was postponed and there is nothing to wait for any more. */
  private endIfIdle(): void {
    if (this.ending !== null && !this.isBusy) this.endNow()
  }

  private endNow(): void {
    const { ending } = this
    this.ending = null
    this.endingTimer?.destroy()
    this.endingTimer = null
    if (!this.peer.closed) ending?.()
  }
}

function claimOf({ index, value, nodes, signature }: DataMessage): Claim {
  return { block: index, value, nodes, signature }
}

function rethrowFork(error: unknown): void {
  if (DDatabaseError.is(error) && error.code === 'ERR_FORK') throw error
}

/** Blocks below the last root of a feed with `length` blocks, which is not 0: the largest power of two that divides it. */
function lastSpan(length: number): number {
  let span = 1
  while (length % (2 * span) === 0) span *= 2
  return span
}
