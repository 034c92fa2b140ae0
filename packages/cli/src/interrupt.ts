import { EXIT, Failure } from './exit.ts'

// A shell, or npm, may pass on a Ctrl-C that the terminal has sent to everybody already.
const ONE_KEYSTROKE = 500

/** A signal that Ctrl-C aborts; a second Ctrl-C ends the process at once, which leaves every feed whole too. */
export function interruptible(): AbortSignal {
  const stop = new AbortController()
  let stopped = 0
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      const kind = name === 'SIGINT' ? 'interrupted' : 'terminated'
      if (!stop.signal.aborted) {
        stopped = performance.now()
        stop.abort(kind)
      } else if (performance.now() - stopped > ONE_KEYSTROKE) {
        process.exit(EXIT[kind])
      }
    })
  }
  return stop.signal
}

/** What is said after Ctrl-C; `remedy` is a clause that tells what is left and what the next run does. */
export function interruption(signal: AbortSignal, remedy = 'nothing is broken, run it again'): Failure {
  const kind = signal.reason === 'terminated' ? 'terminated' : 'interrupted'
  return new Failure(kind, `Interrupted; ${remedy}.`)
}

/** Ends the run if Ctrl-C was pressed. Called between two pieces of work, so that none is left half done. */
export function stopIfAsked(signal: AbortSignal, remedy?: string): void {
  if (signal.aborted) throw interruption(signal, remedy)
}

// As long as a key that was pressed may go unnoticed, in milliseconds.
const UNHEARD = 100

/** Lets Ctrl-C be heard in work that does not wait for anything: to be awaited again and again. Ends the run as {@link stopIfAsked} does. */
export function listening(signal: AbortSignal, remedy?: string): () => Promise<void> | undefined {
  let last = performance.now()
  return () => {
    if (performance.now() - last < UNHEARD) return
    return new Promise((resolve) => setImmediate(resolve)).then(() => {
      stopIfAsked(signal, remedy)
      last = performance.now()
    })
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Waits for some work; rejects with the reason of the signal when that is aborted before. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => {}
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
  })
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    return await Promise.race([work, stopped])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
