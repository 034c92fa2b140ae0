import { argumentTypeError } from '../errors.ts'
import { foreignHandlers, isForeign } from './foreign-stream.ts'
import { Peer, type PeerOptions } from './peer.ts'
import { type InflightRequest, Reservations, URGENT_REQUESTS } from './requests.ts'
import type { ReplicationSource, Wanted, Wish } from './source.ts'
import type { ProtocolStream } from './stream.ts'

// Requests for one seek that may be out at a time.
const SEEK_REQUESTS = 4

/**
 * The peers of one feed, and who is asked for what (spec WIRE §11.4). A block is reserved while it is asked for, so
 * that two peers are never asked for the same one. All is bookkeeping: no timers, no input or output of its own.
 */
export class Replicator {
  readonly source: ReplicationSource
  /** Attached peers. */
  readonly peers: Peer[] = []
  /** Blocks asked for. */
  readonly reserved = new Reservations()
  /** Source of the places where downloads start; fixed in tests that repeat a recorded session. */
  random: () => number = Math.random

  // Blocks that calls wait for and nobody was asked for yet.
  private readonly unasked = new Set<number>()
  private filling = false

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
    if (stream.destroyed || stream.opened(key)) return null
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
    this.source.emit('peer-add', peer)
    if (foreign && peer.stream.remoteOpened) peer.onopen()
    return peer
  }

  /** A peer has left: what it was asked for may be asked of others. */
  detach(peer: Peer): void {
    const at = this.peers.indexOf(peer)
    if (at === -1) return
    this.peers.splice(at, 1)
    for (const request of peer.inflightRequests.splice(0)) this.release(request)
    this.source.emit('peer-remove', peer)
    this.endDownloads()
    this.fillAll()
  }

  /** Leaves all streams. */
  close(): void {
    for (const peer of [...this.peers]) peer.close()
  }

  /** The largest length that a peer claims. */
  get remoteLength(): number {
    let length = 0
    for (const peer of this.peers) length = Math.max(length, peer.remoteLength)
    return length
  }

  /** Whether some peer has what is wished for. */
  canHelp(wish: Wish): boolean {
    if (wish.kind === 'update') {
      return this.source.content.length >= wish.length || this.remoteLength >= wish.length
    }
    if (wish.kind === 'block') return this.peers.some((peer) => peer.remoteBitfield.get(wish.index))
    return this.peers.some((peer) => this.seekTarget(peer, wish) !== -1)
  }

  // ---- news ----

  /** A call waits for something new. */
  wished(wish: Wish): void {
    if (wish.kind === 'block') {
      if (this.reserved.has(wish.index)) return
      this.unasked.add(wish.index)
    }
    for (const peer of [...this.peers]) {
      peer.wantWish(wish)
      this.fill(peer)
    }
  }

  /** A download was added. */
  downloadAdded(wanted: Wanted): void {
    for (const peer of [...this.peers]) peer.wantDownload(wanted)
    this.endDownloads()
    this.fillAll()
  }

  /** Calls or downloads were cancelled: requests that nobody needs any more are taken back. */
  cancelled(): void {
    for (const index of this.unasked) if (!this.source.isWished(index)) this.unasked.delete(index)
    for (const peer of [...this.peers]) peer.cancelRequests((request) => !this.isNeeded(request))
    this.fillAll()
  }

  /** Blocks `start` … `start + length` − 1 are here; `from` is where they came from. */
  announce(start: number, length: number, from: unknown): void {
    const message = length === 1 ? { start } : { start, length }
    for (const peer of [...this.peers]) if (peer !== from) peer.have(message)
    if (this.unasked.size > 0) for (let i = start; i < start + length; i++) this.unasked.delete(i)
  }

  /** Blocks are gone. */
  unannounce(start: number, length: number): void {
    for (const peer of [...this.peers]) peer.unhave({ start, length })
    this.fillAll()
  }

  /** A seek found its place. */
  foundBytes(bytes: number): void {
    for (const peer of [...this.peers]) peer.foundBytes(bytes)
  }

  /** The extensions of this side have changed. */
  sendOptions(): void {
    for (const peer of this.peers) if (peer.remoteOpened) peer.sendOptions(true)
  }

  /**
   * Not live and not sparse: when it is known how long the feed is, open-ended downloads get an end (spec WIRE §14),
   * and a peer that nothing more is wanted from is told so.
   */
  endDownloads(): void {
    const { source } = this
    if (source.sparse || !this.peers.some((peer) => !peer.live)) return
    const length = Math.max(source.content.length || -1, this.remoteLength || -1)
    if (this.peers.some((peer) => peer.remoteOpened && !peer.live)) {
      source.endDownloads(length === -1 ? 0 : length)
    }
    if (source.checkDownloads()) return
    for (const peer of [...this.peers]) {
      if (!peer.live && peer.downloading && peer.remoteUploading && peer.remoteOpened) peer.end()
    }
  }

  // ---- requests ----

  /** Digest of what is known around a block, for a request to `peer`. */
  digest(_peer: Peer, index: number): number {
    return this.source.content.tree.digest(2 * index)
  }

  /** Ends a reservation; a block that is still waited for can be asked for again. */
  release(request: InflightRequest): void {
    this.reserved.release(request.index)
    if (this.source.isWished(request.index) && !this.source.content.bits.get(request.index)) {
      this.unasked.add(request.index)
    }
  }

  /** Sends the requests that are due, to all peers. */
  fillAll(): void {
    for (const peer of [...this.peers]) this.fill(peer)
  }

  /** Sends the requests that are due, to one peer. */
  fill(peer: Peer): void {
    if (this.filling || !peer.downloading || !peer.remoteUploading || peer.closed) return
    this.filling = true
    try {
      this.fillWishes(peer)
      this.fillDownloads(peer)
    } finally {
      this.filling = false
    }
  }

  private fillWishes(peer: Peer): void {
    const limit = peer.maxRequests + URGENT_REQUESTS
    for (const index of this.unasked) {
      if (peer.inflightRequests.length >= limit) return
      if (!peer.remoteBitfield.get(index) || !this.reserved.take(index)) continue
      this.unasked.delete(index)
      peer.request(index, 0, false)
    }
    for (const wish of this.source.otherWishes()) {
      if (peer.inflightRequests.length >= limit) return
      if (wish.kind === 'update') this.fillUpdate(peer, wish)
      else if (wish.kind === 'seek') this.fillSeek(peer, wish)
    }
  }

  private fillUpdate(peer: Peer, wish: Extract<Wish, { kind: 'update' }>): void {
    if (this.isAsked((request) => request.bytes === 0 && request.index >= wish.length - 1)) return
    const index = peer.remoteBitfield.next(wish.length - 1, peer.remoteLength)
    if (index !== -1 && this.reserved.take(index)) peer.request(index, 0, wish.hash)
  }

  private fillSeek(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): void {
    // Like the published peers, a seek names several blocks of its range; whichever answer comes tells the place.
    for (let asked = this.asked(wish.bytes); asked < SEEK_REQUESTS; asked++) {
      const index = this.seekTarget(peer, wish)
      if (index === -1 || !this.reserved.take(index)) return
      peer.request(index, wish.bytes, wish.hash)
    }
  }

  private asked(bytes: number): number {
    let count = 0
    for (const { inflightRequests } of this.peers) {
      for (const request of inflightRequests) if (request.bytes === bytes) count++
    }
    return count
  }

  /** A block of the seek's range that the peer has, and whose hash would be news. */
  private seekTarget(peer: Peer, wish: Extract<Wish, { kind: 'seek' }>): number {
    const { tree } = this.source.content
    const end = wish.end === -1 ? peer.remoteLength : Math.min(wish.end, peer.remoteLength)
    let index = peer.remoteBitfield.next(wish.start, end)
    while (index !== -1 && (this.reserved.has(index) || (wish.hash && tree.get(2 * index)))) {
      index = peer.remoteBitfield.next(index + 1, end)
    }
    return index
  }

  private isAsked(which: (request: InflightRequest) => boolean): boolean {
    return this.peers.some((peer) => peer.inflightRequests.some(which))
  }

  private fillDownloads(peer: Peer): void {
    while (peer.inflightRequests.length < peer.maxRequests) {
      const before = peer.inflightRequests.length
      for (const wanted of this.source.downloads()) {
        if (peer.inflightRequests.length >= peer.maxRequests) return
        const index = wanted.blocks === null ? this.nextInRange(peer, wanted) : this.nextInList(peer, wanted)
        if (index !== -1 && this.reserved.take(index)) peer.request(index, 0, wanted.hash)
      }
      if (peer.inflightRequests.length === before) return
    }
  }

  private isOpenFor(peer: Peer, wanted: Wanted, index: number): boolean {
    if (this.reserved.has(index) || !peer.remoteBitfield.get(index)) return false
    return !wanted.hash || !this.source.content.tree.get(2 * index)
  }

  private nextInRange(peer: Peer, wanted: Wanted): number {
    const start = wanted.from
    const end = wanted.end === -1 ? peer.remoteLength : Math.min(wanted.end, peer.remoteLength)
    if (start >= end) return -1
    const cursor = peer.cursor(wanted)
    let from = start
    if (!wanted.linear) {
      if (cursor.left === 0 || cursor.next < start || cursor.next >= end) {
        cursor.next = start + Math.floor(this.random() * (end - start))
        cursor.left = Peer.run
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
    let index = peer.remoteBitfield.next(from, end)
    while (index !== -1 && !this.isOpenFor(peer, wanted, index))
      index = peer.remoteBitfield.next(index + 1, end)
    return index
  }

  private nextInList(peer: Peer, wanted: Wanted): number {
    const blocks = wanted.blocks!
    const cursor = peer.cursor(wanted)
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
      if (wish.kind === 'seek' ? wish.bytes === request.bytes : request.bytes === 0) return true
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

/** Refuses what the published packages refuse. Errors: TypeError. */
export function checkReplicateOptions(options: { extensions?: unknown }): void {
  if (options.extensions) {
    throw argumentTypeError('Per peer extensions is not supported. Use feed.registerExtension instead')
  }
}
