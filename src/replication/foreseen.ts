import type { PageAccess } from '../bitfield/pages.ts'
import { MemoryBits, TreeSet } from '../merkle/tree-set.ts'
import type { TreeBitStore } from '../util/climbing.ts'
import type { InflightRequest } from './requests.ts'

// Requests after which nodes that have come are forgotten: they are known then.
const LIFETIME = 4096

/** What {@link Foreseen} needs to know of the feed. */
export interface KnownTree {
  readonly tree: TreeSet
  readonly pages: PageAccess
}

/**
 * The nodes that are known, or will be when the requests that one peer owes an answer for are answered. Digests of them keep
 * neighbours that are asked for together from bringing the same nodes again and again.
 *
 * That is right as long as every answer comes, in order, and is stored. As soon as one is given up ({@link broke}), a request
 * with digest 0 tells the remote to forget what was said, and answers to what was asked before may have to be asked for again.
 * Only remotes that forget (docs/protocol.md, "Digests ahead") are told of nodes that are not here yet.
 */
export class Foreseen {
  private readonly known: KnownTree
  private readonly ahead: () => boolean
  private readonly inflight: readonly InflightRequest[]
  private bits = new MemoryBits()
  private age = 0
  // The remote has been told of nodes that do not come.
  private retract = false
  private readonly union: TreeBitStore
  private readonly tree: TreeSet

  /**
   * @param known - the feed
   * @param ahead - whether the remote may be told of nodes that are not here yet
   * @param inflight - the requests without an answer, in their order
   */
  constructor(known: KnownTree, ahead: () => boolean, inflight: readonly InflightRequest[]) {
    this.known = known
    this.ahead = ahead
    this.inflight = inflight
    const foreseen = this
    this.union = {
      get length() {
        return Math.max(8 * known.pages.treeBytes, foreseen.bits.length)
      },
      get: (treeIndex) => this.bits.get(treeIndex) || known.tree.get(treeIndex),
      set: (treeIndex, value) => this.bits.set(treeIndex, value)
    }
    this.tree = new TreeSet(this.union)
  }

  /** Digest for the next request for a block. */
  digest(block: number): number {
    if (this.retract) {
      this.retract = false
      return 0
    }
    return (this.ahead() ? this.tree : this.known.tree).digest(2 * block)
  }

  /** A block, or its hash, was asked for with this digest. */
  asked(block: number, digest: number): void {
    // Without a parent that is known it cannot be told which nodes will come.
    if (digest % 2 === 0 || !this.ahead()) return
    if (++this.age > LIFETIME) this.renew()
    this.expect(block)
  }

  /** An answer does not come, or was not stored. */
  broke(): void {
    this.retract ||= this.age > 0
    this.bits = new MemoryBits()
    this.age = 0
  }

  /** The next digest is 0. */
  forget(): void {
    this.retract = true
  }

  private renew(): void {
    this.bits = new MemoryBits()
    this.age = 0
    for (const { index, nodes, bytes } of this.inflight) {
      if (bytes > 0 || nodes % 2 === 0) continue
      this.age++
      this.expect(index)
    }
  }

  private expect(block: number): void {
    const { union, bits } = this
    let node = 2 * block
    for (let factor = 2; !union.get(node); factor *= 2) {
      if (!Number.isSafeInteger(node + factor)) return
      const isLeft = Math.floor(node / factor) % 2 === 0
      bits.set(node, true)
      bits.set(isLeft ? node + factor : node - factor, true)
      node = isLeft ? node + factor / 2 : node - factor / 2
    }
  }
}
