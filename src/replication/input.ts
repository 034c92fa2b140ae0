/** From chunks of any size to frames: what arrives is decrypted, or opened and thereby proven, on its way into the decoder. */
import b4a from 'b4a'
import type { StreamCipher } from './cipher.ts'
import type { FrameDecoder } from './frames.ts'
import { borrow, type Loan } from './loans.ts'
import type { RecordOpener } from './records.ts'

/** Bytes on their way in. */
export class Input {
  /** Key stream of the remote; null if there is none. Set before anything is pushed. */
  cipher: StreamCipher | null = null
  /** Opens the remote's records; null if it does not send any. Set before anything is pushed. */
  opener: RecordOpener | null = null
  private readonly decoder: FrameDecoder
  private readonly onclose: () => void
  private readonly chunks: { bytes: Uint8Array; loan: Loan | null }[] = []

  /**
   * @param decoder - gets the frames
   * @param onclose - the remote's last record has come
   */
  constructor(decoder: FrameDecoder, onclose: () => void) {
    this.decoder = decoder
    this.onclose = onclose
  }

  /** Whether the input stands in the middle of a message. */
  get midMessage(): boolean {
    return this.decoder.midFrame || this.opener?.midRecord === true
  }

  /**
   * Takes a chunk, which is not changed. Frames are never views on it, also where there is nothing to decrypt: they are needed longer
   * than the chunk is ours.
   */
  push(chunk: Uint8Array): void {
    if (this.opener !== null) {
      this.chunks.push({ bytes: chunk, loan: null })
      return
    }
    let rest = chunk
    // What belongs to a body that has begun is decrypted right into its place.
    const inBody = this.chunks.length === 0 ? Math.min(this.decoder.missing, chunk.length) : 0
    if (inBody > 0) {
      this.decrypt(this.decoder.claim(inBody), chunk.subarray(0, inBody))
      rest = chunk.subarray(inBody)
    }
    if (rest.length === 0) return
    const loan = borrow(rest.length)
    const bytes = loan?.bytes.subarray(0, rest.length) ?? b4a.allocUnsafe(rest.length)
    this.decrypt(bytes, rest)
    this.chunks.push({ bytes, loan })
  }

  /** Gives the decoder more, which must have used up what it had; false if there is nothing. Errors: `ERR_RECORD`. */
  refill(): boolean {
    if (this.opener !== null) return this.refillFrom(this.opener)
    const chunk = this.chunks.shift()
    if (chunk === undefined) return false
    this.decoder.write(chunk.bytes, chunk.loan)
    return true
  }

  /** Gives up what was not worked on, and wipes the keys. Nothing may be pushed any more. */
  destroy(): void {
    this.chunks.length = 0
    this.cipher?.destroy()
    this.opener?.destroy()
  }

  private decrypt(target: Uint8Array, chunk: Uint8Array): void {
    if (this.cipher === null) target.set(chunk)
    else this.cipher.update(target, chunk)
  }

  private refillFrom(opener: RecordOpener): boolean {
    let size = opener.next()
    while (size === -1) {
      const chunk = this.chunks.shift()
      if (chunk === undefined) return false
      opener.write(chunk.bytes)
      size = opener.next()
    }
    if (size === 0) {
      opener.open()
      this.onclose()
    }
    // What belongs to a body that has begun is opened right into its place.
    else if (size <= this.decoder.missing) opener.open(this.decoder.claim(size))
    else this.decoder.write(opener.open(), opener.loan)
    return true
  }
}
