/**
 * Records: the authenticated transport between peers of this package (docs/protocol.md, "Records"). Frames are sent in
 * pieces, each sealed with ChaCha20-Poly1305 under a counter, so that nothing can be changed, left out, repeated or
 * moved without being noticed before any of it is looked at.
 *
 *     record = size (3 bytes, little endian) ‖ the sealed bytes ‖ tag (16 bytes)
 *
 * `size` is that of the bytes without the tag, and is authenticated along. A record of size 0 is the last of its direction.
 */
import b4a from 'b4a'
import { AEAD_TAG_SIZE, aeadDecrypt, aeadEncrypt, blake2bBatch } from '#crypto/backend'
import { DDatabaseError } from '../errors.ts'
import { borrow, type Loan } from './loans.ts'

/** Number by which peers call this transport in the handshake. */
export const RECORD_TRANSPORT = 1

/** Bytes in front of what is sealed. */
export const RECORD_HEADER_SIZE = 3

/**
 * Most bytes that one record seals, and that a receiver keeps unproven. A block of 64 KB with its proof fits: where it takes
 * two records it has to be copied at both ends, which costs as much as half of the sealing.
 */
export const MAX_RECORD_SIZE = 128 * 1024

/** Bytes that a record has beside what it seals. */
export const RECORD_OVERHEAD = RECORD_HEADER_SIZE + AEAD_TAG_SIZE

const LABEL = b4a.from('ddatabase authenticated transport 1')
const KEY_SIZE = 32
const NONCE_SIZE = 12
const TWO_32 = 0x1_0000_0000
const EMPTY = b4a.alloc(0)

/**
 * The key of one direction: BLAKE2b-256, keyed with the split key of the direction, over (label ‖ handshake hash).
 *
 * @param splitKey - 32 bytes
 * @param handshakeHash - 64 bytes
 */
export function recordKey(splitKey: Uint8Array, handshakeHash: Uint8Array): Uint8Array {
  const key = b4a.alloc(KEY_SIZE)
  blake2bBatch(key, [LABEL, handshakeHash], splitKey)
  return key
}

/** Key and counter of one direction. */
class RecordCipher {
  protected readonly key: Uint8Array
  protected readonly header = b4a.alloc(RECORD_HEADER_SIZE)
  // Records so far. 2^53 would take centuries at a million a second, so no nonce comes twice, and no new keys are needed.
  protected count = 0
  private readonly nonce = b4a.alloc(NONCE_SIZE)
  private readonly view = new DataView(this.nonce.buffer, this.nonce.byteOffset, NONCE_SIZE)

  /** @param key - of {@link recordKey}; it is wiped by `destroy` */
  constructor(key: Uint8Array) {
    this.key = key
  }

  /** Wipes the key. */
  destroy(): void {
    this.key.fill(0)
  }

  /** As in Noise: 4 bytes of zeros and the number of the record, little endian. */
  protected nonceOf(record: number): Uint8Array {
    this.view.setUint32(4, record >>> 0, true)
    this.view.setUint32(8, Math.floor(record / TWO_32), true)
    return this.nonce
  }
}

/** Seals what one side sends. */
export class RecordSealer extends RecordCipher {
  /** Bytes that the records of `size` bytes have more than these. */
  overhead(size: number): number {
    return Math.ceil(size / MAX_RECORD_SIZE) * RECORD_OVERHEAD
  }

  /**
   * Makes records in place and returns them: of the bytes from `RECORD_HEADER_SIZE` up to `end`, at least one. Behind them there is
   * room for the overhead.
   */
  seal(bytes: Uint8Array, end: number): Uint8Array {
    const size = end - RECORD_HEADER_SIZE
    const last = Math.ceil(size / MAX_RECORD_SIZE) - 1
    // From the last to the first, because each moves to the right, into the room of those behind it.
    for (let record = last; record >= 0; record--) {
      const from = RECORD_HEADER_SIZE + record * MAX_RECORD_SIZE
      const length = Math.min(MAX_RECORD_SIZE, end - from)
      const start = record * (MAX_RECORD_SIZE + RECORD_OVERHEAD)
      if (record > 0) bytes.copyWithin(start + RECORD_HEADER_SIZE, from, from + length)
      this.sealAt(bytes, start, length, this.count + record)
    }
    this.count += last + 1
    return bytes.subarray(0, size + this.overhead(size))
  }

  /** The last record. */
  close(): Uint8Array {
    const bytes = b4a.allocUnsafe(RECORD_OVERHEAD)
    this.sealAt(bytes, 0, 0, this.count++)
    return bytes
  }

  private sealAt(bytes: Uint8Array, start: number, length: number, record: number): void {
    const { header } = this
    header[0] = length
    header[1] = length >>> 8
    header[2] = length >>> 16
    bytes.set(header, start)
    const from = start + RECORD_HEADER_SIZE
    const end = from + length
    aeadEncrypt(
      bytes.subarray(from, end + AEAD_TAG_SIZE),
      bytes.subarray(from, end),
      header,
      this.nonceOf(record),
      this.key
    )
  }
}

/**
 * Opens what the other side sealed and what arrives in chunks of any size. Usage: `write(chunk)`, then `next()` until it
 * is −1; after each other answer `open`. Chunks are never changed. No more than one record is kept that is not proven.
 */
export class RecordOpener extends RecordCipher {
  /** Whether the other side's last record has come. */
  closed = false
  /** The borrowed memory that the record opened last lies in, if it does; it is for whoever opened it to give back. */
  loan: Loan | null = null
  private chunk: Uint8Array = EMPTY
  private offset = 0
  private headerLength = 0
  /** Bytes of the current record without its header, once that is complete. */
  private length = 0
  /** A record that spans chunks, as far as it has come. */
  private partial: Uint8Array | null = null
  private partialLoan: Loan | null = null
  private filled = 0

  /** Whether the input stands in the middle of a record. */
  get midRecord(): boolean {
    return this.headerLength > 0
  }

  /** Hands over the next chunk. The previous one must have been used up: `next()` has answered −1. */
  write(chunk: Uint8Array): void {
    this.chunk = chunk
    this.offset = 0
  }

  /**
   * How many bytes the next record seals; −1 if more input is needed.
   *
   * @throws DDatabaseError `ERR_RECORD` for a size that no record has, and for anything behind the last one
   */
  next(): number {
    const { chunk, header } = this
    if (this.headerLength < RECORD_HEADER_SIZE) {
      if (this.closed && this.offset < chunk.length) throw new DDatabaseError('ERR_RECORD')
      while (this.headerLength < RECORD_HEADER_SIZE) {
        if (this.offset === chunk.length) return this.usedUp()
        header[this.headerLength++] = chunk[this.offset++]!
      }
      const size = header[0]! + header[1]! * 0x100 + header[2]! * 0x10000
      if (size > MAX_RECORD_SIZE) throw new DDatabaseError('ERR_RECORD')
      this.length = size + AEAD_TAG_SIZE
    }
    const available = chunk.length - this.offset
    if (this.partial === null) {
      if (available >= this.length) return this.length - AEAD_TAG_SIZE
      if (available === 0) return this.usedUp()
      this.partialLoan = borrow(this.length)
      this.partial = this.partialLoan?.bytes.subarray(0, this.length) ?? b4a.allocUnsafe(this.length)
      this.filled = 0
    }
    const taken = Math.min(available, this.length - this.filled)
    this.partial.set(chunk.subarray(this.offset, this.offset + taken), this.filled)
    this.filled += taken
    this.offset += taken
    return this.filled === this.length ? this.length - AEAD_TAG_SIZE : this.usedUp()
  }

  /**
   * Opens the record that `next` found, into `target` if that is given, which has its size, else into memory of its own, and
   * returns the bytes.
   *
   * @throws DDatabaseError `ERR_RECORD` if it is not the very record that was sent as the next one; `target` holds nothing
   * of use then, and the opener cannot be used any more
   */
  open(target?: Uint8Array): Uint8Array {
    const { length, partial, offset } = this
    const size = length - AEAD_TAG_SIZE
    let sealed: Uint8Array
    let plain: Uint8Array
    this.loan = null
    if (partial === null) {
      this.offset = offset + length
      sealed = this.chunk.subarray(offset, this.offset)
      if (target === undefined) this.loan = borrow(size)
      plain = target ?? this.loan?.bytes.subarray(0, size) ?? b4a.allocUnsafe(size)
    } else {
      // It is ours, so it can be opened where it is.
      sealed = partial
      plain = target ?? partial.subarray(0, size)
      if (target === undefined) this.loan = this.partialLoan
      this.partial = null
    }
    if (!aeadDecrypt(plain, sealed, this.header, this.nonceOf(this.count++), this.key)) {
      throw new DDatabaseError('ERR_RECORD')
    }
    if (this.loan !== this.partialLoan) this.partialLoan?.release()
    this.partialLoan = null
    this.headerLength = 0
    if (size === 0) this.closed = true
    return plain
  }

  private usedUp(): number {
    this.chunk = EMPTY
    this.offset = 0
    return -1
  }
}
