/** Keys of a feed: its Ed25519 pair, the discovery key derived from it, and the X25519 pair of a stream. */
import b4a from 'b4a'
import {
  blake2b,
  ed25519KeyPair,
  ed25519Sign,
  ed25519Verify,
  randomFill,
  x25519PublicKey
} from '#crypto/backend'
import type { Dialect } from '../dialect.ts'

/** Bytes of a public key, a discovery key and a seed. */
export const KEY_SIZE = 32
/** Bytes of an Ed25519 secret key: seed ‖ public key. */
export const SECRET_KEY_SIZE = 64
/** Bytes of an Ed25519 signature. */
export const SIGNATURE_SIZE = 64

/** A public and a secret key. */
export interface KeyPair {
  /** 32 bytes. */
  publicKey: Uint8Array
  /** 64 bytes of an Ed25519 pair, 32 of an X25519 pair. */
  secretKey: Uint8Array
}

/** A new Ed25519 pair, or the one of a 32 byte seed. */
export function keyPair(seed?: Uint8Array): KeyPair {
  const pair = { publicKey: b4a.allocUnsafeSlow(KEY_SIZE), secretKey: b4a.allocUnsafeSlow(SECRET_KEY_SIZE) }
  ed25519KeyPair(pair.publicKey, pair.secretKey, seed)
  return pair
}

/** The public key that a 64 byte secret key carries as its second half. */
export function publicKeyOf(secretKey: Uint8Array): Uint8Array {
  return secretKey.subarray(SECRET_KEY_SIZE - KEY_SIZE)
}

/** Detached signature, 64 bytes. */
export function sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  const signature = b4a.allocUnsafe(SIGNATURE_SIZE)
  ed25519Sign(signature, message, secretKey)
  return signature
}

/** Whether `signature` is a signature of `message` under `publicKey`; false for one of a wrong size. */
export function verify(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.byteLength !== SIGNATURE_SIZE || publicKey.byteLength !== KEY_SIZE) return false
  return ed25519Verify(signature, message, publicKey)
}

/** The discovery key: BLAKE2b-256 of the dialect's name, keyed with the public key (spec FORMAT §2.7). */
export function discoveryKey(publicKey: Uint8Array, dialect: Dialect): Uint8Array {
  const key = b4a.allocUnsafeSlow(KEY_SIZE)
  blake2b(key, b4a.from(dialect.name), publicKey)
  return key
}

/** A new X25519 pair for replication streams, or the one of a 32 byte seed (secret key: BLAKE2b-256 of the seed). */
export function noiseKeyPair(seed?: Uint8Array): KeyPair {
  const pair = { publicKey: b4a.allocUnsafeSlow(KEY_SIZE), secretKey: b4a.allocUnsafeSlow(KEY_SIZE) }
  if (seed === undefined) randomFill(pair.secretKey)
  else blake2b(pair.secretKey, seed)
  x25519PublicKey(pair.publicKey, pair.secretKey)
  return pair
}

/** `size` random bytes. */
export function randomBytes(size: number): Uint8Array {
  const bytes = b4a.allocUnsafeSlow(size)
  randomFill(bytes)
  return bytes
}
