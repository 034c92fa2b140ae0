import cliProgress from 'cli-progress'

/** Shows how far something is. */
export interface Progress {
  /** So much of the total is done. */
  at(done: number): void
  end(): void
}

// A log should not be flooded: without a terminal, one line for each of so many parts.
const LINES = 4

/** A bar if the output is a terminal, else plain lines. `whole` says in words what the `total` is. */
export function startProgress(
  what: string,
  total: number,
  whole: string,
  output: NodeJS.WriteStream
): Progress {
  return output.isTTY ? bar(what, total, whole, output) : lines(what, total, whole, output)
}

function bar(what: string, total: number, whole: string, output: NodeJS.WriteStream): Progress {
  const format = `${what.padEnd(10)} {bar} {percentage}% of ${whole}, {eta_formatted} left`
  // Not gracefulExit: Ctrl-C is for the run to handle, which ends the bar too.
  const options = { format, hideCursor: true, clearOnComplete: true, gracefulExit: false, stream: output }
  const shown = new cliProgress.SingleBar(options, cliProgress.Presets.shades_classic)
  shown.start(total, 0)
  return { at: (done) => shown.update(done), end: () => shown.stop() }
}

function lines(what: string, total: number, whole: string, output: NodeJS.WritableStream): Progress {
  let told = 0
  return {
    at(done) {
      const part = total === 0 ? LINES : Math.floor((LINES * done) / total)
      if (part <= told) return
      told = part
      output.write(`${what.padEnd(10)} ${(part * 100) / LINES}% of ${whole}\n`)
    },
    end() {}
  }
}
