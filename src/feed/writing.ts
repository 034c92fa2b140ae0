import { treeHash } from '../crypto/hash.ts'
import { argumentTypeError, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Claim, Proof } from '../merkle/verify.ts'
import type { Peer } from '../replication/peer.ts'
import { storageError } from '../storage/storage-error.ts'
import { type Callback, checkCallback, ignore, settle } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import type { Core } from './core.ts'
import { type Appendable, encodeBlock } from './encoding.ts'
import { FeedParts } from './feed-parts.ts'
import type { Belief } from './growth.ts'
import { type ClearOptions, clearBlocks, forgetSubtrees, truncateFeed } from './maintenance.ts'
import { checkBytes, checkIndex, checkOptions } from './options.ts'
import { type PutOutcome, putBlocks } from './putting.ts'

/** Options of `append`. */
export interface AppendOptions {
  /**
   * Append also if a longer history of this feed is signed that is not here (`ERR_BEHIND`), and give that history up:
   * whoever has it sees a fork. Default false.
   */
  force?: boolean | undefined
}

/** The part of a feed that changes it. */
export abstract class WritingFeed<T> extends FeedParts<T> {
  /**
   * Appends a value, or an array of values as one batch. Calls made while an append is running become one batch.
   * Values are encoded at once; buffers are not copied, and must not be changed until the append is answered.
   * @returns the index of the first block
   * Errors: `ERR_NOT_WRITABLE`, `ERR_BEHIND`, `ERR_ENCODING`, `ERR_BLOCK_TOO_LARGE`, `ERR_SIGNING`, `ERR_STORAGE`,
   * `ERR_WRITE_REFUSED`, `ERR_FEED_CLOSED`, and what the `onwrite` hook says. A rejected append changes nothing.
   */
  append(data: Appendable<T> | readonly Appendable<T>[]): Promise<number>
  append(
    data: Appendable<T> | readonly Appendable<T>[],
    options: AppendOptions | null | undefined
  ): Promise<number>
  append(data: Appendable<T> | readonly Appendable<T>[], callback: Callback<number> | null | undefined): void
  append(
    data: Appendable<T> | readonly Appendable<T>[],
    options: AppendOptions | null | undefined,
    callback: Callback<number> | null | undefined
  ): void
  append(
    data: Appendable<T> | readonly Appendable<T>[],
    given?: AppendOptions | Callback<number> | null,
    last?: Callback<number> | null
  ): Promise<number> | undefined {
    const callback = typeof given === 'function' ? given : last
    checkCallback(callback)
    let force: boolean
    try {
      const options = checkOptions(typeof given === 'function' ? null : given)
      // Unlike other flags not by truthiness: the history that is given up does not come back.
      force = options.force === true
    } catch (error) {
      return settle(Promise.reject<number>(error), callback)
    }
    if (!isGiven(callback)) {
      const promise = new Promise<number>((resolve, reject) => {
        this._appendData(data, force, (error, seq) => (error === null ? resolve(seq!) : reject(error)))
      })
      promise.catch(ignore)
      return promise
    }
    this._appendData(data, force, callback)
    return undefined
  }

  private _appendData(data: unknown, force: boolean, answer: Callback<number>): void {
    if (this._closingBegun) queueMicrotask(() => answer(new DDatabaseError('ERR_FEED_CLOSED')))
    else this._appender.append(data, answer, force)
  }

  /**
   * Waits until everything appended so far is stored, and, where the storage offers that (a directory does), until it
   * survives a power failure. Errors: `ERR_STORAGE`.
   */
  flush(): Promise<number>
  flush(callback: Callback<number> | null | undefined): void
  flush(callback?: Callback<number> | null): unknown {
    checkCallback(callback)
    return this.append([], callback as Callback<number>)
  }

  /**
   * Verifies a block against its proof and stores it.
   * @param data - the value, or null to store its hash only
   * Errors: `ERR_PROOF_MALFORMED`, `ERR_PROOF_CHECKSUM`, `ERR_PROOF_SIGNATURE`, `ERR_PROOF_NO_SIGNATURE`,
   * `ERR_ROOTS_MISSING`, `ERR_DATA_SIZE`, `ERR_ENCODING`, `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  put(index: number, data: Appendable<T> | null, proof: Proof): Promise<void>
  put(index: number, data: Appendable<T> | null, proof: Proof, callback: Callback | null | undefined): void
  put(index: number, data: Appendable<T> | null, proof: Proof, callback?: Callback | null): unknown {
    checkCallback(callback)
    return settle(this._putValue(index, data, proof), callback)
  }

  private async _putValue(index: number, data: unknown, proof: Proof): Promise<void> {
    const block = checkIndex(index)
    if (typeof proof !== 'object' || proof === null || !Array.isArray(proof.nodes)) {
      throw argumentTypeError('proof should be an object with nodes and a signature')
    }
    const value = data === null ? null : encodeBlock(this._codec, data)
    const core = await this._whenReady()
    // The nodes are used up, as they were in the published packages.
    const claim = { block, value, nodes: takeNodes(proof.nodes), signature: proof.signature ?? null }
    const { error } = await this._putClaims(core, [claim], null, { longer: true, shorter: true })
    if (error !== undefined) throw error
  }

  protected override _putClaims(
    core: Core,
    claims: readonly Claim[],
    peer: Peer | null,
    belief: Belief
  ): Promise<PutOutcome> {
    return putBlocks(core, claims, peer, {
      application: this._application,
      key: this.key,
      belief,
      stored: (blocks) => this._blocksStored(core, blocks, peer),
      readable: (blocks) => this._blocksReadable(core, blocks)
    })
  }

  /**
   * Forgets blocks `start` … `end` − 1 (by default one) and deletes their bytes; their hashes stay.
   * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  clear(start: number, end?: number | null, options?: ClearOptions | null): Promise<void>
  clear(start: number, callback: Callback | null | undefined): void
  clear(start: number, end: number | null | undefined, callback: Callback | null | undefined): void
  clear(
    start: number,
    end: number | null | undefined,
    options: ClearOptions | null | undefined,
    callback: Callback | null | undefined
  ): void
  clear(
    start: number,
    end?: number | null | Callback,
    options?: ClearOptions | null | Callback,
    callback?: Callback | null
  ): unknown {
    if (typeof end === 'function') return this.clear(start, undefined, null, end)
    if (typeof options === 'function') return this.clear(start, end, null, options)
    checkCallback(callback)
    return settle(this._clearRange(start, end, options), callback)
  }

  private async _clearRange(
    start: number,
    upTo: number | null | undefined,
    given: ClearOptions | null | undefined
  ): Promise<void> {
    checkIndex(start, 'start')
    const end = checkIndex(upTo ?? start + 1, 'end')
    const options = checkOptions(given)
    if (isGiven(options.byteOffset)) checkBytes(options.byteOffset, 'byteOffset')
    if (isGiven(options.byteLength)) checkBytes(options.byteLength, 'byteLength')
    const core = await this._whenReady()
    const indexing = !!this._args.options.indexing
    const gone = await core.change(() => clearBlocks(core, start, end, options, indexing))
    if (gone === null) return
    const { replicator } = this._replication
    // Peers that come later are asked for them again, as by the published packages.
    const connected = replicator.peers.length > 0
    if (connected) this._selections.clear(gone)
    this._blocksGone(!connected)
    const from = gone[0]![0]
    replicator.unannounce(from, gone[gone.length - 1]![1] - from)
    this._notify('clear', start, end)
  }

  /**
   * Cuts the feed down to `newLength` blocks. Beware: whoever has copied the removed part sees a fork.
   * Errors: `ERR_NODE_NOT_FOUND` if the feed is shorter, `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  truncate(newLength: number): Promise<void>
  truncate(newLength: number, callback: Callback | null | undefined): void
  truncate(newLength: number, callback?: Callback | null): unknown {
    checkCallback(callback)
    return settle(this._truncateTo(newLength), callback)
  }

  private async _truncateTo(newLength: number): Promise<void> {
    checkIndex(newLength, 'newLength')
    await this._cutTo(await this._whenReady(), newLength, this.secretKey !== null)
  }

  protected override async _cutTo(core: Core, length: number, signs: boolean): Promise<void> {
    const oldLength = await truncateFeed(
      core,
      length,
      signs ? this._appender.signHead.bind(this._appender) : null
    )
    if (oldLength === null) return
    this._selections.forgetCleared(core)
    this._blocksGone()
    this._replication.replicator.shrunk(length)
    this._replication.replicator.unannounce(length, oldLength - length)
  }

  protected override async _forget(core: Core, length: number, roots: readonly number[]): Promise<void> {
    const gone = await core.change(() => forgetSubtrees(core, length, roots))
    if (gone.length === 0) return
    this._blocksGone()
    for (const [start, end] of gone) this._replication.replicator.unannounce(start, end - start)
  }

  /** Makes the hash of a static feed its key and stores it; on other feeds it stores the key again. */
  finalize(): Promise<void>
  finalize(callback: Callback | null | undefined): void
  finalize(callback?: Callback | null): unknown {
    checkCallback(callback)
    return settle(this._finalizeKey(), callback)
  }

  private async _finalizeKey(): Promise<void> {
    const core = await this._whenReady()
    await core.change(async () => {
      const key = this.key ?? treeHash(core.roots)
      await this._files!.key.write(0, key).catch((error) => {
        throw storageError(error)
      })
      this._setKeys(key, this.secretKey)
    })
  }
}

function takeNodes(nodes: TreeNode[]): TreeNode[] {
  const taken = [...nodes]
  if (!Object.isFrozen(nodes) && !Object.isSealed(nodes)) nodes.length = 0
  return taken
}
