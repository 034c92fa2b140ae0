import { argumentRangeError, argumentTypeError } from '../errors.ts'
import { checkFunction } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { DownloadRequests } from './download-requests.ts'
import { Endings } from './endings.ts'
import { foreignHandlers, isForeign } from './foreign-stream.ts'
import { Lateness } from './lateness.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { Peer, type PeerOptions } from './peer.ts'
import { type InflightRequest, isFor, Reservations, URGENT_REQUESTS } from './requests.ts'
import { SeekRequests } from './seek-requests.ts'
import type { ReplicationSource, Wanted, Wish } from './source.ts'
import type { ProtocolStream } from './stream.ts'

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
  /** What is asked for downloads. */
  readonly downloads = new DownloadRequests(this)
  /** What is asked for seeks. */
  readonly seeks = new SeekRequests(this)
  /** Who may go. */
  readonly endings = new Endings(this)
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
      // The remote opened the feed with a wrong capability, so it was refused; or a listener has closed it at once.
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
    this.endings.look(!peer.live)
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
        return this.seeks.canHelp(peer, wish)
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

  /** Whether a peer says it has what is wished for, or a block that would do. */
  hasFor(peer: Peer, wish: Wish): boolean {
    if (wish.kind === 'block') return peer.remoteBitfield.get(wish.index)
    if (wish.kind === 'update') return peer.remoteBitfield.next(wish.length - 1, peer.remoteLength) !== -1
    return this.seeks.hasFor(peer, wish)
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
    this.endings.look()
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
        downloader.seeks.keep((bytes) => this.seeks.isWished(bytes))
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
      this.downloads.fill(peer)
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
      else if (wish.kind === 'seek') this.seeks.fill(peer, wish)
    }
  }

  private fillUpdate(peer: Peer, wish: Extract<Wish, { kind: 'update' }>): void {
    if (this.isAsked(peer, (request) => isFor(wish, request))) return
    const index = peer.remoteBitfield.next(wish.length - 1, peer.remoteLength)
    if (index === -1 || !this.reserved.take(index)) return
    // One answer is for all: if somebody wants the block as well, it is asked for at once.
    let hash = wish.hash
    for (const other of this.source.otherWishes()) {
      if (other.kind === 'update' && !other.hash && other.length - 1 <= index) hash = false
    }
    peer.downloader.request(index, 0, hash)
  }

  /** Whether such a request is out, to this peer, or to others that are not late with it: as many as there are late ones. */
  isAsked(peer: Peer, which: (request: InflightRequest) => boolean): boolean {
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
export function checkReplicateOptions(options: Record<string, unknown>): void {
  const { extensions, maxRequests } = options
  if (extensions) {
    throw argumentTypeError('Per peer extensions is not supported. Use feed.registerExtension instead')
  }
  checkFunction(options.onfeedauthenticate, 'onfeedauthenticate')
  checkFunction(options.random, 'random')
  if (!isGiven(maxRequests)) return
  if (typeof maxRequests !== 'number') throw argumentTypeError('maxRequests should be a number')
  if (!(maxRequests >= 0)) throw argumentRangeError(`maxRequests should not be negative, got ${maxRequests}`)
}
