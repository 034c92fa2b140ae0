import b4a from 'b4a'
import flat from 'flat-tree'
import { leafHash, signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import {
  type ForkProof,
  forkFromText,
  forkToText,
  parentOf,
  readFork,
  type SignedHead,
  shownNodes
} from '../merkle/fork.ts'
import type { TreeNode } from '../merkle/node.ts'
import { type Claim, checkClaim } from '../merkle/verify.ts'
import type { LineFile } from '../storage/line-file.ts'
import { ignore } from '../util/callback.ts'
import type { Application } from './application.ts'
import type { Core } from './core.ts'
import { signatureHolds } from './proofs.ts'
import { headOf, leadsUp, rootAbove } from './unlinked.ts'

/** Forks that are kept: a dishonest author could make any number of them. */
const MOST = 16

/** Name of the file that remembers them, a line for each. */
export const FORKS_NAME = 'forks'

/** What forks need to know of their feed. */
export interface ForksHost {
  readonly application: Application
  readonly key: Uint8Array | null
  /** Where they are remembered; null if the storage has no place for it. */
  readonly file: LineFile | null
  /** Another history of this feed was met for the first time. */
  met(proof: ForkProof): void
  /** Gives up what is of another history: all but the first `length` blocks. Errors: `ERR_STORAGE`. */
  cutTo(length: number): Promise<void>
  /** Gives up what is of another history: all below these roots of a shorter head with `length` blocks. Errors: `ERR_STORAGE`. */
  forget(length: number, roots: readonly number[]): Promise<void>
}

/** The nodes that a proof of a remote shows, and the head that it signed. */
interface Shown {
  /** The nodes on the way up from the block, and the sibling of each but the last, which is a root. */
  tops: TreeNode[]
  siblings: TreeNode[]
  /** The nodes that came from the remote, or follow from what did: those that may differ from ours. */
  theirs: TreeNode[]
  head: Omit<SignedHead, 'nodes'>
}

/** Proofs that the remote's history is another one than that of the feed, and than those of signed lengths which are not linked. */
interface Met {
  feed: ForkProof | null
  readonly heads: Map<number, ForkProof>
}

/**
 * Other histories of a feed that its key has signed. A proof that does not agree with what is here is compared with it, node
 * by node; if both sides are signed, the two make a fork.
 */
export class Forks {
  /** One proof for each other history that was met, also in former openings. */
  readonly list: ForkProof[] = []
  readonly #host: ForksHost

  constructor(host: ForksHost) {
    this.#host = host
  }

  /** Reads what is remembered. What does not hold is left out. */
  async load(): Promise<void> {
    const { file } = this.#host
    if (file === null) return
    for (const line of await file.load()) {
      const proof = forkFromText(line)
      if (this.list.length >= MOST || proof === null || !(await this.#holds(proof))) continue
      if (!this.#knows(proof.heads[1], shownNodes(proof.heads[1]))) this.list.push(proof)
    }
    for (const proof of this.list) this.#host.met(proof)
  }

  /** Forgets everything that is remembered. Errors: those of the storage. */
  async destroy(): Promise<void> {
    await this.#host.file?.destroy()
  }

  /**
   * Compares what a remote sent with what is here; stores nothing of it.
   * @param claim - a block, or its hash, with its proof
   * @param remoteLength - how many blocks the remote says it has, for proofs that leave out what we have
   * @returns length of the history that the proof belongs to; 0 if the proof does not show it, or it cannot be compared
   * Errors: `ERR_FORK`, `ERR_PROOF_MALFORMED`, `ERR_STORAGE`, `ERR_VERIFYING`, `ERR_FEED_CLOSED`.
   */
  async examine(core: Core, claim: Claim, remoteLength: number): Promise<number> {
    checkClaim(claim)
    if (!core.live || claim.signature === null) return 0
    const shown =
      (await this.#signed(showAlone(claim))) ??
      (await this.#signed(await showWith(core, claim, remoteLength)))
    if (shown === null) return 0
    const different = await differences(core, shown)
    const met = await this.#compare(core, shown, different)
    if (met.feed === null && met.heads.size === 0) {
      if (different.length === 0) await link(core, shown, different)
      // What is different and cannot be proven is damaged here, perhaps: peers are what mends it.
      return different.length > 0 ? 0 : shown.head.length
    }
    let failure: unknown
    let kept: ForkProof | null = null
    try {
      kept = await this.#separate(core, shown, different, met)
    } catch (error) {
      failure = error
      kept = met.feed
    }
    if (kept !== null) {
      await this.#found(kept, [...shownNodes(kept.heads[1]), ...shown.tops, ...shown.siblings])
      throw new DDatabaseError('ERR_FORK', failure === undefined ? {} : { cause: failure })
    }
    // What differs from the remote's history is not here any more.
    const [gone, theirs] = (met.feed ?? [...met.heads.values()][0]!).heads
    await this.#found({ heads: [theirs, gone] }, shownNodes(gone))
    if (failure !== undefined) throw failure
    return this.examine(core, claim, remoteLength)
  }

  /** Which of what is here is shown to be of another history than what the remote sent. */
  async #compare(core: Core, shown: Shown, different: readonly TreeNode[]): Promise<Met> {
    const met: Met = { feed: null, heads: new Map() }
    const lengths = new Set(core.unlinked.list.map(({ length }) => length))
    for (const node of different) {
      if (met.feed !== null && met.heads.size === lengths.size) break
      const own = await ourHead(core, node.index)
      for (const head of [own, ...(await unlinkedHeads(core, node.index))]) {
        if (head === null) continue
        const known = lengths.has(head.length) ? met.heads.has(head.length) : met.feed !== null
        const proof: ForkProof = { heads: [head, theirHead(shown, node)] }
        if (known || !(await this.#holds(proof))) continue
        if (lengths.has(head.length)) met.heads.set(head.length, proof)
        else met.feed = proof
      }
    }
    return met
  }

  /**
   * Two histories are known now, so nothing may stay of which it is not known that it belongs together: what the remote has
   * shown to be its own, or has not shown to be different, beside what is different, and the other way round. What was here first stays.
   * @returns proof that what stays and the remote's history differ; null if that is not known
   * Errors: those of the storage.
   */
  async #separate(
    core: Core,
    shown: Shown,
    different: readonly TreeNode[],
    { feed, heads }: Met
  ): Promise<ForkProof | null> {
    let kept = feed
    if (kept === null) await link(core, shown, different)
    const longestFirst = [...core.unlinked.list].sort((a, b) => b.length - a.length)
    for (const { length, first } of longestFirst) {
      const proof = heads.get(length) ?? null
      if (!first || !isUnlinked(core, length) || (kept !== null && proof !== null)) continue
      await this.#host.cutTo(length)
      kept = proof
    }
    for (const { length } of core.unlinked.list) {
      if (!isUnlinked(core, length) || (kept !== null && heads.has(length))) continue
      await this.#host.forget(length, await besides(core, length))
    }
    return kept
  }

  /** @param nodes - all that is known of the other history */
  async #found(proof: ForkProof, nodes: readonly TreeNode[]): Promise<void> {
    if (this.#knows(proof.heads[1], nodes) || this.list.length >= MOST) return
    this.list.push(proof)
    // If it cannot be remembered, it will be met again.
    await this.#host.file?.add(forkToText(proof)).catch(ignore)
    this.#host.met(proof)
  }

  /** Whether a history, of which these nodes are known, is one of the list, perhaps with another length. */
  #knows(head: SignedHead, nodes: readonly TreeNode[]): boolean {
    return this.list.some(({ heads: [, other] }) => {
      return includes(nodes, other.nodes[0]!) || includes(shownNodes(other), head.nodes[0]!)
    })
  }

  async #signed(shown: Shown | null): Promise<Shown | null> {
    if (shown === null) return null
    const { roots, length, signature } = shown.head
    return (await this.#verifies(signable(treeHash(roots), length), signature)) ? shown : null
  }

  /** Whether a proof holds, with the verifier of the feed. */
  async #holds(proof: ForkProof): Promise<boolean> {
    const claim = readFork(proof)
    if (claim === null) return false
    for (const { message, signature } of claim.signed) {
      if (!(await this.#verifies(message, signature))) return false
    }
    return true
  }

  async #verifies(message: Uint8Array, signature: Uint8Array): Promise<boolean> {
    const { application, key } = this.#host
    return key !== null && signatureHolds(application, message, signature, key)
  }
}

/** What a proof shows by itself; null if it relies on nodes that we have. */
function showAlone({ block, value, nodes, signature }: Claim): Shown | null {
  const rest = nodes.map(copyOf)
  const theirs = [...rest]
  let top = value === null ? rest.shift()! : leafOf(block, value)
  const tops = [top]
  const siblings: TreeNode[] = []
  while (rest[0]?.index === flat.sibling(top.index)) {
    siblings.push(rest[0]!)
    top = parentOf(top, rest.shift()!)
    tops.push(top)
  }
  const last = rest.length > 0 ? rest[rest.length - 1]!.index : top.index
  const treeLength = Math.max(flat.rightSpan(top.index), flat.rightSpan(last)) + 2
  if (!Number.isSafeInteger(treeLength)) return null
  const roots = flat.fullRoots(treeLength).map((index) => (index === top.index ? top : take(rest, index)))
  if (rest.length > 0 || roots.includes(undefined)) return null
  const head = { length: treeLength / 2, roots: roots as TreeNode[], signature: b4a.from(signature!) }
  return { tops, siblings, theirs: [...theirs, ...tops], head }
}

/** What a proof shows that leaves out nodes which we have, of a remote with `remoteLength` blocks. */
async function showWith(core: Core, claim: Claim, remoteLength: number): Promise<Shown | null> {
  const { block, value, nodes, signature } = claim
  if (block >= remoteLength || !Number.isSafeInteger(2 * remoteLength)) return null
  const indexes = flat.fullRoots(2 * remoteLength)
  const rest = nodes.map(copyOf)
  const theirs = [...rest]
  let top = value === null ? rest.shift()! : leafOf(block, value)
  const tops = [top]
  const siblings: TreeNode[] = []
  while (!indexes.includes(top.index)) {
    const sibling = flat.sibling(top.index)
    const other = take(rest, sibling) ?? (await ours(core, sibling))
    if (other === null) return null
    siblings.push(other)
    top = parentOf(top, other)
    tops.push(top)
  }
  const roots: TreeNode[] = []
  for (const index of indexes) {
    const root = index === top.index ? top : (take(rest, index) ?? (await ours(core, index)))
    if (root === null) return null
    roots.push(root)
  }
  if (rest.length > 0) return null
  const head = { length: remoteLength, roots, signature: b4a.from(signature!) }
  return { tops, siblings, theirs: [...theirs, ...tops], head }
}

/** The nodes of the remote that are different here, those that are nearest to the roots first. */
async function differences(core: Core, { theirs, head: { length } }: Shown): Promise<TreeNode[]> {
  const roots = new Set(flat.fullRoots(2 * length))
  const ourRoots = new Set(core.roots.map(({ index }) => index))
  const different: TreeNode[] = []
  for (const node of theirs) {
    const own = await ours(core, node.index)
    if (own === null) continue
    const bySize = own.size !== node.size && roots.has(node.index) && ourRoots.has(node.index)
    if (bySize || !b4a.equals(own.hash, node.hash)) different.push(node)
  }
  return different.sort((a, b) => flat.depth(b.index) - flat.depth(a.index))
}

/** The other side of a fork: the head, and the way from `node` to a root of it. */
function theirHead({ tops, siblings, head }: Shown, node: TreeNode): SignedHead {
  const { index } = node
  const level = tops.findIndex((top) => top.index === index)
  if (level !== -1) return { ...head, nodes: [tops[level]!, ...siblings.slice(level)] }
  const beside = siblings.findIndex((sibling) => sibling.index === index)
  if (beside === -1) return { ...head, nodes: [node] }
  return { ...head, nodes: [node, tops[beside]!, ...siblings.slice(beside + 1)] }
}

/** Our side: a signed head that the node with this index belongs to, and the way up; null if it is not known any more. */
async function ourHead(core: Core, index: number): Promise<SignedHead | null> {
  const selection = core.tree.proof(index, { hash: true })
  if (selection === null || selection.verifiedBy <= 0) return null
  const length = selection.verifiedBy / 2
  const found = await core.storage.tree.many(selection.nodes)
  const signature = await core.storage.signatures.get(length - 1)
  if (signature === null || found.includes(null)) return null
  const rest = (found as TreeNode[]).map(copyOf)
  const nodes = [rest.shift()!]
  let top = nodes[0]!
  while (rest[0]?.index === flat.sibling(top.index)) {
    nodes.push(rest[0]!)
    top = parentOf(top, rest.shift()!)
  }
  const roots = [...rest, top].sort((a, b) => a.index - b.index)
  return { length, roots, signature: b4a.from(signature), nodes }
}

/** Our side: the heads that are not linked and have the node as a root. */
async function unlinkedHeads(core: Core, index: number): Promise<SignedHead[]> {
  const heads: SignedHead[] = []
  for (const { length } of core.unlinked.list) {
    const head = await headOf(core, length)
    const node = head?.roots.find((root) => root.index === index)
    if (head && node !== undefined) heads.push({ ...head, nodes: [node] })
  }
  return heads
}

/** Whether that is still so: somebody else may be compared at the same time. */
function isUnlinked(core: Core, length: number): boolean {
  return core.unlinked.list.some((one) => one.length === length)
}

/** Roots of a shorter head that nothing here leads from to a root of the feed. */
async function besides(core: Core, length: number): Promise<number[]> {
  const roots: number[] = []
  for (const index of flat.fullRoots(2 * length)) if (!(await leadsUp(core, index))) roots.push(index)
  return roots
}

/** Where the remote, who shows nothing there that is different, leads from an earlier length up to a root of ours, the two are one history. */
async function link(core: Core, { tops, siblings }: Shown, different: readonly TreeNode[]): Promise<void> {
  const shown = new Set([...tops, ...siblings].map(({ index }) => index))
  for (const { index } of different) shown.delete(index)
  for (const { length } of core.unlinked.list) {
    const root = rootAbove(core, length)
    const above = tops.find(({ index }) => index === root?.index)
    if (root === undefined || above === undefined || !b4a.equals(root.hash, above.hash)) continue
    const kept = new Set(core.roots.map(({ index }) => index))
    if (flat.fullRoots(2 * length).every((index) => kept.has(index) || shown.has(index))) {
      await core.unlinked.settled(length)
    }
  }
}

async function ours(core: Core, index: number): Promise<TreeNode | null> {
  if (!core.tree.get(index)) return null
  const { tree } = core.storage
  return tree.getSync(index) ?? tree.get(index)
}

function leafOf(block: number, value: Uint8Array): TreeNode {
  return { index: 2 * block, hash: leafHash(value), size: value.length }
}

/** What came from the network may be a view of something large, and proofs live long. */
function copyOf({ index, hash, size }: TreeNode): TreeNode {
  return { index, hash: b4a.from(hash), size }
}

/** Takes the next node if it is the one with this index. */
function take(nodes: TreeNode[], index: number): TreeNode | undefined {
  return nodes[0]?.index === index ? nodes.shift() : undefined
}

function includes(nodes: readonly TreeNode[], wanted: TreeNode): boolean {
  return nodes.some(({ index, hash }) => index === wanted.index && b4a.equals(hash, wanted.hash))
}
