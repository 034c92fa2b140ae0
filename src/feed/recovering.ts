import b4a from 'b4a'
import flat from 'flat-tree'
import { PAGE_BLOCKS, Pages } from '../bitfield/pages.ts'
import { signable, treeHash } from '../crypto/hash.ts'
import { type Damage, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Checkpoint } from '../storage/checkpoint.ts'
import { bitsOf, differenceOf, sameNodes } from './bit-difference.ts'
import type { Core, Stage } from './core.ts'
import { type Base, type Candidate, HeadSearch } from './head-search.ts'
import { placeOf } from './places.ts'
import type { Recovered } from './recovered.ts'
import { isRestOf, type RecoverySource, StoredHeads } from './stored-heads.ts'

// How many signatures below the end are tried where there is no checkpoint.
const TRIES = 64

/** Makes of one kind of trust, a checkpoint, the bits, or none, what the feed is. Reads only. */
export class Recovering {
  /** Set if the end that the bits tell is not signed. */
  unsigned: Damage | null = null
  readonly #source: RecoverySource
  readonly #core: Core
  readonly #heads: StoredHeads
  readonly #search: HeadSearch

  constructor(source: RecoverySource) {
    this.#source = source
    this.#core = source.core
    this.#heads = new StoredHeads(source)
    this.#search = new HeadSearch(source, this.#heads)
  }

  /** Null if the checkpoint is not of this history: somebody who knows no checkpoints has truncated the feed. */
  async fromCheckpoint(checkpoint: Checkpoint): Promise<Recovered | null> {
    const { signatures } = this.#core.storage
    const { length, signatureSlots } = checkpoint
    const shorter = this.#core.tree.blocks() < length
    if (shorter && (signatureSlots === null || signatures.slots < signatureSlots)) return null
    const head = await this.#headOf(checkpoint)
    if (head === null) return null
    const { roots, end } = head
    const { bitsLost, touched } = this.#source
    // Lost bits agree with each checkpoint that has none.
    if (touched === null && !bitsLost && head.holds && checkpoint.hasBitsOf(this.#core.pages))
      return { ...NOTHING_TO_DO, length, roots, claimed: true, proven: true }
    const { suspects, lostPages } = differenceOf(this.#core.pages, checkpoint.pages, length, touched)
    const base: Base = {
      length,
      roots,
      proven: bitsOf(checkpoint.pages),
      suspects,
      lostPages,
      damage: [...lostPages].map((page) => ({
        file: 'bitfield',
        problem: 'bits are missing',
        start: page * PAGE_BLOCKS,
        end: Math.min(length, (page + 1) * PAGE_BLOCKS)
      })),
      noticed: [],
      signature: null,
      firm: true,
      claimed: 0,
      unfinished: 0,
      checkpoint
    }
    const recovered = await this.#from(base, end)
    if (recovered === null && this.#source.sign !== null && !this.#source.repair) {
      if (await this.#isAnother(length)) return null
      throw new DDatabaseError('ERR_FEED_DAMAGED', { damage: [endDamage(length)] })
    }
    return recovered
  }

  /** Whether the nodes that are stored are signed, and those of the checkpoint were only worked out from bytes that were left in `data`. */
  async #isAnother(length: number): Promise<boolean> {
    this.#heads.healed.clear()
    const roots = await this.#heads.rootsOf(length)
    const signature = await this.#core.storage.signatures.get(length - 1)
    return roots !== null && signature !== null && this.#heads.holds(roots, length, signature)
  }

  /** What there is if the files have the bits of the checkpoint for certain; null if anything else differs. */
  async clean(checkpoint: Checkpoint): Promise<Recovered | null> {
    const head = await this.#headOf(checkpoint)
    if (head?.holds !== true) return null
    const { length } = checkpoint
    return { ...NOTHING_TO_DO, length, roots: head.roots, claimed: true, proven: true }
  }

  /** The head of a checkpoint: `holds` if the feed has it, and nothing beyond it is to be seen. Null if its roots are not here. */
  async #headOf(
    checkpoint: Checkpoint
  ): Promise<{ roots: TreeNode[]; end: Candidate | null; holds: boolean } | null> {
    const { signatures } = this.#core.storage
    const { length, signatureSlots } = checkpoint
    const roots = await this.#heads.rootsOf(
      length,
      (tried) => length === 0 || b4a.equals(treeHash(tried), checkpoint.treeHash),
      checkpoint.byteLength
    )
    if (roots === null) return null
    const { dataSize } = this.#source
    const whole = dataSize === null || checkpoint.dataBytes === null || dataSize >= checkpoint.dataBytes
    // What a checkpoint says was true once; that the feed is what its key has signed is for the signature to say.
    const end = await this.#endOf(length, roots)
    const held = end !== null && end.signature === null && this.#heads.healed.size === 0
    // What is beyond the end is looked at each time: a signature there may be all that is left of a longer history.
    const sameSlots = signatures.slots === signatureSlots && !signatures.goesBeyond(length)
    return { roots, end, holds: held && whole && sameSlots }
  }

  /** Looks at everything. */
  async fromNothing(): Promise<Recovered> {
    const base: Base = {
      length: 0,
      roots: [],
      proven: bitsOf(new Pages(this.#core.pages.pageSize)),
      suspects: [],
      lostPages: new Set(),
      damage: [],
      noticed: this.#source.bitsLost
        ? [{ file: 'bitfield', problem: 'the file is lost', start: 0, end: 0 }]
        : [],
      signature: null,
      firm: true,
      claimed: 0,
      unfinished: 0,
      checkpoint: null
    }
    return (await this.#from(base, base))!
  }

  /** Trusts the bits, but looks whether the end they tell is one that was signed. Null if roots are missing. */
  async fromBits(): Promise<Recovered | null> {
    const told = this.#core.tree.blocks()
    let length = told
    let roots = await this.#heads.rootsOf(length)
    const torn = roots === null && length > 0
    if (torn) {
      // A process that died while appending may have left bits ahead of the tree by one block, which is given up.
      length--
      roots = await this.#heads.rootsOf(length)
    }
    if (roots === null) return null
    const end = await this.#signedEnd(length, roots)
    if (end === null) {
      this.unsigned = endDamage(length)
      return null
    }
    const unfinished = torn && end.length === length ? told : 0
    let claimed = 0
    for (const one of unfinished === 0 ? [length, told] : []) {
      // A single bit too many does not hide what is signed below it.
      if (one > end.length && (await this.#core.storage.signatures.get(one - 1)) !== null) claimed = one
    }
    const base: Base = {
      length: end.length,
      roots: end.roots,
      proven: bitsOf(this.#core.pages),
      suspects: [],
      lostPages: new Set(),
      damage: [],
      noticed: end.length < length || end.signature !== null ? [endDamage(length)] : [],
      signature: end.signature,
      firm: false,
      claimed,
      unfinished,
      checkpoint: null
    }
    return this.#from(base, end)
  }

  /**
   * The end that the bits tell, if its signature holds, or, of an author, is missing (older versions truncate that way) or another one,
   * and what lies below its roots agrees with them; else the next one below that was signed. Null if there is none nearby.
   */
  async #signedEnd(length: number, roots: TreeNode[]): Promise<Candidate | null> {
    const { copy, repair, sign } = this.#source
    const end = await this.#endOf(length, roots)
    const unsigned = end !== null && (await this.#isUnsigned(end))
    if (end !== null && !unsigned) return end
    let lower: Candidate | null = null
    let seen = false
    for await (const { index, signature } of this.#heads.slotsDown(length - 1, 0, TRIES)) {
      seen = true
      const tried = await this.#heads.rootsOf(index + 1)
      if (tried === null || !(await this.#heads.holds(tried, index + 1, signature))) continue
      lower = { length: index + 1, roots: tried, signature: null }
      break
    }
    if (copy || sign === null) return lower
    // What an author appends next would sign these roots as well.
    const agreed = (lower !== null || (!seen && end !== null)) && (await this.#heads.agree(roots))
    // What lies there instead of a signature is damage, or was left by a feed that has been overwritten.
    if (agreed) return end ?? { length, roots, signature: sign(signable(treeHash(roots), length)) }
    if (end === null || repair) return lower
    throw new DDatabaseError('ERR_FEED_DAMAGED', { damage: [rootsDamage(0, length)] })
  }

  /** Whether nothing says whose roots these are: those of a damaged tree, or of another feed's, look the same. */
  async #isUnsigned({ length, roots }: Candidate): Promise<boolean> {
    if (length === 0 || this.#source.verify === null || this.#heads.isStatic(roots)) return false
    return (await this.#core.storage.signatures.get(length - 1)) === null
  }

  /**
   * A length whose roots are known: with its roots, one of them worked out anew if that makes the signature hold, or with its signature,
   * made again by the author if what is stored is nearly it. Null if the signature does not hold.
   */
  async #endOf(length: number, roots: TreeNode[]): Promise<Candidate | null> {
    const { sign, verify } = this.#source
    const end: Candidate = { length, roots, signature: null }
    if (length === 0 || verify === null || this.#heads.isStatic(roots)) return end
    const { signatures } = this.#core.storage
    const slot = await signatures.get(length - 1)
    if (slot === null) {
      // Without a single signature it may be a static feed with a damaged root.
      const isStatic = (tried: readonly TreeNode[]) => this.#heads.isStatic(tried)
      const healed = signatures.slots > 0 ? null : await this.#heads.rootsOf(length, isStatic)
      return healed === null ? end : { ...end, roots: healed }
    }
    const healed = await this.#heads.rootsOf(length, (tried) => this.#heads.holds(tried, length, slot))
    if (healed !== null) return { ...end, roots: healed }
    if (sign === null) return null
    const whole = sign(signable(treeHash(roots), length))
    return isRestOf(slot, whole) ? { ...end, signature: whole } : null
  }

  /** @param end - the end of the base, null if its signature does not hold. Then null is answered if no greater length holds. */
  async #from(base: Base, end: Omit<Candidate, 'length'> | null): Promise<Recovered | null> {
    const found = await this.#search.find(base)
    const { head, check, behind } = found
    if (head.length === base.length && base.length > 0) {
      if (end === null) return null
      head.roots = end.roots
      head.signature = end.signature
    }
    const stage = found.stage ?? this.#core.stage()
    await this.#signaturesCut(base, head)
    const dropped = this.#dropBeyond(stage, head)
    if (base.checkpoint !== null) await this.#dataCut(base, base.checkpoint, stage)
    const damage = [...base.noticed, ...base.damage, ...(check?.damage ?? [])]
    const { dirty } = stage.pages
    const healed = new Map([...this.#heads.healed, ...(check?.healed ?? [])])
    const nodes = [...healed.values()].filter((node) => flat.rightSpan(node.index) < 2 * head.length)
    const formerLength = this.#core.tree.blocks()
    const lostBlocks = (check?.lost ?? 0) + dropped
    const foundBlocks = check?.found ?? 0
    // Bits of blocks beyond the end are left by older versions when they truncate: no repair.
    const repaired =
      head.length !== formerLength ||
      lostBlocks + foundBlocks + nodes.length > 0 ||
      head.signature !== null ||
      (base.firm && dirty.some((page) => !sameNodes(stage.pages.read(page), this.#core.pages.read(page))))
    // Bits are mended, and a copy fetches blocks again.
    const copies = this.#source.sign === null
    const lasting = [...base.damage, ...(check?.damage ?? [])].filter(
      ({ file }) => file !== 'bitfield' && !(file === 'data' && copies)
    )
    if (lasting.length > 0 && !this.#source.repair)
      throw new DDatabaseError('ERR_FEED_DAMAGED', { damage: lasting })
    return {
      length: head.length,
      roots: head.roots,
      stage: dirty.length > 0 ? stage : null,
      nodes,
      signature: head.signature,
      behind,
      report:
        !repaired && damage.length === 0
          ? null
          : {
              length: head.length,
              formerLength,
              lostBlocks,
              foundBlocks,
              healedNodes: nodes.length,
              signed: head.signature !== null,
              damage
            },
      claimed: false,
      proven: found.proven,
      beyond: found.beyond ?? 'nothing'
    }
  }

  /** Takes all bits beyond a length. Answers how many blocks that were. */
  #dropBeyond({ bits, treeBits }: Stage, { length, roots }: Candidate): number {
    const dropped = bits.total(length, Math.max(length, this.#core.tree.blocks()))
    if (bits.firstPresent(length, bits.length) !== -1) bits.setRange(length, bits.length, false)
    treeBits.setRange(2 * length, treeBits.length, false)
    for (const { index } of roots) {
      if (!treeBits.get(index)) treeBits.set(index, true)
      const parent = flat.parent(index)
      if (treeBits.get(parent)) treeBits.set(parent, false)
    }
    return dropped
  }

  /** Signatures that were there when the checkpoint was made. The last one covers all blocks. */
  async #signaturesCut(base: Base, head: Candidate): Promise<void> {
    const { checkpoint } = base
    const { signatures } = this.#core.storage
    const slots = checkpoint?.signatureSlots ?? 0
    const { sign, verify } = this.#source
    if (signatures.slots >= slots || verify === null || head.length === 0 || head.signature !== null) return
    if (this.#heads.isStatic(head.roots) || (await signatures.get(head.length - 1)) !== null) return
    if (sign !== null) head.signature = sign(signable(treeHash(head.roots), head.length))
    else
      base.damage.push({
        file: 'signatures',
        problem: 'slots are missing',
        start: signatures.slots,
        end: slots
      })
  }

  /** Blocks whose bytes the `data` file had when the checkpoint was made. */
  async #dataCut(base: Base, checkpoint: Checkpoint, stage: Stage): Promise<void> {
    const { dataSize } = this.#source
    const { length, dataBytes } = checkpoint
    const cut = dataSize !== null && dataBytes !== null && dataSize < dataBytes
    if (!cut) return
    // Empty blocks at the end take no bytes, and what was cleared before them none any more.
    let start = length
    const isEmpty = async (block: number): Promise<boolean> =>
      this.#core.bits.get(block) && (await placeOf(this.#core, block).catch(() => null))?.size === 0
    while (start > 0 && (await isEmpty(start - 1))) start--
    if (start === 0 || !this.#core.bits.get(start - 1)) return
    for (; start > 0; start--) {
      const { offset, size } = await placeOf(this.#core, start - 1).catch(() => ({ offset: 0, size: 0 }))
      if (offset + size <= dataSize) break
      stage.bits.set(start - 1, false)
    }
    base.damage.push({ file: 'data', problem: 'bytes are missing', start, end: length })
  }
}

/** Roots of blocks `start` … `end` − 1 that cannot be had. */
export function rootsDamage(start: number, end: number): Damage {
  return { file: 'tree', problem: 'roots are missing or do not hold', start, end }
}

function endDamage(length: number): Damage {
  return {
    file: 'signatures',
    problem: 'the signature of the end does not hold',
    start: length - 1,
    end: length
  }
}

const NOTHING_TO_DO = {
  stage: null,
  nodes: [],
  signature: null,
  behind: 0,
  report: null,
  beyond: 'nothing'
} as const satisfies Partial<Recovered>
