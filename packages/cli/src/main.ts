/** The program: what bin/ddatabase.js runs. */
import type { RunCommand } from './command.ts'
import { EXIT, Failure } from './exit.ts'
import { explain } from './explain.ts'
import { interruptible, interruption } from './interrupt.ts'
import { Output } from './output.ts'
import { interpret } from './program.ts'

const words = process.argv.slice(2)
const { stdout, stderr, stdin } = process
let debug = words.includes('--debug')
let out = new Output(
  { stdout, stderr },
  { json: words.includes('--json'), quiet: false, color: colorOf(words) }
)

const run: RunCommand = async (args, work) => {
  debug = args.debug
  out = new Output({ stdout, stderr }, { json: args.json, quiet: args.quiet, color: args.color ?? null })
  const signal = interruptible()
  try {
    const code = await work({ out, signal, stdin })
    process.exitCode = code ?? EXIT.ok
  } catch (error) {
    // After Ctrl-C whatever is cancelled fails somehow.
    throw signal.aborted && !(error instanceof Failure) ? interruption(signal) : error
  }
}

try {
  await interpret(words, run, (text) => void stdout.write(text))
} catch (error) {
  const failure = explain(error)
  process.exitCode = failure.exitCode
  if (failure.kind !== 'pipe') out.fail(failure, debug)
}
await out.flush()
// Not to be kept alive by a terminal that is read, or by a peer that does not answer.
process.exit()

function colorOf(given: readonly string[]): boolean | null {
  if (given.includes('--no-color')) return false
  return given.includes('--color') ? true : null
}
