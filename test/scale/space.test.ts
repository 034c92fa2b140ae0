import { statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { RemoteBlocks } from '../../src/replication/remote-blocks.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import type { StorageFactory } from '../../src/storage/random-access.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { copyInMemory } from './fetching.ts'
import { SimulatedFeed } from './simulated-feed.ts'

/** A directory whose writes are counted, in bytes by file. */
function countingStorage(folder: string): {
  storage: StorageFactory
  written: Record<string, number>
  writes: () => number
} {
  const inner = directoryStorage(folder)
  const written: Record<string, number> = {}
  let writes = 0
  const storage = ((name: string, options: object) => {
    const file = inner(name, options)
    const count = (data: Uint8Array): void => {
      written[name] = (written[name] ?? 0) + data.byteLength
      writes++
    }
    const { write, writeSync } = file
    file.write = (offset, data, callback) => {
      count(data)
      write.call(file, offset, data, callback)
    }
    if (writeSync !== undefined) {
      file.writeSync = (offset, data) => {
        const done = writeSync.call(file, offset, data)
        if (done) count(data)
        return done
      }
    }
    return file
  }) as StorageFactory
  return { storage, written, writes: () => writes }
}

function totalOf(written: Record<string, number>): number {
  return Object.values(written).reduce((sum, bytes) => sum + bytes, 0)
}

/** Bytes that the files of a folder take on the disk. */
async function allocated(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder)) bytes += 512 * statSync(path.join(folder, name)).blocks
  return bytes
}

test('space: an appended block of 10 bytes writes less than 600 bytes', async (t) => {
  const { storage, written, writes } = countingStorage(await temporaryFolder(t))
  const feed = ddatabase(storage)
  // The first block of a page of the bitfield makes the page.
  await feed.append('0123456789')
  const [before, writesBefore] = [totalOf(written), writes()]
  const count = 500
  for (let i = 0; i < count; i++) await feed.append('0123456789')
  const mean = (totalOf(written) - before) / count
  t.ok(mean < 600, `${mean} bytes on average`)
  const perAppend = (writes() - writesBefore) / count
  t.ok(perAppend < 7, `in ${perAppend} writes`)
  await feed.close()
})

test('space: of a page of the bitfield that was changed by the application everything is written', async (t) => {
  const folder = await temporaryFolder(t)
  const { storage } = countingStorage(folder)
  const feed = ddatabase(storage)
  for (let i = 0; i < 20; i++) await feed.append(`block ${i}`)
  feed.bitfield!.set(3, false)
  await feed.append('another')
  await feed.append('and another')
  await feed.close()
  const again = ddatabase(folder)
  await again.ready()
  const present = Array.from({ length: 22 }, (_, block) => again.has(block))
  t.deepEqual(
    present,
    present.map((_, block) => block !== 3),
    'as it was set'
  )
  t.equal(again.downloaded(), 21)
  await again.close()
})

test('space: a sparse copy of one block takes little room', async (t) => {
  const simulated = new SimulatedFeed(2 ** 26)
  const source = ddatabase(simulated.storage, simulated.key)
  await source.ready()
  const folder = await temporaryFolder(t)
  const { target, disconnect } = await copyInMemory(source, folder)
  t.deepEqual(await target.get(12_345_678), simulated.block)
  await disconnect()
  await Promise.all([target.close(), source.close()])
  const bytes = await allocated(folder)
  t.ok(bytes < 1_000_000, `${bytes} bytes`)
})

test('space: clear gives the room back', async (t) => {
  const folder = await temporaryFolder(t)
  const feed = ddatabase(folder)
  const block = new SeededRandom(5).bytes(64 * 1024)
  await feed.append(Array.from({ length: 64 }, () => block))
  await feed.flush()
  const file = path.join(folder, 'data')
  const before = 512 * statSync(file).blocks
  await feed.clear(8, 56)
  const after = 512 * statSync(file).blocks
  if (after === before) t.comment('the file system does not punch holes')
  t.ok(after === before || after <= before / 2, `${after} bytes of ${before} are left`)
  t.equal(statSync(file).size, 64 * block.byteLength, 'what follows stays where it is')
  t.deepEqual(await feed.get(60), block)
  await feed.close()
})

test('space: what a remote has is as sparse as what it says', (t) => {
  const bounded = (limit: number) =>
    new RemoteBlocks(
      () => ({ read: () => null }) as never,
      () => limit
    )
  const everything = bounded(8192)
  everything.setRange(0, 2 ** 33, true)
  t.ok(
    everything.get(2 ** 33 - 1),
    'a feed of 2^33 blocks without a gap takes a number for each window of 2^20'
  )
  const few = bounded(200)
  for (let i = 0; i < 100; i++) few.setRange(i * 2 ** 26, i * 2 ** 26 + 1, true)
  t.equal(few.next(1, 2 ** 40), 2 ** 26, 'single blocks take a page and a window each')
  t.throws(() => few.setRange(2 ** 39, 2 ** 39 + 1, true), /too much memory/, 'and not more')
  t.end()
})
