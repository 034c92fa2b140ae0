import path from 'node:path'
import { parseArgs } from 'node:util'
import { Failure } from './failure.ts'

/** What the command line asks for. */
export interface Arguments {
  /** The file to import. */
  file: string
  /** The folder to keep, null for a temporary one. */
  keep: string | null
  /** Only tell how the command is used. */
  help: boolean
}

/** How the command is used. */
export const USAGE = `Usage: npm start [-- [FILE] [--keep DIR]]

Imports FILE (by default the running Node executable) into a signed feed on disk, reads it back in
every way there is, and proves three of its blocks to a feed that knows nothing but the public key.

  --keep DIR   keep the feed, in DIR/feed; run again, an interrupted import goes on where it stopped
  --help       this text

Exit codes: 0 all is well, 1 a check failed, 2 wrong arguments, 3 FILE cannot be read, 4 DIR cannot be
used, 130 interrupted.
`

/** Reads the command line, without the two words that start it. Fails with exit code 2. */
export function readArguments(words: readonly string[]): Arguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      options: { keep: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true
    })
    if (positionals.length > 1) throw new Error('There is more than one file')
    if (positionals[0] === '' || values.keep === '') throw new Error('A path is empty')
    return {
      file: path.resolve(positionals[0] ?? process.execPath),
      keep: values.keep === undefined ? null : path.resolve(values.keep),
      help: values.help === true
    }
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ')
    throw new Failure('usage', `${sentence}. See npm start -- --help.`, error)
  }
}
