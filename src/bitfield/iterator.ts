/** What a {@link BitfieldIterator} searches. */
export interface MissingBlocks {
  /** The first missing block of `start` … `end` − 1, or −1. */
  firstMissing(start: number, end: number): number
}

/**
 * Walks the missing blocks of a range. It always looks at the bits as they are now. After the last missing
 * block it stays at the end of its range: a range that is extended later goes on from there. Only a `seek`
 * beyond the range ends it until the next `seek`.
 */
export class BitfieldIterator {
  /** First block of the range. */
  start: number
  /** One more than the last block of the range. */
  end: number
  #blocks: MissingBlocks
  #random: () => number
  // The next block to look at, −1 after a seek beyond the range.
  #position: number

  constructor(blocks: MissingBlocks, start: number, end: number, random: () => number) {
    this.#blocks = blocks
    this.#random = random
    this.start = start
    this.end = end
    this.#position = start < end ? start : -1
  }

  /** Changes the range to `start` … `end` − 1. The position stays: usually followed by {@link seek}. */
  range(start: number, end: number): this {
    this.start = start
    this.end = end
    return this
  }

  /** Goes to `offset` blocks after the start of the range; a negative one means the start. */
  seek(offset: number): this {
    const position = this.start + Math.max(offset, 0)
    this.#position = position < this.end ? position : -1
    return this
  }

  /** The next missing block, −1 if there is none up to the end of the range. */
  next(): number {
    if (this.#position === -1) return -1
    const block = this.#blocks.firstMissing(this.#position, this.end)
    this.#position = block === -1 ? Math.max(this.#position, this.end) : block + 1
    return block
  }

  /** What {@link next} would answer. */
  peek(): number {
    return this.#position === -1 ? -1 : this.#blocks.firstMissing(this.#position, this.end)
  }

  /** The first missing block at or after a random position of the range, wrapping around once; −1 if there is none. */
  random(): number {
    const block = this.seek(Math.floor(this.#random() * (this.end - this.start))).next()
    return block === -1 ? this.seek(0).next() : block
  }
}
