/** Bits of a page, a power of two. */
const PAGE_BITS = 8192

/** A page with more numbers than this is a bitmap. */
const MOST_LISTED = 24

/** The bits of a page: a bitmap of 1 KB, or, of one with few, the list of them in no order. */
type Page = Uint8Array | number[]

/**
 * A sparse set of numbers in memory. It takes some hundred bytes where a few are near each other, and 1 KB for each 8192
 * numbers of which there are many. Numbers are safe integers ≥ 0.
 */
export class BitPages {
  readonly #pages = new Map<number, Page>()
  // The page asked for last; most questions are about its numbers.
  #recent: Page | null = null
  #recentNumber = -1

  /** Whether a number is in the set. */
  has(number: number): boolean {
    const page = this.#page(Math.floor(number / PAGE_BITS))
    return page !== null && hasBit(page, number & (PAGE_BITS - 1))
  }

  /** Adds a number. */
  add(number: number): void {
    const at = Math.floor(number / PAGE_BITS)
    const bit = number & (PAGE_BITS - 1)
    const page = this.#page(at)
    if (page === null) this.#put(at, [bit])
    else if (page instanceof Uint8Array) page[bit >> 3]! |= 0x80 >> (bit & 7)
    else if (page.includes(bit)) return
    else if (page.length < MOST_LISTED) page.push(bit)
    else this.#bitmap(at)[bit >> 3]! |= 0x80 >> (bit & 7)
  }

  /** Removes a number. */
  delete(number: number): void {
    const bit = number & (PAGE_BITS - 1)
    const page = this.#page(Math.floor(number / PAGE_BITS))
    if (page === null) return
    if (page instanceof Uint8Array) page[bit >> 3]! &= ~(0x80 >> (bit & 7))
    else if (page.includes(bit)) page.splice(page.indexOf(bit), 1)
  }

  /** Adds the numbers `start` … `end` − 1. */
  addRange(start: number, end: number): void {
    for (let at = start; at < end; ) {
      const number = Math.floor(at / PAGE_BITS)
      const first = number * PAGE_BITS
      const to = Math.min(end, first + PAGE_BITS)
      if (to - at <= 2) for (let one = at; one < to; one++) this.add(one)
      else fill(this.#bitmap(number), at - first, to - first, true)
      at = to
    }
  }

  /** Removes the numbers `start` … `end` − 1; `end` may be infinite. */
  deleteRange(start: number, end: number): void {
    for (const [number, page] of this.#pages) {
      const first = number * PAGE_BITS
      const from = Math.max(start, first) - first
      const to = Math.min(end, first + PAGE_BITS) - first
      if (from >= to) continue
      if (page instanceof Uint8Array) fill(page, from, to, false)
      else
        this.#put(
          number,
          page.filter((bit) => bit < from || bit >= to)
        )
    }
  }

  /** The first of the numbers `start` … `end` − 1 that is not in the set, or −1. */
  firstMissing(start: number, end: number): number {
    for (let at = start; at < end; ) {
      const page = this.#page(Math.floor(at / PAGE_BITS))
      if (page === null) return at
      const bit = at & (PAGE_BITS - 1)
      if (page instanceof Uint8Array && page[bit >> 3] === 0xff) at += 8 - (bit & 7)
      else if (!hasBit(page, bit)) return at
      else at++
    }
    return -1
  }

  #page(number: number): Page | null {
    if (number === this.#recentNumber) return this.#recent
    this.#recentNumber = number
    this.#recent = this.#pages.get(number) ?? null
    return this.#recent
  }

  #put(number: number, page: Page): void {
    this.#pages.set(number, page)
    this.#recentNumber = number
    this.#recent = page
  }

  /** The page as a bitmap, made if it is not one. */
  #bitmap(number: number): Uint8Array {
    const page = this.#page(number)
    if (page instanceof Uint8Array) return page
    const bitmap = new Uint8Array(PAGE_BITS / 8)
    for (const bit of page ?? []) bitmap[bit >> 3]! |= 0x80 >> (bit & 7)
    this.#put(number, bitmap)
    return bitmap
  }
}

function hasBit(page: Page, bit: number): boolean {
  if (page instanceof Uint8Array) return (page[bit >> 3]! & (0x80 >> (bit & 7))) !== 0
  return page.includes(bit)
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
