/**
 * The index bytes of the bitfield file (spec FORMAT §5.3). They are kept up to date because the published
 * packages search by them and because equal operations shall give equal files; nothing here reads them.
 *
 * Index byte k lies in page ⌊k / S⌋, S = pageSize − 3072, and all of them together are an in-order tree: leaf
 * 2q has two bits for each of the data bytes 4q … 4q+3, a parent has four bits for each of its children.
 */
import { INDEX_OFFSET, type PageAccess } from './pages.ts'

/** What two index bits say about the data bits they stand for. */
export const NONE = 0
export const SOME = 1
export const ALL = 3
export type Fullness = typeof NONE | typeof SOME | typeof ALL

/** The two index bits of a data byte. */
export function fullness(dataByte: number): Fullness {
  return dataByte === 0xff ? ALL : dataByte === 0 ? NONE : SOME
}

// The four bits that a parent keeps of a child byte: each nibble condensed to two bits.
const CONDENSED = new Uint8Array(256)
for (let byte = 0; byte < 256; byte++) {
  CONDENSED[byte] = (condenseNibble(byte >> 4) << 2) | condenseNibble(byte & 15)
}

function condenseNibble(nibble: number): Fullness {
  return nibble === 15 ? ALL : nibble === 0 ? NONE : SOME
}

/**
 * Enters that data byte `dataByte` (counted over all pages) is now `state`, and follows the change upward
 * until a byte stays as it is or lies beyond the pages that exist. Stopping there, even though a further
 * ancestor may exist again, is part of the format: such ancestors keep an older, too small value.
 *
 * Cost: at most 2 + log2 of the number of leaves steps, mostly one or two.
 */
export function updateIndex(pages: PageAccess, dataByte: number, state: Fullness): void {
  const size = pages.pageSize - INDEX_OFFSET // a power of two for both page sizes
  const limit = pages.length * size
  const field = dataByte & 3
  const shift = 6 - 2 * field
  let offset = (dataByte - field) / 4
  let index = 2 * offset
  let factor = 2 // 2^(depth + 1): the distance of neighbours at this depth
  let byte = (indexByte(pages, index, size) & ~(3 << shift)) | (state << shift)

  while (index < limit) {
    const at = index & (size - 1)
    const page = (index - at) / size
    const content = pages.whole(page)
    if ((content === null ? 0 : content[INDEX_OFFSET + at]) === byte) return
    pages.write(page, INDEX_OFFSET + at, INDEX_OFFSET + at + 1)[INDEX_OFFSET + at] = byte

    if ((offset & 1) === 0) {
      byte = (CONDENSED[byte]! << 4) | CONDENSED[indexByte(pages, index + factor, size)]!
      index += factor / 2
      offset /= 2
    } else {
      byte = (CONDENSED[indexByte(pages, index - factor, size)]! << 4) | CONDENSED[byte]!
      index -= factor / 2
      offset = (offset - 1) / 2
    }
    factor *= 2
  }
}

/** Index byte `index`; 0 where there is no page. */
function indexByte(pages: PageAccess, index: number, size: number): number {
  const at = index & (size - 1)
  const content = pages.whole((index - at) / size)
  return content === null ? 0 : content[INDEX_OFFSET + at]!
}
