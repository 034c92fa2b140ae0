import b4a from 'b4a'
import codecs from 'codecs'
import { argumentTypeError, DDatabaseError } from '../errors.ts'

/** Turns values into blocks and back. */
export interface Codec<T = unknown> {
  name?: string
  encode(value: T): Uint8Array
  decode(block: Uint8Array): T
}

/** Names of the built-in encodings (spec FORMAT §11). Unknown names count as `binary`. */
export type EncodingName =
  | 'binary'
  | 'json'
  | 'ndjson'
  | 'utf-8'
  | 'utf8'
  | 'ascii'
  | 'hex'
  | 'base64'
  | 'ucs2'
  | 'ucs-2'
  | 'utf16le'
  | 'utf16-le'

/**
 * Largest block that can be appended, in bytes: its Data message with proof and signature must stay below the
 * 8 MiB limit of the wire's frames. Longer blocks that are stored already stay readable.
 */
export const MAX_BLOCK_SIZE = 8_388_608 - 4_096

/**
 * The codec of a `valueEncoding` option. `json` counts as `ndjson`, so that the data file reads as a line file.
 * Errors: TypeError `ERR_INVALID_ARG_TYPE` for an object that is no codec.
 */
export function toCodec(encoding: unknown): Codec {
  if (typeof encoding === 'object' && encoding !== null) {
    const { encode, decode } = encoding as Partial<Codec>
    if (typeof encode !== 'function' || typeof decode !== 'function') {
      throw argumentTypeError('valueEncoding should be a name or an object with encode and decode')
    }
  }
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
    block = codec.encode(value)
  } catch (error) {
    throw new DDatabaseError('ERR_ENCODING', {
      message: `The value could not be encoded: ${reason(error)}`,
      cause: error
    })
  }
  if (!(block instanceof Uint8Array)) {
    throw new DDatabaseError('ERR_ENCODING', {
      message: 'The value could not be encoded: encode did not return bytes'
    })
  }
  if (block.byteLength > MAX_BLOCK_SIZE) throw new DDatabaseError('ERR_BLOCK_TOO_LARGE')
  return block
}

/** Decodes a block. Errors: `ERR_DECODING` with the codec's error as cause. */
export function decodeBlock(codec: Codec, block: Uint8Array): unknown {
  try {
    return codec.decode(block)
  } catch (error) {
    throw new DDatabaseError('ERR_DECODING', {
      message: `The block could not be decoded: ${reason(error)}`,
      cause: error
    })
  }
}

/** Bytes of a string in UTF-8, or a view's bytes as they are. */
export function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? b4a.from(value, 'utf-8') : value
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
