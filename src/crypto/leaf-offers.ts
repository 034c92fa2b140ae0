/** Blocks that come one after the other are offered to the second thread: small ones together, with an offer for each. */
import b4a from 'b4a'
import { HASH_SIZE } from '../merkle/node.ts'
import { offerLeaf, offerLeavesTogether } from './hash.ts'
import { MOST_INPUTS, type Offer, SMALLEST_OFFER } from './offer.ts'

// Small blocks are offered so many bytes at a time: the first hashes are there soon, and few who ask for one find the thread at it.
const TOGETHER = 2 * SMALLEST_OFFER

/** Small blocks that are, or will be, offered together. */
class Together {
  /** Nobody waits for the thread: it has not been asked, or too late, or did not want them. */
  over = false
  offer: Offer | null = null
  // Until they are offered, or over: they may lie in memory that somebody waits for.
  private blocks: Uint8Array[] = []
  private bytes = 0
  private count = 0
  private hashes: Uint8Array | null = null

  /** @returns its place */
  add(block: Uint8Array): number {
    this.blocks.push(block)
    this.bytes += block.length
    return this.count++
  }

  get isFull(): boolean {
    return this.bytes >= TOGETHER || this.count === MOST_INPUTS
  }

  /** Offers what was added. @returns how many the thread has taken */
  make(): number {
    this.offer = offerLeavesTogether(this.blocks)
    if (this.offer === null) return this.end(0)
    this.blocks = []
    return this.count
  }

  /** Writes a hash, if it is there. They are asked for one after the other. */
  into(place: number, target: Uint8Array, offset: number): boolean {
    if (this.hashes === null && !this.fetch(place)) return false
    const hashes = this.hashes!
    for (let i = 0, at = place * HASH_SIZE; i < HASH_SIZE; i++) target[offset + i] = hashes[at + i]!
    return true
  }

  private fetch(place: number): boolean {
    const { offer, count } = this
    if (this.over) return false
    if (offer === null) return this.end(false)
    // Who waited for the thread could have hashed one meanwhile. Behind the last one nobody asks: what has not been begun is taken back.
    if (!offer.done && (place < count - 1 || offer.begun)) return false
    const hashes = b4a.allocUnsafe(count * HASH_SIZE)
    if (!offer.into(hashes, 0, HASH_SIZE)) return this.end(false)
    this.hashes = hashes
    return true
  }

  private end<Answer>(answer: Answer): Answer {
    this.over = true
    this.blocks = []
    return answer
  }
}

/** One of those. */
class OneOf implements Offer {
  private readonly together: Together
  private readonly place: number

  constructor(together: Together, place: number) {
    this.together = together
    this.place = place
  }

  get begun(): boolean {
    return this.together.offer?.begun ?? false
  }

  get done(): boolean {
    return this.together.offer?.done ?? false
  }

  into(target: Uint8Array, offset: number): boolean {
    return this.together.into(this.place, target, offset)
  }
}

/** The blocks of one stream of blocks. */
export class LeafOffers {
  /** How many blocks the thread has been offered. */
  count = 0
  private gathered = new Together()

  /**
   * Offers a block whose hash will be needed soon, and after those of the blocks before it; a small one perhaps not yet. It must
   * not change until its hash is needed.
   * @returns null if this thread had better hash it
   */
  add(block: Uint8Array): Offer | null {
    if (block.length >= SMALLEST_OFFER) {
      const offer = offerLeaf(block)
      if (offer !== null) this.count++
      return offer
    }
    if (this.gathered.over) this.gathered = new Together()
    const { gathered } = this
    const one = new OneOf(gathered, gathered.add(block))
    if (gathered.isFull) this.flush()
    return one
  }

  /** No more will come before the hashes are needed. */
  flush(): void {
    this.count += this.gathered.make()
    this.gathered = new Together()
  }
}
