import { PAGE_SIZE } from '../bitfield/pages.ts'
import { DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { RandomAccess } from '../storage/random-access.ts'
import { encodeNode } from '../storage/tree-file.ts'
import { type Callback, settle } from '../util/callback.ts'
import type { Core } from './core.ts'
import { placeOf } from './places.ts'
import { readBlock } from './reader.ts'
import type { FeedFiles } from './stored-files.ts'

/** What the raw view needs of its feed. */
export interface RawSource {
  ready(): Promise<Core>
  /** The storages, null before opening. */
  readonly files: FeedFiles | null
  /** The open feed, null before opening. */
  readonly core: Core | null
  readonly key: Uint8Array | null
  readonly secretKey: Uint8Array | null
}

/**
 * `feed._storage`: the file access that the published packages had under this name, for modules and tests that
 * reach into it. It bypasses the feed; what is written through it is on the caller.
 */
export class RawStorage {
  readonly #source: RawSource

  constructor(source: RawSource) {
    this.#source = source
  }

  /** The random access storages, null before opening. */
  get key(): RandomAccess | null {
    return this.#source.files?.key.raw ?? null
  }

  get secretKey(): RandomAccess | null {
    return this.#source.files?.secret_key.raw ?? null
  }

  get tree(): RandomAccess | null {
    return this.#source.files?.tree.raw ?? null
  }

  get data(): RandomAccess | null {
    return this.#source.files?.data.raw ?? null
  }

  get bitfield(): RandomAccess | null {
    return this.#source.files?.bitfield.raw ?? null
  }

  get signatures(): RandomAccess | null {
    return this.#source.files?.signatures.raw ?? null
  }

  /** The cache of tree nodes, null if there is none. */
  get treeCache(): unknown {
    return this.#source.core?.storage.tree.cache ?? null
  }

  /** The cache of blocks, null if there is none. */
  get dataCache(): unknown {
    return this.#source.core?.storage.blocks ?? null
  }

  /** What is stored: keys, page size and pages of the bitfield. */
  open(
    _options: unknown,
    callback?: Callback<{ key: Uint8Array | null; secretKey: Uint8Array | null; bitfieldPageSize: number }>
  ): unknown {
    const opened = this.#source.ready().then((core) => ({
      key: this.#source.key,
      secretKey: this.#source.secretKey,
      bitfieldPageSize: core.pages.pageSize ?? PAGE_SIZE,
      bitfield: Array.from({ length: core.pages.length }, (_, page) => core.pages.whole(page))
    }))
    return settle(opened, callback)
  }

  getNode(treeIndex: number, callback?: Callback<TreeNode>): unknown {
    return settle(
      this.#source.ready().then((core) => core.storage.tree.require(treeIndex)),
      callback
    )
  }

  putNode(treeIndex: number, node: TreeNode, callback?: Callback): unknown {
    return settle(
      this.#source.ready().then(async (core) => {
        await core.storage.changing()
        await core.storage.tree.write(treeIndex, encodeNode(node))
      }),
      callback
    )
  }

  getData(index: number, callback?: Callback<Uint8Array>): unknown {
    return settle(
      this.#source.ready().then(async (core) => {
        const block = await readBlock(core, index)
        if (block === null) throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED')
        return block
      }),
      callback
    )
  }

  putData(index: number, data: Uint8Array, _nodes: unknown, callback?: Callback): unknown {
    return settle(
      this.#source.ready().then(async (core) => {
        const { offset, size } = await placeOf(core, index)
        if (size !== data.byteLength) throw new DDatabaseError('ERR_DATA_SIZE')
        await core.storage.data.write(offset, data)
      }),
      callback
    )
  }

  getSignature(index: number, callback?: Callback<Uint8Array>): unknown {
    return settle(
      this.#source.ready().then(async (core) => {
        const signature = await core.storage.signatures.get(index)
        if (signature === null) throw new DDatabaseError('ERR_SIGNATURE_NOT_FOUND')
        return signature
      }),
      callback
    )
  }

  putSignature(index: number, signature: Uint8Array, callback?: Callback): unknown {
    return settle(
      this.#source.ready().then(async (core) => {
        await core.storage.changing()
        await core.storage.signatures.write(index, signature)
      }),
      callback
    )
  }

  /** `callback(null, offset, size)` of a block. */
  dataOffset(
    index: number,
    _nodes: unknown,
    callback: (error: Error | null, offset?: number, size?: number) => void
  ): void {
    this.#source
      .ready()
      .then((core) => placeOf(core, index))
      .then(
        ({ offset, size }) => queueMicrotask(() => callback(null, offset, size)),
        (error) => queueMicrotask(() => callback(error))
      )
  }
}
