/** Bits of a page, a power of two. */
const PAGE_BITS = 8192

/**
 * A sparse set of numbers in memory: a page of 1 KB for each 8192 numbers of which one was ever added. Numbers are safe
 * integers ≥ 0.
 */
export class BitPages {
  readonly #pages = new Map<number, Uint8Array>()
  // The page asked for last; most questions are about its numbers.
  #recent: Uint8Array | null = null
  #recentNumber = -1

  /** Whether a number is in the set. */
  has(number: number): boolean {
    const page = this.#page(Math.floor(number / PAGE_BITS))
    if (page === null) return false
    const bit = number & (PAGE_BITS - 1)
    return (page[bit >> 3]! & (0x80 >> (bit & 7))) !== 0
  }

  /** Adds a number. */
  add(number: number): void {
    const bit = number & (PAGE_BITS - 1)
    const page = this.#made(Math.floor(number / PAGE_BITS))
    page[bit >> 3]! |= 0x80 >> (bit & 7)
  }

  /** Adds the numbers `start` … `end` − 1. */
  addRange(start: number, end: number): void {
    for (let at = start; at < end; ) {
      const number = Math.floor(at / PAGE_BITS)
      const first = number * PAGE_BITS
      const to = Math.min(end, first + PAGE_BITS)
      fill(this.#made(number), at - first, to - first, true)
      at = to
    }
  }

  /** Removes the numbers `start` … `end` − 1; `end` may be infinite. */
  deleteRange(start: number, end: number): void {
    for (const [number, page] of this.#pages) {
      const first = number * PAGE_BITS
      const from = Math.max(start, first)
      const to = Math.min(end, first + PAGE_BITS)
      if (from < to) fill(page, from - first, to - first, false)
    }
  }

  /** The first of the numbers `start` … `end` − 1 that is not in the set, or −1. */
  firstMissing(start: number, end: number): number {
    for (let at = start; at < end; ) {
      const number = Math.floor(at / PAGE_BITS)
      const page = this.#page(number)
      if (page === null) return at
      const bit = at & (PAGE_BITS - 1)
      const byte = page[bit >> 3]!
      if (byte === 0xff) at += 8 - (bit & 7)
      else if ((byte & (0x80 >> (bit & 7))) === 0) return at
      else at++
    }
    return -1
  }

  #page(number: number): Uint8Array | null {
    if (number === this.#recentNumber) return this.#recent
    this.#recentNumber = number
    this.#recent = this.#pages.get(number) ?? null
    return this.#recent
  }

  #made(number: number): Uint8Array {
    let page = this.#page(number)
    if (page === null) {
      page = new Uint8Array(PAGE_BITS / 8)
      this.#pages.set(number, page)
      this.#recent = page
    }
    return page
  }
}

/** Sets or clears the bits `from` … `to` − 1 of a page; from < to. */
function fill(page: Uint8Array, from: number, to: number, value: boolean): void {
  let at = from
  while (at < to) {
    if ((at & 7) === 0 && to - at >= 8) {
      const bytes = (to - at) >> 3
      page.fill(value ? 0xff : 0, at >> 3, (at >> 3) + bytes)
      at += 8 * bytes
      continue
    }
    const mask = 0x80 >> (at & 7)
    const before = page[at >> 3]!
    page[at >> 3] = value ? before | mask : before & ~mask
    at++
  }
}
