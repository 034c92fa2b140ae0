import { readFileSync } from 'node:fs'
import b4a from 'b4a'
import * as flat from 'flat-tree'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { MemoryBits, TreeSet } from '../../src/merkle/tree-set.ts'

interface Entry {
  name: string
  length: number
  sourceLength?: number
  operations: [kind: 'put' | 'clear', start: number, end?: number][]
  haveRanges: [start: number, end: number][]
  treeIndexesKnown: number[]
  treeIndexesKnownBelow: number
  roots: { index: number }[]
}

const folder = new URL('../vectors/storage/', import.meta.url)
const { entries } = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8')) as { entries: Entry[] }

function load(name: string): { entry: Entry; pageSize: number; content: Uint8Array } {
  const file = readFileSync(new URL(`${name}/bitfield`, folder))
  return {
    entry: entries.find((candidate) => candidate.name === name)!,
    pageSize: file.readUInt16BE(5),
    content: file.subarray(32)
  }
}

for (const [name, batch] of [['multi-page', 2000] as const, ['legacy-page-size', 2000] as const]) {
  test(`bitfield vectors: ${name}, read`, (t) => {
    const { entry, pageSize, content } = load(name)
    reads(t, entry, new Pages(pageSize, content))
    t.end()
  })

  test(`bitfield vectors: ${name}, rebuilt by ranges and block by block`, (t) => {
    const { entry, pageSize, content } = load(name)
    const ranged = new Pages(pageSize)
    for (let length = 0; length < entry.length; length += batch) {
      // As an append does: staged, then adopted.
      const stage = ranged.stage()
      new Bitfield(stage).setRange(length, length + batch, true)
      new TreeBits(stage).setAppended(length, length + batch)
      ranged.adopt(stage)
    }
    t.ok(b4a.equals(fileOf(ranged), content), 'by ranges')

    const single = new Pages(pageSize)
    const bits = new Bitfield(single)
    const tree = new TreeSet(new TreeBits(single))
    for (let block = 0; block < entry.length; block++) {
      bits.set(block, true)
      tree.set(2 * block)
    }
    t.ok(b4a.equals(fileOf(single), content), 'block by block')
    reads(t, entry, single)
    t.end()
  })
}

test('bitfield vectors: mixed-ops-bitfield, read', (t) => {
  const { entry, pageSize, content } = load('mixed-ops-bitfield')
  reads(t, entry, new Pages(pageSize, content))
  t.end()
})

test('bitfield vectors: mixed-ops-bitfield, replayed', (t) => {
  const { entry, pageSize, content } = load('mixed-ops-bitfield')
  const holderBits = new MemoryBits()
  const holder = new TreeSet(holderBits)
  for (let block = 0; block < entry.sourceLength!; block++) holder.set(2 * block)

  const pages = new Pages(pageSize)
  const bits = new Bitfield(pages)
  const tree = new TreeSet(new TreeBits(pages))
  for (const [kind, start, end] of entry.operations) {
    if (kind === 'clear') {
      bits.setRange(start, end!, false)
    } else {
      for (const node of verifiedNodes(holder, tree, 2 * start)) tree.set(node)
      tree.set(2 * start)
      bits.set(start, true)
    }
  }
  t.ok(b4a.equals(fileOf(pages), content), 'every byte')
  reads(t, entry, pages)
  t.end()
})

/** The nodes that a replica stores for a block with its data: what it was sent and what it hashed on the way up. */
function verifiedNodes(holder: TreeSet, tree: TreeSet, leaf: number): number[] {
  const { nodes, verifiedBy } = holder.proof(leaf, { digest: tree.digest(leaf) })!
  const verified: number[] = []
  let top = leaf
  while (!tree.has(top)) {
    const sibling = flat.sibling(top)
    if (nodes[0] === sibling) verified.push(nodes.shift()!)
    else if (!tree.has(sibling)) break
    verified.push(top)
    top = flat.parent(top)
  }
  return verifiedBy === 0 ? verified : [...verified, top, ...nodes]
}

function reads(t: test.Test, entry: Entry, pages: Pages): void {
  const bits = new Bitfield(pages)
  const tree = new TreeSet(new TreeBits(pages))
  const ranges: [number, number][] = []
  for (let start = bits.firstPresent(0, bits.length); start !== -1; ) {
    const end = bits.firstMissing(start, bits.length + 1)
    ranges.push([start, end])
    start = bits.firstPresent(end, bits.length)
  }
  t.deepEqual(ranges, entry.haveRanges, 'present ranges')
  t.equal(
    bits.total(),
    entry.haveRanges.reduce((sum, [start, end]) => sum + end - start, 0),
    'count'
  )
  t.equal(tree.blocks(), entry.length, 'length')
  t.deepEqual(
    tree.roots(),
    entry.roots.map((root) => root.index),
    'roots'
  )
  const known: number[] = []
  for (let node = 0; node < entry.treeIndexesKnownBelow; node++) if (tree.has(node)) known.push(node)
  t.deepEqual(known, entry.treeIndexesKnown, 'known nodes')
}

function fileOf(pages: Pages): Uint8Array {
  const parts: Uint8Array[] = []
  for (let page = 0; page < pages.length; page++) parts.push(pages.read(page) ?? b4a.alloc(pages.pageSize))
  return b4a.concat(parts)
}
