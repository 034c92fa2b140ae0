/**
 * Serialises the operations that change a feed. A holder that finds the mutex free runs at once, without a
 * turn of the event loop; the others follow in order of arrival.
 */
export class Mutex {
  private held = false
  private readonly waiting: (() => void)[] = []

  /** Runs `task` when everybody before it is done; answers what it answers. */
  run<T>(task: () => Promise<T>): Promise<T> {
    if (!this.held) {
      this.held = true
      return this.release(task)
    }
    return new Promise<void>((resolve) => this.waiting.push(resolve)).then(() => this.release(task))
  }

  /** Resolves when everything that was asked for before this call is done. */
  drained(): Promise<void> {
    return this.held ? this.run(async () => {}) : Promise.resolve()
  }

  private async release<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } finally {
      const next = this.waiting.shift()
      if (next === undefined) this.held = false
      else next()
    }
  }
}
