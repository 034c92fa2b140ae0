import b4a from 'b4a'
import flat from 'flat-tree'
import { ready } from '#crypto/backend'
import { PAGE_SIZE, Pages } from '../bitfield/pages.ts'
import { treeHash } from '../crypto/hash.ts'
import { discoveryKey, keyPair, publicKeyOf, sign } from '../crypto/keys.ts'
import type { Dialect } from '../dialect.ts'
import { DDatabaseError } from '../errors.ts'
import { HASH_SIZE } from '../merkle/node.ts'
import { BitfieldFile } from '../storage/bitfield-file.ts'
import { createCaches } from '../storage/caches.ts'
import { type Checkpoint, encodeCheckpoint } from '../storage/checkpoint.ts'
import { CheckpointFiles } from '../storage/checkpoint-files.ts'
import { Durability } from '../storage/durability.ts'
import { HEADER_SIZE } from '../storage/layout.ts'
import { type StorageFactory, StorageFile } from '../storage/random-access.ts'
import { SignaturesFile } from '../storage/signatures-file.ts'
import { closeAll, FeedStorage } from '../storage/storage.ts'
import { storageError } from '../storage/storage-error.ts'
import { TreeFile } from '../storage/tree-file.ts'
import { ignore } from '../util/callback.ts'
import { Application } from './application.ts'
import { Checkpoints } from './checkpoints.ts'
import { Core } from './core.ts'
import { FileWriter, writeRepairs } from './creating.ts'
import { rememberLost } from './healing.ts'
import { lostKey } from './lost-key.ts'
import { checkSecretKey, DEFAULT_CRYPTO, type ParsedArguments } from './options.ts'
import { signatureHolds } from './proofs.ts'
import type { Recovered, Recovery } from './recovered.ts'
import { recover } from './recovery.ts'
import { type FeedFiles, type Found, StoredFiles, slotsIn } from './stored-files.ts'
import { Verified } from './verified.ts'

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

class Opening {
  private readonly create: StorageFactory
  private readonly args: ParsedArguments
  private readonly dialect: Dialect
  private readonly onkey: (key: Uint8Array | null, secretKey: Uint8Array | null) => void
  private readonly files: Partial<FeedFiles>
  private readonly hashing: Promise<void> | null
  private readonly stored: StoredFiles

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
    this.stored = new StoredFiles(create, files)
  }

  async run(): Promise<OpenedFeed> {
    const { options } = this.args
    this.files.key = new StorageFile(this.create('key', {}))
    const storedKey = options.overwrite ? null : await this.stored.readKey()
    let identity = this.identify(storedKey)
    this.onkey(identity.key, identity.secretKey)
    this.createOthers(identity.key)

    let files = this.checkpointsOf(identity.key)
    const found = await this.stored.look(!!options.overwrite, files)
    if (identity.generated && found.key !== null) {
      // Somebody else created a feed here between the two looks at the key.
      identity = this.identify(found.key)
      this.onkey(identity.key, identity.secretKey)
      files = this.checkpointsOf(identity.key)
      found.checkpoint = (await files?.load())?.(slotsIn(found.sizes.tree)) ?? null
    }
    if (this.hashing !== null) await this.hashing
    const restored = await this.restoreKey(found, identity)
    if (restored !== null) {
      found.key = restored
      found.keyLost = true
      identity = this.identify(restored)
      this.onkey(identity.key, identity.secretKey)
      files = this.checkpointsOf(restored)
      found.checkpoint = (await files?.load())?.(slotsIn(found.sizes.tree)) ?? null
    }
    const writer = new FileWriter(this.files as FeedFiles, this.stored, options)
    const overwrite = !!options.overwrite || this.mayReplace(found.key, identity.key)
    const durability = new Durability(options.durability ?? 'process', Object.values(this.files as FeedFiles))
    const checkpoint = found.key === null || overwrite ? null : found.checkpoint
    const small = durability.offered && isSmall(found.sizes)
    const whole = checkpoint === null && small && this.create.extraFiles !== true
    if (overwrite) {
      found.key = null
      found.secretKey = null
      found.pages = new Pages(found.pages.pageSize)
    } else {
      await this.judge(found, identity.key, checkpoint !== null || small || !!options.repair)
    }

    const key = found.key ?? identity.key
    const secretKey = found.secretKey ?? identity.secretKey
    if (secretKey === null && found.secretKeyEmpty && found.key !== null)
      throw new DDatabaseError('ERR_SECRET_KEY_DAMAGED')
    // With functions of the application's own, a secret key is whatever they take it for.
    if (secretKey !== null && key !== null && options.crypto === undefined) checkSecretKey(secretKey, key)
    const writable = secretKey !== null || key === null
    if (options.createIfMissing === false && (identity.generated || key === null)) {
      await writer.writeHeaders(found)
      throw new DDatabaseError('ERR_NO_FEED', { message: `No ${this.dialect.name} is stored here` })
    }
    if (options.writable && !writable) throw new DDatabaseError('ERR_NOT_WRITABLE_OPTION')

    const core = this.assemble(found, durability)
    const claims = checkpoint === null && !options.repair ? files : null
    const recovered = overwrite
      ? null
      : await this.load(core, found, key, secretKey, checkpoint, files?.exists === true, whole, small).catch(
          async (error) => {
            await refuseAnotherKey(core, claims)
            throw error
          }
        )
    if (recovered !== null && recovered.length === 0 && recovered.report !== null)
      await refuseAnotherKey(core, claims)
    if (overwrite) await files?.destroy().catch(rethrow)
    // A creation may have ended before its checkpoint was made.
    const first = found.key === null || (files?.exists === false && !(await this.holdsContent(found)))
    await writer.writeHeaders(found)
    if (overwrite) await writer.empty(core, secretKey, found)
    await writer.writeKeys(found, key, secretKey, identity.generated, durability)
    // From the first byte on it is known that nothing is known; if it cannot be told, the feed has no checkpoint yet. It comes after the
    // key, so it tells that there was one.
    if (first) await files?.write(EMPTY_CHECKPOINT, true).catch(ignore)
    const readsData = !options.indexing
    const claimed = recovered?.claimed === true
    core.checkpoints = durability.offered
      ? new Checkpoints(core, this.create, files, { readsData, claimed })
      : null
    const settled = recovered === null || (await writeRepairs(core, recovered, this.signerOf(secretKey)))
    if (durability.mode === 'disk' && !claimed) await durability.all()
    const recovery = recovered?.report ?? null
    const isNews = recovery !== null || (checkpoint !== null && recovered?.claimed === false)
    if (settled && isNews) core.checkpoints?.soon()
    if (writable) core.checkpoints?.expectChanges()
    return { core, files: this.files as FeedFiles, key, secretKey, writable, recovery }
  }

  /** Signs what is here again; null without the secret key, and where functions of the application's own do that. */
  private signerOf(secretKey: Uint8Array | null): ((message: Uint8Array) => Uint8Array) | null {
    if (secretKey === null || (this.args.options.crypto ?? DEFAULT_CRYPTO) !== DEFAULT_CRYPTO) return null
    return (message) => sign(message, secretKey)
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

  /** The key of the feed that was here, if only its file is lost. Of directories: elsewhere keys may be kept with those of other feeds. */
  private async restoreKey(
    found: Found,
    identity: { key: Uint8Array | null; generated: boolean }
  ): Promise<Uint8Array | null> {
    const { options, secretKey } = this.args
    if (found.key !== null || options.overwrite || options.crypto !== undefined) return null
    if (this.create.extraFiles !== true) return null
    const random = identity.generated && secretKey === null
    return lostKey(this.create, found, {
      given: random ? null : identity.key,
      content: await this.holdsContent(found),
      repair: !!options.repair
    })
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

  /** The hypercore dialect's `force`: another feed's storage is overwritten. */
  private mayReplace(storedKey: Uint8Array | null, key: Uint8Array | null): boolean {
    const { options } = this.args
    if (this.dialect.name !== 'hypercore' || !options.force) return false
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
    // An emptied feed has a bitfield of a header only; one without any beside tree nodes has lost it, and a writer
    // that took it for empty would sign a second history.
    found.bitsLost = found.missingHeaders.includes('bitfield') && (found.sizes.tree ?? 0) > HEADER_SIZE
    if (canRebuild) return
    if (found.tornHeader && (await this.holdsContent(found))) {
      throw new DDatabaseError('ERR_HEADER_INVALID', {
        message: 'A file of the feed is cut short within its header'
      })
    }
  }

  private holdsContent(found: Found): Promise<boolean> {
    return this.stored.holdsContent(found, !!this.args.options.indexing)
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
    const { options } = this.args
    core.live = options.live !== false
    core.judgesData = !options.indexing
    const verify = options.verify ?? 'first'
    core.verified = verify === 'off' ? null : new Verified(verify)
    return core
  }

  /** Finds length, roots and kind of the stored feed. */
  private async load(
    core: Core,
    found: Found,
    key: Uint8Array | null,
    secretKey: Uint8Array | null,
    checkpoint: Checkpoint | null,
    known: boolean,
    whole: boolean,
    small: boolean
  ): Promise<Recovered> {
    const { options } = this.args
    const crypto = options.crypto ?? DEFAULT_CRYPTO
    // Functions of the application's own are not asked where the published packages would not ask them.
    const asks = crypto === DEFAULT_CRYPTO || checkpoint !== null || whole
    const holds = (message: Uint8Array, signature: Uint8Array): Promise<boolean> =>
      signatureHolds(new Application(crypto, null), message, signature, key!)
    if (key !== null && crypto === DEFAULT_CRYPTO) core.signatureHolds = holds
    const recovered = await recover({
      core,
      checkpoint,
      known,
      whole,
      small,
      dataSize: found.sizes.data,
      readsData: !options.indexing,
      key,
      verify: key === null || !asks ? null : holds,
      sign: this.signerOf(secretKey),
      copy: key !== null && secretKey === null,
      repair: !!options.repair,
      bitsLost: found.bitsLost,
      touched: found.touched,
      readPages: found.readPages
    })
    const { length, roots, stage } = recovered
    if (stage !== null) {
      const { pages } = stage
      // Nobody else has what an author has lost: who asks for it is told so.
      if (secretKey !== null) rememberLost(core, stage, length)
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
    // The roots of a static feed are its key, whatever lies in the signatures. A live feed may lack the last one (after truncate by
    // an older version), so that alone does not make it static.
    const isStatic = key !== null && b4a.equals(treeHash(roots), key)
    core.live = !isStatic && (signature !== null || key !== null)
    return recovered
  }
}

/**
 * Nothing that is stored is signed with this key. If a checkpoint of another key speaks of exactly what is stored, then it is the key that
 * does not belong here, and not the content. Errors: `ERR_KEY_DAMAGED`.
 */
async function refuseAnotherKey(core: Core, files: CheckpointFiles | null): Promise<void> {
  const { tree } = core.storage
  for (const { length, treeHash: hash } of (await files?.claims()) ?? []) {
    if (length === 0 || length > tree.slots) continue
    const roots = await Promise.all(flat.fullRoots(2 * length).map((index) => tree.get(index)))
    if (roots.every((root) => root !== null) && b4a.equals(treeHash(roots), hash))
      throw new DDatabaseError('ERR_KEY_DAMAGED', { message: 'What is stored belongs to another key' })
  }
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
