/** Which chunks of pages could be had from their source again, and which of them go when there are too many. */
export class CleanChunks {
  /** Pages that they take memory for. */
  pages = 0
  // How many pages each of them takes memory for: those that are here longest first, but for those that were used since.
  readonly #sizes = new Map<number, number>()
  readonly #most: number
  readonly #wasUsed: (chunk: number) => boolean
  readonly #drop: (chunk: number) => void

  /**
   * @param most - pages that are kept
   * @param wasUsed - whether a chunk was used since this was last asked
   * @param drop - called for each chunk that goes
   */
  constructor(most: number, wasUsed: (chunk: number) => boolean, drop: (chunk: number) => void) {
    this.#most = most
    this.#wasUsed = wasUsed
    this.#drop = drop
  }

  has(chunk: number): boolean {
    return this.#sizes.has(chunk)
  }

  /** Adds a chunk, or pages to it. Others go if there are too many now; it stays. */
  add(chunk: number, pages: number): void {
    this.#sizes.set(chunk, (this.#sizes.get(chunk) ?? 0) + pages)
    this.pages += pages
    // Those that were used go to the end and are met again: then nobody has used them meanwhile.
    for (const [other, size] of this.#sizes) {
      if (this.pages <= this.#most) return
      if (other === chunk) continue
      this.#sizes.delete(other)
      if (this.#wasUsed(other)) this.#sizes.set(other, size)
      else {
        this.pages -= size
        this.#drop(other)
      }
    }
  }

  /** Forgets a chunk, which is going to differ from the source. Answers whether it was one of these. */
  remove(chunk: number): boolean {
    const size = this.#sizes.get(chunk)
    if (size === undefined) return false
    this.#sizes.delete(chunk)
    this.pages -= size
    return true
  }

  clear(): void {
    this.#sizes.clear()
    this.pages = 0
  }
}
