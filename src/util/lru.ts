/**
 * A cache of two generations keyed by number: when the fresh one is full it becomes the stale one and the
 * old stale one is dropped; a hit in the stale one moves the entry over. Close to least-recently-used at the
 * price of a map lookup.
 */
export class GenerationCache<V> {
  private fresh = new Map<number, V>()
  private stale = new Map<number, V>()
  private weight = 0
  private readonly perGeneration: number
  private readonly weigh: (value: V) => number

  /**
   * @param capacity - the largest total weight kept, over both generations
   * @param weigh - weight of a value, by default 1
   */
  constructor(capacity: number, weigh: (value: V) => number = () => 1) {
    this.perGeneration = Math.max(1, capacity / 2)
    this.weigh = weigh
  }

  get(key: number): V | undefined {
    const value = this.fresh.get(key)
    if (value !== undefined) return value
    const old = this.stale.get(key)
    if (old === undefined) return undefined
    this.stale.delete(key)
    this.set(key, old)
    return old
  }

  set(key: number, value: V): void {
    const weight = this.weigh(value)
    const replaced = this.fresh.get(key)
    if (replaced !== undefined) this.weight -= this.weigh(replaced)
    else if (this.weight > 0 && this.weight + weight > this.perGeneration) {
      this.stale = this.fresh
      this.fresh = new Map()
      this.weight = 0
    }
    this.fresh.set(key, value)
    this.weight += weight
  }

  delete(key: number): void {
    const value = this.fresh.get(key)
    if (value !== undefined) {
      this.weight -= this.weigh(value)
      this.fresh.delete(key)
    }
    this.stale.delete(key)
  }

  clear(): void {
    this.fresh.clear()
    this.stale.clear()
    this.weight = 0
  }
}
