import b4a from 'b4a'
import flat from 'flat-tree'
import { blake2bInto } from '#crypto/backend'
import { LEAF, leafHashInto, PARENT } from '../crypto/hash.ts'
import { HashInput } from '../crypto/hash-input.ts'
import { HASH_SIZE, NODE_SIZE, type TreeNode } from '../merkle/node.ts'
import type { StorageFile } from '../storage/random-access.ts'
import type { TreeFile } from '../storage/tree-file.ts'

/** Most blocks of a subtree, and most of their bytes. */
export const MOST_BLOCKS = 512
export const MOST_BYTES = 128 * 1024

// Blocks of more bytes are hashed where they are.
const COPY_LIMIT = 2048

// One piece of memory: nodes as they are stored and as the blocks give them, what is to be hashed, the blocks.
const SLOT_BYTES = (2 * MOST_BLOCKS - 1) * NODE_SIZE
const WORKED = SLOT_BYTES
const INPUT = 2 * SLOT_BYTES
const SIZE_IN_INPUT = INPUT + 1
const REST_OF_INPUT = INPUT + 9
const DATA = REST_OF_INPUT + COPY_LIMIT
const TOTAL = DATA + MOST_BYTES

interface Memory {
  bytes: Uint8Array
  view: DataView
  input: HashInput
}
let made: Memory | null = null

/** Made at first use: most openings need none. */
function memory(): Memory {
  if (made !== null) return made
  const bytes = b4a.allocUnsafeSlow(TOTAL)
  made = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
    input: new HashInput(bytes.subarray(INPUT, DATA))
  }
  return made
}

/**
 * Whether the blocks below a node that holds, and all nodes in between, are stored as they should be. The nodes are worked out
 * from the blocks, slot by slot as they lie in the file, and then compared with it at once. The steps are few and large, also for
 * an interpreter: a process that opens a feed after a crash has just been started.
 *
 * @param node - a parent of at most {@link MOST_BLOCKS} blocks and {@link MOST_BYTES}
 * @param offset - where its bytes begin in `data`, which has all of them
 * @param compared - told of each block if all hold; the bytes are good until it returns
 * @returns false also where the storage cannot read at once. Throws the storage's error
 */
export function subtreeHolds(
  tree: TreeFile,
  data: StorageFile,
  node: TreeNode,
  offset: number,
  compared?: (block: number, bytes: Uint8Array, holds: true) => void
): boolean {
  const { bytes } = memory()
  const first = flat.leftSpan(node.index)
  const slots = flat.rightSpan(node.index) - first + 1
  const size = slots * NODE_SIZE
  const stored = taken(tree.slotsSync(first, slots, bytes), 0)
  if (stored === null || !isStored(node, stored, node.index - first)) return false
  if (node.size > 0 && taken(data.readSync(offset, node.size, bytes.subarray(DATA)), DATA) === null)
    return false
  // Sizes are taken as they are stored; what is wrong with them shows in the hashes.
  bytes.copyWithin(WORKED, 0, size)
  if (!hashLeaves(slots, node.size) || !hashParents(slots)) return false
  if (!b4a.equals(bytes.subarray(WORKED, WORKED + size), stored)) return false
  if (compared !== undefined) tell(slots, first / 2, compared)
  return true
}

/** What was read lies in the memory now: not all storages read to where they are asked to. */
function taken(read: Uint8Array | null, at: number): Uint8Array | null {
  const { bytes } = memory()
  if (read === null || read.buffer === bytes.buffer) return read
  bytes.set(read, at)
  return bytes.subarray(at, at + read.length)
}

function isStored(node: TreeNode, slots: Uint8Array, slot: number): boolean {
  const { view } = memory()
  const at = slot * NODE_SIZE
  if (view.getUint32(at + HASH_SIZE) !== 0 || view.getUint32(at + HASH_SIZE + 4) !== node.size) return false
  return b4a.equals(slots.subarray(at, at + HASH_SIZE), node.hash)
}

/** False if the blocks do not have as many bytes as they should. */
function hashLeaves(slots: number, total: number): boolean {
  const { bytes, view, input } = memory()
  bytes[INPUT] = LEAF
  view.setUint32(SIZE_IN_INPUT, 0)
  let at = DATA
  for (let slot = 0; slot < slots; slot += 2) {
    const hash = WORKED + slot * NODE_SIZE
    const size = view.getUint32(hash + HASH_SIZE + 4)
    if (view.getUint32(hash + HASH_SIZE) !== 0 || size > DATA + total - at) return false
    if (size <= COPY_LIMIT) {
      view.setUint32(SIZE_IN_INPUT + 4, size)
      bytes.copyWithin(REST_OF_INPUT, at, at + size)
      blake2bInto(bytes, hash, input, 9 + size)
    } else leafHashInto(bytes, hash, bytes.subarray(at, at + size))
    at += size
  }
  return at === DATA + total
}

/** False if a parent does not have the size of its children. */
function hashParents(slots: number): boolean {
  const { bytes, view, input } = memory()
  bytes[INPUT] = PARENT
  view.setUint32(SIZE_IN_INPUT, 0)
  // Level by level: parents lie between their children, `step` slots from each.
  for (let step = 1; 2 * step - 1 < slots; step *= 2) {
    for (let slot = 2 * step - 1; slot < slots; slot += 4 * step) {
      const hash = WORKED + slot * NODE_SIZE
      const left = hash - step * NODE_SIZE
      const right = hash + step * NODE_SIZE
      const size = view.getUint32(left + HASH_SIZE + 4) + view.getUint32(right + HASH_SIZE + 4)
      if (view.getUint32(hash + HASH_SIZE) !== 0 || view.getUint32(hash + HASH_SIZE + 4) !== size)
        return false
      view.setUint32(SIZE_IN_INPUT + 4, size)
      bytes.copyWithin(REST_OF_INPUT, left, left + HASH_SIZE)
      bytes.copyWithin(REST_OF_INPUT + HASH_SIZE, right, right + HASH_SIZE)
      blake2bInto(bytes, hash, input, 9 + 2 * HASH_SIZE)
    }
  }
  return true
}

function tell(
  slots: number,
  start: number,
  compared: (block: number, bytes: Uint8Array, holds: true) => void
): void {
  const { bytes, view } = memory()
  let at = DATA
  for (let slot = 0; slot < slots; slot += 2) {
    const size = view.getUint32(WORKED + slot * NODE_SIZE + HASH_SIZE + 4)
    compared(start + slot / 2, bytes.subarray(at, at + size), true)
    at += size
  }
}
