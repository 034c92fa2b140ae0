/**
 * Memory of what arrives, used again when its blocks are stored. Fresh memory for each block of 64 KB costs more than to store
 * it: the pages have to be zeroed by the system, and the collector runs once for a few megabytes of them.
 *
 * Memory goes back only if everybody who has seen a part of it says so. Whoever does not know of loans, or is not sure,
 * says nothing, and the collector takes it.
 */
import b4a from 'b4a'

/** Room for some blocks, or one, with their proofs; and how many of each are kept for later. */
const SIZES = [
  { size: 20 * 1024, spare: 64 },
  { size: 72 * 1024, spare: 32 }
] as const
// Less than this is taken from pools anyway.
const SMALLEST = 8 * 1024

const spares: Uint8Array[][] = SIZES.map(() => [])

/** A piece of memory and how many still refer to it: at first whoever borrowed it. */
export class Loan {
  /** At least as much as was asked for. */
  readonly bytes: Uint8Array
  private readonly kind: number
  private users = 1
  private kept = false

  /** Made by {@link borrow}. */
  constructor(bytes: Uint8Array, kind: number) {
    this.bytes = bytes
    this.kind = kind
  }

  /** One more refers to it. */
  lend(): void {
    this.users++
  }

  /** One refers to it no more. */
  release(): void {
    if (--this.users > 0 || this.kept) return
    const spare = spares[this.kind]!
    if (spare.length < SIZES[this.kind]!.spare) spare.push(this.bytes)
  }

  /** Somebody may refer to it for good. */
  keep(): void {
    this.kept = true
  }
}

/** Memory for `size` bytes; null if it is not worth it. What it holds is left from its last use. */
export function borrow(size: number): Loan | null {
  if (size < SMALLEST) return null
  const kind = SIZES.findIndex((one) => size <= one.size)
  if (kind === -1) return null
  return new Loan(spares[kind]!.pop() ?? b4a.allocUnsafeSlow(SIZES[kind]!.size), kind)
}
