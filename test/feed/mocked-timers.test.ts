/** Feeds while the timers of the process are mocked, as tests of applications do: nothing of theirs is ever called. */
import path from 'node:path'
import test, { type Test } from 'tape'
import ddatabase from '../../src/index.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { temporaryFolder } from '../helpers/folders.ts'

const { setTimeout, clearTimeout } = globalThis
const TIMERS = ['setImmediate', 'setInterval', 'setTimeout'] as const

/** Runs this with timers that never come. */
async function mocked(t: Test, run: () => Promise<void>): Promise<void> {
  const real = TIMERS.map((name) => [name, globalThis[name]])
  const never = Object.fromEntries(TIMERS.map((name) => [name, () => ({ unref() {}, refresh() {} })]))
  Object.assign(globalThis, never)
  let limit: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    limit = setTimeout(() => reject(new Error('Nothing happens any more')), 5000)
  })
  try {
    await Promise.race([run(), late])
  } catch (error) {
    t.error(error as Error)
  } finally {
    clearTimeout(limit)
    Object.assign(globalThis, Object.fromEntries(real))
  }
}

test('mocked timers: feeds work, and are replicated', async (t) => {
  const folder = await temporaryFolder(t)
  await mocked(t, async () => {
    const feed = ddatabase(path.join(folder, 'feed'))
    await feed.ready()
    for (let i = 0; i < 20; i++) await feed.append(Buffer.alloc(10_000, i))
    await feed.append(Array.from({ length: 500 }, (_, i) => `${i}`))
    await feed.clear(3)
    t.equal((await feed.get(19))[0], 19)
    t.ok(await feed.audit({}))
    const copy = ddatabase(path.join(folder, 'copy'), feed.key)
    await copy.ready()
    const stream = feed.replicate(true, { live: true })
    stream.pipe(copy.replicate(false, { live: true })).pipe(stream)
    await copy.download({ start: 4, end: 520 })
    const index = await feed.append('live')
    t.equal(String(await copy.get(index)), 'live')
    await copy.close()
    await feed.close()
  })
})

test('mocked timers: a feed is closed whose files are told from changed ones', async (t) => {
  const folder = await temporaryFolder(t)
  await mocked(t, async () => {
    const feed = ddatabase(Object.assign(directoryStorage(folder), { stampsFrom: 0 }) as never)
    await feed.append('block')
    await feed.close()
    t.pass('closed')
  })
})
