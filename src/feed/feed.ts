import { argumentTypeError, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { TreeSet } from '../merkle/tree-set.ts'
import type { Proof } from '../merkle/verify.ts'
import type { Extension, ExtensionHandlers } from '../replication/extensions.ts'
import { checkExtension } from '../replication/frames.ts'
import type { Peer } from '../replication/peer.ts'
import type { ProtocolStream } from '../replication/stream.ts'
import type { StoredSignature } from '../storage/signatures-file.ts'
import { storageError } from '../storage/storage-error.ts'
import { checkSignal, throwIfAborted, untilAborted } from '../util/abort.ts'
import { isBytes } from '../util/bytes.ts'
import { type Callback, checkCallback, checkFunction, settle } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import { type AuditReport, auditFeed } from './audit.ts'
import type { ChosenEncoding, DecodedAs } from './encoding.ts'
import { type AuditOptions, type AuditSource, auditAll, type FullAuditReport } from './full-audit.ts'
import { checkBytes, checkIndex, checkOptions, type FeedOptions, type Key, type Storage } from './options.ts'
import { createProof, nextSignature, type ProofOptions, rootsOf, verifySignature } from './proofs.ts'
import type { ReplicateOptions } from './replication.ts'
import { StreamingFeed } from './streaming.ts'

/**
 * A signed append-only log of blocks, or a verified copy of one.
 *
 * Asynchronous methods take a callback as last argument or return a promise. Called before the feed is open they
 * wait for that; after `close` they fail with `ERR_FEED_CLOSED`. The rejection of a call that nobody awaits does
 * not end the process.
 */
export class Feed<T = Uint8Array> extends StreamingFeed<T> {
  /**
   * @param storage - a directory, a function `(name) => storage`, or a storage class
   * @param key - public key: 32 bytes or 64 hexadecimal digits; without one the stored key is used or a new feed made
   * @param options - see {@link FeedOptions}
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
   */
  constructor(storage: Storage, options?: FeedOptions<T> | null)
  constructor(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null)
  constructor(storage: Storage, key?: Key | FeedOptions<T> | null, options?: FeedOptions<T> | null) {
    super(storage, key, options)
    if (!this.sparse) this.download({ start: 0, end: -1 })
    this._start()
  }

  // ---- proofs ----

  /** The first stored signature at or after a block (by default the last). Errors: `ERR_NO_SIGNATURE`,
   * `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`. */
  signature(index?: number | null): Promise<StoredSignature>
  signature(callback: Callback<StoredSignature> | null | undefined): void
  signature(index: number | null | undefined, callback: Callback<StoredSignature> | null | undefined): void
  signature(
    index?: number | null | Callback<StoredSignature>,
    callback?: Callback<StoredSignature> | null
  ): unknown {
    if (typeof index === 'function') return this.signature(undefined, index)
    checkCallback(callback)
    const { _core: core } = this
    if (callback && core !== null && this._usable && !this._closingBegun) {
      const block = index ?? core.length - 1
      if (Number.isInteger(block) && (block < 0 || block >= core.length)) {
        // At once, as callers of the published packages know it.
        callback(new DDatabaseError('ERR_NO_SIGNATURE'))
        return undefined
      }
    }
    const run = async (): Promise<StoredSignature> => {
      if (isGiven(index) && !Number.isInteger(index)) checkIndex(index)
      const core = await this._whenReady()
      return nextSignature(core, index ?? core.length - 1, this._application, this.key)
    }
    return settle(this._guarded(run()), callback)
  }

  /** Checks a signature of the feed that ends with block `index`. Errors: `ERR_SIGNATURE_INVALID`, `ERR_ROOTS_MISSING`. */
  verify(index: number, signature: Uint8Array): Promise<true>
  verify(index: number, signature: Uint8Array, callback: Callback<true> | null | undefined): void
  verify(index: number, signature: Uint8Array, callback?: Callback<true> | null): unknown {
    checkCallback(callback)
    const run = async (): Promise<true> => {
      checkIndex(index)
      if (!isBytes(signature)) throw argumentTypeError('signature should be bytes')
      const core = await this._whenReady()
      if (this.key === null) throw new DDatabaseError('ERR_SIGNATURE_INVALID')
      await verifySignature(core, index + 1, signature, this._application, this.key)
      return true
    }
    return settle(this._guarded(run()), callback)
  }

  /** Root nodes of the feed that ends with block `index`. Errors: `ERR_ROOTS_MISSING`, `ERR_STORAGE`. */
  rootHashes(index: number): Promise<TreeNode[]>
  rootHashes(index: number, callback: Callback<TreeNode[]> | null | undefined): void
  rootHashes(index: number, callback?: Callback<TreeNode[]> | null): unknown {
    checkCallback(callback)
    const run = async (): Promise<TreeNode[]> => {
      checkIndex(index)
      return rootsOf(await this._whenReady(), index + 1)
    }
    return settle(this._guarded(run()), callback)
  }

  /** What proves a block to somebody with the public key. Errors: `ERR_NO_PROOF`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`. */
  proof(index: number, options?: ProofOptions | null): Promise<Proof>
  proof(index: number, callback: Callback<Proof> | null | undefined): void
  proof(
    index: number,
    options: ProofOptions | null | undefined,
    callback: Callback<Proof> | null | undefined
  ): void
  proof(
    index: number,
    given?: ProofOptions | null | Callback<Proof>,
    callback?: Callback<Proof> | null
  ): unknown {
    if (typeof given === 'function') return this.proof(index, null, given)
    checkCallback(callback)
    const run = async (): Promise<Proof> => {
      checkIndex(index)
      const options = checkOptions(given)
      if (isGiven(options.digest)) checkBytes(options.digest, 'digest')
      checkTree(options.tree)
      return createProof(await this._whenReady(), index, options)
    }
    return settle(this._guarded(run()), callback)
  }

  /** The leaf node of a block. */
  protected async _leaf(index: number): Promise<TreeNode> {
    checkIndex(index)
    const core = await this._whenReady()
    // Below a truncated end the file still has nodes; they do not count.
    if (!core.tree.get(2 * index)) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
    return this._guarded(
      core.storage.tree.require(2 * index).catch((error) => {
        throw storageError(error)
      })
    )
  }

  /** Summary of the nodes known around a block, for a request (spec WIRE §9.2). Throws `ERR_FEED_NOT_OPEN`. */
  digest(index: number): number {
    return this._openCore().tree.digest(2 * checkIndex(index))
  }

  /**
   * Compares every block that is here with its hash; forgets those that differ or cannot be read. With options also keys,
   * bits, the whole tree and the signatures are looked at, what is wrong is listed with its place, and may be mended.
   * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`, `ERR_REQUEST_CANCELLED`, `ERR_FEED_CLOSED`.
   */
  audit(options?: null): Promise<AuditReport>
  audit(options: AuditOptions): Promise<FullAuditReport>
  audit(callback: Callback<AuditReport> | null | undefined): void
  audit(options: null | undefined, callback: Callback<AuditReport> | null | undefined): void
  audit(options: AuditOptions, callback: Callback<FullAuditReport> | null | undefined): void
  audit(
    given?: AuditOptions | null | Callback<AuditReport>,
    callback?: Callback<FullAuditReport> | Callback<AuditReport> | null
  ): unknown {
    if (typeof given === 'function') return this.audit(null, given)
    checkCallback(callback)
    const run = async (): Promise<AuditReport> => {
      const options = checkOptions(given)
      const { signal } = options
      checkSignal(signal)
      checkFunction(options.onprogress, 'onprogress')
      throwIfAborted(signal)
      const core = await untilAborted(signal, this._whenReady())
      const closed = (): boolean => this._closingBegun
      if (given) return auditAll(core, { signal, closed, ...this._auditSource() }, options)
      return auditFeed(core, {
        signal,
        closed,
        forgotten: (blocks) => {
          if (blocks.length > 0) this._blocksGone()
          this._replication.replicator.unannounceAll(blocks)
        }
      })
    }
    return settle(this._guarded(run()), callback as Callback<AuditReport>)
  }

  private _auditSource(): Omit<AuditSource, 'signal' | 'closed'> {
    const {
      _application: application,
      _appender: appender,
      _args: args,
      _files: files,
      key,
      secretKey
    } = this
    const signs = secretKey !== null && !application.ownCrypto
    return {
      files: files!,
      key,
      secretKey,
      storesSecretKey: args.options.storeSecretKey !== false,
      sign: signs ? (roots, length) => appender.signHead(roots, length) : null
    }
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
    if (isGiven(options)) checkOptions(options)
    return this._replication.replicate(initiator, options ?? undefined)
  }

  /**
   * Messages of the application's own to and from peers of this feed. Their type follows from the encoding, or from what
   * `onmessage` takes.
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; `ERR_INVALID_ARG_VALUE` if there is one of this name
   */
  registerExtension<const E, M extends unknown extends E ? Uint8Array : DecodedAs<E, Uint8Array>>(
    name: string,
    handlers?: ExtensionHandlers<M, Peer> & {
      /** Name of a codec or a codec. Default `binary`. */
      encoding?: (E & ChosenEncoding) | undefined
    }
  ): Extension<M, Peer>
  registerExtension<M = Uint8Array>(
    name: string,
    handlers?: ExtensionHandlers<M, Peer> | ((extension: Extension<M, Peer>) => ExtensionHandlers<M, Peer>)
  ): Extension<M, Peer>
  registerExtension<M>(
    name: string,
    handlers?: ExtensionHandlers<M, Peer> | ((extension: Extension<M, Peer>) => ExtensionHandlers<M, Peer>)
  ): Extension<M, Peer> {
    if (typeof name !== 'string') throw argumentTypeError('name should be a string')
    if (typeof handlers !== 'function') checkOptions(handlers)
    return this.extensions.add(name, handlers)
  }

  /**
   * Sends an extension message, by the position of the extension, to all peers. Use {@link registerExtension} instead.
   * @throws TypeError, RangeError for what is no such number, or no bytes that are still there; then nothing is sent
   */
  extension(id: number, message: Uint8Array): void {
    checkExtension(id, message)
    for (const peer of this.peers) peer.extension(id, message)
  }

  // ---- the end ----

  /** Closes the feed and deletes its files. Errors: `ERR_STORAGE`. */
  destroyStorage(): Promise<void>
  destroyStorage(callback: Callback | null | undefined): void
  destroyStorage(callback?: Callback | null): unknown {
    checkCallback(callback)
    const run = async (): Promise<void> => {
      const failure = await this.open().then(
        () => null,
        (error: unknown) => error
      )
      await this.close()
      // What could not be opened may be locked or somebody else's: it is not deleted.
      if (this._core === null) throw failure
      await this._core.checkpoints?.destroy()
      await this._forgetHistories(this._core)
      await this._core.storage.destroy()
    }
    return settle(run(), callback)
  }
}

/** A tree set, also that of another copy of this package. Errors: TypeError. */
function checkTree(tree: unknown): void {
  if (!isGiven(tree)) return
  const { has, set } = tree as Partial<TreeSet>
  if (typeof has !== 'function' || typeof set !== 'function')
    throw argumentTypeError('tree should be a tree set')
}
