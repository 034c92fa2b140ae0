import type { Proof } from '../merkle/verify.ts'
import { inspectSymbol, summary } from '../util/inspect.ts'
import type { Channel, ChannelHandlers } from './channel.ts'
import { claimBitfield, claimRange } from './claims.ts'
import { Downloader } from './downloader.ts'
import { PeerEnding } from './endings.ts'
import type { RemoteExtensions } from './extensions.ts'
import { limitsOf } from './foreign-stream.ts'
import { HeadCheck } from './head-check.ts'
import { DEFAULT_LIMITS, type ReplicationLimits } from './limits.ts'
import type { Loan } from './loans.ts'
import type {
  CancelMessage,
  DataMessage,
  HaveMessage,
  OptionsMessage,
  RangeMessage,
  RequestMessage,
  StatusMessage
} from './messages.ts'
import type { RateLimit } from './rate-limit.ts'
import { RemoteBlocks } from './remote-blocks.ts'
import type { Replicator } from './replicator.ts'
import { type InflightRequest, URGENT_REQUESTS, USUAL_REQUESTS } from './requests.ts'
import type { ReplicationSource, TransferStats, Wanted, Wish } from './source.ts'
import type { ProtocolStream } from './stream.ts'
import { Timer } from './timer.ts'
import { Uploader } from './uploader.ts'
import { WantedWindows } from './wanted-windows.ts'
import { Wants, WINDOW } from './wants.ts'

/** Options of one feed on one stream (spec API §8.1). */
export interface PeerOptions {
  /** Stay attached when everything is exchanged. Default false. */
  live?: boolean | undefined
  /** Have the remote acknowledge each block: event `ack` of the stream. Default false. */
  ack?: boolean | undefined
  /** Fetch blocks from this peer. Default: what the feed does. */
  download?: boolean | undefined
  /** Send blocks to this peer. Default: what the feed does. */
  upload?: boolean | undefined
  /** Parallel requests to this peer. Default: the number of the feed. */
  maxRequests?: number | undefined
}

/**
 * One remote that has the feed open on one stream: what it has, what it was asked for, and what it gets from us
 * (spec WIRE §11). Which block is asked of whom is not decided here.
 */
export class Peer implements ChannelHandlers {
  /** The channel; `stream.stream` is the protocol stream. Set right after creation. */
  stream!: Channel
  /** Length that the remote is believed to have; it is what it says, nothing more. */
  remoteLength = 0
  /** `get(i)`: the remote has block i and we lack it. */
  readonly remoteBitfield: RemoteBlocks
  /** Whether the remote fetches blocks from this side. */
  remoteDownloading = true
  /** Whether the remote sends blocks to this side. */
  remoteUploading = true
  /** Whether the remote has opened the feed, too. */
  remoteOpened = false
  /** The remote wants acknowledgements. */
  remoteAck = false
  /** Extensions that the remote has announced. */
  readonly remoteExtensions: RemoteExtensions<Peer>
  /** Whether blocks are fetched from this peer; see {@link setDownloading}. */
  downloading: boolean
  /** Whether blocks are sent to this peer; see {@link setUploading}. */
  uploading: boolean
  /** This side wants acknowledgements. */
  readonly ack: boolean
  /** Whether it stays when everything is exchanged. */
  readonly live: boolean
  /** Whether the feed here is sparse. */
  readonly sparse: boolean
  /** Parallel requests to this peer. */
  readonly maxRequests: number
  /** Transfers with this peer, null if not counted. */
  readonly stats: TransferStats | null
  /** The feed, for {@link Replicator} and {@link Uploader}. @internal */
  readonly source: ReplicationSource
  /** The peer has left. */
  closed = false
  /** New blocks are sent by the remote without being asked for; see {@link Replicator.fill}. @internal */
  following = false
  /** It was asked to do that once: some may still be under way. @internal */
  hasFollowed = false
  /** The remote wants new blocks without asking for them. @internal */
  remoteFollowing = false

  private readonly replicator: Replicator
  private readonly wants: Wants
  private readonly uploader: Uploader
  /** What it was asked for. @internal */
  readonly downloader: Downloader
  /** Whether it has the same history. @internal */
  readonly check: HeadCheck
  /** Whether the application has chosen, for this peer alone, whether blocks are fetched from it. @internal */
  readonly downloadingChosen: boolean
  private readonly remoteWants = new WantedWindows(this)
  private answerTimer: Timer | null = null
  private heard = false
  private silent = false
  private readonly ending: PeerEnding

  /** Made by {@link Replicator.attach}. @internal */
  constructor(replicator: Replicator, options: PeerOptions) {
    const { source } = replicator
    this.replicator = replicator
    this.source = source
    this.remoteBitfield = new RemoteBlocks(
      () => source.content.pages,
      () => this.limits.remotePages
    )
    this.remoteExtensions = source.extensions.remote()
    this.live = !!options.live
    this.sparse = source.sparse
    this.ack = !!options.ack
    this.downloadingChosen = typeof options.download === 'boolean'
    this.downloading = typeof options.download === 'boolean' ? options.download : source.downloading
    this.uploading = typeof options.upload === 'boolean' ? options.upload : source.uploading
    const most = options.maxRequests || source.maxRequests || USUAL_REQUESTS
    // Remotes of this version take no more.
    this.maxRequests = Math.min(most, DEFAULT_LIMITS.queuedRequests - URGENT_REQUESTS)
    this.stats =
      source.stats === null
        ? null
        : { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 0, downloadedBytes: 0 }
    this.wants = new Wants((start) => {
      source.ifAvailable.wait()
      this.stream.want({ start, length: WINDOW })
    })
    this.uploader = new Uploader(this)
    this.downloader = new Downloader(this, replicator)
    this.check = new HeadCheck(this)
    this.ending = new PeerEnding(this, replicator.endings)
  }

  // ---- what the application sees ----

  /** The feed object. */
  get feed(): unknown {
    return this.source.owner
  }

  /** X25519 key of the remote; null without noise. */
  get remotePublicKey(): Uint8Array | null {
    return this.protocol.remotePublicKey
  }

  /** Same as {@link remotePublicKey}. */
  get publicKey(): Uint8Array | null {
    return this.remotePublicKey
  }

  /** Address of the remote, as the connection tells it; null if it does not. */
  get remoteAddress(): string | null {
    return this.protocol.remoteAddress
  }

  /** Kind of the connection; null before it is known. */
  get remoteType(): 'tcp' | 'utp' | 'unknown' | null {
    return this.protocol.remoteType
  }

  /** Requests without an answer, oldest first. */
  get inflightRequests(): readonly InflightRequest[] {
    return this.downloader.inflight
  }

  /** Has the remote tell once more what it has, as far as that is wanted. @internal */
  wantAgain(): void {
    this.wants.forget()
    this.sendWants()
  }

  /** Windows asked for and not answered. */
  get inflightWants(): number {
    return this.wants.unanswered
  }

  /** Bounds on what this peer may cost. */
  get limits(): Readonly<ReplicationLimits> {
    return limitsOf(this.protocol)
  }

  /** Whether the remote does not keep up with reading. @internal */
  get backedUp(): boolean {
    return this.protocol.backedUp === true
  }

  /** Whether the remote is of this version and speaks records, see docs/protocol.md. */
  get authenticated(): boolean {
    return this.protocol.authenticated === true
  }

  /** What bounds how many bytes a second it is sent: of the feed, and of a stream of this package. @internal */
  get uploadLimits(): readonly RateLimit[] {
    return [this.source.uploadLimit, this.protocol.uploadLimit].filter(isThere)
  }

  /** The same for what it is asked for. @internal */
  get downloadLimits(): readonly RateLimit[] {
    return [this.source.downloadLimit, this.protocol.downloadLimit].filter(isThere)
  }

  /** Whether blocks can be had from this peer, as far as both sides are willing. */
  get mayAsk(): boolean {
    return this.downloading && this.remoteUploading && !this.closed && !this.check.isRefused
  }

  /** Whether it may still say for the first time what it has. */
  get mayTell(): boolean {
    if (this.closed || !this.downloading || this.silent || this.check.isRefused) return false
    return !this.remoteOpened || (this.remoteUploading && !this.heard)
  }

  /** Whether it has said what it has, or is not counted on to do so. */
  get hasTold(): boolean {
    return this.heard || this.silent
  }

  /** The memory of the message that is being handed over; see `Transport`. @internal */
  claimMemory(): Loan | null {
    // Streams of other makes do not lend any.
    return this.protocol.state.claimMemory?.() ?? null
  }

  /** Whether something that it has sent waits for us. */
  get isWaiting(): boolean {
    return this.protocol.state.busy === true
  }

  /** Whether a message of its stream has come in part: what it was asked for may be on its way. */
  get isSending(): boolean {
    // Streams of other makes do not tell.
    return this.protocol.state.midMessage === true
  }

  private get protocol(): ProtocolStream {
    return this.stream.stream
  }

  /** Chooses whether blocks are fetched from this peer. */
  setDownloading(downloading: boolean): void {
    if (downloading === this.downloading) return
    this.downloading = downloading
    this.sendStatus()
    this.update()
    this.sendWants()
    if (!downloading) this.source.lessAvailable()
  }

  /** Chooses whether blocks are sent to this peer. */
  setUploading(uploading: boolean): void {
    if (uploading === this.uploading) return
    this.uploading = uploading
    this.sendStatus()
    this.update()
  }

  /**
   * Sends the message of an extension by its position.
   * @throws TypeError, RangeError for what is no such number, or no bytes that are still there; then nothing is sent
   */
  extension(id: number, message: Uint8Array): boolean {
    return this.stream.extension(id, message)
  }

  /** Tells of blocks that have just come; one to a remote that follows is sent at once. */
  news(message: { start: number; length?: number }): void {
    if (message.length === undefined && this.remoteFollowing && this.uploader.push(message.start)) return
    this.have(message)
  }

  /** Announces blocks, if the remote wants to know. */
  have(message: { start: number; length?: number; ack?: boolean }): void {
    if (this.remoteWants.any && !this.check.isRefused) this.stream.have(message)
  }

  /** Takes announced blocks back, if the remote wants to know. */
  unhave(message: { start: number; length?: number }): void {
    if (this.remoteWants.any) this.stream.unhave(message)
  }

  /** Has the remote send new blocks without being asked, or no longer. @internal */
  follow(following: boolean): void {
    this.following = following
    if (following) this.hasFollowed = true
    this.sendStatus()
  }

  /** Sends the requests that are due. */
  update(): void {
    this.replicator.fill(this)
  }

  /** This side needs nothing more (spec WIRE §14). */
  end(): void {
    this.ending.end()
  }

  /** Leaves the feed on this stream, which stays. */
  close(): void {
    if (!this.closed) this.stream?.close()
    this.leave()
  }

  /** Ends the connection. */
  destroy(error?: Error | null): void {
    if (this.closed || this.check.lingers(error)) return
    this.stream.destroy(error)
    this.leave()
  }

  // ---- what the remote says ----

  /** @internal */
  onopen(): void {
    const again = this.remoteOpened
    this.remoteOpened = true
    this.sendOptions()
    if (!this.uploading || !this.downloading) this.sendStatus()
    if (again) return
    if (!this.silent) this.source.ifAvailable.continue()
    this.silent = false
    this.sendWants()
    // Also who fetches nothing has to know whether the remote has the same history.
    const { window } = this.check
    if (window !== -1 && !this.downloading) {
      this.wants.block(window)
      // Who fetches from here on asks anew: nobody is told that the remote has got what we gave it.
      this.wants.forget()
    }
    this.expectAnswers()
    this.source.emit('peer-open', this)
  }

  /** @internal */
  onoptions(message: OptionsMessage): void {
    this.remoteAck = message.ack
    this.remoteExtensions.update(message.extensions)
  }

  /** @internal */
  onextension(id: number, message: Uint8Array): void {
    this.remoteExtensions.onmessage(id, message, this)
  }

  /** @internal */
  onstatus(message: StatusMessage): void {
    const leaves = this.ending.says(message)
    this.remoteUploading = message.uploading
    this.remoteDownloading = message.downloading
    this.remoteFollowing = message.following === true
    if (!message.uploading) {
      this.downloader.drop()
      this.check.stop()
      this.replicator.fillSoon()
      this.windowsAnswered(this.wants.reset())
      this.source.lessAvailable()
      if (this.remoteLength > this.source.content.length) this.replicator.endings.look()
    }
    this.update()
    if (!leaves) this.sendWants()
    // What nobody here has may not come any more.
    if (!message.downloading) this.replicator.endings.look()
    this.ending.withRemote()
  }

  /** @internal */
  onwant(message: RangeMessage): void {
    if (this.uploading) this.remoteWants.want(message)
  }

  onhave(message: HaveMessage): void {
    const { start, length, bitfield } = message
    const { source } = this
    source.emit('peer-ack', this, message)
    if (this.ack && message.ack && bitfield === null && source.content.bits.get(start)) {
      this.protocol.emit('ack', message)
      return
    }
    const before = this.remoteLength
    const first = !this.heard
    this.heard = true
    this.silent = false
    const answer = length === WINDOW && this.wants.answered()
    if (answer) source.ifAvailable.continue()
    // An answer speaks of the window that was asked for, or of everything (old peers).
    if (bitfield !== null && length <= 1) this.windowsAnswered(this.wants.subscribed())
    if (bitfield !== null) claimBitfield(this, start, bitfield)
    else claimRange(this, start, length || 1)

    if (first || this.remoteLength > before) source.emit('remote-update', this)
    if (this.closed) return
    // Before anything else is asked.
    this.check.heard()
    // A range is asked for one window after the other.
    if (this.remoteLength > before || answer) this.sendWants()
    this.expectAnswers()
    this.replicator.endings.look()
    this.update()
  }

  /**
   * Whether this side sends what the published packages send, and takes what they take: to repeat a recorded session, or because there
   * is not even a handshake. @internal
   */
  get asPublished(): boolean {
    const { noise, handlers } = this.stream.stream
    return !noise || handlers?.authenticated === false || handlers?.recorded !== undefined
  }

  /** A block came that was not asked for, and that the remote therefore has. @internal */
  showed(index: number): void {
    const before = this.remoteLength
    claimRange(this, index, 1)
    if (this.remoteLength > before) this.source.emit('remote-update', this)
    this.check.heard()
  }

  /** @internal */
  onunhave(message: RangeMessage): void {
    const { start } = message
    const length = message.length || 1
    if (start === 0 && length >= this.remoteLength) {
      this.remoteLength = 0
      this.remoteBitfield.clear()
      this.check.emptied()
      this.lacked(start, length)
    } else this.lacks(start, start + length)
  }

  /** Blocks `start` … `end` − 1 are not to be had from the remote. @internal */
  lacks(start: number, end: number): void {
    this.remoteBitfield.setRange(start, Math.min(end, this.limits.remoteLength), false)
    this.lacked(start, end - start)
  }

  private lacked(start: number, length: number): void {
    this.downloader.absent(start, start + length)
    this.check.absent(start, start + length)
    this.replicator.fillSoon()
    this.source.lessAvailable()
    // It may have claimed what it cannot show any more, or have been the last one that had it.
    this.replicator.endings.look()
  }

  /** @internal */
  onrequest(message: RequestMessage): void {
    if (this.uploading) this.uploader.request(message)
  }

  /** @internal */
  oncancel(message: CancelMessage): void {
    this.uploader.cancel(message.index, message.bytes, message.hash)
  }

  /** @internal */
  ondrain(): void {
    this.remoteWants.resume()
    this.uploader.resume()
  }

  /** @internal */
  ondata(message: DataMessage): void {
    if (this.check.isRefused || (message.value === null && this.check.take(message))) return
    this.downloader.data(message)
  }

  /** @internal */
  onclose(): void {
    this.leave()
  }

  // ---- what this side sends ----

  /** Sends a block, or only its hash, with its proof. @internal */
  sendBlock(index: number, value: Uint8Array | null, proof: Proof): void {
    if (value !== null) {
      for (const stats of [this.stats, this.source.stats]) {
        if (stats === null) continue
        stats.uploadedBlocks++
        stats.uploadedBytes += value.length
      }
      this.source.emit('upload', index, value, this)
    }
    if (index + 1 > this.remoteLength) {
      this.remoteLength = index + 1
      this.replicator.endings.look()
    }
    this.stream.data({ index, value, nodes: proof.nodes, signature: proof.signature })
  }

  /** Tells which extensions there are, and whether acknowledgements are wanted. @internal */
  sendOptions(everBefore = false): void {
    const extensions = this.source.extensions.names()
    if (!this.ack && extensions.length === 0 && !everBefore) return
    this.stream.options({ extensions, ack: this.ack })
  }

  /** Asks for the windows of one wish. @internal */
  wantWish(wish: Wish): void {
    if (this.mayWant()) this.wants.wish(wish, this.remoteLength)
  }

  /** Asks for the windows of one download. @internal */
  wantDownload(wanted: Wanted): void {
    if (this.mayWant()) this.wants.download(wanted, this.remoteLength)
  }

  /** Asks for all windows that something is wished from, and for the first one. @internal */
  sendWants(): void {
    if (!this.mayWant()) return
    const { wants, source } = this
    wants.blocked = false
    for (const block of source.wishedBlocks()) {
      wants.block(block)
      if (wants.blocked) return
    }
    for (const wish of source.otherWishes()) wants.wish(wish, this.remoteLength)
    for (const wanted of source.downloads()) wants.download(wanted, this.remoteLength)
    wants.block(0)
  }

  /** Wants that need not be waited for any more before something counts as not available. */
  private windowsAnswered(count: number): void {
    for (let i = 0; i < count; i++) this.source.ifAvailable.continue()
  }

  private mayWant(): boolean {
    return this.downloading && this.remoteOpened && this.remoteUploading && !this.closed
  }

  /** Tells what this side is willing to do. @internal */
  sendStatus(): void {
    if (this.closed) return
    const { uploading, downloading, following } = this
    this.stream.status(following ? { uploading, downloading, following } : { uploading, downloading })
  }

  /**
   * What has to be said before something counts as not available (that the feed is open, what is in the windows asked for)
   * is waited for as long as for anything else on this stream, and no longer.
   */
  expectAnswers(): void {
    const waiting = !this.closed && !this.silent && (!this.remoteOpened || this.wants.unanswered > 0)
    if (!waiting) {
      this.answerTimer?.destroy()
      this.answerTimer = null
      return
    }
    const { timeout } = this.protocol
    if (this.answerTimer !== null) this.answerTimer.refresh()
    else if (timeout !== null) this.answerTimer = new Timer(timeout.ms, () => this.onsilence())
  }

  private onsilence(): void {
    this.answerTimer = null
    this.silent = true
    this.windowsAnswered(this.wants.giveUp())
    if (!this.remoteOpened) this.source.ifAvailable.continue()
    this.replicator.endings.look()
  }

  /** Whether nobody else could be asked for a block. @internal */
  isOnlyOneWith(index: number): boolean {
    return !this.replicator.peers.some(
      (peer) => peer !== this && peer.mayAsk && peer.remoteBitfield.has(index)
    )
  }

  /** It was found to have another history: what it was asked for is asked of others. @internal */
  stopDownloading(): void {
    this.downloader.drop()
    this.downloader.wished.clear()
    this.windowsAnswered(this.wants.reset())
    this.replicator.fillSoon()
    this.source.lessAvailable()
    this.replicator.endings.look()
  }

  /** Short summary for `util.inspect`, which would go on to the feed and its secret key otherwise. */
  [inspectSymbol](_depth: number, options: object): string {
    const { remotePublicKey, remoteLength, remoteOpened, remoteUploading, remoteDownloading } = this
    const { uploading, downloading, live, closed } = this
    const remote = { remotePublicKey, remoteLength, remoteOpened, remoteUploading, remoteDownloading }
    return summary('Peer', { ...remote, uploading, downloading, live, closed }, options)
  }

  private leave(): void {
    if (this.closed) return
    if (this.stream === undefined) {
      // Closed while it was being opened, by a listener of `duplex-channel`: nobody waits for it yet.
      this.closed = true
      return
    }
    if (!this.remoteOpened && !this.silent) this.source.ifAvailable.continue()
    this.closed = true
    this.uploader.stop()
    this.downloader.drop()
    this.check.stop()
    this.remoteWants.clear()
    this.downloader.wished.clear()
    this.windowsAnswered(this.wants.reset())
    this.expectAnswers()
    this.replicator.detach(this)
  }
}

/** Streams of other makes have no limits. */
function isThere(limit: RateLimit | undefined): limit is RateLimit {
  return limit !== undefined
}
