import b4a from 'b4a'
import flat from 'flat-tree'
import { Bitfield } from '../bitfield/bitfield.ts'
import { DATA_BYTES, INDEX_OFFSET, PAGE_BLOCKS, PAGE_TREE_INDEXES, type Pages } from '../bitfield/pages.ts'
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
  const blocks = new Set<number>()
  const lostPages = new Set<number>()
  const count = Math.max(found.length, proven.length)
  for (const page of touched === null ? upTo(count) : touched.below(count)) {
    const [now, then] = [found.read(page) ?? ZEROS, proven.read(page) ?? ZEROS]
    if (sameBits(now, then)) continue
    // Blocks from `length` on are looked at in any case.
    const dataEnd = Math.min(DATA_BYTES, Math.max(0, Math.ceil((length - page * PAGE_BLOCKS) / 8)))
    for (let at = 0; at < dataEnd; at++) {
      if (at % STRIDE === 0 && b4a.equals(now.subarray(at, at + STRIDE), then.subarray(at, at + STRIDE))) {
        at += STRIDE - 1
        continue
      }
      for (let more = now[at]! & ~then[at]!; more !== 0; more &= more - 1) {
        blocks.add(page * PAGE_BLOCKS + 8 * at + Math.clz32(more & -more) - 24)
      }
    }
    for (let at = DATA_BYTES; at < INDEX_OFFSET; at++) {
      if (at % STRIDE === 0 && b4a.equals(now.subarray(at, at + STRIDE), then.subarray(at, at + STRIDE))) {
        at += STRIDE - 1
        continue
      }
      const less = then[at]! & ~now[at]!
      if (less !== 0) lostPages.add(page)
      const first = page * PAGE_TREE_INDEXES + 8 * (at - DATA_BYTES)
      // Nodes that reach to `length` or beyond are looked at in any case, with all blocks from there on.
      let rest = first >= 2 * length ? less : now[at]! ^ then[at]!
      for (; rest !== 0; rest &= rest - 1) {
        const lowest = rest & -rest
        const treeIndex = first + Math.clz32(lowest) - 24
        if ((lowest & less) !== 0 || flat.rightSpan(treeIndex) < 2 * length)
          blocks.add(flat.leftSpan(treeIndex) / 2)
      }
    }
  }
  for (const page of lostPages) {
    for (let block = page * PAGE_BLOCKS; block < Math.min((page + 1) * PAGE_BLOCKS, length); block++)
      blocks.add(block)
  }
  const sorted = [...blocks].filter((block) => block < length).sort((a, b) => a - b)
  const suspects: [number, number][] = []
  for (const block of sorted) {
    const last = suspects[suspects.length - 1]
    if (last?.[1] === block) last[1]++
    else suspects.push([block, block + 1])
  }
  return { suspects, lostPages }
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
