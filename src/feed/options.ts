import b4a from 'b4a'
import {
  KEY_SIZE,
  type KeyPair,
  keyPair,
  publicKeyOf,
  SECRET_KEY_SIZE,
  sign,
  verify
} from '../crypto/keys.ts'
import { argumentRangeError, argumentTypeError, argumentValueError, DDatabaseError } from '../errors.ts'
import type { Peer } from '../replication/peer.ts'
import { checkRate } from '../replication/rate-limit.ts'
import { type CacheOptions, createCaches } from '../storage/caches.ts'
import type { DurabilityMode } from '../storage/durability.ts'
import type { RandomAccess, StorageFactory } from '../storage/random-access.ts'
import { isBytes } from '../util/bytes.ts'
import { type Callback, checkFunction } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import type { ValueEncoding } from './encoding.ts'
import type { VerifyMode } from './verified.ts'

/** A public key: 32 bytes or 64 hexadecimal digits. */
export type Key = Uint8Array | string

/** Where a feed lives: a directory, a function that makes a storage for a file name, or a storage class. */
export type Storage = string | StorageFactory | StorageClass

// biome-ignore lint/suspicious/noExplicitAny: storage classes take whatever they like
type StorageClass = new (...args: any[]) => RandomAccess

/** Replaces the Ed25519 functions. */
export interface CryptoHooks {
  /** Signs the 40 bytes of a new head. */
  sign(data: Uint8Array, secretKey: Uint8Array, callback: Callback<Uint8Array>): void
  /**
   * Checks a signature. Called with the 40 byte signable first and, if that fails, with the 32 byte tree hash
   * that feeds from before version 9 signed. (The manual of the published packages names the first two arguments
   * the other way round; this is the order in which they pass them.)
   */
  verify(data: Uint8Array, signature: Uint8Array, key: Uint8Array, callback: Callback<boolean>): void
}

/**
 * Called before a block is stored; an error refuses it. `data` is the value for an append, the bytes (null: only the hash)
 * for a block from elsewhere; `peer` is null for an append and for `put`.
 */
export type WriteHook = (
  index: number,
  data: unknown,
  peer: Peer | null,
  callback: (error?: Error | null) => void
) => void

/** When a decision of the kind "nobody has it" may be made: each function calls back when it may. */
export interface AvailabilityTimeouts {
  /** For `get`, `seek`, and all else that reads. */
  get(callback: (error?: Error | null) => void): void
  /** For `update`. */
  update(callback: (error?: Error | null) => void): void
}

/** Options of a feed (spec API §2). Flags that are false by default count by truthiness, as in the published packages. */
export interface FeedOptions<T = Uint8Array> extends CacheOptions {
  /** Same as the second argument, which wins. */
  key?: Key | null | undefined
  /** 64 bytes or 128 hexadecimal digits; makes the feed writable. A stored one wins. */
  secretKey?: Key | null | undefined
  /** false: fail with `ERR_NO_FEED` if nothing is stored and no key was given. Default true. */
  createIfMissing?: boolean | undefined
  /** Drop what is stored, keys included. Default false. */
  overwrite?: boolean | undefined
  /** Store the secret key. Default true. */
  storeSecretKey?: boolean | undefined
  /** true: fail with `ERR_NOT_WRITABLE_OPTION` unless the feed turns out to be writable. */
  writable?: boolean | undefined
  /** false: a static feed without signatures, whose key is its hash once it is finalized. Default true. */
  live?: boolean | undefined
  /** true: blocks are fetched only when asked for. Default false. */
  sparse?: boolean | undefined
  /** With `sparse`: follow the length of the feed all the time. */
  eagerUpdate?: boolean | undefined
  /** Name of an encoding or a codec. Default binary. */
  valueEncoding?: ValueEncoding<T> | null | undefined
  /** Parallel requests per peer. Default 16, and up to 256 of small blocks; with a smaller number no more than that. */
  maxRequests?: number | undefined
  /**
   * Bytes a second that all peers together are sent: blocks with their proofs. Default: no limit. It can be changed by the property of
   * the feed with this name.
   */
  maxUploadRate?: number | null | undefined
  /** The same for what all peers together are asked for. */
  maxDownloadRate?: number | null | undefined
  /** Initial flag; a boolean switches off the default, which is "unless writable". */
  downloading?: boolean | undefined
  /** Initial flag. Default true. */
  uploading?: boolean | undefined
  /** Accept blocks that were not asked for. Default false. */
  allowPush?: boolean | undefined
  /** Default of the option of the same name of get, seek and update. */
  ifAvailable?: boolean | undefined
  /** The application writes the `data` file itself: append and clear leave it alone. */
  indexing?: boolean | undefined
  /** Asked before a block is stored. */
  onwrite?: WriteHook | null | undefined
  /** Count blocks and bytes. Default true. */
  stats?: boolean | undefined
  /** Other functions for signing and verifying. Default: Ed25519. */
  crypto?: CryptoHooks | undefined
  /**
   * What an acknowledged change survives: `process`, the end of the process at any moment; `disk`, also a power failure,
   * for which every change waits for the disk. `disk` needs a storage that offers `sync` (`ERR_DURABILITY`); a directory
   * does. Default `process`.
   */
  durability?: DurabilityMode | null | undefined
  /**
   * When blocks are compared with what is signed: `first`, at the first use of each since the feed was opened (one that was appended
   * or downloaded in this opening counts); `always`, at each reading from the storage; `off`, never: damage is then not
   * noticed. Default `first`.
   */
  verify?: VerifyMode | null | undefined
  /** Open also if something is damaged that had been on the disk for certain, and give up what cannot be repaired. */
  repair?: boolean | undefined
  /** X25519 pair of replication streams. Default: one at random. */
  noiseKeyPair?: KeyPair | undefined
  /** Decides when `ifAvailable` may give up. Default: at once. */
  timeouts?: AvailabilityTimeouts | undefined
  /** Only `ddatabase/hypercore`: a different stored key is overwritten instead of being an error. */
  force?: boolean | undefined
}

/** The constructor's arguments, sorted out and checked. */
export interface ParsedArguments {
  key: Uint8Array | null
  secretKey: Uint8Array | null
  // biome-ignore lint/suspicious/noExplicitAny: the value type plays no role here
  options: FeedOptions<any>
}

/**
 * Sorts out `(key, options)`, `(options)` and `(key)`.
 * Errors: TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` (keys that are not 32 or 64 bytes), RangeError.
 */
export function parseArguments(key: unknown, options: unknown): ParsedArguments {
  let keyArgument = key
  let given = options
  const keyIsKey = typeof key === 'string' || isBytes(key)
  if (!keyIsKey && !isGiven(given)) {
    given = key
    keyArgument = null
  }
  given ??= {}
  if (typeof given !== 'object') throw argumentTypeError('options should be an object')
  // Meant as a key: taken for options without any it would be a new feed.
  if (ArrayBuffer.isView(given) || given instanceof ArrayBuffer)
    throw argumentTypeError('key should be a Uint8Array or a hexadecimal string')
  if (!keyIsKey && isGiven(keyArgument)) {
    throw argumentTypeError('key should be bytes or a hexadecimal string')
  }
  const parsed = given as FeedOptions
  checkSettings(parsed)
  return {
    key: toKey(keyArgument, KEY_SIZE, 'key') ?? toKey(parsed.key, KEY_SIZE, 'key'),
    secretKey: toKey(parsed.secretKey, SECRET_KEY_SIZE, 'secretKey'),
    options: parsed
  }
}

/** Checks what would otherwise fail when it is used for the first time. Errors: TypeError, RangeError. */
function checkSettings({
  onwrite,
  crypto,
  timeouts,
  maxRequests,
  maxUploadRate,
  maxDownloadRate,
  noiseKeyPair,
  durability,
  verify,
  ...others
}: FeedOptions): void {
  checkFunction(onwrite, 'onwrite')
  if (isGiven(crypto)) {
    const { sign, verify } = crypto
    if (typeof sign !== 'function' || typeof verify !== 'function') {
      throw argumentTypeError('crypto should be an object with sign and verify')
    }
  }
  if (isGiven(durability) && durability !== 'process' && durability !== 'disk') {
    throw argumentValueError('durability should be "process" or "disk"')
  }
  if (isGiven(verify) && verify !== 'first' && verify !== 'off' && verify !== 'always') {
    throw argumentValueError('verify should be "first", "off" or "always"')
  }
  if (isGiven(timeouts)) {
    if (typeof timeouts !== 'object')
      throw argumentTypeError('timeouts should be an object with get and update')
    checkFunction(timeouts.get, 'timeouts.get')
    checkFunction(timeouts.update, 'timeouts.update')
  }
  if (isGiven(maxRequests) && maxRequests !== Number.POSITIVE_INFINITY) {
    checkBytes(maxRequests, 'maxRequests')
  }
  checkRate(maxUploadRate, 'maxUploadRate')
  checkRate(maxDownloadRate, 'maxDownloadRate')
  if (isGiven(noiseKeyPair)) {
    for (const key of [noiseKeyPair.publicKey, noiseKeyPair.secretKey]) {
      if (!isBytes(key)) throw argumentTypeError('noiseKeyPair should have two keys of bytes')
      if (key.byteLength !== KEY_SIZE)
        throw argumentValueError(`Keys of noiseKeyPair should have ${KEY_SIZE} bytes`)
    }
  }
  createCaches(others)
}

/** Bytes of a key in any of its forms, null if there is none. */
function toKey(key: unknown, size: number, name: string): Uint8Array | null {
  if (!isGiven(key)) return null
  if (typeof key === 'string') {
    if (!/^[0-9a-fA-F]*$/.test(key) || key.length !== 2 * size) {
      throw argumentValueError(`${name} should have ${2 * size} hexadecimal digits`)
    }
    return b4a.from(key, 'hex')
  }
  if (!isBytes(key)) throw argumentTypeError(`${name} should be bytes or a hexadecimal string`)
  if (key.byteLength !== size) throw argumentValueError(`${name} should have ${size} bytes`)
  return b4a.toBuffer(key)
}

/** The Ed25519 functions of this package in the shape of the hooks. */
export const DEFAULT_CRYPTO: CryptoHooks = {
  sign(data, secretKey, callback) {
    callback(null, sign(data, secretKey))
  },
  verify(data, signature, key, callback) {
    callback(null, verify(data, signature, key))
  }
}

/**
 * Errors: `ERR_SECRET_KEY_MISMATCH` unless both halves of the secret key, the seed and the public key that it
 * carries, belong to `key`: with a damaged seed every signature would be invalid.
 */
export function checkSecretKey(secretKey: Uint8Array, key: Uint8Array): void {
  const belongs = b4a.equals(publicKeyOf(secretKey), key)
  if (!belongs || !b4a.equals(keyPair(secretKey.subarray(0, SEED_SIZE)).publicKey, key)) {
    throw new DDatabaseError('ERR_SECRET_KEY_MISMATCH')
  }
}

const SEED_SIZE = SECRET_KEY_SIZE - KEY_SIZE

// A block's tree index and the parents above it stay exact below this.
const MAX_INDEX = 2 ** 51

/** A block number. Errors: TypeError or RangeError. */
export function checkIndex(value: unknown, name = 'index'): number {
  return checkNumber(value, name, MAX_INDEX)
}

/** A number of bytes. Errors: TypeError or RangeError. */
export function checkBytes(value: unknown, name = 'bytes'): number {
  return checkNumber(value, name, Number.MAX_SAFE_INTEGER)
}

function checkNumber(value: unknown, name: string, max: number): number {
  if (typeof value !== 'number') throw argumentTypeError(`${name} should be a number`)
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw argumentRangeError(`${name} should be a whole number from 0 to ${max}, got ${value}`)
  }
  return value
}

const NO_OPTIONS: object = Object.freeze({})

/** An options argument, empty if there is none. Errors: TypeError `ERR_INVALID_ARG_TYPE` for anything but an object. */
export function checkOptions<O extends object>(options: O | null | undefined): O {
  if (!isGiven(options)) return NO_OPTIONS as O
  if (typeof options !== 'object') throw argumentTypeError('options should be an object')
  return options
}

// Timers cannot do more, and fire at once when asked to: some 25 days.
const MAX_TIMEOUT = 2 ** 31 - 1

/** Milliseconds of a timeout option; 0, false, null and what no timer can do mean none. Errors: TypeError or RangeError. */
export function checkTimeout(value: unknown): number {
  if (!isGiven(value) || value === false) return 0
  if (typeof value !== 'number') throw argumentTypeError('timeout should be a number of milliseconds')
  if (!(value >= 0)) throw argumentRangeError(`timeout should not be negative, got ${value}`)
  return value > MAX_TIMEOUT ? 0 : value
}
