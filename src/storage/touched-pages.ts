import { type Range, Ranges } from '../util/ranges.ts'

/** Pages of the `bitfield` file that may differ from a checkpoint. */
export class TouchedPages extends Ranges {
  /** Those of them below `count`, ascending. */
  *below(count: number): Generator<number> {
    for (const [start, end] of this.ranges) {
      for (let page = start; page < Math.min(end, count); page++) yield page
    }
  }
}

/** Pages `start` … `end` − 1. */
export type PageRange = Range

/** The end of a range without one. */
export const NO_END = Number.MAX_SAFE_INTEGER
