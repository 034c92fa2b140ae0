import b4a from 'b4a'
import codecs from 'codecs'
import { argumentTypeError, DDatabaseError, reasonOf } from '../errors.ts'
import { isBytes, isDetached } from '../util/bytes.ts'
import { unwatched } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'

/** Turns values into blocks and back. */
export interface Codec<T = unknown> {
  /** Its name, if it has one. */
  name?: string
  /** The bytes of a value. */
  encode(value: T): Uint8Array
  /** The value of the bytes. */
  decode(block: Uint8Array): T
}

/** Names of the encodings whose values are strings. */
export type TextEncodingName =
  | 'utf-8'
  | 'utf8'
  | 'ascii'
  | 'hex'
  | 'base64'
  | 'ucs2'
  | 'ucs-2'
  | 'utf16le'
  | 'utf16-le'

/** Names of the encodings whose values are whatever JSON can say. */
export type JsonEncodingName = 'json' | 'ndjson'

/** Names of the built-in encodings (spec FORMAT §11). Unknown names count as `binary`. */
export type EncodingName = 'binary' | JsonEncodingName | TextEncodingName

/** A `valueEncoding` option: a name, or a codec for values of type `T`. */
export type ValueEncoding<T = unknown> = EncodingName | Codec<T> | (string & {})

/** An encoding for values of any type. */
// biome-ignore lint/suspicious/noExplicitAny: a codec for whatever it is for
export type AnyEncoding = ValueEncoding<any>

/** The values of an encoding; `unknown` where only running the program tells which encoding it is. */
export type EncodedValue<E> =
  E extends Codec<infer V>
    ? V
    : E extends TextEncodingName
      ? string
      : E extends JsonEncodingName
        ? unknown
        : string extends E
          ? unknown
          : Uint8Array

/** What a call may name as its encoding. */
export type ChosenEncoding = AnyEncoding | null | undefined

/** What a call with an encoding of its own answers on a feed of `T`; no encoding means that of the feed. */
export type DecodedAs<E, T> = E extends undefined | null ? T : EncodedValue<E>

/** What can be appended to a feed of `T`: where values are bytes also a string, which becomes its UTF-8 bytes. */
export type Appendable<T> = T | (T extends Uint8Array ? string : never)

/**
 * Largest block that can be appended, in bytes: its Data message with proof and signature must stay below the
 * 8 MiB limit of the wire's frames. Longer blocks that are stored already stay readable.
 */
export const MAX_BLOCK_SIZE = 8_388_608 - 4_096

/**
 * The codec of a `valueEncoding` option. `json` counts as `ndjson`, so that the data file reads as a line file.
 * Errors: TypeError `ERR_INVALID_ARG_TYPE` for what is neither a name nor a codec.
 */
export function toCodec(encoding: unknown): Codec {
  if (isGiven(encoding) && typeof encoding !== 'string') {
    // Also a function or a class may carry the two.
    const { encode, decode } = encoding as Partial<Codec>
    if (typeof encode !== 'function' || typeof decode !== 'function') {
      throw argumentTypeError('valueEncoding should be a name or an object with encode and decode')
    }
  }
  // What is no object is a name to `codecs`, and an unknown one `binary`.
  if (typeof encoding === 'function') return encoding as unknown as Codec
  return codecs(encoding === 'json' ? 'ndjson' : encoding)
}

/** Whether decoding a block is the identity. */
export function isBinary(codec: Codec): boolean {
  return codec === codecs.binary
}

/**
 * Encodes a value as a block.
 * Errors: `ERR_ENCODING` (the codec failed, or gave something that is not bytes), `ERR_BLOCK_TOO_LARGE`.
 */
export function encodeBlock(codec: Codec, value: unknown): Uint8Array {
  let block: Uint8Array
  try {
    // JSON has no text for undefined, functions and symbols; the codec would store the word "undefined".
    if (codec === codecs.ndjson && JSON.stringify(value) === undefined)
      throw new TypeError('not a JSON value')
    block = unwatched(codec.encode(value))
  } catch (error) {
    throw new DDatabaseError('ERR_ENCODING', {
      message: `The value could not be encoded: ${reasonOf(error)}`,
      cause: error
    })
  }
  if (!isBytes(block) || isDetached(block)) {
    throw new DDatabaseError('ERR_ENCODING', {
      message: 'The value could not be encoded: encode did not return bytes'
    })
  }
  if (block.length > MAX_BLOCK_SIZE) throw new DDatabaseError('ERR_BLOCK_TOO_LARGE')
  return block
}

/** Decodes a block. Errors: `ERR_DECODING` with the codec's error as cause. */
export function decodeBlock(codec: Codec, block: Uint8Array): unknown {
  try {
    // Of a run that was read ahead of its reader, most values may never be asked for.
    return unwatched(codec.decode(block))
  } catch (error) {
    throw new DDatabaseError('ERR_DECODING', {
      message: `The block could not be decoded: ${reasonOf(error)}`,
      cause: error
    })
  }
}

/** Bytes of a string in UTF-8, or a view's bytes as they are. */
export function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? b4a.from(value, 'utf-8') : value
}
