/**
 * Gathers what is sent in one tick into few chunks: frames are encoded straight into a slab, which leaves as one chunk at
 * the end of the tick (a microtask) or when it is full. Encryption then costs one call per chunk instead of per frame.
 */

import b4a from 'b4a'
import { soon } from '../util/turn.ts'
import type { StreamCipher } from './cipher.ts'
import type { Loan } from './loans.ts'
import { RECORD_HEADER_SIZE, type RecordSealer } from './records.ts'

const EMPTY = b4a.alloc(0)
const SMALLEST_SLAB = 1024
// New memory of that size is far from the processor: with chunks of 16 KB, blocks of that size took a twelfth less time to a published
// stream in the same process. Records stay large: who takes those over a web socket has a message for each.
const LARGEST_SLAB = 64 * 1024
const LARGEST_NEW_SLAB = 16 * 1024

/** What the output needs. */
export interface OutputHost {
  /** Memory for so many bytes that can be used again; null if there is none. */
  borrow(size: number): Loan | null
  /** Takes a chunk, ready to leave, and the memory it is in if that was borrowed. */
  push(chunk: Uint8Array, loan: Loan | null): void
}

/** Bytes on their way out. */
export class Output {
  /** Where the reserved bytes are to be written. */
  bytes: Uint8Array = EMPTY
  /** Encrypts the chunks; null if they are not encrypted, or sealed. Set before anything is reserved. */
  cipher: StreamCipher | null = null
  /** Makes records of the chunks; null if there are none. Set before anything is reserved. */
  sealer: RecordSealer | null = null
  // The frames lie in between; `limit` is how far they may go. Around them there is room for what the sealer adds.
  private start = 0
  private end = 0
  private limit = 0
  // Bytes of this tick; the first slab of the next tick is as large as this one would have needed.
  private tick = 0
  private slabSize = SMALLEST_SLAB
  private scheduled = false
  private loan: Loan | null = null
  private readonly host: OutputHost
  private readonly ontick: () => void

  /** @param host - where chunks go, and memory for them comes from */
  constructor(host: OutputHost) {
    this.host = host
    this.ontick = () => this.endTick()
  }

  /** Bytes that were reserved and have not left yet. */
  get waiting(): number {
    return this.end - this.start
  }

  /** Reserves `size` bytes and returns their offset in `bytes`. The caller fills all of them before it does anything else. */
  reserve(size: number): number {
    if (this.limit - this.end < size) this.grow(size)
    if (!this.scheduled) {
      this.scheduled = true
      soon(this.ontick)
    }
    const offset = this.end
    this.end = offset + size
    this.tick += size
    return offset
  }

  /** Lets everything that is waiting leave now. */
  flush(): void {
    const { bytes, start, end, loan } = this
    if (end === start) return
    // No slab is kept: the chunk that leaves holds on to this one as long as it needs it.
    this.clear()
    if (this.sealer !== null) {
      this.host.push(this.sealer.seal(bytes, end), loan)
      return
    }
    const chunk = bytes.subarray(start, end)
    this.cipher?.update(chunk, chunk)
    this.host.push(chunk, loan)
  }

  private clear(): void {
    this.bytes = EMPTY
    this.loan = null
    this.start = 0
    this.end = 0
    this.limit = 0
  }

  /** Forgets what is waiting, and wipes the keys. Nothing may be reserved any more. */
  destroy(): void {
    this.clear()
    this.cipher?.destroy()
    this.sealer?.destroy()
  }

  private grow(size: number): void {
    this.flush()
    if (this.tick > 0) this.slabSize = LARGEST_SLAB
    let room = this.roomFor(size, this.slabSize)
    this.loan = this.host.borrow(room + this.overhead(room))
    if (this.loan === null && this.sealer === null)
      room = this.roomFor(size, Math.min(this.slabSize, LARGEST_NEW_SLAB))
    const total = room + this.overhead(room)
    this.bytes = this.loan?.bytes.subarray(0, total) ?? b4a.allocUnsafe(total)
    this.start = this.sealer === null ? 0 : RECORD_HEADER_SIZE
    this.end = this.start
    this.limit = this.start + room
  }

  private roomFor(size: number, slabSize: number): number {
    return Math.max(size, slabSize - this.overhead(slabSize))
  }

  private overhead(size: number): number {
    return this.sealer === null ? 0 : this.sealer.overhead(size)
  }

  private endTick(): void {
    this.scheduled = false
    this.flush()
    const needed = this.tick + this.overhead(this.tick)
    let slabSize = SMALLEST_SLAB
    while (slabSize < needed && slabSize < LARGEST_SLAB) slabSize *= 4
    this.slabSize = slabSize
    this.tick = 0
  }
}
