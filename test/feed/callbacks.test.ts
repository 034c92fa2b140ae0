/** A callback that throws is an uncaught exception of the application, and the feed goes on (in a process of its own). */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { within } from '../helpers/watchdog.ts'
import { METHODS } from './methods.ts'

const SCRIPT = fileURLToPath(new URL('callbacks-child.ts', import.meta.url))

test('callbacks: one that throws is an uncaught exception, and the feed goes on', async (t) => {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  const code = await within(new Promise((resolve) => child.on('close', resolve)), 'the process', 60_000)
  t.equal(code, 0, 'exit code')
  const seen = JSON.parse(output) as Record<
    string,
    { uncaught: string[]; rejected: string[]; calls: number; after: string }
  >
  t.deepEqual(Object.keys(seen).sort(), [...Object.keys(METHODS), 'has', 'downloaded', 'download'].sort())
  for (const [name, { uncaught, rejected, calls, after }] of Object.entries(seen)) {
    t.deepEqual(uncaught, [`thrown by the callback of ${name}`], `${name}: an uncaught exception`)
    t.deepEqual(rejected, [], `${name}: no unhandled rejection`)
    t.equal(calls, 1, `${name}: the callback ran once`)
    t.equal(
      after,
      name === 'close' || name === 'destroyStorage' ? 'ERR_FEED_CLOSED' : 'appended',
      `${name}: afterwards`
    )
  }
})
