import b4a from 'b4a'
import flat from 'flat-tree'
import { parentOf, type SignedHead } from '../merkle/fork.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { LineFile } from '../storage/line-file.ts'
import { ignore } from '../util/callback.ts'
import { Mutex } from '../util/mutex.ts'
import type { Core } from './core.ts'

/** How many are kept: each costs a question to each peer. */
const MOST = 64

/** Name of the file that remembers them: each line is the whole list as JSON, and the last one that is whole counts. */
export const UNLINKED_NAME = 'unlinked'

// Lines after which the file is begun anew.
const MOST_LINES = 256

/** A signed length that nothing leads from to the roots of the feed. */
export interface Unlink {
  readonly length: number
  /**
   * Whether what lies below that length was here first: the feed had it, and grew. Otherwise the feed was longer, and blocks
   * were proven by that shorter head alone.
   */
  readonly first: boolean
}

/**
 * Signed lengths of which nobody has shown yet that they belong to one history with what else is here (docs/protocol.md,
 * "Growth"): somebody who could not show it was believed. Until it is shown, two histories that the same key has signed may be
 * here, one below such a length and the other beside or above.
 */
export class Unlinked {
  /** In the order in which they came; a list is never changed, but replaced. */
  list: readonly Unlink[] = []
  readonly #file: LineFile | null
  readonly #more: () => void
  readonly #order = new Mutex()
  #lines = 0

  /**
   * @param file - where they are remembered; null if the storage has no place for it
   * @param more - there is one more, and its nodes are stored: somebody connected may be able to link it
   */
  constructor(file: LineFile | null, more: () => void) {
    this.#file = file
    this.#more = more
  }

  /** Whether no more can be remembered, so that nobody may be believed any more before some are linked. */
  get isFull(): boolean {
    return this.list.length >= MOST
  }

  /** Reads what is remembered, but for what is linked now, or not here any more. */
  async load(core: Core): Promise<void> {
    if (this.#file === null) return
    const lines = await this.#file.load()
    this.#lines = lines.length
    const last = lines.map(readLine).findLast((one) => one !== null)
    const kept: Unlink[] = []
    for (const one of last ?? []) {
      // What cannot be read now may be linked later.
      if (!(await isSettled(core, one.length).catch(() => false))) kept.push(one)
    }
    this.list = kept
  }

  /** What makes this one is about to be stored. It is not an error if it cannot be remembered. @returns whether it is a new one */
  async add(unlink: Unlink): Promise<boolean> {
    const { length } = unlink
    if (this.isFull || this.list.some((one) => one.length === length)) return false
    await this.#become([...this.list, unlink])
    return true
  }

  /** What was added is stored. */
  stored(): void {
    this.#more()
  }

  /** Somebody has shown that `length` belongs to the history of the feed, or what did not is gone. */
  async settled(length: number): Promise<void> {
    await this.#become(this.list.filter((one) => one.length !== length))
  }

  /** The feed has `length` blocks left. */
  async cut(length: number): Promise<void> {
    const kept = this.list.filter((one) => one.length < length)
    if (kept.length < this.list.length) await this.#become(kept)
  }

  /** Forgets everything. Errors: those of the storage. */
  async destroy(): Promise<void> {
    this.list = []
    await this.#file?.destroy()
  }

  #become(list: readonly Unlink[]): Promise<void> {
    this.list = list
    return this.#order.run(() => this.#save())
  }

  async #save(): Promise<void> {
    const file = this.#file
    if (file === null) return
    if (this.list.length === 0 || this.#lines >= MOST_LINES) {
      await file.destroy().catch(ignore)
      this.#lines = 0
    }
    if (this.list.length === 0) return
    this.#lines++
    await file.add(JSON.stringify(this.list)).catch(ignore)
  }
}

/** The signed head of a length whose roots are here; null if it is not known any more. */
export async function headOf(core: Core, length: number): Promise<Omit<SignedHead, 'nodes'> | null> {
  const roots = await nodesAt(core, flat.fullRoots(2 * length))
  const signature = await core.storage.signatures.get(length - 1)
  return roots === null || signature === null ? null : { length, roots, signature: b4a.from(signature) }
}

/** The root of the feed that the last block of the first `length` lies below. */
export function rootAbove(core: Core, length: number): TreeNode | undefined {
  return core.roots.find(({ index }) => flat.rightSpan(index) >= 2 * (length - 1))
}

async function isSettled(core: Core, length: number): Promise<boolean> {
  return length >= core.length || (await headOf(core, length)) === null || isLinked(core, length)
}

/** Whether the nodes that are here lead from the roots of `length` blocks to those of the feed. */
function isLinked(core: Core, length: number): Promise<boolean> {
  // Every other root of that length is one of the feed as well, or the sibling of a node on this way.
  return leadsUp(core, flat.fullRoots(2 * length).pop()!)
}

/** Whether the nodes that are here lead from one of them to a root of the feed. */
export async function leadsUp(core: Core, index: number): Promise<boolean> {
  const root = core.roots.find(
    (one) => flat.leftSpan(one.index) <= index && index <= flat.rightSpan(one.index)
  )
  const [start] = (await nodesAt(core, [index])) ?? []
  if (root === undefined || start === undefined) return false
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

function readLine(line: string): Unlink[] | null {
  try {
    const list: unknown = JSON.parse(line)
    return Array.isArray(list) && list.length <= MOST && list.every(isUnlink) ? list : null
  } catch {
    return null
  }
}

function isUnlink(value: unknown): value is Unlink {
  const { length, first } = (value ?? {}) as Partial<Unlink>
  return Number.isSafeInteger(length) && length! > 0 && typeof first === 'boolean'
}
