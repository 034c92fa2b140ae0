import test from 'tape'
import ddatabase from '../../src/index.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import type { StorageFactory } from '../../src/storage/random-access.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { copyInMemory, fetchSparsely } from './fetching.ts'
import { SimulatedFeed } from './simulated-feed.ts'

/** Writes of a directory: those at once, those that went through the thread pool, and the most at once in a turn of the event loop. */
function watchedStorage(folder: string): {
  storage: StorageFactory
  counts: { atOnce: number; later: number; mostInTurn: number }
} {
  const inner = directoryStorage(folder)
  const counts = { atOnce: 0, later: 0, mostInTurn: 0 }
  let inTurn = 0
  const storage = ((name: string, options: object) => {
    const file = inner(name, options)
    const { write, writeSync } = file
    file.write = (offset, data, callback) => {
      counts.later++
      write.call(file, offset, data, callback)
    }
    file.writeSync = (offset, data) => {
      if (!writeSync!.call(file, offset, data)) return false
      counts.atOnce++
      if (inTurn === 0) {
        setImmediate(() => {
          inTurn = 0
        })
      }
      counts.mostInTurn = Math.max(counts.mostInTurn, ++inTurn)
      return true
    }
    return file
  }) as StorageFactory
  return { storage, counts }
}

test('scattered: blocks from all over a feed are written at once, and the event loop has its turns', async (t) => {
  const simulated = new SimulatedFeed(2 ** 30)
  const source = ddatabase(simulated.storage, simulated.key)
  await source.ready()
  const { storage, counts } = watchedStorage(await temporaryFolder(t))
  const { target, disconnect } = await copyInMemory(source, storage)
  const { wrong } = await fetchSparsely(target, simulated, 500, new SeededRandom(30))
  t.deepEqual(wrong, [])
  t.ok(counts.atOnce > 5_000, `${counts.atOnce} writes at once`)
  t.ok(counts.later < 1_000, `${counts.later} through the thread pool`)
  t.ok(counts.mostInTurn < 600, `${counts.mostInTurn} at most without a turn of the event loop`)
  await disconnect()
  await Promise.all([target.close(), source.close()])
})
