import { Bitfield } from '../bitfield/bitfield.ts'
import { CommittedBitfield, CommittedTreeBits } from '../bitfield/committed.ts'
import type { PageAccess, PageStage, Pages } from '../bitfield/pages.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import { type Damage, DDatabaseError } from '../errors.ts'
import type { ForkProof } from '../merkle/fork.ts'
import type { TreeNode } from '../merkle/node.ts'
import { TreeSet } from '../merkle/tree-set.ts'
import type { Commit, FeedStorage } from '../storage/storage.ts'
import { ignore } from '../util/callback.ts'
import { Mutex } from '../util/mutex.ts'
import type { Checkpoints } from './checkpoints.ts'
import { Unlinked } from './unlinked.ts'
import type { Verified } from './verified.ts'

/** The committed state of an open feed: what every operation starts from and what only {@link Core.commit} changes. */
export class Core {
  readonly storage: FeedStorage
  readonly pages: Pages
  /** Which blocks are here. */
  readonly bits: Bitfield
  /** Which tree nodes are known. */
  readonly tree: TreeSet
  /** Operations that change the feed run one after the other, see {@link change}. */
  readonly mutex = new Mutex()
  private over = false

  /**
   * Raised whenever blocks are taken away, before their bytes are: what was read meanwhile may be the bytes of
   * nothing, or of another block.
   */
  removals = 0
  /** A truncation is writing: signatures may be gone before it counts in {@link removals}. */
  truncating = false

  /** Blocks. */
  length = 0
  /** Bytes of all blocks. */
  byteLength = 0
  /** Roots of the tree of `length` blocks, ascending. */
  roots: TreeNode[] = []
  /** Whether appends are signed; false for a static feed. */
  live = true
  /** Length of a history of this feed that is known to be signed, but is not here; 0 if there is none. */
  behind = 0
  /** Other histories of this feed that peers were met with. */
  forks: readonly ForkProof[] = []
  /** Signed lengths that may be of another history. */
  unlinked = new Unlinked(null, ignore)
  /** Makes what is committed durable in the background; null where the storage does not offer that. */
  checkpoints: Checkpoints | null = null
  /** What holds for certain; null if nothing is to be verified when it is read. */
  verified: Verified | null = null
  /** Blocks that were here and are not any more because their bytes were damaged. */
  readonly damaged = new Set<number>()
  /** Whether the `data` file is this package's to judge: an application that writes it itself may not have done so yet. */
  judgesData = true
  /** Checks a signature of the feed; null if that is for functions of the application's own. */
  signatureHolds: ((message: Uint8Array, signature: Uint8Array) => Promise<boolean>) | null = null
  /** Told of damage that was found, after it was mended or its blocks were given up (`gone`: ranges, ends exclusive). */
  ondamage:
    | ((damage: readonly Damage[], mended: readonly Damage[], gone: readonly [number, number][]) => void)
    | null = null

  constructor(storage: FeedStorage, pages: Pages) {
    this.storage = storage
    this.pages = pages
    this.bits = new CommittedBitfield(pages)
    this.tree = new TreeSet(new CommittedTreeBits(pages))
  }

  /**
   * Runs an operation that changes the feed, when those before it are done. It waits for the storage alone: code of the
   * application's that may take its time is asked before, and what it has answered looked at again inside. What an earlier one could
   * not undo is undone first, if it can be by now.
   * Errors: `ERR_FEED_CLOSED`, those of the operation.
   */
  change<T>(operation: () => Promise<T>): Promise<T> {
    if (this.over) return Promise.reject(new DDatabaseError('ERR_FEED_CLOSED'))
    const { storage } = this
    return this.mutex.run(() => (storage.refusal === null ? operation() : storage.undoLate().then(operation)))
  }

  /** Ends all changing: resolves when the operations that were asked for are done, and no further one begins. */
  end(): Promise<void> {
    this.over = true
    return this.mutex.drained()
  }

  /** Whether blocks were taken away since {@link removals} was `before`, or are being taken away at this moment. */
  async removedSince(before: number): Promise<boolean> {
    if (this.removals === before && this.truncating) await this.mutex.drained()
    return this.removals !== before
  }

  /** A copy of the bits to change and then to {@link commit}, or to drop; for who holds the mutex, or opens the feed. */
  stage(): Stage {
    const pages = this.pages.stage()
    return { pages, ...viewsOf(pages) }
  }

  /** A copy of the bits to change and to drop. */
  draft(): Stage {
    const pages = this.pages.draft()
    return { pages, ...viewsOf(pages) }
  }

  /**
   * Writes an operation and, when all of it is stored, makes it the state of the feed.
   * On a failure the feed stays as it was. Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`.
   */
  async commit(
    change: Partial<Pick<Commit, 'data' | 'ahead' | 'appended' | 'slots' | 'signature' | 'last' | 'synced'>>,
    stage: Stage,
    head?: Head
  ): Promise<void> {
    await this.storage.commit({
      data: change.data ?? [],
      ahead: change.ahead,
      appended: change.appended,
      slots: change.slots ?? [],
      signature: change.signature ?? null,
      stage: stage.pages,
      length: this.length,
      last: change.last,
      synced: change.synced
    })
    if (head !== undefined) {
      this.length = head.length
      this.byteLength = head.byteLength
      this.roots = head.roots
      if (this.behind <= head.length) this.behind = 0
    }
    this.checkpoints?.committed()
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
