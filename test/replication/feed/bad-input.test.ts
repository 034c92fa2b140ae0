/**
 * Remotes that misbehave: each ends its own connection with a coded error; another peer of the same feed, another feed on
 * another stream and waiting calls go on.
 */
import test, { type Test } from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, type Connection, complete, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { type CodedError, ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

/** A replica under attack, with a good peer that lacks block 5, and an unrelated pair. */
class Stage {
  readonly bench: Bench
  readonly victim: FeedFace
  readonly writer: FeedFace
  readonly #half: FeedFace
  readonly #others: [FeedFace, FeedFace]
  readonly #connections: Connection[] = []
  readonly #waiting: Promise<unknown>

  private constructor(
    bench: Bench,
    feeds: Record<'writer' | 'half' | 'victim' | 'other' | 'copy', FeedFace>
  ) {
    this.bench = bench
    this.writer = feeds.writer
    this.victim = feeds.victim
    this.#half = feeds.half
    this.#others = [feeds.other, feeds.copy]
    this.#connections.push(
      connect(feeds.half, feeds.victim, { live: true }),
      connect(feeds.other, feeds.copy, { live: true })
    )
    this.#waiting = feeds.victim.get(5)
  }

  static async make(t: Test): Promise<Stage> {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(12))
    const half = await bench.sparse(writer)
    for (const i of [0, 1, 2, 3, 11]) await half.put(i, Buffer.from(`block ${i}`), await writer.proof(i))
    const victim = await bench.sparse(writer)
    const other = await bench.writer(texts(2))
    const copy = await bench.replica(other)
    const stage = new Stage(bench, { writer, half, victim, other, copy })
    await victim.get(1)
    return stage
  }

  /** Lets `attack` play the remote; answers how the victim's stream ended. */
  async attackedBy(
    attack: (channel: AnyChannel, stream: AnyStream, stage: Stage) => unknown,
    options: object = {},
    handlers: (channel: () => AnyChannel) => object = () => ({})
  ): Promise<CodedError | null> {
    const remote = unwatched(new OURS.Protocol(true, { live: true }))
    const stream = replicating(this.victim).replicate(false, { live: true, ...options })
    const end = ending(stream)
    const channel: AnyChannel = remote.open(this.writer.key, {
      onopen: () => attack(channel, remote, this),
      ...handlers(() => channel)
    })
    join(remote, stream)
    return end
  }

  /** Everything else goes on. */
  async goesOn(t: Test): Promise<void> {
    t.equal(replicating(this.victim).peers.length, 1, 'the other peer is still there')
    t.equal(String(await this.victim.get(2)), 'block 2', 'and sends blocks')
    await this.#half.put(5, Buffer.from('block 5'), await this.writer.proof(5))
    // A block that was put is announced like any other.
    t.equal(String(await this.#waiting), 'block 5', 'the waiting call is answered')
    await this.#others[0].append('more')
    await complete(this.#others[1], 3)
    t.notOk(
      this.#connections.some(({ a, b }) => a.destroyed || b.destroyed),
      'no other stream has ended'
    )
    for (const connection of this.#connections) await connection.cut()
    t.deepEqual({ ...(await this.victim.audit()) }, { valid: this.victim.downloaded(), invalid: 0 }, 'audit')
    await this.bench.close()
  }
}

/** Offers block 5, and answers the request for it with what `change` makes of the right answer. */
function falsified(change: (message: Record<string, unknown>, stage: Stage) => unknown) {
  return async (t: Test, codes: readonly string[]): Promise<void> => {
    const stage = await Stage.make(t)
    const error = await stage.attackedBy(
      (channel) => channel.have({ start: 5 }),
      {},
      (channel) => ({
        onrequest: async ({ index }: { index: number }) => {
          const proof = await stage.writer.proof(index)
          const message = { index, value: Buffer.from(`block ${index}`), ...proof }
          try {
            channel().data(change(message, stage) as object)
          } catch {
            // A message that our own encoder refuses cannot be sent this way.
            t.fail('the message cannot be sent')
          }
        }
      })
    )
    t.ok(codes.includes(error?.code ?? ''), `${error?.code}: ${error?.message}`)
    t.notOk(stage.victim.has(5), 'nothing of it was stored')
    await stage.goesOn(t)
  }
}

type NodeLike = { index: number; hash: Uint8Array; size: number }
const nodesOf = (message: Record<string, unknown>) => message.nodes as NodeLike[]
const flipped = (bytes: Uint8Array) => Buffer.from(bytes).fill(bytes[0]! ^ 1, 0, 1)

const DATA: Record<
  string,
  [change: (message: Record<string, unknown>, stage: Stage) => unknown, ...codes: string[]]
> = {
  'another value': [
    (message) => ({ ...message, value: Buffer.from('block V') }),
    'ERR_PROOF_CHECKSUM',
    'ERR_PROOF_SIGNATURE'
  ],
  'another hash': [
    (message) => ({
      ...message,
      nodes: nodesOf(message).map((node, i) => (i === 0 ? { ...node, hash: flipped(node.hash) } : node))
    }),
    'ERR_PROOF_CHECKSUM',
    'ERR_PROOF_SIGNATURE'
  ],
  'another size': [
    (message) => ({
      ...message,
      nodes: nodesOf(message).map((node, i) => (i === 0 ? { ...node, size: node.size + 1 } : node))
    }),
    'ERR_PROOF_CHECKSUM',
    'ERR_PROOF_SIGNATURE'
  ],
  'no nodes': [
    (message) => ({ ...message, nodes: [] }),
    'ERR_ROOTS_MISSING',
    'ERR_PROOF_NO_SIGNATURE',
    'ERR_PROOF_SIGNATURE'
  ],
  'nodes of another block': [
    (message) => ({
      ...message,
      nodes: nodesOf(message).map((node) => ({ ...node, index: node.index + 16 }))
    }),
    'ERR_ROOTS_MISSING',
    'ERR_PROOF_MALFORMED',
    'ERR_PROOF_SIGNATURE'
  ],
  'neither value nor nodes': [({ index }) => ({ index }), 'ERR_PROOF_MALFORMED', 'ERR_MESSAGE_INVALID']
}

for (const [name, [change, ...codes]] of Object.entries(DATA)) {
  test(`bad input: Data with ${name}`, (t) => falsified(change)(t, codes))
}

test('bad input: a longer feed with a false signature', async (t) => {
  const stage = await Stage.make(t)
  const longer = await stage.bench.feed(stage.writer.key, { secretKey: stage.writer.secretKey })
  await longer.append(texts(20))
  stage.victim.get(17).catch(() => {})
  const error = await stage.attackedBy(
    (channel) => channel.have({ start: 17 }),
    {},
    (channel) => ({
      onrequest: async ({ index }: { index: number }) => {
        const { nodes, signature } = await longer.proof(index)
        channel().data({ index, value: Buffer.from(`block ${index}`), nodes, signature: flipped(signature!) })
      }
    })
  )
  t.equal(error?.code, 'ERR_PROOF_SIGNATURE')
  t.equal(stage.victim.length, 12)
  await stage.goesOn(t)
})

const BROKEN: Record<
  string,
  [attack: (channel: AnyChannel, stream: AnyStream) => unknown, ...codes: string[]]
> = {
  'a bitfield that is not one': [
    (channel) => channel.have({ start: 0, length: 2 ** 20, bitfield: Buffer.from('140102', 'hex') }),
    'ERR_MALFORMED_RLE'
  ],
  'a bitfield that starts inside a byte': [
    (channel) => channel.have({ start: 3, length: 8192, bitfield: Buffer.from('0280', 'hex') }),
    'ERR_MESSAGE_INVALID'
  ],
  'a bitfield of more than a window': [
    (channel) =>
      channel.have({ start: 0, length: 2 ** 20, bitfield: Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]) }),
    'ERR_LIMIT',
    'ERR_MALFORMED_RLE'
  ],
  'a Have of too many blocks': [(channel) => channel.have({ start: 0, length: 2 ** 50 }), 'ERR_LIMIT'],
  'a Have of a block that cannot be': [
    (channel) => channel.have({ start: 2 ** 52 }),
    'ERR_LIMIT',
    'ERR_MESSAGE_INVALID'
  ]
}

for (const [name, [attack, ...codes]] of Object.entries(BROKEN)) {
  test(`bad input: ${name}`, async (t) => {
    const stage = await Stage.make(t)
    const error = await stage.attackedBy(attack)
    t.ok(codes.includes(error?.code ?? ''), `${error?.code}: ${error?.message}`)
    await stage.goesOn(t)
  })
}

test('bad input: what is merely strange is ignored', async (t) => {
  const stage = await Stage.make(t)
  const remote = new OURS.Protocol(true, { live: true })
  const stream = replicating(stage.victim).replicate(false, { live: true })
  const channel: AnyChannel = remote.open(stage.writer.key, {
    onopen: () => {
      channel.unhave({ start: 0, length: 2 ** 52 })
      channel.unwant({ start: 0, length: 2 ** 20 })
      channel.cancel({ index: 3 })
      channel.want({ start: 1, length: 5 })
      channel.request({ index: 2 ** 40 })
      channel.request({ index: 3 })
      channel.extension(7, Buffer.from('to nobody'))
      channel.options({ extensions: ['z', 'a', 'a'], ack: true })
      channel.status({ uploading: false, downloading: false })
    }
  })
  const ended = Promise.all([ending(remote), ending(stream)])
  join(remote, stream)
  await until(() => replicating(stage.victim).peers.some((peer) => !peer.remoteUploading), 'the last message')
  await settle(10)
  t.notOk(remote.destroyed || stream.destroyed)
  stream.destroy()
  t.deepEqual(await ended, [null, null])
  await stage.goesOn(t)
})

test('bad input: a frame over the limit', async (t) => {
  const stage = await Stage.make(t)
  const limits = { frameSize: 100000 }
  const error = await stage.attackedBy((channel) => channel.extension(0, Buffer.alloc(100001)), { limits })
  t.equal(error?.code, 'ERR_FRAME_SIZE')
  await stage.goesOn(t)
})

test('bad input: bytes that are no frames', async (t) => {
  const stage = await Stage.make(t)
  for (const [bytes, code] of [
    ['ffffffffffffffffff01', 'ERR_VARINT'],
    ['ffffff7f', 'ERR_FRAME_SIZE'],
    ['050008020304', 'ERR_MESSAGE_INVALID'],
    ['03170a05', 'ERR_MESSAGE_INVALID']
  ] as const) {
    const options = { live: true, encrypted: false, noise: false }
    const stream = replicating(stage.victim).replicate(false, options)
    const end = ending(stream)
    stream.on('data', () => {})
    const remote = new OURS.Protocol(true, options)
    remote.open(stage.writer.key)
    remote.on('data', (chunk: Uint8Array) => stream.destroying || stream.write(chunk))
    await until(
      () =>
        replicating(stage.victim).peers.some((peer) => peer.stream.stream === stream && peer.remoteOpened),
      'the Open'
    )
    stream.write(Buffer.from(bytes, 'hex'))
    const found = (await end)?.code
    t.ok(
      found === code || found?.startsWith('ERR_MESSAGE') === code.startsWith('ERR_MESSAGE'),
      `${bytes}: ${found}`
    )
    remote.destroy()
  }
  await stage.goesOn(t)
})

test('bad input: a remote that promises and does not answer', async (t) => {
  const stage = await Stage.make(t)
  let requests = 0
  const pinging: NodeJS.Timeout[] = []
  const error = await stage.attackedBy(
    (channel, stream) => {
      pinging.push(setInterval(() => void stream.ping(), 10))
      channel.have({ start: 5 })
    },
    { timeout: 80 },
    // Its head is asked for as well, which nobody waits for.
    () => ({ onrequest: ({ hash }: { hash: boolean }) => (hash ? 0 : requests++) })
  )
  for (const timer of pinging) clearInterval(timer)
  t.equal(error?.code, 'ERR_REQUEST_TIMEOUT')
  t.equal(requests, 1, 'asked once')
  await stage.goesOn(t)
})

test('bad input: a remote that says nothing at all', async (t) => {
  const stage = await Stage.make(t)
  const stream = replicating(stage.victim).replicate(false, { live: true, timeout: 50 })
  t.equal((await ending(stream))?.code, 'ETIMEDOUT')
  await stage.goesOn(t)
})

test('bad input: requests for what does not exist, without end', async (t) => {
  const stage = await Stage.make(t)
  const error = await stage.attackedBy(
    (channel) => {
      for (let i = 0; i < 200; i++) channel.request({ index: 1000 + i })
    },
    { limits: { uselessRequests: 100 } }
  )
  t.equal(error?.code, 'ERR_LIMIT')
  await stage.goesOn(t)
})

test('bad input: a handler of the application that throws', async (t) => {
  const stage = await Stage.make(t)
  replicating(stage.victim).registerExtension('fragile', {
    onmessage: () => {
      throw new Error('the application failed')
    }
  })
  const error = await stage.attackedBy((channel) => {
    channel.options({ extensions: ['fragile'] })
    channel.extension(0, Buffer.from('x'))
  })
  t.equal(error?.code, 'ERR_STREAM_HANDLER')
  t.equal((error?.cause as Error | undefined)?.message, 'the application failed')
  await stage.goesOn(t)
})
