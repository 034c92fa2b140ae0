/** The entry point `ddatabase/hypercore`: the same feeds with hypercore 9's strings and its few extras. */
import { HYPERCORE } from './dialect.ts'
import { type FeedStatics, type FeedValue, feedFactory, type TypedFeedOptions } from './feed/factory.ts'
import { Feed as FeedClass } from './feed/feed.ts'
import type { FeedOptions, Key, Storage } from './feed/options.ts'
import type { GetOptions } from './feed/reading.ts'
import type { TreeNode } from './merkle/node.ts'
import { HypercoreProtocolStream } from './replication/stream.ts'
import { type Callback, checkCallback, settle } from './util/callback.ts'

class HypercoreFeed<T = Uint8Array> extends FeedClass<T> {
  static override readonly dialect = HYPERCORE
  static override readonly Protocol = HypercoreProtocolStream

  /** The leaf node of a block: its hash and size. Errors: `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
  getBlockInfo(index: number): Promise<TreeNode>
  getBlockInfo(index: number, callback: Callback<TreeNode> | null | undefined): void
  getBlockInfo(index: number, callback?: Callback<TreeNode> | null): Promise<TreeNode> {
    checkCallback(callback)
    return settle(this._leaf(index), callback)
  }

  // Not in the types. Modules that put methods of their own in place of these call the published package's private ones.

  protected _close(callback: Callback): void {
    super.close(callback)
  }

  protected _readyAndGet(index: number, options: GetOptions | null, callback: Callback<T>): unknown {
    this.ready((error) => (error ? callback(error) : this.get(index, options, callback)))
    return options?.cancel
  }
}

/** A feed of the hypercore dialect; `T` is the type of its values. */
export interface Feed<T = Uint8Array> extends HypercoreFeed<T> {}

/** The class of the feeds of the hypercore dialect, for `new`, `extends` and `instanceof`. */
export const Feed = HypercoreFeed as unknown as HypercoreConstructor

/** As {@link FeedConstructor}, for feeds of this dialect. */
export interface HypercoreConstructor extends FeedStatics {
  new <T, const E>(storage: Storage, options?: TypedFeedOptions<T, E> | null): Feed<FeedValue<T, E>>
  new <T, const E>(
    storage: Storage,
    key?: Key | null,
    options?: TypedFeedOptions<T, E> | null
  ): Feed<FeedValue<T, E>>
  new <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  /** Prototype of the feeds. */
  readonly prototype: Feed<unknown>
}

/** As {@link FeedFactory}, for feeds of this dialect. */
export interface HypercoreFactory extends HypercoreConstructor {
  <T, const E>(storage: Storage, options?: TypedFeedOptions<T, E> | null): Feed<FeedValue<T, E>>
  <T, const E>(
    storage: Storage,
    key?: Key | null,
    options?: TypedFeedOptions<T, E> | null
  ): Feed<FeedValue<T, E>>
  <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
}

/** Makes feeds of the hypercore dialect: `hypercore('./dir')`, with or without `new`. */
const hypercore = feedFactory<HypercoreFactory>(HypercoreFeed)

export * from './exports.ts'
export { HypercoreProtocolStream as ProtocolStream } from './replication/stream.ts'
export { hypercore, hypercore as default }
