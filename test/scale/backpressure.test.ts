import RandomAccessMemory from 'random-access-memory'
import { Writable } from 'streamx'
import test from 'tape'
import ddatabase from '../../src/index.ts'
import type { RandomAccess } from '../../src/storage/random-access.ts'
import { settle } from '../helpers/watchdog.ts'

const BLOCK = Buffer.alloc(16 * 1024, 'x')
const BLOCKS = 512
// What may be under way, far below the 8 MB of the feed.
const BOUND = 2 * 1024 * 1024

/** Memory that counts what is read of the blocks, and whose writes can be held. */
class CountingStorage {
  read = 0
  waiting = 0
  holding = false
  readonly storage = (name: string): RandomAccess => {
    const file: RandomAccess = new RandomAccessMemory()
    if (name !== 'data') return file
    const { read, write } = file
    file.read = (offset, size, callback) => {
      this.read += size
      read.call(file, offset, size, callback)
    }
    file.write = (offset, data, callback) => {
      if (this.holding) this.waiting += data.byteLength
      else write.call(file, offset, data, callback)
    }
    return file
  }
}

async function writer(storage: unknown = RandomAccessMemory) {
  const feed = ddatabase(storage as never)
  for (let i = 0; i < BLOCKS; i += 64) await feed.append(Array.from({ length: 64 }, () => BLOCK))
  return feed
}

/** Resolves when nothing has happened any more for a while. */
async function untilStill(count: () => number): Promise<void> {
  for (let still = 0, last = -1; still < 20; still++) {
    await settle(20)
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (count() !== last) still = 0
    last = count()
  }
}

test('backpressure: a read stream that nobody reads stops reading', async (t) => {
  const counting = new CountingStorage()
  const feed = await writer(counting.storage)
  counting.read = 0
  const stream = feed.createReadStream()
  stream.once('readable', () => {})
  await untilStill(() => counting.read)
  t.ok(counting.read > 0 && counting.read < BOUND, `${counting.read} bytes were read ahead`)
  stream.destroy()
  await feed.close()
})

test('backpressure: an iterator reads no further than it is asked', async (t) => {
  const counting = new CountingStorage()
  const feed = await writer(counting.storage)
  counting.read = 0
  for await (const block of feed) {
    t.equal((block as Uint8Array).byteLength, BLOCK.byteLength)
    await untilStill(() => counting.read)
    break
  }
  t.ok(counting.read < BOUND, `${counting.read} bytes were read`)
  await feed.close()
})

test('backpressure: a peer that does not read holds little of what it asked for', async (t) => {
  const counting = new CountingStorage()
  const source = await writer(counting.storage)
  const target = ddatabase(RandomAccessMemory, source.key!)
  await target.ready()
  const here = source.replicate(true)
  const there = target.replicate(false)
  for (const stream of [here, there]) stream.on('error', () => {})
  let passed = 0
  // The connection takes a few blocks, and nothing after that.
  here.pipe(
    new Writable({
      write(data, callback) {
        const chunk = data as Uint8Array
        passed += chunk.byteLength
        there.write(chunk)
        if (passed < 4 * BLOCK.byteLength) callback(null)
      }
    })
  )
  there.pipe(here)
  counting.read = 0
  await untilStill(() => counting.read)
  const { uploadedBytes } = source.stats!.totals
  t.ok(uploadedBytes > 0, 'it was sent something')
  t.ok(uploadedBytes < BOUND, `${uploadedBytes} bytes of blocks were sent`)
  t.ok(counting.read < BOUND, `${counting.read} bytes were read`)
  t.ok(here.queuedOutput < BOUND, `${here.queuedOutput} bytes wait`)
  here.destroy()
  there.destroy()
  await Promise.all([source.close(), target.close()])
})

test('backpressure: a disk that does not write stops the requests', async (t) => {
  const source = await writer()
  const counting = new CountingStorage()
  const target = ddatabase(counting.storage, source.key!)
  await target.ready()
  counting.holding = true
  const here = source.replicate(true)
  const there = target.replicate(false)
  for (const stream of [here, there]) stream.on('error', () => {})
  here.pipe(there).pipe(here)
  await untilStill(() => there.bytesReceived)
  t.ok(counting.waiting > 0, 'something is being written')
  t.ok(counting.waiting < BOUND, `${counting.waiting} bytes are being written`)
  t.ok(there.bytesReceived < BOUND, `${there.bytesReceived} bytes have come`)
  here.destroy()
  there.destroy()
  await source.close()
})
