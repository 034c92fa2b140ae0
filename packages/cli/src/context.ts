import type { Output } from './output.ts'

/** What a command needs of its run. */
export interface Context {
  out: Output
  /** Aborted by Ctrl-C: what is going on ends after the piece of work at hand. */
  signal: AbortSignal
  stdin: NodeJS.ReadStream
}

/** Options that every command has. */
export interface CommonArguments {
  json: boolean
  quiet: boolean
  debug: boolean
  color?: boolean | undefined
}
