import type { WriteStream } from 'node:tty'
import type { RunCommand } from './command.ts'
import { EXIT, Failure } from './exit.ts'
import { explain } from './explain.ts'
import { interruption } from './interrupt.ts'
import { Output } from './output.ts'
import { interpret } from './program.ts'

/** What a run has around it: those of the process, or of a test. */
export interface Surroundings {
  stdin: NodeJS.ReadStream
  stdout: WriteStream
  stderr: WriteStream
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
}

/** Runs a command line and answers its exit code, when everything that it has to say was taken. Never rejects. */
export async function runProgram(words: readonly string[], around: Surroundings): Promise<number> {
  const { stdin, stdout, stderr, signal } = around
  const streams = { stdout, stderr }
  let debug = words.includes('--debug')
  let code: number = EXIT.ok
  // Until the arguments are understood: an error in them is told in the way that they seem to ask for.
  const json = words.includes('--json')
  let out = new Output(streams, { json, quiet: false, color: colorOf(words), signal })

  const run: RunCommand = async (args, work) => {
    debug = args.debug
    out = new Output(streams, { json: args.json, quiet: args.quiet, color: args.color ?? null, signal })
    try {
      code = (await work({ out, signal, stdin })) ?? EXIT.ok
    } catch (error) {
      // After Ctrl-C whatever is cancelled fails somehow.
      throw signal.aborted && !(error instanceof Failure) ? interruption(signal) : error
    }
  }

  try {
    await interpret(words, run, (text) => void stdout.write(text))
  } catch (error) {
    const failure = explain(error)
    code = failure.exitCode
    if (failure.kind !== 'pipe') out.fail(failure, debug)
  }
  await out.flush()
  return code
}

function colorOf(words: readonly string[]): boolean | null {
  if (words.includes('--no-color')) return false
  return words.includes('--color') ? true : null
}
