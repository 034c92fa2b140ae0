/** More feeds in one process than it has descriptors for. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { temporaryFolder } from '../helpers/folders.ts'
import { within } from '../helpers/watchdog.ts'

const CHILD = fileURLToPath(new URL('./many-feeds-child.ts', import.meta.url))
const FEEDS = 150
const DESCRIPTORS = 300

// On Windows a process cannot be given a limit.
if (process.platform !== 'win32') {
  for (const limit of ['told', 'untold']) {
    test(`${FEEDS} feeds with ${DESCRIPTORS} descriptors, a limit that is ${limit}`, async (t) => {
      const folder = await temporaryFolder(t)
      const command = [process.execPath, '--import', 'tsx', CHILD, folder, String(FEEDS), limit]
      const child = spawn('bash', ['-c', `ulimit -n ${DESCRIPTORS}; exec "$@"`, 'bash', ...command], {
        stdio: ['ignore', 'pipe', 'inherit']
      })
      let output = ''
      child.stdout.on('data', (data) => {
        output += data
      })
      t.same(await within(once(child, 'exit'), 'the process'), [0, null])
      const { wrong, most, left } = JSON.parse(output) as { wrong: string[]; most: number; left: number }
      t.same(wrong, [], 'every block of every feed is right')
      if (limit === 'told') t.ok(most < 0.9 * DESCRIPTORS, `${most} open at most: there is room for others`)
      t.ok(left < 50, `${left} at the end`)
    })
  }
}
