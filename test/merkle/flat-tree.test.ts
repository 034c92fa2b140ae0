import { readFileSync } from 'node:fs'
import * as flat from 'flat-tree'
import test from 'tape'

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
