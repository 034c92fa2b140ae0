import b4a from 'b4a'

/** Pages that the memory is made for at first; it doubles as pages come, up to the limit. */
const FIRST_PAGES = 16

/**
 * Pages of equal size by number, in one piece of memory that is used over and over: pages come and go by the thousand
 * in random reads, and as arrays of their own they were most of the garbage of a replica.
 *
 * A page that is looked up survives one round of evictions (the clock algorithm; an approximation of LRU without
 * moving anything on a hit).
 */
export class PageCache {
  /** Where the pages are. Another array after each {@link add}. */
  memory: Uint8Array
  readonly #pageBytes: number
  #limit: number
  readonly #slots = new Map<number, number>()
  // By slot: its page (−1 for none), and whether the page was looked up since the hand passed.
  readonly #pages: number[] = []
  readonly #used: boolean[] = []
  #hand = 0

  /**
   * @param pageBytes - bytes of a page
   * @param limit - most pages, at least one
   */
  constructor(pageBytes: number, limit: number) {
    this.#pageBytes = pageBytes
    this.#limit = limit
    this.memory = b4a.allocUnsafeSlow(pageBytes * Math.min(FIRST_PAGES, limit))
  }

  /** Sets how many pages there may be at most, at least one. What is beyond is forgotten. */
  set limit(limit: number) {
    this.#limit = limit
    if (this.memory.length <= limit * this.#pageBytes) return
    for (const page of this.#pages.splice(limit)) if (page !== -1) this.#slots.delete(page)
    this.#used.length = this.#pages.length
    this.#hand %= limit
    // Not `slice`, which makes a view of a Buffer: what is given up is to be freed.
    const smaller = b4a.allocUnsafeSlow(limit * this.#pageBytes)
    smaller.set(this.memory.subarray(0, smaller.length))
    this.memory = smaller
  }

  /** Offset of a page in {@link memory}, −1 if it is not here. */
  find(page: number): number {
    const slot = this.#slots.get(page)
    if (slot === undefined) return -1
    this.#used[slot] = true
    return slot * this.#pageBytes
  }

  /** Makes room for a page that is not here, in place of an old one: offset in {@link memory} of bytes to be filled. */
  add(page: number): number {
    const slot = this.#pages.length < this.#limit ? this.#grow() : this.#evict()
    this.#pages[slot] = page
    this.#used[slot] = true
    this.#slots.set(page, slot)
    return slot * this.#pageBytes
  }

  /** Forgets a page. */
  delete(page: number): void {
    const slot = this.#slots.get(page)
    if (slot === undefined) return
    this.#slots.delete(page)
    this.#pages[slot] = -1
    this.#used[slot] = false
  }

  /** Forgets all pages. */
  clear(): void {
    for (const page of [...this.#slots.keys()]) this.delete(page)
  }

  #grow(): number {
    const slot = this.#pages.length
    if ((slot + 1) * this.#pageBytes > this.memory.length) {
      const size = Math.min(2 * slot, this.#limit) * this.#pageBytes
      const larger = b4a.allocUnsafeSlow(size)
      larger.set(this.memory)
      this.memory = larger
    }
    return slot
  }

  #evict(): number {
    for (;;) {
      const slot = this.#hand
      this.#hand = (slot + 1) % this.#limit
      if (this.#used[slot]) {
        this.#used[slot] = false
        continue
      }
      this.#slots.delete(this.#pages[slot]!)
      return slot
    }
  }
}
