import b4a from 'b4a'
import { ready } from '#crypto/backend'
import { LEGACY_PAGE_SIZE, PAGE_SIZE, Pages } from '../bitfield/pages.ts'
import { treeHash } from '../crypto/hash.ts'
import {
  discoveryKey,
  KEY_SIZE,
  keyPair,
  publicKeyOf,
  SECRET_KEY_SIZE,
  SIGNATURE_SIZE,
  sign
} from '../crypto/keys.ts'
import type { Dialect } from '../dialect.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE, NODE_SIZE } from '../merkle/node.ts'
import { BitfieldFile } from '../storage/bitfield-file.ts'
import { createCaches } from '../storage/caches.ts'
import { type Checkpoint, CheckpointFiles, encodeCheckpoint } from '../storage/checkpoint.ts'
import { Durability } from '../storage/durability.ts'
import {
  decodeHeader,
  encodeHeader,
  type FileName,
  HEADER_SIZE,
  type HeadedFile,
  isBlank
} from '../storage/layout.ts'
import { type StorageFactory, StorageFile } from '../storage/random-access.ts'
import { SignaturesFile } from '../storage/signatures-file.ts'
import { closeAll, FeedStorage, storageError } from '../storage/storage.ts'
import { encodeNode, TreeFile } from '../storage/tree-file.ts'
import { ignore } from '../util/callback.ts'
import { Application } from './application.ts'
import { Checkpoints } from './checkpoints.ts'
import { Core } from './core.ts'
import { checkSecretKey, DEFAULT_CRYPTO, type ParsedArguments } from './options.ts'
import { signatureHolds } from './proofs.ts'
import { type Recovered, type Recovery, recover } from './recovery.ts'

/** What opening a feed comes to. */
export interface OpenedFeed {
  /** What was repaired, null if nothing was. */
  recovery: Recovery | null
  core: Core
  files: FeedFiles
  key: Uint8Array | null
  secretKey: Uint8Array | null
  writable: boolean
}

/** The six storages of a feed, by name. */
export type FeedFiles = Record<FileName, StorageFile>

/**
 * Without a checkpoint, files of up to this many bytes are looked at as a whole where they can be synchronised: all of it may
 * have been written since the last time that somebody did. (A feed in a directory has a checkpoint from the beginning.)
 */
const WHOLE_LIMIT = 64 * 1024 * 1024

/**
 * Opens the storages and the feed in them (spec FORMAT §6).
 *
 * Everything is read and judged before the first write: an opening that fails has changed nothing, with one
 * exception that callers depend on: `createIfMissing: false` on an empty storage leaves the three headers.
 * Headers are written only where there are none, so a feed on read-only media opens for reading.
 *
 * @param onkey - told the keys as soon as they are known, also when opening fails later
 * Errors: `ELOCKED`, `ERR_STORAGE`, `ERR_OTHER_FEED`, `ERR_NO_FEED`, `ERR_KEY_MISSING`, `ERR_KEY_DAMAGED`,
 * `ERR_SECRET_KEY_DAMAGED`, `ERR_SECRET_KEY_MISMATCH`, `ERR_HEADER_INVALID`, `ERR_FEED_DAMAGED`,
 * `ERR_NOT_WRITABLE_OPTION`.
 */
export async function openFeed(
  create: StorageFactory,
  args: ParsedArguments,
  dialect: Dialect,
  onkey: (key: Uint8Array | null, secretKey: Uint8Array | null) => void
): Promise<OpenedFeed> {
  const files: Partial<FeedFiles> = {}
  const hashing = ready()
  try {
    return await new Opening(create, args, dialect, onkey, files, hashing).run()
  } catch (error) {
    await closeAll(Object.values(files)).catch(ignore)
    throw storageError(error)
  }
}

/** What the files hold before anything is written. */
interface Found {
  key: Uint8Array | null
  secretKey: Uint8Array | null
  /** The bitfield. */
  pages: Pages
  missingHeaders: HeadedFile[]
  checkpoint: Checkpoint | null
  /** A header is cut short: a creation that did not get far, or damage. */
  tornHeader: boolean
  sizes: Record<'tree' | 'signatures' | 'data' | 'bitfield', number | null>
}

class Opening {
  private readonly create: StorageFactory
  private readonly args: ParsedArguments
  private readonly dialect: Dialect
  private readonly onkey: (key: Uint8Array | null, secretKey: Uint8Array | null) => void
  private readonly files: Partial<FeedFiles>
  private readonly hashing: Promise<void> | null

  constructor(
    create: StorageFactory,
    args: ParsedArguments,
    dialect: Dialect,
    onkey: (key: Uint8Array | null, secretKey: Uint8Array | null) => void,
    files: Partial<FeedFiles>,
    hashing: Promise<void> | null
  ) {
    this.hashing = hashing
    this.create = create
    this.args = args
    this.dialect = dialect
    this.onkey = onkey
    this.files = files
  }

  async run(): Promise<OpenedFeed> {
    const { options } = this.args
    this.files.key = new StorageFile(this.create('key', {}))
    const storedKey = options.overwrite ? null : await this.readKey()
    let identity = this.identify(storedKey)
    this.onkey(identity.key, identity.secretKey)
    this.createOthers(identity.key)

    let files = this.checkpointsOf(identity.key)
    const found = await this.look(options.overwrite === true, files)
    if (identity.generated && found.key !== null) {
      // Somebody else created a feed here between the two looks at the key.
      identity = this.identify(found.key)
      this.onkey(identity.key, identity.secretKey)
      files = this.checkpointsOf(identity.key)
      found.checkpoint = (await files?.load()) ?? null
    }
    const overwrite = options.overwrite === true || this.mayReplace(found.key, identity.key)
    if (this.hashing !== null) await this.hashing
    const durability = new Durability(options.durability ?? 'process', Object.values(this.files as FeedFiles))
    const checkpoint = found.key === null || overwrite ? null : found.checkpoint
    const small = durability.offered && isSmall(found.sizes)
    const whole =
      checkpoint === null && (options.repair === true || (small && this.create.extraFiles !== true))
    if (overwrite) {
      found.key = null
      found.secretKey = null
      found.pages = new Pages(found.pages.pageSize)
    } else {
      await this.judge(found, identity.key, checkpoint !== null || whole || small)
    }

    const key = found.key ?? identity.key
    const secretKey = found.secretKey ?? identity.secretKey
    // With functions of the application's own, a secret key is whatever they take it for.
    if (secretKey !== null && key !== null && options.crypto === undefined) checkSecretKey(secretKey, key)
    const writable = secretKey !== null || key === null
    if (options.createIfMissing === false && (identity.generated || key === null)) {
      await this.writeHeaders(found)
      throw new DDatabaseError('ERR_NO_FEED', { message: `No ${this.dialect.name} is stored here` })
    }
    if (options.writable === true && !writable) throw new DDatabaseError('ERR_NOT_WRITABLE_OPTION')

    const core = this.assemble(found, durability)
    const recovered = overwrite
      ? null
      : await this.load(core, found, key, secretKey, checkpoint, whole, small)
    if (overwrite) await files?.destroy().catch(rethrow)
    // From the first byte on it is known that nothing is known; if it cannot be told, the feed has no checkpoint yet.
    const first = found.key === null ? files?.write(EMPTY_CHECKPOINT, true).catch(ignore) : undefined
    await this.writeHeaders(found)
    if (overwrite) await this.empty(core, secretKey, found)
    await this.writeKeys(found, key, secretKey, identity.generated, durability)
    await first
    if (recovered !== null) await writeRepairs(core, recovered)
    if (durability.mode === 'disk' && recovered?.claimed !== true) await durability.all()
    const readsData = options.indexing !== true
    core.checkpoints = durability.offered ? new Checkpoints(core, files, readsData) : null
    const recovery = recovered?.report ?? null
    if (recovery !== null || (checkpoint !== null && recovered?.claimed === false)) core.checkpoints?.soon()
    return { core, files: this.files as FeedFiles, key, secretKey, writable, recovery }
  }

  /** The keys that the options, what is stored, or chance give. */
  private identify(storedKey: Uint8Array | null): {
    key: Uint8Array | null
    secretKey: Uint8Array | null
    generated: boolean
  } {
    const { key, secretKey, options } = this.args
    if (key !== null) return { key, secretKey, generated: false }
    if (storedKey !== null) return { key: storedKey, secretKey, generated: false }
    if (options.live === false && secretKey === null) return { key: null, secretKey: null, generated: false }
    if (secretKey !== null) return { key: b4a.from(publicKeyOf(secretKey)), secretKey, generated: true }
    const pair = keyPair()
    return { key: pair.publicKey, secretKey: pair.secretKey, generated: true }
  }

  private checkpointsOf(key: Uint8Array | null): CheckpointFiles | null {
    return key !== null && this.create.extraFiles === true ? new CheckpointFiles(this.create, key) : null
  }

  private createOthers(key: Uint8Array | null): void {
    const options = { key, discoveryKey: key === null ? null : discoveryKey(key, this.dialect) }
    for (const name of ['secret_key', 'tree', 'data', 'bitfield', 'signatures'] as const) {
      this.files[name] = new StorageFile(this.create(name, options))
    }
  }

  private file(name: FileName): StorageFile {
    return this.files[name]!
  }

  private async readKey(): Promise<Uint8Array | null> {
    return nonBlank(await readWhole(this.file('key'), KEY_SIZE, 'ERR_KEY_DAMAGED'))
  }

  /** Reads everything that decides, the bitfield first: that takes the lock of a directory. */
  private async look(overwrite: boolean, checkpoints: CheckpointFiles | null): Promise<Found> {
    const missingHeaders: HeadedFile[] = []
    const header = async (name: HeadedFile, entrySizes: readonly number[]): Promise<number | null> => {
      try {
        return await this.readHeader(name, entrySizes, missingHeaders)
      } catch (error) {
        if (!overwrite || (error as { code?: unknown }).code !== 'ERR_HEADER_INVALID') throw error
        missingHeaders.push(name)
        return null
      }
    }
    const pages = new Pages((await header('bitfield', [PAGE_SIZE, LEGACY_PAGE_SIZE])) ?? PAGE_SIZE)
    // The checkpoints come along with the rest; not before the lock, under which another process may write them.
    const checkpoint = overwrite ? null : (checkpoints?.load() ?? null)
    const size = await this.file('bitfield').size()
    if (!overwrite && (!missingHeaders.includes('bitfield') || (size ?? 0) > HEADER_SIZE)) {
      await loadPages(pages, this.file('bitfield'), size)
    }
    await header('tree', [NODE_SIZE])
    await header('signatures', [SIGNATURE_SIZE])
    const sizes = {
      bitfield: size,
      tree: await this.file('tree').size(),
      signatures: await this.file('signatures').size(),
      data: await this.file('data').size()
    }
    const headers = [sizes.bitfield, sizes.tree, sizes.signatures]
    return {
      // Once more, now that nobody else can be creating a feed here.
      key: overwrite ? null : await this.readKey(),
      secretKey: overwrite
        ? null
        : nonBlank(await readWhole(this.file('secret_key'), SECRET_KEY_SIZE, 'ERR_SECRET_KEY_DAMAGED')),
      pages,
      missingHeaders,
      checkpoint: await checkpoint,
      tornHeader: headers.some((bytes) => bytes !== null && bytes > 0 && bytes < HEADER_SIZE),
      sizes
    }
  }

  /** The entry size of a file's header; null and listed in `missing` if there is no header. */
  private async readHeader(
    name: HeadedFile,
    entrySizes: readonly number[],
    missing: HeadedFile[]
  ): Promise<number | null> {
    const file = this.file(name)
    const size = await file.size()
    // A header cut short with nothing behind it is a creation that did not get far.
    const header = size !== null && size < HEADER_SIZE ? null : await file.readIfPresent(0, HEADER_SIZE)
    // A power failure can take the header back and leave what was written behind it.
    const mayBeLost = size === HEADER_SIZE || file.syncable
    if (header === null || (mayBeLost && isPartOf(header, encodeHeader(name, entrySizes[0]!)))) {
      missing.push(name)
      return null
    }
    return decodeHeader(name, header, entrySizes)
  }

  /** The hypercore dialect's `force`: another feed's storage is overwritten. */
  private mayReplace(storedKey: Uint8Array | null, key: Uint8Array | null): boolean {
    const { options } = this.args
    if (this.dialect.name !== 'hypercore' || options.force !== true) return false
    return storedKey !== null && key !== null && !b4a.equals(storedKey, key)
  }

  /** Refuses what does not belong together. */
  private async judge(found: Found, key: Uint8Array | null, canRebuild: boolean): Promise<void> {
    if (found.key === null) {
      if (found.secretKey !== null || (await this.holdsContent(found)))
        throw new DDatabaseError('ERR_KEY_MISSING')
      return
    }
    if (key !== null && !b4a.equals(found.key, key)) {
      throw new DDatabaseError('ERR_OTHER_FEED', { message: `Another ${this.dialect.name} is stored here` })
    }
    if (canRebuild) return
    if (found.tornHeader && (await this.holdsContent(found))) {
      throw new DDatabaseError('ERR_HEADER_INVALID', {
        message: 'A file of the feed is cut short within its header'
      })
    }
    // An emptied feed has a bitfield of a header only; one without any beside tree nodes has lost it, and a writer
    // that took it for empty would sign a second history.
    const lost = found.missingHeaders.includes('bitfield') && (found.sizes.tree ?? 0) > HEADER_SIZE
    if (lost)
      throw new DDatabaseError('ERR_FEED_DAMAGED', { message: 'The stored feed has lost its bitfield' })
  }

  private async holdsContent(found: Found): Promise<boolean> {
    if (found.pages.length > 0) return true
    for (const [name, start] of [
      ['tree', HEADER_SIZE],
      ['signatures', HEADER_SIZE],
      ['data', 0]
    ] as const) {
      const size = found.sizes[name]
      // With `indexing` the application may have written data before there was a feed. And where only reading could
      // tell, data alone is not asked for: without nodes and signatures it is no feed.
      if (name === 'data' && (this.args.options.indexing === true || size === null)) continue
      if (size === null ? (await this.file(name).readIfPresent(start, 1)) !== null : size > start) return true
    }
    return false
  }

  private assemble(found: Found, durability: Durability): Core {
    const caches = createCaches(this.args.options)
    const { pages, sizes } = found
    const headed = (name: 'tree' | 'signatures'): number | null => {
      const size = sizes[name]
      return size === null ? null : Math.max(size, HEADER_SIZE)
    }
    const files = this.files as FeedFiles
    const storage = new FeedStorage(
      {
        data: files.data,
        tree: new TreeFile(files.tree, headed('tree'), caches.treeBytes, caches.nodes),
        signatures: new SignaturesFile(files.signatures, headed('signatures')),
        bitfield: new BitfieldFile(files.bitfield, pages),
        blocks: caches.blocks,
        durability
      },
      files,
      sizes.data !== null && sizes.data > 0
    )
    const core = new Core(storage, pages)
    core.live = this.args.options.live !== false
    return core
  }

  /** Finds length, roots and kind of the stored feed. */
  private async load(
    core: Core,
    found: Found,
    key: Uint8Array | null,
    secretKey: Uint8Array | null,
    checkpoint: Checkpoint | null,
    whole: boolean,
    small: boolean
  ): Promise<Recovered> {
    const { options } = this.args
    const crypto = options.crypto ?? DEFAULT_CRYPTO
    // Functions of the application's own are not asked where the published packages would not ask them.
    const asks = crypto === DEFAULT_CRYPTO || checkpoint !== null || whole
    const recovered = await recover({
      core,
      checkpoint,
      whole,
      small,
      dataSize: found.sizes.data,
      readsData: options.indexing !== true,
      key,
      verify:
        key === null || !asks
          ? null
          : (message, signature) => signatureHolds(new Application(crypto, null), message, signature, key),
      sign: secretKey === null || crypto !== DEFAULT_CRYPTO ? null : (message) => sign(message, secretKey),
      repair: options.repair === true
    })
    const { length, roots, stage } = recovered
    if (stage !== null) {
      const { pages } = stage
      for (const page of pages.dirty) core.pages.write(page).set(pages.get(page))
      core.pages.dataBytes = Math.max(core.pages.dataBytes, pages.dataBytes)
      core.pages.treeBytes = Math.max(core.pages.treeBytes, pages.treeBytes)
    }
    core.length = length
    core.roots = roots
    core.byteLength = roots.reduce((sum, root) => sum + root.size, 0)
    core.behind = recovered.behind
    if (length === 0) return recovered
    const signature = recovered.signature ?? (await core.storage.signatures.get(length - 1))
    // The roots of a static feed are its key. A live feed may lack the last signature (after truncate by an older
    // version), so that alone does not make it static.
    core.live = signature !== null || (key !== null && !b4a.equals(treeHash(roots), key))
    return recovered
  }

  private async writeHeaders(found: Found): Promise<void> {
    const entrySizes = { bitfield: found.pages.pageSize, tree: NODE_SIZE, signatures: SIGNATURE_SIZE }
    for (const name of found.missingHeaders) {
      await this.file(name).write(0, encodeHeader(name, entrySizes[name]))
      // The first write of a new bitfield takes the lock; whoever was faster has stored a key by then.
      if (
        name === 'bitfield' &&
        found.key === null &&
        (await this.readKey()) !== null &&
        !this.args.options.overwrite
      ) {
        throw new DDatabaseError('ELOCKED')
      }
    }
  }

  /** Makes the stored content unreachable, and the old secret key unusable, before the new keys are written. */
  private async empty(core: Core, secretKey: Uint8Array | null, found: Found): Promise<void> {
    const { sizes } = found
    if (sizes.bitfield === null || sizes.bitfield > HEADER_SIZE) {
      await this.file('bitfield').del(HEADER_SIZE, Number.POSITIVE_INFINITY)
      await blankPages(this.file('bitfield'), found.pages.pageSize)
    }
    // A signature that is found beyond the end speaks of a history that was lost.
    const slots = Math.floor(((sizes.signatures ?? 0) - HEADER_SIZE) / SIGNATURE_SIZE)
    if (slots > 0) await core.storage.signatures.remove(0, slots + 1)
    const keepsNone = secretKey === null || this.args.options.storeSecretKey === false
    if (keepsNone && (await this.file('secret_key').readIfPresent(0, 1).catch(ignore)) !== null) {
      await this.erase('secret_key', SECRET_KEY_SIZE)
    }
  }

  private async erase(name: 'key' | 'secret_key', size: number): Promise<void> {
    const file = this.file(name)
    await file.del(0, Number.POSITIVE_INFINITY)
    // A storage that cannot delete: zeros count as no key.
    if (!file.deletes) await file.write(0, b4a.alloc(size))
  }

  /**
   * Keys are durable before anybody gets to know them, whatever the durability of the feed: there is no way back.
   *
   * The secret key goes first: a creation cut short then fails clearly instead of opening as a mere replica.
   * A creation that fails is taken back, so that the next one starts from nothing.
   */
  private async writeKeys(
    found: Found,
    key: Uint8Array | null,
    secretKey: Uint8Array | null,
    generated: boolean,
    durability: Durability
  ): Promise<void> {
    const keeps = secretKey !== null && this.args.options.storeSecretKey !== false
    const newSecret = keeps && (generated || !same(secretKey, found.secretKey))
    try {
      if (newSecret) await this.file('secret_key').write(0, secretKey)
      if (key !== null && !same(key, found.key)) {
        await this.file('key').write(0, key)
        await durability.sync(this.file('secret_key'), this.file('key'))
      }
    } catch (error) {
      if (newSecret && found.secretKey === null) await this.erase('secret_key', SECRET_KEY_SIZE).catch(ignore)
      if (found.key === null) await this.erase('key', KEY_SIZE).catch(ignore)
      throw error
    }
  }
}

/** Writes what recovering a feed has come to. On media that cannot be written it holds for this opening. */
async function writeRepairs(core: Core, { nodes, signature, report, length }: Recovered): Promise<void> {
  if (report === null) return
  try {
    for (const node of nodes) await core.storage.tree.write(node.index, encodeNode(node))
    if (signature !== null) await core.storage.signatures.write(length - 1, signature)
    const stage = core.stage().pages
    await core.storage.bitfield.write(stage)
    core.storage.bitfield.adopt(stage)
  } catch (error) {
    if (!READ_ONLY.has((error as { code?: unknown } | null)?.code)) throw error
  }
}

const READ_ONLY: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS'])

/** Whether `bytes` are those of `whole`, as far as they are not zero. */
function isPartOf(bytes: Uint8Array, whole: Uint8Array): boolean {
  return bytes.every((byte, i) => byte === 0 || byte === whole[i]) && !b4a.equals(bytes, whole)
}

function isSmall({ tree, signatures, data }: Found['sizes']): boolean {
  return tree !== null && signatures !== null && data !== null && tree + signatures + data <= WHOLE_LIMIT
}

const EMPTY_CHECKPOINT = encodeCheckpoint(
  { length: 0, byteLength: 0, treeHash: b4a.alloc(HASH_SIZE), signatureSlots: 0, dataBytes: 0 },
  new Pages(PAGE_SIZE)
)

function rethrow(error: unknown): never {
  throw storageError(error)
}

function nonBlank(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null || isBlank(bytes) ? null : bytes
}

function same(a: Uint8Array, b: Uint8Array | null): boolean {
  return b !== null && b4a.equals(a, b)
}

/** The first `size` bytes of a key file; null if it is absent, an error if it is too short. */
async function readWhole(
  file: StorageFile,
  size: number,
  code: 'ERR_KEY_DAMAGED' | 'ERR_SECRET_KEY_DAMAGED'
): Promise<Uint8Array | null> {
  const stored = await file.sizeIfTold()
  if (stored === 0) return null
  if (stored === null) return file.readOrAbsent(0, size)
  if (stored < size) throw new DDatabaseError(code)
  return file.read(0, size)
}

// Bytes of the bitfield read at a time, and where to, as loading copies what it keeps. Only a synchronous read uses it.
const PIECE_PAGES = 32
const piece = b4a.allocUnsafeSlow(PIECE_PAGES * PAGE_SIZE)

async function loadPages(pages: Pages, file: StorageFile, size: number | null): Promise<void> {
  const { pageSize } = pages
  if (size === null) {
    for (let offset = HEADER_SIZE; ; offset += pageSize) {
      const page = await file.readIfPresent(offset, pageSize)
      if (page === null) return
      pages.load(page)
    }
  }
  for (let offset = HEADER_SIZE; offset < size; ) {
    const length = Math.min(PIECE_PAGES * pageSize, size - offset)
    pages.load(file.readSync(offset, length, piece) ?? (await file.read(offset, length)))
    offset += length
  }
}

/** Fills the pages that a storage has left, because it cannot delete or only says that it did, with zeros. */
async function blankPages(file: StorageFile, pageSize: number): Promise<void> {
  const size = await file.size()
  for (let offset = HEADER_SIZE; size === null || offset < size; offset += pageSize) {
    const length = size === null ? pageSize : Math.min(pageSize, size - offset)
    const page = size === null ? await file.readOrAbsent(offset, length) : await file.read(offset, length)
    if (page === null) return
    if (!isBlank(page)) await file.write(offset, b4a.alloc(length))
  }
}
