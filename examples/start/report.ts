import { type Progress, startProgress } from './progress.ts'

/** What a run needs of its process. */
export interface Surroundings {
  report: Report
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
}

/** What the user is told: lines with a word in front, and how far things are. */
export class Report {
  readonly #output: NodeJS.WriteStream

  constructor(output: NodeJS.WriteStream) {
    this.#output = output
  }

  tell(what: string, text: string): void {
    this.#output.write(`${what.padEnd(10)} ${text}\n`)
  }

  /** An empty line. */
  gap(): void {
    this.#output.write('\n')
  }

  /** Shows the progress of some work as long as it goes on; `whole` says in words what the `total` is. */
  async showing<T>(
    what: string,
    total: number,
    whole: string,
    work: (progress: Progress) => Promise<T>
  ): Promise<T> {
    const progress = startProgress(what, total, whole, this.#output)
    try {
      return await work(progress)
    } finally {
      progress.end()
    }
  }
}
