import { readFileSync } from 'node:fs'
import * as flat from 'flat-tree'
import test from 'tape'
import { fullRoots } from '../../src/feed/places.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/flat-tree.json', import.meta.url), 'utf8')) as {
  nodes: Record<'index' | 'depth' | 'offset' | 'parent' | 'sibling', number>[] &
    Record<'leftChild' | 'rightChild' | 'leftSpan' | 'rightSpan', number>[]
  fullRoots: { blocks: number; roots: number[] }[]
}

test('flat-tree: every node of the vectors', (t) => {
  for (const node of vectors.nodes) {
    const computed = {
      index: flat.index(node.depth, node.offset),
      depth: flat.depth(node.index),
      offset: flat.offset(node.index),
      parent: flat.parent(node.index),
      sibling: flat.sibling(node.index),
      leftChild: flat.leftChild(node.index),
      rightChild: flat.rightChild(node.index),
      leftSpan: flat.leftSpan(node.index),
      rightSpan: flat.rightSpan(node.index)
    }
    t.deepEqual(computed, node, `node ${node.index}`)
  }
  t.end()
})

test('flat-tree: a cursor moves as the functions say', (t) => {
  for (const node of vectors.nodes) {
    const cursor = flat.iterator(node.index)
    t.equal(cursor.offset, node.offset, `offset of ${node.index}`)
    t.equal(cursor.factor, 2 ** (node.depth + 1), `factor of ${node.index}`)
    t.equal(cursor.isLeft(), node.offset % 2 === 0, `side of ${node.index}`)
    t.equal(cursor.sibling(), node.sibling, `sibling of ${node.index}`)
    t.equal(cursor.parent(), node.parent, `parent of ${node.index}`)
  }
  t.end()
})

test('flat-tree: full roots of the vectors', (t) => {
  for (const { blocks, roots } of vectors.fullRoots)
    t.deepEqual(flat.fullRoots(2 * blocks), roots, `${blocks}`)
  t.end()
})

test('full roots before a block, up to the largest', (t) => {
  for (let power = 0; power <= 51; power++) {
    for (const near of [-2, -1, 0, 1, 2]) {
      const block = 2 ** power + near
      if (block < 0 || block > 2 ** 51) continue
      const roots = [...fullRoots(block)]
      if (roots.join() !== flat.fullRoots(2 * block).join()) t.fail(`2^${power} + ${near}`)
    }
  }
  t.pass('as in flat-tree')
  t.end()
})
