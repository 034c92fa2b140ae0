/** What a checkpoint says of bits: that it is the same as what was written, and notices every bit that differs. */
import { fullRoots } from 'flat-tree'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { INDEX_OFFSET, LEGACY_PAGE_SIZE, PAGE_BLOCKS, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { Checkpoints } from '../../src/feed/checkpoints.ts'
import { type Checkpoint, encodeCheckpoint } from '../../src/storage/checkpoint.ts'
import { CheckpointFiles } from '../../src/storage/checkpoint-files.ts'
import { SimulatedDisk } from '../crash/disk.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const KEY = new Uint8Array(32).fill(7)

function pagesOf(length: number, sparse: readonly number[] = [], pageSize = PAGE_SIZE): Pages {
  const pages = new Pages(pageSize)
  new Bitfield(pages).setRange(0, length, true)
  new TreeBits(pages).setAppended(0, length)
  for (const block of sparse) {
    new Bitfield(pages).set(block, true)
    new TreeBits(pages).set(2 * block, true)
  }
  return pages
}

function filesOf(stored: MemoryFiles): CheckpointFiles {
  return new CheckpointFiles(stored.factory() as never, KEY)
}

async function written(pages: Pages, length: number): Promise<MemoryFiles> {
  const stored = new MemoryFiles()
  const head = { length, byteLength: length, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 }
  await filesOf(stored).write(encodeCheckpoint(head, pages))
  return stored
}

async function read(stored: MemoryFiles, pages: Pages): Promise<Checkpoint | null> {
  return (await filesOf(stored).load())?.(pages.length * 2 * PAGE_BLOCKS) ?? null
}

test('checkpoint: has the bits that were written', async (t) => {
  const far = 70 * PAGE_BLOCKS + 11
  const cases: [string, number, number[]][] = [
    ['nothing', 0, []],
    ['a few blocks', 11, []],
    ['many pages', 40 * PAGE_BLOCKS + 3, []],
    ['single blocks of a long feed', 0, [5, far, 200 * PAGE_BLOCKS]]
  ]
  for (const [name, length, sparse] of cases) {
    for (const pageSize of [PAGE_SIZE, LEGACY_PAGE_SIZE]) {
      const pages = pagesOf(length, sparse, pageSize)
      const stored = await written(pages, length)
      const checkpoint = (await read(stored, pages))!
      t.equal(checkpoint.hasBitsOf(pages), true, `${name}, pages of ${pageSize}`)
      for (let page = 0; page < pages.length; page++) {
        const bits = pages.read(page)?.subarray(0, INDEX_OFFSET) ?? new Uint8Array(INDEX_OFFSET)
        const known = checkpoint.pages.read(page)?.subarray(0, INDEX_OFFSET) ?? new Uint8Array(INDEX_OFFSET)
        if (Buffer.compare(bits, known) !== 0) t.fail(`page ${page} is another one`)
      }
      t.equal(checkpoint.hasBitsOf(pages), true, 'also when its pages have been asked for')
    }
  }
})

test('checkpoint: notices each bit that differs, in either direction, and no other bytes', async (t) => {
  const random = new SeededRandom(42)
  const length = 36 * PAGE_BLOCKS + 100
  const sparse = [70 * PAGE_BLOCKS]
  const stored = await written(pagesOf(length, sparse), length)
  for (let i = 0; i < 40; i++) {
    const pages = pagesOf(length, sparse)
    const checkpoint = (await read(stored, pages))!
    // The first time without its pages, then with them.
    if (i % 2 === 1) t.equal(checkpoint.pages.length, pages.length)
    const page = random.below(pages.length)
    const at = random.below(PAGE_SIZE)
    pages.write(page)[at]! ^= 1 << random.below(8)
    t.equal(checkpoint.hasBitsOf(pages), at >= INDEX_OFFSET, `page ${page}, byte ${at}`)
  }
  const longer = pagesOf(length, sparse)
  longer.touch(90)
  t.equal((await read(stored, longer))!.hasBitsOf(longer), true, 'empty pages more')
  new Bitfield(longer).set(80 * PAGE_BLOCKS, true)
  t.equal((await read(stored, longer))!.hasBitsOf(longer), false, 'a block more')
  const shorter = pagesOf(length)
  t.equal((await read(stored, longer))!.hasBitsOf(shorter), false, 'a page less')
})

test('checkpoint: less what its records take back', async (t) => {
  const pages = pagesOf(100)
  const stored = await written(pages, 100)
  const files = filesOf(stored)
  await files.load()
  await files.cleared({ start: 10, end: 20 })
  const checkpoint = (await read(stored, pages))!
  t.equal(checkpoint.hasBitsOf(pages), false)
  new Bitfield(pages).setRange(10, 20, false)
  t.equal(checkpoint.hasBitsOf(pages), true)
  t.equal(checkpoint.dataBytes, null)
})

test('checkpoint: the whole of a very long feed is taken back, with one record', async (t) => {
  const stored = await written(pagesOf(100), 100)
  const files = filesOf(stored)
  await files.load()
  const bare = stored.toHex()
  const claims = { readsData: true, claimed: true }
  const checkpoints = new Checkpoints({ storage: {} } as never, stored.factory() as never, files, claims)
  // More windows of blocks than a set can hold.
  await checkpoints.cleared({ start: 0, end: 2 ** 35 })
  const taken = stored.toHex()
  t.notDeepEqual(taken, bare, 'there is a record')
  const checkpoint = (await read(stored, pagesOf(100)))!
  t.equal(checkpoint.length, 100, 'and the checkpoint is still there')
  t.equal(new Bitfield(checkpoint.pages).total(), 0, 'without blocks')
  await checkpoints.cleared({ start: 2 ** 35 - 5000, end: 2 ** 35 - 10 })
  t.deepEqual(stored.toHex(), taken, 'what is taken back is not taken back once more')
  await checkpoints.cleared({ start: 2 ** 35 - 10, end: 2 ** 35 + 1 })
  t.notDeepEqual(stored.toHex(), taken, 'but one block more')
})

test('checkpoint: the mark that files are clean', async (t) => {
  const pages = pagesOf(100)
  const stored = await written(pages, 100)
  let files = filesOf(stored)
  const reload = async (): Promise<Checkpoint | null> => {
    files = filesOf(stored)
    return (await files.load())?.(2 * PAGE_BLOCKS) ?? null
  }
  await reload()
  t.deepEqual([files.clean, files.bare], [null, true], 'not said')
  await files.mark('as they are')
  t.equal(files.clean, 'as they are')
  t.equal((await reload())!.hasBitsOf(pages), true)
  t.deepEqual([files.clean, files.bare], ['as they are', true], 'said')
  await files.unmark()
  t.equal(files.clean, null)
  t.equal((await reload())!.hasBitsOf(pages), true, 'the checkpoint stays')
  t.deepEqual([files.clean, files.bare], [null, true], 'taken back')

  await files.mark('once more')
  const marked = stored.clone()
  await files.cleared({ start: 3, end: 4 })
  t.equal(files.clean, null, 'a record takes its place')
  t.equal((await reload())!.hasBitsOf(pages), false)
  t.deepEqual([files.clean, files.bare], [null, false])
  await files.mark('never')
  await reload()
  t.equal(files.clean, null, 'nothing is said of a checkpoint with records')

  // Versions that do not know the mark write records behind it.
  const name = stored.read('checkpoint.0')!.byteLength > 0 ? 'checkpoint.0' : 'checkpoint.1'
  const frame = (await written(pages, 100)).read(name)!.byteLength
  const record = stored.read(name)!.subarray(frame, frame + 24 + 16 + 32)
  marked.writeAt(name, frame + 24 + 'once more'.length + 32, record)
  files = filesOf(marked)
  const checkpoint = (await files.load())!(2 * PAGE_BLOCKS)!
  t.deepEqual([files.clean, files.bare], [null, false], 'records behind it: it does not count')
  t.equal(checkpoint.hasBitsOf(pages), false, 'and they do')

  // Torn at any byte it is not there.
  const whole = stored.clone()
  const payload = encodeCheckpoint(
    { length: 100, byteLength: 100, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 },
    pages
  )
  files = filesOf(whole)
  await files.load()
  await files.write(payload, false, 'stamps')
  const other = name === 'checkpoint.0' ? 'checkpoint.1' : 'checkpoint.0'
  const bytes = whole.read(other)!
  for (let size = 0; size <= bytes.byteLength; size++) {
    const torn = whole.clone()
    torn.put(other, Buffer.from(bytes.subarray(0, size)))
    const again = filesOf(torn)
    const read = (await again.load())!(2 * PAGE_BLOCKS)!
    const expected = size === bytes.byteLength ? 'stamps' : null
    if (again.clean !== expected) t.fail(`${size} of ${bytes.byteLength} bytes`)
    if (read.hasBitsOf(pages) !== size >= frame) t.fail(`${size} of ${frame} bytes of the checkpoint`)
  }
  await files.write(payload)
  files = filesOf(whole)
  await files.load()
  t.equal(files.clean, null)
  whole.put(name, Buffer.alloc(0))
  files = filesOf(whole)
  await files.load()
  t.equal(files.clean, null, 'not of the one before either, should the last one be lost')
})

test('checkpoint: one that is malformed, or claims more than there can be, is none', async (t) => {
  const pages = pagesOf(5 * PAGE_BLOCKS)
  const whole = encodeCheckpoint(
    { length: 5, byteLength: 5, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 },
    pages
  )
  const loaded = async (payload: Uint8Array, treeSlots = 10 * PAGE_BLOCKS): Promise<Checkpoint | null> => {
    const stored = new MemoryFiles()
    await filesOf(stored).write(payload)
    return (await filesOf(stored).load())!(treeSlots)
  }
  t.notEqual(await loaded(whole), null, 'this one is well formed')
  const longer = Uint8Array.from(whole)
  new DataView(longer.buffer).setUint32(4, 5 * PAGE_BLOCKS)
  t.notEqual(await loaded(longer), null, 'of a length that has its roots in a tree of so many nodes')
  t.equal(await loaded(longer, 0), null, 'and cannot have them in this one')
  t.equal(await loaded(whole.subarray(0, whole.byteLength - 1)), null, 'its piece is cut')
  t.equal(await loaded(whole.subarray(0, 72)), null, 'its piece is missing')
  const torn = Uint8Array.from(whole)
  torn.fill(0xff, 76)
  t.equal(await loaded(torn), null, 'its piece is no encoding')
})

/** What is read of a checkpoint of these pages where the tree ends with the last root of that length. */
async function ofRoots(length: number, pages: Pages): Promise<Checkpoint | null> {
  const stored = await written(pages, length)
  return (await filesOf(stored).load())!(fullRoots(2 * length).at(-1)! + 1)
}

test('checkpoint: of a copy that has nothing but the roots of a length', async (t) => {
  for (const length of [1, 8192, 16384, 16385, 32768, 40960, 49152, 65536, 2 ** 30]) {
    const pages = new Pages(PAGE_SIZE)
    for (const root of fullRoots(2 * length)) new TreeBits(pages).set(root, true)
    const checkpoint = await ofRoots(length, pages)
    t.equal(checkpoint?.length, length, `${length} blocks, ${pages.length} pages`)
    t.equal(checkpoint?.hasBitsOf(pages), true)
  }
})

test('checkpoint: of a short feed with bits far away, which an application has set', async (t) => {
  for (const far of [100_000, 2 ** 30]) {
    const pages = pagesOf(3)
    new Bitfield(pages).set(far, true)
    const checkpoint = await ofRoots(3, pages)
    t.equal(checkpoint?.length, 3, `bit ${far}`)
    t.ok((checkpoint?.pages.length ?? 0) <= 32, 'no more is read than the tree may need')
    t.equal(new Bitfield(checkpoint!.pages).total(0, 3), 3, 'the blocks are known')
  }
})

test('checkpoint: while the files are being removed, what was taken back stays so', async (t) => {
  const head = { byteLength: 100, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 }
  const cleared = pagesOf(100)
  new Bitfield(cleared).setRange(10, 20, false)
  const random = new SeededRandom(42)
  for (const before of [1, 2]) {
    const disk = new SimulatedDisk({ extraFiles: true })
    const files = new CheckpointFiles(disk.factory() as never, KEY)
    for (let i = 0; i < before; i++) await files.write(encodeCheckpoint({ ...head, length: 90 }, pagesOf(90)))
    await files.write(encodeCheckpoint({ ...head, length: 100 }, pagesOf(100)))
    await files.cleared({ start: 10, end: 20 })
    const start = disk.now
    await files.destroy()
    for (let moment = start; moment <= disk.now; moment++) {
      for (let i = 0; i < 5; i++) {
        const left = await filesOf(disk.powerless(moment, random)).load()
        const checkpoint = left?.(2 * PAGE_BLOCKS) ?? null
        if (checkpoint?.hasBitsOf(cleared) === false) t.fail(`at ${moment} of ${start} … ${disk.now}`)
        if (moment === disk.now)
          t.equal(checkpoint, null, 'then nothing is left, whatever becomes of the names')
      }
    }
  }
})

test('checkpoint: one that could not be made durable does not count, as it would miss what is taken back later', async (t) => {
  const pages = pagesOf(100)
  const stored = await written(pages, 100)
  const failure = { error: new Error('No synchronisation'), done: 'everything' } as const
  let failures = 0
  const before = () => (failures-- > 0 ? failure : undefined)
  const flaky = stored.factory({ before: (_, operation) => (operation === 'write' ? before() : undefined) })
  const files = new CheckpointFiles(flaky as never, KEY)
  await files.load()
  const head = { length: 100, byteLength: 100, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 }
  failures = 1
  const error = await files.write(encodeCheckpoint(head, pages)).catch((error: unknown) => error)
  t.equal(error, failure.error)
  await files.cleared({ start: 10, end: 20 })
  new Bitfield(pages).setRange(10, 20, false)
  t.equal((await read(stored, pages))!.hasBitsOf(pages), true)
})
