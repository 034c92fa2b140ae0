/**
 * The primitives, here from libsodium; `backend.browser.ts` has the same exports for browsers, with equal bytes and equal
 * verdicts. Which of the two `#crypto/backend` is, the `imports` of package.json tell. Sizes of keys, nonces and outputs
 * are the caller's to check.
 *
 * BLAKE2b is libsodium's, and for large inputs WebAssembly's where that is found to be faster: on some processors (AMD's Zen 5)
 * libsodium takes 1.8 times as long for 64 KB, on others (Intel's, with AVX2) two thirds.
 */
import b4a from 'b4a'
import sodium from 'sodium-native'
import binding from 'sodium-native/binding.js'
import { FasterHash, type HashFunction } from './faster-hash.ts'
import { HashInput } from './hash-input.ts'
import { offerToThread } from './hash-thread.ts'
import type { Offer, Prefix } from './offer.ts'
import { loadWasmBlake2b, wasmMayBeFaster } from './wasm-blake2b.ts'

/** What hashing waits for to be fast: null, nothing. A feed awaits it while it opens. */
export function ready(): Promise<void> | null {
  return null
}

const HASH_SIZE = 32
const NO_KEY = new ArrayBuffer(0)

const native: HashFunction = (out, inputs) => sodium.crypto_generichash_batch(out, inputs as Uint8Array[])
const nativeOrWasm = new FasterHash(native, loadWasmBlake2b, () => wasmMayBeFaster(native))

/**
 * Offers the hashes of inputs `from` … `to` − 1, each behind its prefix, to another thread. All is copied.
 * @returns null if this thread had better do it
 */
export function offer(prefix: Prefix, inputs: readonly Uint8Array[], from: number, to: number): Offer | null {
  const { choice } = nativeOrWasm
  // Small inputs take both about as long, and may be all there is.
  const known = choice !== null || to - from > 1
  const implementation = choice === 'second' ? 'wasm' : known ? 'native' : null
  return offerToThread(prefix, inputs, from, to, implementation)
}

const digest = new HashInput(b4a.allocUnsafeSlow(HASH_SIZE))

/**
 * BLAKE2b-256 of the first `length` bytes of `input`, written at `offset` of `target`: without a view for either, and
 * past the checks of the package's own function, which take longer than hashing a pair of nodes.
 */
export function blake2bInto(target: Uint8Array, offset: number, input: HashInput, length: number): void {
  const failed = binding.crypto_generichash(
    digest.buffer,
    digest.byteOffset,
    HASH_SIZE,
    input.buffer,
    input.byteOffset,
    length,
    NO_KEY,
    0,
    0
  )
  if (failed !== 0) throw new Error('libsodium refuses to hash')
  target.set(digest.bytes, offset)
}

/** BLAKE2b of `input` into `out`, whose size (32 or 64 bytes) is that of the hash, keyed with `key` if given. */
export function blake2b(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void {
  if (key === undefined) sodium.crypto_generichash(out, input)
  else sodium.crypto_generichash(out, input, key)
}

/** BLAKE2b of the concatenated `inputs` into `out`, whose size is that of the hash. */
export function blake2bBatch(out: Uint8Array, inputs: Uint8Array[], key?: Uint8Array): void {
  if (key !== undefined) sodium.crypto_generichash_batch(out, inputs, key)
  else if (out.length !== HASH_SIZE) sodium.crypto_generichash_batch(out, inputs)
  else nativeOrWasm.hash(out, inputs)
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

/** Whether `signature` (64 bytes) is valid. Keys and signatures of low order are not. */
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}

/** X25519 public key of a 32 byte secret. */
export function x25519PublicKey(publicKey: Uint8Array, secretKey: Uint8Array): void {
  sodium.crypto_scalarmult_base(publicKey, secretKey)
}

/**
 * X25519 of two 32 byte keys into `out`, 32 bytes.
 * @returns false if `publicKey` is a point of low order: then the result says nothing about the secret key
 */
export function x25519(out: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    sodium.crypto_scalarmult(out, secretKey, publicKey)
    return true
  } catch {
    return false
  }
}

/** One XSalsa20 key stream, from block counter 0 on. */
export class XSalsa20 {
  private readonly state = b4a.alloc(sodium.crypto_stream_xor_STATEBYTES)

  /**
   * @param key - 32 bytes
   * @param nonce - 24 bytes
   */
  constructor(key: Uint8Array, nonce: Uint8Array) {
    sodium.crypto_stream_xor_init(this.state, nonce, key)
  }

  /** Writes `input` XOR the next bytes of the key stream to `out`, which has the same size and may be the same array. */
  update(out: Uint8Array, input: Uint8Array): void {
    if (input.length > 0) sodium.crypto_stream_xor_update(this.state, out, input)
  }

  /** Wipes the key. The key stream cannot be used any more. */
  destroy(): void {
    sodium.crypto_stream_xor_final(this.state)
  }
}

/** Bytes that ChaCha20-Poly1305 adds: the tag. */
export const AEAD_TAG_SIZE = 16

/**
 * ChaCha20-Poly1305 (RFC 8439) of `plaintext` into `out`, which is 16 bytes longer and may begin where `plaintext` does.
 * @param ad - bytes that are authenticated along, or null
 * @param nonce - 12 bytes, never the same twice for a key
 * @param key - 32 bytes
 */
export function aeadEncrypt(
  out: Uint8Array,
  plaintext: Uint8Array,
  ad: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array
): void {
  sodium.crypto_aead_chacha20poly1305_ietf_encrypt(out, plaintext, ad, null, nonce, key)
}

/**
 * The reverse of {@link aeadEncrypt}: `ciphertext`, at least 16 bytes, into `out`, which is 16 bytes shorter and may begin
 * where `ciphertext` does.
 * @returns false if `ciphertext` or `ad` is not what was encrypted: then nobody may look at `out`
 */
export function aeadDecrypt(
  out: Uint8Array,
  ciphertext: Uint8Array,
  ad: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array
): boolean {
  try {
    sodium.crypto_aead_chacha20poly1305_ietf_decrypt(out, null, ciphertext, ad, nonce, key)
    return true
  } catch {
    return false
  }
}

/** Fills `out` with random bytes. */
export function randomFill(out: Uint8Array): void {
  sodium.randombytes_buf(out)
}
