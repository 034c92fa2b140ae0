/** Over how long a rate is taken, in milliseconds. */
const WINDOW = 2000

/** Counts what comes, and how fast it came lately. */
export class Meter {
  blocks = 0
  bytes = 0
  #first = 0
  #recent: { time: number; bytes: number }[] = []

  /** Notes a block. */
  add(bytes: number): void {
    if (this.blocks === 0) this.#first = performance.now()
    this.blocks++
    this.bytes += bytes
    this.#recent.push({ time: performance.now(), bytes })
  }

  /** Blocks and bytes in a second. */
  rate(): { blocks: number; bytes: number } {
    const now = performance.now()
    const since = now - WINDOW
    const first = this.#recent.findIndex(({ time }) => time >= since)
    this.#recent = first === -1 ? [] : this.#recent.slice(first)
    const bytes = this.#recent.reduce((sum, note) => sum + note.bytes, 0)
    const seconds = Math.min(WINDOW, now - this.#first) / 1000 || 1
    return { blocks: this.#recent.length / seconds, bytes: bytes / seconds }
  }
}
