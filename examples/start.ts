/**
 * `npm start`: a real file goes through a feed on disk, and over a socket into a clone in a second process that knows
 * nothing but the public key. `npm start -- --help` tells more.
 */
import { DDatabaseError } from '../src/index.ts'
import { readArguments, USAGE } from './start/arguments.ts'
import { clone } from './start/clone.ts'
import { EXIT, Failure } from './start/failure.ts'
import { Report } from './start/report.ts'
import { serve } from './start/serve.ts'

// npm passes a Ctrl-C on that the terminal has sent to everybody already.
const ONE_KEYSTROKE = 500

const stop = new AbortController()
let stopped = 0
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // Once: end after the piece of work at hand. Twice: end now.
    if (!stop.signal.aborted) {
      stopped = performance.now()
      stop.abort()
    } else if (performance.now() - stopped > ONE_KEYSTROKE) {
      process.exit(EXIT.interrupted)
    }
  })
}

try {
  const args = readArguments(process.argv.slice(2))
  const around = { report: new Report(process.stdout), signal: stop.signal }
  if (args.mode === 'help') process.stdout.write(USAGE)
  else process.exitCode = await (args.mode === 'clone' ? clone(args, around) : serve(args, around))
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
