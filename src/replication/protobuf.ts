/**
 * Fields of protobuf messages, on the primitives of `protocol-buffers-encodings`: sizes and writers for what we send,
 * and a strict reader for what a remote sent. The reader trusts nothing: the library's decoders would silently cut byte
 * fields that announce too much, follow a varint of any length, and round numbers from 2^53 on.
 */
import encodings from 'protocol-buffers-encodings'
import { argumentRangeError, argumentTypeError, argumentValueError, DDatabaseError } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5

// 64 bits in groups of 7. Numbers are at most 2^53 − 1, but padded varints and unknown fields may be longer.
const VARINT_SIZE = 10

/** Bytes of the varint of `value`, a safe integer ≥ 0. */
export function varintSize(value: number): number {
  return value < 128 ? 1 : encodings.varint.encodingLength(value)
}

/** Writes `value` as a varint at `offset` and returns the offset behind it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  if (value < 128) {
    target[offset] = value
    return offset + 1
  }
  encodings.varint.encode(value, target, offset)
  return offset + encodings.varint.encode.bytes
}

/** Bytes of a number field with a field number below 16; throws a RangeError if `value` is not a safe integer ≥ 0. */
export function uintFieldSize(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw argumentRangeError(`${name} must be a safe integer from 0 on, got ${String(value)}`)
  }
  return 1 + varintSize(value)
}

/** Writes a number field and returns the offset behind it. */
export function writeUintField(target: Uint8Array, offset: number, field: number, value: number): number {
  target[offset] = (field << 3) | VARINT
  return writeVarint(target, offset + 1, value)
}

/** Bytes of a boolean field. */
export const BOOL_FIELD_SIZE = 2

/** Writes a boolean field and returns the offset behind it. */
export function writeBoolField(
  target: Uint8Array,
  offset: number,
  field: number,
  value: boolean | number
): number {
  target[offset] = (field << 3) | VARINT
  encodings.bool.encode(value, target, offset + 1)
  return offset + BOOL_FIELD_SIZE
}

/** Bytes of a byte field; throws a TypeError if `value` is no byte array or has not the `size` asked for. */
export function bytesFieldSize(name: string, value: Uint8Array, size?: number): number {
  // What has no exact size may be text, too.
  if (!isBytes(value) && (size !== undefined || typeof value !== 'string')) {
    throw argumentTypeError(`${name} must be a Uint8Array`)
  }
  if (size !== undefined && value.length !== size) {
    throw argumentValueError(`${name} must have ${size} bytes, got ${value.length}`)
  }
  if (typeof value === 'string') return 1 + encodings.bytes.encodingLength(value)
  return 1 + varintSize(value.length) + value.length
}

/** Writes a byte field and returns the offset behind it. */
export function writeBytesField(
  target: Uint8Array,
  offset: number,
  field: number,
  value: Uint8Array
): number {
  if (typeof value === 'string') {
    target[offset] = (field << 3) | BYTES
    encodings.bytes.encode(value, target, offset + 1)
    return offset + 1 + encodings.bytes.encode.bytes
  }
  // The library looks four times whether these are bytes.
  const start = writeNested(target, offset, field, value.length)
  target.set(value, start)
  return start + value.length
}

/** Bytes of a string field. */
export function stringFieldSize(value: string): number {
  return 1 + encodings.string.encodingLength(value)
}

/** Writes a string field and returns the offset behind it. */
export function writeStringField(target: Uint8Array, offset: number, field: number, value: string): number {
  target[offset] = (field << 3) | BYTES
  encodings.string.encode(value, target, offset + 1)
  return offset + 1 + encodings.string.encode.bytes
}

/** Writes the tag and the length of a nested message and returns the offset where it starts. */
export function writeNested(target: Uint8Array, offset: number, field: number, length: number): number {
  target[offset] = (field << 3) | BYTES
  return writeVarint(target, offset + 1, length)
}

/** The error of a message that breaks the encoding. */
export function malformed(detail: string): DDatabaseError {
  return new DDatabaseError('ERR_MESSAGE_MALFORMED', { message: `The message is malformed: ${detail}` })
}

/**
 * Walks over the fields of one message: `begin`, then `while (next())` one of the value methods or `skip` for each
 * `field`. Throws DDatabaseErrors (`ERR_MESSAGE_MALFORMED`, `ERR_LIMIT`) and nothing else. A reader can be reused, but
 * not while it is in use.
 */
export class FieldReader {
  /** Number of the current field. */
  field = 0
  private type = 0
  private source!: Uint8Array
  private offset = 0
  private end = 0
  private fieldsLeft = 0

  /** Starts with the bytes of `source` from `start` up to `end`; `fields` is how many fields are accepted. */
  begin(source: Uint8Array, start: number, end: number, fields: number): void {
    this.source = source
    this.offset = start
    this.end = end
    this.fieldsLeft = fields
  }

  /** Goes to the next field; false at the end of the message. */
  next(): boolean {
    if (this.offset === this.end) return false
    if (this.fieldsLeft-- === 0) {
      throw new DDatabaseError('ERR_LIMIT', { message: 'The message has more fields than allowed' })
    }
    const tag = this.varint()
    this.type = tag % 8
    this.field = (tag - this.type) / 8
    if (this.field === 0) throw malformed('there is no field 0')
    return true
  }

  /** A number: a safe integer ≥ 0. */
  uint(): number {
    if (this.type !== VARINT) throw this.wrongType()
    return this.varint()
  }

  /** A boolean: any number but 0 is true. */
  bool(): boolean {
    return this.uint() !== 0
  }

  /** A byte array: a view, of exactly `size` bytes if that is given. */
  bytes(size?: number): Uint8Array {
    const length = this.length()
    if (size !== undefined && length !== size) {
      throw malformed(`field ${this.field} has ${length} bytes instead of ${size}`)
    }
    const start = this.offset
    this.offset = start + length
    return this.source.subarray(start, this.offset)
  }

  /** A string of at most `limit` bytes. */
  string(limit: number): string {
    const start = this.offset
    const length = this.length()
    if (length > limit) {
      throw new DDatabaseError('ERR_LIMIT', {
        message: `A name in the message is longer than ${limit} bytes`
      })
    }
    this.offset += length
    return encodings.string.decode(this.source, start)
  }

  /** A nested message, to be walked over by `reader`. */
  nested(reader: FieldReader, fields: number): void {
    const length = this.length()
    reader.begin(this.source, this.offset, this.offset + length, fields)
    this.offset += length
  }

  /** Passes over a field that is not known. */
  skip(): void {
    switch (this.type) {
      case VARINT:
        this.offset = this.varintEnd()
        break
      case FIXED64:
        this.advance(8)
        break
      case BYTES:
        this.advance(this.length())
        break
      case FIXED32:
        this.advance(4)
        break
      default:
        throw malformed(`field ${this.field} has the wire type ${this.type}`)
    }
  }

  private length(): number {
    if (this.type !== BYTES) throw this.wrongType()
    const length = this.varint()
    if (length > this.end - this.offset) {
      throw malformed(`field ${this.field} announces ${length} bytes, ${this.end - this.offset} are left`)
    }
    return length
  }

  private varint(): number {
    const first = this.source[this.offset]!
    if (first < 128 && this.offset < this.end) {
      this.offset++
      return first
    }
    const end = this.varintEnd()
    const value = encodings.varint.decode(this.source, this.offset)
    if (!Number.isSafeInteger(value)) throw malformed('a number is 2^53 or more')
    this.offset = end
    return value
  }

  private varintEnd(): number {
    const limit = Math.min(this.end, this.offset + VARINT_SIZE)
    for (let i = this.offset; i < limit; i++) {
      if (this.source[i]! < 128) return i + 1
    }
    throw malformed('a varint does not end')
  }

  private advance(size: number): void {
    if (size > this.end - this.offset) throw malformed(`field ${this.field} is cut off`)
    this.offset += size
  }

  private wrongType(): DDatabaseError {
    return malformed(`field ${this.field} has the wire type ${this.type}`)
  }
}
