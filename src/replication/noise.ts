/**
 * The handshake (spec WIRE §3): Noise_XX_25519_ChaChaPoly_BLAKE2b as in the Noise specification, revision 34.
 *
 *     → e
 *     ← e, ee, s, es
 *     → s, se
 *
 * Synchronous and without input or output; `handshake.ts` moves the messages.
 */
import b4a from 'b4a'
import Noise from 'noise-handshake'
import type { Split } from '../crypto/capability.ts'
import type { KeyPair } from '../crypto/keys.ts'

const PROLOGUE = b4a.alloc(0)

/** Shortest second message: e, the encrypted s, and the tag of an empty payload. */
export const SECOND_MESSAGE_SIZE = 32 + 48 + 16

/** What a finished handshake leaves behind. */
export interface HandshakeResult {
  /** Keys of the two directions, 32 bytes each. */
  split: Split
  /** Static key of the other side. */
  remotePublicKey: Uint8Array
  /** Identifies the session, 64 bytes, the same on both sides. */
  handshakeHash: Uint8Array
}

/** One side of one handshake. */
export class NoiseHandshake {
  private readonly noise: Noise

  /**
   * @param initiator - whether this side sends the first message
   * @param keyPair - static X25519 pair
   * @param ephemeral - only to repeat a recorded handshake: the pair that is made at random otherwise
   */
  constructor(initiator: boolean, keyPair: KeyPair, ephemeral?: KeyPair) {
    this.noise = new Noise('XX', initiator, keyPair)
    this.noise.initialise(PROLOGUE)
    if (ephemeral !== undefined) {
      // The library wipes this pair at the end; the caller's must stay as it is.
      this.noise.e = { publicKey: b4a.from(ephemeral.publicKey), secretKey: b4a.from(ephemeral.secretKey) }
    }
  }

  /** Static key of the other side; null until it is known: after message 2 (initiator) or 3 (responder). */
  get remotePublicKey(): Uint8Array | null {
    return this.noise.rs
  }

  /** Result, null until the last message was sent or received. */
  get result(): HandshakeResult | null {
    const { tx, rx, hash, rs } = this.noise
    if (tx === null || rx === null || hash === null || rs === null) return null
    // The keys are views on larger arrays with secrets in them.
    return { split: { tx: b4a.from(tx), rx: b4a.from(rx) }, remotePublicKey: rs, handshakeHash: hash }
  }

  /** Makes the next message. */
  send(payload: Uint8Array): Uint8Array {
    return this.noise.send(payload)
  }

  /** Takes the other side's next message and returns its payload. Throws if the message is not valid: then all is over. */
  recv(message: Uint8Array): Uint8Array {
    // The library keeps views on the message and wipes them later.
    return this.noise.recv(b4a.from(message))
  }
}
