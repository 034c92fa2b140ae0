import type { WriteStream } from 'node:tty'
import cliProgress from 'cli-progress'
import type { Colors } from './output.ts'
import { count, duration, size } from './units.ts'

/** How far some work is. */
export interface State {
  /** Bytes, or blocks, that are done; null if that cannot be said. */
  done: number
  /** Of so many; null as long as nobody knows. */
  total: number | null
  /** What is counted. Default: bytes. */
  unit?: 'bytes' | 'blocks'
  /** Of that, what was done before this run; it does not count for the rate. */
  before?: number
  /** Connected peers, for work that needs some. */
  peers?: number
}

/** Told how far some work is. */
export interface Progress {
  at(state: State): void
}

/** A progress that is shown. */
export interface Bar extends Progress {
  /** Makes room for a line of text. */
  hide(): void
  show(): void
  end(): void
}

// A log should not be flooded: without a terminal a line for each such part, and one when something begins to move.
const PARTS = 10

// Over what time a rate is measured, and how much of it has to have passed before one is told, in milliseconds.
const RATE_OVER = 3000
const RATE_FROM = 500

/** Shows a bar on a terminal, else plain lines; nothing at all if there is no output. */
export function startProgress(what: string, output: WriteStream | null, colors: Colors): Bar {
  if (output === null) return { at() {}, hide() {}, show() {}, end() {} }
  return output.isTTY === true ? new TerminalBar(what, output, colors) : new Lines(what, output)
}

/** What is said of a state beside the bar. */
function details(state: State, rate: Rate): string {
  const { done, total, unit = 'bytes', peers } = state
  const amount = (n: number): string => (unit === 'bytes' ? size(n) : count(n, 'block'))
  const parts = [total === null ? amount(done) : `${amount(done)} of ${amount(total)}`]
  const perSecond = rate.of(state)
  if (perSecond > 0) {
    parts.push(unit === 'bytes' ? `${size(Math.round(perSecond))}/s` : `${perSecond.toFixed(0)} blocks/s`)
    if (total !== null && total > done) parts.push(`${duration((total - done) / perSecond)} left`)
  }
  if (peers !== undefined) parts.push(count(peers, 'peer'))
  return parts.join(', ')
}

/** Growth per second, over the last few seconds. */
class Rate {
  readonly #seen: { at: number; done: number }[] = []

  of({ done, before = 0 }: State): number {
    const at = performance.now()
    if (this.#seen.length === 0) this.#seen.push({ at, done: before })
    this.#seen.push({ at, done })
    while (this.#seen.length > 2 && at - this.#seen[1]!.at > RATE_OVER) this.#seen.shift()
    const [first] = this.#seen
    if (at - first!.at < RATE_FROM) return 0
    return (1000 * Math.max(0, done - first!.done)) / (at - first!.at)
  }
}

class TerminalBar implements Bar {
  readonly #bar: InstanceType<typeof cliProgress.SingleBar>
  readonly #rate = new Rate()
  #state: State = { done: 0, total: null }
  #shown = false
  #ended = false

  constructor(what: string, output: WriteStream, colors: Colors) {
    this.#bar = new cliProgress.SingleBar(
      {
        // A function: a state may come with every block, but how it reads is worked out once for each look.
        format: (options, { progress }) => {
          const bar = cliProgress.Format.BarFormat(progress, options)
          const percent = this.#state.total === null ? '' : ` ${Math.floor(100 * progress)}%`
          return `${colors.cyan(what)} ${bar}${percent} ${details(this.#state, this.#rate)}`
        },
        hideCursor: true,
        clearOnComplete: true,
        // Ctrl-C is for the run to handle, which ends the bar too.
        gracefulExit: false,
        linewrap: false,
        barsize: 24,
        fps: 5,
        stream: output
      },
      cliProgress.Presets.shades_classic
    )
  }

  at(state: State): void {
    this.#state = state
    if (!this.#shown) this.show()
    else this.#bar.update(fraction(this.#state))
  }

  show(): void {
    if (this.#shown || this.#ended) return
    this.#shown = true
    this.#bar.start(1, fraction(this.#state))
  }

  hide(): void {
    if (this.#shown) this.#bar.stop()
    this.#shown = false
  }

  end(): void {
    this.hide()
    this.#ended = true
  }
}

function fraction({ done, total }: State): number {
  if (total === null) return 0
  return total === 0 ? 1 : Math.min(1, done / total)
}

class Lines implements Bar {
  readonly #what: string
  readonly #output: NodeJS.WritableStream
  readonly #rate = new Rate()
  #told = -1
  #peers = 0

  constructor(what: string, output: NodeJS.WritableStream) {
    this.#what = what
    this.#output = output
  }

  at(state: State): void {
    const part = Math.floor(PARTS * fraction(state))
    const { peers = 0 } = state
    if (part <= this.#told && peers === this.#peers) return
    this.#told = Math.max(part, this.#told)
    this.#peers = peers
    const percent = state.total === null ? '' : `${(part * 100) / PARTS}% `
    this.#output.write(`${this.#what} ${percent}(${details(state, this.#rate)})\n`)
  }

  hide(): void {}
  show(): void {}
  end(): void {}
}
