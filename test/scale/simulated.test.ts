import b4a from 'b4a'
import flat from 'flat-tree'
import RandomAccessMemory from 'random-access-memory'
import test from 'tape'
import { PAGE_BLOCKS } from '../../src/bitfield/pages.ts'
import ddatabase from '../../src/index.ts'
import { MemoryBits, TreeSet } from '../../src/merkle/tree-set.ts'
import { RemoteBlocks } from '../../src/replication/remote-blocks.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { countTurns } from '../helpers/turns.ts'
import { copyInMemory, fetchSparsely } from './fetching.ts'
import { SimulatedFeed } from './simulated-feed.ts'

// Opening reads the bitfield page by page, so this is as long as a feed of a test can be; bench/scale/simulated.ts takes longer ones.
const LENGTHS = [2 ** 26, 2 ** 25 + 12_345]

for (const length of LENGTHS) {
  test(`simulated: ${length} blocks are opened, served and fetched sparsely`, async (t) => {
    const simulated = new SimulatedFeed(length)
    const source = ddatabase(simulated.storage, simulated.key)
    await source.ready()
    t.deepEqual([source.length, source.byteLength], [length, simulated.byteLength])
    const { target, disconnect } = await copyInMemory(source)
    const report = await fetchSparsely(target, simulated, 300, new SeededRandom(1))
    t.equal(target.length, length, 'it knows how long the feed is')
    t.deepEqual(report.wrong, [], 'every block and every place is right')
    t.equal(target.downloaded(), report.blocks, 'nothing else was fetched')
    t.deepEqual(await target.audit(), { valid: report.blocks, invalid: 0 }, 'what is here holds')
    await disconnect()
    await Promise.all([target.close(), source.close()])
    t.ok(
      (simulated.read.signatures ?? 0) < 100_000,
      `${simulated.read.signatures} bytes of signatures were read`
    )
    t.ok((simulated.read.tree ?? 0) < 100_000_000, `${simulated.read.tree} bytes of the tree were read`)
  })
}

test('simulated: the progress of a long range of which little is here', async (t) => {
  const simulated = new SimulatedFeed(2 ** 24)
  const source = ddatabase(simulated.storage, simulated.key)
  const { target, disconnect } = await copyInMemory(source)
  const random = new SeededRandom(2)
  const { blocks } = await fetchSparsely(target, simulated, 100, random)
  await disconnect()
  const size = simulated.block.byteLength
  const range = target.download({ start: 0, end: simulated.length })
  const inner = target.download({ start: 1, end: simulated.length - 1 })
  const turnsUntilNow = countTurns()
  for (const [download, here] of [
    [range, blocks],
    [inner, blocks - 2],
    [range, blocks]
  ] as const) {
    const { blocks, totalBlocks, bytes } = await download.progress()
    t.deepEqual([blocks, bytes], [here, here * size], `of ${totalBlocks} blocks`)
  }
  const turns = turnsUntilNow()
  // While blocks arrive each turn may last for many milliseconds.
  t.ok(turns < 50, `${turns} turns of the event loop`)
  range.cancel()
  inner.cancel()
  await Promise.all([target.close(), source.close()])
})

test('simulated: a hole of millions of signatures is passed over', async (t) => {
  const simulated = new SimulatedFeed(2 ** 22)
  const source = ddatabase(simulated.storage, simulated.key)
  let reads = 0
  const { target, disconnect } = await copyInMemory(source, (name: string) => {
    const file = new RandomAccessMemory({ pageSize: 4096 })
    const read = file.read.bind(file)
    file.read = (...call: Parameters<typeof read>) => {
      if (name === 'signatures') reads++
      read(...call)
    }
    return file
  })
  await target.get(5)
  await disconnect()
  const turnsUntilNow = countTurns()
  reads = 0
  t.equal((await target.signature(0)).index, simulated.length - 1, 'the next signature is the last one')
  const turns = turnsUntilNow()
  t.ok(reads < 5000, `${reads} reads`)
  t.ok(turns > 0, `${turns} turns of the event loop`)
  reads = 0
  const { valid, damage } = await target.audit({})
  t.deepEqual([valid, damage], [1, []], 'audited')
  t.ok(reads < 5000, `${reads} reads`)
  await Promise.all([target.close(), source.close()])
})

test('simulated: what follows from 2^33 blocks and more is exact', (t) => {
  for (const length of [2 ** 31 + 5, 2 ** 33, 2 ** 33 + 2 ** 31 + 12_345, 2 ** 40 - 1]) {
    const tree = new TreeSet(new MemoryBits())
    for (const root of flat.fullRoots(2 * length)) tree.set(root)
    t.equal(tree.blocks(), length, `${length} blocks`)
    for (const block of [0, 2 ** 31, length - 1].filter((at) => at < length)) {
      const path = pathOf(block, length)
      const holder = new TreeSet(new MemoryBits())
      for (const node of [
        ...path,
        ...path.map((index) => flat.sibling(index)),
        ...flat.fullRoots(2 * length)
      ]) {
        if (flat.rightSpan(node) < 2 * length) holder.set(node)
      }
      const proof = holder.proof(2 * block)
      t.equal(proof?.verifiedBy, 2 * length, `the signature of the end proves block ${block}`)
      t.deepEqual(
        proof?.nodes.filter((node) => flat.rightSpan(node) >= 2 * length),
        [],
        'with nodes that are complete'
      )
    }
    const blocks = new RemoteBlocks(() => ({ read: () => null }) as never)
    blocks.setRange(length - PAGE_BLOCKS, length, true)
    t.deepEqual(
      [blocks.next(0, length), blocks.last(length), blocks.get(length - 1), blocks.get(length)],
      [length - PAGE_BLOCKS, length - 1, true, false],
      'what a remote has'
    )
  }
  t.end()
})

test('simulated: every file is that of a feed that was written', async (t) => {
  for (const length of [1, 2, 3, 37, 64]) {
    const simulated = new SimulatedFeed(length)
    const files = new Map<string, Uint8Array>()
    const feed = ddatabase(memoryOf(files), simulated.key, { secretKey: simulated.secretKey })
    await feed.append(Array.from({ length }, () => simulated.block))
    await feed.close()
    for (const name of ['key', 'data', 'tree', 'signatures']) {
      const written = files.get(name)!
      t.deepEqual(
        b4a.toString(simulated.file(name), 'hex'),
        b4a.toString(written, 'hex'),
        `${name} of ${length} blocks`
      )
    }
    const bits = files.get('bitfield')!.subarray(0, 32 + 3072)
    t.deepEqual(
      b4a.toString(simulated.file('bitfield').subarray(0, 32 + 3072), 'hex'),
      b4a.toString(bits, 'hex'),
      'bitfield'
    )
  }
})

/** The nodes from a block up to its root. */
function pathOf(block: number, length: number): number[] {
  const path: number[] = []
  for (let index = 2 * block; flat.rightSpan(index) < 2 * length; index = flat.parent(index)) path.push(index)
  return path
}

function memoryOf(files: Map<string, Uint8Array>) {
  return (name: string) => ({
    statable: true,
    read(offset: number, size: number, callback: (error: Error | null, bytes?: Uint8Array) => void) {
      const bytes = files.get(name) ?? b4a.alloc(0)
      if (offset + size > bytes.byteLength) callback(new Error('Could not satisfy length'))
      else callback(null, bytes.subarray(offset, offset + size))
    },
    write(offset: number, data: Uint8Array, callback: (error: Error | null) => void) {
      const before = files.get(name) ?? b4a.alloc(0)
      const after = b4a.alloc(Math.max(before.byteLength, offset + data.byteLength))
      after.set(before)
      after.set(data, offset)
      files.set(name, after)
      callback(null)
    },
    stat(callback: (error: Error | null, stat?: { size: number }) => void) {
      callback(null, { size: files.get(name)?.byteLength ?? 0 })
    }
  })
}
