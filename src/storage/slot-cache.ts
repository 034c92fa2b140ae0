import b4a from 'b4a'

// Slots that the memory is made for at first; it doubles as slots come, up to the limit.
const FIRST_SLOTS = 64

/**
 * Slots of equal size by number, two places for each: a slot takes the first one, what was there goes to the second, and what was there
 * is forgotten (a cache of two ways). To look one up costs less than a look into a Map, and there is nothing to be collected.
 */
export class SlotCache {
  /** Where the slots are. Another array after each {@link add}. */
  memory: Uint8Array
  readonly #slotBytes: number
  readonly #limit: number
  // The number of the slot in each place, −1 for none.
  #numbers: Float64Array
  #count = 0

  /**
   * @param slotBytes - bytes of a slot
   * @param limit - most slots, a power of two, at least 2
   */
  constructor(slotBytes: number, limit: number) {
    this.#slotBytes = slotBytes
    this.#limit = limit
    const first = Math.min(FIRST_SLOTS, limit)
    this.memory = b4a.allocUnsafeSlow(first * slotBytes)
    this.#numbers = new Float64Array(first).fill(-1)
  }

  /** Bytes that it takes now. */
  get byteLength(): number {
    return this.memory.length + this.#numbers.byteLength
  }

  /** Offset of a slot in {@link memory}, −1 if it is not here. */
  find(number: number): number {
    const place = this.#placeOf(number)
    if (this.#numbers[place] === number) return place * this.#slotBytes
    return this.#numbers[place ^ 1] === number ? (place ^ 1) * this.#slotBytes : -1
  }

  /** Makes room for a slot, where it is or in place of another one: offset in {@link memory} of bytes to be filled. */
  add(number: number): number {
    const at = this.find(number)
    if (at !== -1) return at
    // Half full, a third of what comes would take the place of something else.
    if (2 * this.#count >= this.#numbers.length && this.#numbers.length < this.#limit) this.#grow()
    const place = this.#placeOf(number)
    const before = this.#numbers[place]!
    if (before === -1) this.#count++
    else {
      const from = place * this.#slotBytes
      const second = place ^ 1
      if (this.#numbers[second] === -1) this.#count++
      this.#numbers[second] = before
      this.memory.copyWithin(second * this.#slotBytes, from, from + this.#slotBytes)
    }
    this.#numbers[place] = number
    return place * this.#slotBytes
  }

  /** Forgets a slot. */
  delete(number: number): void {
    const at = this.find(number)
    if (at === -1) return
    this.#numbers[at / this.#slotBytes] = -1
    this.#count--
  }

  /** Forgets all slots. */
  clear(): void {
    this.#numbers.fill(-1)
    this.#count = 0
  }

  #grow(): void {
    const { memory } = this
    const numbers = this.#numbers
    this.memory = b4a.allocUnsafeSlow(2 * memory.length)
    this.#numbers = new Float64Array(2 * numbers.length).fill(-1)
    for (let place = 0; place < numbers.length; place++) {
      const number = numbers[place]!
      if (number === -1) continue
      // What had two places for it still has two in a table of twice the size.
      let grown = this.#placeOf(number)
      if (this.#numbers[grown] !== -1) grown ^= 1
      this.#numbers[grown] = number
      const from = place * this.#slotBytes
      this.memory.set(memory.subarray(from, from + this.#slotBytes), grown * this.#slotBytes)
    }
  }

  /** Numbers that are asked for together, as those of one path up the tree, are alike in their low bits: they are scattered. */
  #placeOf(number: number): number {
    const low = number | 0
    const high = Math.floor(number / 0x1_0000_0000)
    const mixed = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1)
    return (mixed ^ (mixed >>> 15)) & (this.#numbers.length - 1)
  }
}
