/** An input that was offered to another thread for hashing. */
export interface Offer {
  /** Whether the thread has begun: then another input is a better one to hash meanwhile. */
  readonly begun: boolean
  /** Writes the hash at `offset` of `target`. @returns false if it is not there: then the caller hashes */
  into(target: Uint8Array, offset: number): boolean
}
