import type { Claim, Context } from '../harness/row.ts'

/** Random blocks that are read back, besides the first and the last. */
const sampleCount = 6

/** The claim of a row that appended `length` blocks to the feed in its own folder. */
export function written(context: Context, blockSize: number, length: number): Claim {
  const samples = [0, length - 1]
  for (let sample = 0; sample < sampleCount; sample++) samples.push(Math.floor(context.random() * length))
  return { dir: context.dir, blockSize, length, present: length, samples }
}
