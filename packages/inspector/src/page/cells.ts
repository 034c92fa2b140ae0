import type { BlockState, MapWindow } from '../messages.ts'

/** How long a cell shows that blocks have just come, in milliseconds. */
const FRESH = 1500

/** Blocks of a cell by state. */
export type CellCounts = Record<BlockState, number>

/** What is in each cell of a window, and what it looked like before: that tells what has just come. */
export class Cells {
  readonly window: MapWindow
  readonly #special: Record<'cleared' | 'damaged' | 'downloading', Map<number, number>>
  readonly #fresh: Map<number, number>

  constructor(window: MapWindow, before: Cells | null, now: number) {
    this.window = window
    this.#special = {
      cleared: new Map(window.cleared),
      damaged: new Map(window.damaged),
      downloading: new Map(window.downloading)
    }
    this.#fresh = new Map()
    const same = before !== null && before.window.start === window.start && before.window.span === window.span
    if (!same) return
    for (const [cell, time] of before.#fresh) if (now - time < FRESH) this.#fresh.set(cell, time)
    for (const [cell, present] of window.present.entries()) {
      if (present > (before.window.present[cell] ?? 0)) this.#fresh.set(cell, now)
    }
  }

  /** The blocks of a cell, from the first to one more than the last. */
  blocksOf(cell: number): [start: number, end: number] {
    const { start, span, length } = this.window
    return [start + cell * span, Math.min(length, start + (cell + 1) * span)]
  }

  /** How many blocks of a cell are in which state. */
  countsOf(cell: number): CellCounts {
    const [from, to] = this.blocksOf(cell)
    const present = this.window.present[cell] ?? 0
    const damaged = this.#special.damaged.get(cell) ?? 0
    const cleared = this.#special.cleared.get(cell) ?? 0
    // What was cleared or damaged may be on its way again: it counts once.
    const downloading = Math.min(
      this.#special.downloading.get(cell) ?? 0,
      to - from - present - damaged - cleared
    )
    return {
      present,
      damaged,
      cleared,
      downloading: Math.max(0, downloading),
      missing: Math.max(0, to - from - present - damaged - cleared - Math.max(0, downloading))
    }
  }

  /** How fresh a cell is: 1 right after blocks have come, 0 after a while. */
  freshness(cell: number, now: number): number {
    const time = this.#fresh.get(cell)
    return time === undefined ? 0 : Math.max(0, 1 - (now - time) / FRESH)
  }

  /** Whether anything still fades. */
  fading(now: number): boolean {
    for (const time of this.#fresh.values()) if (now - time < FRESH) return true
    return false
  }
}
