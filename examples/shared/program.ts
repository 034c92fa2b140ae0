import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

/** The programs here talk to programs of the same machine only, unless they are told otherwise. */
export const HOST = '127.0.0.1'

/** What the command line says. */
export interface CommandLine {
  /** The words that are not options. */
  words: string[]
  /** The options: all are numbers, or missing. */
  options: Record<string, number | undefined>
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
}

/** A command line that cannot be meant. */
export class UsageError extends Error {}

/**
 * Runs a program: prints its usage for `--help`, ends it at Ctrl-C, and tells errors in one sentence.
 * Exit codes: 0, 1 for errors, 2 for a wrong command line.
 */
export async function program(
  usage: string,
  options: readonly string[],
  main: (commandLine: CommandLine) => Promise<void>
): Promise<void> {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
  try {
    const { values, positionals } = parse(options)
    if (values.help === true) {
      process.stdout.write(usage)
      return
    }
    const numbers: Record<string, number | undefined> = {}
    for (const name of options) {
      const value = values[name]
      if (value === undefined) continue
      if (!/^\d+$/.test(String(value))) throw new UsageError(`--${name} should be a number`)
      numbers[name] = Number(value)
    }
    await main({ words: positionals, options: numbers, signal: stop.signal })
  } catch (error) {
    process.exitCode = error instanceof UsageError ? 2 : 1
    const { code } = error as { code?: unknown }
    console.error(`${(error as Error).message}${typeof code === 'string' ? ` (${code})` : ''}`)
    if (error instanceof UsageError) console.error('See --help.')
  }
}

function parse(options: readonly string[]): {
  values: Record<string, unknown>
  positionals: string[]
} {
  const known = Object.fromEntries(options.map((name) => [name, { type: 'string' as const }]))
  try {
    return parseArgs({ options: { ...known, help: { type: 'boolean', short: 'h' } }, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** The public key that somebody has typed. */
export function readKey(word: string | undefined): Uint8Array {
  if (word === undefined || !/^[0-9a-f]{64}$/i.test(word)) {
    throw new UsageError('A key has 64 hexadecimal digits')
  }
  return Buffer.from(word, 'hex')
}

/** A key as people copy it. */
export function hex(key: Uint8Array | null): string {
  return Buffer.from(key ?? []).toString('hex')
}

/** Resolves at Ctrl-C. */
export function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** A folder for feeds that are not to be kept. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-example-'))
  return {
    path: folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true })
  }
}
