/** The authenticated transport: who agrees on it with whom, who refuses what else, and how it ends. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import test from 'tape'
import { MAX_BLOCK_SIZE } from '../../src/index.ts'
import { handshakePayloadCodec } from '../../src/replication/handshake-payload.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { RECORD_OVERHEAD } from '../../src/replication/records.ts'
import { browserModules } from '../crypto/backends.ts'
import { feedOf, replicaOf, thrown } from '../feed/feeds.ts'
import { within } from '../helpers/watchdog.ts'
import {
  type AnyStream,
  awake,
  collect,
  ending,
  event,
  join,
  joinOverTcp,
  OURS,
  type ProtocolHandlers,
  ProtocolStream,
  PUBLISHED,
  signal,
  turn
} from './helpers.ts'
import { SecondImplementation } from './second-implementation.ts'

const KEY = Buffer.alloc(32, 7)
const NONCE = Buffer.alloc(24, 3)
const DIALECTS = ['ddatabase', 'hypercore'] as const
const inBrowsers = browserModules<{ ProtocolStream: typeof ProtocolStream }>('replication/stream.ts')

/** Lets both sides say something to each other once both have opened a feed; what each heard. */
async function talk(a: AnyStream, b: AnyStream, connecting: Promise<void> | void): Promise<string[]> {
  const heard = [a, b].map((stream) => {
    const message = signal<string>()
    const channel = stream.open(KEY, {
      onopen: () => channel.extension(0, Buffer.from(stream.initiator ? 'initiator' : 'responder')),
      onextension: (_id: number, payload: Uint8Array) => message.resolve(Buffer.from(payload).toString())
    })
    return message.promise
  })
  await connecting
  return awake(within(Promise.all(heard), 'the two messages'))
}

function destroyed(...streams: AnyStream[]): Promise<unknown> {
  const ends = streams.map(ending)
  for (const stream of streams) stream.destroy()
  return Promise.all(ends)
}

for (const dialect of DIALECTS) {
  for (const [initiates, responds] of [
    [true, true],
    [true, false],
    [false, true],
    [false, false]
  ] as const) {
    const label = `initiator ${initiates}, responder ${responds}`
    test(`authenticated: ${dialect}, ours with ours: ${label}`, async (t) => {
      const a = new OURS[dialect](true, { authenticated: initiates })
      const b = new OURS[dialect](false, { authenticated: responds })
      t.same([a.authenticated, b.authenticated], [false, false], 'not before the handshake')
      const [fromA, fromB] = [collect(a), collect(b)]
      const early: unknown[] = []
      for (const stream of [a, b]) stream.on('handshake', () => early.push(stream.authenticated))
      t.same(await talk(a, b, join(a, b)), ['responder', 'initiator'])
      const both = initiates && responds
      t.same([a.authenticated, b.authenticated], [both, both])
      t.same(early, [both, both], 'known when the handshake event comes')
      const sizes = (bytes: Buffer) => [bytes[0], bytes[1 + bytes[0]!]]
      // The initiator's messages have their recorded sizes unless there is an offer, the responder's unless there is one to make.
      t.same(sizes(fromA.bytes()), [0x3a, both ? 0x5c : 0x5a])
      t.equal(fromB.bytes()[0], responds ? 0x7c : 0x7a)
      await destroyed(a, b)
    })

    for (const [who, requires] of [
      ['initiator', [true, false]],
      ['responder', [false, true]]
    ] as const) {
      if (!(who === 'initiator' ? initiates : responds)) continue
      test(`authenticated: ${dialect}, ours with ours: ${label}, required by the ${who}`, async (t) => {
        let shaken = 0
        const make = (initiator: boolean, authenticated: boolean, requireAuthenticated: boolean) =>
          new OURS[dialect](initiator, {
            authenticated,
            requireAuthenticated,
            ...(requireAuthenticated && { onhandshake: () => shaken++ })
          })
        const a = make(true, initiates, requires[0])
        const b = make(false, responds, requires[1])
        const [requiring, other] = who === 'initiator' ? [a, b] : [b, a]
        const ends = [ending(requiring), ending(other)]
        if (initiates && responds) {
          t.same(await talk(a, b, join(a, b)), ['responder', 'initiator'])
          t.equal(shaken, 1)
          await destroyed(a, b)
          return
        }
        other.open(KEY, { onopen: () => t.fail('a feed was opened') })
        requiring.open(KEY, { onopen: () => t.fail('a feed was opened') })
        join(a, b)
        const [error] = await awake(within(Promise.all(ends), 'the ends'))
        t.equal(error?.code, 'ERR_NOT_AUTHENTICATED')
        t.equal(shaken, 0, 'the application is not told of a handshake')
      })
    }
  }

  for (const initiator of [true, false]) {
    const role = initiator ? 'ours initiates' : 'ours responds'
    test(`authenticated: ${dialect}, ours with the published package over TCP, ${role}`, async (t) => {
      const ours = new OURS[dialect](initiator)
      const theirs = new PUBLISHED[dialect](!initiator)
      t.same((await talk(ours, theirs, joinOverTcp(ours, theirs))).sort(), ['initiator', 'responder'])
      t.equal(ours.authenticated, false)
      await destroyed(ours, theirs)

      const strict = new OURS[dialect](initiator, { requireAuthenticated: true })
      const refused = new PUBLISHED[dialect](!initiator)
      const ends = [ending(strict), ending(refused)]
      refused.open(KEY, { onopen: () => t.fail('a feed was opened') })
      strict.open(KEY, { onopen: () => t.fail('a feed was opened') })
      await joinOverTcp(strict, refused)
      const [error] = await awake(within(Promise.all(ends), 'the ends'))
      t.equal(error?.code, 'ERR_NOT_AUTHENTICATED')
    })
  }
}

test('authenticated: without a cipher there is none', async (t) => {
  for (const mode of [{ encrypted: false }, { encrypted: false, noise: false }]) {
    const a = new ProtocolStream(true, mode)
    const b = new ProtocolStream(false, mode)
    const sent = collect(b)
    t.same(await talk(a, b, join(a, b)), ['responder', 'initiator'])
    t.same([a.authenticated, b.authenticated], [false, false])
    if (a.noise) t.equal(sent.bytes()[0], 0x7a, 'and none is offered')
    await destroyed(a, b)
  }
})

test('authenticated: what cannot be meant is refused', async (t) => {
  const feed = await feedOf(['a'])
  const refused = (options: object) => [
    thrown(() => new ProtocolStream(true, options)),
    thrown(() => feed.replicate(true, options))
  ]
  for (const impossible of [
    { encrypted: false },
    { encrypted: false, noise: false },
    { authenticated: false }
  ]) {
    const code = 'ERR_INVALID_ARG_VALUE'
    t.same(refused({ requireAuthenticated: true, ...impossible }), [code, code], JSON.stringify(impossible))
  }
  for (const wrong of [1, 'yes', {}]) {
    const code = 'ERR_INVALID_ARG_TYPE'
    t.same(refused({ authenticated: wrong }), [code, code], `authenticated: ${wrong}`)
    t.same(refused({ requireAuthenticated: wrong }), [code, code], `requireAuthenticated: ${wrong}`)
  }
  t.equal(feed.peers.length, 0)
  for (const fine of [null, undefined]) {
    await destroyed(new ProtocolStream(true, { authenticated: fine, requireAuthenticated: fine }))
  }
  await feed.close()
})

test('authenticated: a feed that requires it on a stream that is there already', async (t) => {
  const feed = await feedOf(['a'])
  const add = (stream: AnyStream) => feed.replicate(stream, { live: true, requireAuthenticated: true })
  for (const authenticated of [true, false]) {
    for (const when of ['before', 'after'] as const) {
      const stream = new ProtocolStream(true, { live: true })
      const remote = new ProtocolStream(false, { live: true, authenticated })
      const ends = [ending(stream), ending(remote)]
      if (when === 'before') add(stream)
      const shaken = event(stream, 'handshake')
      const opened = event(remote, 'discovery-key')
      join(stream, remote)
      await awake(Promise.race([shaken, ends[0]]))
      await turn()
      if (when === 'after') add(stream)
      if (authenticated) {
        await awake(opened)
        t.pass(`${when} the handshake: joined`)
        stream.destroy()
      }
      const [error] = await awake(within(Promise.all(ends), 'the ends'))
      t.equal(error?.code, authenticated ? undefined : 'ERR_NOT_AUTHENTICATED', `${when} the handshake`)
    }
  }
  const foreign = new PUBLISHED.ddatabase(true, { live: true })
  const end = ending(foreign)
  add(foreign)
  t.equal((await awake(end))?.code, 'ERR_NOT_AUTHENTICATED', 'a stream of another make')
  await feed.close()
})

function payload(...transports: number[]): Buffer {
  const bytes = Buffer.alloc(handshakePayloadCodec.size({ nonce: NONCE, transports }))
  handshakePayloadCodec.write({ nonce: NONCE, transports }, bytes, 0)
  return bytes
}

/** Our stream with the second implementation at the other end, whose payloads these are. */
function withSecond(
  initiator: boolean,
  payloads: readonly Buffer[],
  handlers: ProtocolHandlers = {},
  Stream = ProtocolStream
) {
  const stream = new Stream(initiator, { timeout: 0, live: true, ...handlers })
  const send = (bytes: Uint8Array) => void stream.write(bytes)
  const second = new SecondImplementation(!initiator, ProtocolStream.keyPair(), send, payloads)
  stream.on('data', (chunk) => second.write(chunk as Uint8Array))
  return { stream, second }
}

for (const [runtime, Stream] of [
  ['node', ProtocolStream],
  ['browser', inBrowsers.ProtocolStream]
] as const) {
  for (const initiator of [true, false]) {
    const role = `ours ${initiator ? 'initiates' : 'responds'}`
    test(`authenticated, ${runtime}: with the second implementation, ${role}`, async (t) => {
      const payloads = initiator ? [payload(9, 1, 70)] : [payload(), payload(1)]
      const { stream, second } = withSecond(initiator, payloads, {}, Stream)
      const end = ending(stream)
      const heard = signal<string>()
      const extension = stream.registerExtension<Uint8Array>('greeting', {
        onmessage: (message) => heard.resolve(Buffer.from(message).toString())
      })
      await event(stream, 'handshake')
      t.ok(stream.authenticated)
      const { transports } = handshakePayloadCodec.read(second.remotePayload, DEFAULT_LIMITS)
      t.same(transports, [1], initiator ? 'chosen' : 'offered')

      const options = Buffer.from('0b010a086772656574696e67', 'hex')
      const message = (text: string) => Buffer.concat([Buffer.of(2 + text.length, 15, 0), Buffer.from(text)])
      const keepalive = Buffer.of(0)
      extension.send(Buffer.from('from us'))
      stream.ping()
      await turn()
      const sent = Buffer.concat([options, message('from us'), keepalive])
      t.equal(second.received.toString('hex'), sent.toString('hex'), 'Options, the message and a keepalive')
      t.same(second.sizes, [sent.length], 'in one record')

      const answer = Buffer.concat([keepalive, options, keepalive, message('to us'), keepalive])
      for (const [from, to] of [
        [0, 1],
        [1, 5],
        [5, answer.length]
      ]) {
        second.send(answer.subarray(from, to))
      }
      t.equal(
        await awake(within(heard.promise, 'the message')),
        'to us',
        'frames that begin and end anywhere'
      )

      stream.finalize()
      await turn()
      t.ok(second.closed, 'the last record')
      second.close()
      stream.end(undefined)
      t.equal(await awake(end), null)
      t.notOk(stream.truncated)
    })
  }
}

test('authenticated: the initiator may only choose what it was offered, and in its last message', async (t) => {
  const outcome = async (
    initiator: boolean,
    payloads: readonly Buffer[],
    handlers: ProtocolHandlers = {}
  ) => {
    const { stream, second } = withSecond(initiator, payloads, handlers)
    const end = ending(stream)
    await Promise.race([event(stream, 'handshake'), end])
    const { authenticated } = stream
    stream.destroy()
    const answer = second.shaken && initiator ? second.remotePayload.length - payload().length : 0
    return [(await end)?.code ?? authenticated, answer]
  }
  const none = { authenticated: false }
  const wrong = ['ERR_HANDSHAKE_PAYLOAD', 0]
  t.same(await outcome(false, [payload(), payload(1)]), [true, 0], 'chosen')
  t.same(await outcome(false, [payload(), payload(1)], none), wrong, 'chosen, though not offered')
  t.same(await outcome(false, [payload(), payload(2)]), wrong, 'another')
  t.same(await outcome(false, [payload(), payload(1, 1)]), wrong, 'twice')
  t.same(await outcome(false, [payload(), payload(1, 2)]), wrong, 'two of them')
  t.same(await outcome(false, [payload(1), payload()]), [false, 0], 'chosen in the first message')
  t.same(await outcome(true, [payload(1)]), [true, 2], 'offered')
  t.same(await outcome(true, [payload(2, 1, 3)]), [true, 2], 'offered among others')
  t.same(await outcome(true, [payload(2, 3)]), [false, 0], 'others offered')
  t.same(await outcome(true, [payload(1)], none), [false, 0], 'offered and not wanted')
  t.same(await outcome(true, [payload()], { requireAuthenticated: true }), ['ERR_NOT_AUTHENTICATED', 0])
})

test('authenticated: a stream that was ended says so, a stream that was cut does not', async (t) => {
  const unpiped = (a: ProtocolStream, b: ProtocolStream) => {
    a.on('data', (chunk) => void b.write(chunk))
    b.on('data', (chunk) => void a.write(chunk))
  }
  const pair = async (connecting: typeof unpiped) => {
    const a = new ProtocolStream(true, { live: true })
    const b = new ProtocolStream(false, { live: true })
    await talk(a, b, connecting(a, b))
    t.same([a.truncated, b.truncated], [false, false], 'not while it lasts')
    return { a, b, ends: Promise.all([ending(a), ending(b)]) }
  }
  const ended = await pair(join)
  const before = ended.b.bytesReceived
  ended.a.finalize()
  t.same(await awake(ended.ends), [null, null])
  t.equal(ended.b.bytesReceived - before, RECORD_OVERHEAD, 'one record')
  t.same([ended.a.truncated, ended.b.truncated], [false, false], 'ended by one side, and then by the other')

  const cut = await pair(unpiped)
  cut.b.end(undefined)
  t.equal(await awake(within(event(cut.b, 'finish'), 'the end')).then(() => cut.b.truncated), true, 'cut')
  cut.a.destroy()
  t.same(await awake(cut.ends), [null, null], 'which is no error')
  t.equal(cut.a.truncated, true)

  const legacy = new ProtocolStream(true, { authenticated: false })
  const other = new ProtocolStream(false)
  await talk(legacy, other, join(legacy, other))
  await destroyed(legacy, other)
  t.same([legacy.truncated, other.truncated], [false, false], 'nobody can tell')
})

/** Two streams over TCP; what goes wrong with the second socket, and when both are closed. */
async function overTcp(a: AnyStream, b: AnyStream) {
  const errors: unknown[] = []
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const dialled = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  server.close()
  const sockets = [accepted, dialled] as const
  accepted.on('error', () => {})
  dialled.on('error', (error) => errors.push(error))
  const closed = Promise.all(sockets.map((socket) => event(socket as unknown as AnyStream, 'close')))
  a.pipe(accepted).pipe(a)
  b.pipe(dialled).pipe(b)
  return { sockets, errors, closed }
}

test('authenticated: ends over TCP, with nobody who looks after errors', async (t) => {
  const source = await feedOf(Array.from({ length: 20 }, (_, i) => `block ${i}`))
  for (let run = 0; run < 5; run++) {
    const replica = await replicaOf(source, { sparse: false })
    const streams = [source.replicate(true), replica.replicate(false)] as const
    const ends = Promise.all(streams.map(ending))
    const { errors, closed } = await overTcp(...streams)
    t.same(await awake(within(ends, 'the ends')), [null, null], 'everything was exchanged')
    t.ok(streams.every((stream) => stream.authenticated && !stream.truncated))
    t.equal(replica.downloaded(), 20)
    await closed
    t.same(errors, [], 'no socket was written to after its end')
    await replica.close()
  }
  for (const hangUp of ['finalize', 'destroy the socket', 'end the socket'] as const) {
    const replica = await replicaOf(source)
    const options = { live: true }
    const remote = source.replicate(true, options)
    const stream = replica.replicate(false, options)
    remote.on('error', () => {})
    const end = ending(stream)
    const { sockets, errors, closed } = await overTcp(remote, stream)
    await awake(within(replica.get(3), 'a block'))
    if (hangUp === 'finalize') remote.finalize()
    else if (hangUp === 'destroy the socket') sockets[0].destroy()
    else sockets[0].end()
    t.equal(await awake(within(end, 'the end')), null, hangUp)
    await closed
    t.same(errors, [], 'and no error of the socket')
    t.equal(stream.truncated, hangUp !== 'finalize')
    remote.destroy()
    await replica.close()
  }
  await source.close()
})

test('authenticated: the largest block, and blocks of every size around a record', async (t) => {
  const sizes = [MAX_BLOCK_SIZE, 65536, 131072 - 300, 131072, 131073, 262144, 1, 0]
  const source = await feedOf(sizes.map((size, i) => Buffer.alloc(size, i + 1)))
  for (const connection of ['memory', 'TCP'] as const) {
    const replica = await replicaOf(source, { sparse: false })
    const streams = [source.replicate(true), replica.replicate(false)] as const
    const ends = Promise.all(streams.map(ending))
    if (connection === 'memory') join(...streams)
    else await joinOverTcp(...streams)
    t.same(await awake(within(ends, 'the ends')), [null, null], connection)
    t.equal(streams[0].bytesSent, streams[1].bytesReceived)
    for (const [i, size] of sizes.entries()) {
      t.ok(Buffer.alloc(size, i + 1).equals(await replica.get(i)), `${size} bytes`)
    }
    await replica.close()
  }
  await source.close()
})
