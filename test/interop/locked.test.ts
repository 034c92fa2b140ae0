/** A directory has one feed at a time: a second opening, by either package, here or in another process, gets ELOCKED. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { temporaryFolder } from '../helpers/folders.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { rejection, within } from '../helpers/watchdog.ts'
import { PACKAGES } from './packages.ts'

const SCRIPT = fileURLToPath(new URL('open-child.ts', import.meta.url))

/** Opens the folder in another process; answers what it printed: `open <length>` or the code of its error. */
async function openElsewhere(name: string, folder: string): Promise<string> {
  const args = ['--import', 'tsx', SCRIPT, name, folder]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  await within(new Promise((resolve) => child.on('close', resolve)), `the process of ${name}`, 60_000)
  return output.trim()
}

for (const [first, open] of Object.entries(PACKAGES)) {
  test(`a directory opened by ${first}`, async (t) => {
    const folder = path.join(await temporaryFolder(t), 'feed')
    const feed = open(folder)
    await feed.append(['a', 'b'])
    for (const [second, openSecond] of Object.entries(PACKAGES)) {
      // That the published packages lock out each other is theirs to test.
      if (first !== 'ours' && second !== 'ours') continue
      for (const options of [{}, { overwrite: true }, { createIfMissing: false }]) {
        const error = await rejection(openSecond(folder, null, options).ready(), `${second}, here`)
        t.equal(error.code, 'ELOCKED', `${second}, in this process, with ${JSON.stringify(options)}`)
      }
      t.equal(await openElsewhere(second, folder), 'ELOCKED', `${second}, in another process`)
    }
    await feed.append('c')
    await assertFeedIs(feed, { blocks: ['a', 'b', 'c'].map((text) => Buffer.from(text)) })
    await feed.close()
    // Nobody whose opening failed has kept a lock or an open file.
    for (const [second, openSecond] of Object.entries(PACKAGES)) {
      const again = openSecond(folder)
      await again.ready()
      t.equal(again.length, 3, `once it is closed, ${second} opens it`)
      await again.close()
    }
    t.equal(await openElsewhere('ours', folder), 'open 3', 'also in another process')
  })
}
