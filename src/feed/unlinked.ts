import b4a from 'b4a'
import flat from 'flat-tree'
import { parentOf, type SignedHead } from '../merkle/fork.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { LineFile } from '../storage/line-file.ts'
import { ignore } from '../util/callback.ts'
import type { Core } from './core.ts'

/** Lengths that are kept: each costs a question to each peer. */
const MOST = 64

/** Name of the file that remembers them: each line is the whole list as JSON, and the last one that is whole counts. */
export const UNLINKED_NAME = 'unlinked'

// Lines after which the file is begun anew.
const MOST_LINES = 256

/**
 * Lengths that the feed had when it grew by a proof which did not show the longer history to continue the one of that length
 * (docs/protocol.md, "Growth"). Until somebody shows it, what is here below such a length and what is above may be of two
 * histories that the same key has signed.
 */
export class Unlinked {
  /** Ascending. */
  lengths: readonly number[] = []
  readonly #file: LineFile | null
  #lines = 0

  /** @param file - where they are remembered; null if the storage has no place for it */
  constructor(file: LineFile | null) {
    this.#file = file
  }

  /** Reads what is remembered, up to what is linked now, or was never that long. */
  async load(core: Core): Promise<void> {
    if (this.#file === null) return
    const lines = await this.#file.load()
    this.#lines = lines.length
    const last = lines.map(readLine).findLast((one) => one !== null)
    const kept: number[] = []
    for (const length of last ?? []) {
      if (length < core.length && !(await isLinked(core, length).catch(ignore))) kept.push(length)
    }
    this.lengths = kept
  }

  /** The feed is about to grow from `length` blocks on without a proof that it continues them. It is not an error if that cannot be remembered. */
  async add(length: number): Promise<void> {
    if (length === 0 || this.lengths.includes(length) || this.lengths.length >= MOST) return
    await this.#become([...this.lengths, length])
  }

  /** Somebody has shown that the feed continues what it had with `length` blocks. */
  async linked(length: number): Promise<void> {
    await this.#become(this.lengths.filter((one) => one !== length))
  }

  /** The feed has `length` blocks left. */
  async cut(length: number): Promise<void> {
    if (this.lengths.some((one) => one >= length))
      await this.#become(this.lengths.filter((one) => one < length))
  }

  /** Forgets everything. Errors: those of the storage. */
  async destroy(): Promise<void> {
    this.lengths = []
    await this.#file?.destroy()
  }

  async #become(lengths: readonly number[]): Promise<void> {
    this.lengths = lengths
    const file = this.#file
    if (file === null) return
    if (lengths.length === 0 || this.#lines >= MOST_LINES) {
      await file.destroy().catch(ignore)
      this.#lines = 0
    }
    if (lengths.length === 0) return
    this.#lines++
    await file.add(JSON.stringify(lengths)).catch(ignore)
  }
}

/** The signed head that the feed had with `length` blocks; null if it is not known any more. */
export async function headOf(core: Core, length: number): Promise<Omit<SignedHead, 'nodes'> | null> {
  const roots = await nodesAt(core, flat.fullRoots(2 * length))
  const signature = await core.storage.signatures.get(length - 1)
  return roots === null || signature === null ? null : { length, roots, signature: b4a.from(signature) }
}

/** The root of the feed that the last block of the first `length` lies below. */
export function rootAbove(core: Core, length: number): TreeNode | undefined {
  return core.roots.find(({ index }) => flat.rightSpan(index) >= 2 * (length - 1))
}

/** Whether the nodes that are here show that the feed continues what it had with `length` blocks. */
async function isLinked(core: Core, length: number): Promise<boolean> {
  const root = rootAbove(core, length)
  const last = flat.fullRoots(2 * length).pop()!
  const [start] = (await nodesAt(core, [last])) ?? []
  if (root === undefined || start === undefined) return false
  // Every other root of that length is one of the feed as well, or the sibling of a node on this way.
  let top = start
  while (top.index !== root.index) {
    const [sibling] = (await nodesAt(core, [flat.sibling(top.index)])) ?? []
    if (sibling === undefined) return false
    top = parentOf(top, sibling)
  }
  return b4a.equals(top.hash, root.hash)
}

async function nodesAt(core: Core, treeIndexes: readonly number[]): Promise<TreeNode[] | null> {
  if (!treeIndexes.every((index) => core.tree.get(index))) return null
  const nodes = await core.storage.tree.many(treeIndexes)
  if (nodes.includes(null)) return null
  return (nodes as TreeNode[]).map(({ index, hash, size }) => ({ index, hash: b4a.from(hash), size }))
}

function readLine(line: string): number[] | null {
  try {
    const lengths: unknown = JSON.parse(line)
    const isList = Array.isArray(lengths) && lengths.length <= MOST
    return isList && lengths.every((one) => Number.isSafeInteger(one) && one > 0) ? lengths : null
  } catch {
    return null
  }
}
