import { join } from 'node:path'
import { BlockRun } from '../harness/blocks.ts'
import type { Callback } from '../harness/feed.ts'
import { throughTcp } from '../harness/link.ts'
import { pump } from '../harness/pump.ts'
import type { Context, Row, Work } from '../harness/row.ts'

const blockSize = 512

/** One block after the other, appended at one end and waited for at the other. */
async function follow(context: Context): Promise<Work> {
  const live = { live: true }
  const source = await context.openSource(join(context.dir, 'source'))
  const dir = join(context.dir, 'replica')
  const target = await context.open(dir, source.key)
  const connect = await throughTcp(() => source, live)
  connect(target, live).closed.catch((error) => {
    throw error
  })

  const count = context.size(100, 25)
  const run = new BlockRun(blockSize, count)
  const latencies: number[] = []
  let length = 0

  function append(position: number, callback: Callback): void {
    const index = length++
    let start = 0
    let waiting = 2
    const done = (error: Error | null) => {
      if (error || --waiting === 0) callback(error, null)
    }
    target.get(index, {}, (error, block) => {
      latencies.push((performance.now() - start) / 1000)
      if (!error && !run.blocks[position]!.equals(block)) error = new Error(`Block ${index} differs`)
      done(error)
    })
    start = performance.now()
    source.append(run.blocks[position]!, done)
  }

  const work: Work = {
    latencies,
    prepare: () => run.moveTo(length),
    step: () => pump(count, 1, append),
    claim: () => ({ dir, blockSize, length, present: length, samples: [0, length >> 1, length - 1] })
  }
  // A step is long in time, but short for the compiler: without this the latency would be that of cold code, and of the other
  // processor being busy compiling. Functions that are called a few times a block are compiled after some 7,000 of them, and those that
  // look at bits once more when there is a second page of them; in a mixed pair each package does half of the work, and gets there later.
  const cold = context.size(26_000, 0)
  while (length < cold) {
    await work.prepare?.()
    await work.step()
  }
  return work
}

function quantile(name: string, part: number): Row {
  return {
    name: `tail-${name}`,
    title: `live tail latency, append to block over loopback TCP, ${blockSize} B, ${name}`,
    operation: 'block',
    quantile: part,
    replicates: true,
    start: follow
  }
}

export const tailRows: readonly Row[] = [quantile('p50', 0.5), quantile('p99', 0.99)]
