/** The public key of a feed whose file `key` is missing or empty, in a directory. */
import b4a from 'b4a'
import { KEY_SIZE, publicKeyOf } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { CheckpointFiles } from '../storage/checkpoint-files.ts'
import type { StorageFactory } from '../storage/random-access.ts'
import { checkSecretKey } from './options.ts'
import type { Found } from './stored-files.ts'

/** What is to be decided by. */
export interface LostKeyOptions {
  /** The key that the caller gave, itself or by its secret key; null if there is none. */
  given: Uint8Array | null
  /** Whether there are blocks, nodes or signatures. */
  content: boolean
  repair: boolean
}

/**
 * The key that belongs into the file, if what is stored tells it for certain: the secret key does, and a checkpoint, which has a hash over the key
 * it was made for, says whether it is the given one. Null if there is nothing to be restored: no feed was here, or it is for others to refuse.
 *
 * A checkpoint is written when the key is on the disk, and headers come before it. So where both are, a feed was here, and not just a
 * creation that did not get far: another identity would take its place. A secret key alone may be what a creation has left.
 *
 * Beside content a key that is gone is refused (`ERR_KEY_MISSING`) unless `repair` is asked for.
 *
 * Errors: `ERR_KEY_DAMAGED` if a feed was here, and nothing tells its key; `ERR_SECRET_KEY_MISMATCH`.
 */
export async function lostKey(
  create: StorageFactory,
  found: Found,
  { given, content, repair }: LostKeyOptions
): Promise<Uint8Array | null> {
  const { secretKey } = found
  if (secretKey !== null) checkSecretKey(secretKey, publicKeyOf(secretKey))
  const told = secretKey === null ? null : b4a.from(publicKeyOf(secretKey))
  const key = told ?? given
  const mayRestore = !content || repair
  // Which key they are made for can only be asked.
  const claims = await new CheckpointFiles(create, key ?? b4a.alloc(KEY_SIZE)).claims()
  // Who destroys a feed without knowing of checkpoints leaves them.
  if (claims.length === 0 || found.missingHeaders.length === HEADERS) return mayRestore ? told : null
  if (key !== null) {
    const checkpoints = new CheckpointFiles(create, key)
    await checkpoints.load()
    if (checkpoints.exists) return mayRestore ? key : null
  }
  if (repair) return told
  if (content) return null
  throw new DDatabaseError('ERR_KEY_DAMAGED', {
    message: 'The key of the feed that is stored here is lost'
  })
}

const HEADERS = 3
