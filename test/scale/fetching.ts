import b4a from 'b4a'
import RandomAccessMemory from 'random-access-memory'
import ddatabase from '../../src/index.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import type { SimulatedFeed } from './simulated-feed.ts'

type Feed = ReturnType<typeof ddatabase>

/** A sparse copy of a feed, connected to it. Its files are kept in pieces of 4 KB where something was written. */
export async function copyInMemory(
  source: Feed,
  storage: unknown = () => new RandomAccessMemory({ pageSize: 4096 })
): Promise<{ target: Feed; disconnect(): Promise<void> }> {
  const target = ddatabase(storage as never, source.key!, { sparse: true })
  await target.ready()
  const here = source.replicate(true, { live: true })
  const there = target.replicate(false, { live: true })
  here.pipe(there).pipe(here)
  const ended = [here, there].map((stream) => {
    stream.on('error', () => {})
    return new Promise<void>((resolve) => stream.once('close', () => resolve()))
  })
  return {
    target,
    async disconnect() {
      there.destroy()
      await Promise.all(ended)
    }
  }
}

/** Fetches random blocks, the first and the last, and looks random places up. Answers what was not as it should be. */
export async function fetchSparsely(
  target: Feed,
  simulated: SimulatedFeed,
  count: number,
  random: SeededRandom
): Promise<{ blocks: number; wrong: number[] }> {
  const wrong: number[] = []
  const blocks = new Set([0, simulated.length - 1])
  await target.update()
  while (blocks.size < count) blocks.add(Math.floor(fraction(random) * simulated.length))
  const indexes = [...blocks]
  for (let at = 0; at < indexes.length; at += 16) {
    await Promise.all(
      indexes.slice(at, at + 16).map(async (index) => {
        const block = (await target.get(index)) as Uint8Array
        if (!b4a.equals(block, simulated.block)) wrong.push(index)
      })
    )
  }
  const size = simulated.block.byteLength
  for (let i = 0; i < 10; i++) {
    const bytes = Math.floor(fraction(random) * simulated.byteLength)
    const { index, offset } = await target.seek(bytes)
    if (index !== Math.floor(bytes / size) || offset !== bytes % size) wrong.push(bytes)
  }
  return { blocks: target.downloaded(), wrong }
}

/** A number in [0, 1) with all bits that there are: places beyond 2^32 are to be met, too. */
function fraction(random: SeededRandom): number {
  return (random.below(2 ** 26) * 2 ** 27 + random.below(2 ** 27)) / 2 ** 53
}
