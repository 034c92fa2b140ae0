/** Bits that the application changes while an operation has staged the same pages. */
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { CommittedBitfield, CommittedTreeBits } from '../../src/bitfield/committed.ts'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import ddatabase from '../../src/index.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'

test('committed bits: random changes below and in a stage', (t) => {
  const seed = seedFromEnvironment(1)
  const random = new SeededRandom(seed)
  for (let round = 0; round < 200; round++) {
    const pages = new Pages(PAGE_SIZE)
    const bits = new CommittedBitfield(pages)
    const tree = new CommittedTreeBits(pages)
    // The same changes one after the other, as if nothing had been staged. Even blocks below, odd ones in the stage.
    const plain = new Pages(PAGE_SIZE)
    const plainBits = new Bitfield(plain)
    const plainTree = new TreeBits(plain)
    bits.setRange(0, 9000, true)
    plainBits.setRange(0, 9000, true)
    const stage = pages.stage()
    const staged = { bits: new Bitfield(stage), tree: new TreeBits(stage) }
    const changed = new Map<number, boolean>()
    for (let i = 0; i < 20; i++) {
      const block = random.below(20_000)
      const value = random.below(2) === 0
      if (block % 2 === 0) {
        bits.set(block, value)
        tree.set(2 * block, value)
        changed.set(block, value)
      } else {
        staged.bits.set(block, value)
        staged.tree.set(2 * block, value)
        changed.set(block, value)
      }
      plainBits.set(block, value)
      plainTree.set(2 * block, value)
    }
    pages.adopt(stage)
    for (const [block, value] of changed) {
      if (bits.get(block) !== value || tree.get(2 * block) !== value) t.fail(`seed ${seed}, block ${block}`)
    }
    for (let page = 0; page < plain.length; page++) {
      const [one, two] = [pages.read(page), plain.read(page)].map(
        (bytes) => bytes && Buffer.from(bytes.subarray(0, 3072))
      )
      if (one && two && !one.equals(two)) t.fail(`seed ${seed}, page ${page}`)
    }
  }
  t.pass('are all there')
  t.end()
})

test('committed bits: index bytes follow', (t) => {
  const pages = new Pages(PAGE_SIZE)
  const bits = new CommittedBitfield(pages)
  bits.setRange(0, 20_000, true)
  const stage = pages.stage()
  // The index of a page is partly on the pages beside it.
  new Bitfield(stage).set(3, false)
  bits.set(9000, false)
  bits.set(17_000, false)
  new Bitfield(stage).set(19_000, false)
  pages.adopt(stage)
  const other = new Pages(PAGE_SIZE)
  const expected = new Bitfield(other)
  expected.setRange(0, 20_000, true)
  for (const block of [3, 9000, 17_000, 19_000]) expected.set(block, false)
  for (let page = 0; page < 3; page++) {
    t.ok(Buffer.from(pages.read(page)!).equals(Buffer.from(other.read(page)!)), `page ${page}`)
  }
  t.end()
})

test('committed bits: a page that only a repeated change has staged stays dirty', (t) => {
  const pages = new Pages(PAGE_SIZE)
  const bits = new CommittedBitfield(pages)
  const stage = pages.stage()
  new Bitfield(stage).setRange(16_383, 16_388, true)
  // From here on the stage counts as written.
  bits.set(28_751, true)
  t.deepEqual(stage.dirty, [0, 1, 2], 'a bit that is seen in the stage is not staged')
  // In the stage the index bytes above page 2 are other ones, and so one on page 3 is, too.
  bits.set(18_642, true)
  t.deepEqual(stage.dirty, [0, 1, 2, 3])
  pages.adopt(stage)
  t.ok(pages.dirty.includes(3), 'the bit on page 3 is yet to be written')
  t.end()
})

test('committed bits: pages that were changed late are written with the next operation', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append('a')
  for (const block of [100, 9000]) {
    const held = storage.hold((file, operation) => file === 'bitfield' && operation === 'write')
    const append = feed.append('b')
    await within(held, 'the write')
    t.equal(feed.bitfield!.set(block, true), true)
    storage.release()
    await within(append, 'append')
    t.equal(feed.bitfield!.get(block), true, `${block}: it is not lost`)
    await feed.append('c')
  }
  t.deepEqual([feed.length, feed.has(0), feed.has(3)], [5, true, true])
  const pages = new Pages(PAGE_SIZE, storage.files.read('bitfield')!.subarray(32))
  t.deepEqual(
    [0, 3, 4, 100, 9000].map((block) => new Bitfield(pages).get(block)),
    [true, true, true, true, true],
    'and all are in the file'
  )
  await feed.close()
})

test('committed bits: a change beside an operation that fails', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append('a')
  const write = feed._storage.bitfield!.write
  feed._storage.bitfield!.write = (_offset, _data, callback) => {
    feed.bitfield!.set(100, true)
    feed.bitfield!.set(9000, true)
    feed._storage.bitfield!.write = write
    callback(new Error('full'))
  }
  await feed.append('x').then(
    () => t.fail('should have failed'),
    () => {}
  )
  t.deepEqual([feed.length, feed.bitfield!.get(100), feed.bitfield!.get(1)], [1, true, false])
  await feed.append('b')
  const pages = new Pages(PAGE_SIZE, storage.files.read('bitfield')!.subarray(32))
  t.deepEqual(
    [0, 1, 100, 9000].map((block) => new Bitfield(pages).get(block)),
    [true, true, true, true]
  )
  await feed.close()
})
