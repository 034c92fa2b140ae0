/**
 * The protocol stream (spec API §8.2): a duplex stream over which two sides replicate any number of feeds. What is
 * written to it came from the remote, what is read from it is for the remote.
 */
import { Duplex } from 'streamx'
import { discoveryKey, KEY_SIZE, type KeyPair, noiseKeyPair } from '../crypto/keys.ts'
import { DDATABASE, type Dialect, HYPERCORE } from '../dialect.ts'
import { argumentTypeError, argumentValueError, DDatabaseError, isArgumentError } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'
import { checkFunction } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { inspectSymbol, summary } from '../util/inspect.ts'
import type { Channel, ChannelHandlers } from './channel.ts'
import { ChannelTable } from './channel-table.ts'
import {
  type Extension,
  type ExtensionCarrier,
  type ExtensionHandlers,
  ExtensionRegistry,
  type RemoteExtensions
} from './extensions.ts'
import { Guard } from './guard.ts'
import { type ReplicationLimits, resolveLimits } from './limits.ts'
import { optionsCodec } from './messages.ts'
import { Outlet, type ReturningConsumer } from './outlet.ts'
import { checkRate, RateLimit } from './rate-limit.ts'
import {
  checkHandlers,
  checkMilliseconds,
  type ProtocolHandlers,
  type ProtocolStreamEvents
} from './stream-options.ts'
import { Timer } from './timer.ts'
import { Transport, type TransportHost } from './transport.ts'

const DEFAULT_TIMEOUT = 20000
const OPTIONS = 1

// What streamx keeps and has no accessor for.
interface ReadableInternals {
  buffered: number
  pipeTo: { remoteAddress?: string; _utp?: unknown } | null
}

/** The types of what is inherited from streamx. */
export interface ProtocolStream {
  /** The remote has ended its side; before that, bytes that came last. */
  end(bytes?: unknown): this
  /** The bytes for the remote, for `for await`. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined>
}

/** A connection to one remote. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: both describe the same stream
export class ProtocolStream extends Duplex<ProtocolStreamEvents> implements ExtensionCarrier<ProtocolStream> {
  /** Dialect of the streams of this class. */
  static readonly dialect: Dialect = DDATABASE

  /** Whether this side sends the first handshake message. */
  readonly initiator: boolean
  /** Options and hooks, as given. */
  handlers: ProtocolHandlers
  /** Whose discovery keys and capabilities are used. */
  readonly dialect: Dialect
  /** Whether there is a handshake. */
  readonly noise: boolean
  /** Whether there is a cipher. */
  readonly encrypted: boolean
  /** The bounds of this stream. */
  readonly limits: Readonly<ReplicationLimits>
  /** Whether the stream stays open without channels. */
  live: boolean
  /** Handshake, cipher and frames; `handshakeHash`, `capability(key)`, `remoteCapability(key)`. */
  readonly state: Transport
  /** All channels; for the channels' own use. @internal */
  readonly channelTable: ChannelTable
  /** Keeps the stream from ending while the application may still open feeds. */
  readonly prefinalize = new Guard()
  // Whether the guard is asked when the stream may end.
  private awaitsEnd = false
  /** Extensions of this side. */
  readonly extensions: ExtensionRegistry<ProtocolStream>
  /** Extensions of the remote. */
  readonly remoteExtensions: RemoteExtensions<ProtocolStream>
  /** Bytes received. */
  bytesReceived = 0
  /** What bounds the bytes a second that are sent to the remote. @internal */
  readonly uploadLimit = new RateLimit()
  /** What bounds the bytes a second that the remote is asked for. @internal */
  readonly downloadLimit = new RateLimit()
  /** The timeout, if there is one; `timeout.ms` is its duration. */
  timeout: Timer | null = null
  /** The keepalive timer, if there is one. */
  keepAlive: Timer | null = null

  /** The way out of the stream that is piped into this one, if it wants its chunks back. @internal */
  source: Outlet | null = null

  private declare readonly _readableState: ReadableInternals
  private readonly outlet = new Outlet(isReturningConsumer)
  private announcedExtensions = 0
  private mustBeAuthenticated = false
  private wasBackedUp = false
  private finalized = false

  /**
   * @param initiator - the two sides must differ
   * @param given - options and hooks
   * @throws TypeError without a boolean, for options that are no object, for a key pair that is not one, and for `requireAuthenticated` together with an option
   * that makes it impossible; RangeError for a wrong limit
   */
  constructor(initiator: boolean, given?: ProtocolHandlers | null) {
    if (typeof initiator !== 'boolean') {
      throw argumentTypeError('Must specify initiator boolean in replication stream')
    }
    const handlers = given ?? {}
    if (typeof handlers !== 'object') throw argumentTypeError('options should be an object')
    const limits = resolveLimits(handlers.limits)
    const uploadRate = checkRate(handlers.maxUploadRate, 'maxUploadRate')
    const downloadRate = checkRate(handlers.maxDownloadRate, 'maxDownloadRate')
    checkHandlers(handlers)
    super({ highWaterMark: limits.outputHighWater })
    this.initiator = initiator
    this.handlers = handlers
    this.dialect = handlers.dialect ?? new.target.dialect
    this.encrypted = handlers.encrypted !== false
    this.noise = this.encrypted || handlers.noise !== false
    this.live = !!handlers.live
    this.limits = limits
    this.uploadLimit.rate = uploadRate
    this.downloadLimit.rate = downloadRate
    this.channelTable = new ChannelTable(this)
    this.extensions = new ExtensionRegistry<ProtocolStream>(this)
    this.remoteExtensions = this.extensions.remote()
    this.state = new Transport(
      {
        initiator,
        encrypted: this.encrypted,
        authenticated: this.encrypted && handlers.authenticated !== false,
        noise: this.noise,
        keyPair: handlers.keyPair ?? null,
        dialect: this.dialect,
        limits,
        recorded: handlers.recorded
      },
      this.transportHost()
    )
    if (handlers.requireAuthenticated) this.requireAuthenticated()
    this.once('finish', () => this.finalize())
    // Who reads may keep what it reads.
    const emitter = this as unknown as { on(event: 'newListener', listener: (event: unknown) => void): void }
    emitter.on('newListener', (event) => {
      if (event === 'data' || event === 'readable') this.outlet.shown()
    })
    if (handlers.timeout !== false && handlers.timeout !== 0) {
      const timeout = handlers.timeout || DEFAULT_TIMEOUT
      this.setTimeout(timeout, () => this.destroy(new DDatabaseError('ETIMEDOUT')))
      this.setKeepAlive(Math.ceil(timeout / 2))
    }
  }

  /** Whether `value` is a protocol stream, of this or another copy or version of the protocol. */
  static isProtocolStream(value: unknown): value is ProtocolStream {
    const stream = value as Partial<ProtocolStream> | null | undefined
    return (
      !!stream && typeof stream.initiator === 'boolean' && typeof stream.pipe === 'function' && !!stream.state
    )
  }

  /** A new static key pair, or the one of a 32 byte seed. */
  static keyPair(seed?: Uint8Array | null): KeyPair {
    if (!isGiven(seed)) return noiseKeyPair()
    if (!isBytes(seed)) throw argumentTypeError('seed must be a Uint8Array')
    if (seed.byteLength !== KEY_SIZE) throw argumentValueError(`seed must have ${KEY_SIZE} bytes`)
    return noiseKeyPair(seed)
  }

  /** Static key of this side; null without noise, or until a `keyPair` function has answered. */
  get publicKey(): Uint8Array | null {
    return this.state.publicKey
  }

  /** Static key of the remote; null before the handshake is over and without noise. */
  get remotePublicKey(): Uint8Array | null {
    return this.state.remotePublicKey
  }

  /** Address of the socket this stream is piped into, or null. */
  get remoteAddress(): string | null {
    const { pipeTo } = this._readableState
    if (pipeTo === null || ProtocolStream.isProtocolStream(pipeTo)) return null
    return pipeTo.remoteAddress ?? null
  }

  /** `tcp`, `utp` or `unknown`: what this stream is piped into; null if into nothing. */
  get remoteType(): 'tcp' | 'utp' | 'unknown' | null {
    const { pipeTo } = this._readableState
    if (pipeTo === null) return null
    if (pipeTo._utp) return 'utp'
    return pipeTo.remoteAddress ? 'tcp' : 'unknown'
  }

  /**
   * Whether every byte after the handshake is authenticated, as it is between peers of this package. If not, somebody on the
   * way can change what is not signed, such as extension messages. False before the event `handshake`.
   */
  get authenticated(): boolean {
    return this.state.authenticated
  }

  /**
   * Whether an authenticated stream is over without the remote having said that this was all: the connection was cut, by
   * accident, by somebody on the way, or because the remote was destroyed. False for a stream that is not authenticated,
   * where nobody can tell.
   */
  get truncated(): boolean {
    return this.state.truncated
  }

  /**
   * Bytes a second that are sent to the remote: blocks of all feeds with their proofs. `Infinity`: no limit.
   * Errors: TypeError, RangeError for what is not above 0.
   */
  get maxUploadRate(): number {
    return this.uploadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxUploadRate(rate: number) {
    this.uploadLimit.rate = checkRate(rate, 'maxUploadRate')
  }

  /** The same for what the remote is asked for. */
  get maxDownloadRate(): number {
    return this.downloadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxDownloadRate(rate: number) {
    this.downloadLimit.rate = checkRate(rate, 'maxDownloadRate')
  }

  /** Number of feeds that either side has opened. */
  get channelCount(): number {
    return this.channelTable.size
  }

  /** The feeds that either side has opened. */
  get channels(): IterableIterator<Channel> {
    return this.channelTable.values()
  }

  /** Bytes sent, including those that have not left yet. */
  get bytesSent(): number {
    return this.state.bytesSent
  }

  /** Bytes that were sent and that the connection has not taken yet. */
  get queuedOutput(): number {
    return this._readableState.buffered + this.state.queued
  }

  /**
   * Whether the remote reads more slowly than we send (`limits.outputHighWater`). Who looks here and holds back is told
   * when there is room again: by the channel handler `ondrain` and the event `output-drain`.
   */
  get backedUp(): boolean {
    const backedUp = this.queuedOutput >= this.limits.outputHighWater
    if (backedUp) this.wasBackedUp = true
    return backedUp
  }

  /**
   * Opens the feed `key`: tells the remote its discovery key and proves that we know `key`. A feed that is open already is
   * returned as it is, with `handlers` in place of the old ones.
   *
   * If the remote opened the feed without knowing the key, or the stream is destroyed, the channel returned is closed and
   * its `onclose` is called in a microtask.
   *
   * @throws TypeError for a key that has not 32 bytes
   */
  open(key: Uint8Array, handlers?: ChannelHandlers): Channel {
    return this.channelTable.open(key, this.discoveryKeyOf(key), handlers)
  }

  /**
   * A feed is going to be opened here: nobody is asked about it (`discovery-key`) until the function that this answers is called.
   *
   * @internal
   */
  expect(discoveryKey: Uint8Array): () => void {
    return this.channelTable.expect(discoveryKey)
  }

  /**
   * Closes a feed that is open here; refuses one that is not.
   *
   * @throws TypeError for a discovery key that has not 32 bytes
   */
  close(discoveryKey: Uint8Array): void {
    if (!isBytes(discoveryKey) || discoveryKey.byteLength !== KEY_SIZE) {
      throw argumentTypeError('discoveryKey must have 32 bytes')
    }
    const channel = this.channelTable.get(discoveryKey)
    if (channel !== null && channel.localId > -1) channel.close()
    else this.channelTable.refuse(discoveryKey)
  }

  /** Whether this side has opened the feed `key`. */
  opened(key: Uint8Array): boolean {
    return this.channelTable.get(this.discoveryKeyOf(key))?.opened ?? false
  }

  /** Whether the remote has opened the feed `key`. */
  remoteOpened(key: Uint8Array): boolean {
    return this.channelTable.get(this.discoveryKeyOf(key))?.remoteOpened ?? false
  }

  /** Whether the remote has opened the feed `key` and proved that it knows the key. False without noise. */
  remoteVerified(key: Uint8Array): boolean {
    return this.channelTable.get(this.discoveryKeyOf(key))?.verifies(key) ?? false
  }

  /** Destroys the stream with `ERR_NOT_AUTHENTICATED` unless it is {@link authenticated}, now or at the end of the handshake. */
  requireAuthenticated(): void {
    this.mustBeAuthenticated = true
    if (!this.state.handshaking) this.checkRequirement()
  }

  /** Ends the sending side; what was sent before still leaves. The stream is over when the remote ends its side, too. */
  finalize(): void {
    if (this.finalized || this.destroying) return
    this.state.end()
    this.finalized = true
    this.push(null)
  }

  /** Sends a keepalive; not during the handshake. False if the output is backed up. */
  ping(): boolean {
    return this.state.ping()
  }

  /** Emits `timeout` after `ms` milliseconds without input, and then calls `ontimeout`. 0: never. @throws TypeError */
  setTimeout(ms: number | false | null, ontimeout?: (() => void) | null): void {
    checkMilliseconds(ms, 'ms')
    checkFunction(ontimeout, 'ontimeout')
    if (this.timeout !== null) this.timeout.destroy()
    this.timeout = ms && !this.destroying ? new Timer(ms, () => this.emit('timeout')) : null
    if (ms && ontimeout) this.once('timeout', ontimeout)
  }

  /** Sends a keepalive whenever nothing was sent for `ms` milliseconds. 0: never. @throws TypeError */
  setKeepAlive(ms: number | false | null): void {
    checkMilliseconds(ms, 'ms')
    if (this.keepAlive !== null) this.keepAlive.destroy()
    this.keepAlive = null
    if (!ms || this.destroying) return
    this.keepAlive = new Timer(ms, () => {
      this.setKeepAlive(ms)
      this.ping()
    })
  }

  /**
   * Registers an extension on the stream itself; its messages belong to no feed.
   *
   * @throws TypeError for a name that is taken
   */
  registerExtension<Message = unknown>(
    name: string,
    handlers?:
      | ExtensionHandlers<Message, ProtocolStream>
      | ((
          extension: Extension<Message, ProtocolStream>
        ) => ExtensionHandlers<Message, ProtocolStream> | undefined)
  ): Extension<Message, ProtocolStream> {
    return this.extensions.add(name, handlers)
  }

  /** For the extensions' own use: announces the list if it has changed, and sends. */
  sendExtension(id: number, message: Uint8Array): boolean {
    if (this.announcedExtensions !== this.extensions.changes) {
      this.announcedExtensions = this.extensions.changes
      this.state.send(0, OPTIONS, optionsCodec, { extensions: this.extensions.names() })
    }
    return this.state.extension(0, id, message)
  }

  /** For the extensions' own use. @internal */
  remoteSupportsExtension(name: string): boolean {
    return this.remoteExtensions.has(name)
  }

  /** For the channels' own use: the remote announced its stream level extensions. @internal */
  onextensions(names: string[]): void {
    this.remoteExtensions.update(names)
    if (this.handlers.onextensions) this.handlers.onextensions(names)
    this.emit('extensions', names)
  }

  /** For the channels' own use: a channel was closed; without any left a stream that is not live ends. @internal */
  channelClosed(): void {
    this.emit('prefinalize')
    // The guard may be held for as long as the stream lives: nothing is left with it for each channel.
    if (this.awaitsEnd) return
    this.awaitsEnd = true
    this.prefinalize.ready(() => {
      this.awaitsEnd = false
      if (!this.destroying && this.channelCount === 0 && !this.live) this.finalize()
    })
  }

  /** For the channels' own use: runs `fn`; an exception destroys the stream. @internal */
  guarded(fn: () => void): void {
    if (this.destroying) return
    try {
      fn()
    } catch (cause) {
      this.destroy(DDatabaseError.is(cause) ? cause : new DDatabaseError('ERR_STREAM_HANDLER', { cause }))
    }
  }

  /** Short summary for `util.inspect`. */
  [inspectSymbol](_depth: number, options: object): string {
    const { publicKey, remotePublicKey, remoteAddress, remoteType, live, initiator, channelCount } = this
    const { destroyed, bytesSent, bytesReceived } = this
    const ends = { publicKey, remotePublicKey, remoteAddress, remoteType }
    const prefinalized = !this.prefinalize.waiting
    const state = { live, initiator, channelCount, destroyed, prefinalized, bytesSent, bytesReceived }
    return summary(`${this.dialect.inspectName}ProtocolStream`, { ...ends, ...state }, options)
  }

  /** The next bytes for the remote if there are any, else null. */
  override read(): Uint8Array | null {
    this.outlet.shown()
    return super.read() as Uint8Array | null
  }

  /** @internal */
  override _open(callback: (error: Error | null) => void): void {
    this.guarded(() => this.state.start())
    callback(null)
  }

  /** @internal */
  override _write(chunk: unknown, callback: (error: Error | null) => void): void {
    try {
      if (!isBytes(chunk)) throw argumentTypeError('A protocol stream takes Uint8Arrays')
      if (this.timeout !== null) this.timeout.refresh()
      this.bytesReceived += chunk.length
      const { source } = this
      this.state.recv(chunk, () => {
        source?.taken(chunk)
        callback(null)
      })
    } catch (cause) {
      // Only what the application has piped into it can do that: a proxy, or an array whose memory was taken away.
      callback(isArgumentError(cause) ? cause : new DDatabaseError('ERR_STREAM_HANDLER', { cause }))
    }
  }

  /** @internal */
  override _final(callback: (error: Error | null) => void): void {
    callback(this.state.endInput())
  }

  // streamx calls this when there is room in the queue again.
  /** @internal */
  override _read(callback: (error: Error | null) => void): void {
    callback(null)
    if (!this.wasBackedUp || this.backedUp) return
    this.wasBackedUp = false
    this.guarded(() => {
      this.channelTable.drain()
      this.emit('output-drain')
    })
  }

  /** @internal */
  override _predestroy(): void {
    this.setTimeout(0)
    this.setKeepAlive(0)
    this.state.destroy()
  }

  /** @internal */
  override _destroy(callback: (error: Error | null) => void): void {
    // Here too, because a stream that ends by itself is never "predestroyed".
    this._predestroy()
    this.prefinalize.destroy()
    this.channelTable.destroy()
    callback(null)
  }

  private checkRequirement(): boolean {
    const met = this.authenticated || !this.mustBeAuthenticated
    if (!met) this.destroy(new DDatabaseError('ERR_NOT_AUTHENTICATED'))
    return met
  }

  private discoveryKeyOf(key: Uint8Array): Uint8Array {
    if (!isBytes(key) || key.byteLength !== KEY_SIZE) {
      throw argumentTypeError('key must have 32 bytes')
    }
    return discoveryKey(key, this.dialect)
  }

  private transportHost(): TransportHost {
    return {
      sink: this.channelTable,
      borrow: (size) => {
        const { pipeTo, buffered } = this._readableState
        if (this.push !== push) this.outlet.shown()
        return this.outlet.borrow(size, pipeTo, buffered)
      },
      push: (bytes, loan) => {
        if (this.destroying || this.finalized) return
        if (this.keepAlive !== null) this.keepAlive.refresh()
        if (loan !== null) this.outlet.left(loan)
        this.push(bytes)
        if (this._readableState.buffered > this.limits.queuedOutput) {
          this.destroy(new DDatabaseError('ERR_OUTPUT_LIMIT'))
        }
      },
      accepting: () => !this.backedUp,
      authenticate: (remotePublicKey, done) => {
        const { handlers } = this
        if (!handlers.onauthenticate) {
          done()
          return
        }
        // An async hook gives a promise. Its failure refuses the remote, as an exception does.
        const answer: unknown = handlers.onauthenticate(remotePublicKey, done)
        // It may be a promise of another realm.
        Promise.resolve(answer).catch((error) => done(error ?? new Error('refused')))
      },
      onhandshake: () => {
        if (!this.checkRequirement()) return
        if (this.handlers.onhandshake) this.handlers.onhandshake()
        this.emit('handshake')
      },
      onend: () => this.finalize(),
      onfail: (error) => this.destroy(error)
    }
  }
}

// As they were when this was loaded.
const { _write, push, write } = ProtocolStream.prototype

/** Whether it is a stream of this module as it is, without methods of the application's that could keep a chunk. */
function isReturningConsumer(consumer: unknown): consumer is ReturningConsumer {
  return consumer instanceof ProtocolStream && consumer.write === write && consumer._write === _write
}

/** A stream that speaks the dialect of hypercore 9. */
export class HypercoreProtocolStream extends ProtocolStream {
  static override readonly dialect: Dialect = HYPERCORE
}
