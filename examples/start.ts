/**
 * `npm start`: a real file through a feed on disk and back, and proofs of its blocks to somebody who has nothing
 * but the public key. `npm start -- --help` tells more.
 */
import { DDatabaseError } from '../src/index.ts'
import { readArguments, USAGE } from './start/arguments.ts'
import { EXIT, Failure } from './start/failure.ts'
import { run } from './start/run.ts'

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // Once: end after the piece of work at hand. Twice: end now.
    if (stop.signal.aborted) process.exit(EXIT.interrupted)
    stop.abort()
  })
}

try {
  const args = readArguments(process.argv.slice(2))
  if (args.help) process.stdout.write(USAGE)
  else await run(args, { output: process.stdout, signal: stop.signal })
} catch (error) {
  if (error instanceof Failure) {
    process.exitCode = error.exitCode
    console.error(error.message)
  } else {
    process.exitCode = EXIT.check
    // Ours say in a sentence what happened (a full disk, say). Anything else is a mistake in this program.
    console.error(DDatabaseError.is(error) ? `${error.message} (${error.code})` : error)
  }
}
