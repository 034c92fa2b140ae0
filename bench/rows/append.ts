import { BlockRun } from '../harness/blocks.ts'
import type { Callback } from '../harness/feed.ts'
import { pump } from '../harness/pump.ts'
import type { Row } from '../harness/row.ts'
import { written } from './written.ts'

const batchLength = 128

/** One block at a time, each awaited before the next. */
const one: Row = {
  name: 'append-one-512',
  title: 'append one 512 B block, awaited each',
  operation: 'block',
  async start(context) {
    const count = context.size(500, 100)
    const feed = await context.open(context.dir)
    const run = new BlockRun(512, count)
    let acknowledged = 0
    return {
      prepare: () => run.moveTo(acknowledged),
      async step() {
        await pump(count, 1, (position, callback) => feed.append(run.blocks[position]!, callback))
        acknowledged += count
        return count
      },
      claim: () => written(context, 512, acknowledged)
    }
  }
}

/** Many appends made in one tick, awaited together. */
const atOnce: Row = {
  name: 'append-50k-512',
  title: 'append 50,000 × 512 B at once, awaited together',
  operation: 'block',
  async start(context) {
    const count = context.size(50_000, 2_000)
    const feed = await context.open(context.dir)
    const run = new BlockRun(512, count)
    let acknowledged = 0
    return {
      prepare: () => run.moveTo(acknowledged),
      async step() {
        await pump(count, count, (position, callback) => feed.append(run.blocks[position]!, callback))
        acknowledged += count
        return count
      },
      claim: () => written(context, 512, acknowledged)
    }
  }
}

function batches(name: string, size: string, blockSize: number, perStep: number): Row {
  return {
    name: `append-batch-${name}`,
    title: `append batches of ${batchLength} × ${size}`,
    operation: 'block',
    ...(blockSize < 4096 ? {} : { bytes: blockSize }),
    async start(context) {
      const count = context.size(perStep, Math.ceil(perStep / 8))
      const feed = await context.open(context.dir)
      const run = new BlockRun(blockSize, batchLength * count)
      let acknowledged = 0
      return {
        prepare: () => run.moveTo(acknowledged),
        async step() {
          await pump(count, 1, (position, callback: Callback) => {
            const start = position * batchLength
            feed.append(run.blocks.slice(start, start + batchLength), callback)
          })
          acknowledged += batchLength * count
          return batchLength * count
        },
        claim: () => written(context, blockSize, acknowledged)
      }
    }
  }
}

export const appendRows: readonly Row[] = [
  one,
  atOnce,
  batches('512', '512 B', 512, 64),
  batches('64k', '64 KB', 64 * 1024, 1)
]
