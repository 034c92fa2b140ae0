import b4a from 'b4a'
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { LEGACY_PAGE_SIZE, PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'

test('pages: of a file', (t) => {
  for (const pageSize of [PAGE_SIZE, LEGACY_PAGE_SIZE]) {
    const file = b4a.alloc(2 * pageSize + 10)
    file[0] = 0x80
    file[2 * pageSize + 9] = 0xff
    const pages = new Pages(pageSize, file)
    t.equal(pages.length, 3, 'a partial page counts')
    t.equal(pages.dataBytes, 3 * 1024)
    t.equal(pages.treeBytes, 3 * 2048)
    t.equal(pages.read(1), null, 'a zero page is none')
    t.equal(pages.read(2)!.length, pageSize, 'the partial page is whole')
    t.equal(pages.read(2)![9], 0xff)
    t.equal(pages.read(2)![10], 0)
    t.equal(pages.read(3), null)
    file[0] = 0
    t.equal(pages.read(0)![0], 0x80, 'the content was copied')
    t.deepEqual(pages.takeDirty(), [], 'nothing to write')
  }
  t.end()
})

test('pages: dirty pages, touch, clear', (t) => {
  const pages = new Pages(PAGE_SIZE)
  pages.write(5)[0] = 1
  pages.write(2)[0] = 1
  pages.write(5)[1] = 1
  t.deepEqual(pages.takeDirty(), [2, 5], 'ascending, each once')
  t.deepEqual(pages.takeDirty(), [], 'forgotten')
  pages.write(5)[0] = 0
  t.deepEqual(pages.takeDirty(), [5], 'and again')
  pages.touch(9)
  t.equal(pages.length, 10, 'touch grows')
  t.equal(pages.read(9), null, 'without a page')
  t.deepEqual(pages.takeDirty(), [], 'and nothing to write')
  pages.touch(3)
  t.equal(pages.length, 10, 'never shrinks')
  pages.write(1)
  pages.clear()
  t.equal(pages.length, 0)
  t.equal(pages.dataBytes, 0)
  t.equal(pages.treeBytes, 0)
  t.equal(pages.read(5), null)
  t.deepEqual(pages.takeDirty(), [])
  t.end()
})

test('stage: what is dropped leaves no trace', (t) => {
  const { pages, bits, tree } = filled()
  const before = snapshot(pages)
  const stage = pages.stage()
  new Bitfield(stage).set(20000, true)
  new Bitfield(stage).set(3, false)
  new TreeBits(stage).set(40000, true)
  t.equal(new Bitfield(stage).get(20000), true, 'seen in the stage')
  t.equal(new Bitfield(stage).get(3), false)
  t.equal(new Bitfield(stage).get(4), true, 'which shows the rest of the base')
  t.deepEqual(stage.dirty, [0, 1, 2], 'ascending; the index bytes above pages 2 and 3 lie in page 1')
  t.equal(bits.get(20000), false, 'not in the base')
  t.equal(bits.get(3), true)
  t.equal(tree.get(40000), false)
  t.deepEqual(snapshot(pages), before)
  t.deepEqual(pages.takeDirty(), [])
  t.end()
})

test('stage: adopted', (t) => {
  const { pages, bits, tree } = filled()
  bits.set(5, false)
  const stage = pages.stage()
  new Bitfield(stage).set(20000, true)
  new Bitfield(stage).set(3, false)
  new TreeBits(stage).set(40000, true)
  const staged = stage.dirty.map((page) => stage.get(page))
  const length = stage.length
  pages.adopt(stage)
  for (const [page, bytes] of staged.entries())
    t.equal(pages.read(page), bytes, `page ${page} was not copied`)
  t.equal(bits.get(20000), true)
  t.equal(bits.get(3), false)
  t.equal(bits.get(5), false)
  t.equal(bits.get(4), true)
  t.equal(tree.get(40000), true)
  t.equal(pages.length, length)
  t.equal(bits.length, 20008)
  t.equal(tree.length, 40008)
  t.deepEqual(pages.takeDirty(), [], 'its pages are written already, with what was dirty below')
  bits.set(20000, false)
  t.deepEqual(pages.takeDirty(), [1, 2], 'later changes are dirty again')

  const touched = pages.stage()
  touched.touch(7)
  t.deepEqual(touched.dirty, [])
  pages.adopt(touched)
  t.equal(pages.length, 8, 'a stage that only touched')
  t.end()
})

test('stage: of pages that changed below is refused as a whole', (t) => {
  const { pages, bits } = filled()
  const stage = pages.stage()
  new Bitfield(stage).set(3, false)
  new Bitfield(stage).set(20000, true)
  bits.set(30000, true)
  pages.touch(12)
  const other = pages.stage()
  new Bitfield(other).set(6, false)
  pages.adopt(other)
  t.throws(() => pages.adopt(stage), /changed while it was staged/, 'a page replaced by another stage')
  t.equal(bits.get(20000), false, 'nothing of it came through')
  t.equal(bits.get(6), false, 'and nothing was lost')

  const late = pages.stage()
  new Bitfield(late).set(20000, true)
  bits.set(20001, true)
  t.throws(() => pages.adopt(late), /changed while it was staged/, 'a page that did not exist then')

  const written = pages.stage()
  new Bitfield(written).set(20002, true)
  bits.set(20003, true)
  t.throws(() => pages.adopt(written), /changed while it was staged/, 'a page written in place')

  const cleared = pages.stage()
  new Bitfield(cleared).set(20002, true)
  pages.clear()
  t.throws(() => pages.adopt(cleared), /changed while it was staged/, 'a page forgotten')

  const apart = pages.stage()
  new Bitfield(apart).set(20002, true)
  bits.set(5, true)
  pages.adopt(apart)
  t.equal(bits.get(5) && bits.get(20002), true, 'a change of another page is no matter')
  t.throws(() => pages.stage().get(0), { code: 'ERR_OUT_OF_RANGE' }, 'get of a page that is not staged')
  t.end()
})

function filled(): { pages: Pages; bits: Bitfield; tree: TreeBits } {
  const pages = new Pages(PAGE_SIZE)
  const bits = new Bitfield(pages)
  const tree = new TreeBits(pages)
  bits.setRange(0, 100, true)
  tree.setAppended(0, 100)
  pages.takeDirty()
  return { pages, bits, tree }
}

function snapshot(pages: Pages): unknown {
  const content: (string | null)[] = []
  for (let page = 0; page < pages.length; page++) {
    const bytes = pages.read(page)
    content.push(bytes === null ? null : b4a.toString(bytes, 'hex'))
  }
  return { content, length: pages.length, dataBytes: pages.dataBytes, treeBytes: pages.treeBytes }
}
