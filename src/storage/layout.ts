/** Where things lie in the six files (spec FORMAT §1). */
import b4a from 'b4a'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { NODE_SIZE } from '../merkle/node.ts'

/** The names of the six files, in the order in which a storage function is asked for them. */
export const FILE_NAMES = ['key', 'secret_key', 'tree', 'data', 'bitfield', 'signatures'] as const

/** Name of one of the six files. */
export type FileName = (typeof FILE_NAMES)[number]

/** Bytes in front of the first entry of `tree`, `signatures` and `bitfield`. */
export const HEADER_SIZE = 32

const MAGIC = [0x05, 0x02, 0x57] as const
const VERSION = 0

/** The three kinds of file that have a header; `code` is the header's type byte. */
export const HEADERS = {
  bitfield: { code: 0, algorithm: '' },
  signatures: { code: 1, algorithm: 'Ed25519' },
  tree: { code: 2, algorithm: 'BLAKE2b' }
} as const

/** A file that starts with a header. */
export type HeadedFile = keyof typeof HEADERS

/** The 32 header bytes: magic, type, version, entry size, algorithm name (spec FORMAT §1.1). */
export function encodeHeader(file: HeadedFile, entrySize: number): Uint8Array {
  const { code, algorithm } = HEADERS[file]
  const header = b4a.alloc(HEADER_SIZE)
  header.set(MAGIC, 0)
  header[3] = code
  header[4] = VERSION
  header[5] = entrySize >>> 8
  header[6] = entrySize
  header[7] = algorithm.length
  header.set(b4a.from(algorithm), 8)
  return header
}

/**
 * Entry size that a stored header names.
 * Errors: `ERR_HEADER_INVALID` if it is not a header of this kind of file, or names none of `entrySizes`.
 */
export function decodeHeader(file: HeadedFile, header: Uint8Array, entrySizes: readonly number[]): number {
  const entrySize = (header[5]! << 8) | header[6]!
  const expected = encodeHeader(file, entrySize)
  // The zero bytes behind the algorithm name carry no meaning and are not looked at.
  const meaning = 8 + HEADERS[file].algorithm.length
  const same =
    header.byteLength >= HEADER_SIZE && b4a.equals(header.subarray(0, meaning), expected.subarray(0, meaning))
  if (!same || !entrySizes.includes(entrySize)) {
    throw new DDatabaseError('ERR_HEADER_INVALID', {
      message: `The file "${file}" has a foreign or damaged header`
    })
  }
  return entrySize
}

/** Byte position of a tree slot. */
export function treePosition(treeIndex: number): number {
  return HEADER_SIZE + NODE_SIZE * treeIndex
}

/** Byte position of the signature slot of the feed that ends with `block`. */
export function signaturePosition(block: number): number {
  return HEADER_SIZE + SIGNATURE_SIZE * block
}

/** Whether all bytes are zero: an empty slot. */
export function isBlank(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.byteLength; i++) {
    if (bytes[i] !== 0) return false
  }
  return true
}
