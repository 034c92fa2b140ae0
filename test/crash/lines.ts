/** What a process that is going to be killed says (`child.ts`), and the blocks that both sides know. */
import { SeededRandom } from '../helpers/seeded-random.ts'

/** What a process says. */
export type Line =
  | { begun: true; key: string }
  | { asked: Work }
  | { answered: 'done' | 'failed'; code?: unknown }

/** One operation. Blocks are made from a number, so that both sides know them. */
export type Work =
  | { append: [seed: number, size: number][] }
  | { clear: [start: number, end: number] }
  | { truncate: number }
  | { flush: true }

/** The bytes of a block. */
export function blockOf([seed, size]: [number, number]): Buffer {
  return new SeededRandom(seed).bytes(size)
}
