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
import { ignore } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { inspectSymbol, summary } from '../util/inspect.ts'
import { Lifecycle } from '../util/lifecycle.ts'
import { Appender } from './appender.ts'
import { Application } from './application.ts'
import { CatchingUp } from './catching-up.ts'
import type { Core } from './core.ts'
import { type Codec, toCodec } from './encoding.ts'
import type { FeedEvents } from './events.ts'
import { Finder, type WaitOptions } from './finder.ts'
import { FORKS_NAME, Forks } from './forks.ts'
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
import type { PutOutcome, StoredBlock } from './putting.ts'
import { RawStorage } from './raw-storage.ts'
import type { Recovery } from './recovered.ts'
import { FeedReplication } from './replication.ts'
import { Selections } from './selections.ts'
import type { FeedFiles } from './stored-files.ts'
import { UNLINKED_NAME, Unlinked } from './unlinked.ts'
import { Waiters } from './waiters.ts'

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
    if (!(key instanceof Uint8Array)) throw argumentTypeError('key should be bytes')
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
  readonly extensions: ExtensionRegistry<Peer>
  /** Raw access to the files, for modules that reach into them. */
  readonly _storage: RawStorage

  /** What was found and repaired when the feed was opened after a crash; null if there was nothing to repair. */
  recovery: Recovery | null = null

  protected readonly _args: ParsedArguments
  protected readonly _create: StorageFactory
  protected readonly _codec: Codec
  protected readonly _application: Application
  protected readonly _appender: Appender
  protected readonly _finder: Finder
  protected readonly _waiters = new Waiters()
  protected readonly _selections = new Selections()
  protected readonly _replication: FeedReplication
  protected readonly _histories: Forks
  protected readonly _catchingUp: CatchingUp
  protected readonly _transfers: TransferStats | null
  protected _core: Core | null = null
  protected _files: FeedFiles | null = null
  protected _canWrite: boolean
  protected _isLive: boolean
  protected _noisePair: KeyPair | null
  protected _downloadingSet: boolean
  protected _expectedLength = -1
  // No block before this one is missing: where the search for "everything is here" goes on.
  protected _syncedTo = 0

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
    this._appender = new Appender(this._appendTarget())
    this._finder = new Finder(this._finderSource())
    this._histories = new Forks(this._forksHost())
    this._catchingUp = new CatchingUp(this._catchingUpHost())
    this._replication = new FeedReplication(this._replicationHost())
    this.extensions = this._replication.extensions
    this._replication.uploadLimit.rate = checkRate(given.maxUploadRate, 'maxUploadRate')
    this._replication.downloadLimit.rate = checkRate(given.maxDownloadRate, 'maxDownloadRate')
    this._storage = new RawStorage(this._rawSource())
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

  protected get _dialect(): Dialect {
    return (this.constructor as typeof FeedState).dialect
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

  protected _blocksStored(core: Core, blocks: readonly StoredBlock[], peer: Peer | null): void {
    if (blocks.some(({ grew }) => grew)) {
      this._replication.replicator.grew(peer)
      if (peer !== null) this._catchingUp.lengthened(core.length)
    }
    let hashes = false
    for (const { block, value, isNew, grew } of blocks) {
      if (grew) this._notify('append')
      if (value === null) hashes = true
      else core.damaged.delete(block)
      // What a cache keeps is for it to give.
      if (value !== null && core.storage.blocks === null) this._waiters.give(block, value)
      if (value === null || !isNew) continue
      for (const stats of [this._transfers, peer?.stats ?? null]) {
        if (stats === null) continue
        stats.downloadedBlocks++
        stats.downloadedBytes += value.byteLength
      }
      if (peer !== null && this._isHeard('download')) peer.downloader.handedOut = true
      this._notify('download', block, value, peer)
    }
    for (const [start, end] of runsOf(blocks)) {
      this._replication.replicator.announce(start, end - start, peer)
      this._waiters.stored(start, end, core.length)
      this._selections.stored(core, start, end)
    }
    if (hashes) {
      this._waiters.changed(core.length)
      this._selections.hashesStored(core)
    }
    if (this._canWrite || blocks.every(({ value }) => value === null)) return
    const missing = core.bits.firstMissing(this._syncedTo, core.length)
    this._syncedTo = missing === -1 ? core.length : missing
    if (missing === -1) this._notify('sync')
  }

  private _damageFound(
    damage: readonly Damage[],
    mended: readonly Damage[],
    gone: readonly (readonly [number, number])[]
  ): void {
    if (gone.length > 0) this._blocksGone()
    for (const [start, end] of gone) this._replication.replicator.unannounce(start, end - start)
    for (const one of damage) this._notify('damage', one, mended.includes(one))
  }

  /** @param wanted - downloads fetch them again */
  protected _blocksGone(wanted = true): void {
    this._syncedTo = 0
    if (this._core !== null && wanted) this._selections.rewind(this._core)
  }

  protected _appendTarget(): ConstructorParameters<typeof Appender>[0] {
    const feed = this
    return {
      // Appends that were accepted before closing are finished, so this does not ask whether the feed is closing.
      ready: async () => {
        if (feed._core !== null) return feed._core
        if (!feed.opening) return feed._whenReady()
        await feed.open()
        return feed._core!
      },
      checkWritable: () => {
        if (!feed._canWrite) throw new DDatabaseError('ERR_NOT_WRITABLE')
      },
      codec: feed._codec,
      application: feed._application,
      get secretKey() {
        return feed.secretKey
      },
      indexing: !!feed._args.options.indexing,
      gaveUp: () => feed._catchingUp.gaveUp(),
      appended: (start, count) => {
        feed._notify('append')
        feed._replication.replicator.announce(start, count, null)
        feed._replication.replicator.grew(null)
        feed._waiters.stored(start, start + count, feed.length)
        feed._selections.stored(feed._core!, start, start + count)
      }
    }
  }

  protected _finderSource(): ConstructorParameters<typeof Finder>[0] {
    const feed = this
    return {
      get core() {
        return feed._usable && !feed._closingBegun ? feed._core : null
      },
      ready: () => feed._whenReady(),
      get closed() {
        return feed._closingBegun
      },
      get length() {
        return feed.length
      },
      get isAuthor() {
        return feed._canWrite && !feed.downloading
      },
      waiters: feed._waiters,
      ifAvailable: feed.ifAvailable,
      get timeouts() {
        return feed.timeouts
      },
      get expectedLength() {
        return feed._expectedLength
      },
      canHelp: (wish) => feed._replication.replicator.canHelp(wish),
      wished: (wish) => feed._replication.replicator.wished(wish),
      placed: (bytes) => feed._replication.replicator.foundBytes(bytes),
      givenUp: () => feed._requestsChanged()
    }
  }

  protected _replicationHost(): ConstructorParameters<typeof FeedReplication>[0] {
    const feed = this
    return {
      owner: feed,
      sparse: feed.sparse,
      get downloading() {
        return feed.downloading
      },
      get uploading() {
        return feed.uploading
      },
      get allowPush() {
        return feed.allowPush
      },
      get maxRequests() {
        return feed.maxRequests
      },
      stats: feed._transfers,
      ifAvailable: feed.ifAvailable,
      waiters: feed._waiters,
      selections: feed._selections,
      get core() {
        return feed._core
      },
      get key() {
        return feed.key
      },
      get noiseKeyPair() {
        return feed.noiseKeyPair
      },
      Protocol: (feed.constructor as typeof FeedState).Protocol,
      tellsEachCall: feed._dialect === DDATABASE,
      ready: () => feed._whenReady(),
      get usable() {
        return feed._usable && !feed._closingBegun
      },
      hooked: feed._application.hooked,
      get writable() {
        return feed._canWrite
      },
      examine: (claim, remoteLength) => feed._histories.examine(feed._core!, claim, remoteLength),
      longerSeen: (length) => feed._catchingUp.longerSeen(length),
      put: (claims, peer, belief) => feed._putClaims(feed._core!, claims, peer, belief),
      appending: () => (feed._appender.busy ? feed._appender.idle() : null),
      downloadEverything: () => feed._downloadEverything(),
      lessAvailable: () => feed._finder.reconsider(),
      emit: (event, ...values) => feed._notify(event, ...values),
      listens: (event) => feed._isHeard(event)
    }
  }

  /** Removes what is remembered of other histories. Errors: those of the storage. */
  protected async _forgetHistories(core: Core | null): Promise<void> {
    await this._histories.destroy()
    await core?.unlinked.destroy()
  }

  /** A file beside those of the format; null if the storage has no place for it. */
  private _lineFile(name: string): LineFile | null {
    return this._create.extraFiles === true ? new LineFile(this._create, name) : null
  }

  protected _forksHost(): ConstructorParameters<typeof Forks>[0] {
    const feed = this
    return {
      application: feed._application,
      get key() {
        return feed.key
      },
      file: this._lineFile(FORKS_NAME),
      met: (proof) => feed._notify('fork', proof),
      cutTo: (length) => feed._cutTo(feed._core!, length, false),
      forget: (length, roots) => feed._forget(feed._core!, length, roots)
    }
  }

  protected _catchingUpHost(): ConstructorParameters<typeof CatchingUp>[0] {
    const feed = this
    return {
      get core() {
        return feed._core
      },
      get writable() {
        return feed._canWrite && !feed._closingBegun
      },
      get downloadingSet() {
        return feed._downloadingSet
      },
      switchDownloading: (on) => {
        feed.downloading = on
        for (const peer of [...feed.peers]) if (!peer.downloadingChosen) peer.setDownloading(on)
      },
      behind: (length) => feed._notify('behind', length)
    }
  }

  protected _rawSource(): ConstructorParameters<typeof RawStorage>[0] {
    const feed = this
    return {
      ready: () => feed._whenReady(),
      get files() {
        return feed._files
      },
      get core() {
        return feed._core
      },
      get key() {
        return feed.key
      },
      get secretKey() {
        return feed.secretKey
      }
    }
  }

  /** Something is not wanted any more. */
  protected _requestsChanged(): void {
    if (this._core !== null) this._replication.replicator.cancelled()
  }
}

/** Blocks with data as runs of neighbours, in the order in which they were stored: first block, end. */
function runsOf(blocks: readonly StoredBlock[]): [number, number][] {
  const runs: [number, number][] = []
  for (const { block, value } of blocks) {
    const run = runs[runs.length - 1]
    if (value === null) continue
    if (run !== undefined && run[1] === block) run[1]++
    else runs.push([block, block + 1])
  }
  return runs
}
