/**
 * The frames of the checkpoint files (see `checkpoint.ts`), each with a hash over the public key and all of it: one that is torn, of
 * another feed or of an older checkpoint is not there.
 */
import b4a from 'b4a'
import { blake2bBatch } from '#crypto/backend'
import { HASH_SIZE } from '../merkle/node.ts'
import { readUint64, writeUint64 } from '../util/uint64.ts'

/** What a frame is. */
export const CHECKPOINT = 0
export const CLEARED = 1
export const TRUNCATED = 2
export const CLEAN = 3
export const TOUCHED = 4

const MAGIC = b4a.from('DDCP')
const VERSION = 1

/** Bytes in front of a payload. */
export const FRAME_HEADER = 24
/** Bytes that a frame has beside its payload. */
export const FRAME_OVERHEAD = FRAME_HEADER + HASH_SIZE

/** A frame without what proves it. */
export interface Frame {
  kind: number
  sequence: number
  payload: Uint8Array
}

/** Makes a frame of the feed with this public key. */
export function encodeFrame(key: Uint8Array, { kind, sequence, payload }: Frame): Uint8Array {
  const frame = b4a.alloc(FRAME_OVERHEAD + payload.byteLength)
  frame.set(MAGIC)
  frame[4] = kind
  frame[5] = VERSION
  writeUint64(frame, sequence, 8)
  writeUint64(frame, payload.byteLength, 16)
  frame.set(payload, FRAME_HEADER)
  const content = frame.subarray(0, FRAME_HEADER + payload.byteLength)
  frame.set(hashOf(key, content), content.byteLength)
  return frame
}

/** The frames that a file begins with: a checkpoint and its records; and where they end. Empty without a checkpoint. */
export function decodeFrames(key: Uint8Array, bytes: Uint8Array): { frames: Frame[]; end: number } {
  const frames: Frame[] = []
  let end = 0
  for (;;) {
    const frame = decodeFrame(key, bytes.subarray(end))
    if (frame === null) break
    // What follows the last record may be left of an older checkpoint.
    const fits = frames.length === 0 ? frame.kind === CHECKPOINT : frame.sequence === frames[0]!.sequence
    if (!fits || (frames.length > 0 && frame.kind === CHECKPOINT)) break
    frames.push(frame)
    end += FRAME_OVERHEAD + frame.payload.byteLength
  }
  return { frames, end }
}

/** The payload that a file seems to begin with, of whatever feed: nothing vouches for it. Null if it is shorter than `size`. */
export function claimedCheckpoint(bytes: Uint8Array, size: number): Uint8Array | null {
  if (bytes.byteLength < FRAME_OVERHEAD + size) return null
  return hasMagic(bytes) && bytes[4] === CHECKPOINT ? bytes.subarray(FRAME_HEADER) : null
}

function decodeFrame(key: Uint8Array, bytes: Uint8Array): Frame | null {
  if (bytes.byteLength < FRAME_OVERHEAD || !hasMagic(bytes)) return null
  const size = readUint64(bytes, 16)
  if (bytes[5] !== VERSION || size > bytes.byteLength - FRAME_OVERHEAD) return null
  const content = bytes.subarray(0, FRAME_HEADER + size)
  const check = bytes.subarray(content.byteLength, content.byteLength + HASH_SIZE)
  if (!b4a.equals(hashOf(key, content), check)) return null
  const sequence = readUint64(bytes, 8)
  // The next one has to be greater.
  if (!Number.isSafeInteger(sequence + 1)) return null
  return { kind: bytes[4]!, sequence, payload: content.subarray(FRAME_HEADER) }
}

function hasMagic(bytes: Uint8Array): boolean {
  return b4a.equals(bytes.subarray(0, MAGIC.byteLength), MAGIC)
}

function hashOf(key: Uint8Array, content: Uint8Array): Uint8Array {
  const hash = b4a.allocUnsafe(HASH_SIZE)
  blake2bBatch(hash, [key, content])
  return hash
}
