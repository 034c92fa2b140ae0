/** How a run ends: its exit code, and what is said. README.md has the table of the codes for users. */

/** Exit codes. What they mean is promised to scripts. */
export const EXIT = {
  ok: 0,
  /** A mistake in this program, or something nobody thought of. */
  unexpected: 1,
  /** Arguments that make no sense. */
  usage: 2,
  /** The folder is no feed, or not one that can be used for this. */
  feed: 3,
  /** A file or folder to read from, or to write to, cannot be used. */
  files: 4,
  /** No peer, or none that can help. */
  network: 5,
  /** Something stored is not what was signed. */
  damage: 6,
  /** The disk is full, or failed. */
  storage: 7,
  /** The block or byte that was asked for is not here. */
  missing: 8,
  /** Ctrl-C. */
  interrupted: 130,
  /** Whoever read the output is gone. */
  pipe: 141,
  /** SIGTERM. */
  terminated: 143
} as const

/** The name of an exit code. */
export type ExitKind = keyof typeof EXIT

/** An ending that is told in one sentence with what to do, and with an exit code of its own. */
export class Failure extends Error {
  readonly kind: ExitKind
  /** Stable code of what was at the bottom of it, for `--json`. */
  readonly code: string | null

  /**
   * @param kind - decides the exit code
   * @param sentence - what happened and what to do
   * @param cause - what was at the bottom of it; `--debug` shows it
   */
  constructor(kind: ExitKind, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause })
    this.name = 'Failure'
    this.kind = kind
    this.code = codeOf(cause)
  }

  get exitCode(): number {
    return EXIT[this.kind]
  }
}

/** The stable code of an error of the system or of the core, null if it has none. */
export function codeOf(error: unknown): string | null {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : null
}
