import b4a from 'b4a'
import flat from 'flat-tree'
import type { PageStage } from '../bitfield/pages.ts'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { NODE_SIZE } from '../merkle/node.ts'
import type { BitfieldFile } from './bitfield-file.ts'
import type { BlockCache } from './caches.ts'
import type { Durability } from './durability.ts'
import type { FileName } from './layout.ts'
import { Pace } from './pace.ts'
import type { StorageFile } from './random-access.ts'
import type { SignaturesFile } from './signatures-file.ts'
import { storageError } from './storage-error.ts'
import type { TreeFile } from './tree-file.ts'

/** Blocks for the `data` file, one after the other from `offset` on. No bytes still create the file. */
export interface DataRun {
  offset: number
  blocks: readonly Uint8Array[]
}

/** Everything that one operation changes on disk. */
export interface Commit {
  /** Blocks for the `data` file. */
  data: readonly DataRun[]
  /** Of {@link FeedStorage.writeAhead}: what becomes of blocks that are on their way to the `data` file. */
  ahead?: Promise<unknown> | undefined
  /** New blocks at the end of the `data` file, `ahead` included, behind which there is nothing that anybody needs. */
  appended?: { offset: number; size: number } | undefined
  /** Pieces of the `tree` file: whole slots, the first one for `treeIndex`. */
  slots: { treeIndex: number; bytes: Uint8Array }[]
  /** A signature for the slot of `block`, null for none. */
  signature: { block: number; signature: Uint8Array } | null
  /** The pages that become the committed ones; null if no bit changes. */
  stage: PageStage | null
  /** Length of the feed before this operation. */
  length: number
  /** Done last, when everything else is written; if it fails, `undo` has to succeed or the storage refuses writes. */
  last?: { run(): Promise<void>; undo(): Promise<void> } | undefined
  /**
   * Synchronise data and tree before the signature and the bits that make them count are written, and then those, where
   * the storage offers it. Otherwise `durability.all` can be asked for afterwards.
   */
  synced?: boolean | undefined
}

// The order of the published packages.
const CLOSING_ORDER: readonly FileName[] = ['bitfield', 'tree', 'data', 'key', 'secret_key', 'signatures']

// Blocks above this size are written through the thread pool: copying them into the page cache takes longer than the trip,
// and the other processor can do it while the next ones are hashed.
const SYNC_DATA_LIMIT = 64 * 1024

/** The open files of a feed and the one way in which they change. */
export class FeedStorage {
  readonly data: StorageFile
  readonly tree: TreeFile
  readonly signatures: SignaturesFile
  readonly bitfield: BitfieldFile
  /** Bytes of blocks, if the application asked for such a cache. */
  readonly blocks: BlockCache | null
  /** Why nothing may be written now: a failed write that could not be undone yet. */
  refusal: Error | null = null

  readonly durability: Durability
  /** Bytes written by commits since this was last set back. */
  written = 0
  /**
   * Told of the pages of bits that are going to be written, null for all, before they are, and before anything else is that makes content
   * count: what is said of the files on the disk has been taken back as far as that goes when what it answers resolves. Null, or an
   * answer of null: there is nothing to wait for. Errors: `ERR_STORAGE`.
   */
  announce: ((pages: readonly number[] | null) => Promise<void> | null) | null = null

  private readonly files: Readonly<Record<FileName, StorageFile>>
  private readonly pace: Pace
  private dataExists: boolean
  /** What {@link refusal} has left to be undone: all of it, as often as it takes. */
  private undoing: (() => Promise<void>) | null = null

  /**
   * @param parts - the files that hold content, the cache of blocks, and how durable the feed is
   * @param files - all six
   * @param dataExists - whether the `data` file is known to exist
   */
  constructor(
    parts: {
      data: StorageFile
      tree: TreeFile
      signatures: SignaturesFile
      bitfield: BitfieldFile
      blocks: BlockCache | null
      durability: Durability
    },
    files: Readonly<Record<FileName, StorageFile>>,
    dataExists: boolean
  ) {
    this.data = parts.data
    this.tree = parts.tree
    this.signatures = parts.signatures
    this.bitfield = parts.bitfield
    this.blocks = parts.blocks
    this.durability = parts.durability
    this.files = files
    this.dataExists = dataExists
    this.pace = new Pace(this.data.worksAtOnce)
  }

  /**
   * Writes one operation: first block data and nodes, then the signature and the bits that make them count. So a process
   * that dies in between loses the operation and never claims what is not there.
   *
   * A failure is undone: the bits keep their old value and the signature's slot is emptied; what else was written
   * lies where nothing refers to it. If undoing fails too, in any of the files, the storage refuses further writes until
   * {@link undoLate} succeeds; if with durability `disk` a synchronisation failed, until it is reopened.
   * Errors: `ERR_STORAGE` with the storage's error as cause, `ERR_WRITE_REFUSED`.
   */
  async commit(change: Commit): Promise<void> {
    const { durability, files, refused: refusal } = this
    if (refusal !== null) throw new DDatabaseError('ERR_WRITE_REFUSED', { cause: refusal })
    const restoreSignature = change.signature === null ? null : await this.signatureRestorer(change)
    const synced = change.synced === true && durability.offered
    const announced = this.announcing(change)
    let atOnce: boolean
    try {
      // Content counts for nothing yet.
      atOnce = await this.writeContent(change)
      // The application may change other pages meanwhile.
      for (let next = announced; next !== null; next = this.announcing(change)) await next
      if (synced) await durability.sync(files.data, files.tree)
    } catch (error) {
      // What has been written of them may be what fills the disk. Nothing refers to it, so it is no loss if it stays.
      const { appended } = change
      if (appended !== undefined) await succeeds(() => this.data.del(appended.offset, appended.size))
      throw storageError(error)
    }
    const { stage, last } = change
    try {
      await this.writePointers(change, atOnce)
      if (synced) await durability.sync(files.signatures, files.bitfield)
      if (last !== undefined) {
        await last.run()
        if (synced) await durability.sync(files.signatures)
      }
      if (stage !== null) this.bitfield.adopt(stage)
    } catch (error) {
      const unsign = async (): Promise<void> => restoreSignature?.()
      const unmark = async (): Promise<void> => (stage === null ? undefined : this.bitfield.restore(stage))
      const undo = async (): Promise<void> => last?.undo()
      const unsigned = await succeeds(unsign)
      const unmarked = await succeeds(unmark)
      const undone = await succeeds(undo)
      if (!(unsigned && unmarked && undone)) {
        this.refusal = error as Error
        this.undoing = async () => {
          await unsign()
          await unmark()
          await undo()
        }
      }
      // Bits that stay claim blocks. Without their nodes nobody believes them, where the sizes of the files tell what there is.
      if (unsigned && !unmarked && this.tree.slots > 0) {
        for (const node of newNodes(change)) await succeeds(() => this.tree.write(node, EMPTY_SLOT))
      }
      throw storageError(error)
    }
  }

  /**
   * Begins to write blocks that a commit is going to make count, if they are large: the thread pool does that while their hashes are
   * being made. As long as that commit is not done they lie where nothing refers to them.
   * @returns what became of it, an error or null, when nothing is under way any more; null if the commit had better write them
   */
  writeAhead(run: DataRun): Promise<unknown> | null {
    if (sizeOf(run.blocks) <= SYNC_DATA_LIMIT || this.refused !== null) return null
    const pending: Promise<void>[] = []
    this.writeData(run, pending)
    return allSettled(pending).then(
      () => null,
      (error) => error
    )
  }

  private get refused(): Error | null {
    return this.refusal ?? (this.durability.mode === 'disk' ? this.durability.failure : null)
  }

  /** To be called before files are written to without {@link commit}. Errors: `ERR_STORAGE`. */
  async changing(): Promise<void> {
    await this.announce?.(null)
  }

  /**
   * Undoes what could not be undone when it failed, if that is possible by now: a full disk has space again some day. Nothing was
   * committed since; to be called before anything is prepared, as that may read the files.
   */
  async undoLate(): Promise<void> {
    if (this.undoing === null || !(await succeeds(this.undoing))) return
    this.undoing = null
    this.refusal = null
  }

  /** Makes sure that the `data` file exists, as the published packages do when they flush. */
  async createData(): Promise<void> {
    if (this.dataExists) return
    await this.data.write(0, b4a.alloc(0)).catch(rethrowStorageError)
    this.dataExists = true
  }

  /** Reads `size` bytes of block data. */
  async readData(offset: number, size: number): Promise<Uint8Array> {
    try {
      return this.readDataSync(offset, size) ?? (await this.data.readLater(offset, size))
    } catch (error) {
      throw storageError(error)
    }
  }

  /** As {@link readData} at once, into `target` if that is given; null if that is not possible or would hold up the event loop. */
  readDataSync(offset: number, size: number, target?: Uint8Array): Uint8Array | null {
    if (size === 0) return b4a.alloc(0)
    if (!this.pace.allows(size)) return null
    return this.data.readSync(offset, size, target)
  }

  /** Closes all files; waits for every one of them even if one fails. */
  async close(): Promise<void> {
    await this.durability.idle()
    await closeAll(CLOSING_ORDER.map((name) => this.files[name]))
  }

  /** Deletes all files. */
  async destroy(): Promise<void> {
    for (const name of CLOSING_ORDER) await this.files[name].destroy().catch(rethrowStorageError)
  }

  private announcing({ stage }: Commit): Promise<void> | null {
    if (this.announce === null) return null
    return this.announce(stage === null ? [] : this.bitfield.toWrite(stage))
  }

  /** @returns whether no trip through the thread pool was made */
  private async writeContent({ data, ahead, slots }: Commit): Promise<boolean> {
    const { pace } = this
    // A turn is waited for only while there are none of these: they must not fail unheard.
    const pending: Promise<void>[] = []
    if (ahead !== undefined) pending.push(ahead.then(throwIfAny))
    try {
      for (const run of data) {
        const size = sizeOf(run.blocks)
        if (size === 0 && this.dataExists) continue
        const turn = pending.length > 0 || size > SYNC_DATA_LIMIT ? null : pace.turnFor(size)
        if (turn !== null) await turn
        if (!this.writeDataSync(run, size)) this.writeData(run, pending)
      }
      for (const { treeIndex, bytes } of slots) {
        this.written += bytes.length
        const turn = pending.length > 0 ? null : pace.turnFor(bytes.length)
        if (turn !== null) await turn
        const done = pace.allows(bytes.length) && this.tree.writeSync(treeIndex, bytes)
        if (!done) pending.push(this.tree.write(treeIndex, bytes))
      }
      // For what makes it count: nothing may come in between then.
      const turn = pending.length > 0 ? null : pace.turnFor(SIGNATURE_SIZE)
      if (turn !== null) await turn
    } finally {
      // Nothing may be under way any more when a failure is being undone.
      if (pending.length > 0) await allSettled(pending)
    }
    return pending.length === 0
  }

  /**
   * Writes what makes the content count. After it, so that a signature without its tree is left by a power failure only:
   * who finds one on opening has to take it for a history that was lost.
   * @param atOnce - whether the content has not been waited for. Otherwise another trip through the thread pool makes no difference, and
   * gives the garbage collector a turn: whoever appends a lot in a loop takes a tenth less memory
   */
  private async writePointers({ signature, stage, last }: Commit, atOnce: boolean): Promise<void> {
    const pending: Promise<void>[] = []
    try {
      if (signature !== null) {
        this.written += SIGNATURE_SIZE
        const done =
          this.pace.allows(SIGNATURE_SIZE) && this.signatures.writeSync(signature.block, signature.signature)
        if (!done) pending.push(this.signatures.write(signature.block, signature.signature))
      }
      if (stage !== null) {
        const pace = atOnce || stage.dirty.length <= 1 ? this.pace : null
        const done = pace !== null && this.bitfield.writeSync(stage, pace, last === undefined)
        if (!done) pending.push(this.bitfield.write(stage, pace))
      }
    } finally {
      if (pending.length > 0) await allSettled(pending)
    }
  }

  private writeDataSync({ offset, blocks }: DataRun, size: number): boolean {
    if (size > SYNC_DATA_LIMIT || !this.pace.allows(size)) return false
    if (!this.data.writeSync(offset, joinInto(scratch, blocks))) return false
    this.dataExists = true
    this.written += size
    return true
  }

  private writeData({ offset, blocks }: DataRun, pending: Promise<void>[]): void {
    this.dataExists = true
    let at = offset
    let piece: Uint8Array[] = []
    let pieceSize = 0
    for (const block of blocks) {
      if (pieceSize > 0 && pieceSize + block.length > PIECE_SIZE) {
        pending.push(this.writePiece(at, piece, pieceSize))
        at += pieceSize
        this.written += pieceSize
        piece = []
        pieceSize = 0
      }
      piece.push(block)
      pieceSize += block.length
    }
    pending.push(this.writePiece(at, piece, pieceSize))
    this.written += pieceSize
  }

  /** Writes blocks that follow each other: as they are if they are large, else joined. */
  private writePiece(offset: number, blocks: readonly Uint8Array[], size: number): Promise<void> {
    const { data } = this
    const large = data.writesPieces ? WORTH_NAMING : LARGE_BLOCK
    if (blocks.length === 1 || size < large * blocks.length) return data.write(offset, join(blocks))
    if (data.writesPieces) return data.writeAll(offset, blocks)
    const pending: Promise<void>[] = []
    let at = offset
    for (const block of blocks) {
      pending.push(data.write(at, block))
      at += block.length
    }
    return allSettled(pending)
  }

  /** How to put the slot of a commit's signature back: empty beyond the end of the feed, else what was there. */
  private async signatureRestorer(change: Commit): Promise<() => Promise<void>> {
    const { block } = change.signature!
    const before = block < change.length ? await this.signatures.get(block).catch(rethrowStorageError) : null
    return () => this.signatures.write(block, before ?? b4a.alloc(SIGNATURE_SIZE))
  }
}

// Blocks that are so large on average are written as they are: a copy of all of them would double the memory of an append.
const LARGE_BLOCK = 64 * 1024
// The same where one call takes several.
const WORTH_NAMING = 4 * 1024
// Blocks are written in pieces of this size.
const PIECE_SIZE = 1024 * 1024

// Synchronous writes are done with it when they return.
const scratch = b4a.allocUnsafeSlow(SYNC_DATA_LIMIT)

const EMPTY_SLOT = b4a.alloc(NODE_SIZE)

/** Where one file takes nothing any more, the others still do: what undoes something is not to stop the rest of it. */
async function succeeds(step: () => Promise<void>): Promise<boolean> {
  try {
    await step()
    return true
  } catch {
    return false
  }
}

/** Nodes that a commit writes above blocks beyond the end of the feed. */
function newNodes({ length, slots }: Commit): number[] {
  const nodes: number[] = []
  for (const { treeIndex, bytes } of slots) {
    for (let node = treeIndex; node < treeIndex + bytes.length / NODE_SIZE; node++) {
      if (flat.rightSpan(node) >= 2 * length) nodes.push(node)
    }
  }
  return nodes
}

function sizeOf(blocks: readonly Uint8Array[]): number {
  let size = 0
  for (const block of blocks) size += block.length
  return size
}

function joinInto(target: Uint8Array, blocks: readonly Uint8Array[]): Uint8Array {
  if (blocks.length === 1) return blocks[0]!
  let at = 0
  for (const block of blocks) {
    target.set(block, at)
    at += block.length
  }
  return target.subarray(0, at)
}

function join(blocks: readonly Uint8Array[]): Uint8Array {
  return blocks.length === 1 ? blocks[0]! : b4a.concat(blocks as Uint8Array[])
}

/** Closes every file, also when one fails, and then fails with the first error. */
export async function closeAll(files: readonly StorageFile[]): Promise<void> {
  try {
    await allSettled(files.map((file) => file.close()))
  } catch (error) {
    throw storageError(error)
  }
}

function throwIfAny(error: unknown): void {
  if (error !== null) throw error
}

async function allSettled(promises: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === 'rejected') throw result.reason
  }
}

function rethrowStorageError(error: unknown): never {
  throw storageError(error)
}
