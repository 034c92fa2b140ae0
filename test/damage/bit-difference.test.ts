/** Which blocks are to be looked at where the bits are not those of a checkpoint. */
import flat from 'flat-tree'
import test from 'tape'
import { PAGE_BLOCKS, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { bitsOf, differenceOf } from '../../src/feed/bit-difference.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGES = 4

/** The same, asked for one bit after the other. */
function bitByBit(found: Pages, proven: Pages, length: number): ReturnType<typeof differenceOf> {
  const [now, then] = [bitsOf(found), bitsOf(proven)]
  const blocks = new Set<number>()
  const lostPages = new Set<number>()
  for (let block = 0; block < PAGES * PAGE_BLOCKS; block++) {
    if (now.bits.get(block) && !then.bits.get(block)) blocks.add(block)
  }
  for (let node = 0; node < 2 * PAGES * PAGE_BLOCKS; node++) {
    const [is, was] = [now.treeBits.get(node), then.treeBits.get(node)]
    if (was && !is) lostPages.add(Math.floor(node / (2 * PAGE_BLOCKS)))
    if ((was && !is) || (is && !was && flat.rightSpan(node) < 2 * length)) blocks.add(flat.leftSpan(node) / 2)
  }
  for (const page of lostPages) for (let i = 0; i < PAGE_BLOCKS; i++) blocks.add(page * PAGE_BLOCKS + i)
  const suspects: [number, number][] = []
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const last = suspects[suspects.length - 1]
    if (block >= length) continue
    if (last?.[1] === block) last[1]++
    else suspects.push([block, block + 1])
  }
  return { suspects, lostPages }
}

test('difference of bits: as bit by bit', (t) => {
  const random = new SeededRandom(3)
  for (let round = 0; round < 60; round++) {
    const [found, proven] = [new Pages(PAGE_SIZE), new Pages(PAGE_SIZE)]
    const [now, then] = [bitsOf(found), bitsOf(proven)]
    const some = random.below(PAGES * PAGE_BLOCKS)
    for (const { bits, treeBits } of [now, then]) {
      bits.setRange(0, some, true)
      treeBits.setAppended(0, some)
    }
    for (let i = random.below(12); i > 0; i--) {
      // The ends of pages, where the nodes are that reach back before them, and anything else.
      const page = random.below(PAGES) * PAGE_BLOCKS
      const block = page + (random.chance(0.4) ? PAGE_BLOCKS - 1 : random.below(PAGE_BLOCKS))
      const side = random.chance(0.8) ? now : then
      if (random.chance(0.4)) side.bits.setRange(block, block + 1 + random.below(40), random.chance(0.8))
      else side.treeBits.set(2 * block + random.below(2), random.chance(0.8))
    }
    const length = random.chance(0.5) ? some : random.below(PAGES * PAGE_BLOCKS + 1)
    const got = differenceOf(found, proven, length)
    const expected = bitByBit(found, proven, length)
    const text = [got, expected].map(({ suspects, lostPages }) =>
      JSON.stringify([suspects, [...lostPages].sort()])
    )
    if (text[0] !== text[1]) t.fail(`round ${round}, length ${length}: ${text[0]} instead of ${text[1]}`)
  }
  t.pass('in all rounds')
  t.end()
})

test('difference of bits: a bitfield that has lost all of a long feed', (t) => {
  // More blocks than a set can hold.
  const count = 2049
  const full = new Uint8Array(PAGE_SIZE).fill(0xff)
  const proven = new Pages(PAGE_SIZE)
  for (let page = 0; page < count; page++) proven.load(full)
  const found = new Pages(PAGE_SIZE)
  found.loadZeros(count)
  const { suspects, lostPages } = differenceOf(found, proven, count * PAGE_BLOCKS)
  t.deepEqual(suspects, [[0, count * PAGE_BLOCKS]], 'is one range')
  t.equal(lostPages.size, count)
  t.end()
})
