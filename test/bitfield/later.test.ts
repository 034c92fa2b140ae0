/** Pages that come from a checkpoint when they are needed, and go again, against those that were read as a whole. */
import b4a from 'b4a'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { CommittedBitfield, CommittedTreeBits } from '../../src/bitfield/committed.ts'
import { INDEX_OFFSET, PAGE_BLOCKS, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { type Checkpoint, encodeCheckpoint } from '../../src/storage/checkpoint.ts'
import { CheckpointFiles } from '../../src/storage/checkpoint-files.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGES = 300

const digest = (bytes: Uint8Array | null): string => b4a.toString(bytes ?? b4a.alloc(PAGE_SIZE), 'hex')

/** Pages of all kinds: of all blocks, of single ones, of every other, of none; the ends of the three parts of a page, too. */
function someFeed(random: SeededRandom): Pages {
  const pages = new Pages(PAGE_SIZE)
  const bits = new Bitfield(pages)
  const tree = new TreeBits(pages)
  bits.setRange(0, 70 * PAGE_BLOCKS, true)
  tree.setRange(0, 2 * 70 * PAGE_BLOCKS - 1, true)
  for (let i = 0; i < 400; i++) {
    // Whole chunks stay empty.
    const block = random.below(8) * 40 * PAGE_BLOCKS + random.below(5 * PAGE_BLOCKS)
    const value = random.chance(0.7)
    bits.set(block, value)
    tree.set(2 * block, value)
    tree.set(2 * block + 1, value)
  }
  bits.set(PAGES * PAGE_BLOCKS - 1, true)
  return pages
}

interface Lazy {
  pages: Pages
  /** Set: reading the file fails, or is not possible at once. */
  fails: { with: Error | 'not now' | null }
  /** The file. */
  content: Uint8Array
}

/** The same pages, coming from a checkpoint and a file of them. */
async function later(eager: Pages, mostClean: number, mostUnpacked: number, cut = 0): Promise<Lazy> {
  const content = b4a
    .concat([b4a.alloc(32), ...contents(eager)])
    .subarray(0, 32 + eager.length * PAGE_SIZE - cut)
  const fails: Lazy['fails'] = { with: null }
  const file = new StorageFile({
    read: () => {},
    write: () => {},
    readSync: (offset, size) => {
      if (fails.with === 'not now') return null
      if (fails.with !== null) throw fails.with
      return content.subarray(offset, offset + size)
    }
  })
  const pages = new Pages(PAGE_SIZE, undefined, mostUnpacked, mostClean)
  pages.loadLater((await checkpointOf(eager)).source(file, content.byteLength, null)!)
  return { pages, fails, content }
}

async function checkpointOf(pages: Pages): Promise<Checkpoint> {
  const head = { length: 0, byteLength: 0, treeHash: new Uint8Array(32), signatureSlots: 0, dataBytes: 0 }
  const files = new CheckpointFiles(new MemoryFiles().factory() as never, new Uint8Array(32))
  await files.write(encodeCheckpoint(head, pages))
  return (await files.load())!(2 * PAGE_BLOCKS * pages.length)!
}

const KEPT = [
  [0, 2048],
  [3, 1],
  [40, 5],
  [1024, 2048]
] as const

for (const [mostClean, mostUnpacked] of KEPT) {
  test(`pages read later: against those read as a whole, ${mostClean} kept, ${mostUnpacked} unpacked`, async (t) => {
    for (let seed = 1; seed <= 3; seed++) {
      const random = new SeededRandom(seed)
      const eager = someFeed(random)
      eager.takeDirty()
      // Loaded, as pages are that were in a file.
      const whole = new Pages(PAGE_SIZE, b4a.concat(contents(eager)))
      const { pages: lazy, fails } = await later(eager, mostClean, mostUnpacked)
      const both = [whole, lazy]
      const committed = both.map((pages) => ({
        bits: new CommittedBitfield(pages),
        tree: new CommittedTreeBits(pages)
      }))
      const same = (what: string, [one, other]: unknown[]): void => {
        if (one !== other) t.fail(`seed ${seed}: ${what}: ${other} instead of ${one}`)
      }
      const failures = new Set<string>()
      let most = 0
      for (let step = 0; step < 250; step++) {
        const block = random.below((PAGES + 5) * PAGE_BLOCKS)
        const end = block + random.below(random.chance(0.1) ? 10 * PAGE_BLOCKS : 200)
        const value = random.chance(0.5)
        const what = random.next()
        if (what < 0.2) {
          same(
            `get ${block}`,
            committed.map(({ bits, tree }) => Number(bits.get(block)) + 2 * Number(tree.get(2 * block + 1)))
          )
        } else if (what < 0.3)
          same(
            `missing ${block} … ${end}`,
            committed.map(({ bits }) => bits.firstMissing(block, end))
          )
        else if (what < 0.4)
          same(
            `total ${block} … ${end}`,
            committed.map(({ bits }) => bits.total(block, end))
          )
        else if (what < 0.45)
          same(
            `window ${block}`,
            committed.map(({ bits }) => b4a.toString(bits.compress(block - (block % 8), 1000), 'hex'))
          )
        else if (what < 0.55) {
          same(
            `set ${block}`,
            committed.map(({ bits }) => bits.set(block, value))
          )
          for (const { tree } of committed) tree.set(2 * block, value)
        } else if (what < 0.85) {
          const adopted = random.chance(0.7)
          const behind = random.chance(0.2)
          const stages = both.map((pages) => pages.stage())
          for (const [i, stage] of stages.entries()) {
            new Bitfield(stage).setRange(block, end, value)
            new TreeBits(stage).setRange(2 * block, 2 * end, value)
            // Others are read, and changed, meanwhile.
            committed[i]!.bits.total()
            if (behind) committed[i]!.bits.set(block + 9, !value)
          }
          same(
            `changed by ${block} … ${end}`,
            stages.map((stage) => stage.dirty.join())
          )
          if (adopted) for (const [i, pages] of both.entries()) pages.adopt(stages[i]!)
        } else if (what < 0.9) {
          // A change that needs the file fails, and reading does not need it.
          for (const reason of [new Error('EIO'), 'not now'] as const) {
            fails.with = reason
            try {
              new Bitfield(lazy.stage()).setRange(block, end, value)
            } catch (error) {
              failures.add(String((error as Error).message))
              same('code', ['ERR_STORAGE', (error as { code?: unknown }).code])
            }
          }
          same(
            `get ${block} without the file`,
            committed.map(({ bits }) => bits.get(block))
          )
          fails.with = null
        } else {
          same(
            'dirty',
            both.map((pages) => pages.takeDirty().join())
          )
        }
        same(
          'length',
          both.map(({ length, dataBytes, treeBytes }) => [length, dataBytes, treeBytes].join())
        )
        most = Math.max(most, lazy.cleanPages)
      }
      // The chunk that came last stays.
      t.ok(most <= mostClean + 64, `${most} pages kept`)
      t.ok((await checkpointOf(lazy)).hasBitsOf(whole), 'a checkpoint of them')
      for (let page = 0; page < whole.length; page++) {
        if (digest(whole.read(page)) !== digest(lazy.whole(page))) t.fail(`seed ${seed}: page ${page}`)
      }
      t.equal(failures.size, 2, `seed ${seed}: both ways to fail`)
    }
  })
}

function contents(pages: Pages): Uint8Array[] {
  return Array.from({ length: pages.length }, (_, page) => pages.read(page) ?? b4a.alloc(PAGE_SIZE))
}

test('pages read later: bits that are damaged in the file are written again with the next change', async (t) => {
  const eager = someFeed(new SeededRandom(1))
  const { pages, content } = await later(eager, 1024, 2048)
  for (const place of [3, INDEX_OFFSET - 1]) content[32 + 71 * PAGE_SIZE + place]! ^= 4
  t.equal(digest(pages.read(71)?.subarray(0, INDEX_OFFSET) ?? null), digest(bitsIn(eager, 71)), 'right bits')
  t.deepEqual(pages.dirty, [])
  t.equal(digest(pages.whole(71)), digest(eager.read(71)), 'right, with its index bytes')
  t.deepEqual(pages.dirty, [71], 'it is to be written')
  t.equal(digest(pages.whole(72)), digest(eager.read(72)))
  t.deepEqual(pages.dirty, [71], 'and no other')
})

test('pages read later: what somebody else has set in the byte that is changed stays', (t) => {
  const foreign = { blocks: [1, 9, 23], nodes: [1, 40] }
  const stored = new Pages(PAGE_SIZE)
  for (const block of foreign.blocks) new Bitfield(stored).set(block, true)
  for (const node of foreign.nodes) new TreeBits(stored).set(node, true)
  const changes: Record<string, (bits: Bitfield, tree: TreeBits) => void> = {
    'a block': (bits) => bits.set(0, true),
    blocks: (bits) => bits.setRange(10, 13, true),
    'a block that they have set, too': (bits) => bits.set(9, true),
    'blocks that they have set, too': (bits) => bits.setRange(21, 24, true),
    'a node': (_, tree) => tree.set(0, true),
    nodes: (_, tree) => tree.setRange(42, 44, true)
  }
  for (const [what, change] of Object.entries(changes)) {
    const expected = new Pages(PAGE_SIZE, b4a.concat(contents(stored)))
    change(new Bitfield(expected), new TreeBits(expected))
    for (const staged of [false, true]) {
      const pages = new Pages(PAGE_SIZE)
      // The page is not known to have been touched: its bits are thought to be those of the checkpoint, none.
      pages.loadLater({
        count: 1,
        stored: 1,
        exact: false,
        bitsOf: () => null,
        encodedBitsOf: () => null,
        storedPage: () => b4a.from(stored.read(0)!)
      })
      if (staged) {
        const stage = pages.stage()
        change(new Bitfield(stage), new TreeBits(stage))
        pages.adopt(stage)
      } else change(new CommittedBitfield(pages), new CommittedTreeBits(pages))
      t.equal(digest(pages.whole(0)), digest(expected.read(0)), `${what}, ${staged ? 'staged' : 'at once'}`)
    }
  }
  t.end()
})

test('pages read later: what somebody else has set does not part an open stage from what is below', (t) => {
  const foreign = b4a.alloc(PAGE_SIZE)
  foreign[0] = 0x40
  const pages = new Pages(PAGE_SIZE)
  pages.loadLater({
    count: 1,
    stored: 1,
    exact: false,
    bitsOf: () => null,
    encodedBitsOf: () => null,
    storedPage: () => foreign
  })
  const bits = new CommittedBitfield(pages)
  const stage = pages.stage()
  t.equal(bits.set(1, true), true, 'it was not seen before')
  new Bitfield(stage).set(2, true)
  t.equal(bits.setRange(0, 3, true), 2)
  pages.adopt(stage)
  t.deepEqual(
    [0, 1, 2].map((block) => bits.get(block)),
    [true, true, true]
  )
  t.end()
})

test('pages read later: a new page of a chunk that was read while it was staged stays', (t) => {
  const chunk = 32
  const stored = chunk + 8
  const file = b4a.alloc(stored * PAGE_SIZE)
  // The index says that there is something to the right of all that is stored.
  file[(stored - 1) * PAGE_SIZE + PAGE_SIZE - 1] = 1
  const pages = new Pages(PAGE_SIZE, undefined, 2048, 1)
  pages.loadLater({
    count: stored,
    stored,
    exact: true,
    bitsOf: () => null,
    encodedBitsOf: () => b4a.alloc(0),
    storedPage: (page) => file.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)
  })
  const block = (chunk + 16) * PAGE_BLOCKS - 1
  const stage = pages.stage()
  new Bitfield(stage).set(block, true)
  t.ok(pages.whole(stored - 1), 'a neighbour is read')
  pages.adopt(stage)
  const bits = new Bitfield(pages)
  t.ok(bits.get(block))
  t.notOk(pages.isClean(1), 'the chunk is not as it is in the source')
  for (let page = 0; page < chunk; page++) pages.whole(page)
  for (let page = 0; page < 8; page++) pages.whole(chunk + page)
  t.ok(bits.get(block), 'whatever else is read')
  t.end()
})

function bitsIn(pages: Pages, page: number): Uint8Array | null {
  return pages.read(page)?.subarray(0, INDEX_OFFSET) ?? null
}

test('pages read later: a file that ends within its last page, one with more pages, one with fewer', async (t) => {
  const eager = new Pages(PAGE_SIZE)
  new TreeBits(eager).setRange(0, 40 * 2 * PAGE_BLOCKS, true)
  const { pages } = await later(eager, 1024, 2048, PAGE_SIZE - INDEX_OFFSET)
  t.equal(digest(pages.whole(39)), digest(eager.read(39)), 'its last page')
  const checkpoint = await checkpointOf(eager)
  const file = new StorageFile({ read: () => {}, write: () => {} })
  t.equal(checkpoint.source(file, 32 + 39 * PAGE_SIZE, null), null, 'fewer pages than bits')
  t.equal(checkpoint.source(file, 32 + 50 * PAGE_SIZE, null)!.stored, 50)
  const longer = new Pages(PAGE_SIZE)
  longer.loadLater(checkpoint.source(file, 32 + 50 * PAGE_SIZE, null)!)
  t.equal(longer.length, 50)
  t.equal(longer.read(45), null, 'without bits')
})
