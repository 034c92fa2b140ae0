import path from 'node:path'
import { parseArgs } from 'node:util'
import { Failure } from './failure.ts'

/** What the command line asks for. */
export type Arguments = ServeArguments | CloneArguments | { mode: 'help' }

/** Both halves, or only the one that imports and serves. */
export interface ServeArguments {
  mode: 'both' | 'serve'
  /** The file to import. */
  file: string
  /** The folder to keep, null for a temporary one. */
  keep: string | null
  /** The port to listen on, 0 for any that is free. */
  port: number
}

/** Only the half that clones. */
export interface CloneArguments {
  mode: 'clone'
  /** Public key of the feed. */
  key: Uint8Array
  /** The port that the other half listens on. */
  port: number
  /** The folder to keep, null for a temporary one. */
  keep: string | null
}

/** How the command is used. */
export const USAGE = `Usage: npm start [-- [FILE] [--keep DIR] [--port N]]
       npm start -- serve [FILE] [--keep DIR] [--port N]
       npm start -- clone KEY --port N [--keep DIR]

Two processes. The first imports FILE (by default the running Node executable) into a signed feed on
disk, reads it back in every way there is, and serves it on a port of this machine. The second gets
the public key and the port, and clones the feed: three random blocks first, then the rest; it checks
every block, rebuilds the file and compares its SHA-256.

  serve        only the first half, until Ctrl-C; it says how to start the second in another terminal
  clone KEY    only the second half (KEY: 64 hexadecimal digits)
  --keep DIR   keep the feed in DIR/feed, the clone in DIR/clone; run again after Ctrl-C, or after
               the other side went away, and it goes on where it stopped: nothing is fetched twice
  --port N     the port (default: any that is free)
  --help       this text

A file whose name is serve or clone: ./serve, ./clone.

Exit codes: 0 all is well, 1 a check failed, 2 wrong arguments, 3 FILE cannot be read, 4 DIR cannot be
used, 5 no connection, or it broke, 130 interrupted.
`

/** Reads the command line, without the two words that start it. Fails with exit code 2. */
export function readArguments(words: readonly string[]): Arguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      options: {
        keep: { type: 'string' },
        port: { type: 'string' },
        help: { type: 'boolean', short: 'h' }
      },
      allowPositionals: true
    })
    if (values.help === true) return { mode: 'help' }
    const keep = values.keep === undefined ? null : readPath(values.keep)
    const port = values.port === undefined ? null : readPort(values.port)
    const [first, ...rest] = positionals
    if (first === 'clone') return { mode: 'clone', ...readClone(rest, port), keep }
    const mode = first === 'serve' ? 'serve' : 'both'
    const files = mode === 'serve' ? rest : positionals
    if (files.length > 1) throw new Error('There is more than one file')
    return { mode, file: readPath(files[0] ?? process.execPath), keep, port: port ?? 0 }
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ')
    throw new Failure('usage', `${sentence}. See npm start -- --help.`, error)
  }
}

function readClone(words: readonly string[], port: number | null): { key: Uint8Array; port: number } {
  const [key, ...rest] = words
  if (key === undefined) throw new Error('clone needs the key of the feed')
  if (rest.length > 0) throw new Error('There is more than one key')
  if (!/^[0-9a-f]{64}$/i.test(key)) throw new Error(`${key} is no key: a key has 64 hexadecimal digits`)
  if (port === null || port === 0) throw new Error('clone needs the port that the other side serves on')
  return { key: Buffer.from(key, 'hex'), port }
}

function readPath(word: string): string {
  if (word === '') throw new Error('A path is empty')
  return path.resolve(word)
}

function readPort(word: string): number {
  const port = Number(word)
  if (!/^\d+$/.test(word) || port > 65535) throw new Error(`${word} is no port: ports go from 0 to 65535`)
  return port
}
