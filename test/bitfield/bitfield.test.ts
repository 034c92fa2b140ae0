import { createRequire } from 'node:module'
import b4a from 'b4a'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { LEGACY_PAGE_SIZE, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { decode } from '../../src/bitfield/rle.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { setClimbing } from '../../src/util/climbing.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'

interface PublishedBits {
  readonly length: number
  get(bit: number): boolean
  set(bit: number, value: boolean): boolean
}
interface PublishedIterator {
  seek(offset: number): PublishedIterator
  next(): number
}
interface PublishedBitfield extends PublishedBits {
  readonly tree: PublishedBits
  readonly pages: {
    readonly length: number
    get(page: number, noAllocate: boolean): { buffer: Buffer } | undefined
  }
  total(start?: number, end?: number): number
  compress(start: number, length: number): Buffer
  iterator(start: number, end: number): PublishedIterator
}
const publishedBitfield = createRequire(import.meta.url)('ddatabase-published/lib/bitfield.js') as (
  pageSize: number,
  pages?: Uint8Array[]
) => PublishedBitfield

const SEED = seedFromEnvironment(503)
const PAGE_SIZES = [PAGE_SIZE, LEGACY_PAGE_SIZE]

for (const pageSize of PAGE_SIZES) {
  for (const span of [300, 40000, 2_000_000]) {
    test(`bitfield: ${pageSize}, random set and clear over ${span} blocks, as the published pages`, (t) => {
      const random = new SeededRandom(SEED + span)
      const pages = new Pages(pageSize)
      const bits = new Bitfield(pages)
      const tree = new TreeBits(pages)
      const theirs = publishedBitfield(pageSize)
      for (let round = 0; round < 1500; round++) {
        // Ranges of one value, so that full and empty index fields occur; and tree bits, which grow the pages.
        const start = random.below(span)
        const length = random.pick([1, 1, 3, 40, 300])
        const value = random.chance(0.7)
        for (let block = start; block < start + length; block++) {
          if (bits.set(block, value) !== theirs.set(block, value))
            return t.end(`round ${round}: set ${block}`)
        }
        if (random.chance(0.2)) {
          const node = random.below(2 * span)
          if (tree.set(node, value) !== theirs.tree.set(node, value))
            return t.end(`round ${round}: tree ${node}`)
        }
        if (
          bits.length !== theirs.length ||
          tree.length !== theirs.tree.length ||
          pages.length !== theirs.pages.length
        ) {
          return t.end(`round ${round}: length`)
        }
      }
      t.equal(difference(pages, theirs), null, 'pages')

      // And on, from what was stored.
      const file = b4a.concat(contentOf(pages))
      const reloaded = new Pages(pageSize, file)
      const bitsAgain = new Bitfield(reloaded)
      const theirsAgain = publishedBitfield(pageSize, contentOf(pages))
      t.equal(bitsAgain.length, theirsAgain.length, 'length after loading')
      t.equal(new TreeBits(reloaded).length, theirsAgain.tree.length, 'tree length after loading')
      for (let round = 0; round < 1500; round++) {
        const block = random.below(2 * span)
        const value = random.chance(0.5)
        bitsAgain.set(block, value)
        theirsAgain.set(block, value)
      }
      t.equal(difference(reloaded, theirsAgain), null, 'pages after loading and more')
      t.end()
    })
  }

  test(`bitfield: ${pageSize}, setRange as one by one`, (t) => {
    const random = new SeededRandom(SEED + 1)
    for (let round = 0; round < 18; round++) {
      const span = random.pick([100, 30000, 200000])
      // Also over index bytes that no writer would leave, as a damaged or foreign file may have them.
      const file = round % 3 === 0 ? random.bytes(pageSize * random.below(3)) : b4a.alloc(0)
      const ranged = new Pages(pageSize, file)
      const single = new Pages(pageSize, file)
      const byRange = new Bitfield(ranged)
      const oneByOne = new Bitfield(single)
      for (let step = 0; step < 30; step++) {
        const start = random.below(span)
        const end = start + random.below(random.pick([4, 50, 1000, 20000]))
        const value = random.chance(0.6)
        let changed = 0
        for (let block = start; block < end; block++) if (oneByOne.set(block, value)) changed++
        const answered = byRange.setRange(start, end, value)
        if (answered !== changed) return t.end(`round ${round}: ${answered} changes, expected ${changed}`)
        const differs = differencePages(ranged, single)
        if (differs !== null) return t.end(`round ${round}, step ${step}: ${differs}`)
      }
    }
    t.pass('equal')
    t.end()
  })

  test(`bitfield: ${pageSize}, appended ranges as blocks with their tree bits`, (t) => {
    const random = new SeededRandom(SEED + 2)
    for (let round = 0; round < 4; round++) {
      const ranged = new Pages(pageSize)
      const single = new Pages(pageSize)
      const [bits, tree] = [new Bitfield(ranged), new TreeBits(ranged)]
      const [bitsOfOne, treeOfOne] = [new Bitfield(single), new TreeBits(single)]
      for (let length = 0; length < 40000; ) {
        const next = length + random.below(random.pick([3, 20, 700, 20000]))
        bits.setRange(length, next, true)
        tree.setAppended(length, next)
        for (let block = length; block < next; block++) {
          bitsOfOne.set(block, true)
          setClimbing(treeOfOne, 2 * block)
        }
        const differs = differencePages(ranged, single)
        if (differs !== null) return t.end(`round ${round}, ${length} to ${next}: ${differs}`)
        length = next
      }
    }
    t.pass('equal')
    t.end()
  })
}

test('bitfield: counting and searching as a plain array', (t) => {
  const random = new SeededRandom(SEED + 3)
  for (let round = 0; round < 300; round++) {
    const size = random.pick([7, 100, 9000, 30000])
    const plain = new Uint8Array(size + 100)
    const file = random.bytes(PAGE_SIZE * random.below(3))
    // Index bytes of any value: searching must not believe them.
    for (let page = 0; page * PAGE_SIZE < file.length; page++)
      file.fill(0, page * PAGE_SIZE, page * PAGE_SIZE + 1024)
    const bits = new Bitfield(new Pages(PAGE_SIZE, file))
    for (let step = 0; step < 6; step++) {
      const start = random.below(size)
      const end = Math.min(size, start + random.below(size))
      const value = random.chance(0.7)
      plain.fill(value ? 1 : 0, start, end)
      bits.setRange(start, end, value)
    }
    for (let query = 0; query < 30; query++) {
      const start = random.below(size + 20) - 10
      const end = start + random.below(random.pick([3, 40, size + 50]))
      const slice = plain.subarray(Math.max(start, 0), Math.max(end, start, 0))
      const expected = [
        slice.reduce((sum, bit) => sum + bit, 0),
        position(slice, 0, start, end, plain.length),
        position(slice, 1, start, end, plain.length)
      ]
      const answers = [bits.total(start, end), bits.firstMissing(start, end), bits.firstPresent(start, end)]
      if (`${answers}` !== `${expected}`)
        return t.end(`round ${round}, ${start} to ${end}: ${answers}, not ${expected}`)
      const block = Math.max(start, 0)
      if (bits.get(block) !== (plain[block] === 1)) return t.end(`round ${round}: get ${block}`)
    }
  }
  t.pass('equal')

  t.end()
})

test('bitfield: bounds', (t) => {
  const bits = new Bitfield(new Pages(PAGE_SIZE))
  t.equal(bits.length, 0)
  t.equal(bits.total(), 0)
  t.equal(bits.firstMissing(0, 5), 0, 'everything is missing')
  t.equal(bits.firstMissing(3, Number.POSITIVE_INFINITY), 3)
  t.equal(bits.firstPresent(0, Number.POSITIVE_INFINITY), -1)
  t.equal(bits.set(4, false), false)
  t.equal(bits.length, 0, 'a bit that stays zero does not count')
  t.equal(bits.set(4, true), true)
  t.equal(bits.set(4, true), false)
  t.equal(bits.length, 8)
  bits.setRange(0, 20000, true)
  t.equal(bits.total(), 20000)
  t.equal(bits.total(0, 0), 0)
  t.equal(bits.total(-5, 3), 3)
  t.equal(bits.total(9, 3), 0)
  t.equal(bits.total(19990, 30000), 10)
  t.equal(bits.firstMissing(0, 20000), -1)
  t.equal(bits.firstMissing(0, 20001), 20000)
  t.equal(bits.firstPresent(20000, 90000), -1)
  t.equal(bits.setRange(7, 7, false), 0)
  t.equal(bits.setRange(9, 7, false), 0)

  const far = 2 ** 45 + 123450
  t.equal(bits.set(far, true), true, 'a block far beyond 32 bits')
  t.equal(bits.get(far), true)
  t.equal(bits.get(far % 2 ** 32), false)
  t.equal(bits.firstMissing(far, far + 2), far + 1)
  t.equal(bits.firstPresent(far - 9000, far + 9000), far)
  t.equal(bits.total(far - 9000, far + 9000), 1)
  t.equal(bits.setRange(far - 1, far + 9000, true), 9000)
  t.equal(bits.setRange(far - 1, far + 10000, false), 9001)
  t.end()
})

test('bitfield: windows as bytes and compressed', (t) => {
  const random = new SeededRandom(SEED + 4)
  const bits = new Bitfield(new Pages(PAGE_SIZE))
  const theirs = publishedBitfield(PAGE_SIZE)
  t.equal(bits.compress(0, 0).length, 0, 'nothing yet')
  t.equal(bits.compress(0, 2 ** 20).length, 0, 'nothing in a window')
  for (let round = 0; round < 40; round++) {
    const start = random.below(50000)
    for (let block = start; block < start + 700; block++) {
      bits.set(block, true)
      theirs.set(block, true)
    }
  }
  for (const start of [0, 8192, 16384, 40960, 49152, 57344, 2 ** 20]) {
    for (const length of [8, 8192, 16384, 24576, 2 ** 20]) {
      const compressed = bits.compress(start, length)
      t.ok(b4a.equals(compressed, theirs.compress(start, length)), `window ${start}, ${length}`)
      const decoded = decode(compressed, 2 ** 17)
      const bytes = bits.toBytes(start, start + length)
      t.ok(b4a.equals(b4a.concat([decoded, b4a.alloc(length)], length / 8), bytes), 'decodes to the window')
    }
  }
  t.ok(b4a.equals(bits.compress(0, 0), theirs.compress(0, 0)), 'the whole')
  const odd = bits.toBytes(24, 20008)
  t.equal(odd.length, 2498)
  let wrong = 0
  for (let block = 24; block < 20008; block++) {
    const at = block - 24
    if (((odd[at >> 3]! & (128 >> (at & 7))) !== 0) !== bits.get(block)) wrong++
  }
  t.equal(wrong, 0, 'a window at any byte')
  t.equal(bits.toBytes(80, 40).length, 0, 'an empty one')
  t.throws(() => bits.toBytes(4, 16), { code: 'ERR_OUT_OF_RANGE' }, 'not at a byte')
  t.end()
})

test('iterator: all missing blocks, as the published one', (t) => {
  const random = new SeededRandom(SEED + 5)
  for (let round = 0; round < 40; round++) {
    const size = random.pick([50, 9000, 30000])
    const bits = new Bitfield(new Pages(PAGE_SIZE))
    const theirs = publishedBitfield(PAGE_SIZE)
    for (let step = 0; step < 20; step++) {
      const start = random.below(size)
      const end = start + random.below(size / 3)
      for (let block = start; block < end; block++) {
        bits.set(block, true)
        theirs.set(block, true)
      }
    }
    const start = random.below(size)
    const end = start + 1 + random.below(size)
    const ours = bits.iterator(start, end)
    const published = theirs.iterator(start, end)
    for (let step = 0; step < 5; step++) {
      const offset = random.below(end - start) - 2
      ours.seek(offset)
      published.seek(offset)
      for (;;) {
        const peeked = ours.peek()
        const block = ours.next()
        if (block !== peeked || block !== published.next())
          return t.end(`round ${round}: ${block}, peeked ${peeked}`)
        if (block === -1) break
      }
    }
  }
  t.pass('equal')
  t.end()
})

test('iterator: range, seek, random', (t) => {
  const bits = new Bitfield(new Pages(PAGE_SIZE))
  bits.setRange(0, 100, true)
  bits.setRange(40, 42, false)
  bits.set(70, false)
  let drawn = 0
  const ite = bits.iterator(10, 90, () => drawn)
  t.deepEqual([ite.next(), ite.next(), ite.next(), ite.next(), ite.next()], [40, 41, 70, -1, -1])
  t.equal(ite.seek(31).next(), 41)
  t.equal(ite.seek(-5).next(), 40, 'before the range is its start')
  t.equal(ite.seek(80).next(), -1, 'beyond the range is the end')
  t.equal(ite.range(10, 200).next(), -1, 'and stays it')
  t.equal(ite.seek(0).next(), 40, 'until the next seek')
  ite.seek(61)
  t.equal(ite.range(10, 90).next(), -1)
  t.equal(ite.range(10, 103).next(), 100, 'an exhausted range can be extended')
  bits.set(100, false)
  bits.set(101, true)
  t.equal(ite.next(), 102, 'bits are taken as they are now')

  ite.range(10, 90)
  t.equal(ite.random(), 40)
  drawn = 0.5
  t.equal(ite.random(), 70)
  drawn = 0.9
  t.equal(ite.random(), 40, 'wraps around')
  bits.setRange(0, 100, true)
  t.equal(ite.random(), -1)
  t.equal(bits.iterator().next(), bits.firstMissing(0, bits.length), 'without arguments: all')
  t.equal(bits.iterator(5, 5).next(), -1, 'an empty range')
  t.end()
})

/** Where in start … end − 1 the first bit of that value is; beyond `size` all are 0. */
function position(slice: Uint8Array, value: number, start: number, end: number, size: number): number {
  const at = slice.indexOf(value)
  if (at !== -1) return Math.max(start, 0) + at
  const beyond = Math.max(start, size)
  return value === 0 && beyond < end ? beyond : -1
}

function contentOf(pages: Pages): Uint8Array[] {
  const content: Uint8Array[] = []
  for (let page = 0; page < pages.length; page++) content.push(pages.read(page) ?? b4a.alloc(pages.pageSize))
  return content
}

function difference(pages: Pages, theirs: PublishedBitfield): string | null {
  if (pages.length !== theirs.pages.length) return `${pages.length} pages, expected ${theirs.pages.length}`
  const zero = b4a.alloc(pages.pageSize)
  return compare(contentOf(pages), (page) => theirs.pages.get(page, true)?.buffer ?? zero)
}

function differencePages(pages: Pages, expected: Pages): string | null {
  if (pages.length !== expected.length) return `${pages.length} pages, expected ${expected.length}`
  if (pages.dataBytes !== expected.dataBytes)
    return `${pages.dataBytes} data bytes, expected ${expected.dataBytes}`
  if (pages.treeBytes !== expected.treeBytes)
    return `${pages.treeBytes} tree bytes, expected ${expected.treeBytes}`
  const content = contentOf(expected)
  return compare(contentOf(pages), (page) => content[page]!)
}

function compare(content: Uint8Array[], expected: (page: number) => Uint8Array): string | null {
  for (const [page, bytes] of content.entries()) {
    const other = expected(page)
    if (b4a.equals(bytes, other)) continue
    const at = bytes.findIndex((byte, i) => byte !== other[i])
    return `page ${page} at ${at}: ${bytes[at]}, expected ${other[at]}`
  }
  return null
}
