import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Answer, ServeJob } from './jobs.ts'
import type { Ask, Serving, Usage } from './serve.ts'

/** A process that serves a feed (`serve.ts`), seen from the one that measures. It ends when that one ends. */
export class RemoteSource {
  readonly port: number
  readonly key: Uint8Array
  /** Its resident memory before the subject was loaded, in bytes. */
  readonly base: number
  readonly #child: ChildProcess
  readonly #lines: Interface

  private constructor(child: ChildProcess, lines: Interface, { port, key, base }: Serving) {
    this.#child = child
    this.#lines = lines
    this.port = port
    this.key = Buffer.from(key, 'hex')
    this.base = base
  }

  /** @throws {Error} if the feed cannot be served. */
  static async start(job: ServeJob): Promise<RemoteSource> {
    const program = process.argv[1]!
    const child = spawn(process.execPath, ['--expose-gc', program, JSON.stringify(job)], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    const lines = createInterface({ input: child.stdout! })
    const answer = JSON.parse(await nextLine(child, lines)) as Serving & Answer
    if (answer.error !== undefined) throw new Error(`The serving process: ${answer.error}`)
    return new RemoteSource(child, lines, answer)
  }

  /** Closes the feed and opens it afresh. */
  async reopen(): Promise<void> {
    await this.#ask('reopen')
  }

  /** Collects garbage and begins to watch the peak of memory. */
  async watch(): Promise<void> {
    await this.#ask('watch')
  }

  /** What the process has used so far. */
  usage(): Promise<Usage> {
    return this.#ask('usage')
  }

  async #ask(what: Ask): Promise<Usage> {
    this.#child.stdin!.write(`${what}\n`)
    return JSON.parse(await nextLine(this.#child, this.#lines)) as Usage
  }
}

function nextLine(child: ChildProcess, lines: Interface): Promise<string> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('The serving process has ended'))
    child.once('exit', ended)
    lines.once('line', (line) => {
      child.off('exit', ended)
      resolve(line)
    })
  })
}
