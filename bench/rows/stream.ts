import { BlockRun } from '../harness/blocks.ts'
import type { Feed } from '../harness/feed.ts'
import { readFirst } from '../harness/reading.ts'
import type { Row } from '../harness/row.ts'
import { smallBlocks } from './fixtures.ts'
import { written } from './written.ts'

/** Reads the blocks from `start` to `end` through a stream. */
function readAll(feed: Feed, start: number, end: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let count = 0
    const stream = feed.createReadStream({ start, end })
    stream.on('data', () => count++)
    stream.on('error', reject)
    stream.on('end', () => {
      if (count === end - start) resolve()
      else reject(new Error(`The stream ended after ${count} of ${end - start} blocks`))
    })
  })
}

/** The same with `for await`. */
async function iterateAll(feed: Feed, start: number, end: number): Promise<void> {
  let count = 0
  for await (const _ of feed.createReadStream({ start, end })) count++
  if (count !== end - start) throw new Error(`The loop ended after ${count} of ${end - start} blocks`)
}

/** Writes the blocks through a stream, waiting for `drain` when told to. */
function writeAll(feed: Feed, blocks: readonly Uint8Array[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    const stream = feed.createWriteStream()
    stream.on('error', reject)
    stream.on('finish', resolve)
    stream.on('drain', write)
    function write(): void {
      while (next < blocks.length) {
        if (!stream.write(blocks[next++]!)) return
      }
      stream.end()
    }
    write()
  })
}

function read(name: string, title: string, readRange: typeof readAll): Row {
  return {
    name,
    title,
    operation: 'block',
    fixture: smallBlocks,
    start(context) {
      const length = context.size(2_000, 400)
      return readFirst(context, {
        units: Math.floor(context.fixtureBlocks / length),
        perStep: 1,
        async read(feed, ranges) {
          for (const range of ranges) await readRange(feed, range * length, (range + 1) * length)
          return ranges.length * length
        }
      })
    }
  }
}

const write: Row = {
  name: 'write-stream-512',
  title: 'createWriteStream, 512 B',
  operation: 'block',
  async start(context) {
    const count = context.size(8_192, 1_024)
    const feed = await context.open(context.dir)
    const run = new BlockRun(512, count)
    let acknowledged = 0
    return {
      prepare: () => run.moveTo(acknowledged),
      async step() {
        await writeAll(feed, run.blocks)
        acknowledged += count
        return count
      },
      claim: () => written(context, 512, acknowledged)
    }
  }
}

export const streamRows: readonly Row[] = [
  read('read-stream-512', 'createReadStream, 512 B', readAll),
  read('read-for-await-512', 'createReadStream, for await, 512 B', iterateAll),
  write
]
