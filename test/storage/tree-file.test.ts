/** The caches of tree nodes: whatever is written, by whom and when, what is read is what is stored. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import RAM from 'random-access-memory'
import test from 'tape'
import type { TreeNode } from '../../src/merkle/node.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { treePosition } from '../../src/storage/layout.ts'
import { PageCache } from '../../src/storage/page-cache.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { SlotCache } from '../../src/storage/slot-cache.ts'
import { encodeNode, TreeFile } from '../../src/storage/tree-file.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const SLOTS = 4096

test('slot cache: what is found is what was put there last', (t) => {
  const random = new SeededRandom(1)
  for (const limit of [2, 16, 64, 1024]) {
    const cache = new SlotCache(8, limit)
    const model = new Map<number, number>()
    let found = 0
    let wrong = 0
    for (let i = 0; i < 20_000; i++) {
      // Neighbours, and numbers beyond 32 bits that differ in their high half only.
      const number = random.below(300) + (random.chance(0.3) ? 2 ** 32 * random.below(50) : 0)
      if (random.chance(0.4)) {
        const value = random.below(256)
        const at = cache.add(number)
        cache.memory.fill(value, at, at + 8)
        model.set(number, value)
      } else if (random.chance(0.1)) {
        cache.delete(number)
        model.delete(number)
      } else {
        const at = cache.find(number)
        if (at < 0) continue
        found++
        const value = model.get(number)
        if (value === undefined || !cache.memory.subarray(at, at + 8).every((byte) => byte === value)) wrong++
      }
    }
    t.equal(wrong, 0, `limit ${limit}`)
    t.ok(found > 5, `${found} found`)
    t.equal(cache.memory.byteLength, 8 * limit, 'it has grown to its limit')
    cache.clear()
    t.ok([...model.keys()].every((number) => cache.find(number) === -1))
  }
  t.end()
})

test('slot cache: nothing is lost when it grows', (t) => {
  const cache = new SlotCache(4, 4096)
  let kept = 0
  for (let number = 0; number < 1000; number++) {
    const at = cache.add(number * 32 + 31)
    cache.memory.fill(number & 255, at, at + 4)
  }
  for (let number = 0; number < 1000; number++) {
    const at = cache.find(number * 32 + 31)
    if (at < 0) continue
    kept++
    if (cache.memory[at] !== (number & 255)) t.fail(`${number} has other bytes`)
  }
  t.ok(kept > 900, `${kept} of 1000 are there`)
  t.end()
})

test('page cache: with less room it forgets pages, and what is left is what was put there', (t) => {
  const random = new SeededRandom(3)
  const cache = new PageCache(8, 64)
  const model = new Map<number, number>()
  let limit = 64
  let found = 0
  let wrong = 0
  for (let i = 0; i < 5_000; i++) {
    const page = random.below(100)
    if (i % 500 === 499) {
      limit = Math.max(1, limit >> 1)
      cache.limit = limit
      t.ok(cache.memory.buffer.byteLength <= 8 * limit, `${limit} pages`)
    }
    const at = cache.find(page)
    if (at < 0) {
      const value = random.below(256)
      const start = cache.add(page)
      cache.memory.fill(value, start, start + 8)
      model.set(page, value)
    } else {
      found++
      if (!cache.memory.subarray(at, at + 8).every((byte) => byte === model.get(page))) wrong++
    }
  }
  t.equal(wrong, 0)
  t.ok(found > 500, `${found} found`)
  t.end()
})

function randomNode(random: SeededRandom, index: number): TreeNode {
  const hash = Uint8Array.from({ length: 32 }, () => 1 + random.below(255))
  return { index, hash, size: random.below(2 ** 40) }
}

const same = (a: TreeNode | null | undefined, b: TreeNode | null): boolean =>
  a === b ||
  (a?.index === b?.index && a?.size === b?.size && Buffer.compare(a!.hash as Buffer, b!.hash as Buffer) === 0)

for (const where of ['in a directory', 'in memory'] as const) {
  for (const cacheBytes of [0, 100, 3000, 20_000, 2_000_000]) {
    test(`tree file: ${where}, with ${cacheBytes} bytes of cache`, async (t) => {
      const random = new SeededRandom(cacheBytes + 1)
      const folder = await temporaryFolder(t)
      const directory = where === 'in a directory'
      const file = new StorageFile(directory ? directoryStorage(folder)('tree', {}) : (new RAM() as never))
      await file.write(0, new Uint8Array(32))
      const tree = new TreeFile(file, 32, cacheBytes, null)
      const model = new Map<number, TreeNode>()
      const stored = (index: number): TreeNode | null => model.get(index) ?? null
      // Half of what is looked at and changed is above the subtrees of 16 blocks.
      const anywhere = (): number =>
        random.chance(0.5) ? 32 * random.below(SLOTS / 32) + 31 : random.below(SLOTS)
      const hash = new Uint8Array(32)
      let wrong = 0
      for (let step = 0; step < 4000; step++) {
        if (random.chance(0.15)) {
          const first = anywhere()
          const nodes = Array.from({ length: random.chance(0.2) ? random.between(1, 80) : 1 }, (_, i) =>
            randomNode(random, first + i)
          )
          const slots = Buffer.concat(nodes.map(encodeNode))
          if (!random.chance(0.5) || !tree.writeSync(first, slots)) await tree.write(first, slots)
          for (const node of nodes) model.set(node.index, node)
        } else if (directory && random.chance(0.01)) {
          // Somebody else has written.
          const bytes = Buffer.alloc(treePosition(SLOTS + 80))
          for (const node of model.values()) {
            if (random.chance(0.2)) model.set(node.index, randomNode(random, node.index))
            bytes.set(encodeNode(model.get(node.index)!), treePosition(node.index))
          }
          writeFileSync(join(folder, 'tree'), bytes)
          await tree.refresh()
        } else {
          const index = anywhere()
          const node = stored(index)
          const now = tree.getSync(index)
          if (now !== undefined && !same(now, node)) wrong++
          if (!same(await tree.get(index), node)) wrong++
          const size = tree.sizeSync(index)
          if (size >= -1 && size !== (node?.size ?? -1)) wrong++
          if (tree.nodeSync(index, hash) >= 0 && Buffer.compare(hash, node!.hash as Buffer) !== 0) wrong++
          const equal = node === null ? undefined : tree.hashEqualsSync(index, node.hash)
          if (equal === false) wrong++
          const several = [anywhere(), index, anywhere()]
          const many = await tree.many(several)
          if (!several.every((one, i) => same(many[i], stored(one)))) wrong++
        }
      }
      t.equal(wrong, 0)
      await file.close()
    })
  }
}
