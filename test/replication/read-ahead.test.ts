/** Reading for several answers at once: in which order, into what memory, and when that may be used again. */
import test from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import type { RequestMessage } from '../../src/replication/messages.ts'
import { BATCH_BYTES, ReadAhead } from '../../src/replication/read-ahead.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { until } from '../helpers/replication-feeds.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const SIZE = BATCH_BYTES / 4

/** A queue of requests for blocks of SIZE bytes, each filled with its index. */
function reading(queue: number[], offers: boolean) {
  const read: number[] = []
  const nextRun = (from: number): RequestMessage[] => {
    let end = from
    while (end < queue.length && queue[end] === queue[from]! + end - from) end++
    return queue.slice(from, end).map((index) => ({ index }) as RequestMessage)
  }
  const ahead = new ReadAhead({
    nextRun,
    runInto(start, end, target, offer) {
      const count = Math.min(end - start, Math.floor(target.byteLength / SIZE))
      if (count === 0) return null
      const blocks = Array.from({ length: count }, (_, i) => target.subarray(i * SIZE, (i + 1) * SIZE))
      blocks.forEach((bytes, i) => {
        bytes.fill(start + i)
        read.push(start + i)
      })
      const offered = offers && offer
      return { count, byteLength: count * SIZE, offered, verified: () => blocks }
    }
  })
  return { ahead, read, take: () => ahead.take(nextRun(0)) }
}

test('read ahead: runs of single blocks are read two batches at a time, each once', (t) => {
  const queue = [7, 3, 9, 1, 5, 11, 13, 2, 15, 17, 19, 21]
  const { ahead, read, take } = reading(queue, true)
  const wanted = [...queue]
  const memories = new Set<unknown>()
  for (const index of wanted) {
    const run = take()!
    t.deepEqual(
      run.blocks.verified()!.map((bytes) => [bytes[0], bytes[SIZE - 1]]),
      [[index, index]]
    )
    memories.add(run.memory.bytes)
    queue.shift()
    t.ok(read.length <= wanted.indexOf(index) + 8, `${read.length} were read by then`)
    ahead.done(run)
  }
  t.deepEqual(read, wanted)
  t.ok(memories.size <= 3, `${memories.size} pieces of memory`)
  t.end()
})

test('read ahead: what nobody hashes is not read long before', (t) => {
  const queue = [7, 3, 9, 1, 5]
  const { ahead, read, take } = reading(queue, false)
  ahead.done(take()!)
  t.deepEqual(read, [7])
  ahead.leave()
  const alone = reading([7], true)
  t.notOk(alone.take()!.blocks.offered, 'and a single one is hashed here')
  t.end()
})

test('read ahead: what is taken back is passed over', (t) => {
  const queue = [7, 3, 9, 1, 5, 11, 13, 2]
  const { ahead, read, take } = reading(queue, true)
  ahead.done(take()!)
  queue.splice(0, 3)
  const run = take()!
  t.equal(run.blocks.verified()![0]![0], 1)
  t.equal(read.filter((index) => index === 1).length, 1)
  ahead.done(run)
  queue.splice(0, queue.length, 20)
  t.equal(take()!.blocks.verified()![0]![0], 20, 'or everything')
  queue.length = 0
  ahead.leave()
  t.end()
})

test('read ahead: memory is used again when all of its runs are done with, and never when shown', (t) => {
  const queue = [7, 3, 9, 1]
  const { ahead, take } = reading(queue, true)
  const first = take()!
  const { bytes } = first.memory
  first.memory.shown = true
  for (let i = 0; i < 3; i++) {
    queue.shift()
    ahead.done(take()!)
  }
  queue.splice(0, 4, 8)
  const other = take()!
  t.notEqual(other.memory.bytes, bytes, 'one of its runs is still in use')
  ahead.done(first)
  for (let round = 0; round < 8; round++) t.notEqual(take()!.memory.bytes, bytes, 'and it was shown')
  ahead.done(other)
  t.equal(take()!.memory.bytes, other.memory.bytes)
  t.end()
})

test('read ahead: blocks asked for in any order arrive whole while another thread hashes them', async (t) => {
  const random = new SeededRandom(5)
  const feed = new Feed(await temporaryFolder(t), { verify: 'always' })
  const count = 64
  await feed.append(Array.from({ length: count }, (_, index) => Buffer.alloc(SIZE - index, index)))
  const plain = { encrypted: false, noise: false, live: true, timeout: 0 } as const
  const stream = feed.replicate(false, plain)
  const remote = new ProtocolStream(true, plain)
  for (const one of [stream, remote]) one.on('error', (error) => t.fail(error.message))
  const got: number[] = []
  const wrong: number[] = []
  const channel = remote.open(feed.key!, {
    ondata({ index, value }) {
      got.push(index)
      if (!Buffer.alloc(SIZE - index, index).equals(value!)) wrong.push(index)
    }
  })
  stream.pipe(remote).pipe(stream)
  await until(() => feed.peers[0]?.remoteOpened === true, 'the Open')
  // More than the thread is started for.
  const rounds = (48 * 1024 * 1024) / (count * SIZE)
  for (let round = 0; round < rounds; round++) {
    const order = random.shuffle(Array.from({ length: count }, (_, index) => index))
    const before = got.length
    for (const index of order) channel.request({ index })
    await until(() => got.length === before + count, `round ${round}`)
    if (got.slice(before).join() !== order.join()) t.fail(`round ${round} came in another order`)
  }
  t.deepEqual(wrong, [])
  stream.destroy()
  remote.destroy()
  await feed.close()
})
