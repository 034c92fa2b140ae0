import b4a from 'b4a'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { HEADER_SIZE, isBlank, signaturePosition } from './layout.ts'
import type { StorageFile } from './random-access.ts'

/** Slots read at once while looking for the next signature. */
const SCAN_SLOTS = 64

/** A signature and the block whose slot it lies in: it covers the feed as it was with length `index` + 1. */
export interface StoredSignature {
  index: number
  signature: Uint8Array
}

/**
 * The signature slots (spec FORMAT §1.4). Nothing is cached: an application may rewrite slots behind the feed
 * (feeds with signatures of the old rule are made that way).
 */
export class SignaturesFile {
  private readonly file: StorageFile
  private end: number | null

  /**
   * @param file - the `signatures` storage
   * @param size - its size in bytes, null if unknown
   */
  constructor(file: StorageFile, size: number | null) {
    this.file = file
    this.end = size
  }

  /** The signature in the slot of `block`, null if the slot is empty or beyond the end. */
  async get(block: number): Promise<Uint8Array | null> {
    const slots = await this.read(block, 1)
    return slots === null || isBlank(slots) ? null : slots
  }

  /** The first signature in the slots of blocks `start` … `end` − 1, null if there is none. */
  async next(start: number, end: number): Promise<StoredSignature | null> {
    for (let block = start; block < end; ) {
      // The common case, a feed of single appends, has it in the first slot.
      const single = block === start || this.end === null
      const count = Math.min(single ? 1 : SCAN_SLOTS, end - block)
      const slots = await this.read(block, count)
      if (slots === null) return null
      for (let i = 0; i < slots.byteLength; i += SIGNATURE_SIZE) {
        const signature = slots.subarray(i, i + SIGNATURE_SIZE)
        if (!isBlank(signature)) return { index: block + i / SIGNATURE_SIZE, signature }
      }
      block += count
    }
    return null
  }

  /**
   * The bytes and the position that put `signature` into the slot of `block`, on a feed of `length` blocks so far.
   *
   * Slots from `length` on should be empty; where a failed write or an unfinished deletion may have left
   * something there, the slots up to `block` are written as zeros, or a search for the signature of a block in
   * the middle of this batch would find a stale one.
   */
  plan(block: number, signature: Uint8Array, length: number): { position: number; bytes: Uint8Array } {
    const mayBeStale = block > length && (this.end === null || this.end > signaturePosition(length))
    if (!mayBeStale) return { position: signaturePosition(block), bytes: signature }
    const bytes = b4a.alloc((block - length + 1) * SIGNATURE_SIZE)
    bytes.set(signature, bytes.byteLength - SIGNATURE_SIZE)
    return { position: signaturePosition(length), bytes }
  }

  /** Writes what {@link plan} answered. */
  async write(position: number, bytes: Uint8Array): Promise<void> {
    this.grow(position + bytes.byteLength)
    await this.file.write(position, bytes)
  }

  /** As {@link write}, at once; false if the storage cannot do that now. */
  writeSync(position: number, bytes: Uint8Array): boolean {
    this.grow(position + bytes.byteLength)
    return this.file.writeSync(position, bytes)
  }

  /** Removes the slots of blocks `start` … `end` − 1. */
  async remove(start: number, end: number): Promise<void> {
    const from = signaturePosition(start)
    const to = signaturePosition(end)
    await this.file.del(from, to - from)
    if (this.end !== null && this.end <= to) this.end = Math.min(this.end, from)
  }

  /** Removes all slots. */
  async clear(): Promise<void> {
    await this.file.del(HEADER_SIZE, Number.POSITIVE_INFINITY)
    if (this.end !== null) this.end = Math.min(this.end, HEADER_SIZE)
  }

  private async read(block: number, count: number): Promise<Uint8Array | null> {
    const position = signaturePosition(block)
    if (this.end === null) return this.file.readIfPresent(position, SIGNATURE_SIZE * count)
    // Somebody else may have made the file longer; then its own word counts.
    if (position + SIGNATURE_SIZE > this.end) this.end = (await this.file.size()) ?? this.end
    const available = Math.floor((this.end - position) / SIGNATURE_SIZE)
    if (available <= 0) return null
    const size = SIGNATURE_SIZE * Math.min(count, available)
    return this.file.readSync(position, size) ?? (await this.file.read(position, size))
  }

  private grow(end: number): void {
    if (this.end !== null) this.end = Math.max(this.end, end)
  }
}
