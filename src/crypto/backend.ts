/** The primitives, from libsodium. Every other file goes through `hash.ts` and `keys.ts`. */
import sodium from 'sodium-universal'

/** BLAKE2b-256 of `input` into the 32 bytes `out`, keyed with `key` if given. */
export function blake2b(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void {
  if (key === undefined) sodium.crypto_generichash(out, input)
  else sodium.crypto_generichash(out, input, key)
}

/** BLAKE2b-256 of the concatenated `inputs` into the 32 bytes `out`. */
export function blake2bBatch(out: Uint8Array, inputs: Uint8Array[], key?: Uint8Array): void {
  if (key === undefined) sodium.crypto_generichash_batch(out, inputs)
  else sodium.crypto_generichash_batch(out, inputs, key)
}

/** Ed25519 key pair, from a 32 byte seed or at random. The secret key is seed ‖ public key. */
export function ed25519KeyPair(publicKey: Uint8Array, secretKey: Uint8Array, seed?: Uint8Array): void {
  if (seed === undefined) sodium.crypto_sign_keypair(publicKey, secretKey)
  else sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed)
}

/** Detached Ed25519 signature, 64 bytes, into `out`. */
export function ed25519Sign(out: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void {
  sodium.crypto_sign_detached(out, message, secretKey)
}

/** Whether `signature` (64 bytes) is valid. */
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}

/** X25519 public key of a 32 byte secret. */
export function x25519PublicKey(publicKey: Uint8Array, secretKey: Uint8Array): void {
  sodium.crypto_scalarmult_base(publicKey, secretKey)
}

/** Fills `out` with random bytes. */
export function randomFill(out: Uint8Array): void {
  sodium.randombytes_buf(out)
}
