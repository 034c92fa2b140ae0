import flat from 'flat-tree'

/** Depth of the subtree around a block that is drawn as a whole. */
const WHOLE = 3
/** Distances, in units of the drawing. */
export const NODE_WIDTH = 88
export const NODE_HEIGHT = 40
const COLUMN = 96
const ROW = 66
/** How far a node of the path is from the middle. */
const ASIDE = 130

/** A node in the drawing; `x` and `y` are its middle. */
export interface Placed {
  index: number
  depth: number
  x: number
  y: number
  /** The block of a leaf. */
  block: number | null
}

/** A drawing of the tree around a block. */
export interface TreeLayout {
  nodes: Placed[]
  /** From children to parents, by tree index. */
  edges: [child: number, parent: number][]
  width: number
  height: number
}

/** Tree indexes of the whole subtree around `block` in a feed of `length` blocks: what is drawn beside its path. */
function around(block: number, length: number): number[] {
  const depth = Math.min(WHOLE, flat.depth(rootAbove(block, length)))
  const indexes: number[] = []
  for (let level = 0; level <= depth; level++) {
    const first = flat.index(depth, Math.floor(block / 2 ** depth))
    const start = flat.offset(flat.leftSpan(first)) / 2 ** level
    for (let i = 0; i < 2 ** (depth - level); i++) indexes.push(flat.index(level, start + i))
  }
  return indexes
}

/** Places the subtree around `block`, its path to the root above with a sibling at each step, and the other roots. */
export function layOut(block: number, length: number): TreeLayout {
  const roots = flat.fullRoots(2 * length)
  const root = rootAbove(block, length)
  const top = flat.depth(root)
  const whole = Math.min(WHOLE, top)
  const leaves = 2 ** whole
  const width = Math.max(leaves, 2 + roots.length, 5) * COLUMN
  const middle = width / 2
  const rowOf = (depth: number) => (top - depth) * ROW + NODE_HEIGHT
  const nodes = new Map<number, Placed>()
  const edges: [number, number][] = []
  const place = (index: number, x: number) => {
    const depth = flat.depth(index)
    nodes.set(index, { index, depth, x, y: rowOf(depth), block: depth === 0 ? index / 2 : null })
  }

  // The path, from the top. Each node stands on its own side, its sibling on the other one.
  let node = root
  place(root, middle)
  for (let depth = top - 1; depth >= whole; depth--) {
    const child = flat.index(depth, Math.floor(block / 2 ** depth))
    const sibling = flat.sibling(child)
    const side = child < sibling ? -ASIDE : ASIDE
    place(child, middle + side)
    place(sibling, middle - side)
    edges.push([child, node], [sibling, node])
    node = child
  }
  // The subtree below it, as a whole.
  for (const index of around(block, length)) {
    if (index === node) continue
    const depth = flat.depth(index)
    const first = flat.offset(flat.leftSpan(node)) / 2 ** depth
    const at = flat.offset(index) - first
    place(index, middle + (at - (2 ** (whole - depth) - 1) / 2) * COLUMN * 2 ** depth)
    edges.push([index, flat.parent(index)])
  }
  // The other roots beside it.
  const own = roots.indexOf(root)
  for (const [i, index] of roots.entries()) {
    if (index === root) continue
    nodes.set(index, {
      index,
      depth: flat.depth(index),
      x: middle + (i - own) * COLUMN,
      y: rowOf(top),
      block: index % 2 === 0 ? index / 2 : null
    })
  }
  const placed = [...nodes.values()]
  const left = Math.min(...placed.map(({ x }) => x)) - NODE_WIDTH / 2 - 8
  const right = Math.max(...placed.map(({ x }) => x)) + NODE_WIDTH / 2 + 8
  return {
    nodes: placed.map((one) => ({ ...one, x: one.x - left })),
    edges,
    width: right - left,
    height: top * ROW + 2 * NODE_HEIGHT
  }
}

/** The root above a block. */
export function rootAbove(block: number, length: number): number {
  const found = flat.fullRoots(2 * length).find((root) => flat.rightSpan(root) >= 2 * block)
  if (found === undefined) throw new RangeError(`There is no block ${block}`)
  return found
}
