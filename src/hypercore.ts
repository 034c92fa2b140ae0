/** The entry point `ddatabase/hypercore`: the same feeds with hypercore 9's strings and its few extras. */
import { HYPERCORE } from './dialect.ts'
import { feedFactory } from './feed/factory.ts'
import { Feed as DDatabaseFeed } from './feed/feed.ts'
import type { TreeNode } from './merkle/node.ts'
import { type Callback, settle } from './util/callback.ts'

/** A feed of the hypercore dialect. */
export class Feed<T = Uint8Array> extends DDatabaseFeed<T> {
  static override readonly dialect = HYPERCORE

  /** The leaf node of a block: its hash and size. Errors: `ERR_NODE_NOT_FOUND`, `ERR_STORAGE`. */
  getBlockInfo(index: number, callback?: Callback<TreeNode>): Promise<TreeNode> {
    return settle(this.leaf(index), callback)
  }
}

/** Makes feeds of the hypercore dialect: `hypercore('./dir')`, with or without `new`. */
const hypercore = feedFactory(Feed)

export * from './exports.ts'
export { hypercore, hypercore as default }
