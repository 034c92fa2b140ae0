import { PAGE_BLOCKS, type PageAccess } from '../bitfield/pages.ts'

const PAGE_BYTES = PAGE_BLOCKS / 8

/**
 * The blocks that a remote says it has: bits in pages that exist only where it said something. What we lack of
 * them is worked out when it is asked for, so that nothing has to be kept in step with our own bitfield.
 */
export class RemoteBlocks {
  private readonly pages = new Map<number, Uint8Array>()
  private readonly local: () => PageAccess

  /** @param local - our own pages, whose data bits are the blocks that are here */
  constructor(local: () => PageAccess) {
    this.local = local
  }

  /** Whether the remote has the block and we lack it. */
  get(block: number): boolean {
    return this.has(block) && (byteOf(this.local().read(pageOf(block)), block) & maskOf(block)) === 0
  }

  /** Whether the remote has the block. */
  has(block: number): boolean {
    return (byteOf(this.pages.get(pageOf(block)) ?? null, block) & maskOf(block)) !== 0
  }

  /** Notes that the remote has, or lacks, blocks `start` … `end` − 1. */
  setRange(start: number, end: number, value: boolean): void {
    for (let at = start; at < end; ) {
      const page = pageOf(at)
      const stop = Math.min(end, (page + 1) * PAGE_BLOCKS)
      let bytes = this.pages.get(page)
      if (bytes === undefined) {
        if (!value) {
          at = stop
          continue
        }
        bytes = new Uint8Array(PAGE_BYTES)
        this.pages.set(page, bytes)
      }
      fill(bytes, at - page * PAGE_BLOCKS, stop - page * PAGE_BLOCKS, value)
      at = stop
    }
  }

  /** Replaces the bits from `start` (a multiple of 8) on by `bytes`, for as many as there are. */
  replace(start: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.byteLength; ) {
      const first = start / 8 + i
      const page = Math.floor(first / PAGE_BYTES)
      const offset = first - page * PAGE_BYTES
      const part = bytes.subarray(i, i + PAGE_BYTES - offset)
      const own = this.pages.get(page)
      if (own !== undefined) own.set(part, offset)
      else if (part.some((byte) => byte !== 0)) {
        const fresh = new Uint8Array(PAGE_BYTES)
        fresh.set(part, offset)
        this.pages.set(page, fresh)
      }
      i += part.byteLength
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.pages.clear()
  }

  /** One past the highest block that the remote has, 0 if it has none. */
  get length(): number {
    let highest = -1
    for (const page of this.pages.keys()) highest = Math.max(highest, page)
    for (let page = highest; page >= 0; page--) {
      const bytes = this.pages.get(page)
      if (bytes === undefined) continue
      for (let i = PAGE_BYTES - 1; i >= 0; i--) {
        const byte = bytes[i]!
        // The last bit of a byte is its lowest one.
        if (byte !== 0) return page * PAGE_BLOCKS + 8 * i + 8 - (31 - Math.clz32(byte & -byte))
      }
    }
    return 0
  }

  /** The first block of `start` … `end` − 1 that the remote has and we lack; −1 if there is none. */
  next(start: number, end: number): number {
    const local = this.local()
    for (let at = start; at < end; ) {
      const page = pageOf(at)
      const remote = this.pages.get(page)
      const pageEnd = (page + 1) * PAGE_BLOCKS
      if (remote !== undefined) {
        const own = local.read(page)
        const base = page * PAGE_BLOCKS
        const last = Math.min(end, pageEnd) - base
        let mask = 0xff >> ((at - base) & 7)
        for (let i = (at - base) >> 3; 8 * i < last; i++) {
          const byte = remote[i]! & ~(own === null ? 0 : own[i]!) & mask
          mask = 0xff
          if (byte === 0) continue
          const found = 8 * i + Math.clz32(byte) - 24
          return found < last ? base + found : -1
        }
      }
      at = pageEnd
    }
    return -1
  }
}

function pageOf(block: number): number {
  return Math.floor(block / PAGE_BLOCKS)
}

function byteOf(page: Uint8Array | null, block: number): number {
  return page === null ? 0 : page[(block % PAGE_BLOCKS) >> 3]!
}

function maskOf(block: number): number {
  return 0x80 >> (block % 8)
}

function fill(bytes: Uint8Array, start: number, end: number, value: boolean): void {
  let at = start
  for (; at < end && (at & 7) !== 0; at++) setBit(bytes, at, value)
  const whole = end & ~7
  if (at < whole) bytes.fill(value ? 0xff : 0, at >> 3, whole >> 3)
  for (at = Math.max(at, whole); at < end; at++) setBit(bytes, at, value)
}

function setBit(bytes: Uint8Array, bit: number, value: boolean): void {
  if (value) bytes[bit >> 3]! |= 0x80 >> (bit & 7)
  else bytes[bit >> 3]! &= ~(0x80 >> (bit & 7))
}
