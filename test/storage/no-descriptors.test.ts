/** Openings of feeds in directories while the process has no descriptors left: nothing that could not be looked at counts as absent. */
import fs from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import ddatabase from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { replace, systemError } from '../helpers/lock-descriptors.ts'
import { rejection } from '../helpers/watchdog.ts'

async function closedFeed(t: Test, blocks: string[]): Promise<string> {
  const folder = await temporaryFolder(t)
  const feed = ddatabase(folder)
  await feed.ready()
  if (blocks.length > 0) await feed.append(blocks)
  await feed.close()
  return folder
}

async function contents(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await readdir(folder))
    files[name] = (await readFile(path.join(folder, name))).toString('hex')
  return files
}

/** Refuses the reading of such files until what it answers is called. */
function scarce(t: Test, name: string): () => void {
  const { readFileSync } = fs
  replace(t, fs, 'readFileSync', (file: string, ...rest: []) => {
    if (path.basename(file).startsWith(name)) throw systemError('EMFILE')
    return readFileSync(file, ...rest)
  })
  return () => replace(t, fs, 'readFileSync', readFileSync)
}

async function refusedOnce(t: Test, folder: string): Promise<void> {
  const before = await contents(folder)
  const feed = ddatabase(folder)
  const error = await rejection(feed.ready(), 'opening')
  t.equal(error.code, 'ERR_STORAGE')
  t.equal((error.cause as { code?: unknown }).code, 'EMFILE')
  t.deepEqual(await contents(folder), before, 'nothing has changed')
  await feed.close()
}

test('no descriptors left: a checkpoint that cannot be opened is not taken for none', async (t) => {
  const folder = await closedFeed(t, ['a', 'b', 'c'])
  const relieve = scarce(t, 'checkpoint')
  await refusedOnce(t, folder)
  relieve()
  const feed = ddatabase(folder)
  await feed.ready()
  t.equal(feed.length, 3)
  await feed.close()
})

test('no descriptors left: no other feed takes the place of one that lost its key', async (t) => {
  const folder = await closedFeed(t, [])
  await rm(path.join(folder, 'key'))
  await rm(path.join(folder, 'secret_key'))
  scarce(t, 'checkpoint')
  await refusedOnce(t, folder)
})

for (const name of ['forks', 'unlinked']) {
  test(`no descriptors left: what the file ${name} remembers is not forgotten`, async (t) => {
    const folder = await closedFeed(t, ['a', 'b', 'c'])
    await writeFile(path.join(folder, name), 'something\n')
    const relieve = scarce(t, name)
    await refusedOnce(t, folder)
    relieve()
    const feed = ddatabase(folder)
    await feed.ready()
    t.equal(feed.length, 3, 'the lock was given back')
    await feed.close()
  })
}
