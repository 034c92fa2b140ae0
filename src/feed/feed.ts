import type { Bitfield } from '../bitfield/bitfield.ts'
import { treeHash } from '../crypto/hash.ts'
import { discoveryKey, type KeyPair, noiseKeyPair } from '../crypto/keys.ts'
import { DDATABASE, type Dialect } from '../dialect.ts'
import { argumentRangeError, argumentTypeError, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { TreeSet } from '../merkle/tree-set.ts'
import type { Claim, Proof } from '../merkle/verify.ts'
import type { Extension, ExtensionHandlers, ExtensionRegistry } from '../replication/extensions.ts'
import { Guard } from '../replication/guard.ts'
import type { Peer } from '../replication/peer.ts'
import type { TransferStats } from '../replication/source.ts'
import { ProtocolStream } from '../replication/stream.ts'
import { directoryStorage } from '../storage/directory.ts'
import { type StorageFactory, toFactory } from '../storage/random-access.ts'
import type { StoredSignature } from '../storage/signatures-file.ts'
import { storageError } from '../storage/storage.ts'
import { type Callback, ignore, promised, settle } from '../util/callback.ts'
import { Lifecycle } from '../util/lifecycle.ts'
import { Appender } from './appender.ts'
import type { Core } from './core.ts'
import { type Codec, decodeBlock, encodeBlock, isBinary, toCodec } from './encoding.ts'
import { Finder, type SeekOptions, type UpdateOptions, type WaitOptions } from './finder.ts'
import { inspectFeed } from './inspect.ts'
import { type AuditReport, auditFeed, type ClearOptions, clearBlocks, truncateFeed } from './maintenance.ts'
import { type FeedFiles, openFeed } from './open.ts'
import {
  type AvailabilityTimeouts,
  type CryptoHooks,
  checkBytes,
  checkIndex,
  checkTimeout,
  DEFAULT_CRYPTO,
  type FeedOptions,
  type Key,
  type ParsedArguments,
  parseArguments,
  type Storage,
  type WriteHook
} from './options.ts'
import {
  createProof,
  nextSignature,
  type ProofOptions,
  putBlock,
  rootsOf,
  verifySignature
} from './proofs.ts'
import { RawStorage } from './raw-storage.ts'
import { readBlockSync, readBlocks, runEnd } from './reader.ts'
import { FeedReplication, type ReplicateOptions } from './replication.ts'
import { type DownloadRange, Selection, Selections } from './selections.ts'
import { ReadStream, type ReadStreamOptions, WriteStream, type WriteStreamOptions } from './streams.ts'
import { Waiters } from './waiters.ts'

/** Options of `get` and `getBatch`. */
export interface GetOptions extends WaitOptions {
  /** Decode with this instead of the feed's encoding. */
  valueEncoding?: unknown
  /** Called with the index, once and at once, if the block has to be waited for. */
  onwait?: ((index: number) => void) | null | undefined
  /** What `cancel` shall know this call by. Default: a symbol of its own. */
  cancel?: unknown
}

/** Options of `head`. */
export interface HeadOptions extends GetOptions {
  /** Look for a longer feed first. */
  update?: boolean | undefined
}

/** A callback with a position: block and byte offset in it. */
export type SeekCallback = (error: Error | null, index?: number, offset?: number) => void

// Bytes of blocks that a read stream holds ahead of its consumer.
const STREAM_BYTES = 256 * 1024

/**
 * A signed append-only log of blocks, or a verified copy of one.
 *
 * Asynchronous methods take a callback as last argument or return a promise. Called before the feed is open they
 * wait for that; after `close` they fail with `ERR_FEED_CLOSED`. The rejection of a call that nobody awaits does
 * not end the process.
 */
export class Feed<T = Uint8Array> extends Lifecycle {
  /** The strings that this class of feeds uses. */
  static readonly dialect: Dialect = DDATABASE
  /** The class of its replication streams. */
  static readonly Protocol: typeof ProtocolStream = ProtocolStream

  /** The discovery key of a public key: what peers find each other by without learning the key. */
  static discoveryKey(key: Uint8Array): Uint8Array {
    if (!(key instanceof Uint8Array)) throw argumentTypeError('key should be bytes')
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

  private readonly args: ParsedArguments
  private readonly create: StorageFactory
  private readonly codec: Codec
  private readonly onwrite: WriteHook | null
  private readonly appender: Appender
  private readonly finder: Finder
  private readonly waiters = new Waiters()
  private readonly selections = new Selections()
  private readonly replication: FeedReplication
  private readonly transfers: TransferStats | null
  private core: Core | null = null
  private files: FeedFiles | null = null
  private canWrite: boolean
  private isLive: boolean
  private noisePair: KeyPair | null
  private downloadingSet: boolean
  private expectedLength = -1
  // No block before this one is missing: where the search for "everything is here" goes on.
  private syncedTo = 0

  /**
   * @param storage - a directory, a function `(name) => storage`, or a storage class
   * @param key - public key: 32 bytes or 64 hexadecimal digits; without one the stored key is used or a new feed made
   * @param options - see {@link FeedOptions}
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
   */
  constructor(storage: Storage, options?: FeedOptions<T> | null)
  constructor(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null)
  constructor(storage: Storage, key?: Key | FeedOptions<T> | null, options?: FeedOptions<T> | null) {
    super()
    this.create = typeof storage === 'string' ? directoryStorage(storage) : toFactory(storage)
    this.args = parseArguments(key, options)
    const given = this.args.options
    this.key = this.args.key
    this.discoveryKey = this.key === null ? null : discoveryKey(this.key, this.dialect)
    this.secretKey = this.args.secretKey
    this.sparse = given.sparse === true
    this.maxRequests = given.maxRequests || 16
    this.downloading = given.downloading !== false
    this.uploading = given.uploading !== false
    this.allowPush = given.allowPush === true
    this.crypto = given.crypto ?? DEFAULT_CRYPTO
    this.timeouts = given.timeouts ?? {
      get: (callback) => callback(null),
      update: (callback) => callback(null)
    }
    this.codec = toCodec(given.valueEncoding)
    this.onwrite = given.onwrite ?? null
    this.canWrite = given.writable === true
    this.isLive = given.live !== false
    this.noisePair = given.noiseKeyPair ?? null
    this.downloadingSet = typeof given.downloading === 'boolean'
    this.transfers =
      given.stats === undefined || given.stats
        ? { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 0, downloadedBytes: 0 }
        : null
    this.appender = new Appender(this.appendTarget())
    this.finder = new Finder(this.finderSource())
    this.replication = new FeedReplication(this.replicationHost())
    this.extensions = this.replication.extensions
    this._storage = new RawStorage(this.rawSource())

    if (!this.sparse) this.download({ start: 0, end: -1 })
    else if (given.eagerUpdate === true) this.updateForEver()
    this.start()
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

  /** Whether `append` works; false after closing. */
  get writable(): boolean {
    return this.canWrite && !this.closed
  }

  /** True until the feed is closed. */
  get readable(): boolean {
    return !this.closing && !this.closed
  }

  /** Whether the feed is signed as it grows; false for a static feed. */
  get live(): boolean {
    return this.core?.live ?? this.isLive
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

  /** The largest length that a connected peer claims to have. */
  get remoteLength(): number {
    return this.replication.replicator.remoteLength
  }

  /** Connected peers, in no particular order. */
  get peers(): readonly Peer[] {
    return this.replication.replicator.peers
  }

  /** Counters, or null if switched off; `totals` is the live object. */
  get stats(): { peers: TransferStats[]; totals: TransferStats } | null {
    if (this.transfers === null) return null
    return { peers: this.peers.map((peer) => peer.stats!), totals: this.transfers }
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](_depth: number, options: object): string {
    return inspectFeed(this.dialect.inspectName, this, options)
  }

  /** Closes the feed at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // ---- writing ----

  /**
   * Appends a value, or an array of values as one batch. Calls made while an append is running become one batch.
   * @returns the index of the first block
   * Errors: `ERR_NOT_WRITABLE`, `ERR_ENCODING`, `ERR_BLOCK_TOO_LARGE`, `ERR_SIGNING`, `ERR_STORAGE`,
   * `ERR_WRITE_REFUSED`, `ERR_FEED_CLOSED`, and what the `onwrite` hook says. A rejected append changes nothing.
   */
  append(data: T | readonly T[]): Promise<number>
  append(data: T | readonly T[], callback: Callback<number> | undefined): Promise<number>
  append(data: T | readonly T[], callback?: Callback<number>): Promise<number> {
    const values: readonly unknown[] = Array.isArray(data) ? data : [data]
    return settle(this.closingBegun ? this.whenReady().then(() => 0) : this.appender.append(values), callback)
  }

  /** Waits until everything appended so far is stored. */
  flush(callback?: Callback<number>): Promise<number> {
    return this.append([], callback)
  }

  /**
   * Verifies a block against its proof and stores it.
   * @param data - the value, or null to store its hash only
   * Errors: `ERR_PROOF_MALFORMED`, `ERR_PROOF_CHECKSUM`, `ERR_PROOF_SIGNATURE`, `ERR_PROOF_NO_SIGNATURE`,
   * `ERR_ROOTS_MISSING`, `ERR_DATA_SIZE`, `ERR_ENCODING`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  put(index: number, data: T | null, proof: Proof, callback?: Callback): Promise<void> {
    return settle(this.putValue(index, data, proof), callback)
  }

  private async putValue(index: number, data: T | null, proof: Proof): Promise<void> {
    const block = checkIndex(index)
    if (typeof proof !== 'object' || proof === null || !Array.isArray(proof.nodes)) {
      throw argumentTypeError('proof should be an object with nodes and a signature')
    }
    const value = data === null ? null : encodeBlock(this.codec, data)
    const core = await this.whenReady()
    // The nodes are used up, as they were in the published packages.
    const claim = { block, value, nodes: proof.nodes.splice(0), signature: proof.signature ?? null }
    await this.putClaim(core, claim, null)
  }

  private putClaim(core: Core, claim: Claim, peer: Peer | null): Promise<void> {
    return putBlock(core, claim, peer, {
      crypto: this.crypto,
      key: this.key,
      beforeWrite: (at, bytes, from) => this.askHook(at, bytes, from),
      stored: (...stored) => this.blockStored(core, ...stored)
    })
  }

  /**
   * Forgets blocks `start` … `end` − 1 (by default one) and deletes their bytes; their hashes stay.
   * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  clear(start: number, callback?: Callback): Promise<void>
  clear(start: number, end: number | null | undefined, callback?: Callback): Promise<void>
  clear(
    start: number,
    end: number | null | undefined,
    options: ClearOptions | null | undefined,
    callback?: Callback
  ): Promise<void>
  clear(
    start: number,
    end?: number | null | Callback,
    options?: ClearOptions | null | Callback,
    callback?: Callback
  ): Promise<void> {
    if (typeof end === 'function') return this.clear(start, undefined, null, end)
    if (typeof options === 'function') return this.clear(start, end, null, options)
    return settle(this.clearRange(start, end ?? start + 1, options ?? {}), callback)
  }

  private async clearRange(start: number, end: number, options: ClearOptions): Promise<void> {
    checkIndex(start, 'start')
    checkIndex(end, 'end')
    if (options.byteOffset !== undefined) checkBytes(options.byteOffset, 'byteOffset')
    if (options.byteLength !== undefined) checkBytes(options.byteLength, 'byteLength')
    const core = await this.whenReady()
    const indexing = this.args.options.indexing === true
    if (!(await core.mutex.run(() => clearBlocks(core, start, end, options, indexing)))) return
    this.blocksGone()
    this.replication.replicator.unannounce(start, end - start)
    this.notify('clear', start, end)
  }

  /**
   * Cuts the feed down to `newLength` blocks. Beware: whoever has copied the removed part sees a fork.
   * Errors: `ERR_NODE_NOT_FOUND` if the feed is shorter, `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  truncate(newLength: number, callback?: Callback): Promise<void> {
    return settle(this.truncateTo(newLength), callback)
  }

  private async truncateTo(newLength: number): Promise<void> {
    checkIndex(newLength, 'newLength')
    const core = await this.whenReady()
    const sign = this.secretKey === null ? null : this.appender.signHead.bind(this.appender)
    const oldLength = core.length
    if (!(await core.mutex.run(() => truncateFeed(core, newLength, sign)))) return
    this.blocksGone()
    this.replication.replicator.unannounce(newLength, oldLength - newLength)
  }

  /** Makes the hash of a static feed its key and stores it; on other feeds it stores the key again. */
  finalize(callback?: Callback): Promise<void> {
    return settle(this.finalizeKey(), callback)
  }

  private async finalizeKey(): Promise<void> {
    const core = await this.whenReady()
    await core.mutex.run(async () => {
      const key = this.key ?? treeHash(core.roots)
      await this.files!.key.write(0, key).catch((error) => {
        throw storageError(error)
      })
      this.setKeys(key, this.secretKey)
    })
  }

  // ---- reading ----

  /**
   * The value of a block; waits for it if it is not here.
   * @returns a promise, or with a callback what `cancel` knows the call by
   * Errors: `ERR_BLOCK_NOT_DOWNLOADED`, `ERR_BLOCK_NOT_AVAILABLE`, `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`,
   * `ERR_DECODING`, `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  get(index: number, options?: GetOptions | null): Promise<T>
  get(index: number, callback: Callback<T>): unknown
  get(index: number, options: GetOptions | null | undefined, callback: Callback<T>): unknown
  get(index: number, options?: GetOptions | null | Callback<T>, callback?: Callback<T>): unknown {
    if (typeof options === 'function') return this.get(index, null, options)
    const token = options?.cancel ?? (callback && Symbol('get'))
    const value = this.getValue(index, options ?? {}, token)
    if (callback === undefined) return settle(value, undefined)
    settle(value, callback)
    const refused = options?.wait === false && this.core !== null && this.core.bits.get(index) === false
    return refused ? undefined : token
  }

  private getValue(index: number, options: GetOptions, token: unknown): Promise<T> {
    const { core } = this
    try {
      checkIndex(index)
      checkTimeout(options.timeout)
      const codec = this.codecFor(options.valueEncoding)
      if (core !== null && this.usable && core.bits.get(index)) {
        const block = readBlockSync(core, index)
        if (block !== null) return Promise.resolve((isBinary(codec) ? block : decodeBlock(codec, block)) as T)
      }
      return this.guarded(
        this.finder
          .block(index, token, this.withDefaults(options), options.onwait)
          .then((block) => decodeBlock(codec, block) as T)
      )
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The values of blocks `start` … `end` − 1; downloads what is missing.
   * Errors: as {@link get}, and `ECANCELED` if the download is cancelled.
   */
  getBatch(start: number, end: number, options?: GetOptions | null): Promise<T[]>
  getBatch(start: number, end: number, callback: Callback<T[]>): Promise<T[]>
  getBatch(
    start: number,
    end: number,
    options: GetOptions | null | undefined,
    callback: Callback<T[]> | undefined
  ): Promise<T[]>
  getBatch(
    start: number,
    end: number,
    options?: GetOptions | null | Callback<T[]>,
    callback?: Callback<T[]>
  ): Promise<T[]> {
    if (typeof options === 'function') return this.getBatch(start, end, null, options)
    return settle(this.guarded(this.getRange(start, end, options ?? {})), callback)
  }

  private async getRange(start: number, end: number, options: GetOptions): Promise<T[]> {
    checkIndex(start, 'start')
    checkIndex(end, 'end')
    const timeout = checkTimeout(options.timeout)
    const codec = this.codecFor(options.valueEncoding)
    const core = await this.whenReady()
    if (core.bits.firstMissing(start, end) !== -1) {
      if (options.wait === false) throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED')
      await this.downloadWithin(this.download({ start, end }), timeout)
    }
    const blocks = await readBlocks(core, start, end)
    return (isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))) as T[]
  }

  private async downloadWithin(selection: Selection, timeout: number): Promise<void> {
    if (timeout === 0) return selection
    let timer: ReturnType<typeof setTimeout> | undefined
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new DDatabaseError('ETIMEDOUT')), timeout)
    })
    try {
      await Promise.race([selection, expired])
    } catch (error) {
      this.selections.cancel(selection)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** The value of the last block. Errors: `ERR_FEED_EMPTY`, and those of {@link get}. */
  head(options?: HeadOptions | null): Promise<T>
  head(callback: Callback<T>): Promise<T>
  head(options: HeadOptions | null | undefined, callback: Callback<T> | undefined): Promise<T>
  head(options?: HeadOptions | null | Callback<T>, callback?: Callback<T>): Promise<T> {
    if (typeof options === 'function') return this.head(null, options)
    return settle(this.lastValue(options ?? {}), callback)
  }

  private async lastValue(options: HeadOptions): Promise<T> {
    await this.whenReady()
    // A failed update is no failure: the head that is known is still the answer.
    if (options.update === true) await this.update(options).catch(ignore)
    if (this.length === 0) throw new DDatabaseError('ERR_FEED_EMPTY')
    return this.get(this.length - 1, options)
  }

  /** Waits until the feed is longer: by one block, or as long as `minLength`. Errors: `ERR_UPDATE_NOT_AVAILABLE`,
   * `ERR_UNEXPECTED_LENGTH`, `ETIMEDOUT`, `ERR_FEED_CLOSED`. */
  update(options?: UpdateOptions | number | null): Promise<void>
  update(callback: Callback): Promise<void>
  update(options: UpdateOptions | number | null | undefined, callback: Callback | undefined): Promise<void>
  update(options?: UpdateOptions | number | null | Callback, callback?: Callback): Promise<void> {
    if (typeof options === 'function') return this.update(null, options)
    return settle(
      this.updateTo(typeof options === 'number' ? { minLength: options } : (options ?? {})),
      callback
    )
  }

  private async updateTo(options: UpdateOptions): Promise<void> {
    if (options.minLength !== undefined && options.minLength !== -1)
      checkIndex(options.minLength, 'minLength')
    checkTimeout(options.timeout)
    const core = await this.whenReady()
    const wanted = options.minLength ?? -1
    const length = wanted === -1 ? core.length + 1 : wanted
    if (core.length >= length) return
    const settings = this.withDefaults(options)
    if (settings.ifAvailable === true && this.canWrite && options.force !== true) {
      throw new DDatabaseError('ERR_UPDATE_NOT_AVAILABLE')
    }
    await this.guarded(this.finder.length(length, { ...options, ...settings }))
  }

  /** A hint from outside: the feed is known to have `length` blocks, so updates that hope for more can give up. */
  setExpectedLength(length: number): void {
    this.expectedLength = checkIndex(length, 'length')
    this.whenReady().then((core) => {
      this.ifAvailable.ready(() => {
        this.expectedLength = -1
      })
      if (this.expectedLength === -1 || this.expectedLength > core.length) return
      this.waiters.failAll(
        new DDatabaseError('ERR_UNEXPECTED_LENGTH'),
        ({ wish, ifAvailable }) => wish.kind === 'update' && ifAvailable
      )
    }, ignore)
  }

  /**
   * The block that contains byte `bytes` of the feed, and the offset in it; waits for the nodes that tell.
   * @returns `{ index, offset }`; a callback gets them as two arguments
   * Errors: `ERR_SEEK_OUT_OF_BOUNDS` and `ERR_SEEK_NOT_FOUND` (without waiting), `ERR_SEEK_NOT_AVAILABLE`,
   * `ETIMEDOUT`, `ERR_REQUEST_CANCELLED`, `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  seek(bytes: number, options?: SeekOptions | null): Promise<{ index: number; offset: number }>
  seek(bytes: number, callback: SeekCallback): Promise<{ index: number; offset: number }>
  seek(
    bytes: number,
    options: SeekOptions | null | undefined,
    callback: SeekCallback | undefined
  ): Promise<{ index: number; offset: number }>
  seek(
    bytes: number,
    options?: SeekOptions | null | SeekCallback,
    callback?: SeekCallback
  ): Promise<{ index: number; offset: number }> {
    if (typeof options === 'function') return this.seek(bytes, null, options)
    const place = this.guarded(this.seekPlace(bytes, options ?? {}))
    return settle(
      place,
      callback && ((error, found) => (error ? callback(error) : callback(null, found!.index, found!.offset)))
    )
  }

  private async seekPlace(bytes: number, options: SeekOptions): Promise<{ index: number; offset: number }> {
    checkBytes(bytes)
    checkTimeout(options.timeout)
    if (options.start !== undefined) checkIndex(options.start, 'start')
    if (options.end !== undefined && options.end !== -1) checkIndex(options.end, 'end')
    return this.finder.place(bytes, { ...options, ...this.withDefaults(options) })
  }

  /** Whether a block, or every block of `start` … `end` − 1, is here. Throws `ERR_FEED_NOT_OPEN` before opening. */
  has(index: number, callback?: Callback<boolean>): boolean
  has(start: number, end: number | undefined, callback?: Callback<boolean>): boolean
  has(start: number, end?: number | Callback<boolean>, callback?: Callback<boolean>): boolean {
    if (typeof end === 'function') return this.has(start, undefined, end)
    const core = this.openCore()
    checkIndex(start, 'start')
    if (end !== undefined) checkIndex(end, 'end')
    const present =
      end === undefined ? core.bits.get(start) : start <= end && core.bits.firstMissing(start, end) === -1
    if (callback) settle(Promise.resolve(present), callback)
    return present
  }

  /**
   * How many blocks of `start` … `end` − 1 are here; an `end` of 0 or none means all.
   * Throws `ERR_FEED_NOT_OPEN` before opening.
   */
  downloaded(callback?: Callback<number>): number
  downloaded(start: number | undefined, callback?: Callback<number>): number
  downloaded(start: number | undefined, end: number | undefined, callback?: Callback<number>): number
  downloaded(
    start?: number | Callback<number>,
    end?: number | Callback<number>,
    callback?: Callback<number>
  ): number {
    if (typeof start === 'function') return this.downloaded(undefined, undefined, start)
    if (typeof end === 'function') return this.downloaded(start, undefined, end)
    const core = this.openCore()
    const from = checkIndex(typeof start === 'number' && start < 0 ? 0 : (start ?? 0), 'start')
    const to = checkIndex(typeof end === 'number' && end < 0 ? 0 : (end ?? 0), 'end')
    const count = end !== undefined && end < 0 ? 0 : core.bits.total(from, to || core.bits.length)
    if (callback) settle(Promise.resolve(count), callback)
    return count
  }

  /**
   * Marks blocks for download: a range, one block, an array of blocks, or everything.
   * @returns the selection, which can be awaited and passed to {@link undownload}
   * Errors: `ECANCELED`, `ERR_FEED_CLOSED`. Throws TypeError or RangeError for a range that is none.
   */
  download(range?: DownloadRange | number | readonly number[] | null, callback?: Callback): Selection
  download(callback: Callback): Selection
  download(
    range?: DownloadRange | number | readonly number[] | null | Callback,
    callback?: Callback
  ): Selection {
    if (typeof range === 'function') return this.download(null, range)
    const selection = new Selection(toRange(range), callback)
    if (this.closingBegun) {
      selection.finish(new DDatabaseError('ERR_FEED_CLOSED'))
      return selection
    }
    this.selections.add(selection)
    if (this.core !== null) {
      this.selections.check(this.core)
      this.replication.replicator.downloadAdded(selection)
    }
    return selection
  }

  /** Gives up a download: this selection, or the first one with the same range. Unknown ones are ignored. */
  undownload(range: DownloadRange | number | null | undefined): void {
    if (range === null || range === undefined) return
    if (this.selections.cancel(range instanceof Selection ? range : toRange(range))) this.requestsChanged()
  }

  /**
   * Cancels one `get` by what it returned (or by its `cancel` option), or the gets, seeks and downloads within
   * blocks `start` … `end` − 1. Their callbacks get `ERR_REQUEST_CANCELLED`, downloads `ECANCELED`.
   */
  cancel(start: unknown, end?: number): void {
    if (typeof start !== 'number') {
      this.waiters.cancel(start)
      this.requestsChanged()
      return
    }
    const first = checkIndex(start, 'start')
    const last = end === undefined ? first + 1 : checkIndex(end, 'end')
    this.selections.cancelRange(first, last)
    this.waiters.cancelRange(first, last)
    this.requestsChanged()
  }

  /** Something is not wanted any more. */
  private requestsChanged(): void {
    if (this.core !== null) this.replication.replicator.cancelled()
  }

  /** Chooses whether blocks are fetched from peers. */
  setDownloading(downloading: boolean): void {
    this.downloading = downloading
    this.downloadingSet = true
    for (const peer of [...this.peers]) peer.setDownloading(downloading)
  }

  /** Chooses whether blocks are sent to peers. */
  setUploading(uploading: boolean): void {
    this.uploading = uploading
    for (const peer of [...this.peers]) peer.setUploading(uploading)
  }

  /** Reads blocks in order. */
  createReadStream(options: ReadStreamOptions = {}): ReadStream {
    const codec = this.codecFor(options.valueEncoding)
    const feed = this
    return new ReadStream(
      {
        get length() {
          return feed.length
        },
        ready: () => feed.whenReady().then(ignore),
        get: (index, settings) => feed.get(index, settings),
        readRun: (index, limit, count) => feed.guarded(feed.readRun(index, limit, count, codec)),
        cancel: (token) => feed.waiters.cancel(token)
      },
      options
    )
  }

  /** Values from `index` on that are here already, few enough to hold in memory. */
  private async readRun(index: number, limit: number, count: number, codec: Codec): Promise<unknown[]> {
    const core = await this.whenReady()
    const most = Math.min(limit, index + count, Math.max(core.length, index + 1))
    const missing = core.bits.firstMissing(index, most)
    const present = missing === -1 ? most : missing
    if (present <= index) return []
    const blocks = await readBlocks(core, index, await runEnd(core, index, present, STREAM_BYTES))
    return isBinary(codec) ? blocks : blocks.map((block) => decodeBlock(codec, block))
  }

  /** Appends what is written to it. */
  createWriteStream(options: WriteStreamOptions = {}): WriteStream {
    return new WriteStream({ append: (values) => this.append(values as T[]) }, options)
  }

  // ---- proofs ----

  /** The first stored signature at or after a block (by default the last). Errors: `ERR_NO_SIGNATURE`,
   * `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`. */
  signature(index?: number): Promise<StoredSignature>
  signature(callback: Callback<StoredSignature>): Promise<StoredSignature>
  signature(
    index: number | undefined,
    callback: Callback<StoredSignature> | undefined
  ): Promise<StoredSignature>
  signature(
    index?: number | Callback<StoredSignature>,
    callback?: Callback<StoredSignature>
  ): Promise<StoredSignature> {
    if (typeof index === 'function') return this.signature(undefined, index)
    const run = async (): Promise<StoredSignature> => {
      if (index !== undefined && !(Number.isInteger(index) && index < 0)) checkIndex(index)
      const core = await this.whenReady()
      return nextSignature(core, index ?? core.length - 1, this.crypto, this.key)
    }
    return settle(this.guarded(run()), callback)
  }

  /** Checks a signature of the feed that ends with block `index`. Errors: `ERR_SIGNATURE_INVALID`, `ERR_ROOTS_MISSING`. */
  verify(index: number, signature: Uint8Array, callback?: Callback<true>): Promise<true> {
    const run = async (): Promise<true> => {
      checkIndex(index)
      if (!(signature instanceof Uint8Array)) throw argumentTypeError('signature should be bytes')
      const core = await this.whenReady()
      if (this.key === null) throw new DDatabaseError('ERR_SIGNATURE_INVALID')
      await verifySignature(core, index + 1, signature, this.crypto, this.key)
      return true
    }
    return settle(this.guarded(run()), callback)
  }

  /** Root nodes of the feed that ends with block `index`. Errors: `ERR_ROOTS_MISSING`, `ERR_STORAGE`. */
  rootHashes(index: number, callback?: Callback<TreeNode[]>): Promise<TreeNode[]> {
    const run = async (): Promise<TreeNode[]> => {
      checkIndex(index)
      return rootsOf(await this.whenReady(), index + 1)
    }
    return settle(this.guarded(run()), callback)
  }

  /** What proves a block to somebody with the public key. Errors: `ERR_NO_PROOF`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`. */
  proof(index: number, options?: ProofOptions | null): Promise<Proof>
  proof(index: number, callback: Callback<Proof>): Promise<Proof>
  proof(
    index: number,
    options: ProofOptions | null | undefined,
    callback: Callback<Proof> | undefined
  ): Promise<Proof>
  proof(
    index: number,
    options?: ProofOptions | null | Callback<Proof>,
    callback?: Callback<Proof>
  ): Promise<Proof> {
    if (typeof options === 'function') return this.proof(index, null, options)
    const run = async (): Promise<Proof> => {
      checkIndex(index)
      if (options?.digest !== undefined) checkBytes(options.digest, 'digest')
      return createProof(await this.whenReady(), index, options ?? {})
    }
    return settle(this.guarded(run()), callback)
  }

  /** The leaf node of a block. */
  protected async leaf(index: number): Promise<TreeNode> {
    checkIndex(index)
    const core = await this.whenReady()
    return this.guarded(
      core.storage.tree.require(2 * index).catch((error) => {
        throw storageError(error)
      })
    )
  }

  /** Summary of the nodes known around a block, for a request (spec WIRE §9.2). Throws `ERR_FEED_NOT_OPEN`. */
  digest(index: number): number {
    return this.openCore().tree.digest(2 * checkIndex(index))
  }

  /**
   * Compares every block that is here with its hash; forgets those that differ or cannot be read.
   * Errors: `ERR_STORAGE`, `ERR_FEED_CLOSED`.
   */
  audit(callback?: Callback<AuditReport>): Promise<AuditReport> {
    const run = async (): Promise<AuditReport> => {
      const report = await auditFeed(await this.whenReady())
      if (report.invalid > 0) this.blocksGone()
      return report
    }
    return settle(this.guarded(run()), callback)
  }

  // ---- peers ----

  /**
   * Replicates the feed: pipe the stream into the remote's and back (spec API §8.1).
   * @param initiator - true on one side and false on the other; or a stream that already carries other feeds
   * @throws TypeError `ERR_INVALID_ARG_TYPE`
   */
  replicate(
    initiator?: boolean | ProtocolStream | ReplicateOptions,
    options?: ReplicateOptions | null
  ): ProtocolStream {
    return this.replication.replicate(initiator, options ?? undefined)
  }

  /**
   * Messages of the application's own to and from peers of this feed.
   * @throws TypeError `ERR_INVALID_ARG_VALUE` if there is one of this name
   */
  registerExtension<M = Uint8Array>(
    name: string,
    handlers?: ExtensionHandlers<M, Peer> | ((extension: Extension<M, Peer>) => ExtensionHandlers<M, Peer>)
  ): Extension<M, Peer> {
    return this.extensions.add(name, handlers)
  }

  /** Sends an extension message, by the position of the extension, to all peers. Use {@link registerExtension} instead. */
  extension(id: number, message: Uint8Array): void {
    for (const peer of this.peers) peer.extension(id, message)
  }

  // ---- the end ----

  /** Closes the feed and deletes its files. Errors: `ERR_STORAGE`. */
  destroyStorage(callback?: Callback): Promise<void> {
    const run = async (): Promise<void> => {
      await this.close()
      await this.core?.storage.destroy()
    }
    return settle(run(), callback)
  }

  // ---- life cycle ----

  protected override async openResource(): Promise<void> {
    const opened = await openFeed(this.create, this.args, this.dialect, (key, secretKey) =>
      this.setKeys(key, secretKey)
    )
    this.setKeys(opened.key, opened.secretKey)
    this.core = opened.core
    this.files = opened.files
    this.canWrite = opened.writable
    if (!this.downloadingSet) this.downloading = !opened.writable
    this.selections.check(opened.core)
  }

  protected override openFailed(error: Error, told: boolean): void {
    if (this.listenerCount('error') > 0 || !told) this.emit('error', error)
  }

  protected override async closeResource(): Promise<void> {
    await this.appender.idle()
    await this.core?.mutex.drained()
    this.replication.replicator.close()
    const closed = new DDatabaseError('ERR_FEED_CLOSED')
    this.ifAvailable.destroy()
    this.waiters.failAll(closed)
    this.selections.failAll(closed)
    this.canWrite = false
    await this.core?.storage.close()
  }

  private get dialect(): Dialect {
    return (this.constructor as typeof Feed).dialect
  }

  private setKeys(key: Uint8Array | null, secretKey: Uint8Array | null): void {
    this.key = key
    this.discoveryKey = key === null ? null : discoveryKey(key, this.dialect)
    this.secretKey = secretKey
  }

  /** The open feed. Errors: why opening failed, `ERR_FEED_CLOSED`. */
  private async whenReady(): Promise<Core> {
    if (this.usable) return this.core!
    if (this.closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    await this.open()
    if (this.closingBegun) throw new DDatabaseError('ERR_FEED_CLOSED')
    return this.core!
  }

  private openCore(): Core {
    if (this.core === null) throw new DDatabaseError('ERR_FEED_NOT_OPEN')
    return this.core
  }

  /** A storage that was closed under a call is no failure of the storage. */
  private async guarded<V>(call: Promise<V>): Promise<V> {
    try {
      return await call
    } catch (error) {
      const closedUnder = this.closingBegun && DDatabaseError.is(error) && error.code === 'ERR_STORAGE'
      throw closedUnder ? new DDatabaseError('ERR_FEED_CLOSED', { cause: error }) : error
    }
  }

  private codecFor(valueEncoding: unknown): Codec {
    return valueEncoding === undefined || valueEncoding === null ? this.codec : toCodec(valueEncoding)
  }

  private withDefaults(options: WaitOptions): WaitOptions {
    return {
      wait: options.wait,
      timeout: options.timeout,
      ifAvailable:
        typeof options.ifAvailable === 'boolean'
          ? options.ifAvailable
          : this.args.options.ifAvailable === true
    }
  }

  private async askHook(index: number, data: Uint8Array | null, peer: unknown): Promise<void> {
    const { onwrite } = this
    if (onwrite !== null) await promised((callback) => onwrite(index, data, peer, callback))
  }

  private blockStored(
    core: Core,
    index: number,
    data: Uint8Array | null,
    isNew: boolean,
    peer: unknown,
    grew: boolean
  ): void {
    if (grew) this.notify('append')
    if (data === null) {
      this.waiters.changed(core.length)
      this.selections.check(core)
      return
    }
    this.replication.replicator.announce(index, 1, peer)
    if (isNew) {
      if (this.transfers !== null) {
        this.transfers.downloadedBlocks++
        this.transfers.downloadedBytes += data.byteLength
      }
      this.notify('download', index, data, peer)
    }
    this.waiters.stored(index, index + 1, core.length)
    this.selections.check(core)
    if (this.canWrite) return
    const missing = core.bits.firstMissing(this.syncedTo, core.length)
    this.syncedTo = missing === -1 ? core.length : missing
    if (missing === -1) this.notify('sync')
  }

  private blocksGone(): void {
    this.syncedTo = 0
    this.selections.rewind()
  }

  private updateForEver(): void {
    this.update().then(
      () => this.updateForEver(),
      (error) => {
        if (this.closingBegun || !this.opened) return
        this.notify('update-error', error)
        this.updateForEver()
      }
    )
  }

  private appendTarget(): ConstructorParameters<typeof Appender>[0] {
    const feed = this
    return {
      // Appends that were accepted before closing are finished, so this does not ask whether the feed is closing.
      ready: () => (feed.core !== null ? Promise.resolve(feed.core) : feed.whenReady()),
      checkWritable: () => {
        if (!feed.canWrite) throw new DDatabaseError('ERR_NOT_WRITABLE')
      },
      codec: feed.codec,
      crypto: feed.crypto,
      get secretKey() {
        return feed.secretKey
      },
      onwrite: feed.onwrite,
      indexing: feed.args.options.indexing === true,
      appended: (start, count) => {
        feed.notify('append')
        feed.replication.replicator.announce(start, count, null)
        feed.waiters.stored(start, start + count, feed.length)
        feed.selections.check(feed.core!)
      }
    }
  }

  private finderSource(): ConstructorParameters<typeof Finder>[0] {
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

  private replicationHost(): ConstructorParameters<typeof FeedReplication>[0] {
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
      Protocol: (feed.constructor as typeof Feed).Protocol,
      tellsEachCall: feed.dialect === DDATABASE,
      ready: () => feed.whenReady(),
      get usable() {
        return feed.usable && !feed.closingBegun
      },
      put: (claim, peer) => feed.putClaim(feed.core!, claim, peer),
      appending: () => (feed.appender.busy ? feed.appender.idle() : null),
      downloadEverything: () => void feed.download({ start: 0, end: -1 }),
      emit: (event, ...values) => feed.notify(event, ...values)
    }
  }

  private rawSource(): ConstructorParameters<typeof RawStorage>[0] {
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
}

/** A download range in its short forms. Errors: TypeError, RangeError. */
function toRange(range: DownloadRange | number | readonly number[] | null | undefined): DownloadRange {
  if (range === null || range === undefined) return {}
  if (typeof range === 'number') return { start: checkIndex(range), end: range + 1 }
  if (Array.isArray(range)) return toRange({ blocks: range })
  if (typeof range !== 'object') throw argumentTypeError('range should be a number, an array or an object')
  const { start, end, blocks } = range as DownloadRange
  if (start !== undefined && start !== null) checkIndex(start, 'start')
  if (end !== undefined && end !== null && end !== -1) checkIndex(end, 'end')
  if (blocks) for (const block of blocks) checkIndex(block, 'block')
  if (typeof end === 'number' && end !== -1 && end < (start ?? 0)) {
    throw argumentRangeError(`end should not be before start, got ${start} to ${end}`)
  }
  return range as DownloadRange
}
