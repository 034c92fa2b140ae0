/** What is in a feed, and how it may differ from what was. */
import type { State } from '../crash/workload.ts'

/** Blocks, and which of them are here. */
export type Content = Pick<State, 'blocks' | 'present'>

/** Whether a block is not in all of these states. A published package writes a signature before it has written what is signed. */
export function isMissing(states: readonly Content[], block: number): boolean {
  return states.some(({ present }) => present[block] !== true)
}

/** Whether a block is cleared, or cut off, in one of these states: not only about to be appended. */
export function isTakenAway(states: readonly Content[], block: number): boolean {
  const first = states.findIndex(({ present }) => present[block] === true)
  return first === -1 || isMissing(states.slice(first), block)
}

/** How what is there differs from what must be, or null. A block that was cleared may be here if it is right. */
export function differenceOf(
  { blocks, present }: Content,
  got: readonly (Buffer | null)[],
  mayLack: (block: number) => boolean
): string | null {
  if (got.length !== blocks.length) return `length ${got.length} instead of ${blocks.length}`
  const wrong = got.findIndex((block, i) =>
    block === null ? present[i] === true && !mayLack(i) : !block.equals(blocks[i]!)
  )
  if (wrong === -1) return null
  return `block ${wrong} is ${got[wrong] === null ? 'not here' : `'${got[wrong]}'`} instead of '${blocks[wrong]}'`
}
