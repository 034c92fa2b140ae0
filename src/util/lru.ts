/**
 * A cache of two generations keyed by number: when the fresh one is full it becomes the stale one and the
 * old stale one is dropped; a hit in the stale one moves the entry over. Close to least-recently-used at the
 * price of a map lookup.
 */
export class GenerationCache<V> {
  private fresh = new Map<number, V>()
  private stale = new Map<number, V>()
  private freshWeight = 0
  private staleWeight = 0
  private readonly capacity: number
  private readonly weigh: (value: V) => number

  /**
   * @param capacity - the largest total weight kept, over both generations
   * @param weigh - weight of a value, by default 1
   */
  constructor(capacity: number, weigh: (value: V) => number = () => 1) {
    this.capacity = capacity
    this.weigh = weigh
  }

  get(key: number): V | undefined {
    const value = this.fresh.get(key)
    if (value !== undefined) return value
    const old = this.stale.get(key)
    if (old === undefined) return undefined
    this.set(key, old)
    return old
  }

  /** Keeps a value in the place of an older one; not if it is heavier than all that is kept. */
  set(key: number, value: V): void {
    this.delete(key)
    const weight = this.weigh(value)
    if (weight > this.capacity) return
    if (this.freshWeight > 0 && this.freshWeight + weight > this.capacity / 2) {
      this.stale = this.fresh
      this.staleWeight = this.freshWeight
      this.fresh = new Map()
      this.freshWeight = 0
    }
    this.fresh.set(key, value)
    this.freshWeight += weight
    if (this.freshWeight + this.staleWeight > this.capacity) this.dropStale()
  }

  delete(key: number): void {
    const value = this.fresh.get(key)
    if (value !== undefined) {
      this.freshWeight -= this.weigh(value)
      this.fresh.delete(key)
    }
    const old = this.stale.get(key)
    if (old !== undefined) {
      this.staleWeight -= this.weigh(old)
      this.stale.delete(key)
    }
  }

  clear(): void {
    this.fresh.clear()
    this.freshWeight = 0
    this.dropStale()
  }

  private dropStale(): void {
    this.stale = new Map()
    this.staleWeight = 0
  }
}
