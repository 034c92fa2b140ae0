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

  protected readonly args: ParsedArguments
  protected readonly create: StorageFactory
  protected readonly codec: Codec
  protected readonly application: Application
  protected readonly appender: Appender
  protected readonly finder: Finder
  protected readonly waiters = new Waiters()
  protected readonly selections = new Selections()
  protected readonly replication: FeedReplication
  protected readonly histories: Forks
  protected readonly catchingUp: CatchingUp
  protected readonly transfers: TransferStats | null
  protected core: Core | null = null
  protected files: FeedFiles | null = null
  protected canWrite: boolean
  protected isLive: boolean
  protected noisePair: KeyPair | null
  protected downloadingSet: boolean
  protected expectedLength = -1
  // No block before this one is missing: where the search for "everything is here" goes on.
  protected syncedTo = 0

  protected constructor(
    storage: Storage,
    key?: Key | FeedOptions<T> | null,
    options?: FeedOptions<T> | null
  ) {
    super()
    this.create = typeof storage === 'string' ? directoryStorage(storage) : toFactory(storage)
    this.args = parseArguments(key, options)
    const given = this.args.options
    this.key = this.args.key
    this.discoveryKey = this.key === null ? null : discoveryKey(this.key, this.dialect)
    this.secretKey = this.args.secretKey
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
    this.codec = toCodec(given.valueEncoding)
    this.application = new Application(this.crypto, given.onwrite ?? null)
    this.canWrite = !!given.writable
    this.isLive = given.live !== false
    this.noisePair = given.noiseKeyPair ?? null
    this.downloadingSet = typeof given.downloading === 'boolean'
    this.transfers =
      given.stats === undefined || given.stats
        ? { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 0, downloadedBytes: 0 }
        : null
    this.appender = new Appender(this.appendTarget())
    this.finder = new Finder(this.finderSource())
    this.histories = new Forks(this.forksHost())
    this.catchingUp = new CatchingUp(this.catchingUpHost())
    this.replication = new FeedReplication(this.replicationHost())
    this.extensions = this.replication.extensions
    this.replication.uploadLimit.rate = checkRate(given.maxUploadRate, 'maxUploadRate')
    this.replication.downloadLimit.rate = checkRate(given.maxDownloadRate, 'maxDownloadRate')
    this._storage = new RawStorage(this.rawSource())
  }

  // ---- properties ----

  /** Number of blocks. */
  get length(): number {
    return this.core?.length ?? 0
  }

  /** Number of bytes. */
  get byteLength(): number {
    return this.core?.byteLength ?? 0
  }

  /** Whether `append` works; false after closing, and after an opening that failed. */
  get writable(): boolean {
    return this.canWrite && !this.closing && !this.closed
  }

  /** True until the feed is closed. */
  get readable(): boolean {
    return !this.closing && !this.closed
  }

  /** Whether the feed is signed as it grows; false for a static feed. */
  get live(): boolean {
    return this.core?.live ?? this.isLive
  }

  /**
   * Other histories of this feed that its key has signed, and that peers were met with: a proof for each (`verifyFork`). With
   * storage in a directory they are remembered.
   */
  get forks(): readonly ForkProof[] {
    return this.histories.list
  }

  /** Which blocks are here; null before the feed is open. */
  get bitfield(): Bitfield | null {
    return this.core?.bits ?? null
  }

  /** Which nodes of the tree are known; null before the feed is open. */
  get tree(): TreeSet | null {
    return this.core?.tree ?? null
  }

  /** X25519 pair of this feed's replication streams; made when first asked for, if none was given. */
  get noiseKeyPair(): KeyPair {
    this.noisePair ??= noiseKeyPair()
    return this.noisePair
  }

  /**
   * Bytes a second that all peers together are sent: blocks with their proofs. `Infinity`: no limit. A stream may have a limit of its own.
   * Errors: TypeError, RangeError for what is not above 0.
   */
  get maxUploadRate(): number {
    return this.replication.uploadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxUploadRate(rate: number) {
    this.replication.uploadLimit.rate = checkRate(rate, 'maxUploadRate')
  }

  /** The same for what all peers together are asked for. */
  get maxDownloadRate(): number {
    return this.replication.downloadLimit.rate
  }

  /** Sets the limit from now on. */
  set maxDownloadRate(rate: number) {
    this.replication.downloadLimit.rate = checkRate(rate, 'maxDownloadRate')
  }

  /** The largest length that a connected peer claims to have. */
  get remoteLength(): number {
    return this.replication.replicator.remoteLength
  }

  /** Connected peers, in no particular order. */
  get peers(): readonly Peer[] {
    return this.replication.replicator.peers
  }

  /** Counters, or null if switched off; `totals` is the live object. */
  get stats(): {
    /** Of each connected peer. */
    peers: TransferStats[]
    /** Since the feed was opened. */
    totals: TransferStats
  } | null {
    if (this.transfers === null) return null
    return { peers: this.peers.map((peer) => peer.stats!), totals: this.transfers }
  }

  /** @internal */
  [inspectSymbol](_depth: number, options: object): string {
    const { key, discoveryKey, opened, sparse, writable, length, byteLength, peers } = this
    const fields = { key, discoveryKey, opened, sparse, writable, length, byteLength, peers: peers.length }
    return summary(this.dialect.inspectName, fields, options)
  }

  /** Closes the feed at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Verifies and stores blocks that came from somewhere else, up to the first one that does not hold. */
  protected abstract putClaims(
    core: Core,
    claims: readonly Claim[],
    peer: Peer | null,
    belief: Belief
  ): Promise<PutOutcome>
  /** Cuts the feed down to its first `length` blocks; `signs`: with a signature of the new end if there is none. */
  protected abstract cutTo(core: Core, length: number, signs: boolean): Promise<void>
  /** Forgets what lies below these roots of a shorter head with `length` blocks, and its signature. */
  protected abstract forget(core: Core, length: number, roots: readonly number[]): Promise<void>
  /** Marks everything for download. */
  protected abstract downloadEverything(): void
  /** Begins what goes on by itself as long as the feed is open. */
  protected abstract begin(): void

  // ---- life cycle ----

  protected override async openResource(): Promise<void> {
    const opened = await openFeed(this.create, this.args, this.dialect, (key, secretKey) =>
      this.setKeys(key, secretKey)
    )
    this.setKeys(opened.key, opened.secretKey)
    const { core } = opened
    core.ondamage = (damage, mended, gone) => this.damageFound(damage, mended, gone)
    core.forks = this.histories.list
    core.unlinked = new Unlinked(this.lineFile(UNLINKED_NAME), () => this.replication.replicator.compare())
    try {
      if (this.args.options.overwrite) await this.forgetHistories(core)
      else {
        await this.histories.load()
        await core.unlinked.load(core)
      }
    } catch (error) {
      // Nobody else would close what is open, and the next opening would find it locked.
      await core.checkpoints?.close().catch(ignore)
      await core.storage.close().catch(ignore)
      throw storageError(error)
    }
    // Not before: from now on it is appended to.
    this.core = core
    this.files = opened.files
    this.canWrite = opened.writable
    if (!this.downloadingSet) this.downloading = !opened.writable
    this.recovery = opened.recovery
    this.selections.check(opened.core)
    if (this.recovery !== null) this.notify('recovered', this.recovery)
    if (opened.core.behind > 0) this.notify('behind', opened.core.behind)
    queueMicrotask(() => this.begin())
  }

  protected override openFailed(error: Error, told: boolean): void {
    // The option has said so until it was known.
    this.canWrite = false
    if (this.listenerCount('error') > 0 || !told) this.emit('error', error)
  }

  protected override async closeResource(): Promise<void> {
    const closed = new DDatabaseError('ERR_FEED_CLOSED')
    this.application.end(closed)
    await this.appender.idle()
    await this.core?.end()
    this.replication.replicator.close()
    this.ifAvailable.destroy()
    this.waiters.end(closed)
    this.selections.failAll(closed)
    this.canWrite = false
    let failure: unknown = null
    await this.core?.checkpoints?.close().catch((error: unknown) => {
      failure = error
    })
    await this.core?.storage.close()
    if (failure !== null) throw failure
  }

  protected get dialect(): Dialect {
    return (this.constructor as typeof FeedState).dialect
  }

  protected setKeys(key: Uint8Array | null, secretKey: Uint8Array | null): void {
    this.key = key
    this.discoveryKey = key === null ? null : discoveryKey(key, this.dialect)
    this.secretKey = secretKey
  }

  /** The open feed. Errors: why opening failed, `ERR_FEED_CLOSED`. */
  protected async whenReady(): Promise<Core> {
    if (this.usable) return this.core!
    if (this.closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    await this.open()
    if (this.closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    return this.core!
  }

  protected openCore(): Core {
    if (this.core === null) throw new DDatabaseError('ERR_FEED_NOT_OPEN')
    return this.core
  }

  /** A storage that was closed under a call is no failure of the storage. */
  protected async guarded<V>(call: Promise<V>): Promise<V> {
    try {
      return await call
    } catch (error) {
      const closedUnder = this.closingBegun && DDatabaseError.is(error) && error.code === 'ERR_STORAGE'
      throw closedUnder ? new DDatabaseError('ERR_FEED_CLOSED', { cause: error }) : error
    }
  }

  protected codecFor(valueEncoding: unknown): Codec {
    return valueEncoding === undefined || valueEncoding === null ? this.codec : toCodec(valueEncoding)
  }

  protected withDefaults(options: WaitOptions): WaitOptions {
    return {
      wait: options.wait,
      timeout: options.timeout,
      signal: options.signal,
      ifAvailable:
        typeof options.ifAvailable === 'boolean' ? options.ifAvailable : !!this.args.options.ifAvailable
    }
  }

  protected blocksStored(core: Core, blocks: readonly StoredBlock[], peer: Peer | null): void {
    if (blocks.some(({ grew }) => grew)) {
      this.replication.replicator.grew(peer)
      if (peer !== null) this.catchingUp.lengthened(core.length)
    }
    let hashes = false
    for (const { block, value, isNew, grew } of blocks) {
      if (grew) this.notify('append')
      if (value === null) hashes = true
      else core.damaged.delete(block)
      // What a cache keeps is for it to give.
      if (value !== null && core.storage.blocks === null) this.waiters.give(block, value)
      if (value === null || !isNew) continue
      for (const stats of [this.transfers, peer?.stats ?? null]) {
        if (stats === null) continue
        stats.downloadedBlocks++
        stats.downloadedBytes += value.byteLength
      }
      if (peer !== null && this.listenerCount('download') > 0) peer.downloader.handedOut = true
      this.notify('download', block, value, peer)
    }
    for (const [start, end] of runsOf(blocks)) {
      this.replication.replicator.announce(start, end - start, peer)
      this.waiters.stored(start, end, core.length)
      this.selections.stored(core, start, end)
    }
    if (hashes) {
      this.waiters.changed(core.length)
      this.selections.hashesStored(core)
    }
    if (this.canWrite || blocks.every(({ value }) => value === null)) return
    const missing = core.bits.firstMissing(this.syncedTo, core.length)
    this.syncedTo = missing === -1 ? core.length : missing
    if (missing === -1) this.notify('sync')
  }

  private damageFound(
    damage: readonly Damage[],
    mended: readonly Damage[],
    gone: readonly (readonly [number, number])[]
  ): void {
    if (gone.length > 0) this.blocksGone()
    for (const [start, end] of gone) this.replication.replicator.unannounce(start, end - start)
    for (const one of damage) this.notify('damage', one, mended.includes(one))
  }

  /** @param wanted - downloads fetch them again */
  protected blocksGone(wanted = true): void {
    this.syncedTo = 0
    if (this.core !== null && wanted) this.selections.rewind(this.core)
  }

  protected appendTarget(): ConstructorParameters<typeof Appender>[0] {
    const feed = this
    return {
      // Appends that were accepted before closing are finished, so this does not ask whether the feed is closing.
      ready: async () => {
        if (feed.core !== null) return feed.core
        if (!feed.opening) return feed.whenReady()
        await feed.open()
        return feed.core!
      },
      checkWritable: () => {
        if (!feed.canWrite) throw new DDatabaseError('ERR_NOT_WRITABLE')
      },
      codec: feed.codec,
      application: feed.application,
      get secretKey() {
        return feed.secretKey
      },
      indexing: !!feed.args.options.indexing,
      gaveUp: () => feed.catchingUp.gaveUp(),
      appended: (start, count) => {
        feed.notify('append')
        feed.replication.replicator.announce(start, count, null)
        feed.replication.replicator.grew(null)
        feed.waiters.stored(start, start + count, feed.length)
        feed.selections.stored(feed.core!, start, start + count)
      }
    }
  }

  protected finderSource(): ConstructorParameters<typeof Finder>[0] {
    const feed = this
    return {
      get core() {
        return feed.usable && !feed.closingBegun ? feed.core : null
      },
      ready: () => feed.whenReady(),
      get closed() {
        return feed.closingBegun
      },
      get length() {
        return feed.length
      },
      get isAuthor() {
        return feed.canWrite && !feed.downloading
      },
      waiters: feed.waiters,
      ifAvailable: feed.ifAvailable,
      get timeouts() {
        return feed.timeouts
      },
      get expectedLength() {
        return feed.expectedLength
      },
      canHelp: (wish) => feed.replication.replicator.canHelp(wish),
      wished: (wish) => feed.replication.replicator.wished(wish),
      placed: (bytes) => feed.replication.replicator.foundBytes(bytes),
      givenUp: () => feed.requestsChanged()
    }
  }

  protected replicationHost(): ConstructorParameters<typeof FeedReplication>[0] {
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
      stats: feed.transfers,
      ifAvailable: feed.ifAvailable,
      waiters: feed.waiters,
      selections: feed.selections,
      get core() {
        return feed.core
      },
      get key() {
        return feed.key
      },
      get noiseKeyPair() {
        return feed.noiseKeyPair
      },
      Protocol: (feed.constructor as typeof FeedState).Protocol,
      tellsEachCall: feed.dialect === DDATABASE,
      ready: () => feed.whenReady(),
      get usable() {
        return feed.usable && !feed.closingBegun
      },
      hooked: feed.application.hooked,
      get writable() {
        return feed.canWrite
      },
      examine: (claim, remoteLength) => feed.histories.examine(feed.core!, claim, remoteLength),
      longerSeen: (length) => feed.catchingUp.longerSeen(length),
      put: (claims, peer, belief) => feed.putClaims(feed.core!, claims, peer, belief),
      appending: () => (feed.appender.busy ? feed.appender.idle() : null),
      downloadEverything: () => feed.downloadEverything(),
      lessAvailable: () => feed.finder.reconsider(),
      emit: (event, ...values) => feed.notify(event, ...values),
      listens: (event) => feed.listenerCount(event as keyof FeedEvents) > 0
    }
  }

  /** Removes what is remembered of other histories. Errors: those of the storage. */
  protected async forgetHistories(core: Core | null): Promise<void> {
    await this.histories.destroy()
    await core?.unlinked.destroy()
  }

  /** A file beside those of the format; null if the storage has no place for it. */
  private lineFile(name: string): LineFile | null {
    return this.create.extraFiles === true ? new LineFile(this.create, name) : null
  }

  protected forksHost(): ConstructorParameters<typeof Forks>[0] {
    const feed = this
    return {
      application: feed.application,
      get key() {
        return feed.key
      },
      file: this.lineFile(FORKS_NAME),
      met: (proof) => feed.notify('fork', proof),
      cutTo: (length) => feed.cutTo(feed.core!, length, false),
      forget: (length, roots) => feed.forget(feed.core!, length, roots)
    }
  }

  protected catchingUpHost(): ConstructorParameters<typeof CatchingUp>[0] {
    const feed = this
    return {
      get core() {
        return feed.core
      },
      get writable() {
        return feed.canWrite && !feed.closingBegun
      },
      get downloadingSet() {
        return feed.downloadingSet
      },
      switchDownloading: (on) => {
        feed.downloading = on
        for (const peer of [...feed.peers]) if (!peer.downloadingChosen) peer.setDownloading(on)
      },
      behind: (length) => feed.notify('behind', length)
    }
  }

  protected rawSource(): ConstructorParameters<typeof RawStorage>[0] {
    const feed = this
    return {
      ready: () => feed.whenReady(),
      get files() {
        return feed.files
      },
      get core() {
        return feed.core
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
  protected requestsChanged(): void {
    if (this.core !== null) this.replication.replicator.cancelled()
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
