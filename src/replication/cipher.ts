/** The stream cipher of a connection (spec WIRE §4): XSalsa20, one continuous key stream per direction. */
import { XSalsa20 } from '#crypto/backend'

/** Bytes of the nonce that each side announces in its handshake payload. */
export const NONCE_SIZE = 24

/** The key stream of one direction. There is no authentication: a changed byte shows up as a broken frame or proof. */
export class StreamCipher {
  // Not the backend's class itself, because declaration files must not mention `#crypto/backend`: older resolvers of
  // TypeScript do not know `imports`.
  private readonly keyStream: XSalsa20

  /**
   * @param key - split key of the direction, 32 bytes
   * @param nonce - what the sender of the direction announced, 24 bytes
   */
  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.keyStream = new XSalsa20(key, nonce)
  }

  /** Writes `input` XOR the next bytes of the key stream to `out`, which has the same size and may be the same array. */
  update(out: Uint8Array, input: Uint8Array): void {
    this.keyStream.update(out, input)
  }

  /** Wipes the key. The cipher cannot be used any more. */
  destroy(): void {
    this.keyStream.destroy()
  }
}
