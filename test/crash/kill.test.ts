/**
 * kill -9 of a real process on real files: here a few times, in `npm run test:torture` two hundred times and more. Also with
 * a limit on the size of files, and on a disk that is full (where one can be made, which takes root).
 */
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import test, { type Test } from 'tape'
import { temporaryFolder } from '../helpers/folders.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { killAgainAndAgain, type Surroundings } from './killing.ts'

const KILLS = Number(process.env.CRASH_KILLS ?? 3)
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000)

async function kill(t: Test, folder: string, surroundings: Surroundings): Promise<void> {
  const random = new SeededRandom(SEED)
  try {
    const { kills, operations, failed, recovered } = await killAgainAndAgain(
      folder,
      KILLS,
      random,
      surroundings
    )
    t.pass(`${kills} kills, ${operations} operations answered, ${failed} failed, repaired ${recovered} times`)
  } catch (error) {
    t.fail(`CRASH_SEED=${SEED} CRASH_KILLS=${KILLS}: ${(error as Error).stack}`)
  }
}

for (const durability of ['process', 'disk'] as const) {
  test(`kill -9, durability ${durability}`, async (t) => {
    await kill(t, path.join(await temporaryFolder(t), 'feed'), { durability, patience: 300 })
  })
}

test('kill -9 of a feed whose bitfield has several pages', async (t) => {
  const durability = 'process'
  await kill(t, path.join(await temporaryFolder(t), 'feed'), { durability, patience: 300, before: 20_000 })
})

test('kill -9 with a limit on the size of files', async (t) => {
  await kill(t, path.join(await temporaryFolder(t), 'feed'), {
    durability: 'process',
    patience: 500,
    fileLimit: 1024
  })
})

test('kill -9 on a full disk', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'disk')
  await mkdir(folder)
  const run = promisify(execFile)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder])
  } catch (error) {
    t.comment(`no small disk can be made here: ${(error as Error).message.trim()}`)
    t.pass('tried where it is possible')
    return
  }
  try {
    await kill(t, path.join(folder, 'feed'), { durability: 'process', patience: 500 })
  } finally {
    await run('umount', [folder])
  }
})
