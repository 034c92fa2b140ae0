/** New blocks that are sent without being asked for (docs/protocol.md, "Following"). */

import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import { type DataMessage, Feed, ProtocolStream, type RequestMessage } from '../../../src/index.ts'
import type { Peer } from '../../../src/replication/peer.ts'
import { until } from '../../helpers/replication-feeds.ts'
import { join } from '../../helpers/replication-pipes.ts'
import type { AnyStream } from '../../helpers/replication-subjects.ts'

const LIVE = { live: true } as const

/** Feeds and streams that are closed at the end of the test. */
class Room {
  readonly closing: (() => unknown)[] = []

  constructor(t: Test) {
    t.teardown(async () => {
      for (const close of this.closing.reverse()) await close()
    })
  }

  async feed(key: Uint8Array | null = null, options: object = {}): Promise<Feed<string>> {
    const feed = new Feed<string>(() => new RAM(), key, { valueEncoding: 'utf-8', ...options })
    await feed.ready()
    this.closing.push(() => feed.close())
    return feed
  }

  connect(a: Feed<string>, b: Feed<string>, ofA: object = LIVE, ofB: object = LIVE): () => void {
    const one = a.replicate(true, ofA)
    const other = b.replicate(false, ofB)
    return this.join(one, other)
  }

  join(one: ProtocolStream, other: ProtocolStream): () => void {
    for (const stream of [one, other]) stream.on('error', () => {})
    join(one as unknown as AnyStream, other as unknown as AnyStream)
    const cut = () => {
      one.destroy()
      other.destroy()
    }
    this.closing.push(cut)
    return cut
  }
}

/** Counts the requests for blocks that a feed sends, on all its connections from now on. */
function requestsOf(feed: Feed<string>): RequestMessage[] {
  const requests: RequestMessage[] = []
  feed.on('peer-open', ({ stream }: Peer) => {
    const { request } = stream
    stream.request = (message) => {
      if (!message.hash) requests.push(message as RequestMessage)
      return request.call(stream, message)
    }
  })
  return requests
}

const isFollowed = (feed: Feed<string>): boolean => feed.peers.some((peer) => (peer as Peer).remoteFollowing)
const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => `block ${from + i}`)

async function appendOneByOne(feed: Feed<string>, from: number, to: number): Promise<void> {
  for (const block of numbered(from, to)) await feed.append(block)
}

/** The replica has exactly these blocks, and each was sent once. */
async function sentOnce(t: Test, writer: Feed<string>, replica: Feed<string>, length: number): Promise<void> {
  await until(() => replica.downloaded() === length && replica.length === length, `${length} blocks`)
  t.deepEqual(await replica.getBatch(0, length), numbered(0, length))
  t.equal(writer.stats!.totals.uploadedBlocks, length, 'each was sent once')
}

test('following: what is appended comes without a request', async (t) => {
  const room = new Room(t)
  const writer = await room.feed()
  await writer.append(numbered(0, 5))
  const replica = await room.feed(writer.key)
  const requests = requestsOf(replica)
  const updates: number[] = []
  replica.on('remote-update', () => updates.push(replica.remoteLength))
  room.connect(writer, replica)
  await until(() => isFollowed(writer), 'the replica to follow')
  const before = requests.length
  for (let length = 6; length <= 100; length++) {
    await writer.append(`block ${length - 1}`)
    await until(() => replica.length === length, `length ${length}`)
    if (replica.remoteLength !== length) t.fail(`the replica knows the length ${replica.remoteLength}`)
  }
  t.equal(requests.length, before, 'nothing was asked for')
  t.equal(updates.at(-1), 100)
  await sentOnce(t, writer, replica, 100)
  t.deepEqual(await replica.audit(), { valid: 100, invalid: 0 })
})

test('following: appends that do not wait for each other, and batches', async (t) => {
  const room = new Room(t)
  const writer = await room.feed()
  const replica = await room.feed(writer.key)
  room.connect(writer, replica)
  await writer.append(numbered(0, 1))
  await until(() => isFollowed(writer), 'the replica to follow')
  let length = 1
  for (const count of [1, 3, 1, 1, 40, 1]) {
    await writer.append(numbered(length, length + count))
    length += count
  }
  for (let i = 0; i < 50; i++) void writer.append(`block ${length++}`)
  await sentOnce(t, writer, replica, length)
  await appendOneByOne(writer, length, length + 20)
  await sentOnce(t, writer, replica, length + 20)
})

test('following: a chain of followers', async (t) => {
  const room = new Room(t)
  const writer = await room.feed()
  await writer.append(numbered(0, 2))
  const middle = await room.feed(writer.key)
  const last = await room.feed(writer.key)
  room.connect(writer, middle)
  await until(() => isFollowed(writer), 'the one in the middle to follow')
  // It has two peers from here on, so it does not follow any more, but it is followed.
  const requests = requestsOf(last)
  room.connect(middle, last)
  await until(() => isFollowed(middle), 'the last one to follow')
  t.notOk(isFollowed(writer), 'who has several peers asks')
  const before = requests.length
  for (let length = 3; length <= 30; length++) {
    await writer.append(`block ${length - 1}`)
    await until(() => last.length === length, `length ${length}`)
  }
  await sentOnce(t, writer, middle, 30)
  await sentOnce(t, middle, last, 30)
  t.equal(requests.length, before, 'nothing was asked for')
})

test('following: of two peers none sends what the other one does', async (t) => {
  const room = new Room(t)
  const writer = await room.feed()
  await writer.append(numbered(0, 2))
  const other = await room.feed(writer.key)
  const replica = await room.feed(writer.key)
  room.connect(writer, replica)
  await until(() => isFollowed(writer), 'the replica to follow')
  room.connect(writer, other)
  const cut = room.connect(other, replica)
  await until(() => !isFollowed(writer) || writer.peers.length < 2, 'it to end')
  await until(() => writer.peers[0]!.remoteFollowing === false, 'the replica to ask again')
  await appendOneByOne(writer, 2, 40)
  await until(() => replica.downloaded() === 40 && other.downloaded() === 40, 'all')
  const sent = writer.stats!.totals.uploadedBlocks + other.stats!.totals.uploadedBlocks
  t.equal(sent, 80 - replica.stats!.totals.uploadedBlocks, 'each came to each once')
  cut()
  await until(() => writer.peers[0]!.remoteFollowing, 'the replica to follow again')
})

for (const [name, options, wire] of [
  ['sparse', { sparse: true }, LIVE],
  ['fetching nothing', { downloading: false }, LIVE],
  ['with a limit', { maxDownloadRate: 1e6 }, LIVE],
  ['not authenticated', {}, { live: true, authenticated: false }]
] as const) {
  test(`following: not by a replica that is ${name}`, async (t) => {
    const room = new Room(t)
    const writer = await room.feed()
    await writer.append(numbered(0, 2))
    const replica = await room.feed(writer.key, options)
    room.connect(writer, replica, wire, wire)
    await until(() => writer.peers[0]?.remoteOpened === true, 'the connection')
    await new Promise((resolve) => setTimeout(resolve, 20))
    await appendOneByOne(writer, 2, 6)
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.notOk(isFollowed(writer))
    t.equal(writer.stats!.totals.uploadedBlocks, replica.downloaded(), 'nothing comes that was not asked for')
  })
}

test('following: ends with the download, and a large block is announced', async (t) => {
  const room = new Room(t)
  const writer = await room.feed()
  await writer.append('block 0')
  const replica = await room.feed(writer.key, { sparse: true })
  const requests = requestsOf(replica)
  const download = replica.download({ start: 0, end: -1 })
  room.connect(writer, replica)
  await until(() => isFollowed(writer), 'the replica to follow')
  const before = requests.length
  await writer.append('x'.repeat(64 * 1024 + 1))
  await until(() => replica.downloaded() === 2, 'the large block')
  t.equal(requests.length, before + 1, 'it was asked for')
  await writer.append('block 2')
  await until(() => replica.downloaded() === 3, 'the next one')
  t.equal(requests.length, before + 1, 'that was not')
  replica.undownload(download)
  await until(() => !isFollowed(writer), 'it to end')
  await writer.append('block 3')
  await until(() => replica.remoteLength === 4, 'the news')
  t.equal(replica.downloaded(), 3)
})

/** A replica, and a remote that can prove what `writer` has and sends what it likes. */
async function impostor(t: Test): Promise<{
  writer: Feed<string>
  replica: Feed<string>
  data: (index: number, digest: number) => Promise<void>
  send: (message: Partial<DataMessage> & { index: number }) => void
  have: (index: number) => void
  seen: { following: boolean[]; requests: RequestMessage[]; unhaves: number[] }
  error: () => string | undefined
}> {
  const room = new Room(t)
  const writer = await room.feed()
  await writer.append(numbered(0, 4))
  const replica = await room.feed(writer.key)
  const seen = { following: [] as boolean[], requests: [] as RequestMessage[], unhaves: [] as number[] }
  const remote = new ProtocolStream(false, LIVE)
  const stream = replica.replicate(true, LIVE)
  let failure: string | undefined
  stream.on('error', (error) => {
    failure = (error as { code?: string }).code
  })
  room.join(stream, remote)
  const data = async (index: number, digest: number): Promise<void> => {
    const { nodes, signature } = await writer.proof(index, { digest })
    channel.data({ index, value: Buffer.from(await writer.get(index)), nodes, signature })
  }
  const channel = remote.open(writer.key!, {
    onwant: ({ start, length }) =>
      void channel.have({ start, length, bitfield: writer.bitfield!.compress(start, length) }),
    onstatus: ({ following }) => void seen.following.push(following === true),
    onunhave: ({ start }) => void seen.unhaves.push(start),
    onrequest(request) {
      seen.requests.push(request)
      if (!request.hash) void data(request.index, request.nodes)
      else
        void writer
          .proof(request.index, { hash: true })
          .then((proof) => channel.data({ index: request.index, ...proof }))
    }
  })
  channel.want({ start: 0, length: 2 ** 20 })
  await until(() => replica.downloaded() === 4 && seen.following.length > 0, 'the replica to follow')
  return {
    writer,
    replica,
    data,
    send: (message) => void channel.data(message),
    have: (start) => void channel.have({ start }),
    seen,
    error: () => failure
  }
}

test('following: a proof that leaves out too much is asked for as a whole, and from then on all is asked for', async (t) => {
  const { writer, replica, seen, send, have, error } = await impostor(t)
  t.deepEqual(seen.following, [true])
  await writer.append(numbered(4, 7))
  seen.requests.length = 0
  // Block 6 is the only one that is sent: 4 and 5, or what proves them, would be needed.
  const { signature } = await writer.proof(6)
  send({ index: 6, value: Buffer.from('block 6'), nodes: [], signature })
  await until(() => replica.has(6), 'block 6')
  t.deepEqual(
    seen.requests.map(({ index, nodes }) => [index, nodes]),
    [[6, 0]],
    'with nothing left out'
  )
  await until(() => seen.following.at(-1) === false, 'it to end')
  await writer.append('block 7')
  send({ index: 7, value: Buffer.from('block 7'), nodes: [], signature })
  await until(() => seen.unhaves.includes(7), 'it to be refused')
  t.equal(error(), undefined, 'that is no reason to leave')
  for (const index of [4, 5, 7]) have(index)
  await until(() => replica.downloaded() === 8, 'the rest')
  t.deepEqual(await replica.getBatch(0, 8), numbered(0, 8))
})

test('following: what does not verify is not stored', async (t) => {
  const { writer, replica, seen, send, data, error } = await impostor(t)
  await writer.append('block 4')
  const { nodes, signature } = await writer.proof(4)
  send({ index: 4, value: Buffer.from('another'), nodes, signature })
  await until(() => replica.has(4), 'the true one')
  t.equal(await replica.get(4), 'block 4')
  t.equal(error(), undefined)
  await until(() => seen.following.at(-1) === false, 'it to end')
  // The same again is not taken, but it says that the block is there.
  seen.requests.length = 0
  await writer.append('block 5')
  await data(5, 0)
  await until(() => seen.unhaves.includes(5), 'it to be refused')
  await until(() => replica.has(5), 'it to be fetched')
  t.deepEqual(
    seen.requests.map(({ index }) => index),
    [5]
  )
})

test('following: what was sent before the end of it is asked for', async (t) => {
  const { writer, replica, seen, data, error } = await impostor(t)
  await writer.append('block 4')
  seen.requests.length = 0
  // Somebody else has come, who might send it as well.
  const other = replica.replicate(true, LIVE)
  other.on('error', () => {})
  t.teardown(() => other.destroy())
  await until(() => seen.following.at(-1) === false, 'it to end')
  await data(4, 0)
  await until(() => replica.has(4), 'the block')
  t.deepEqual(
    seen.requests.map(({ index }) => index),
    [4]
  )
  t.equal(error(), undefined)
})

test('following: what is here already, or far away, is not taken', async (t) => {
  const { writer, replica, seen, data, error } = await impostor(t)
  await data(2, 0)
  await writer.append('block 4')
  await data(4, 0)
  await until(() => replica.has(4), 'the next block')
  t.deepEqual(seen.unhaves, [])
  await replica.clear(1)
  await data(1, 0)
  await until(() => seen.unhaves.filter((index) => index === 1).length === 2, 'it to be refused')
  t.notOk(replica.has(1))
  t.equal(error(), undefined)
  t.equal(replica.stats!.totals.downloadedBlocks, 5)
})

test('following: blocks that were sent on a wrong assumption are no fault, however many are under way', async (t) => {
  const { writer, replica, seen, send, error } = await impostor(t)
  // Large enough to be hashed a turn later, when all of them are here.
  const values = [4, 5, 6].map((block) => `block ${block} `.padEnd(20_000, '.'))
  await writer.append(values)
  // Without the nodes that prove them, as for somebody who knows those.
  for (const [i, value] of values.entries())
    send({ index: 4 + i, value: Buffer.from(value), nodes: [], signature: null })
  await until(() => seen.following.at(-1) === false, 'it to end')
  await until(() => replica.has(4) && replica.has(5) && replica.has(6), 'them to be asked for')
  t.equal(error(), undefined)
  t.deepEqual(await replica.getBatch(4, 7), values)
})
