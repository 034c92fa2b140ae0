/**
 * What a remote asks for, or claims, in a burst is dealt with in several turns of the event loop, and is as it is when it is its
 * turn.
 */
import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { until } from '../helpers/replication-feeds.ts'

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const
const COUNT = 400
// A turn is over after ten looks at the clock, and it is looked at after eight answers, or before.
const MOST = 100

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A clock that stands still until the stream has sent something more, and then goes on by a millisecond with each look. */
function slowly(t: Test, stream: ProtocolStream): void {
  const { now } = performance
  let time = now.call(performance)
  const before = stream.bytesSent
  performance.now = () => (stream.bytesSent > before ? ++time : time)
  t.teardown(() => {
    performance.now = now
  })
}

interface Answer {
  index: number
  value?: Uint8Array | null
}

/** A feed of {@link COUNT} blocks, and a remote of it that takes whatever comes. */
async function stage(t: Test, inMemory = false) {
  const feed = new Feed(inMemory ? () => new RAM() : await temporaryFolder(t))
  await feed.append(Array.from({ length: COUNT }, (_, index) => Buffer.from(`block ${index}`)))
  const stream = feed.replicate(false, PLAIN)
  const remote = new ProtocolStream(true, PLAIN)
  for (const one of [stream, remote]) one.on('error', (error) => t.fail(error.message))
  const got: Answer[] = []
  const gone: number[] = []
  const channel = remote.open(feed.key!, {
    ondata: (answer) => void got.push(answer),
    onunhave: ({ start }) => void gone.push(start)
  })
  remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
  stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
  await until(() => feed.peers[0]?.remoteOpened === true, 'the Open')
  t.teardown(async () => {
    stream.destroy()
    remote.destroy()
    await feed.close()
  })
  return { feed, stream, channel, got, gone }
}

const bursts: Record<string, (i: number) => { index: number; bytes?: number; hash?: boolean }> = {
  neighbours: (index) => ({ index }),
  'blocks here and there': (i) => ({ index: (i * 7) % COUNT }),
  hashes: (index) => ({ index, hash: true }),
  seeks: (i) => ({ index: 0, bytes: 7 * i + 1, hash: true })
}

for (const [name, request] of Object.entries(bursts)) {
  test(`turns: a burst of requests for ${name}`, async (t) => {
    const { stream, channel, got } = await stage(t)
    slowly(t, stream)
    const before = stream.bytesSent
    for (let i = 0; i < COUNT; i++) channel.request(request(i))
    const sent: number[] = []
    for (let turns = 0; got.length < COUNT && turns < 10_000; turns++) {
      await turn()
      sent.push(stream.bytesSent)
    }
    t.equal(got.length, COUNT, 'all are answered')
    const total = stream.bytesSent - before
    const most = Math.max(...sent.map((bytes, i) => bytes - (sent[i - 1] ?? before)))
    t.ok(most <= (total * MOST) / COUNT, `${most} of ${total} bytes in one turn`)
    t.end()
  })
}

test('turns: what has changed until it is its turn', async (t) => {
  // Where nothing takes a turn, all of this is done before the next answers.
  const { feed, stream, channel, got, gone } = await stage(t, true)
  slowly(t, stream)
  for (let index = 0; index < COUNT; index++) channel.request({ index })
  while (feed.stats!.peers[0]!.uploadedBlocks === 0) await turn()
  t.ok(feed.stats!.peers[0]!.uploadedBlocks <= MOST, `${feed.stats!.peers[0]!.uploadedBlocks} have left`)
  for (let index = 296; index < 300; index++) channel.cancel({ index })
  await feed.clear(150, 160)
  await feed.truncate(320)
  await feed.append(Array.from({ length: COUNT - 320 }, (_, i) => Buffer.from(`other ${320 + i}`)))
  await until(() => got.length === COUNT - 4, 'the answers')
  const values = new Map(got.map(({ index, value }) => [index, value && Buffer.from(value).toString()]))
  t.equal(values.size, COUNT - 4)
  for (const [index, value] of values) {
    const expected = index >= 320 ? `other ${index}` : index >= 150 && index < 160 ? null : `block ${index}`
    if ((value ?? null) !== expected) t.fail(`block ${index} is ${value}`)
  }
  t.same(
    gone.filter((index) => index >= 150 && index < 160),
    Array.from({ length: 10 }, (_, i) => 150 + i)
  )
  t.end()
})

test('turns: the stream ends, or the feed is closed, while requests wait for their turn', async (t) => {
  for (const end of ['stream', 'feed']) {
    const { feed, stream, channel } = await stage(t)
    slowly(t, stream)
    for (let index = 0; index < COUNT; index++) channel.request({ index })
    while (feed.stats!.peers[0]!.uploadedBlocks === 0) await turn()
    if (end === 'stream') stream.destroy()
    else await feed.close()
    const { uploadedBlocks } = feed.stats!.totals
    for (let i = 0; i < 20; i++) await turn()
    t.ok(uploadedBlocks < COUNT, `${uploadedBlocks} blocks before the end of the ${end}`)
    t.equal(feed.stats!.totals.uploadedBlocks, uploadedBlocks, 'none after it')
  }
  t.end()
})

/** A sparse copy in a directory, and a remote that sends it the hashes of all blocks at once, and was asked for none. */
async function claims(t: Test) {
  const author = new Feed(() => new RAM())
  await author.append(Array.from({ length: COUNT }, (_, index) => Buffer.from(`block ${index}`)))
  const proofs = await Promise.all(Array.from({ length: COUNT }, (_, i) => author.proof(i, { hash: true })))
  const feed = new Feed(await temporaryFolder(t), author.key!, { sparse: true })
  await feed.ready()
  await feed.put(0, 'block 0', await author.proof(0))
  const stream = feed.replicate(false, PLAIN)
  const remote = new ProtocolStream(true, PLAIN)
  remote.on('error', (error) => t.fail(error.message))
  stream.on('error', (error) => t.fail(error.message))
  const stored: number[] = []
  const channel = remote.open(feed.key!, {
    onhave: ({ start, ack }) => {
      if (ack) stored.push(start)
    }
  })
  remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
  stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
  await until(() => feed.peers[0]?.remoteOpened === true, 'the Open')
  channel.options({ extensions: [], ack: true })
  await until(() => feed.peers[0]!.remoteAck, 'the options')
  const { now } = performance
  t.teardown(async () => {
    performance.now = now
    stream.destroy()
    remote.destroy()
    await Promise.all([feed.close(), author.close()])
  })
  // A clock that stands still until most have come, and then goes on by a millisecond with each look.
  const { arrivals } = (feed.peers[0] as unknown as { downloader: { arrivals: { count: number } } })
    .downloader
  let time = now.call(performance)
  let come = false
  performance.now = () => {
    come ||= arrivals.count >= 256
    return come ? ++time : time
  }
  for (let i = 1; i < COUNT; i++) {
    channel.data({ index: i, value: null, nodes: proofs[i]!.nodes, signature: proofs[i]!.signature })
  }
  return { feed, stream, stored, arrivals }
}

test('turns: a burst of hashes that nobody asked for', async (t) => {
  const { stored } = await claims(t)
  const counts: number[] = []
  for (let turns = 0; stored.length < COUNT - 1 && turns < 10_000; turns++) {
    await turn()
    counts.push(stored.length)
  }
  t.deepEqual(
    stored,
    Array.from({ length: COUNT - 1 }, (_, i) => i + 1),
    'all are stored, in their order'
  )
  const most = Math.max(...counts.map((count, i) => count - (counts[i - 1] ?? 0)))
  // Eight between two looks.
  t.ok(most <= 250, `${most} in one turn`)
  t.end()
})

test('turns: hashes that nobody asked for are not stored when their remote has left', async (t) => {
  const { stream, stored, arrivals } = await claims(t)
  await until(() => stored.length > 0, 'the first ones')
  stream.destroy()
  await until(() => arrivals.count === 0, 'the end of the others')
  t.ok(stored.length < COUNT - 1, `${stored.length} were`)
  t.end()
})
