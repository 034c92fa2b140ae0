/** Which blocks are present: the data bits of the bitfield file (spec FORMAT §5). */
import b4a from 'b4a'
import { argumentRangeError } from '../errors.ts'
import { fullness, SOME, updateIndex } from './index-bytes.ts'
import { BitfieldIterator } from './iterator.ts'
import { DATA_BYTES, PAGE_BLOCKS, type PageAccess } from './pages.ts'
import { encode } from './rle.ts'
import { countOnes, findBit, ONES, withBits } from './scan.ts'

/**
 * The data bits over a set of pages, committed or staged. Has no state of its own: several may look at the
 * same pages. Block numbers are safe integers ≥ 0.
 *
 * Searching and counting look at the data bits only, never at the index bytes: those are a hint, and the ones
 * of other writers can be wrong.
 */
export class Bitfield {
  #pages: PageAccess

  constructor(pages: PageAccess) {
    this.#pages = pages
  }

  /** Addressable blocks: 8 × (highest byte that ever changed + 1); after loading 8192 × pages. Not the feed's length. */
  get length(): number {
    return 8 * this.#pages.dataBytes
  }

  /** Whether the block is present. */
  get(block: number): boolean {
    const content = this.#pages.read(Math.floor(block / PAGE_BLOCKS))
    if (content === null) return false
    const bit = block & (PAGE_BLOCKS - 1)
    return (content[bit >> 3]! & (0x80 >> (bit & 7))) !== 0
  }

  /** Sets or clears one bit and updates the index bytes. Answers whether the bit changed. */
  set(block: number, value: boolean): boolean {
    const page = Math.floor(block / PAGE_BLOCKS)
    // Also a bit that stays as it is counts its page as existing, which the index update depends on.
    this.#pages.touch(page)
    const content = this.#pages.read(page)
    const bit = block & (PAGE_BLOCKS - 1)
    const at = bit >> 3
    const mask = 0x80 >> (bit & 7)
    const before = content === null ? 0 : content[at]!
    if (withBits(before, mask, value) === before) return false
    const bytes = this.#pages.write(page, at, at + 1)
    const after = withBits(bytes[at]!, mask, value)
    bytes[at] = after
    this.#changed(page * DATA_BYTES + at)
    updateIndex(this.#pages, page * DATA_BYTES + at, fullness(after))
    return true
  }

  /**
   * As {@link set} for a bit that was set the same way in the pages below a stage: the index bytes are entered also if
   * the bit itself is seen there already.
   */
  repeat(block: number, value: boolean): void {
    if (this.set(block, value)) return
    const page = Math.floor(block / PAGE_BLOCKS)
    const at = (block & (PAGE_BLOCKS - 1)) >> 3
    updateIndex(this.#pages, page * DATA_BYTES + at, fullness(this.#pages.read(page)?.[at] ?? 0))
  }

  /**
   * Sets or clears the bits `start` … `end` − 1 and answers how many changed. The pages come out exactly as if
   * {@link set} had been called for one block after the other, ascending, also if the tree bits of each block
   * were set right after its data bit (they lie in the same page). So call this before the tree bits of the
   * range are set at once.
   */
  setRange(start: number, end: number, value: boolean): number {
    if (end <= start) return 0
    const lastPage = Math.floor((end - 1) / PAGE_BLOCKS)
    // Clearing what does not exist changes nothing but the number of pages.
    const stop = value ? lastPage : Math.min(lastPage, this.#pages.length - 1)
    let total = 0
    for (let page = Math.floor(start / PAGE_BLOCKS); page <= stop; page++) {
      const first = page * PAGE_BLOCKS
      this.#pages.touch(page)
      total += this.#setInPage(page, Math.max(start - first, 0), Math.min(end - first, PAGE_BLOCKS), value)
    }
    this.#pages.touch(lastPage)
    return total
  }

  #setInPage(page: number, from: number, to: number, value: boolean): number {
    let content = this.#pages.read(page)
    if (content === null && !value) return 0
    let writable = false
    let total = 0
    const last = (to - 1) >> 3
    for (let at = from >> 3; at <= last; at++) {
      let mask = at === from >> 3 ? 0xff >> (from & 7) : 0xff
      if (at === last) mask &= (0xff00 >> (((to - 1) & 7) + 1)) & 0xff
      const before = content === null ? 0 : content[at]!
      const flips = before ^ withBits(before, mask, value)
      if (flips === 0) continue
      if (!writable) {
        content = this.#pages.write(page, at, last + 1)
        writable = true
      }
      const after = withBits(content![at]!, mask, value)
      content![at] = after
      const dataByte = page * DATA_BYTES + at
      this.#changed(dataByte)
      // Bit by bit, the byte would first become a mixed one and change the index accordingly, which can
      // correct stale ancestors that the final value alone would not reach. Further mixed values change nothing.
      const flipped = ONES[flips]!
      if (flipped > 1) updateIndex(this.#pages, dataByte, SOME)
      updateIndex(this.#pages, dataByte, fullness(after))
      total += flipped
    }
    return total
  }

  #changed(dataByte: number): void {
    if (dataByte >= this.#pages.dataBytes) this.#pages.dataBytes = dataByte + 1
  }

  /** How many blocks of `start` … `end` − 1 are present. Without `end`: to the end. */
  total(start = 0, end: number = this.length): number {
    let from = Math.max(start, 0)
    const to = Math.min(end, this.length)
    let total = 0
    while (from < to) {
      const page = Math.floor(from / PAGE_BLOCKS)
      const first = page * PAGE_BLOCKS
      const content = this.#pages.read(page)
      if (content !== null) total += countOnes(content, from - first, Math.min(to - first, PAGE_BLOCKS))
      from = first + PAGE_BLOCKS
    }
    return total
  }

  /** The first missing block of `start` … `end` − 1, or −1. Blocks beyond {@link length} are missing. */
  firstMissing(start: number, end: number): number {
    return this.#first(start, end, false)
  }

  /** The first present block of `start` … `end` − 1, or −1. */
  firstPresent(start: number, end: number): number {
    return this.#first(start, Math.min(end, this.length), true)
  }

  #first(start: number, end: number, value: boolean): number {
    let from = Math.max(start, 0)
    // A whole page that was searched in vain; pages of which all blocks are here share their memory.
    let dull: Uint8Array | null = null
    while (from < end) {
      const page = Math.floor(from / PAGE_BLOCKS)
      const first = page * PAGE_BLOCKS
      const content = this.#pages.read(page)
      if (content === null) {
        if (!value) return from
      } else if (content !== dull) {
        const bit = findBit(content, from - first, Math.min(end - first, PAGE_BLOCKS), value)
        if (bit !== -1) return first + bit
        dull = from === first && end - first >= PAGE_BLOCKS ? content : null
      }
      from = first + PAGE_BLOCKS
    }
    return -1
  }

  /**
   * Walks the missing blocks of `start` … `end` − 1 (without `end`: of the length at this moment).
   *
   * @param random - source of numbers in [0, 1) for {@link BitfieldIterator.random}
   */
  iterator(start = 0, end: number = this.length, random: () => number = Math.random): BitfieldIterator {
    return new BitfieldIterator(this, start, end, random)
  }

  /**
   * The bits `start` … `end` − 1 packed into bytes. `start` must be a multiple of 8 (RangeError
   * `ERR_OUT_OF_RANGE`); an `end` that is not takes the rest of its byte along.
   */
  toBytes(start: number, end: number): Uint8Array {
    if (start % 8 !== 0) throw argumentRangeError('A window of the bitfield must start at a multiple of 8')
    const from = start / 8
    const to = Math.max(from, Math.ceil(end / 8))
    const bytes = b4a.alloc(to - from)
    let at = from
    while (at < to) {
      const page = Math.floor(at / DATA_BYTES)
      const first = page * DATA_BYTES
      const next = Math.min(to, first + DATA_BYTES)
      const content = this.#pages.read(page)
      if (content !== null) bytes.set(content.subarray(at - first, next - first), at - from)
      at = next
    }
    return bytes
  }

  /**
   * The window of `length` blocks from `start` (a multiple of 8) on, cut at the end of this bitfield and run
   * length encoded, as it goes into a Have message (spec WIRE §11.2). `compress(0, 0)` is the whole bitfield.
   * Takes memory for the window, so bound `length` before.
   */
  compress(start: number, length: number): Uint8Array {
    const whole = start === 0 && length === 0
    const end = whole ? this.length : Math.min(start + length, this.length)
    return encode(this.toBytes(start, end))
  }
}
