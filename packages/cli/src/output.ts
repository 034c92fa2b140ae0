import type { WriteStream } from 'node:tty'
import pc from 'picocolors'
import { codeOf, Failure } from './exit.ts'
import { interruption, unlessAborted } from './interrupt.ts'
import { jsonLine } from './json.ts'
import { type Bar, type Progress, startProgress } from './progress.ts'
import { printable } from './units.ts'

/** Where a run writes. */
export interface Streams {
  stdout: WriteStream
  stderr: WriteStream
}

/** How a run writes. */
export interface OutputOptions {
  /** One JSON text instead of words. */
  json: boolean
  /** Results and errors only. */
  quiet: boolean
  /** `--color` and `--no-color`; null: as the terminal and the environment say. */
  color: boolean | null
  /** Aborted by Ctrl-C: a reader that takes nothing holds the end up no longer than a second then. */
  signal: AbortSignal
}

/** The functions that colour a text, or leave it alone. */
export type Colors = ReturnType<typeof pc.createColors>

const PATIENCE_MS = 1000
const STUCK = Symbol('the reader takes nothing')

// There is more than one output on the streams of a process.
const WATCHED = new WeakSet<WriteStream>()

/**
 * What a run tells. Results go to the standard output; notes, warnings, progress and errors to the standard error, so
 * that a pipe gets nothing but results.
 */
export class Output {
  readonly json: boolean
  readonly quiet: boolean
  /** Whether the results are read by a person. */
  readonly terminal: boolean
  /** Whether somebody watches how far things are. */
  readonly person: boolean
  /** Colours for results. */
  readonly colors: Colors
  /** Colours for everything else. */
  readonly noteColors: Colors
  readonly #streams: Streams
  readonly #signal: AbortSignal
  // Aborted when nothing can be written any more, with the reason.
  readonly #closed = new AbortController()
  // Nobody is waited for twice.
  readonly #stuck = new Set<WriteStream>()
  #bar: Bar | null = null

  constructor(streams: Streams, options: OutputOptions) {
    this.#streams = streams
    this.#signal = options.signal
    this.json = options.json
    this.quiet = options.quiet
    this.terminal = streams.stdout.isTTY === true
    this.person = streams.stderr.isTTY === true && !options.quiet && !options.json
    this.colors = pc.createColors(wantsColor(streams.stdout, options.color))
    this.noteColors = pc.createColors(wantsColor(streams.stderr, options.color))
    // Whoever reads along may go at any time. What that means is decided where something is written.
    for (const stream of [streams.stdout, streams.stderr]) {
      if (!WATCHED.has(stream)) stream.on('error', () => {})
      WATCHED.add(stream)
    }
  }

  /** Bytes of a result, exactly. Waits for a slow reader. Errors: a `Failure` of kind `pipe` if the reader is gone. */
  write(bytes: Uint8Array | string): Promise<void> {
    const { signal } = this.#closed
    if (signal.aborted) return Promise.reject(signal.reason)
    return this.#aside(async () => {
      const error = await this.#taken(this.#streams.stdout, bytes)
      if (error === STUCK) throw interruption(this.#signal)
      if (error !== null) throw this.#failed(error)
    })
  }

  /** The result: a line in words, or with `--json` one line of JSON. */
  async result(words: string, data: object): Promise<void> {
    await this.write(this.json ? `${jsonLine(JSON.stringify(data))}\n` : `${words}\n`)
  }

  /** Something that happened: a line of JSON with `--json`, else words, unless it is to be quiet. */
  async event(words: string, data: object): Promise<void> {
    if (this.json) await this.write(`${jsonLine(JSON.stringify(data))}\n`)
    else this.note(words)
  }

  /** Waits for something, but not when a result or an event could not be written meanwhile: then it fails as {@link write} does. */
  whileRead<T>(work: Promise<T>): Promise<T> {
    return unlessAborted(work, this.#closed.signal)
  }

  /** A line for people that is no result. */
  note(words: string): void {
    if (!this.quiet && !this.json) this.#tell(words)
  }

  /** A line that people should not miss. */
  warn(words: string): void {
    // It may name what others have written, as do errors.
    if (!this.quiet) this.#tell(`${this.noteColors.yellow('warning:')} ${printable(words)}`)
  }

  /** The sentence of an error, and with `--debug` its stack. */
  fail(failure: Failure, debug: boolean): void {
    const { message, code, exitCode } = failure
    if (this.json) this.#tell(jsonLine(JSON.stringify({ error: { message, code, exitCode } })))
    else this.#tell(`${this.noteColors.red('error:')} ${printable(message)}`)
    if (debug) this.#tell(stacks(failure).split('\n').map(printable).join('\n'))
  }

  /** Shows how far some work is, as long as it goes on. */
  async showing<T>(what: string, work: (progress: Progress) => Promise<T>): Promise<T> {
    const shown = !this.quiet && !this.json
    const bar = startProgress(what, shown ? this.#streams.stderr : null, this.noteColors)
    this.#bar = bar
    try {
      return await work(bar)
    } finally {
      bar.end()
      this.#bar = null
    }
  }

  /** Waits until everything written was taken, or cannot be. */
  async flush(): Promise<void> {
    await Promise.all(
      [this.#streams.stdout, this.#streams.stderr].map((stream) =>
        stream.destroyed || stream.writableEnded || this.#stuck.has(stream)
          ? undefined
          : this.#taken(stream, '')
      )
    )
  }

  /** Resolves when something was taken: with null, or why it cannot be; with STUCK if nobody can be waited for any more. */
  #taken(stream: WriteStream, bytes: Uint8Array | string): Promise<Error | typeof STUCK | null> {
    const signal = this.#signal
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined
      const hurry = (): void => {
        timer = setTimeout(() => {
          this.#stuck.add(stream)
          resolve(STUCK)
        }, PATIENCE_MS)
      }
      stream.write(bytes, (error) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', hurry)
        resolve(error ?? null)
      })
      if (signal.aborted) hurry()
      else signal.addEventListener('abort', hurry, { once: true })
    })
  }

  #tell(line: string): void {
    this.#bar?.hide()
    this.#streams.stderr.write(`${line}\n`)
    this.#bar?.show()
  }

  // On one terminal the bar and a result would overwrite each other.
  async #aside(write: () => Promise<void>): Promise<void> {
    if (this.#bar === null || !this.terminal) return write()
    this.#bar.hide()
    try {
      await write()
    } finally {
      this.#bar?.show()
    }
  }

  #failed(error: Error): Failure {
    const gone = ['EPIPE', 'ERR_STREAM_DESTROYED', 'ECONNRESET', 'EOF'].includes(codeOf(error) ?? '')
    const failure = gone
      ? new Failure('pipe', 'Whoever read the output is gone.', error)
      : new Failure('storage', `The output cannot be written: ${error.message}.`, error)
    this.#closed.abort(failure)
    return failure
  }
}

function wantsColor(stream: WriteStream, color: boolean | null): boolean {
  if (color !== null) return color
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  if (NO_COLOR) return false
  if (FORCE_COLOR) return FORCE_COLOR !== '0'
  return stream.isTTY === true && TERM !== 'dumb'
}

function stacks(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at !== undefined && at !== null; at = (at as Error).cause) {
    parts.push(at instanceof Error ? (at.stack ?? at.message) : String(at))
  }
  return parts.join('\ncaused by ')
}
