import b4a from 'b4a'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { nextTurn, turnIsOver } from '../util/turn.ts'
import { isBlank, signaturePosition } from './layout.ts'
import type { StorageFile } from './random-access.ts'
import { storageError } from './storage-error.ts'

/** Slots read at once while looking for the next signature, behind the first one. */
const SCAN_SLOTS = 64

/** Slots that are looked at at once in a hole, and blanked where they were to be deleted. */
const BLANK_SLOTS = 1024
const BLANK = b4a.alloc(BLANK_SLOTS * SIGNATURE_SIZE)

/** A signature and the block whose slot it lies in: it covers the feed as it was with length `index` + 1. */
export interface StoredSignature {
  /** The last block that is covered. */
  index: number
  /** 64 bytes. */
  signature: Uint8Array
}

/**
 * The signature slots (spec FORMAT §1.4). Nothing is cached: an application may rewrite slots behind the feed
 * (feeds with signatures of the old rule are made that way).
 */
export class SignaturesFile {
  private readonly file: StorageFile
  private end: number | null
  // A deletion that failed may have cut the file anywhere.
  private certain = true

  /**
   * @param file - the `signatures` storage
   * @param size - its size in bytes, null if unknown
   */
  constructor(file: StorageFile, size: number | null) {
    this.file = file
    this.end = size
  }

  /** Slots up to the end of the file, as far as it is known. */
  get slots(): number {
    return this.end === null ? 0 : Math.max(0, Math.floor((this.end - signaturePosition(0)) / SIGNATURE_SIZE))
  }

  /** As {@link slots} if the file ends right behind the last one, else NaN. */
  get wholeSlots(): number {
    return this.end !== null && this.end === signaturePosition(this.slots) ? this.slots : Number.NaN
  }

  /** Whether the file has anything, be it part of a slot, beyond the slot of the last one of `length` blocks; false if that is unknown. */
  goesBeyond(length: number): boolean {
    return this.end !== null && this.end > signaturePosition(length)
  }

  /** Looks at the size of the file anew: somebody may have changed it. Rejects with the storage's error. */
  async refresh(): Promise<void> {
    this.end = (await this.file.size()) ?? this.end
  }

  /** The signature in the slot of `block`, null if the slot is empty or beyond the end. */
  async get(block: number): Promise<Uint8Array | null> {
    const slots = await this.read(block, 1)
    return slots === null || isBlank(slots) ? null : slots
  }

  /** As {@link get}, if that needs no waiting; else, and if there is none, null. Errors: `ERR_STORAGE`. */
  getSync(block: number): Uint8Array | null {
    const position = signaturePosition(block)
    if (this.end === null || !this.certain || position + SIGNATURE_SIZE > this.end) return null
    let slot: Uint8Array | null
    try {
      slot = this.file.readSync(position, SIGNATURE_SIZE)
    } catch (error) {
      throw storageError(error)
    }
    return slot === null || isBlank(slot) ? null : slot
  }

  /**
   * The first signature in the slots of blocks `start` … `end` − 1, null if there is none. A copy of some blocks of a long feed
   * has holes of millions of slots: they are compared as a whole, and the event loop has its turns.
   */
  async next(start: number, end: number): Promise<StoredSignature | null> {
    // The common case, a feed of single appends, has it in the first slot.
    let count = 1
    for (let block = start; block < end; ) {
      const slots = await this.read(block, Math.min(count, end - block))
      if (slots === null) return null
      if (!b4a.equals(slots, BLANK.subarray(0, slots.byteLength))) return firstOf(block, slots)
      block += slots.byteLength / SIGNATURE_SIZE
      if (this.end !== null) count = count === 1 ? SCAN_SLOTS : BLANK_SLOTS
      if (turnIsOver()) await nextTurn()
    }
    return null
  }

  /** Writes a signature into the slot of `block`. */
  async write(block: number, signature: Uint8Array): Promise<void> {
    await this.file.write(signaturePosition(block), signature)
    this.wrote(block)
  }

  /** As {@link write}, at once; false if the storage cannot do that now. */
  writeSync(block: number, signature: Uint8Array): boolean {
    if (!this.file.writeSync(signaturePosition(block), signature)) return false
    this.wrote(block)
    return true
  }

  /** The slots of blocks `start` … `end` − 1 as far as the file goes, to be put back with {@link restore}. */
  async copy(start: number, end: number): Promise<Uint8Array> {
    return (await this.read(start, end - start)) ?? b4a.alloc(0)
  }

  /** Writes slots that were copied back to where they were. */
  async restore(start: number, slots: Uint8Array): Promise<void> {
    if (slots.length === 0) return
    await this.file.write(signaturePosition(start), slots)
    this.wrote(start + slots.length / SIGNATURE_SIZE - 1)
  }

  /** Removes the slots of blocks `start` … `end` − 1. */
  async remove(start: number, end: number): Promise<void> {
    const from = signaturePosition(start)
    const to = signaturePosition(end)
    this.certain = false
    await this.file.del(from, to - from)
    await this.blank(from, to)
    this.certain = true
    if (!this.file.deletes) return
    if (this.end !== null && this.end <= to) this.end = Math.min(this.end, from)
  }

  /** Removes all slots beyond those of `length` blocks, with one that was cut short. */
  async removeBeyond(length: number): Promise<void> {
    if (this.goesBeyond(length)) await this.remove(length, this.slots + 1)
  }

  /**
   * Fills what a storage has left, because it cannot delete, or only says that it did, or can do so at the end of a file only, with
   * zeros. They say that there is no signature: one that stayed would still hold. Where the end was cut, nothing is read.
   */
  private async blank(from: number, to: number): Promise<void> {
    const { deletes } = this.file
    const size = await this.file.size()
    const end = Math.min(to, size ?? to)
    const pieceSize = size === null && deletes ? SIGNATURE_SIZE : BLANK.length
    for (let at = from; at < end; at += pieceSize) {
      const length = Math.min(pieceSize, end - at)
      if (deletes) {
        const left =
          size === null ? await this.file.readOrAbsent(at, length) : await this.file.read(at, length)
        if (left === null) return
        if (isBlank(left)) continue
      }
      await this.file.write(at, BLANK.subarray(0, length))
    }
  }

  private async read(block: number, count: number): Promise<Uint8Array | null> {
    try {
      return await this.readSlots(block, count)
    } catch (error) {
      throw storageError(error)
    }
  }

  private async readSlots(block: number, count: number): Promise<Uint8Array | null> {
    const position = signaturePosition(block)
    if (this.end === null) return this.file.readIfPresent(position, SIGNATURE_SIZE * count)
    // Somebody else may have made the file longer; then its own word counts.
    if (!this.certain || position + SIGNATURE_SIZE > this.end) this.end = (await this.file.size()) ?? this.end
    const available = Math.floor((this.end - position) / SIGNATURE_SIZE)
    if (available <= 0) return null
    const size = SIGNATURE_SIZE * Math.min(count, available)
    return this.file.readSync(position, size) ?? (await this.file.read(position, size))
  }

  private wrote(block: number): void {
    if (this.end !== null) this.end = Math.max(this.end, signaturePosition(block + 1))
  }
}

/** The first signature in slots that are not all blank, of blocks from `block` on. */
function firstOf(block: number, slots: Uint8Array): StoredSignature {
  for (let i = 0; ; i++) {
    const signature = slots.subarray(i * SIGNATURE_SIZE, (i + 1) * SIGNATURE_SIZE)
    if (!isBlank(signature)) return { index: block + i, signature }
  }
}
