/**
 * A counter that holds a decision back while anyone still has a say in it (spec API §10): a stream does not end before
 * its `prefinalize` guard is free, "not available from peers" is not said before the feed's `ifAvailable` guard is.
 */
export class Guard {
  private count = 0
  private queue: (() => void)[] = []
  private dependency: Guard | null = null
  private destroyed = false

  /** Whether somebody holds this guard; guards it depends on do not count. */
  get waiting(): boolean {
    return this.count > 0
  }

  /**
   * Lets everything that waits for this guard wait for `guard` after it. Only one guard can be depended on.
   *
   * @throws Error if there is a dependency already
   */
  depend(guard: Guard): void {
    if (this.dependency !== null) throw new Error('A guard can depend on one other guard only')
    this.dependency = guard
  }

  /** Takes hold of the guard; goes with one `continue`. */
  wait(): void {
    this.count++
  }

  /**
   * Lets go. The last step to 0 happens in a microtask, so that somebody else may still take hold in this tick.
   * `callback`, if given, runs at once with `error` and `value`: `guard.continue(cb, err, val)` may stand where `cb(err, val)` did.
   */
  continue(): void
  continue<E, V>(callback: ((error: E, value: V) => void) | undefined, error: E, value: V): void
  continue(callback?: (error: unknown, value: unknown) => void, error?: unknown, value?: unknown): void {
    if (this.count === 1) queueMicrotask(() => this.continueSync())
    else if (this.count > 1) this.count--
    if (callback) callback(error, value)
  }

  /** Lets go at once. `callback` runs after those who waited for the guard, and only if it got free. */
  continueSync(): void
  continueSync<E, V>(callback: ((error: E, value: V) => void) | undefined, error: E, value: V): void
  continueSync(callback?: (error: unknown, value: unknown) => void, error?: unknown, value?: unknown): void {
    if (this.count > 0) this.count--
    if (this.count > 0) return
    this.release()
    if (callback) callback(error, value)
  }

  /** Takes hold and returns the function that lets go: true the first time, false and without effect from then on. */
  waitAndContinue(): () => boolean {
    let done = false
    this.wait()
    return () => {
      if (done) return false
      done = true
      this.continue()
      return true
    }
  }

  /** Runs `fn` when nobody holds the guard: now, or as soon as the last one lets go. */
  ready(fn: () => void): void {
    if (this.destroyed || this.count === 0) this.run(fn)
    else this.queue.push(fn)
  }

  /** Lets everybody through, now and from now on. */
  destroy(): void {
    this.destroyed = true
    this.release()
  }

  private release(): void {
    const queue = this.queue
    this.queue = []
    for (const fn of queue) {
      try {
        this.run(fn)
      } catch (error) {
        // Whoever else waits is not concerned.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  private run(fn: () => void): void {
    if (this.dependency === null) fn()
    else this.dependency.ready(fn)
  }
}
