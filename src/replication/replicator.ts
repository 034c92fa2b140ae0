import { argumentRangeError, argumentTypeError } from '../errors.ts'
import { foreignHandlers, isForeign } from './foreign-stream.ts'
import { Lateness } from './lateness.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { Peer, type PeerOptions } from './peer.ts'
import { type InflightRequest, isFor, Reservations, URGENT_REQUESTS } from './requests.ts'
import type { SeekQuestion } from './seek-answers.ts'
import type { ReplicationSource, Wanted, Wish } from './source.ts'
import type { ProtocolStream } from './stream.ts'

// Requests for one seek that may be out at a time.
const SEEK_REQUESTS = 4

// Blocks asked for in a row before a new place is chosen at random: they are read and written together. Only where digests tell
// what is under way (`Foreseen`); else each of the neighbours would bring the same nodes, four times as many in all.
const RUN = 256

// Blocks of one download asked for before it is the turn of the next, for the same reason.
const ROW = 16

// Blocks of one announcement: remotes of this version take no more.
const MOST_ANNOUNCED = DEFAULT_LIMITS.haveRange

/**
 * The peers of one feed, and who is asked for what (spec WIRE §11.4). A block is reserved while it is asked for, so
 * that two peers are not asked for the same one; unless an answer takes long and another peer could be faster. Then
 * that one is asked, too, and the first one has to give its answer all the same, or to end with its timeout.
 */
export class Replicator {
  readonly source: ReplicationSource
  /** Attached peers. */
  readonly peers: Peer[] = []
  /** Blocks asked for. */
  readonly reserved = new Reservations()
  /** Who takes too long. */
  readonly lateness = new Lateness(this)
  /** Source of the places where downloads start; fixed in tests that repeat a recorded session. */
  random: () => number = Math.random

  /** How much that peers sent is being verified and stored. */
  storing = 0
  private filling = false
  private fillingSoon = false
  private cancelling = false

  constructor(source: ReplicationSource) {
    this.source = source
  }

  /**
   * Opens the feed on a stream.
   * @returns the peer, or null if the feed is on this stream already or was refused, or the stream is gone
   */
  attach(
    stream: ProtocolStream,
    key: Uint8Array,
    discoveryKey: Uint8Array,
    options: PeerOptions
  ): Peer | null {
    if (stream.destroying || stream.opened(key)) return null
    const foreign = isForeign(stream)
    if (foreign && stream.noise && stream.remoteOpened(key) && !stream.remoteVerified(key)) {
      stream.close(discoveryKey)
      return null
    }
    const peer = new Peer(this, options)
    peer.stream = stream.open(key, foreign ? foreignHandlers(peer) : peer)
    if (peer.stream.closed) {
      // The remote opened the feed with a wrong capability, so it was refused.
      peer.closed = true
      return null
    }
    this.source.ifAvailable.wait() // until the remote opens the feed too, or the peer leaves
    this.peers.push(peer)
    for (const other of this.peers) if (other.following) other.follow(false)
    peer.expectAnswers()
    this.lateness.watch()
    if (peer.downloading) this.source.forgetCleared()
    if (!peer.live && peer.downloading) this.source.reopenDownloads()
    this.source.emit('peer-add', peer)
    if (foreign && peer.stream.remoteOpened) peer.onopen()
    return peer
  }

  /** A peer has left: what it was asked for may be asked of others. */
  detach(peer: Peer): void {
    const at = this.peers.indexOf(peer)
    if (at === -1) return
    this.peers.splice(at, 1)
    this.source.emit('peer-remove', peer)
    this.endDownloads(!peer.live)
    this.fillAll()
    this.source.lessAvailable()
  }

  /** Leaves all streams. */
  close(): void {
    for (const peer of [...this.peers]) peer.close()
  }

  /** The largest length that a peer claims; of one that did not show what it claims, as far as it is known to be true. */
  get remoteLength(): number {
    let length = 0
    for (const { remoteLength, downloader } of this.peers) {
      const counted = downloader.doubt.isRaised
        ? Math.min(remoteLength, this.source.content.length)
        : remoteLength
      length = Math.max(length, counted)
    }
    return length
  }

  /** Whether some peer has what is wished for, or it may be among what has come and is being stored. */
  canHelp(wish: Wish): boolean {
    if (this.storing > 0) return true
    const { length } = this.source.content
    return (
      this.peers.some((peer) => {
        if (!peer.mayAsk || peer.downloader.doubt.covers(this.firstOf(wish))) return false
        if (wish.kind === 'update') return this.canUpdate(peer, wish)
        if (wish.kind === 'block') return peer.remoteBitfield.get(wish.index)
        return this.canSeek(peer, wish)
      }) ||
      (wish.kind === 'update' && length >= wish.length)
    )
  }

  /** The first block that may be what is wished for. */
  private firstOf(wish: Wish): number {
    if (wish.kind === 'block') return wish.index
    if (wish.kind === 'update') return wish.length - 1
    // Without an end the place lies beyond what is here.
    return wish.end === -1 ? Math.max(wish.start, this.source.content.length) : wish.start
  }

  /** Whether a peer claims enough blocks, and has not taken back all that would prove it. */
  private canUpdate(peer: Peer, wish: Extract<Wish, { kind: 'update' }>): boolean {
    if (peer.remoteLength < wish.length) return false
    return (
      peer.inflightWants > 0 ||
      peer.inflightRequests.some((request) => isFor(wish, request)) ||
      this.hasFor(peer, wish)
    )
  }

  private canSeek(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): boolean {
    if (wish.looking) return true
    const asked = wish.pair === undefined && peer.inflightRequests.some(({ bytes }) => bytes === wish.bytes)
    return asked || this.hasFor(peer, wish)
  }

  /** Whether a peer says it has what is wished for, or a block that would do. */
  hasFor(peer: Peer, wish: Wish): boolean {
    if (wish.kind === 'block') return peer.remoteBitfield.get(wish.index)
    if (wish.kind === 'update') return peer.remoteBitfield.next(wish.length - 1, peer.remoteLength) !== -1
    if (wish.pair !== undefined) return this.pairOf(wish).some((index) => peer.remoteBitfield.get(index))
    return !this.wasInVain(peer, wish) && this.seekTarget(peer, wish, true) !== -1
  }

  /** What the answer to a request would do for: that block, and updates and seeks. */
  wishesFor(request: InflightRequest): Wish[] {
    const wishes = [...this.source.otherWishes()].filter((wish) => isFor(wish, request))
    if (request.bytes === 0) wishes.push({ kind: 'block', index: request.index })
    return wishes
  }

  // ---- news ----

  /** A call waits for something new. */
  wished(wish: Wish): void {
    if (wish.kind === 'block') {
      if (this.reserved.has(wish.index)) return
      this.offer(wish.index)
    }
    for (const peer of [...this.peers]) {
      peer.wantWish(wish)
      this.fill(peer)
    }
  }

  /** A block that a call waits for may be asked of all peers that have it. */
  private offer(index: number): void {
    for (const peer of this.peers) if (peer.remoteBitfield.has(index)) peer.downloader.wished.add(index)
  }

  /** Something that a peer sent is being verified and stored. */
  storeBegun(): void {
    this.storing++
  }

  /** It was stored, or refused. */
  storeEnded(): void {
    if (--this.storing === 0) this.source.lessAvailable()
  }

  /** A download was added. */
  downloadAdded(wanted: Wanted): void {
    for (const peer of [...this.peers]) peer.wantDownload(wanted)
    this.endDownloads()
    this.fillAll()
  }

  /** Calls or downloads were cancelled: requests that nobody needs any more are taken back, at the end of this tick. */
  cancelled(): void {
    if (this.cancelling || this.peers.length === 0) return
    this.cancelling = true
    queueMicrotask(() => {
      this.cancelling = false
      for (const { downloader } of [...this.peers]) {
        downloader.cancel((request) => !this.isNeeded(request))
        downloader.seeks.keep((bytes) => this.isSought(bytes))
      }
      this.fillAll()
    })
  }

  /** Blocks `start` … `start + length` − 1 are here; `from` is where they came from. */
  announce(start: number, length: number, from: unknown): void {
    const end = start + length
    for (let at = start; at < end; at += MOST_ANNOUNCED) {
      const count = Math.min(end - at, MOST_ANNOUNCED)
      const message = count === 1 ? { start: at } : { start: at, length: count }
      for (const peer of [...this.peers]) if (peer !== from) peer.news(message)
    }
  }

  /** The feed is longer now; `from` is the peer that has proven it. */
  grew(from: Peer | null): void {
    for (const peer of [...this.peers]) peer.check.grew(peer === from)
  }

  /** There is more to compare with remotes. */
  compare(): void {
    for (const peer of [...this.peers]) peer.check.look()
  }

  /** The feed has `length` blocks left. */
  shrunk(length: number): void {
    for (const peer of this.peers) {
      peer.check.shrunk(length)
      peer.downloader.foreseen.broke()
    }
  }

  /** Blocks are gone. */
  unannounce(start: number, length: number): void {
    for (const peer of [...this.peers]) peer.unhave({ start, length })
    this.fillAll()
  }

  /** Blocks, ascending, are gone. */
  unannounceAll(blocks: readonly number[]): void {
    for (let i = 0, from = 0; i < blocks.length; i++) {
      if (blocks[i + 1] === blocks[i]! + 1) continue
      this.unannounce(blocks[from]!, i + 1 - from)
      from = i + 1
    }
  }

  /** A seek found its place. */
  foundBytes(bytes: number): void {
    for (const peer of [...this.peers]) peer.downloader.foundBytes(bytes)
  }

  /** The extensions of this side have changed. */
  sendOptions(): void {
    for (const peer of this.peers) if (peer.remoteOpened) peer.sendOptions(true)
  }

  /**
   * Not live and not sparse: when it is known how long the feed is, open-ended downloads get an end (spec WIRE §14),
   * and a peer that nothing more is wanted from is told so. Who has not told yet what it has may have more. So may one that does not
   * show what it claims, but the others need not stay for that.
   * @param left - a peer that is not live has just left
   */
  endDownloads(left = false): void {
    const { source } = this
    if (source.sparse || !(left || this.peers.some((peer) => !peer.live))) return
    const believed = this.peers.filter((peer) => !this.isDoubtful(peer))
    const length = Math.max(source.content.length, ...believed.map((peer) => peer.remoteLength))
    if (believed.length < this.peers.length || this.peers.some((peer) => peer.mayTell)) {
      if (!source.downloadsWithin(length)) return
    } else {
      // Who was not asked, or does not upload, has said nothing about the feed: that ends no download, which others may be there for.
      if (this.peers.some((peer) => !peer.live && peer.hasTold) || (left && length > 0))
        source.endDownloads(length)
      if (source.anyDownloads && !this.isExhausted()) return
    }
    for (const peer of believed) {
      if (!peer.live && peer.downloading && peer.remoteUploading && peer.remoteOpened && !peer.mayTell)
        peer.end()
    }
  }

  /**
   * Whether nobody will ever bring what open downloads still lack: no peer has any of it, nor fetches anything that it could pass on
   * later. So it is with what an author has cleared.
   */
  private isExhausted(): boolean {
    const { peers, source } = this
    const mayBring = (peer: Peer): boolean =>
      peer.remoteDownloading || peer.inflightRequests.length > 0 || peer.inflightWants > 0
    if (this.storing > 0 || peers.some(mayBring)) return false
    for (const wanted of source.downloads()) {
      if (!wanted.isOpen) return false
      const { from, end } = wanted
      if (peers.some((peer) => this.search(peer, wanted, from, end) !== -1)) return false
    }
    return true
  }

  /** Whether a peer claims to have more than is known, and is late, does not upload, or has taken back what could show it. */
  private isDoubtful(peer: Peer): boolean {
    const { length } = this.source.content
    if (peer.remoteLength <= length) return false
    return (
      !peer.mayAsk || peer.downloader.isSlow || peer.remoteBitfield.next(length, peer.remoteLength) === -1
    )
  }

  /** Whether a peer stays only because another one claims to have more, and was asked to show it. */
  isKept(peer: Peer, { index, bytes }: InflightRequest): boolean {
    if (this.source.sparse || peer.live || bytes > 0) return false
    return index >= Math.max(this.source.content.length, peer.remoteLength)
  }

  // ---- requests ----

  /** Digest of what is known around a block, for a request to `peer`. */
  digest(peer: Peer, index: number): number {
    if (!peer.check.leavesOut(index)) return 0
    return peer.downloader.foreseen.digest(index)
  }

  /** Ends a reservation; a block that is still waited for can be asked for again. */
  release(request: InflightRequest): void {
    // Somebody else has the reservation of a late one by now, or may have.
    if (!request.overdue) this.free(request.index)
  }

  /** A block is not stored, and nobody is asked for it any more. */
  free(index: number): void {
    this.reserved.release(index)
    if (this.source.isWished(index) && !this.source.content.bits.get(index)) this.offer(index)
  }

  /** Sends the requests that are due, to all peers. */
  fillAll(): void {
    for (const peer of [...this.peers]) this.fill(peer)
  }

  /** The same, with one peer last. */
  fillOthersFirst(last: Peer): void {
    for (const peer of [...this.peers]) if (peer !== last) this.fill(peer)
    this.fill(last)
  }

  /** The same, once, when all messages at hand have been worked on. */
  fillSoon(): void {
    if (this.fillingSoon) return
    this.fillingSoon = true
    queueMicrotask(() => {
      this.fillingSoon = false
      this.fillAll()
    })
  }

  /** Sends the requests that are due, to one peer. */
  fill(peer: Peer): void {
    if (this.filling || !peer.mayAsk || peer.downloader.isBusy) return
    this.filling = true
    try {
      this.fillWishes(peer)
      this.fillDownloads(peer)
      const following = this.mayFollow(peer)
      if (following !== peer.following) peer.follow(following)
    } finally {
      this.filling = false
    }
  }

  /**
   * Whether a peer had better send new blocks at once than announce them and be asked: it saves a round trip where it is the only
   * one that could be asked, so that no block comes twice.
   */
  private mayFollow(peer: Peer): boolean {
    const { source } = this
    if (!peer.authenticated || this.peers.length > 1 || !peer.live || peer.downloader.misled) return false
    // Who has much to ask for needs no news; but who follows already goes on.
    if (!peer.following && peer.inflightRequests.length > 0) return false
    const { content } = source
    if (!content.live || source.writable || peer.downloadLimits.some((limit) => limit.limits)) return false
    if (!peer.following && (content.length === 0 || content.length < peer.remoteLength)) return false
    return this.isWantedLater(content.length)
  }

  /** Whether a download wants a block that need not exist yet. */
  private isWantedLater(index: number): boolean {
    for (const { blocks, hash, start, end } of this.source.downloads()) {
      if (blocks === null && !hash && end === -1 && start <= index) return true
    }
    return false
  }

  /** Whether a block may come from a peer that was not asked for it. */
  isExpected(peer: Peer, index: number): boolean {
    const { content, cleared } = this.source
    const isNews = !content.bits.get(index) && cleared?.has(index) !== true
    return peer.following && isNews && this.isWantedLater(index)
  }

  private fillWishes(peer: Peer): void {
    const limit = peer.downloader.window + URGENT_REQUESTS
    peer.downloader.wished.sift(
      () => peer.downloader.isFull(limit),
      (index) => {
        if (this.reserved.has(index) || !this.source.isWished(index) || !peer.remoteBitfield.get(index)) {
          return true
        }
        if (this.lateness.hasBetter(peer, index) || this.lateness.isAskedAlready(peer, index)) return false
        this.reserved.take(index)
        peer.downloader.request(index, 0, false)
        return true
      }
    )
    for (const wish of this.source.otherWishes()) {
      if (peer.downloader.isFull(limit)) return
      if (wish.kind === 'update') this.fillUpdate(peer, wish)
      else if (wish.kind === 'seek') this.fillSeek(peer, wish)
    }
  }

  private fillUpdate(peer: Peer, wish: Extract<Wish, { kind: 'update' }>): void {
    if (this.isAsked(peer, (request) => isFor(wish, request))) return
    const index = peer.remoteBitfield.next(wish.length - 1, peer.remoteLength)
    if (index !== -1 && this.reserved.take(index)) peer.downloader.request(index, 0, wish.hash)
  }

  private fillSeek(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): void {
    // In a moment it is known better what to ask for.
    if (wish.looking) return
    if (wish.pair !== undefined) {
      const { bits } = this.source.content
      if (bits.get(wish.pair) || bits.get(wish.pair + 1)) return
      if (this.lateness.hasBetterSeeker(peer, wish)) return
      const pair = this.pairOf(wish)
      if (this.isAsked(peer, (request) => !request.hash && pair.includes(request.index))) return
      const index = pair.find((block) => peer.remoteBitfield.get(block))
      if (index !== undefined && this.reserved.take(index)) peer.downloader.request(index, 0, false)
      return
    }
    if (this.wasInVain(peer, wish) || this.lateness.hasBetterSeeker(peer, wish)) return
    // Like the published peers, a seek names several blocks of its range; whichever answer comes tells the place.
    for (let room = this.roomForSeek(peer, wish.bytes); room > 0; room--) {
      const index = this.seekTarget(peer, wish)
      if (index === -1 || !this.reserved.take(index)) return
      // Never for the block itself: published peers answer with one that may be another, and unasked ones are dropped.
      peer.downloader.request(index, wish.bytes, true, this.questionFor(peer, wish))
    }
  }

  private questionFor(peer: Peer, { start, end }: Extract<Wish, { kind: 'seek' }>): SeekQuestion {
    return { start, end, length: this.source.content.length, remoteLength: peer.remoteLength }
  }

  /** Whether a peer was asked the same in a seek before, and its answer did not help. */
  private wasInVain(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): boolean {
    return peer.downloader.seeks.wasInVain(wish.bytes, this.questionFor(peer, wish))
  }

  private isSought(bytes: number): boolean {
    for (const wish of this.source.otherWishes())
      if (wish.kind === 'seek' && wish.bytes === bytes) return true
    return false
  }

  /**
   * The blocks of a seek's pair that may be asked for. Remotes tell the place also if it lies outside of the range, which byte streams
   * rely on: then the range says nothing about the pair.
   */
  private pairOf({ pair, start, end }: Extract<Wish, { kind: 'seek' }>): number[] {
    const both = [pair!, pair! + 1]
    const within = both.filter((index) => index >= start && (end === -1 || index < end))
    return within.length > 0 ? within : both
  }

  /** How many requests more may be sent to a peer for a seek; the more peers are late with theirs, the more for all others. */
  private roomForSeek(peer: Peer, bytes: number): number {
    let own = 0
    let waiting = 0
    let late = 0
    for (const other of this.peers) {
      const requests = other.inflightRequests.filter((request) => request.bytes === bytes)
      if (other === peer) own = requests.length
      else if (requests.some(({ overdue }) => overdue)) late++
      for (const { overdue } of requests) if (!overdue) waiting++
    }
    return Math.min(SEEK_REQUESTS - own, SEEK_REQUESTS * Math.max(1, late) - waiting)
  }

  /** A block of the seek's range that the peer has, and whose hash would be news. */
  private seekTarget(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>, evenReserved = false): number {
    const { tree } = this.source.content
    const end = wish.end === -1 ? peer.remoteLength : Math.min(wish.end, peer.remoteLength)
    let index = peer.remoteBitfield.next(wish.start, end)
    while (index !== -1 && ((!evenReserved && this.reserved.has(index)) || tree.get(2 * index))) {
      index = peer.remoteBitfield.next(index + 1, end)
    }
    return index
  }

  /** Whether such a request is out, to this peer, or to others that are not late with it: as many as there are late ones. */
  private isAsked(peer: Peer, which: (request: InflightRequest) => boolean): boolean {
    let waiting = 0
    let late = 0
    for (const other of this.peers) {
      const requests = other.inflightRequests.filter(which)
      if (requests.length === 0) continue
      if (other === peer) return true
      if (requests.some(({ overdue }) => overdue)) late++
      else waiting++
    }
    return waiting > 0 && waiting >= late
  }

  private fillDownloads(peer: Peer): void {
    const { window } = peer.downloader
    while (!peer.downloader.isFull(window)) {
      const before = peer.inflightRequests.length
      for (const wanted of this.source.downloads()) {
        for (let left = peer.authenticated ? ROW : 1; left > 0; left--) {
          if (peer.downloader.isFull(window)) return
          const index =
            wanted.blocks === null ? this.nextInRange(peer, wanted) : this.nextInList(peer, wanted)
          if (index === -1) break
          if (this.reserved.take(index)) peer.downloader.request(index, 0, wanted.hash)
        }
      }
      if (peer.inflightRequests.length === before) return
    }
  }

  private isOpenFor(peer: Peer, wanted: Wanted, index: number): boolean {
    if (this.reserved.has(index) || !peer.remoteBitfield.get(index)) return false
    if (this.lateness.isAskedAlready(peer, index)) return false
    if (!wanted.hash && this.source.cleared?.has(index)) return false
    return !wanted.hash || !this.source.content.tree.get(2 * index)
  }

  private nextInRange(peer: Peer, wanted: Wanted): number {
    const start = wanted.from
    let end = wanted.end === -1 ? peer.remoteLength : Math.min(wanted.end, peer.remoteLength)
    // Each answer that makes the feed longer brings the whole proof with a signature: not many of those at a time.
    if (peer.inflightRequests.length >= peer.maxRequests) end = Math.min(end, this.source.content.length)
    if (start >= end) return -1
    const cursor = peer.downloader.cursor(wanted)
    let from = start
    if (!wanted.linear) {
      if (cursor.left === 0 || cursor.next < start || cursor.next >= end) {
        cursor.next = start + Math.floor(this.random() * (end - start))
        cursor.left = peer.authenticated ? RUN : 1
      }
      from = cursor.next
      cursor.left--
    }
    let index = this.search(peer, wanted, from, end)
    if (index === -1 && from > start) index = this.search(peer, wanted, start, from)
    if (index === -1) cursor.left = 0
    else cursor.next = index + 1
    return index
  }

  private search(peer: Peer, wanted: Wanted, from: number, end: number): number {
    const cleared = wanted.hash ? null : this.source.cleared
    let index = peer.remoteBitfield.next(from, end)
    while (index !== -1 && !this.isOpenFor(peer, wanted, index)) {
      const after = cleared === null ? index + 1 : cleared.firstMissing(index + 1, end)
      index = after === -1 ? -1 : peer.remoteBitfield.next(after, end)
    }
    return index
  }

  private nextInList(peer: Peer, wanted: Wanted): number {
    const blocks = wanted.blocks!
    const cursor = peer.downloader.cursor(wanted)
    const start = wanted.from
    const first = Math.max(cursor.next, start)
    for (let i = 0; i < blocks.length - start; i++) {
      const at = start + ((first - start + i) % (blocks.length - start))
      if (!this.isOpenFor(peer, wanted, blocks[at]!)) continue
      cursor.next = at + 1
      return blocks[at]!
    }
    return -1
  }

  private isNeeded(request: InflightRequest): boolean {
    const { source } = this
    if (request.bytes === 0 && source.isWished(request.index)) return true
    for (const wish of source.otherWishes()) {
      if (wish.kind === 'seek' ? isFor(wish, request) : request.bytes === 0) return true
    }
    if (request.bytes > 0) return false
    for (const { blocks, start, end } of source.downloads()) {
      if (blocks !== null) {
        if (blocks.includes(request.index)) return true
      } else if (request.index >= start && (end === -1 || request.index < end)) return true
    }
    return false
  }
}

/** Refuses what the published packages refuse, and what cannot be meant. Errors: TypeError, RangeError. */
export function checkReplicateOptions({ extensions, maxRequests }: Record<string, unknown>): void {
  if (extensions) {
    throw argumentTypeError('Per peer extensions is not supported. Use feed.registerExtension instead')
  }
  if (maxRequests === undefined || maxRequests === null) return
  if (typeof maxRequests !== 'number') throw argumentTypeError('maxRequests should be a number')
  if (!(maxRequests >= 0)) throw argumentRangeError(`maxRequests should not be negative, got ${maxRequests}`)
}
