interface Job {
  priority: number
  run(): Promise<void>
  done(): void
}

/** Runs jobs, a few at a time, those with a higher priority first and otherwise in the order in which they were added. */
export class JobQueue {
  readonly #parallel: number
  // By falling priority.
  readonly #jobs: Job[] = []
  #running = 0

  /** @param parallel - how many run at a time */
  constructor(parallel: number) {
    this.#parallel = parallel
  }

  /** Number of jobs that have not begun. */
  get waiting(): number {
    return this.#jobs.length
  }

  /** Number of jobs that are under way. */
  get running(): number {
    return this.#running
  }

  /** Adds a job, which must not fail. Resolves when it is done, or was dropped. */
  add(priority: number, run: () => Promise<void>): Promise<void> {
    return new Promise((done) => {
      let [low, high] = [0, this.#jobs.length]
      while (low < high) {
        const middle = (low + high) >> 1
        if (this.#jobs[middle]!.priority >= priority) low = middle + 1
        else high = middle
      }
      this.#jobs.splice(low, 0, { priority, run, done })
      this.#next()
    })
  }

  /** Drops the jobs that have not begun. */
  clear(): void {
    for (const { done } of this.#jobs.splice(0)) done()
  }

  #next(): void {
    while (this.#running < this.#parallel) {
      const job = this.#jobs.shift()
      if (job === undefined) return
      this.#running++
      void job.run().finally(() => {
        this.#running--
        job.done()
        this.#next()
      })
    }
  }
}
