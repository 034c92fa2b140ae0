/**
 * The handshake (spec WIRE §3): Noise_XX_25519_ChaChaPoly_BLAKE2b as in the Noise specification, revision 34, whose names
 * the classes, variables and steps below have (chapters in brackets).
 *
 *     → e
 *     ← e, ee, s, es
 *     → s, se
 *
 * Synchronous and without input or output; `handshake.ts` moves the messages.
 */

import b4a from 'b4a'
import { AEAD_TAG_SIZE, aeadDecrypt, aeadEncrypt, blake2bBatch, x25519 } from '#crypto/backend'
import type { Split } from '../crypto/capability.ts'
import { type KeyPair, noiseKeyPair } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'

const PROTOCOL_NAME = b4a.from('Noise_XX_25519_ChaChaPoly_BLAKE2b')
const DH_SIZE = 32
const HASH_SIZE = 64
const HASH_BLOCK_SIZE = 128
const CIPHER_KEY_SIZE = 32
const MAX_MESSAGE_SIZE = 65535
const EMPTY = b4a.alloc(0)

/** Shortest second message: e, the encrypted s, and the tag of an empty payload. */
export const SECOND_MESSAGE_SIZE = DH_SIZE + (DH_SIZE + AEAD_TAG_SIZE) + AEAD_TAG_SIZE

/** What a finished handshake leaves behind. */
export interface HandshakeResult {
  /** Keys of the two directions, 32 bytes each. */
  split: Split
  /** Static key of the other side. */
  remotePublicKey: Uint8Array
  /** Identifies the session, 64 bytes, the same on both sides. */
  handshakeHash: Uint8Array
}

function failure(message: string): DDatabaseError {
  return new DDatabaseError('ERR_HANDSHAKE', { message: `Noise handshake error: ${message}` })
}

/** HMAC-HASH(key, data) [4.3, RFC 2104], `key` of 32 or 64 bytes. */
function hmac(key: Uint8Array, ...data: Uint8Array[]): Uint8Array {
  const inner = b4a.alloc(HASH_BLOCK_SIZE, 0x36)
  const outer = b4a.alloc(HASH_BLOCK_SIZE, 0x5c)
  for (let i = 0; i < key.byteLength; i++) {
    inner[i]! ^= key[i]!
    outer[i]! ^= key[i]!
  }
  const hash = b4a.allocUnsafe(HASH_SIZE)
  blake2bBatch(hash, [inner, ...data])
  blake2bBatch(hash, [outer, b4a.from(hash)])
  inner.fill(0)
  outer.fill(0)
  return hash
}

/** HKDF with two outputs [4.3]. */
function hkdf(chainingKey: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array] {
  const temp = hmac(chainingKey, input)
  const first = hmac(temp, b4a.from([1]))
  const second = hmac(temp, first, b4a.from([2]))
  temp.fill(0)
  return [first, second]
}

/** [5.1] */
class CipherState {
  /** Null: what is "encrypted" stays as it is. */
  private k: Uint8Array | null = null
  /** A key is used for at most two messages here, so that one byte of the nonce suffices. */
  private n = 0

  initializeKey(key: Uint8Array | null): void {
    this.k?.fill(0)
    this.k = key
    this.n = 0
  }

  /** Bytes that encryption adds. */
  get overhead(): number {
    return this.k === null ? 0 : AEAD_TAG_SIZE
  }

  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (this.k === null) return plaintext
    const ciphertext = b4a.allocUnsafe(plaintext.byteLength + AEAD_TAG_SIZE)
    aeadEncrypt(ciphertext, plaintext, ad, this.nextNonce(), this.k)
    return ciphertext
  }

  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    if (this.k === null) return b4a.from(ciphertext)
    const plaintext = b4a.allocUnsafe(ciphertext.byteLength - AEAD_TAG_SIZE)
    if (!aeadDecrypt(plaintext, ciphertext, ad, this.nextNonce(), this.k)) {
      throw failure('the message was changed, or is meant for somebody else')
    }
    return plaintext
  }

  private nextNonce(): Uint8Array {
    const nonce = b4a.alloc(12)
    nonce[4] = this.n++
    return nonce
  }
}

/** [5.2] */
class SymmetricState {
  readonly cipher = new CipherState()
  private ck: Uint8Array
  private h: Uint8Array

  constructor() {
    this.h = b4a.alloc(HASH_SIZE)
    this.h.set(PROTOCOL_NAME)
    this.ck = b4a.from(this.h)
  }

  mixKey(input: Uint8Array): void {
    const [ck, temp] = hkdf(this.ck, input)
    this.ck.fill(0)
    this.ck = ck
    this.cipher.initializeKey(b4a.from(temp.subarray(0, CIPHER_KEY_SIZE)))
    temp.fill(0)
  }

  mixHash(data: Uint8Array): void {
    const h = b4a.allocUnsafe(HASH_SIZE)
    blake2bBatch(h, [this.h, data])
    this.h = h
  }

  getHandshakeHash(): Uint8Array {
    return b4a.from(this.h)
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.cipher.encryptWithAd(this.h, plaintext)
    this.mixHash(ciphertext)
    return ciphertext
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.cipher.decryptWithAd(this.h, ciphertext)
    this.mixHash(ciphertext)
    return plaintext
  }

  /** The keys of initiator → responder and of responder → initiator. */
  split(): [Uint8Array, Uint8Array] {
    const outputs = hkdf(this.ck, EMPTY)
    const [first, second] = outputs.map((output) => b4a.from(output.subarray(0, CIPHER_KEY_SIZE)))
    for (const output of outputs) output.fill(0)
    return [first!, second!]
  }

  wipe(): void {
    this.ck.fill(0)
    this.cipher.initializeKey(null)
  }
}

type Token = 'e' | 's' | 'ee' | 'es' | 'se'

/** [7.5] The messages of XX; the initiator sends the first and the third. */
const XX: readonly (readonly Token[])[] = [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']]

/** One side of one handshake [5.3]. */
export class NoiseHandshake {
  private readonly initiator: boolean
  private readonly symmetric = new SymmetricState()
  private readonly s: KeyPair
  private e: KeyPair | null = null
  private rs: Uint8Array | null = null
  private re: Uint8Array | null = null
  /** Messages that were sent and received. */
  private messages = 0
  private failed = false
  private outcome: HandshakeResult | null = null

  /**
   * @param initiator - whether this side sends the first message
   * @param keyPair - static X25519 pair
   * @param ephemeral - only to repeat a recorded handshake: the pair that is made at random otherwise
   * @param prologue - what both sides must have agreed on before, empty in this protocol
   */
  constructor(initiator: boolean, keyPair: KeyPair, ephemeral?: KeyPair, prologue: Uint8Array = EMPTY) {
    this.initiator = initiator
    this.s = keyPair
    if (ephemeral !== undefined) {
      // A copy, since the pair is wiped at the end.
      this.e = { publicKey: b4a.from(ephemeral.publicKey), secretKey: b4a.from(ephemeral.secretKey) }
    }
    this.symmetric.mixHash(prologue)
  }

  /** Static key of the other side; null until it is known: after message 2 (initiator) or 3 (responder). */
  get remotePublicKey(): Uint8Array | null {
    return this.rs
  }

  /** Result, null until the last message was sent or received. */
  get result(): HandshakeResult | null {
    return this.outcome
  }

  /**
   * Makes the next message.
   * Errors: `ERR_HANDSHAKE` if the other side's ephemeral key is a point of low order, if `payload` is too long for a message, and if
   * it is not this side's turn. Then all is over.
   */
  send(payload: Uint8Array): Uint8Array {
    return this.step(true, () => {
      const parts: Uint8Array[] = []
      for (const token of this.pattern) {
        if (token === 'e') parts.push(this.writeE())
        else if (token === 's') parts.push(this.symmetric.encryptAndHash(this.s.publicKey))
        else this.mixDh(token)
      }
      parts.push(this.symmetric.encryptAndHash(payload))
      const message = b4a.concat(parts)
      if (message.byteLength > MAX_MESSAGE_SIZE) throw failure('the payload is too long')
      return message
    })
  }

  /**
   * Takes the other side's next message, which may be changed afterwards, and returns its payload.
   * Errors: `ERR_HANDSHAKE` if the message is not valid, and if it is not the other side's turn. Then all is over.
   */
  recv(message: Uint8Array): Uint8Array {
    return this.step(false, () => {
      if (message.byteLength > MAX_MESSAGE_SIZE) throw failure('the message is too long')
      let offset = 0
      const take = (size: number): Uint8Array => {
        if (message.byteLength - offset < size) throw failure('the message is too short')
        offset += size
        return message.subarray(offset - size, offset)
      }
      for (const token of this.pattern) {
        if (token === 'e') this.readE(take(DH_SIZE))
        else if (token === 's') {
          this.rs = this.symmetric.decryptAndHash(take(DH_SIZE + this.symmetric.cipher.overhead))
        } else this.mixDh(token)
      }
      const rest = message.byteLength - offset
      return this.symmetric.decryptAndHash(take(Math.max(rest, this.symmetric.cipher.overhead)))
    })
  }

  private get pattern(): readonly Token[] {
    return XX[this.messages]!
  }

  /** Runs one message; the last one splits, and any failure is the end. */
  private step(sending: boolean, run: () => Uint8Array): Uint8Array {
    const initiatorsTurn = this.messages % 2 === 0
    try {
      if (this.failed || this.messages === XX.length) throw failure('it is over')
      if ((this.initiator === initiatorsTurn) !== sending) throw failure('a message out of turn')
      const out = run()
      this.messages++
      if (this.messages === XX.length) this.finish()
      return out
    } catch (error) {
      this.failed = true
      this.wipe()
      throw error
    }
  }

  /** Gives up: wipes the secrets of a handshake that nobody will finish. */
  destroy(): void {
    this.failed = true
    this.wipe()
  }

  private writeE(): Uint8Array {
    this.e ??= noiseKeyPair()
    this.symmetric.mixHash(this.e.publicKey)
    return this.e.publicKey
  }

  private readE(publicKey: Uint8Array): void {
    this.re = b4a.from(publicKey)
    this.symmetric.mixHash(this.re)
  }

  /** ee, es, se: the first letter is the initiator's key, the second the responder's. */
  private mixDh(token: 'ee' | 'es' | 'se'): void {
    const [own, remote] = this.initiator ? [token[0], token[1]] : [token[1], token[0]]
    const { secretKey } = own === 'e' ? this.e! : this.s
    const shared = b4a.allocUnsafe(DH_SIZE)
    // The specification leaves it open whether the zeros that come of such keys are refused; nobody honest sends them.
    if (!x25519(shared, secretKey, (remote === 'e' ? this.re : this.rs)!)) {
      throw failure("the other side's key is a point of low order")
    }
    this.symmetric.mixKey(shared)
    shared.fill(0)
  }

  private finish(): void {
    const [first, second] = this.symmetric.split()
    this.outcome = {
      split: this.initiator ? { tx: first, rx: second } : { tx: second, rx: first },
      remotePublicKey: this.rs!,
      handshakeHash: this.symmetric.getHandshakeHash()
    }
    this.wipe()
  }

  /** The static pair is the caller's. */
  private wipe(): void {
    this.e?.secretKey.fill(0)
    this.e = null
    this.symmetric.wipe()
  }
}
