/** Where the bytes of blocks lie (spec FORMAT §8.1). */
import { DDatabaseError } from '../errors.ts'
import { storageError } from '../storage/storage-error.ts'
import { NO_NODE, NOT_LOADED, type TreeFile } from '../storage/tree-file.ts'
import type { Core } from './core.ts'

/** Where the bytes of a block lie in the `data` file. */
export interface Place {
  offset: number
  size: number
}

/**
 * Byte offset of `block`: the sum of the sizes of the full roots before it (spec FORMAT §8.1), about log2(n) nodes.
 * Errors: `ERR_NODE_NOT_FOUND` where a sparse replica does not know one.
 */
export async function byteOffset(tree: TreeFile, block: number): Promise<number> {
  let offset = 0
  for (const treeIndex of fullRoots(block)) {
    const size = tree.sizeSync(treeIndex)
    if (size === NO_NODE) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
    offset += size === NOT_LOADED ? (await tree.require(treeIndex)).size : size
  }
  return offset
}

/** Offset and size of a block. Errors as {@link byteOffset}. */
export async function placeOf(core: Core, block: number): Promise<Place> {
  const { tree } = core.storage
  try {
    return (
      placeSync(tree, block) ?? {
        offset: await byteOffset(tree, block),
        size: (await tree.require(2 * block)).size
      }
    )
  } catch (error) {
    throw storageError(error)
  }
}

/** As {@link placeOf}, if that needs no waiting; else null. */
export function placeSync(tree: TreeFile, block: number): Place | null {
  let offset = 0
  let start = 0
  for (let rest = block; rest > 0; ) {
    const leaves = largestPowerOfTwo(rest)
    const size = tree.sizeSync(start + leaves - 1)
    if (size < 0) return missing(size)
    offset += size
    start += 2 * leaves
    rest -= leaves
  }
  const size = tree.sizeSync(2 * block)
  return size < 0 ? missing(size) : { offset, size }
}

function missing(size: number): null {
  if (size === NO_NODE) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
  return null
}

/** The full roots before a block: of the largest trees that lie left of it, ascending. */
export function* fullRoots(block: number): Generator<number> {
  let start = 0
  for (let rest = block; rest > 0; ) {
    const leaves = largestPowerOfTwo(rest)
    yield start + leaves - 1
    start += 2 * leaves
    rest -= leaves
  }
}

function largestPowerOfTwo(n: number): number {
  if (n < 0x8000_0000) return 1 << (31 - Math.clz32(n))
  // Not by `log2`, which is rounded up just below large powers of two.
  return 2 ** (63 - Math.clz32(Math.floor(n / 0x1_0000_0000)))
}
