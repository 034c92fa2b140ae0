/**
 * Unsigned 64 bit big endian numbers in byte arrays, exact up to 2^53 − 1.
 * Written out by hand because they sit in the inner loop of every hash, where a DataView per call costs
 * more than the hash's own set-up.
 */

const TWO_32 = 0x1_0000_0000

/** Writes `value` (a safe integer ≥ 0) as 8 bytes at `offset`. */
export function writeUint64(target: Uint8Array, value: number, offset: number): void {
  const high = Math.floor(value / TWO_32)
  const low = value >>> 0
  target[offset] = high >>> 24
  target[offset + 1] = high >>> 16
  target[offset + 2] = high >>> 8
  target[offset + 3] = high
  target[offset + 4] = low >>> 24
  target[offset + 5] = low >>> 16
  target[offset + 6] = low >>> 8
  target[offset + 7] = low
}

/** Reads 8 bytes at `offset`. Numbers from 2^53 on come back rounded; check them with `Number.isSafeInteger`. */
export function readUint64(source: Uint8Array, offset: number): number {
  const high =
    source[offset]! * 0x1000000 +
    ((source[offset + 1]! << 16) | (source[offset + 2]! << 8) | source[offset + 3]!)
  const low =
    source[offset + 4]! * 0x1000000 +
    ((source[offset + 5]! << 16) | (source[offset + 6]! << 8) | source[offset + 7]!)
  return high * TWO_32 + low
}
