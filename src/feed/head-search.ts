import { signable, treeHash } from '../crypto/hash.ts'
import type { Damage } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Checkpoint } from '../storage/checkpoint.ts'
import { type Bits, bitsOf } from './bit-difference.ts'
import type { Core, Stage } from './core.ts'
import type { BeyondEnd } from './recovered.ts'
import { isRestOf, type RecoverySource, type StoredHeads } from './stored-heads.ts'
import { type CheckSource, TreeCheck } from './tree-check.ts'

// Of so many signatures beyond the end it is tried whether a root is damaged: an older version leaves many when it truncates.
const HEALED_TRIES = 8

// So many bytes of a signature that was cut leave no doubt which one it was.
const CERTAIN_BYTES = 8

/** A length with its roots, before anything below them was looked at. */
export interface Candidate {
  length: number
  roots: TreeNode[]
  /** Made again, because it was missing or cut. */
  signature: Uint8Array | null
}

/** The end that was found, and what the bits below it come to. */
export interface Found {
  head: Candidate
  stage: Stage | null
  check: TreeCheck | null
  behind: number
  proven: boolean
  beyond?: BeyondEnd
}

/** What is trusted. */
export interface Base {
  length: number
  roots: TreeNode[]
  proven: Bits
  /** Ranges of blocks whose bits are not proven. */
  suspects: [number, number][]
  lostPages: Set<number>
  /** What was proven and does not hold. */
  damage: Damage[]
  /** What does not hold either, but can be gone on with. */
  noticed: Damage[]
  /** The signature of that length, made again because it was damaged. */
  signature: Uint8Array | null
  /**
   * False: only the bits say so. Then they may have been written over by somebody who left signatures of before: one that
   * contradicts them is not believed, and one that cannot be checked tells nothing.
   */
  firm: boolean
  /** Length that the bits tell, whose signature is there, and whose roots are not, or not those signed; 0 if there is none. */
  claimed: number
  /**
   * Length with the one block that an append had not finished, 0 if there is none: that block is given up, and its place is free (spec
   * FORMAT §6 step 12, quirk 6). Only of folders without a checkpoint, as published packages leave them: they acknowledge a block
   * when its node is written.
   */
  unfinished: number
  checkpoint: Checkpoint | null
}

/** Looks for the end of a stored feed beyond what is trusted of it. */
export class HeadSearch {
  readonly #source: RecoverySource
  readonly #core: Core
  readonly #heads: StoredHeads

  constructor(source: RecoverySource, heads: StoredHeads) {
    this.#source = source
    this.#core = source.core
    this.#heads = heads
  }

  /** The greatest length that holds, and what the bits below it come to. */
  async find(base: Base): Promise<Found> {
    const { signatures } = this.#core.storage
    const { verify } = this.#source
    const slots = verify === null || this.#heads.isStatic(base.roots) ? 0 : signatures.slots
    const unproven = [base.claimed]
    // Signatures that do not hold over the nodes that are there.
    const doubtful: number[] = []
    let cut: { end: Candidate; healed: ReadonlyMap<number, TreeNode> } | null = null
    let found: Found | null = null
    let passed = false
    let tries = HEALED_TRIES
    const known = this.#heads.healed.size
    for await (const { index, signature } of this.#heads.slotsDown(
      slots,
      base.length,
      Number.POSITIVE_INFINITY
    )) {
      const length = index + 1
      const before = new Map(this.#heads.healed)
      const roots = (await this.#heads.rootsOf(length)) ?? (await this.#repaired(length, signature))
      found = roots === null ? null : await this.#accept(base, { length, roots, signature }, unproven)
      // One root may be damaged, and the nodes below it not.
      if (found === null && roots !== null && tries-- > 0) {
        const healed = await this.#heads.rootsOf(length, (tried) =>
          this.#heads.holds(tried, length, signature)
        )
        if (healed !== null) found = await this.#accept(base, { length, roots: healed, signature }, unproven)
      }
      if (found !== null) break
      // Who truncates or overwrites without knowing of checkpoints leaves nodes.
      const surely = base.firm || this.#source.known || (roots === null && length !== base.unfinished)
      if (surely) unproven.push(length)
      else doubtful.push(length)
      if (cut === null && roots !== null) {
        const end = this.#cutSignature({ length, roots, signature }, 1)
        if (end !== null) cut = { end, healed: new Map(this.#heads.healed) }
      }
      passed ||= roots !== null
      this.#heads.restore(before)
    }
    // A node that was worked out for a shorter length may be what a longer one lacked.
    if (found !== null && passed && this.#heads.healed.size > known) return this.find(base)
    // With little left of a signature it could be another one, unless everything that it would sign is here.
    if (cut !== null) {
      const { end, healed } = cut
      const signed = found?.head.length ?? base.length
      found = (await this.#tried(() => this.#complete(base, end, signed), healed)) ?? found
    }
    found = (await this.#tried(() => this.#truncatedEnd(base, found?.head.length ?? base.length))) ?? found
    found ??= await this.#tried(() => this.#unsignedEnd(base))
    found ??= {
      head: { length: base.length, roots: base.roots, signature: base.signature },
      stage: null,
      check: null,
      behind: 0,
      proven: base.length > 0
    }
    if (found.stage === null && (base.suspects.length > 0 || base.lostPages.size > 0)) {
      found = { ...found, ...(await this.#check(base, found.head.roots)) }
    }
    const { length } = found.head
    if (doubtful.length > 0 && this.#claimedBeyond(Math.max(length, base.unfinished)))
      unproven.push(...doubtful)
    const behind = Math.max(0, ...unproven.filter((seen) => seen > length))
    const left = doubtful.some((seen) => seen > length)
    return { ...found, behind, beyond: behind > 0 ? 'nothing' : this.#beyond(found.head, left) }
  }

  /** @param left - whether there are signatures that tell of nothing lost */
  #beyond({ length, roots }: Candidate, left: boolean): BeyondEnd {
    const { sign, verify } = this.#source
    // Only of what the author signs here it is known what may be there.
    if (sign === null || verify === null || this.#heads.isStatic(roots)) return 'nothing'
    if (left) return 'signatures'
    return this.#core.storage.signatures.goesBeyond(length) ? 'scraps' : 'nothing'
  }

  /** What is looked at with some nodes that were worked out; if it is not the end, these, and those that it works out, are forgotten. */
  async #tried(
    look: () => Promise<Found | null>,
    healed: ReadonlyMap<number, TreeNode> = new Map()
  ): Promise<Found | null> {
    const before = new Map(this.#heads.healed)
    this.#heads.restore(new Map([...before, ...healed]))
    const found = await look()
    if (found === null) this.#heads.restore(before)
    return found
  }

  /**
   * Whether a bit tells of a node beyond a length. Who truncates takes these bits back, and who overwrites takes all: so signatures beyond
   * it were not left by somebody who did.
   */
  #claimedBeyond(length: number): boolean {
    const { treeBits } = bitsOf(this.#core.pages)
    return treeBits.any(2 * length, treeBits.length)
  }

  /** Roots of which the last one is lost, and its block is not: with `repair`, if the signature says so. */
  async #repaired(length: number, signature: Uint8Array): Promise<TreeNode[] | null> {
    const { dataSize, repair } = this.#source
    if (!repair || dataSize === null) return null
    return this.#heads.rootsOf(length, (tried) => this.#heads.holds(tried, length, signature), dataSize)
  }

  /**
   * A length with something in its signature slot, if that holds, or is what is left of a signature that would.
   * @param unproven - gets the length if it is signed with this key for certain, and not what is here
   */
  async #accept(
    base: Base,
    slot: Candidate & { signature: Uint8Array },
    unproven: number[]
  ): Promise<Found | null> {
    const { length, roots, signature } = slot
    if (await this.#heads.holds(roots, length, signature)) {
      const checked = await this.#check(base, roots)
      // Whoever wrote over the base knew no checkpoints, and left a signature of before: what is here now counts.
      if (!base.firm && checked.check.damage.length > 0) {
        unproven.push(length)
        return null
      }
      return { head: { length, roots, signature: null }, ...checked, behind: 0, proven: true }
    }
    const head = this.#cutSignature(slot, CERTAIN_BYTES)
    return head === null ? null : { head, ...(await this.#check(base, roots)), behind: 0, proven: true }
  }

  /** The same with its signature made again, if what is in its slot, at least so many bytes, is part of that. */
  #cutSignature(slot: Candidate & { signature: Uint8Array }, bytes: number): Candidate | null {
    const { sign } = this.#source
    const { length, roots, signature } = slot
    if (sign === null || signature.filter((byte) => byte !== 0).length < bytes) return null
    const whole = sign(signable(treeHash(roots), length))
    return isRestOf(signature, whole) ? { length, roots, signature: whole } : null
  }

  /** A head, if every node and every block from `signed` up to it is here and holds. */
  async #complete(base: Base, head: Candidate, signed: number): Promise<Found | null> {
    const checked = await this.#check(base, head.roots, signed)
    return checked.check.complete ? { head, ...checked, behind: 0, proven: head.signature !== null } : null
  }

  /**
   * The end that the bits tell where a published package has truncated the author's feed within a batch: that length is not signed, and the
   * file of the signatures is cut right behind its empty slot, which no append that was interrupted does. What such a package appends
   * when it has opened that is not signed either.
   */
  async #truncatedEnd(base: Base, signed: number): Promise<Found | null> {
    const { sign, verify } = this.#source
    const { signatures } = this.#core.storage
    const length = this.#core.tree.blocks()
    if (!base.firm || sign === null || verify === null) return null
    const cut = signatures.wholeSlots
    if (length <= signed || !(cut >= signed && cut <= length)) return null
    if (cut === 0 || (await signatures.get(cut - 1)) !== null) return null
    const roots = await this.#heads.rootsOf(length)
    if (roots === null || !(await this.#heads.agree(roots))) return null
    const head = { length, roots, signature: null }
    return { head, ...(await this.#check(base, roots)), behind: 0, proven: false }
  }

  /**
   * The end that the bits tell beyond the base: of a static feed, where nothing else tells it; and where the bits are all
   * there is, if everything up to it is here and holds. After a power failure bits may be of different times. Where bits are
   * lost, the size of the tree file tells the length.
   */
  async #unsignedEnd(base: Base): Promise<Found | null> {
    const found = await this.#unsigned(base, this.#core.tree.blocks())
    if (found !== null) return found
    return this.#unsigned(base, Math.floor((this.#core.storage.tree.slots + 1) / 2), this.#source.repair)
  }

  /** @param lenient - false: only of a static feed */
  async #unsigned(base: Base, length: number, lenient = true): Promise<Found | null> {
    const { copy, key, repair, sign, verify } = this.#source
    if (length <= base.length) return null
    const roots = await this.#heads.rootsOf(length)
    if (roots === null) return null
    const isStatic = this.#heads.isStatic(roots)
    if ((verify === null && lenient) || isStatic) {
      const head = { length, roots, signature: null }
      return { head, ...(await this.#check(base, roots)), behind: 0, proven: isStatic && key !== null }
    }
    // Of a copy nothing but a signature says whose they are.
    if (copy || (base.firm && !(repair && sign !== null)) || !lenient) return null
    const signature = sign === null ? null : sign(signable(treeHash(roots), length))
    return this.#complete(base, { length, roots, signature }, base.length)
  }

  async #check(
    base: Base,
    roots: readonly TreeNode[],
    completeFrom = Number.POSITIVE_INFINITY
  ): Promise<{ stage: Stage; check: TreeCheck }> {
    const { core, dataSize, readsData } = this.#source
    const stage = core.stage()
    const source: CheckSource = {
      tree: core.storage.tree,
      data: core.storage.data,
      dataSize,
      found: bitsOf(core.pages),
      proven: base.proven,
      from: base.length,
      completeFrom,
      suspects: base.suspects,
      lostPages: base.lostPages,
      signedRoots: (start, end) => this.#heads.signedRoots(start, end),
      readsData
    }
    for (const { index } of roots) stage.treeBits.set(index, true)
    const check = new TreeCheck(source, stage)
    for (const [index, node] of this.#heads.healed) check.healed.set(index, node)
    await check.run(roots)
    return { stage, check }
  }
}
