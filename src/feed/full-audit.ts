/** `audit` with options: everything that is stored of a feed is looked at (docs/design.md, "Audits"). */
import b4a from 'b4a'
import flat from 'flat-tree'
import { INDEX_OFFSET, PAGE_BLOCKS } from '../bitfield/pages.ts'
import { signable, treeHash } from '../crypto/hash.ts'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import type { Damage } from '../errors.ts'
import type { ForkProof } from '../merkle/fork.ts'
import { NODE_SIZE, type TreeNode } from '../merkle/node.ts'
import { decodeHeader, encodeHeader, HEADER_SIZE, isBlank } from '../storage/layout.ts'
import type { StorageFile } from '../storage/random-access.ts'
import { storageError } from '../storage/storage-error.ts'
import { nextTurn } from '../util/turn.ts'
import { type AuditEnd, type AuditReport, throwIfEnded } from './audit.ts'
import type { Core } from './core.ts'
import { checkRange, type RangeCheck, settleRange } from './healing.ts'
import { type DownloadProgress, Rate } from './progress.ts'
import type { FeedFiles } from './stored-files.ts'
import { isRestOf } from './stored-heads.ts'

/** Options of `audit`. With any of them, or with none in an object, the answer is a {@link FullAuditReport}. */
export interface AuditOptions {
  /** Ends the call with `ERR_REQUEST_CANCELLED`. What was mended until then stays so. */
  signal?: AbortSignal | null | undefined
  /**
   * Mend what can be mended from the files themselves: nodes from the data or from nodes below them, bits from nodes and data,
   * headers, and, by the author, signatures. Default false: apart from blocks that do not hold, which are not here any
   * more, nothing is changed.
   */
  repair?: boolean | undefined
  /** Told between one piece of the feed and the next how far the audit is: blocks looked at, and bytes of those that hold. */
  onprogress?: ((progress: AuditProgress) => void) | null | undefined
}

/** How far an audit is; as the progress of a download. */
export type AuditProgress = DownloadProgress

/** What `audit` with options found. */
export interface FullAuditReport extends AuditReport {
  /** All that does not hold, in the order in which it was found; at most 65,536 entries. */
  damage: Damage[]
  /** That part of `damage` that was mended. */
  repaired: Damage[]
  /** Other histories that the key of this feed has signed, as far as they were met. */
  forks: readonly ForkProof[]
}

/** What an audit needs of its feed. */
export interface AuditSource extends Pick<AuditEnd, 'signal' | 'closed'> {
  readonly files: FeedFiles
  readonly key: Uint8Array | null
  readonly secretKey: Uint8Array | null
  /** Whether the secret key is to be in its file. */
  readonly storesSecretKey: boolean
  /** Signs as the author; null if this is none, or if signing is the application's. */
  readonly sign: ((roots: readonly TreeNode[], length: number) => Promise<Uint8Array>) | null
}

const MOST_LISTED = 65_536

// Blocks, and bytes of blocks, that are looked at between two turns of the event loop.
const PIECE_BLOCKS = 2048
const PIECE_BYTES = 1024 * 1024

// Pages of the bitfield read at a time, signature slots read and signatures verified at a time.
const PAGES_AT_A_TIME = 32
const SLOTS_AT_A_TIME = 64
// Slots that are passed over at a time where there are no signatures.
const HOLE_AT_A_TIME = 65_536

/**
 * Looks at keys, headers, bits, every node and every block from the roots down, and every signature. Holds the feed's mutex for a piece
 * at a time, and only where something seems to be wrong.
 * Errors: `ERR_STORAGE`, `ERR_WRITE_REFUSED`, `ERR_REQUEST_CANCELLED`, `ERR_FEED_CLOSED`, what `onprogress` throws.
 */
export async function auditAll(
  core: Core,
  source: AuditSource,
  options: AuditOptions
): Promise<FullAuditReport> {
  const audit = new Audit(core, source, options)
  try {
    return await audit.run()
  } catch (error) {
    throw storageError(error)
  }
}

class Audit {
  private readonly core: Core
  private readonly source: AuditSource
  private readonly options: AuditOptions
  private readonly report: FullAuditReport
  private readonly rate = new Rate()
  // Of the blocks that hold.
  private bytes = 0
  // Up to this block nothing holds below a node that was looked at. One piece: to try to mend that node, all below it is read each time.
  private damagedUntil = 0

  constructor(core: Core, source: AuditSource, options: AuditOptions) {
    this.core = core
    this.source = source
    this.options = options
    this.report = { valid: 0, invalid: 0, damage: [], repaired: [], forks: [...core.forks] }
  }

  async run(): Promise<FullAuditReport> {
    throwIfEnded(this.source)
    await this.core.change(async () => {
      await this.core.storage.tree.refresh()
      // Nodes may count because of a signature.
      await this.core.storage.signatures.refresh()
    })
    await this.keys()
    await this.core.change(() => this.headers())
    await this.bits()
    await this.blocks()
    await this.signatures()
    return this.report
  }

  private get repairs(): boolean {
    return !!this.options.repair
  }

  private found(damage: Damage, repaired: boolean): void {
    const lists = repaired ? [this.report.damage, this.report.repaired] : [this.report.damage]
    for (const list of lists) {
      const last = list[list.length - 1]
      const isMore = last?.file === damage.file && last.problem === damage.problem
      // Seen from another block below it.
      if (isMore && last.start === damage.start && last.end === damage.end) continue
      if (isMore && last.end === damage.start) {
        list[list.length - 1] = { ...last, end: damage.end }
      } else if (list.length < MOST_LISTED) list.push(damage)
    }
  }

  /** Between two pieces. */
  private async pause(): Promise<void> {
    await nextTurn()
    throwIfEnded(this.source)
  }

  private async keys(): Promise<void> {
    const { files, key, secretKey, storesSecretKey } = this.source
    if (key !== null) await this.keyFile('key', files.key, key, true)
    if (secretKey !== null) await this.keyFile('secret_key', files.secret_key, secretKey, storesSecretKey)
  }

  /** The files of keys are never changed: what is in memory may be what the application gave. */
  private async keyFile(
    file: 'key' | 'secret_key',
    stored: StorageFile,
    key: Uint8Array,
    expected: boolean
  ): Promise<void> {
    const place = { file, start: 0, end: this.core.length }
    const bytes = await stored.readIfPresent(0, key.length).catch(() => undefined)
    if (bytes === undefined) this.found({ ...place, problem: 'the key cannot be read' }, false)
    else if (bytes === null || isBlank(bytes)) {
      if (expected) this.found({ ...place, problem: 'the key is missing' }, false)
    } else if (!b4a.equals(bytes, key)) this.found({ ...place, problem: 'the key is another one' }, false)
  }

  private async headers(): Promise<void> {
    const { files } = this.source
    const { length, pages } = this.core
    const sizes = { bitfield: pages.pageSize, tree: NODE_SIZE, signatures: SIGNATURE_SIZE }
    for (const file of ['bitfield', 'tree', 'signatures'] as const) {
      const header = await files[file].readIfPresent(0, HEADER_SIZE).catch(() => null)
      if (header !== null && isHeader(file, header, sizes[file])) continue
      if (this.repairs) {
        await this.core.storage.changing()
        await files[file].write(0, encodeHeader(file, sizes[file]))
      }
      this.found({ file, problem: 'the header does not hold', start: 0, end: length }, this.repairs)
    }
  }

  /** Compares the file of the bits with the bits in memory, which are those that count. */
  private async bits(): Promise<void> {
    const { core } = this
    for (let page = 0; page < core.pages.length; page += PAGES_AT_A_TIME) {
      await core.change(() => this.somePages(page, Math.min(core.pages.length, page + PAGES_AT_A_TIME)))
      await this.pause()
    }
  }

  private async somePages(start: number, end: number): Promise<void> {
    const { core } = this
    const { pages } = core
    const { bitfield } = this.source.files
    const { pageSize } = pages
    const size = await bitfield.size()
    // Changed by the application, and not written yet.
    const waiting = new Set(pages.dirty)
    for (let page = start; page < end; page++) {
      const position = HEADER_SIZE + page * pageSize
      const there = size === null ? pageSize : Math.max(0, Math.min(pageSize, size - position))
      const stored = b4a.alloc(pageSize)
      const read = there === 0 ? null : await bitfield.readOrAbsent(position, there)
      if (read !== null) stored.set(read)
      const bytes = pages.read(page) ?? b4a.alloc(pageSize)
      if (waiting.has(page) || b4a.equals(stored.subarray(0, INDEX_OFFSET), bytes.subarray(0, INDEX_OFFSET)))
        continue
      if (this.repairs) {
        await core.storage.changing()
        await bitfield.write(position, pages.whole(page) ?? bytes)
      }
      const blocks = { start: page * PAGE_BLOCKS, end: (page + 1) * PAGE_BLOCKS }
      this.found({ file: 'bitfield', problem: 'the page is another one', ...blocks }, this.repairs)
    }
  }

  private async blocks(): Promise<void> {
    const { core } = this
    for (let start = 0; start < core.length; ) {
      const page = Math.floor(start / PAGE_BLOCKS)
      const pageEnd = Math.min(core.length, (page + 1) * PAGE_BLOCKS)
      // Nothing is known of these blocks.
      const end = core.pages.read(page) === null ? pageEnd : this.pieceEnd(start, pageEnd)
      await this.range(start, end)
      start = end
      this.tell(start)
      await this.pause()
    }
    if (core.length === 0) this.tell(0)
  }

  /** Some blocks from `start` on. A size that is not known, or damaged, only makes the piece another one. */
  private pieceEnd(start: number, limit: number): number {
    if (start < this.damagedUntil) return Math.min(limit, this.damagedUntil)
    const last = Math.min(limit, start + PIECE_BLOCKS)
    const { bits, storage } = this.core
    let bytes = 0
    let end = start
    do {
      if (bits.get(end)) {
        const size = storage.tree.sizeSync(2 * end)
        if (size > 0) bytes += Math.min(size, PIECE_BYTES)
      }
      end++
    } while (end < last && bytes < PIECE_BYTES)
    return end
  }

  private tell(blocks: number): void {
    const { core, options } = this
    if (!options.onprogress) return
    const counted = { blocks, totalBlocks: core.length, bytes: this.bytes, totalBytes: core.byteLength }
    options.onprogress(this.rate.of(counted, performance.now()))
  }

  private async range(start: number, end: number): Promise<void> {
    const { core } = this
    const seen = await checkRange(core, start, end, { compares: true, drafts: true }).catch(() => null)
    if (seen !== null && isWhole(seen)) {
      this.report.valid += seen.valid
      this.bytes += seen.bytes
      return
    }
    // The feed may have changed meanwhile: what counts is seen while nothing changes.
    await core.change(() => this.lockedRange(start, Math.min(end, core.length)))
  }

  private async lockedRange(start: number, end: number): Promise<void> {
    throwIfEnded(this.source)
    if (end <= start) return
    const { core, report } = this
    let checked: RangeCheck
    try {
      checked = await checkRange(core, start, end, { compares: true })
    } catch (error) {
      throwIfEnded(this.source)
      if (end - start > 1) {
        for (let block = start; block < end; block++) await this.lockedRange(block, block + 1)
        return
      }
      const problem = `it cannot be read: ${(error as Error).message}`
      if (core.bits.get(start)) report.invalid++
      this.found({ file: 'data', problem, start, end }, false)
      return
    }
    throwIfEnded(this.source)
    report.valid += checked.valid
    this.bytes += checked.bytes
    report.invalid += checked.invalid.length
    const mended = new Set(checked.mended)
    // What could not be written is damaged again when the feed is opened the next time.
    const written = this.repairs && (await settleRange(core, checked, start, end))
    for (const damage of checked.damage) {
      this.found(damage, written && mended.has(damage))
      if (damage.file === 'tree' && !mended.has(damage))
        this.damagedUntil = Math.max(this.damagedUntil, damage.end)
    }
    if (this.repairs || checked.invalid.length === 0) return
    const stage = core.stage()
    for (const block of checked.invalid) stage.bits.set(block, false)
    await settleRange(core, { ...checked, nodes: [], mended: [], stage }, start, end)
  }

  private async signatures(): Promise<void> {
    const { core } = this
    const { signatures } = core.storage
    if (core.signatureHolds === null || !core.live) return
    // First: when it is made again behind a slot that was cut, what is left of that one becomes a signature that does not hold.
    await core.change(() => this.lastSignature())
    for (let start = 0; start < Math.min(core.length, signatures.slots); ) {
      const next = await signatures.next(start, Math.min(core.length, start + HOLE_AT_A_TIME))
      if (next === null) start += HOLE_AT_A_TIME
      else {
        await this.someSignatures(next.index)
        start = next.index + SLOTS_AT_A_TIME
      }
      await this.pause()
    }
  }

  private async someSignatures(start: number): Promise<void> {
    const { core } = this
    const { signatures } = core.storage
    const slots = await signatures.copy(start, Math.min(core.length, start + SLOTS_AT_A_TIME))
    for (let i = 0; (i + 1) * SIGNATURE_SIZE <= slots.length; i++) {
      const signature = slots.subarray(i * SIGNATURE_SIZE, (i + 1) * SIGNATURE_SIZE)
      if (isBlank(signature) || (await this.holds(start + i, signature)) !== false) continue
      await core.change(() => this.badSignature(start + i))
    }
  }

  /** Whether the signature in the slot of a block holds; null if a sparse copy does not know the roots. */
  private async holds(block: number, signature: Uint8Array): Promise<boolean | null> {
    const roots = await this.rootsOf(block + 1)
    if (roots === null) return null
    return this.core.signatureHolds!(signable(treeHash(roots), block + 1), signature)
  }

  private async rootsOf(length: number): Promise<TreeNode[] | null> {
    const { core } = this
    if (length === core.length) return core.roots
    const roots: TreeNode[] = []
    for (const index of flat.fullRoots(2 * length)) {
      const root = core.tree.get(index) ? await core.storage.tree.get(index) : null
      if (root === null) return null
      roots.push(root)
    }
    return roots
  }

  /** In the middle of a batch there may be what a life before this one has left: no signature is better than a wrong one. */
  private async badSignature(block: number): Promise<void> {
    const { core, source } = this
    const { signatures } = core.storage
    if (block >= core.length - 1) return
    const stored = await signatures.get(block)
    if (stored === null || (await this.holds(block, stored)) !== false) return
    if (this.repairs) {
      const roots = (await this.rootsOf(block + 1))!
      const whole = source.sign === null ? null : await source.sign(roots, block + 1)
      const again = whole !== null && isRestOf(stored, whole) ? whole : b4a.alloc(SIGNATURE_SIZE)
      await core.storage.changing()
      await signatures.write(block, again)
    }
    const place = { start: block, end: block + 1 }
    this.found({ file: 'signatures', problem: 'the signature does not hold', ...place }, this.repairs)
  }

  /** The roots in memory were signed, or were compared with the tree and the data by now. */
  private async lastSignature(): Promise<void> {
    const { core, source } = this
    const { length, roots } = core
    const { signatures } = core.storage
    if (core.behind > length) {
      const problem = 'a longer history is signed than is here'
      this.found({ file: 'signatures', problem, start: length, end: core.behind }, false)
    }
    if (length === 0) return
    const stored = await signatures.get(length - 1)
    if (stored !== null && (await this.holds(length - 1, stored))) return
    const repaired = this.repairs && source.sign !== null
    if (repaired) {
      await core.storage.changing()
      await signatures.write(length - 1, await source.sign!(roots, length))
    }
    const problem =
      stored === null ? 'the signature of the end is missing' : 'the signature of the end does not hold'
    this.found({ file: 'signatures', problem, start: length - 1, end: length }, repaired)
  }
}

function isHeader(file: 'bitfield' | 'tree' | 'signatures', header: Uint8Array, entrySize: number): boolean {
  try {
    return decodeHeader(file, header, [entrySize]) === entrySize
  } catch {
    return false
  }
}

function isWhole({ damage, invalid, nodes, stage }: RangeCheck): boolean {
  return damage.length === 0 && invalid.length === 0 && nodes.length === 0 && stage.pages.dirty.length === 0
}
