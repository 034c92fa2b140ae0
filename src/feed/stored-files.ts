/** What the files of a feed hold, read before the first byte is written (spec FORMAT §6). */
import b4a from 'b4a'
import { LEGACY_PAGE_SIZE, PAGE_SIZE, Pages } from '../bitfield/pages.ts'
import { KEY_SIZE, SECRET_KEY_SIZE, SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { NODE_SIZE } from '../merkle/node.ts'
import type { Checkpoint } from '../storage/checkpoint.ts'
import type { CheckpointFiles } from '../storage/checkpoint-files.ts'
import {
  decodeHeader,
  encodeHeader,
  type FileName,
  HEADER_SIZE,
  type HeadedFile,
  isBlank
} from '../storage/layout.ts'
import type { StorageFactory, StorageFile } from '../storage/random-access.ts'
import { stampOfFiles, usesStamps } from '../storage/stamps.ts'
import type { TouchedPages } from '../storage/touched-pages.ts'
import { ignore } from '../util/callback.ts'

/** The six storages of a feed, by name. */
export type FeedFiles = Record<FileName, StorageFile>

/** What the files hold before anything is written. */
export interface Found {
  key: Uint8Array | null
  /** The key is known, and its file is missing or empty: see `lost-key.ts`. */
  keyLost: boolean
  secretKey: Uint8Array | null
  /** There is a file for the secret key, as copies have none, and it is empty. */
  secretKeyEmpty: boolean
  /** The bitfield; its pages may come from the checkpoint when they are needed. */
  pages: Pages
  /** Where pages come from the checkpoint: those that may differ from it, which come from the file; null if none may. */
  touched: TouchedPages | null
  /** Reads all of it into these pages, where they come from the checkpoint. Errors: `ERR_STORAGE`. */
  readPages(): Promise<void>
  missingHeaders: HeadedFile[]
  checkpoint: Checkpoint | null
  /** A header is cut short: a creation that did not get far, or damage. */
  tornHeader: boolean
  /** There is no bitfield beside a tree. */
  bitsLost: boolean
  sizes: Record<'tree' | 'signatures' | 'data' | 'bitfield', number | null>
}

/** Reads the files of a feed that is being opened. */
export class StoredFiles {
  private readonly create: StorageFactory
  private readonly files: Partial<FeedFiles>

  /** @param files - filled while the feed is being opened */
  constructor(create: StorageFactory, files: Partial<FeedFiles>) {
    this.create = create
    this.files = files
  }

  private file(name: FileName): StorageFile {
    return this.files[name]!
  }

  /** The stored public key; null if there is none, or zeros. Errors: `ERR_KEY_DAMAGED`, `ERR_STORAGE`. */
  async readKey(): Promise<Uint8Array | null> {
    return nonBlank(await readWhole(this.file('key'), KEY_SIZE, 'ERR_KEY_DAMAGED'))
  }

  /** Reads everything that decides, the bitfield first: that takes the lock of a directory. */
  async look(overwrite: boolean, checkpoints: CheckpointFiles | null): Promise<Found> {
    const missingHeaders: HeadedFile[] = []
    const header = async (
      name: HeadedFile,
      size: number | null,
      entrySizes: readonly number[]
    ): Promise<number | null> => {
      try {
        return await this.readHeader(name, size, entrySizes, missingHeaders)
      } catch (error) {
        if (!overwrite || (error as { code?: unknown }).code !== 'ERR_HEADER_INVALID') throw error
        missingHeaders.push(name)
        return null
      }
    }
    let bitfield = await this.file('bitfield').size()
    const pages = new Pages((await header('bitfield', bitfield, [PAGE_SIZE, LEGACY_PAGE_SIZE])) ?? PAGE_SIZE)
    for (const name of ['tree', 'signatures', 'data', 'secret_key'] as const) this.file(name).openAhead()
    // The checkpoints come along with the rest; not before the lock, under which another process may write them.
    const checkpoint = overwrite ? undefined : checkpoints?.load()
    // It may fail while something else does, of which the caller is told.
    checkpoint?.catch(ignore)
    // Another process may have written to it before it was open, and locked, here.
    bitfield = await this.file('bitfield').size()
    const readPages = (): Promise<void> => {
      pages.clear()
      return loadPages(pages, this.file('bitfield'), bitfield)
    }
    let tree: number | null = null
    let known: Checkpoint | null = null
    let touched: TouchedPages | null = null
    if (!overwrite && (!missingHeaders.includes('bitfield') || (bitfield ?? 0) > HEADER_SIZE)) {
      tree = await this.file('tree').size()
      const load = (await checkpoint) ?? null
      if (load !== null && this.canLoadLater(pages.pageSize, bitfield)) {
        const clean = this.isClean(checkpoints!)
        if (!clean) touched = checkpoints!.touched
        if (clean || touched !== null) known = load(slotsIn(tree))
      }
      const source = known?.source(this.file('bitfield'), bitfield!, touched) ?? null
      if (source === null) {
        touched = null
        await readPages()
      } else pages.loadLater(source)
    }
    tree ??= await this.file('tree').size()
    await header('tree', tree, [NODE_SIZE])
    const signatures = await this.file('signatures').size()
    await header('signatures', signatures, [SIGNATURE_SIZE])
    const sizes = { bitfield, tree, signatures, data: await this.file('data').size() }
    const headers = [sizes.bitfield, sizes.tree, sizes.signatures]
    const secretKey = overwrite
      ? null
      : nonBlank(await readWhole(this.file('secret_key'), SECRET_KEY_SIZE, 'ERR_SECRET_KEY_DAMAGED'))
    return {
      // Once more, now that nobody else can be creating a feed here.
      key: overwrite ? null : await this.readKey(),
      keyLost: false,
      secretKey,
      secretKeyEmpty: secretKey === null && (await this.file('secret_key').isEmptyFile()),
      pages,
      touched,
      readPages,
      missingHeaders,
      checkpoint: known ?? (await checkpoint)?.(slotsIn(sizes.tree)) ?? null,
      tornHeader: headers.some((bytes) => bytes !== null && bytes > 0 && bytes < HEADER_SIZE),
      bitsLost: false,
      sizes
    }
  }

  /** Whether the bitfield is worth it, and can be read at once later. */
  private canLoadLater(pageSize: number, bitfield: number | null): boolean {
    if (bitfield === null || pageSize !== PAGE_SIZE) return false
    if (!usesStamps(this.create, Math.ceil((bitfield - HEADER_SIZE) / PAGE_SIZE))) return false
    return this.file('bitfield').readSync(0, HEADER_SIZE) !== null
  }

  /** Whether the files are as a checkpoint says that has been read. Asked under the lock, which the header was read with. */
  private isClean(checkpoints: CheckpointFiles): boolean {
    return checkpoints.clean !== null && stampOfFiles(this.create)?.text === checkpoints.clean
  }

  /** The entry size of a file's header; null and listed in `missing` if there is no header. */
  private async readHeader(
    name: HeadedFile,
    size: number | null,
    entrySizes: readonly number[],
    missing: HeadedFile[]
  ): Promise<number | null> {
    const file = this.file(name)
    // A header cut short with nothing behind it is a creation that did not get far.
    const header =
      size === null
        ? await file.readOrAbsent(0, HEADER_SIZE)
        : size < HEADER_SIZE
          ? null
          : await file.read(0, HEADER_SIZE)
    // A power failure can take the header back and leave what was written behind it.
    const mayBeLost = size === HEADER_SIZE || file.syncable
    if (header === null || (mayBeLost && isPartOf(header, encodeHeader(name, entrySizes[0]!)))) {
      missing.push(name)
      return null
    }
    return decodeHeader(name, header, entrySizes)
  }

  /**
   * Whether there are blocks, nodes or signatures.
   * @param indexing - with it the application may have written data before there was a feed
   */
  async holdsContent(found: Found, indexing: boolean): Promise<boolean> {
    if (found.pages.length > 0) return true
    for (const [name, start] of [
      ['tree', HEADER_SIZE],
      ['signatures', HEADER_SIZE],
      ['data', 0]
    ] as const) {
      const size = found.sizes[name]
      // With `indexing` the application may have written data before there was a feed. And where only reading could
      // tell, data alone is not asked for: without nodes and signatures it is no feed.
      if (name === 'data' && (indexing || size === null)) continue
      if (size === null ? (await this.file(name).readIfPresent(start, 1)) !== null : size > start) return true
    }
    return false
  }
}

/** Whether `bytes` are those of `whole`, as far as they are not zero. */
function isPartOf(bytes: Uint8Array, whole: Uint8Array): boolean {
  return bytes.every((byte, i) => byte === 0 || byte === whole[i]) && !b4a.equals(bytes, whole)
}

function nonBlank(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null || isBlank(bytes) ? null : bytes
}

/** The first `size` bytes of a key file; null if it is absent, an error if it is too short. */
async function readWhole(
  file: StorageFile,
  size: number,
  code: 'ERR_KEY_DAMAGED' | 'ERR_SECRET_KEY_DAMAGED'
): Promise<Uint8Array | null> {
  const stored = await file.sizeIfTold()
  if (stored === 0) return null
  if (stored === null) {
    const bytes = await file.readOrAbsent(0, size)
    // One that was cut short is not absent: another one would be written over it.
    if (bytes === null && (await file.readOrAbsent(0, 1)) !== null) throw new DDatabaseError(code)
    return bytes
  }
  if (stored < size) throw new DDatabaseError(code)
  return file.read(0, size)
}

// Bytes of the bitfield read at a time, and where to, as loading copies what it keeps. Only a synchronous read uses it.
const PIECE_PAGES = 32
const piece = b4a.allocUnsafeSlow(PIECE_PAGES * PAGE_SIZE)
const ZEROS = b4a.alloc(PIECE_PAGES * PAGE_SIZE)

async function loadPages(pages: Pages, file: StorageFile, size: number | null): Promise<void> {
  const { pageSize } = pages
  if (size === null) {
    for (let offset = HEADER_SIZE; ; offset += pageSize) {
      const page = await file.readIfPresent(offset, pageSize)
      if (page === null) return
      pages.load(page)
    }
  }
  const zeros = ZEROS.subarray(0, PIECE_PAGES * pageSize)
  for (let offset = HEADER_SIZE; offset < size; ) {
    const length = Math.min(PIECE_PAGES * pageSize, size - offset)
    const content = file.readSync(offset, length, piece) ?? (await file.read(offset, length))
    // A sparse copy of a long feed has gigabytes of holes.
    if (length === zeros.byteLength && b4a.equals(content, zeros)) pages.loadZeros(PIECE_PAGES)
    else pages.load(content)
    offset += length
  }
}

/** Slots of a tree file of so many bytes, 0 if that is unknown. */
export function slotsIn(treeBytes: number | null): number {
  return treeBytes === null ? 0 : Math.max(0, Math.floor((treeBytes - HEADER_SIZE) / NODE_SIZE))
}
