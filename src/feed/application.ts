import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError, reasonOf } from '../errors.ts'
import type { Peer } from '../replication/peer.ts'
import { isBytes } from '../util/bytes.ts'
import { type CryptoHooks, DEFAULT_CRYPTO, type WriteHook } from './options.ts'

/**
 * The application's functions that a feed asks and waits for: the `onwrite` hook, the signer and the verifier. They
 * may take their time, call the feed, or never answer. So nothing of the feed is held while one is asked, and closing
 * ends the calls that still wait ({@link end}).
 */
export class Application {
  /** Whether there is an `onwrite` hook. */
  readonly hooked: boolean
  /** Whether signing and verifying are the application's own, and not over when they return. */
  readonly ownCrypto: boolean
  private readonly onwrite: WriteHook | null
  private readonly crypto: CryptoHooks
  private readonly waiting = new Set<(error: Error) => void>()
  private ended: Error | null = null

  constructor(crypto: CryptoHooks, onwrite: WriteHook | null) {
    this.crypto = crypto
    this.onwrite = onwrite
    this.hooked = onwrite !== null
    this.ownCrypto = crypto !== DEFAULT_CRYPTO
  }

  /** Asks the hook, if there is one, whether a block may be stored. Errors: what it says, `ERR_FEED_CLOSED`. */
  async beforeWrite(index: number, data: unknown, peer: Peer | null): Promise<void> {
    const { onwrite } = this
    if (onwrite !== null) await this.ask<void>((callback) => onwrite(index, data, peer, callback))
  }

  /** As {@link beforeWrite} for all values of an append. Fails, if at all, when all are answered, with the last error. */
  async beforeAppend(start: number, values: readonly unknown[]): Promise<void> {
    let failure: unknown = null
    const asked = values.map((value, i) => this.beforeWrite(start + i, value, null))
    for (const result of await Promise.allSettled(asked)) {
      if (result.status === 'rejected') failure = result.reason
    }
    if (failure !== null) throw failure
  }

  /** Signs a head of 40 bytes. Errors: `ERR_SIGNING`, `ERR_FEED_CLOSED`. */
  async sign(message: Uint8Array, secretKey: Uint8Array): Promise<Uint8Array> {
    let signature: Uint8Array | undefined
    try {
      if (!this.ownCrypto) this.crypto.sign(message, secretKey, (_, value) => (signature = value))
      else signature = await this.ask((callback) => this.crypto.sign(message, secretKey, callback))
    } catch (cause) {
      throw this.failure('ERR_SIGNING', 'signer', cause)
    }
    if (!isBytes(signature) || signature.byteLength !== SIGNATURE_SIZE) {
      throw new DDatabaseError('ERR_SIGNING', { message: 'The signer did not give a signature of 64 bytes' })
    }
    return signature
  }

  /** Checks a signature. Errors: `ERR_VERIFYING`, `ERR_FEED_CLOSED`. */
  async verify(message: Uint8Array, signature: Uint8Array, key: Uint8Array): Promise<boolean> {
    try {
      if (!this.ownCrypto) {
        let valid: boolean | undefined
        this.crypto.verify(message, signature, key, (_, value) => (valid = value))
        return valid === true
      }
      return await this.ask<boolean>((callback) => this.crypto.verify(message, signature, key, callback))
    } catch (cause) {
      throw this.failure('ERR_VERIFYING', 'verifier', cause)
    }
  }

  /** Ends the calls that wait for the application with `error`. From now on only answers that come at once count. */
  end(error: Error): void {
    this.ended = error
    for (const reject of this.waiting) reject(error)
    this.waiting.clear()
  }

  private ask<V>(start: (callback: (error?: Error | null, value?: V) => void) => void): Promise<V> {
    return new Promise((resolve, reject) => {
      this.waiting.add(reject)
      const answer = (error: unknown, value?: V): void => {
        this.waiting.delete(reject)
        if (error) reject(error)
        else resolve(value as V)
      }
      try {
        start(answer)
      } catch (error) {
        answer(error)
      }
      if (this.ended !== null) answer(this.ended)
    })
  }

  private failure(code: 'ERR_SIGNING' | 'ERR_VERIFYING', who: string, cause: unknown): unknown {
    if (cause === this.ended && this.ended !== null) return cause
    const reason = reasonOf(cause)
    return new DDatabaseError(code, { message: `The ${who} failed: ${reason}`, cause })
  }
}
