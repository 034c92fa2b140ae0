/**
 * The primitives for browsers, with the exports of `backend.ts`, where they are described: BLAKE2b from hash-wasm, the rest
 * from the noble libraries.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { xsalsa20 } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 as montgomery } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { blake2b as slowBlake2b } from '@noble/hashes/blake2.js'
import { sha512 } from '@noble/hashes/sha2.js'
import b4a from 'b4a'
import { createBLAKE2b, type IHasher } from 'hash-wasm'
import { DDatabaseError } from '../errors.ts'
import type { HashInput } from './hash-input.ts'
import type { Offer, Prefix } from './offer.ts'

const { Point } = ed25519
const HASH_SIZE = 32
// The most that `getRandomValues` gives at a time.
const RANDOM_SIZE = 65536
const SALSA_BLOCK_SIZE = 64

// WebAssembly is compiled in the background. Until then, or where a page's content security policy forbids it, hashing
// goes about ten times slower. One instance serves all: hashing is synchronous.
let fastBlake2b: IHasher | null = null
let loading: Promise<void> | null = null

/** What hashing waits for to be fast. Never rejects, as hashing works without. */
export function ready(): Promise<void> | null {
  loading ??= createBLAKE2b(HASH_SIZE * 8).then(
    (hasher) => {
      fastBlake2b = hasher
    },
    () => {}
  )
  return fastBlake2b === null ? loading : null
}

/** There is no other thread here. */
export function offer(
  _prefix: Prefix,
  _inputs: readonly Uint8Array[],
  _from: number,
  _to: number
): Offer | null {
  return null
}

export function blake2bInto(target: Uint8Array, offset: number, input: HashInput, length: number): void {
  blake2bBatch(target.subarray(offset, offset + HASH_SIZE), [input.bytes.subarray(0, length)])
}

export function blake2b(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void {
  blake2bBatch(out, [input], key)
}

export function blake2bBatch(out: Uint8Array, inputs: Uint8Array[], key?: Uint8Array): void {
  if (fastBlake2b !== null && key === undefined && out.byteLength === HASH_SIZE) {
    fastBlake2b.init()
    for (const input of inputs) fastBlake2b.update(input)
    out.set(fastBlake2b.digest('binary'))
    return
  }
  const hash = slowBlake2b.create(
    key === undefined ? { dkLen: out.byteLength } : { dkLen: out.byteLength, key }
  )
  for (const input of inputs) hash.update(input)
  out.set(hash.digest())
}

export function ed25519KeyPair(publicKey: Uint8Array, secretKey: Uint8Array, seed?: Uint8Array): void {
  const seedPart = secretKey.subarray(0, 32)
  if (seed === undefined) randomFill(seedPart)
  else seedPart.set(seed)
  publicKey.set(ed25519.getPublicKey(seedPart))
  secretKey.set(publicKey, 32)
}

export function ed25519Sign(out: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void {
  out.set(ed25519.sign(message, secretKey.subarray(0, 32)))
}

// RFC 8032, section 5.1.7, in the stricter form of libsodium, not noble's own `verify`: the equation holds without the
// cofactor, and points of low order are refused in both places. Otherwise a dishonest writer could sign what browsers
// accept and others do not. Nothing here is secret.
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  const encodedR = signature.subarray(0, 32)
  const s = bytesToNumberLE(signature.subarray(32))
  if (s >= Point.Fn.ORDER) return false
  let a: InstanceType<typeof Point>
  try {
    a = Point.fromBytes(publicKey)
  } catch {
    return false
  }
  if (a.isSmallOrder()) return false
  const hash = sha512.create().update(encodedR).update(publicKey).update(message).digest()
  const k = Point.Fn.create(bytesToNumberLE(hash))
  const r = Point.BASE.multiplyUnsafe(s).subtract(a.multiplyUnsafe(k))
  return b4a.equals(r.toBytes(), encodedR) && !r.isSmallOrder()
}

export function x25519PublicKey(publicKey: Uint8Array, secretKey: Uint8Array): void {
  publicKey.set(montgomery.getPublicKey(secretKey))
}

export function x25519(out: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): boolean {
  let shared: Uint8Array
  try {
    shared = montgomery.getSharedSecret(secretKey, publicKey)
  } catch {
    return false
  }
  out.set(shared)
  shared.fill(0)
  return true
}

/** At most 256 GiB: noble counts blocks with 32 bits and throws then, before it repeats itself. */
export class XSalsa20 {
  private readonly key: Uint8Array
  private readonly nonce: Uint8Array
  /** Blocks of key stream that were made. */
  private blocks = 0
  /** The last of them, if it was not used up: from `used` on its bytes are the next ones. */
  private readonly block = new Uint8Array(SALSA_BLOCK_SIZE)
  private used = SALSA_BLOCK_SIZE

  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.key = Uint8Array.from(key)
    this.nonce = Uint8Array.from(nonce)
  }

  update(out: Uint8Array, input: Uint8Array): void {
    const begun = this.useBlock(out, input, 0)
    const whole = begun + Math.floor((input.byteLength - begun) / SALSA_BLOCK_SIZE) * SALSA_BLOCK_SIZE
    if (whole > begun) {
      xsalsa20(this.key, this.nonce, input.subarray(begun, whole), out.subarray(begun, whole), this.blocks)
      this.blocks += (whole - begun) / SALSA_BLOCK_SIZE
    }
    if (whole < input.byteLength) {
      this.block.fill(0)
      xsalsa20(this.key, this.nonce, this.block, this.block, this.blocks)
      this.blocks++
      this.used = 0
      this.useBlock(out, input, whole)
    }
  }

  destroy(): void {
    this.key.fill(0)
    this.block.fill(0)
  }

  /** Applies what is left of the block that was begun, from `offset` on; returns how far that went. */
  private useBlock(out: Uint8Array, input: Uint8Array, offset: number): number {
    const end = Math.min(input.byteLength, offset + SALSA_BLOCK_SIZE - this.used)
    for (let i = offset; i < end; i++) out[i] = input[i]! ^ this.block[this.used++]!
    return end
  }
}

export const AEAD_TAG_SIZE = 16

export function aeadEncrypt(
  out: Uint8Array,
  plaintext: Uint8Array,
  ad: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array
): void {
  chacha20poly1305(key, nonce, ad ?? undefined).encrypt(plaintext, out)
}

export function aeadDecrypt(
  out: Uint8Array,
  ciphertext: Uint8Array,
  ad: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array
): boolean {
  try {
    chacha20poly1305(key, nonce, ad ?? undefined).decrypt(ciphertext, out)
    return true
  } catch {
    return false
  }
}

/** Errors: `ERR_UNSUPPORTED_RUNTIME` without the Web Crypto API. */
export function randomFill(out: Uint8Array): void {
  const source = globalThis.crypto as { getRandomValues?(bytes: Uint8Array): unknown } | undefined
  if (typeof source?.getRandomValues !== 'function') {
    throw new DDatabaseError('ERR_UNSUPPORTED_RUNTIME', {
      message:
        'This runtime has no globalThis.crypto.getRandomValues, the source of random bytes: use a newer one, or set ' +
        'globalThis.crypto to an implementation of the Web Crypto API'
    })
  }
  for (let offset = 0; offset < out.byteLength; offset += RANDOM_SIZE) {
    source.getRandomValues(out.subarray(offset, offset + RANDOM_SIZE))
  }
}
