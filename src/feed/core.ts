import { Bitfield } from '../bitfield/bitfield.ts'
import type { PageAccess, PageStage, Pages } from '../bitfield/pages.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import type { TreeNode } from '../merkle/node.ts'
import { TreeSet } from '../merkle/tree-set.ts'
import type { Commit, FeedStorage } from '../storage/storage.ts'
import { Mutex } from '../util/mutex.ts'

/** The committed state of an open feed: what every operation starts from and what only {@link Core.commit} changes. */
export class Core {
  readonly storage: FeedStorage
  readonly pages: Pages
  /** Which blocks are here. */
  readonly bits: Bitfield
  /** Which tree nodes are known. */
  readonly tree: TreeSet
  /** Operations that change the feed run one after the other. */
  readonly mutex = new Mutex()

  /** Blocks. */
  length = 0
  /** Bytes of all blocks. */
  byteLength = 0
  /** Roots of the tree of `length` blocks, ascending. */
  roots: TreeNode[] = []
  /** Whether appends are signed; false for a static feed. */
  live = true

  constructor(storage: FeedStorage, pages: Pages) {
    this.storage = storage
    this.pages = pages
    const { bits, tree } = viewsOf(pages)
    this.bits = bits
    this.tree = tree
  }

  /** A copy of the bits to change and then to {@link commit}, or to drop. */
  stage(): Stage {
    const pages = this.pages.stage()
    return { pages, ...viewsOf(pages) }
  }

  /**
   * Writes an operation and, when all of it is stored, makes it the state of the feed.
   * On a failure the feed stays as it was. Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  async commit(
    change: Partial<Pick<Commit, 'data' | 'slots' | 'signature' | 'last'>>,
    stage: Stage,
    head?: Head
  ): Promise<void> {
    await this.storage.commit({
      data: change.data ?? null,
      slots: change.slots ?? [],
      signature: change.signature ?? null,
      stage: stage.pages,
      length: this.length,
      last: change.last
    })
    if (head === undefined) return
    this.length = head.length
    this.byteLength = head.byteLength
    this.roots = head.roots
  }
}

/** A length with the roots that belong to it. */
export interface Head {
  length: number
  byteLength: number
  roots: TreeNode[]
}

/** Staged bits. */
export interface Stage extends Views {
  pages: PageStage
}

interface Views {
  bits: Bitfield
  tree: TreeSet
  /** The bits under `tree`. */
  treeBits: TreeBits
}

function viewsOf(pages: PageAccess): Views {
  const treeBits = new TreeBits(pages)
  return { bits: new Bitfield(pages), tree: new TreeSet(treeBits), treeBits }
}
