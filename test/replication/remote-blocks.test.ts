/** What a remote says it has, against a plain set; and that it cannot cost more than there is to tell apart. */
import test from 'tape'
import { type PageAccess, Pages } from '../../src/bitfield/pages.ts'
import { RemoteBlocks } from '../../src/replication/remote-blocks.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGE = 8192
const WINDOW = 2 ** 20
const EMPTY = new Pages(3584)

/** Our own blocks: these. */
function local(blocks: readonly number[]): PageAccess {
  const pages = new Pages(3584)
  for (const block of blocks)
    pages.write(Math.floor(block / PAGE))[(block % PAGE) >> 3]! |= 0x80 >> (block & 7)
  return pages
}

test('remote blocks: the last one before a place', (t) => {
  const blocks = new RemoteBlocks(() => EMPTY)
  t.equal(blocks.last(WINDOW), -1, 'nothing')
  for (const block of [3, PAGE - 1, WINDOW - 1, WINDOW + 5]) blocks.setRange(block, block + 1, true)
  blocks.setRange(2 * WINDOW, 3 * WINDOW, true)
  for (const [end, last] of [
    [0, -1],
    [3, -1],
    [4, 3],
    [PAGE, PAGE - 1],
    [WINDOW - 1, PAGE - 1],
    [WINDOW, WINDOW - 1],
    [WINDOW + 5, WINDOW - 1],
    [2 * WINDOW, WINDOW + 5],
    [2 * WINDOW + 1, 2 * WINDOW],
    [9 * WINDOW, 3 * WINDOW - 1]
  ] as const) {
    t.equal(blocks.last(end), last, `before ${end}`)
  }
  t.end()
})

test('remote blocks: as a set of numbers would say', (t) => {
  const random = new SeededRandom(11)
  const corners = [0, 8, PAGE, 2 * PAGE, 3 * PAGE, WINDOW - PAGE, WINDOW, WINDOW + PAGE, 3 * WINDOW]
  const around = () => Math.max(0, corners[random.below(corners.length)]! + random.between(0, 40) - 20)
  for (let round = 0; round < 30; round++) {
    const own = Array.from({ length: 20 }, around)
    const blocks = new RemoteBlocks(() => pages)
    const pages = local(own)
    const model = new Set<number>()
    const ours = new Set(own)
    for (let step = 0; step < 30; step++) {
      const start = around()
      if (random.chance(0.3)) {
        const first = start - (start % 8)
        const bytes = random.chance(0.5)
          ? random.bytes(random.below(2200))
          : Buffer.alloc(random.below(2200), random.chance(0.5) ? 0xff : 0)
        blocks.replace(first, bytes)
        for (let i = 0; i < 8 * bytes.length; i++) {
          if ((bytes[i >> 3]! & (0x80 >> (i & 7))) !== 0) model.add(first + i)
          else model.delete(first + i)
        }
      } else {
        const end = start + random.below(random.chance(0.5) ? 50 : 3 * PAGE)
        const value = random.chance(0.6)
        blocks.setRange(start, end, value)
        for (let block = start; block < end; block++) {
          if (value) model.add(block)
          else model.delete(block)
        }
      }
      for (let look = 0; look < 20; look++) {
        const block = around()
        if (blocks.has(block) !== model.has(block)) t.fail(`has(${block}) in round ${round}`)
        if (blocks.get(block) !== (model.has(block) && !ours.has(block))) t.fail(`get(${block})`)
        const end = block + random.below(2 * PAGE)
        let next = block
        while (next < end && !(model.has(next) && !ours.has(next))) next++
        const found = blocks.next(block, end)
        if (found !== (next < end ? next : -1)) t.fail(`next(${block}, ${end}) is ${found} in round ${round}`)
      }
    }
    blocks.clear()
    if (blocks.next(0, 4 * WINDOW) !== -1) t.fail('clear')
  }
  t.pass('30 rounds')
  t.end()
})

test('remote blocks: the highest numbers and the largest ranges', (t) => {
  const blocks = new RemoteBlocks(
    () => EMPTY,
    () => 100
  )
  blocks.setRange(2 ** 40 - 1, 2 ** 40, true)
  t.equal(blocks.next(0, 2 ** 40), 2 ** 40 - 1)
  t.equal(blocks.next(0, 2 ** 40 - 1), -1)
  for (let i = 0; i < 1000; i++) {
    blocks.setRange(0, 2 ** 26, true)
    blocks.setRange(1, 2 ** 53 - 1, false)
    blocks.setRange(2 ** 52, 2 ** 53 - 1, false)
  }
  t.deepEqual([blocks.has(0), blocks.has(1), blocks.next(1, 2 ** 40)], [true, false, -1])
  t.equal(blocks.next(2 ** 39, 2 ** 40), -1)
  t.end()
})

test('remote blocks: of what was taken back nothing is left', (t) => {
  const blocks = new RemoteBlocks(
    () => EMPTY,
    () => 4
  )
  const held = blocks as unknown as { numbers: number[]; windows: unknown[]; units: number }
  const none = (what: string) =>
    t.same([held.numbers.length, held.windows.length, held.units], [0, 0, 0], what)
  for (let i = 0; i < 1000; i++) {
    const block = i * PAGE + 100
    blocks.setRange(block, block + 1, true)
    blocks.setRange(block, block + 1, false)
  }
  none('block by block')
  for (let i = 0; i < 10; i++) {
    blocks.setRange(i * WINDOW, (i + 1) * WINDOW, true)
    blocks.setRange(i * WINDOW, (i + 1) * WINDOW - 9, false)
    t.equal(held.units, 2, 'a window, and the page with what is left')
    blocks.setRange((i + 1) * WINDOW - 9, (i + 1) * WINDOW, false)
  }
  none('windows, in two pieces')
  for (let i = 0; i < 10; i++) {
    blocks.replace(i * WINDOW, Buffer.from([1, 2, 3]))
    blocks.replace(i * WINDOW, Buffer.from([0, 0]))
    t.equal(blocks.next(0, 2 ** 40), i * WINDOW + 22)
    blocks.replace(i * WINDOW + 16, Buffer.from([0]))
  }
  none('by bitfields')
  blocks.setRange(5, 6, true)
  blocks.setRange(2 * WINDOW, 2 * WINDOW + 3, true)
  blocks.replace(2 * WINDOW, Buffer.alloc(PAGE / 8))
  t.same([held.numbers, held.units], [[0], 2], 'what was not taken back stays')
  t.end()
})

test('remote blocks: what is told block by block costs nothing when the gaps are closed', (t) => {
  const blocks = new RemoteBlocks(
    () => EMPTY,
    () => 3
  )
  const held = blocks as unknown as { units: number }
  const end = 8 * PAGE
  for (let block = 0; block < end / 2; block++) blocks.setRange(block, block + 1, true)
  t.equal(held.units, 1, 'by ranges, upward')
  for (let block = end - 8; block >= end / 2; block -= 8) blocks.replace(block, Buffer.from([0xff]))
  t.equal(held.units, 1, 'by bitfields, downward')
  t.deepEqual([blocks.next(0, end), blocks.last(2 ** 40)], [0, end - 1])
  blocks.setRange(5, 6, false)
  t.deepEqual([blocks.has(4), blocks.has(5), blocks.has(PAGE + 5), held.units], [true, false, true, 2])
  t.end()
})

test('remote blocks: what has gaps is limited, what has none is not', (t) => {
  const blocks = new RemoteBlocks(
    () => EMPTY,
    () => 10
  )
  const code = (fn: () => void): string => {
    try {
      fn()
      return ''
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  for (let window = 0; window < 10; window++) blocks.setRange(window * WINDOW, (window + 1) * WINDOW, true)
  t.equal(
    code(() => blocks.setRange(10 * WINDOW, 11 * WINDOW, true)),
    'ERR_LIMIT',
    'one more window'
  )
  t.equal(
    code(() => blocks.setRange(5, 6, false)),
    'ERR_LIMIT',
    'a gap'
  )
  blocks.setRange(3 * WINDOW, 4 * WINDOW, false)
  blocks.setRange(9 * WINDOW, 2 ** 50, false)
  t.equal(
    code(() => blocks.setRange(5, 6, false)),
    '',
    'there is room again'
  )
  t.equal(
    code(() => blocks.setRange(5 + PAGE, 6 + PAGE, false)),
    ''
  )
  t.equal(
    code(() => blocks.replace(2 * PAGE, Buffer.alloc(1024, 0xff))),
    '',
    'no gap'
  )
  t.equal(
    code(() => blocks.replace(2 * PAGE, Buffer.alloc(1024, 0x0f))),
    'ERR_LIMIT',
    'gaps'
  )
  blocks.replace(0, Buffer.alloc(1024, 0xff))
  t.equal(
    code(() => blocks.replace(2 * PAGE, Buffer.alloc(1024, 0x0f))),
    '',
    'room of a page that was filled'
  )
  t.ok(blocks.has(5))
  blocks.clear()
  for (let page = 0; page < 9; page++) blocks.setRange(page * PAGE, page * PAGE + 1, true)
  t.equal(
    code(() => blocks.setRange(9 * PAGE, 9 * PAGE + 1, true)),
    'ERR_LIMIT',
    'a window and nine pages'
  )
  t.end()
})

test('remote blocks: taken back across windows, as in a list of them', (t) => {
  const random = new SeededRandom(11)
  for (let round = 0; round < 60; round++) {
    const blocks = new RemoteBlocks(() => EMPTY)
    const model = new Set<number>()
    // Places around the borders of windows.
    const place = () => WINDOW * random.below(4) + random.below(6) - (random.chance(0.5) ? 3 : 0)
    for (let step = 0; step < 12; step++) {
      const [start, end] = [place(), place()].map((at) => Math.max(0, at)).sort((a, b) => a - b) as [
        number,
        number
      ]
      const value = random.chance(0.6)
      if (value && end - start > 20) continue
      blocks.setRange(start, end, value)
      if (value) for (let at = start; at < end; at++) model.add(at)
      else for (const at of model) if (at >= start && at < end) model.delete(at)
      for (let at = 0; at < 4 * WINDOW; at += at % WINDOW === 10 ? WINDOW - 20 : 1) {
        if (blocks.has(at) !== model.has(at)) t.fail(`round ${round}: block ${at}`)
      }
    }
  }
  t.pass('the same')
  t.end()
})
