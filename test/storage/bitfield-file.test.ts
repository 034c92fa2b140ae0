/** The pages of bits in their file: whichever way they are written, the file has what the stage has. */
import b4a from 'b4a'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { CommittedBitfield } from '../../src/bitfield/committed.ts'
import { LEGACY_PAGE_SIZE, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { BitfieldFile } from '../../src/storage/bitfield-file.ts'
import { HEADER_SIZE } from '../../src/storage/layout.ts'
import { Pace } from '../../src/storage/pace.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGES = 6

/** A file in memory that writes at once, until it is told to refuse or to fail. */
class Disk {
  content = b4a.alloc(HEADER_SIZE + PAGES * PAGE_SIZE)
  /** Writes at once before one is refused, or fails. */
  left = Number.POSITIVE_INFINITY
  fails = false
  writes = 0

  file(): StorageFile {
    const put = (offset: number, data: Uint8Array): void => {
      this.content.set(data, offset)
      this.writes++
    }
    return new StorageFile({
      read: (_offset: number, _size: number, callback: (error: Error) => void) =>
        callback(new Error('unused')),
      write: (offset: number, data: Uint8Array, callback: (error: null) => void) => {
        put(offset, data)
        callback(null)
      },
      writeSync: (offset: number, data: Uint8Array) => {
        if (this.left-- <= 0) {
          if (this.fails) throw new Error('disk full')
          return false
        }
        put(offset, data)
        return true
      }
    } as never)
  }

  /** Whether the file has these pages, but for some that are yet to be written. */
  has(pages: Pages, unwritten: readonly number[] = []): boolean {
    const { pageSize } = pages
    for (let page = 0; page < PAGES; page++) {
      if (unwritten.includes(page)) continue
      const stored = this.content.subarray(HEADER_SIZE + page * pageSize, HEADER_SIZE + (page + 1) * pageSize)
      if (!b4a.equals(stored, pages.read(page) ?? b4a.alloc(pageSize))) return false
    }
    return true
  }
}

test('bitfield file: changes of several pages are written at once, or later if that is refused', async (t) => {
  const random = new SeededRandom(5)
  const disk = new Disk()
  const pages = new Pages(PAGE_SIZE, disk.content.subarray(HEADER_SIZE))
  const file = new BitfieldFile(disk.file(), pages)
  let severalAtOnce = 0
  let later = 0
  for (let round = 0; round < 300; round++) {
    const stage = pages.stage()
    for (let i = 1 + random.below(8); i > 0; i--) {
      const block = random.below(PAGES * 8192)
      new Bitfield(stage).set(block, random.chance(0.7))
      new TreeBits(stage).set(2 * block, true)
    }
    const several = stage.dirty.length > 1
    disk.left = random.chance(0.3) ? random.below(6) : Number.POSITIVE_INFINITY
    const pace = new Pace(true)
    const written = file.writeSync(stage, pace, random.chance(0.5))
    if (written) severalAtOnce += several ? 1 : 0
    else {
      later++
      await file.write(stage, random.chance(0.5) ? pace : null)
    }
    file.adopt(stage)
    if (!disk.has(pages)) t.fail(`round ${round}: the file has other bits`)
  }
  t.ok(severalAtOnce > 100, `${severalAtOnce} changes of several pages at once`)
  t.ok(later > 30, `${later} later`)
})

test('bitfield file: a write at once that fails half way is undone', async (t) => {
  const disk = new Disk()
  const pages = new Pages(PAGE_SIZE, disk.content.subarray(HEADER_SIZE))
  const file = new BitfieldFile(disk.file(), pages)
  const first = pages.stage()
  for (let page = 0; page < PAGES; page++) new Bitfield(first).set(page * 8192 + 3, true)
  t.equal(file.writeSync(first, new Pace(true), true), true)
  file.adopt(first)
  const stage = pages.stage()
  for (let page = 0; page < PAGES; page++) new Bitfield(stage).set(page * 8192 + 9, true)
  disk.left = 3
  disk.fails = true
  const { writes } = disk
  t.throws(() => file.writeSync(stage, new Pace(true), true), /disk full/)
  t.ok(disk.writes > writes, 'some of it has been written')
  t.notOk(disk.has(pages))
  await file.restore(stage)
  t.ok(disk.has(pages), 'the file has what counts')
})

for (const pageSize of [PAGE_SIZE, LEGACY_PAGE_SIZE]) {
  test(`bitfield file: what the application sets behind a stage reaches the file, pages of ${pageSize} bytes`, async (t) => {
    // What it sets changes index bytes on other pages, too, and in the stage perhaps on more of them than below it.
    const random = new SeededRandom(7)
    let late = 0
    for (let round = 0; round < 500; round++) {
      const disk = new Disk()
      const pages = new Pages(pageSize)
      const file = new BitfieldFile(disk.file(), pages)
      const bits = new CommittedBitfield(pages)
      const somewhere = (): number =>
        random.below(4) * 8192 + [0, 4096, 8191, random.below(8192)][random.below(4)]!
      for (let step = 0; step < 4; step++) {
        const stage = pages.stage()
        const start = somewhere()
        new Bitfield(stage).setRange(start, start + 1 + random.below(20), random.chance(0.7))
        if (random.chance(0.5)) bits.set(somewhere(), random.chance(0.7))
        await file.write(stage, null)
        for (let i = random.below(3); i > 0; i--) bits.set(somewhere(), random.chance(0.7))
        file.adopt(stage)
        late += file.unsettled.length
        if (!disk.has(pages, file.unsettled)) t.fail(`round ${round}: the file has other bits`)
      }
      await file.write(pages.stage(), null)
      if (!disk.has(pages)) t.fail(`round ${round}: with the next operation the file has other bits`)
    }
    t.ok(late > 500, `${late} pages were to be written once more`)
  })
}

test('bitfield file: many pages that were changed behind a stage are not written in one go', async (t) => {
  const pages = new Pages(PAGE_SIZE)
  const disk = new Disk()
  disk.content = b4a.alloc(HEADER_SIZE + 2 * 400 * PAGE_SIZE)
  const file = new BitfieldFile(disk.file(), pages)
  for (let page = 0; page < 800; page += 2) new Bitfield(pages).set(page * 8192 + 1, true)
  const stage = pages.stage()
  new Bitfield(stage).set(2, true)
  const pace = new Pace(true)
  t.equal(file.writeSync(stage, pace, true), false)
  t.equal(disk.writes, 0)
  let turns = 0
  let ended = false
  const count = (): void => {
    turns++
    if (!ended) setImmediate(count)
  }
  setImmediate(count)
  disk.left = 10
  await file.write(stage, pace)
  ended = true
  t.ok(turns > 0, 'but with turns of the event loop in between')
  t.ok(disk.left < 0, 'at once, if the storage does')
  file.adopt(stage)
  for (let page = 0; page < 800; page++) {
    const at = HEADER_SIZE + page * PAGE_SIZE
    const expected = pages.read(page) ?? b4a.alloc(PAGE_SIZE)
    if (!b4a.equals(disk.content.subarray(at, at + PAGE_SIZE), expected)) t.fail(`page ${page}`)
  }
})

test('bitfield file: nothing is written at once where that is not allowed', async (t) => {
  const disk = new Disk()
  const pages = new Pages(PAGE_SIZE, disk.content.subarray(HEADER_SIZE))
  const file = new BitfieldFile(disk.file(), pages)
  const stage = pages.stage()
  new Bitfield(stage).set(1, true)
  const pace = new Pace(true)
  while (pace.allows(0)) {
    // Until this turn has had its share.
  }
  t.equal(file.writeSync(stage, pace, true), false)
  t.equal(disk.writes, 0)
  disk.left = 1
  const written = file.write(stage, pace)
  await Promise.resolve()
  t.equal(disk.writes, 0)
  await written
  t.ok(disk.left <= 0, 'but in the next turn')
  file.adopt(stage)
  t.ok(disk.has(pages))
})
