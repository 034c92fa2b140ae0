/** Writing the files of a feed that is being opened: headers and keys, what empties an old feed, and what repairs it. */
import b4a from 'b4a'
import { signable, treeHash } from '../crypto/hash.ts'
import { KEY_SIZE, SECRET_KEY_SIZE, SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { NODE_SIZE } from '../merkle/node.ts'
import type { Durability } from '../storage/durability.ts'
import { encodeHeader, type FileName, HEADER_SIZE, isBlank } from '../storage/layout.ts'
import type { StorageFile } from '../storage/random-access.ts'
import { encodeNode } from '../storage/tree-file.ts'
import { ignore } from '../util/callback.ts'
import type { Core } from './core.ts'
import type { FeedOptions } from './options.ts'
import type { Recovered } from './recovered.ts'
import type { FeedFiles, Found, StoredFiles } from './stored-files.ts'

/** Writes to the files of a feed that is being opened. */
export class FileWriter {
  private readonly files: FeedFiles
  private readonly stored: StoredFiles
  private readonly options: FeedOptions

  constructor(files: FeedFiles, stored: StoredFiles, options: FeedOptions) {
    this.files = files
    this.stored = stored
    this.options = options
  }

  private file(name: FileName): StorageFile {
    return this.files[name]
  }

  /** Writes the headers that are missing. Errors: `ELOCKED` if another process was faster. */
  async writeHeaders(found: Found): Promise<void> {
    const entrySizes = { bitfield: found.pages.pageSize, tree: NODE_SIZE, signatures: SIGNATURE_SIZE }
    for (const name of found.missingHeaders) {
      await this.file(name).write(0, encodeHeader(name, entrySizes[name]))
      // The first write of a new bitfield takes the lock; whoever was faster has stored a key by then.
      if (
        name === 'bitfield' &&
        found.key === null &&
        (await this.stored.readKey()) !== null &&
        !this.options.overwrite
      ) {
        throw new DDatabaseError('ELOCKED')
      }
    }
  }

  /** Makes the stored content unreachable, and the old secret key unusable, before the new keys are written. */
  async empty(core: Core, secretKey: Uint8Array | null, found: Found): Promise<void> {
    const { sizes } = found
    if (sizes.bitfield === null || sizes.bitfield > HEADER_SIZE) {
      await this.file('bitfield').del(HEADER_SIZE, Number.POSITIVE_INFINITY)
      await blankPages(this.file('bitfield'), found.pages.pageSize)
    }
    // A signature that is found beyond the end speaks of a history that was lost.
    await core.storage.signatures.removeBeyond(0)
    const keepsNone = secretKey === null || this.options.storeSecretKey === false
    if (keepsNone && (await this.file('secret_key').readIfPresent(0, 1).catch(ignore)) !== null) {
      await this.erase('secret_key', SECRET_KEY_SIZE)
    }
  }

  private async erase(name: 'key' | 'secret_key', size: number): Promise<void> {
    const file = this.file(name)
    await file.del(0, Number.POSITIVE_INFINITY)
    // A storage that cannot delete, or only says that it did: zeros count as no key.
    if (!file.deletes || (await file.readIfPresent(0, 1)) !== null) await file.write(0, b4a.alloc(size))
    // An empty file of that name would be one that was lost.
    if (name === 'secret_key' && (await file.isEmptyFile())) await file.destroy()
  }

  /**
   * Keys are durable before anybody gets to know them, whatever the durability of the feed: there is no way back.
   *
   * The secret key goes first: a creation cut short then fails clearly instead of opening as a mere replica.
   * A creation that fails is taken back, so that the next one starts from nothing. The key goes first then: as long as it
   * may be there, so must be what it needs to be written to.
   */
  async writeKeys(
    found: Found,
    key: Uint8Array | null,
    secretKey: Uint8Array | null,
    generated: boolean,
    durability: Durability
  ): Promise<void> {
    const keeps = secretKey !== null && this.options.storeSecretKey !== false
    const newSecret = keeps && (generated || !same(secretKey, found.secretKey))
    try {
      if (newSecret) await this.file('secret_key').write(0, secretKey)
      // Left by a creation that did not get as far as its key.
      else if (found.key === null && found.secretKeyEmpty) await this.erase('secret_key', SECRET_KEY_SIZE)
      if (key !== null && (found.keyLost || !same(key, found.key))) {
        await this.file('key').write(0, key)
        await durability.sync(this.file('secret_key'), this.file('key'))
      }
    } catch (error) {
      if (found.keyLost && isReadOnly(error)) return
      await this.takeBack(found, newSecret).catch(ignore)
      throw error
    }
  }

  private async takeBack(found: Found, newSecret: boolean): Promise<void> {
    if (found.key === null || found.keyLost) await this.erase('key', KEY_SIZE)
    if (newSecret && found.secretKey === null) await this.erase('secret_key', SECRET_KEY_SIZE)
  }
}

/**
 * Writes what recovering a feed has come to. On media that cannot be written it holds for this opening.
 * @param sign - null if nothing is signed here
 * @returns false if that waits for the first change: whoever only reads leaves signatures that tell of nothing where they are
 */
export async function writeRepairs(
  core: Core,
  { beyond, length, nodes, report, roots, signature }: Recovered,
  sign: ((message: Uint8Array) => Uint8Array) | null
): Promise<boolean> {
  const { signatures } = core.storage
  // The bits that are mended, if any, are written with those of the change.
  const waits = beyond === 'signatures' && nodes.length === 0 && signature === null
  const cutsLater = waits || (beyond === 'scraps' && report === null)
  // A published package has truncated within a batch. What is here vouches for that end now, and may not do so after the change.
  const mayLack = sign !== null && core.live && core.behind === 0 && length > 0 && signature === null
  const isUnsigned = mayLack && (await signatures.get(length - 1)) === null
  if (cutsLater || isUnsigned) {
    beforeChange(core, async () => {
      if (cutsLater) await signatures.removeBeyond(length)
      if (isUnsigned) await signatures.write(length - 1, sign(signable(treeHash(roots), length)))
    })
  }
  if (waits || report === null) return !waits
  try {
    await core.storage.changing()
    if (beyond !== 'nothing') await signatures.removeBeyond(length)
    for (const node of nodes) await core.storage.tree.write(node.index, encodeNode(node))
    if (signature !== null) await signatures.write(length - 1, signature)
    const stage = core.stage().pages
    await core.storage.bitfield.write(stage, null)
    core.storage.bitfield.adopt(stage)
  } catch (error) {
    if (!isReadOnly(error)) throw error
  }
  return true
}

/** Does something once, before anything else makes content count. If it fails, so does the change, and the next one tries again. */
function beforeChange(core: Core, prepare: () => Promise<void>): void {
  const { storage } = core
  const { announce } = storage
  let preparing: Promise<void> | null = null
  storage.announce = (pages) => {
    preparing ??= prepare()
      .then(async () => {
        storage.announce = announce
        await announce?.(pages)
      })
      .finally(() => {
        preparing = null
      })
    // Whoever asked may have failed before they look at this.
    preparing.catch(ignore)
    return preparing
  }
}

/** Whether an error says that nothing can be written here. */
function isReadOnly(error: unknown): boolean {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } | null }
  return READ_ONLY.has(code) || READ_ONLY.has(cause?.code)
}

const READ_ONLY: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS'])

function same(a: Uint8Array, b: Uint8Array | null): boolean {
  return b !== null && b4a.equals(a, b)
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
