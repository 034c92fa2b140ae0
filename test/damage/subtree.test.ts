/** Subtrees that are looked at in one go: nothing that does not hold passes, and what is found is the same as one by one. */
import flat from 'flat-tree'
import test from 'tape'
import { subtreeHolds } from '../../src/feed/subtree.ts'
import ddatabase from '../../src/index.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { decodeNode, TreeFile } from '../../src/storage/tree-file.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { BLOCKS, flip, offsetOf, slotOf, storedAuthor } from './stored.ts'

/** How a storage reads at once: where it is asked to, somewhere else, or not at all. */
type Reads = 'target' | 'own' | 'never'

function readingNow(files: MemoryFiles, reads: Reads): (name: string) => object {
  const create = files.factory()
  return (name) => {
    const storage = create(name)
    return Object.assign(storage, {
      readSync(offset: number, size: number, target?: Uint8Array): Uint8Array | null {
        const content = files.read(name)
        if (reads === 'never' || content === null || !storage.opened || storage.closed) return null
        const bytes = Uint8Array.prototype.slice.call(content, offset, offset + size)
        if (reads === 'own' || target === undefined) return Buffer.from(bytes)
        target.set(bytes)
        return target.subarray(0, size)
      }
    })
  }
}

interface Outcome {
  holds: boolean
  blocks: [number, string][]
}

/** What looking at all below a node comes to, whose hash and size are those of an undamaged file. */
async function look(
  files: MemoryFiles,
  whole: MemoryFiles,
  treeIndex: number,
  reads: Reads = 'target'
): Promise<Outcome> {
  const create = readingNow(files, reads)
  const [treeStorage, data] = ['tree', 'data'].map((name) => new StorageFile(create(name) as never))
  await treeStorage!.read(0, 32)
  await data!.read(0, 1)
  const tree = new TreeFile(treeStorage!, files.read('tree')!.byteLength, 0, null)
  const node = decodeNode(treeIndex, whole.read('tree')!, slotOf(treeIndex))!
  const blocks: [number, string][] = []
  const holds = subtreeHolds(tree, data!, node, offsetOf(flat.leftSpan(treeIndex) / 2), (block, bytes) =>
    blocks.push([block, Buffer.from(bytes).toString()])
  )
  return { holds, blocks }
}

// Of 2, 4, 16 and 32 blocks; the second begins with an empty one.
const NODES = [1, 13, 15, 31, 61]

test('subtree: all that is whole holds', async (t) => {
  const files = await storedAuthor()
  for (const treeIndex of NODES) {
    const start = flat.leftSpan(treeIndex) / 2
    const end = flat.rightSpan(treeIndex) / 2 + 1
    const blocks = BLOCKS.slice(start, end).map((block, i) => [start + i, String(block)])
    for (const reads of ['target', 'own'] as const) {
      const looked = await look(files, files, treeIndex, reads)
      t.equal(looked.holds, true, `node ${treeIndex}, ${reads}`)
      t.deepEqual(looked.blocks, blocks, 'each block is told once, in order')
    }
    t.equal((await look(files, files, treeIndex, 'never')).holds, false, 'not without reading at once')
  }
})

test('subtree: a single bit that is wrong is seen, wherever it is', async (t) => {
  const whole = await storedAuthor()
  const random = new SeededRandom(1105)
  let missed = 0
  for (const treeIndex of NODES) {
    const [first, last] = [flat.leftSpan(treeIndex), flat.rightSpan(treeIndex)]
    const [dataStart, dataEnd] = [offsetOf(first / 2), offsetOf(last / 2 + 1)]
    for (let i = 0; i < 60; i++) {
      const files = whole.clone()
      if (i % 3 === 0) flip(files, 'data', dataStart + random.below(dataEnd - dataStart), random.below(8))
      else flip(files, 'tree', slotOf(first) + random.below(40 * (last - first + 1)), random.below(8))
      const looked = await look(files, whole, treeIndex)
      if (looked.holds || looked.blocks.length > 0) missed++
    }
  }
  t.equal(missed, 0)
})

test('subtree: sizes that are shifted between two blocks, and files that end early', async (t) => {
  const whole = await storedAuthor()
  const shifted = whole.clone()
  const content = Buffer.from(shifted.read('tree')!)
  content[slotOf(0) + 39]! += 1
  content[slotOf(2) + 39]! -= 1
  shifted.put('tree', content)
  t.equal((await look(shifted, whole, 1)).holds, false, 'the parent has the same size')
  const cut = whole.clone()
  cut.put('tree', whole.read('tree')!.subarray(0, slotOf(flat.rightSpan(31)) + 39))
  t.equal((await look(cut, whole, 31)).holds, false, 'the last slot is cut')
  t.equal((await look(cut, whole, 15)).holds, true, 'what lies before it is not')
})

test('subtree: blocks too large to be copied', async (t) => {
  const files = new MemoryFiles()
  const blocks = [3000, 2048, 2049, 100].map((size, i) => Buffer.alloc(size, i + 1))
  const feed = ddatabase(files.factory())
  await feed.append(blocks)
  await feed.close()
  const create = readingNow(files, 'target')
  const [treeStorage, data] = ['tree', 'data'].map((name) => new StorageFile(create(name) as never))
  await Promise.all([treeStorage!.read(0, 32), data!.read(0, 1)])
  const tree = new TreeFile(treeStorage!, files.read('tree')!.byteLength, 0, null)
  const node = decodeNode(3, files.read('tree')!, slotOf(3))!
  const sizes: number[] = []
  t.equal(
    subtreeHolds(tree, data!, node, 0, (_, bytes) => sizes.push(bytes.byteLength)),
    true
  )
  t.deepEqual(sizes, [3000, 2048, 2049, 100])
  flip(files, 'data', 5500)
  t.equal(subtreeHolds(tree, data!, node, 0), false)
})

test('subtree: an audit tells the same whether the storage can read at once or not', async (t) => {
  const random = new SeededRandom(77)
  for (let round = 0; round < 12; round++) {
    const whole = await storedAuthor()
    const places = Array.from({ length: 1 + random.below(3) }, () => ({
      file: random.below(2) === 0 ? 'data' : 'tree',
      at: random.next(),
      bit: random.below(8)
    }))
    const reports: unknown[] = []
    for (const reads of ['never', 'target', 'own'] as const) {
      const files = whole.clone()
      const feed = ddatabase(readingNow(files, reads) as never)
      await feed.ready()
      for (const { file, at, bit } of places) {
        const start = file === 'data' ? 0 : 32
        flip(files, file, start + Math.floor(at * (files.read(file)!.byteLength - start)), bit)
      }
      reports.push(await feed.audit({}))
      await feed.close()
    }
    t.deepEqual(reports[1], reports[0], `round ${round}: ${JSON.stringify(places)}`)
    t.deepEqual(reports[2], reports[0])
  }
})
