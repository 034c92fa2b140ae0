/** Fewer bytes are not worth an offer: to hand over and to take back costs some microseconds, as much as hashing 4 KB. */
export const SMALLEST_OFFER = 8 * 1024
/** Most inputs of one offer. */
export const MOST_INPUTS = 64

/** Inputs that were offered to another thread for hashing. */
export interface Offer {
  /** Whether the thread has begun: then others are better ones to hash meanwhile. */
  readonly begun: boolean
  /** Whether the hashes are there. */
  readonly done: boolean
  /**
   * Writes the hashes, that of the i-th input at `offset` + i · `stride` of `target`.
   * @returns false if they are not there: then the caller hashes
   */
  into(target: Uint8Array, offset: number, stride: number): boolean
}

/** What is hashed in front of each input. */
export interface Prefix {
  /** Bytes, at most 16. */
  readonly size: number
  /** Writes the prefix of `input` at `offset` of `target`. */
  write(target: Uint8Array, offset: number, input: Uint8Array): void
}
