import { argumentRangeError, argumentTypeError } from '../errors.ts'
import { NODE_SIZE, type TreeNode } from '../merkle/node.ts'
import { isGiven } from '../util/given.ts'
import { GenerationCache } from '../util/lru.ts'

/** Memory for tree nodes unless the application says otherwise: 65,536 nodes of 40 bytes. */
export const DEFAULT_TREE_CACHE_BYTES = 65_536 * NODE_SIZE

/** A cache that an application passes in: numeric keys, values that it need not understand. */
export interface ExternalCache {
  /** The value of a key; undefined or null if there is none. */
  get(key: number): unknown
  /** Keeps a value, or null to forget one, for as long as the cache likes. */
  set(key: number, value: unknown): void
  /** Forgets a value. Without it, null is set. */
  del?(key: number): void
}

/** Tree nodes by tree index. */
export interface NodeCache {
  get(treeIndex: number): TreeNode | null | undefined
  set(treeIndex: number, node: TreeNode): void
  delete(treeIndex: number): void
}

/** Stored bytes of blocks by block number. */
export interface BlockCache {
  get(block: number): Uint8Array | null | undefined
  set(block: number, bytes: Uint8Array): void
  delete(block: number): void
}

/** The options `cache` and `storageCacheSize`. */
export interface CacheOptions {
  /** `false`: no caches. `true`: what is done anyway. An object: one setting for tree nodes, one for blocks. It is never modified. */
  cache?:
    | boolean
    | {
        /** Of tree nodes: a size in bytes, a cache, or false for none. Default: `storageCacheSize`. */
        tree?: ExternalCache | number | false | undefined
        /** Of blocks: a size in bytes, a cache, or false for none. Default: none. */
        data?: ExternalCache | number | false | undefined
      }
    | undefined
  /** Bytes for tree nodes; 0 or false for none. */
  storageCacheSize?: number | false | undefined
}

/** What the two options come to. */
export interface Caches {
  /** Bytes for our own cache of tree pages, 0 for none. */
  treeBytes: number
  /** The application's cache of nodes, instead of ours. */
  nodes: NodeCache | null
  blocks: BlockCache | null
}

/**
 * Reads the options. Errors: TypeError `ERR_INVALID_ARG_TYPE` for anything that is neither a size, false nor a cache, RangeError
 * `ERR_OUT_OF_RANGE` for a size below 0.
 */
export function createCaches(options: CacheOptions): Caches {
  const { storageCacheSize } = options
  if (options.cache === false) return { treeBytes: 0, nodes: null, blocks: null }
  const cache = options.cache === true ? undefined : options.cache
  if (isGiven(cache) && typeof cache !== 'object') {
    throw argumentTypeError('cache should be a boolean or an object with tree and data')
  }
  const tree = cache?.tree ?? storageCacheSize ?? DEFAULT_TREE_CACHE_BYTES
  const data = cache?.data ?? false
  const treeIsSize = isSize(tree, isGiven(cache?.tree) ? 'cache.tree' : 'storageCacheSize')
  return {
    // Infinity as well is a size of which parts are taken.
    treeBytes: treeIsSize ? Math.min(Number(tree), Number.MAX_SAFE_INTEGER) : 0,
    nodes: treeIsSize ? null : adapt<TreeNode>(tree as ExternalCache),
    blocks: isSize(data, 'cache.data')
      ? data
        ? new GenerationCache<Uint8Array>(Number(data), weightOf)
        : null
      : adapt<Uint8Array>(data as ExternalCache)
  }
}

// What an entry takes beside the bytes, so that blocks without any have a limit, too.
const ENTRY_BYTES = 128

function weightOf(bytes: Uint8Array): number {
  return bytes.byteLength + ENTRY_BYTES
}

function isSize(value: unknown, name: string): value is number | false {
  if (typeof value === 'number' && !(value >= 0)) throw argumentRangeError(`${name} should not be below 0`)
  if (value === false || typeof value === 'number') return true
  const { get, set } = (value ?? {}) as Partial<ExternalCache>
  if (typeof get === 'function' && typeof set === 'function') return false
  throw argumentTypeError(`${name} should be a number of bytes, false, or an object with get and set`)
}

function adapt<V extends object>(
  cache: ExternalCache
): {
  get(key: number): V | null | undefined
  set(key: number, value: V): void
  delete(key: number): void
} {
  // An application may give one cache to several feeds; the keys are only block numbers and tree indexes.
  const own = new WeakSet<object>()
  return {
    get: (key) => {
      const value = cache.get(key) as V | null | undefined
      return value && own.has(value) ? value : null
    },
    set: (key, value) => {
      own.add(value)
      cache.set(key, value)
    },
    // A cache need not be able to forget; an entry of null counts as none.
    delete: (key) => (cache.del ? cache.del(key) : cache.set(key, null))
  }
}
