/** The entry point `ddatabase/hypercore`: the same feeds with hypercore 9's strings and its few extras. */
import { HYPERCORE } from './dialect.ts'
import { type FeedStatics, feedFactory } from './feed/factory.ts'
import { Feed as DDatabaseFeed } from './feed/feed.ts'
import type { FeedOptions, Key, Storage } from './feed/options.ts'
import type { TreeNode } from './merkle/node.ts'
import { HypercoreProtocolStream } from './replication/stream.ts'
import { type Callback, settle } from './util/callback.ts'

/** A feed of the hypercore dialect. */
export class Feed<T = Uint8Array> extends DDatabaseFeed<T> {
  static override readonly dialect = HYPERCORE
  static override readonly Protocol = HypercoreProtocolStream

  /** The leaf node of a block: its hash and size. Errors: `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
  getBlockInfo(index: number, callback?: Callback<TreeNode>): Promise<TreeNode> {
    return settle(this.leaf(index), callback)
  }
}

/** As {@link FeedFactory}, for feeds of this dialect. */
export interface HypercoreFactory extends FeedStatics {
  <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  /** Prototype of the feeds. */
  readonly prototype: Feed<unknown>
}

/** Makes feeds of the hypercore dialect: `hypercore('./dir')`, with or without `new`. */
const hypercore = feedFactory<HypercoreFactory>(Feed)

export * from './exports.ts'
export { HypercoreProtocolStream as ProtocolStream } from './replication/stream.ts'
export { hypercore, hypercore as default }
