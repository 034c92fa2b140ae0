/** The stream cipher of a connection (spec WIRE §4): XSalsa20, one continuous key stream per direction. */
import b4a from 'b4a'
import sodium from 'sodium-universal'

/** Bytes of the nonce that each side announces in its handshake payload. */
export const NONCE_SIZE = 24

/** The key stream of one direction. There is no authentication: a changed byte shows up as a broken frame or proof. */
export class StreamCipher {
  private readonly handle = b4a.alloc(sodium.crypto_stream_xor_STATEBYTES)

  /**
   * @param key - split key of the direction, 32 bytes
   * @param nonce - what the sender of the direction announced, 24 bytes
   */
  constructor(key: Uint8Array, nonce: Uint8Array) {
    sodium.crypto_stream_xor_init(this.handle, nonce, key)
  }

  /** Writes `input` XOR the next bytes of the key stream to `out`, which has the same size and may be the same array. */
  update(out: Uint8Array, input: Uint8Array): void {
    if (input.byteLength > 0) sodium.crypto_stream_xor_update(this.handle, out, input)
  }

  /** Wipes the key. The cipher cannot be used any more. */
  destroy(): void {
    sodium.crypto_stream_xor_final(this.handle)
  }
}
