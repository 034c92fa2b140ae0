import b4a from 'b4a'
import flat from 'flat-tree'
import { PAGE_BLOCKS, Pages } from '../bitfield/pages.ts'
import { signable, treeHash } from '../crypto/hash.ts'
import { type Damage, DDatabaseError } from '../errors.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Checkpoint } from '../storage/checkpoint.ts'
import { type Bits, bitsOf, differenceOf, sameNodes } from './bit-difference.ts'
import type { Core, Stage } from './core.ts'
import { placeOf } from './places.ts'
import { isRestOf, type RecoverySource, StoredHeads } from './stored-heads.ts'
import { type CheckSource, TreeCheck } from './tree-check.ts'

/** What an opening found and did after a crash (`feed.recovery`). */
export interface Recovery {
  /** Blocks the feed has now. */
  length: number
  /** Blocks it had according to its bitfield. */
  formerLength: number
  /** Blocks that the bitfield claimed and that are not here. */
  lostBlocks: number
  /** Blocks that are here and that the bitfield did not know. */
  foundBlocks: number
  /** Nodes of the tree that were worked out and written again. */
  healedNodes: number
  /** Whether the signature of the last block was missing, or cut, and was made again. */
  signed: boolean
  /** What had been on the disk for certain and did not hold; it is repaired, or, with `repair`, given up. */
  damage: readonly Damage[]
}

/** What recovering comes to: nothing is written yet. */
export interface Recovered {
  length: number
  roots: TreeNode[]
  /** The bits as they are to be; null if they are right in the file. */
  stage: Stage | null
  /** Nodes to be written. */
  nodes: TreeNode[]
  /** A signature to be written into the last block's slot. */
  signature: Uint8Array | null
  /** Length of the longest history that is signed and not here, 0 if there is none. */
  behind: number
  /** Null if there was nothing to repair. */
  report: Recovery | null
  /** Whether a checkpoint claims exactly this state. */
  claimed: boolean
  /** Whether a signature, or the key of a static feed, says that this is its length. */
  proven: boolean
  /**
   * Whether there are signatures beyond the end that tell of nothing lost: somebody who knows no checkpoints has overwritten a feed, and
   * left them. They are to be removed before a checkpoint is made, beside which they would tell of a longer history.
   */
  leftSignatures: boolean
}

// How many signatures below the end are tried where there is no checkpoint.
const TRIES = 64

// Of so many signatures beyond the end it is tried whether a root is damaged: an older version leaves many when it truncates.
const HEALED_TRIES = 8

// So many bytes of a signature that was cut leave no doubt which one it was.
const CERTAIN_BYTES = 8

/**
 * Finds out what of the stored feed holds (docs/design.md, "Recovery"). Reads only.
 *
 * 1. The length: the greatest one whose signature holds over the roots in the tree file, whatever the bits say; but at
 *    least what the checkpoint proves. Without a checkpoint the bits lead, as far as a signature agrees.
 * 2. What the bits claim beyond the checkpoint, and every block beyond it, is compared with the tree from the roots down.
 *
 * Errors: `ERR_FEED_DAMAGED` with a list, `ERR_STORAGE`.
 */
export async function recover(source: RecoverySource): Promise<Recovered> {
  const { checkpoint, core, copy, repair } = source
  if (core.pages.source !== null) {
    const recovered = await withoutReading(source)
    if (recovered !== null) return recovered
    // In doubt everything is looked at.
    await source.readPages()
    source.touched = null
  }
  const recovering = new Recovering(source)
  const fromCheckpoint = checkpoint === null ? null : await recovering.fromCheckpoint(checkpoint)
  if (fromCheckpoint !== null) return fromCheckpoint
  const recovered = await withoutCheckpoint(source, recovering)
  // What the checkpoint and the bits agree on was here: an author does not go on below it unasked.
  if (checkpoint === null || recovered.length >= checkpoint.length) return recovered
  const { length, report } = recovered
  // Somebody else has made it shorter.
  if (core.tree.blocks() < checkpoint.length && !source.bitsLost) return recovered
  const lost = rootsDamage(length, checkpoint.length)
  if (!copy && !repair) throw new DDatabaseError('ERR_FEED_DAMAGED', { damage: [lost] })
  // Given up for reading: others may still have what was signed there.
  const behind = copy ? recovered.behind : Math.max(recovered.behind, checkpoint.length)
  return { ...recovered, behind, report: report && { ...report, damage: [lost, ...report.damage] } }
}

/** What is found where the checkpoint tells what may have changed since; null if what is found needs a closer look. */
async function withoutReading(source: RecoverySource): Promise<Recovered | null> {
  const { checkpoint, core, repair, touched } = source
  if (checkpoint === null) return null
  if (touched === null) return new Recovering(source).clean(checkpoint)
  // Somebody else has made it shorter.
  if (repair || core.tree.blocks() < checkpoint.length) return null
  try {
    return await new Recovering(source).fromCheckpoint(checkpoint)
  } catch (error) {
    if (DDatabaseError.is(error) && error.code === 'ERR_FEED_DAMAGED') return null
    throw error
  }
}

async function withoutCheckpoint(source: RecoverySource, recovering: Recovering): Promise<Recovered> {
  if (source.checkpoint === null && source.repair) {
    const recovered = await recovering.fromNothing()
    if (recovered.proven) return recovered
  }
  if (!source.whole && !source.bitsLost) {
    const recovered = await recovering.fromBits()
    if (recovered !== null) return recovered
  }
  // Where the bits lead nowhere: what a signature, or the key of a static feed, proves needs no bits.
  const recovered = await recovering.fromNothing()
  if (recovered.proven || source.whole || source.repair) return recovered
  // A copy that has lost all that its key, or a signature, could vouch for: perhaps the key is not the one that it was made with.
  const gone = source.copy && recovered.length === 0 && (source.bitsLost || source.core.tree.blocks() > 0)
  if (source.small && !gone) return recovered
  throw new DDatabaseError('ERR_FEED_DAMAGED', {
    message: 'No node found',
    damage: [
      source.bitsLost
        ? { file: 'bitfield', problem: 'the file is lost', start: 0, end: 0 }
        : (recovering.unsigned ?? {
            file: 'tree',
            problem: 'roots are missing',
            start: 0,
            end: source.core.tree.blocks()
          })
    ]
  })
}

/** A length with its roots, before anything below them was looked at. */
interface Candidate {
  length: number
  roots: TreeNode[]
  /** Made again, because it was missing or cut. */
  signature: Uint8Array | null
}

/** What {@link Recovering} comes to before it is looked at from above. */
interface Found {
  head: Candidate
  stage: Stage | null
  check: TreeCheck | null
  behind: number
  proven: boolean
  leftSignatures?: boolean
}

/** What is trusted. */
interface Base {
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

class Recovering {
  /** Set if the end that the bits tell is not signed. */
  unsigned: Damage | null = null
  readonly #source: RecoverySource
  readonly #core: Core
  readonly #heads: StoredHeads

  constructor(source: RecoverySource) {
    this.#source = source
    this.#core = source.core
    this.#heads = new StoredHeads(source)
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
    const { touched } = this.#source
    if (touched === null && head.holds && checkpoint.hasBitsOf(this.#core.pages))
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
    // A signature beyond the end is looked at each time: it may be all that is left of a longer history.
    const sameSlots = signatures.slots === signatureSlots && signatures.slots <= length
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
    const found = await this.#findHead(base)
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
      leftSignatures: found.leftSignatures === true
    }
  }

  /** The greatest length that holds, and what the bits below it come to. */
  async #findHead(base: Base): Promise<Found> {
    const { signatures } = this.#core.storage
    const { verify } = this.#source
    const slots = verify === null || this.#heads.isStatic(base.roots) ? 0 : signatures.slots
    const unproven = [base.claimed]
    // Signatures that do not hold over the nodes that are there.
    const doubtful: number[] = []
    let cut: Candidate | null = null
    let found: Found | null = null
    let tries = HEALED_TRIES
    for await (const { index, signature } of this.#heads.slotsDown(
      slots,
      base.length,
      Number.POSITIVE_INFINITY
    )) {
      const length = index + 1
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
      if (cut === null && roots !== null) cut = this.#cutSignature({ length, roots, signature }, 1)
    }
    // With little left of a signature it could be another one, unless everything that it would sign is here.
    if (cut !== null) found = (await this.#complete(base, cut, found?.head.length ?? base.length)) ?? found
    found = (await this.#truncatedEnd(base, found?.head.length ?? base.length)) ?? found
    found ??= await this.#unsignedEnd(base)
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
    return {
      ...found,
      behind,
      leftSignatures: this.#source.sign !== null && behind === 0 && doubtful.some((seen) => seen > length)
    }
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
    if (!cut || !this.#core.bits.get(length - 1)) return
    let start = length
    for (; start > 0; start--) {
      const { offset, size } = await placeOf(this.#core, start - 1).catch(() => ({ offset: 0, size: 0 }))
      if (offset + size <= dataSize) break
      stage.bits.set(start - 1, false)
    }
    base.damage.push({ file: 'data', problem: 'bytes are missing', start, end: length })
  }
}

function rootsDamage(start: number, end: number): Damage {
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
  leftSignatures: false
} as const satisfies Partial<Recovered>
