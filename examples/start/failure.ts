/** Exit codes of `npm start`. */
export const EXIT = { check: 1, usage: 2, source: 3, folder: 4, connection: 5, interrupted: 130 } as const

/** An ending that is told in one sentence, without a stack, and with an exit code of its own. */
export class Failure extends Error {
  readonly exitCode: number

  constructor(kind: keyof typeof EXIT, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause })
    this.exitCode = EXIT[kind]
  }
}

/** Ends the run with exit code 1 unless `holds`: what was read back is not what was written. */
export function check(holds: boolean, sentence: string): void {
  if (!holds) throw new Failure('check', sentence)
}

/** What is said after Ctrl-C. */
export function interrupted(): Failure {
  return new Failure('interrupted', 'Interrupted. A kept folder is whole, and the next run goes on with it.')
}

/** Ends the run if Ctrl-C was pressed. Called between two pieces of work, so none is left half done. */
export function stopIfAsked(signal: AbortSignal): void {
  if (signal.aborted) throw interrupted()
}
