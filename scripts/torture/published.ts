/**
 * The published package through the same simulated crashes (docs/reliability.md): it writes, the disk crashes, it opens
 * again. Counts what comes of it.
 */

import { SimulatedDisk } from '../../test/crash/disk.ts'
import { author } from '../../test/crash/workload.ts'
import { published } from '../../test/helpers/published.ts'
import { SeededRandom } from '../../test/helpers/seeded-random.ts'

const STORIES = Number(process.env.CRASH_STORIES ?? 40)
const CRASHES = Number(process.env.CRASH_COUNT ?? 25)

for (const end of ['killed', 'powerless'] as const) {
  const counts = {
    'as promised': 0,
    'acknowledged, and lost': 0,
    'wrong bytes': 0,
    'does not open, or cannot read': 0
  }
  for (let seed = 1; seed <= STORIES; seed++) {
    const story = await author(new SeededRandom(seed), 'process', {}, 14, published)
    for (let i = 0; i < CRASHES; i++) {
      const random = new SeededRandom(seed * 1009 + i)
      const moment = story.opened + random.below(story.disk.now - story.opened + 1)
      counts[await outcome(story, moment, new SimulatedDisk({}, story.disk[end](moment, random)))]++
    }
  }
  console.log(end, JSON.stringify(counts))

  async function outcome(
    story: Awaited<ReturnType<typeof author>>,
    moment: number,
    disk: SimulatedDisk
  ): Promise<keyof typeof counts> {
    const known = story.states.filter((state) => state.asked < moment)
    const allowed = known.slice(known.findLastIndex((state) => state.acknowledged < moment))
    const feed = published(disk.factory())
    try {
      await feed.ready()
      if (!feed.key.equals(story.key)) return 'acknowledged, and lost'
      let lost = true
      for (const { blocks, present } of allowed) {
        const whole = blocks.every((_, i) => !present[i] || feed.feed.has(i))
        if (blocks.length === feed.length && whole) lost = false
      }
      for (let i = 0; i < feed.length; i++) {
        if (!feed.feed.has(i)) continue
        const got = Buffer.from((await feed.get(i)) as Uint8Array)
        if (!known.some(({ blocks }) => blocks[i]?.equals(got))) return 'wrong bytes'
      }
      return lost ? 'acknowledged, and lost' : 'as promised'
    } catch {
      return 'does not open, or cannot read'
    }
  }
}
