/**
 * Blocks whose bytes follow from their size and index: one pseudo random pattern per size, the index in
 * its first eight bytes. So each block of a feed is unique, and any block can be checked later.
 */

const stampSize = 8

/** Pseudo random numbers in [0, 1) from a 32 bit seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x100000000
  }
}

/** Puts `order` into a random order. */
export function shuffle(order: number[], random: () => number): void {
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const value = order[last]!
    order[last] = order[other]!
    order[other] = value
  }
}

function stamp(block: Buffer, index: number): void {
  block.writeUInt32LE(index % 0x100000000, 0)
  block.writeUInt32LE(Math.floor(index / 0x100000000), 4)
}

function pattern(blockSize: number): Buffer {
  if (blockSize < stampSize) throw new RangeError(`A block needs at least ${stampSize} bytes`)
  const random = randomNumbers(blockSize)
  const bytes = Buffer.allocUnsafeSlow(blockSize)
  for (let at = 0; at < blockSize; at++) bytes[at] = random() * 256
  return bytes
}

/** Block `index` of a feed of blocks of `blockSize` bytes. */
export function blockAt(blockSize: number, index: number): Buffer {
  const block = pattern(blockSize)
  stamp(block, index)
  return block
}

/**
 * A run of consecutive blocks in one reused piece of memory: after `moveTo` the blocks have new bytes.
 * Reuse keeps the input out of the memory figures, and a subject that answers an append before it
 * is done with the bytes is found out when the feed is read back.
 */
export class BlockRun {
  readonly blocks: Buffer[] = []

  constructor(blockSize: number, count: number) {
    const slab = Buffer.allocUnsafeSlow(blockSize * count)
    const bytes = pattern(blockSize)
    for (let at = 0; at < slab.length; at += blockSize) {
      bytes.copy(slab, at)
      this.blocks.push(slab.subarray(at, at + blockSize))
    }
  }

  /** Makes the run start at block `index`. */
  moveTo(index: number): void {
    for (let at = 0; at < this.blocks.length; at++) stamp(this.blocks[at]!, index + at)
  }
}
