// For `Symbol.asyncDispose`, also in projects whose own libraries do not have it yet.
/// <reference lib="esnext.disposable" preserve="true" />
import type { Bitfield } from '../bitfield/bitfield.ts'
import { discoveryKey, KEY_SIZE, type KeyPair, noiseKeyPair } from '../crypto/keys.ts'
import { DDATABASE, type Dialect } from '../dialect.ts'
import { argumentTypeError, argumentValueError, type Damage, DDatabaseError } from '../errors.ts'
import type { ForkProof } from '../merkle/fork.ts'
import type { TreeSet } from '../merkle/tree-set.ts'
import type { Claim } from '../merkle/verify.ts'
import type { ExtensionRegistry } from '../replication/extensions.ts'
import { Guard } from '../replication/guard.ts'
import type { Peer } from '../replication/peer.ts'
import { checkRate } from '../replication/rate-limit.ts'
import type { TransferStats } from '../replication/source.ts'
import { ProtocolStream } from '../replication/stream.ts'
import { LineFile } from '../storage/line-file.ts'
import { directoryStorage } from '../storage/named.ts'
import { type StorageFactory, toFactory } from '../storage/random-access.ts'
import { storageError } from '../storage/storage-error.ts'
import { isBytes } from '../util/bytes.ts'
import { ignore } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { inspectSymbol, summary } from '../util/inspect.ts'
import { Lifecycle } from '../util/lifecycle.ts'
import type { Appender } from './appender.ts'
import { Application } from './application.ts'
import type { CatchingUp } from './catching-up.ts'
import type { Core } from './core.ts'
import { type Codec, toCodec } from './encoding.ts'
import type { FeedEvents } from './events.ts'
import type { Finder, WaitOptions } from './finder.ts'
import type { Forks } from './forks.ts'
import type { Belief } from './growth.ts'
import { openFeed } from './open.ts'
import {
  type AvailabilityTimeouts,
  type CryptoHooks,
  DEFAULT_CRYPTO,
  type FeedOptions,
  type Key,
  type ParsedArguments,
  parseArguments,
  type Storage
} from './options.ts'
import type { PutOutcome } from './putting.ts'
import type { RawStorage } from './raw-storage.ts'
import type { Recovery } from './recovered.ts'
import type { FeedReplication } from './replication.ts'
import type { Selections } from './selections.ts'
import type { FeedFiles } from './stored-files.ts'
import { UNLINKED_NAME, Unlinked } from './unlinked.ts'
import type { Waiters } from './waiters.ts'

/**
 * What all parts of a feed share: its options, its state, its properties, and how it opens and closes.
 * The public methods are in the classes built on it: `WritingFeed`, `ReadingFeed` and `Feed`.
 *
 * In all of them what is not for users has a name that begins with an underscore, as in the published packages: programs in JavaScript
 * put properties of their own on feeds, and derive classes with methods of their own. (Private names of the language would break
 * those that wrap a feed with `Object.create` or a proxy.)
 */
export abstract class FeedState<T> extends Lifecycle<FeedEvents> {
  /** The strings that this class of feeds uses. */
  static readonly dialect: Dialect = DDATABASE
  /** The class of its replication streams. */
  static readonly Protocol: typeof ProtocolStream = ProtocolStream

  /** The discovery key of a public key: what peers find each other by without learning the key. */
  static discoveryKey(key: Uint8Array): Uint8Array {
    if (!isBytes(key)) throw argumentTypeError('key should be bytes')
    if (key.byteLength !== KEY_SIZE) throw argumentValueError(`key should have ${KEY_SIZE} bytes`)
    return discoveryKey(key, this.dialect)
  }

  /** Public key, 32 bytes; null before a static feed is finalized. Final once the feed is open. */
  key: Uint8Array | null
  /** Name under which peers find each other, 32 bytes. */
  discoveryKey: Uint8Array | null
  /** Ed25519 secret key, 64 bytes, if this feed can be appended to. */
  secretKey: Uint8Array | null
  /** Whether blocks are fetched only when asked for. */
  readonly sparse: boolean
  /** Parallel requests per peer; read when a peer connects. */
  maxRequests: number
  /** Whether blocks are fetched from peers. */
  downloading: boolean
  /** Whether blocks are sent to peers. */
  uploading: boolean
  /** Whether blocks that were not asked for are accepted. */
  allowPush: boolean
  /** Holds "not available" decisions back while somebody is still looking for peers. */
  readonly ifAvailable = new Guard()
  /** When "not available" decisions may be made; may be replaced at any time. */
  timeouts: AvailabilityTimeouts
  /** The Ed25519 functions in use. */
  readonly crypto: CryptoHooks
  /** Extensions of this feed. */
  abstract readonly extensions: ExtensionRegistry<Peer>
  /** Raw access to the files, for modules that reach into them. */
  abstract readonly _storage: RawStorage

  /** What was found and repaired when the feed was opened after a crash; null if there was nothing to repair. */
  recovery: Recovery | null = null

  protected readonly _args: ParsedArguments
  protected readonly _create: StorageFactory
  protected readonly _codec: Codec
  protected readonly _application: Application
  protected readonly _transfers: TransferStats | null
  protected _core: Core | null = null
  protected _files: FeedFiles | null = null
  protected _canWrite: boolean
  protected _isLive: boolean
  protected _noisePair: KeyPair | null
  protected _downloadingSet: boolean
  protected _expectedLength = -1

  // The parts, made and joined by FeedParts.
  protected abstract readonly _appender: Appender
  protected abstract readonly _finder: Finder
  protected abstract readonly _waiters: Waiters
  protected abstract readonly _selections: Selections
  protected abstract readonly _replication: FeedReplication
  protected abstract readonly _histories: Forks
  protected abstract readonly _catchingUp: CatchingUp

  protected constructor(
    storage: Storage,
    key?: Key | FeedOptions<T> | null,
    options?: FeedOptions<T> | null
  ) {
    super()
    this._create = typeof storage === 'string' ? directoryStorage(storage) : toFactory(storage)
    this._args = parseArguments(key, options)
    const given = this._args.options
    this.key = this._args.key
    this.discoveryKey = this.key === null ? null : discoveryKey(this.key, this._dialect)
    this.secretKey = this._args.secretKey
    this.sparse = !!given.sparse
    this.maxRequests = given.maxRequests || 16
    this.downloading = given.downloading !== false
    this.uploading = given.uploading !== false
    this.allowPush = !!given.allowPush
    this.crypto = given.crypto ?? DEFAULT_CRYPTO
    this.timeouts = given.timeouts ?? {
      get: (callback) => callback(null),
      update: (callback) => callback(null)
    }
    this._codec = toCodec(given.valueEncoding)
    this._application = new Application(this.crypto, given.onwrite || null)
    this._canWrite = !!given.writable
    this._isLive = given.live !== false
    this._noisePair = given.noiseKeyPair ?? null
    this._downloadingSet = typeof given.downloading === 'boolean'
    this._transfers =
      given.stats === undefined || given.stats
        ? { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 0, downloadedBytes: 0 }
        : null
  }

  // ---- properties ----

  /** Number of blocks. */
  get length(): number {
    return this._core?.length ?? 0
  }

  /** Number of bytes. */
  get byteLength(): number {
    return this._core?.byteLength ?? 0
  }

  /** Whether `append` works; false after closing, and after an opening that failed. */
  get writable(): boolean {
    return this._canWrite && !this.closing && !this.closed
  }

  /** True until the feed is closed. */
  get readable(): boolean {
    return !this.closing && !this.closed
  }

  /** Whether the feed is signed as it grows; false for a static feed. */
  get live(): boolean {
    return this._core?.live ?? this._isLive
  }

  /**
   * Other histories of this feed that its key has signed, and that peers were met with: a proof for each (`verifyFork`). With
   * storage in a directory they are remembered.
   */
  get forks(): readonly ForkProof[] {
    return this._histories.list
  }

  /** Which blocks are here; null before the feed is open. */
  get bitfield(): Bitfield | null {
    return this._core?.bits ?? null
  }

  /** Which nodes of the tree are known; null before the feed is open. */
  get tree(): TreeSet | null {
    return this._core?.tree ?? null
  }

  /** X25519 pair of this feed's replication streams; made when first asked for, if none was given. */
  get noiseKeyPair(): KeyPair {
    this._noisePair ??= noiseKeyPair()
    return this._noisePair
  }

  /**
   * Bytes a second that all peers together are sent: blocks with their proofs. `Infinity`: no limit. A stream may have a limit of its own.
   * Errors: TypeError, RangeError for what is not above 0.
   */
  get maxUploadRate(): number {
    return this._replication.uploadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxUploadRate(rate: number) {
    this._replication.uploadLimit.rate = checkRate(rate, 'maxUploadRate')
  }

  /** The same for what all peers together are asked for. */
  get maxDownloadRate(): number {
    return this._replication.downloadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxDownloadRate(rate: number) {
    this._replication.downloadLimit.rate = checkRate(rate, 'maxDownloadRate')
  }

  /** The largest length that a connected peer claims to have. */
  get remoteLength(): number {
    return this._replication.replicator.remoteLength
  }

  /** Connected peers, in no particular order. */
  get peers(): readonly Peer[] {
    return this._replication.replicator.peers
  }

  /** Counters, or null if switched off; `totals` is the live object. */
  get stats(): {
    /** Of each connected peer. */
    peers: TransferStats[]
    /** Since the feed was opened. */
    totals: TransferStats
  } | null {
    if (this._transfers === null) return null
    return { peers: this.peers.map((peer) => peer.stats!), totals: this._transfers }
  }

  /** @internal */
  [inspectSymbol](_depth: number, options: object): string {
    const { key, discoveryKey, opened, sparse, writable, length, byteLength, peers } = this
    const fields = { key, discoveryKey, opened, sparse, writable, length, byteLength, peers: peers.length }
    return summary(this._dialect.inspectName, fields, options)
  }

  /** Closes the feed at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Verifies and stores blocks that came from somewhere else, up to the first one that does not hold. */
  protected abstract _putClaims(
    core: Core,
    claims: readonly Claim[],
    peer: Peer | null,
    belief: Belief
  ): Promise<PutOutcome>
  /** Cuts the feed down to its first `length` blocks; `signs`: with a signature of the new end if there is none. */
  protected abstract _cutTo(core: Core, length: number, signs: boolean): Promise<void>
  /** Forgets what lies below these roots of a shorter head with `length` blocks, and its signature. */
  protected abstract _forget(core: Core, length: number, roots: readonly number[]): Promise<void>
  /**
   * Tells of damage that was come upon.
   * @param mended - what of it was put right
   * @param gone - ranges of blocks that are not here any more: first, end
   */
  protected abstract _damageFound(
    damage: readonly Damage[],
    mended: readonly Damage[],
    gone: readonly (readonly [number, number])[]
  ): void
  /** Marks everything for download. */
  protected abstract _downloadEverything(): void
  /** Begins what goes on by itself as long as the feed is open. */
  protected abstract _begin(): void

  // ---- life cycle ----

  protected override async _openResource(): Promise<void> {
    const opened = await openFeed(this._create, this._args, this._dialect, (key, secretKey) =>
      this._setKeys(key, secretKey)
    )
    this._setKeys(opened.key, opened.secretKey)
    const { core } = opened
    core.ondamage = (damage, mended, gone) => this._damageFound(damage, mended, gone)
    core.forks = this._histories.list
    core.unlinked = new Unlinked(this._lineFile(UNLINKED_NAME), () => this._replication.replicator.compare())
    try {
      if (this._args.options.overwrite) await this._forgetHistories(core)
      else {
        await this._histories.load()
        await core.unlinked.load(core)
      }
    } catch (error) {
      // Nobody else would close what is open, and the next opening would find it locked.
      await core.checkpoints?.close().catch(ignore)
      await core.storage.close().catch(ignore)
      throw storageError(error)
    }
    // Not before: from now on it is appended to.
    this._core = core
    this._files = opened.files
    this._canWrite = opened.writable
    if (!this._downloadingSet) this.downloading = !opened.writable
    this.recovery = opened.recovery
    this._selections.check(opened.core)
    if (this.recovery !== null) this._notify('recovered', this.recovery)
    if (opened.core.behind > 0) this._notify('behind', opened.core.behind)
    queueMicrotask(() => this._begin())
  }

  protected override _openFailed(error: Error, told: boolean): void {
    // The option has said so until it was known.
    this._canWrite = false
    // Whoever waits for a download is told, as all others are; what the options want is wanted of the next attempt, too.
    this._selections.failAll(error)
    if (!this.sparse && !this._closingBegun) this._downloadEverything()
    if (this.listenerCount('error') > 0 || !told) this.emit('error', error)
  }

  protected override async _closeResource(): Promise<void> {
    const closed = new DDatabaseError('ERR_FEED_CLOSED')
    this._application.end(closed)
    await this._appender.idle()
    await this._core?.end()
    this._replication.replicator.close()
    this.ifAvailable.destroy()
    this._waiters.end(closed)
    this._selections.failAll(closed)
    this._canWrite = false
    let failure: unknown = null
    await this._core?.checkpoints?.close().catch((error: unknown) => {
      failure = error
    })
    await this._core?.storage.close()
    if (failure !== null) throw failure
  }

  /** Whether all that is here was made here. */
  protected get _isAuthor(): boolean {
    return this._canWrite && !this.downloading
  }

  /** The nearest class: functions that inherit from one do not inherit what is static. */
  protected get _class(): typeof FeedState {
    let from: object = this
    while (!('dialect' in from.constructor)) from = Object.getPrototypeOf(from)
    return from.constructor as typeof FeedState
  }

  protected get _dialect(): Dialect {
    return this._class.dialect
  }

  protected _setKeys(key: Uint8Array | null, secretKey: Uint8Array | null): void {
    this.key = key
    this.discoveryKey = key === null ? null : discoveryKey(key, this._dialect)
    this.secretKey = secretKey
  }

  /** The open feed. Errors: why opening failed, `ERR_FEED_CLOSED`. */
  protected async _whenReady(): Promise<Core> {
    if (this._usable) return this._core!
    if (this._closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    await this.open()
    if (this._closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    return this._core!
  }

  protected _openCore(): Core {
    if (this._core === null) throw new DDatabaseError('ERR_FEED_NOT_OPEN')
    return this._core
  }

  /** A storage that was closed under a call is no failure of the storage. */
  protected async _guarded<V>(call: Promise<V>): Promise<V> {
    try {
      return await call
    } catch (error) {
      const closedUnder = this._closingBegun && DDatabaseError.is(error) && error.code === 'ERR_STORAGE'
      throw closedUnder ? new DDatabaseError('ERR_FEED_CLOSED', { cause: error }) : error
    }
  }

  protected _codecFor(valueEncoding: unknown): Codec {
    return isGiven(valueEncoding) ? toCodec(valueEncoding) : this._codec
  }

  protected _withDefaults(options: WaitOptions): WaitOptions {
    return {
      wait: options.wait,
      timeout: options.timeout,
      signal: options.signal,
      ifAvailable:
        typeof options.ifAvailable === 'boolean' ? options.ifAvailable : !!this._args.options.ifAvailable
    }
  }

  /** Removes what is remembered of other histories. Errors: those of the storage. */
  protected async _forgetHistories(core: Core | null): Promise<void> {
    await this._histories.destroy()
    await core?.unlinked.destroy()
  }

  /** A file beside those of the format; null if the storage has no place for it. */
  protected _lineFile(name: string): LineFile | null {
    return this._create.extraFiles === true ? new LineFile(this._create, name) : null
  }
}
