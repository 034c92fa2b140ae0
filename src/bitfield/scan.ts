/**
 * Counting and searching bits in a byte array. Bit i is `byte[i >> 3] & (0x80 >> (i & 7))` (spec FORMAT §5.1).
 * Whole words are looked at where possible; a DataView reads them at any alignment.
 */

/** Number of one bits of a byte. */
export const ONES = new Uint8Array(256)
for (let byte = 1; byte < 256; byte++) ONES[byte] = ONES[byte >> 1]! + (byte & 1)

/** A byte with the bits of a mask set or cleared. */
export function withBits(byte: number, mask: number, value: boolean): number {
  return value ? byte | mask : byte & ~mask
}

// Below this many bytes the words are not worth a DataView.
const WORDWISE = 16

/** How many of the bits `from` … `to` − 1 are set. */
export function countOnes(bytes: Uint8Array, from: number, to: number): number {
  if (from >= to) return 0
  let at = from >> 3
  const last = (to - 1) >> 3
  const leftMask = 0xff >> (from & 7)
  const rightMask = (0xff00 >> (((to - 1) & 7) + 1)) & 0xff
  if (at === last) return ONES[bytes[at]! & leftMask & rightMask]!

  let total = ONES[bytes[at++]! & leftMask]! + ONES[bytes[last]! & rightMask]!
  if (last - at >= WORDWISE) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (; at + 4 <= last; at += 4) {
      let word = view.getInt32(at)
      word -= (word >>> 1) & 0x55555555
      word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
      total += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
    }
  }
  for (; at < last; at++) total += ONES[bytes[at]!]!
  return total
}

/** The first of the bits `from` … `to` − 1 that is `value`, or −1. */
export function findBit(bytes: Uint8Array, from: number, to: number, value: boolean): number {
  if (from >= to) return -1
  const flip = value ? 0 : 0xff
  const last = (to - 1) >> 3
  let at = from >> 3
  let byte = (bytes[at]! ^ flip) & (0xff >> (from & 7))

  if (byte === 0 && last - at > WORDWISE) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const dull = value ? 0 : -1
    at++
    while (at + 4 <= last && view.getInt32(at) === dull) at += 4
    byte = bytes[at]! ^ flip
  }
  while (byte === 0 && at < last) byte = bytes[++at]! ^ flip
  if (byte === 0) return -1
  const bit = 8 * at + Math.clz32(byte) - 24
  return bit < to ? bit : -1
}
