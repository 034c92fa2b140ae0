import b4a from 'b4a'
import flat from 'flat-tree'
import { Bitfield } from '../bitfield/bitfield.ts'
import { DATA_BYTES, INDEX_OFFSET, PAGE_BLOCKS, PAGE_TREE_INDEXES, type Pages } from '../bitfield/pages.ts'
import { findBit } from '../bitfield/scan.ts'
import { TreeBits } from '../bitfield/tree-bits.ts'
import type { TouchedPages } from '../storage/touched-pages.ts'

/** Bits of a feed. */
export interface Bits {
  bits: Bitfield
  treeBits: TreeBits
}

/** The bits of pages. */
export function bitsOf(pages: Pages): Bits {
  return { bits: new Bitfield(pages), treeBits: new TreeBits(pages) }
}

// Bytes that are compared at once where most are the same.
const STRIDE = 128

/** What {@link differenceOf} finds. */
export interface Difference {
  /** Blocks below `length` whose bits, or whose nodes' bits, are set in `found` only; also of those that were lost. */
  suspects: [number, number][]
  /** Pages that lost bits of nodes, which nothing ever clears. */
  lostPages: Set<number>
}

/**
 * Compares the bits of the file with those of a checkpoint of `length` blocks.
 * @param touched - pages that may differ; null: all
 */
export function differenceOf(
  found: Pages,
  proven: Pages,
  length: number,
  touched: TouchedPages | null = null
): Difference {
  const runs: [number, number][] = []
  const lostPages = new Set<number>()
  // Suspects of a page, one bit each.
  const here = b4a.alloc(DATA_BYTES)
  const count = Math.max(found.length, proven.length)
  for (const page of touched === null ? upTo(count) : touched.below(count)) {
    const [now, then] = [found.read(page) ?? ZEROS, proven.read(page) ?? ZEROS]
    if (sameBits(now, then)) continue
    const firstBlock = page * PAGE_BLOCKS
    const lost = losesNodes(now, then)
    if (lost) lostPages.add(page)
    here.fill(lost ? 0xff : 0)
    // Blocks from `length` on are looked at in any case.
    const dataEnd = Math.min(DATA_BYTES, Math.max(0, Math.ceil((length - firstBlock) / 8)))
    for (let at = 0; at < dataEnd; at++) {
      if (at % STRIDE === 0 && b4a.equals(now.subarray(at, at + STRIDE), then.subarray(at, at + STRIDE))) {
        at += STRIDE - 1
        continue
      }
      here[at]! |= now[at]! & ~then[at]!
    }
    // Where all blocks of the page are suspect, only its last node is of interest, which alone reaches back before the page.
    for (let at = lost ? INDEX_OFFSET - 1 : DATA_BYTES; at < INDEX_OFFSET; at++) {
      if (at % STRIDE === 0 && b4a.equals(now.subarray(at, at + STRIDE), then.subarray(at, at + STRIDE))) {
        at += STRIDE - 1
        continue
      }
      const less = then[at]! & ~now[at]!
      const first = page * PAGE_TREE_INDEXES + 8 * (at - DATA_BYTES)
      // Nodes that reach to `length` or beyond are looked at in any case, with all blocks from there on.
      let rest = first >= 2 * length ? less : now[at]! ^ then[at]!
      for (; rest !== 0; rest &= rest - 1) {
        const lowest = rest & -rest
        const treeIndex = first + Math.clz32(lowest) - 24
        if ((lowest & less) === 0 && flat.rightSpan(treeIndex) >= 2 * length) continue
        const block = flat.leftSpan(treeIndex) / 2
        if (block < firstBlock) addRun(runs, block, Math.min(block + 1, length))
        else here[(block - firstBlock) >> 3]! |= 0x80 >> (block & 7)
      }
    }
    const bits = Math.min(length - firstBlock, PAGE_BLOCKS)
    for (let from = findBit(here, 0, bits, true); from !== -1; ) {
      const missing = findBit(here, from, bits, false)
      const to = missing === -1 ? bits : missing
      addRun(runs, firstBlock + from, firstBlock + to)
      from = findBit(here, to, bits, true)
    }
  }
  const suspects: [number, number][] = []
  for (const [start, end] of runs.sort((a, b) => a[0] - b[0])) addRun(suspects, start, end)
  return { suspects, lostPages }
}

/** Adds blocks `start` … `end` − 1 to runs, to the last of them if they overlap or follow it. */
function addRun(runs: [number, number][], start: number, end: number): void {
  if (start >= end) return
  const last = runs[runs.length - 1]
  if (last !== undefined && last[0] <= start && start <= last[1]) last[1] = Math.max(last[1], end)
  else runs.push([start, end])
}

/** Whether bits of nodes that `then` has are not in `now`. */
function losesNodes(now: Uint8Array, then: Uint8Array): boolean {
  for (let at = DATA_BYTES; at < INDEX_OFFSET; at++) if ((then[at]! & ~now[at]!) !== 0) return true
  return false
}

function* upTo(count: number): Generator<number> {
  for (let page = 0; page < count; page++) yield page
}

const ZEROS = b4a.alloc(INDEX_OFFSET)

/** Whether two pages have the same bits of nodes; null is an empty page. */
export function sameNodes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  const nodes = (page: Uint8Array | null) => (page ?? ZEROS).subarray(DATA_BYTES, INDEX_OFFSET)
  return b4a.equals(nodes(a), nodes(b))
}

function sameBits(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === b) return true
  return b4a.equals((a ?? ZEROS).subarray(0, INDEX_OFFSET), (b ?? ZEROS).subarray(0, INDEX_OFFSET))
}
