/**
 * Frames (spec WIRE §5): how messages lie in the byte stream.
 *
 *     frame  = varint(L) ‖ varint(header) ‖ body        L = bytes of header and body; L = 0 is a keepalive
 *     header = channel · 16 + type
 */
import b4a from 'b4a'
import { argumentRangeError, argumentTypeError, argumentValueError, DDatabaseError } from '../errors.ts'
import { isBytes, isDetached } from '../util/bytes.ts'
import { GrowingBuffer } from './growing-buffer.ts'
import { borrow, type Loan } from './loans.ts'
import { malformed, varintSize, writeVarint } from './protobuf.ts'

/** Type of the frames that carry extension messages; smaller numbers are the messages of WIRE §7. */
export const EXTENSION_TYPE = 15

const TYPES = 16
// 8 groups of 7 bits hold every safe integer.
const VARINT_SIZE = 8
// Bodies up to this size, such as a block of 64 KB with its proof, are allocated at once when they come in pieces. Larger
// ones grow with what has arrived, at the cost of a copy, because a frame's length is only a claim.
const EAGER_SIZE = 128 * 1024
const EMPTY = b4a.alloc(0)

/** Bytes of the frame of a body with `bodySize` bytes. */
export function frameSize(channel: number, type: number, bodySize: number): number {
  const length = varintSize(channel * TYPES + type) + bodySize
  return varintSize(length) + length
}

/** Writes what comes before the body at `offset` and returns the offset of the body. */
export function writeFrameHeader(
  target: Uint8Array,
  offset: number,
  channel: number,
  type: number,
  bodySize: number
): number {
  const header = channel * TYPES + type
  return writeVarint(target, writeVarint(target, offset, varintSize(header) + bodySize), header)
}

/**
 * Finds the frames in a stream that arrives in chunks of any size. Usage: `write(chunk)`, then `next()` until it is
 * false; after each true `channel`, `type` and `body` are those of the frame.
 *
 * A body that lies in one chunk is a view on it; one that spans several is collected, at a cost that is linear in what
 * arrived even if every chunk has one byte. Chunks are never changed.
 */
export class FrameDecoder {
  /** Number the sender chose for the feed; 0 for the stream itself. */
  channel = 0
  /** Message type, 0 to 15. */
  type = 0
  /** Where the encoded message is: bytes `start` … `end` − 1. (To make a view of each takes as long as to read a short one.) */
  source: Uint8Array = EMPTY
  start = 0
  end = 0
  /** The borrowed memory that it lies in, if it does, until the next call of `next`. */
  loan: Loan | null = null

  private readonly maxBody: number
  private state: 'length' | 'header' | 'body' = 'length'
  private chunk: Uint8Array = EMPTY
  private chunkLoan: Loan | null = null
  private offset = 0
  // The varint that is being read, and its bytes so far.
  private value = 0
  private factor = 1
  private consumed = 0
  // What is missing of the frame; in state `body` the size of the whole body.
  private length = 0
  private partial: GrowingBuffer | null = null
  private partialLoan: Loan | null = null
  // Of a body that was collected: given back when the next one is looked for.
  private bodyLoan: Loan | null = null

  /** @param maxBody - largest body that is accepted, in bytes */
  constructor(maxBody: number) {
    this.maxBody = maxBody
  }

  /** The encoded message. */
  get body(): Uint8Array {
    return this.source.subarray(this.start, this.end)
  }

  /** Whether the stream stands in the middle of a frame. */
  get midFrame(): boolean {
    return this.state !== 'length' || this.consumed > 0
  }

  /** Bytes that a body still lacks of which a part has arrived; 0 if the stream does not stand in such a body. */
  get missing(): number {
    return this.partial === null ? 0 : this.length - this.partial.length
  }

  /**
   * Where the next `size` bytes of the stream go, at most `missing`: writing them there instead of handing them over in a
   * chunk saves a copy. The chunk before must have been used up.
   */
  claim(size: number): Uint8Array {
    return this.partial!.claim(size)
  }

  /**
   * Hands over the next chunk. The previous one must have been used up: `next()` has returned false.
   * @param loan - the memory that it lies in, if that was borrowed; it is given back when the chunk is used up
   */
  write(chunk: Uint8Array, loan: Loan | null = null): void {
    this.chunk = chunk
    this.chunkLoan = loan
    this.offset = 0
  }

  /**
   * Goes to the next frame; false when more bytes are needed. Keepalives are passed over.
   *
   * @throws DDatabaseError `ERR_VARINT`, `ERR_FRAME_SIZE`; the decoder cannot be used any more then
   */
  next(): boolean {
    this.bodyLoan?.release()
    this.bodyLoan = null
    this.loan = null
    while (true) {
      if (this.state === 'body') return this.readBody()
      if (!this.readVarint()) return this.usedUp()
      const value = this.value
      const consumed = this.consumed
      this.value = 0
      this.factor = 1
      this.consumed = 0
      if (this.state === 'length') {
        if (value > this.maxBody + VARINT_SIZE) throw new DDatabaseError('ERR_FRAME_SIZE')
        if (value > 0) {
          this.length = value
          this.state = 'header'
        }
      } else {
        this.length -= consumed
        if (this.length < 0 || this.length > this.maxBody) throw new DDatabaseError('ERR_FRAME_SIZE')
        this.type = value % TYPES
        this.channel = (value - this.type) / TYPES
        this.state = 'body'
      }
    }
  }

  private readVarint(): boolean {
    const { chunk } = this
    const end = chunk.length
    while (this.offset < end) {
      const byte = chunk[this.offset++]!
      this.value += (byte & 127) * this.factor
      this.consumed++
      if (byte < 128) {
        if (this.value > Number.MAX_SAFE_INTEGER) throw new DDatabaseError('ERR_VARINT')
        return true
      }
      if (this.consumed === VARINT_SIZE) throw new DDatabaseError('ERR_VARINT')
      this.factor *= 128
    }
    return false
  }

  private readBody(): boolean {
    const { chunk, offset, length, partial } = this
    const available = chunk.length - offset
    if (partial === null) {
      if (available >= length) {
        this.offset = offset + length
        this.source = chunk
        this.start = offset
        this.end = this.offset
        this.loan = this.chunkLoan
        this.state = 'length'
        return true
      }
      const eager = length <= EAGER_SIZE ? length : 0
      this.partialLoan = borrow(eager)
      this.partial = new GrowingBuffer(this.partialLoan?.bytes ?? eager, length)
      this.partial.append(chunk, offset)
    } else {
      const missing = length - partial.length
      if (available >= missing) {
        this.offset = offset + missing
        partial.append(chunk, offset, this.offset)
        this.source = partial.view()
        this.start = 0
        this.end = length
        this.partial = null
        this.loan = this.partialLoan
        this.bodyLoan = this.partialLoan
        this.partialLoan = null
        this.state = 'length'
        return true
      }
      partial.append(chunk, offset)
    }
    return this.usedUp()
  }

  private usedUp(): false {
    this.chunkLoan?.release()
    this.chunkLoan = null
    this.chunk = EMPTY
    this.offset = 0
    return false
  }
}

/** Checks what is to be an extension message. Errors: TypeError, RangeError for what is no such number, or no bytes that are still there. */
export function checkExtension(id: unknown, payload: unknown): void {
  if (typeof id !== 'number') throw argumentTypeError('id should be a number')
  if (!Number.isSafeInteger(id) || id < 0) {
    throw argumentRangeError(`id should be a whole number from 0 on, got ${id}`)
  }
  if (!isBytes(payload) || isDetached(payload)) {
    throw argumentValueError('An extension message must be a Uint8Array')
  }
}

/** Id and payload of an extension message, whose body is varint(id) ‖ payload. Throws `ERR_MESSAGE_MALFORMED` without an id. */
export function splitExtension(body: Uint8Array): { id: number; payload: Uint8Array } {
  let id = 0
  let factor = 1
  const limit = Math.min(body.length, VARINT_SIZE)
  for (let i = 0; i < limit; i++) {
    const byte = body[i]!
    id += (byte & 127) * factor
    factor *= 128
    if (byte < 128 && id <= Number.MAX_SAFE_INTEGER) return { id, payload: body.subarray(i + 1) }
  }
  throw malformed('an extension message needs an id')
}
