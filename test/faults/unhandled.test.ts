/** Calls without a callback that fail must not end the process, whatever else they do. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { within } from '../helpers/watchdog.ts'

const SCRIPT = fileURLToPath(new URL('unhandled-child.ts', import.meta.url))

/** Runs the script in a process of its own that has no handlers for unhandled errors. */
async function run(scenario: string): Promise<{ code: number | null; output: string; errors: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT, scenario], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (errors += data))
  const code = await within(
    new Promise<number | null>((resolve) => child.on('close', resolve)),
    `the process for '${scenario}'`,
    60_000
  )
  return { code, output: output.trim(), errors }
}

for (const scenario of [
  'calls nobody waits for',
  'a failing opening that somebody was told of',
  'a failing opening with a listener',
  'a failing opening that a call was told of'
]) {
  test(`the process lives on: ${scenario}`, async (t) => {
    const { code, output, errors } = await run(scenario)
    t.equal(code, 0, `exit code; ${errors.slice(0, 2000)}`)
    t.equal(output, 'alive', 'it got to its end')
  })
}

for (const scenario of ['a failing opening that nobody was told of', 'a callback that throws']) {
  test(`an uncaught exception of the application's own making: ${scenario}`, async (t) => {
    const { output, errors } = await run(scenario)
    t.match(output, /^uncaughtException /, `it is an exception and not a rejection; ${errors.slice(0, 2000)}`)
  })
}
