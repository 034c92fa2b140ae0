import test from 'tape'
import { discoveryKey } from '../../src/crypto/keys.ts'
import { DDATABASE } from '../../src/dialect.ts'
import type { Channel } from '../../src/replication/channel.ts'
import type { DataMessage } from '../../src/replication/messages.ts'
import {
  type AnyStream,
  awake,
  ending,
  event,
  HypercoreProtocolStream,
  join,
  joinInPieces,
  OURS,
  type ProtocolHandlers,
  ProtocolStream,
  SeededRandom,
  signal,
  turn
} from './helpers.ts'

const KEY = Buffer.alloc(32, 7)
const OTHER_KEY = Buffer.alloc(32, 8)
const DK = Buffer.from(discoveryKey(KEY, DDATABASE))

function pair(a: ProtocolHandlers = {}, b: ProtocolHandlers = {}): [ProtocolStream, ProtocolStream] {
  return [new ProtocolStream(true, a), new ProtocolStream(false, b)]
}

/** Records the events of a stream. */
function record(stream: ProtocolStream, into: string[], label = ''): void {
  for (const name of [
    'handshake',
    'discovery-key',
    'duplex-channel',
    'remote-open',
    'prefinalize'
  ] as const) {
    stream.on(name, () => void into.push(label + name))
  }
}

test('stream: construction', (t) => {
  const made: ProtocolStream[] = []
  const make = (...args: [unknown?, ProtocolHandlers?]) => {
    const stream: ProtocolStream = Reflect.construct(ProtocolStream, args)
    made.push(stream)
    return stream
  }
  t.throws(() => make(), /Must specify initiator boolean in replication stream/)
  t.throws(() => make(1), /Must specify initiator boolean/)
  t.throws(() => make(true, { limits: { frameSize: 0 } }), /frameSize/)
  t.throws(
    () => make(true, { keyPair: { publicKey: Buffer.alloc(31), secretKey: Buffer.alloc(32) } }),
    /keyPair/
  )
  const stream = make(true, { timeout: 5000 })
  t.ok(ProtocolStream.isProtocolStream(stream))
  for (const no of [null, undefined, {}, true, { initiator: true, pipe() {} }]) {
    t.notOk(ProtocolStream.isProtocolStream(no))
  }
  t.equal(stream.initiator, true)
  t.equal(stream.live, false)
  t.equal(stream.timeout?.ms, 5000)
  t.equal(stream.keepAlive?.ms, 2500)
  t.equal(stream.publicKey?.byteLength, 32)
  t.equal(stream.remotePublicKey, null)
  t.equal(stream.remoteAddress, null)
  t.equal(stream.remoteType, null)
  t.equal(stream.channelCount, 0)
  t.equal(make(true).timeout?.ms, 20000)
  t.equal(make(true, { timeout: 0 }).timeout, null)
  t.equal(make(true, { timeout: false }).keepAlive, null)
  t.equal(make(true, { encrypted: false, noise: false }).publicKey, null)
  t.equal(make(true, { noise: false }).noise, true, 'noise: false alone is ignored')
  t.throws(() => stream.open(Buffer.alloc(31)), /32 bytes/)
  t.ok(
    String(Reflect.get(stream, Symbol.for('nodejs.util.inspect.custom')).call(stream)).startsWith('DDatabase')
  )
  for (const one of made) one.destroy()
  t.end()
})

for (const dialect of ['ddatabase', 'hypercore'] as const) {
  for (const mode of [
    {},
    { authenticated: false },
    { encrypted: false },
    { encrypted: false, noise: false }
  ]) {
    test(`stream: ${dialect} ${JSON.stringify(mode)}: everything arrives in order, however it is cut`, async (t) => {
      const random = new SeededRandom(21)
      for (const largest of [1, 50, 100000]) {
        const a = new OURS[dialect](true, { ...mode, timeout: 0 })
        const b = new OURS[dialect](false, { ...mode, timeout: 0 })
        const count = 40
        const blocks = Array.from({ length: count }, () => ({
          index: random.below(1e9),
          value: random.bytes(random.pick([0, 10, 3000, largest < 1000 ? 100 : 90000])),
          nodes: Array.from({ length: random.below(4) }, () => ({
            index: random.below(100),
            hash: random.bytes(32),
            size: random.below(1e12)
          })),
          signature: random.chance(0.5) ? random.bytes(64) : null
        }))
        const [seenByA, seenByB]: DataMessage[][] = [[], []]
        const done = [signal(), signal()]
        const take = (into: DataMessage[], whenDone: () => void) => ({
          ondata(message: DataMessage) {
            into.push({ ...message, value: Buffer.from(message.value!) })
            if (into.length === count) whenDone()
          }
        })
        const channels = [
          a.open(KEY, take(seenByA!, done[0]!.resolve)),
          b.open(KEY, take(seenByB!, done[1]!.resolve))
        ]
        for (const [i, block] of blocks.entries()) {
          // Some before the handshake, the others later.
          if (i === 5) {
            joinInPieces(a, b, random, largest)
            await turn()
          }
          for (const channel of channels) channel.data(block)
          if (i % 7 === 0) await turn()
        }
        await Promise.all(done.map(({ promise }) => promise))
        t.same(seenByA, blocks, `pieces of up to ${largest}: one way`)
        t.same(seenByB, blocks, 'and the other')
        t.ok(channels.every((channel) => channel.remoteOpened))
        t.equal(channels[0]!.remoteVerified, a.noise)
        t.equal(a.bytesSent, b.bytesReceived)
        t.equal(b.bytesSent, a.bytesReceived)
        if (a.noise) {
          t.ok(Buffer.from(a.state.handshakeHash!).equals(b.state.handshakeHash!), 'the same handshake hash')
          t.ok(Buffer.from(a.remotePublicKey!).equals(b.publicKey!))
        } else t.equal(a.state.capability(KEY), null)
        const closed = [ending(a), ending(b)]
        channels[0]!.close()
        t.same(await Promise.all(closed), [null, null], 'and both end without an error')
      }
      t.end()
    })
  }
}

test('stream: different dialects complete the handshake and find no common channel', async (t) => {
  const a = new ProtocolStream(true)
  const b = new HypercoreProtocolStream(false)
  a.open(KEY, { onopen: () => t.fail('must not open') })
  b.open(KEY, { onopen: () => t.fail('must not open') })
  const events = [event(a, 'discovery-key'), event(b, 'discovery-key')]
  join(a, b)
  const [[seen]] = (await Promise.all(events)) as [[Buffer], unknown]
  t.notOk(Buffer.from(seen).equals(DK))
  t.equal(a.channelCount, 2)
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: the order of events on Open, and onopen exactly once, whoever comes first', async (t) => {
  const [a, b] = pair({ live: true }, { live: true })
  const events: string[] = []
  record(a, events, 'a ')
  record(b, events, 'b ')
  const handlers = (label: string) => ({
    onopen: () => void events.push(`${label}onopen`),
    onhave: () => void events.push(`${label}onhave`)
  })
  a.handlers.ondiscoverykey = () => void events.push('a ondiscoverykey')
  b.handlers.ondiscoverykey = () => void events.push('b ondiscoverykey')
  b.handlers.onremoteopen = () => void events.push('b onremoteopen')
  b.on('discovery-key', (dk) => {
    if (Buffer.from(dk).equals(DK)) b.open(KEY, handlers('b '))
  })
  const first = a.open(KEY, handlers('a '))
  join(a, b)
  await event(a, 'remote-open')
  t.same(events, [
    'a handshake',
    'b handshake',
    'b ondiscoverykey',
    'b discovery-key',
    'b duplex-channel',
    'b onopen',
    'b onremoteopen',
    'b remote-open',
    'a duplex-channel',
    'a onopen',
    'a remote-open'
  ])
  first.have({ start: 1 })
  await turn()
  t.equal(events.pop(), 'b onhave')

  // Opened later than in the event, while a message is already on its way.
  events.length = 0
  const second = a.open(OTHER_KEY, handlers('a '))
  await event(b, 'remote-open')
  second.have({ start: 0 })
  await turn()
  t.same(
    events,
    ['b ondiscoverykey', 'b discovery-key', 'b onremoteopen', 'b remote-open'],
    'nobody gets the Have'
  )
  events.length = 0
  const late = b.open(OTHER_KEY, handlers('b '))
  t.same(events, ['b duplex-channel'])
  t.ok(late.remoteOpened && late.remoteVerified)
  second.have({ start: 1 })
  await turn()
  t.same(
    events.filter((name) => name.startsWith('b ')),
    ['b duplex-channel', 'b onopen', 'b onhave']
  )
  t.equal(b.open(OTHER_KEY), late, 'opening it again gives the same channel')
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: opened, remoteOpened, remoteVerified, channels', async (t) => {
  const [a, b] = pair()
  a.open(KEY)
  t.ok(a.opened(KEY))
  t.notOk(a.opened(OTHER_KEY) || a.remoteOpened(KEY) || a.remoteVerified(KEY))
  const seen = event(b, 'discovery-key')
  join(a, b)
  await seen
  t.ok(b.remoteOpened(KEY) && b.remoteVerified(KEY))
  t.notOk(b.opened(KEY))
  const [channel] = [...b.channels] as [Channel]
  t.equal(b.channelCount, 1)
  t.same(
    [channel.opened, channel.closed, channel.remoteOpened, channel.remoteVerified],
    [false, true, true, false]
  )
  t.same([channel.key, channel.localId, channel.remoteId], [null, -1, 1])
  t.ok(Buffer.from(channel.discoveryKey).equals(DK))
  t.equal(channel.state, b.state)
  t.equal(channel.stream, b)
  t.notOk(channel.have({ start: 0 }), 'nothing can be sent on it')
  a.destroy()
  b.destroy()
  t.end()
})

// Same discovery key, another capability: what somebody can do who has seen the discovery key but not the key.
const impostor = { ...DDATABASE, capability: 'something else' }

test('stream: a wrong capability for an open feed ends the connection', async (t) => {
  const [a, b] = pair({ dialect: impostor })
  const closed = signal()
  b.open(KEY, { onopen: () => t.fail('must not open'), onclose: closed.resolve })
  a.open(KEY)
  const ends = ending(b)
  a.on('error', () => {})
  join(a, b)
  const error = await ends
  t.equal(error?.code, 'ERR_CAPABILITY')
  t.equal(error?.message, 'Invalid remote channel capability')
  await closed.promise
  t.end()
})

test('stream: a feed that the remote opened with a wrong capability is refused when it is opened', async (t) => {
  const [a, b] = pair({ dialect: impostor })
  const refused = signal()
  a.open(KEY, { onopen: () => t.fail('must not open'), onclose: refused.resolve })
  const seen = event(b, 'discovery-key')
  join(a, b)
  await seen
  t.ok(b.remoteOpened(KEY))
  t.notOk(b.remoteVerified(KEY))
  const closed = signal()
  const channel = b.open(KEY, { onopen: () => t.fail('must not open'), onclose: closed.resolve })
  t.ok(channel.closed)
  t.notOk(channel.have({ start: 0 }))
  await Promise.all([closed.promise, refused.promise])
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: refusing burns a number, tells the remote, and the streams end', async (t) => {
  const events: string[] = []
  const [a, b] = pair({ onchannelclose: (_, key) => void events.push(`a onchannelclose ${key !== null}`) })
  record(a, events, 'a ')
  b.on('discovery-key', (dk) => {
    b.close(dk)
    t.equal(b.open(OTHER_KEY).localId, 2, 'the next number')
    b.close(Buffer.from(discoveryKey(OTHER_KEY, DDATABASE)))
  })
  a.open(KEY, { onclose: () => void events.push('a onclose') })
  const ends = [ending(a), ending(b)]
  join(a, b)
  t.same(await Promise.all(ends), [null, null])
  t.same(events.filter((name) => /onclose|channelclose|prefinalize/.test(name)).slice(0, 3), [
    'a onclose',
    'a onchannelclose true',
    'a prefinalize'
  ])
  t.end()
})

test('stream: what was refused is opened before the remote has answered the refusal', async (t) => {
  const [a, b] = pair({ live: true }, { live: true })
  const events: string[] = []
  const opened = [signal(), signal()]
  const open = (stream: ProtocolStream, name: 'a' | 'b') =>
    stream.open(KEY, {
      onopen() {
        events.push(`${name} opened`)
        opened[name === 'a' ? 0 : 1]!.resolve()
      },
      onclose: () => void events.push(`${name} closed`)
    })
  // Both sides want the feed, and answer whatever the other one opens.
  a.on('discovery-key', () => open(a, 'a'))
  b.once('discovery-key', (dk) => {
    b.close(dk)
    open(b, 'b')
    b.on('discovery-key', () => open(b, 'b'))
  })
  open(a, 'a')
  join(a, b)
  await Promise.all(opened.map(({ promise }) => promise))
  for (let i = 0; i < 20; i++) await turn()
  t.same(events, ['a closed', 'a opened', 'b opened'])
  t.equal(a.channelCount + b.channelCount, 2)
  t.ok(a.remoteVerified(KEY) && b.remoteVerified(KEY))
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: a guard that is held keeps nothing for each channel that is closed', async (t) => {
  const [a, b] = pair({}, { live: true })
  const release = a.prefinalize.waitAndContinue()
  let asked = 0
  const { ready } = a.prefinalize
  a.prefinalize.ready = function (fn) {
    asked++
    ready.call(this, fn)
  }
  let told = 0
  a.on('prefinalize', () => told++)
  for (let i = 0; i < 20; i++) a.open(Buffer.alloc(32, i)).close()
  t.equal(told, 20)
  t.equal(asked, 1)
  const ends = [ending(a), ending(b)]
  join(a, b)
  await turn()
  t.notOk(a.destroying, 'held')
  const channel = a.open(KEY)
  release()
  await turn()
  t.notOk(a.destroying, 'a channel is open')
  channel.close()
  t.equal(asked, 2, 'the guard is asked again')
  t.same(await Promise.all(ends), [null, null])
  t.end()
})

test('stream: close, reopen under a new number, live streams stay', async (t) => {
  const [a, b] = pair({ live: true }, { live: true })
  let closes = 0
  const onclose = () => void closes++
  const one = a.open(KEY, { onclose })
  const two = b.open(KEY, { onclose })
  join(a, b)
  await event(b, 'duplex-channel')
  one.close()
  one.close()
  t.ok(one.closed)
  t.notOk(one.status({ uploading: true }), 'a closed channel sends nothing')
  await turn()
  t.ok(two.closed)
  t.equal(closes, 2, 'each side hears of it once')
  t.equal(a.channelCount + b.channelCount, 0)
  t.notOk(a.destroyed || b.destroyed, 'live')
  const again = a.open(KEY)
  t.equal(again.localId, 2)
  await event(b, 'discovery-key')
  t.ok(b.remoteVerified(KEY))
  const ends = [ending(a), ending(b)]
  a.finalize()
  t.same(await Promise.all(ends), [null, null], 'finalize ends both')
  t.ok(again.closed)
  t.end()
})

test('stream: the prefinalize guard keeps a stream open', async (t) => {
  const [a, b] = pair()
  const one = a.open(KEY)
  b.open(KEY)
  a.prefinalize.wait()
  b.prefinalize.wait()
  const ends = [ending(a), ending(b)]
  join(a, b)
  await event(a, 'duplex-channel')
  const told = event(b, 'prefinalize')
  one.close()
  await told
  await turn()
  t.notOk(a.destroyed || b.destroyed)
  const two = a.open(OTHER_KEY)
  a.prefinalize.continue()
  await event(b, 'discovery-key')
  b.prefinalize.continue()
  await turn()
  t.notOk(a.destroyed || b.destroyed, 'there is a channel again')
  two.close()
  t.same(await Promise.all(ends), [null, null])
  t.end()
})

test('stream: destroy closes every channel once', async (t) => {
  const events: string[] = []
  const [a, b] = pair({
    live: true,
    onchannelclose: (_, key) => void events.push(`channelclose ${key?.[0]}`)
  })
  a.open(KEY, { onclose: () => void events.push('close 7') })
  a.open(OTHER_KEY, { onclose: () => void events.push('close 8') })
  b.open(KEY)
  join(a, b)
  await event(a, 'duplex-channel')
  const problem = new Error('enough')
  const ends = [ending(a), ending(b)]
  a.destroy(problem)
  t.equal((await Promise.all(ends))[0], problem, 'with the error that was given')
  t.same(events, ['close 7', 'channelclose 7', 'close 8', 'channelclose 8'])
  t.equal(a.timeout, null)
  t.equal(a.keepAlive, null)
  const closed = signal()
  t.ok(a.open(KEY, { onclose: closed.resolve }).closed, 'nothing opens any more')
  await closed.promise
  t.end()
})

test('stream: an input that ends inside a message is an error, between messages it is not', async (t) => {
  for (const [bytes, code] of [
    ['', undefined],
    ['0313', 'ERR_STREAM_TRUNCATED'],
    ['03130800', undefined],
    ['0313080080', 'ERR_STREAM_TRUNCATED']
  ]) {
    const stream = new ProtocolStream(true, { encrypted: false, noise: false })
    const ends = ending(stream)
    stream.resume()
    stream.end(Buffer.from(bytes!, 'hex'))
    t.equal((await ends)?.code, code, `'${bytes}'`)
  }
  const stream = new ProtocolStream(false)
  const ends = ending(stream)
  stream.resume()
  stream.end(Buffer.from('3a0102', 'hex'))
  t.equal((await ends)?.code, 'ERR_STREAM_TRUNCATED', 'inside the handshake')
  t.end()
})

test('stream: without input it times out, keepalives keep it alive', async (t) => {
  const silent = new ProtocolStream(true, { timeout: 20 })
  const error = await awake(ending(silent))
  t.equal(error?.code, 'ETIMEDOUT')
  t.equal(error?.message, 'ETIMEDOUT')

  const [a, b] = pair({ timeout: 0 }, { timeout: 0 })
  join(a, b)
  await event(b, 'handshake')
  const before = b.bytesReceived
  a.setKeepAlive(1)
  await awake(
    new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (b.bytesReceived < before + 3) return
        clearInterval(look)
        resolve()
      }, 1)
    })
  )
  t.pass('three keepalives arrived')
  a.setKeepAlive(0)
  let timeouts = 0
  b.setTimeout(1, () => void timeouts++)
  await awake(event(b, 'timeout'))
  t.equal(timeouts, 1)
  t.notOk(b.destroying, 'an own timeout destroys nothing by itself')
  t.ok(a.ping())
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: key pairs may come later, and may not come at all', async (t) => {
  const keys = ProtocolStream.keyPair()
  let give: (error: unknown, pair?: typeof keys) => void = () => {}
  const [a, b] = pair(
    {
      keyPair: (done) => {
        give = done
      }
    },
    { keyPair: (done) => done(null, keys) }
  )
  join(a, b)
  await turn()
  t.equal(a.publicKey, null)
  const shaken = [event(a, 'handshake'), event(b, 'handshake')]
  give(null, keys)
  give(new Error('the first answer counts'))
  await Promise.all(shaken)
  t.ok(Buffer.from(a.publicKey!).equals(keys.publicKey))
  t.ok(Buffer.from(b.publicKey!).equals(keys.publicKey))
  a.destroy()
  b.destroy()

  const cause = new Error('locked')
  for (const keyPair of [
    (done: (error: unknown) => void) => done(cause),
    () => {
      throw cause
    },
    (done: (error: unknown) => void) => void setImmediate(done, cause)
  ]) {
    const stream = new ProtocolStream(true, { keyPair })
    const ends = ending(stream)
    stream.resume()
    const error = await ends
    t.equal(error?.code, 'ERR_KEY_PAIR')
    t.equal(error?.cause, cause)
  }
  t.end()
})

test('stream: onauthenticate lets in and refuses, now or later', async (t) => {
  const cause = new Error('go away')
  const hooks: [string, NonNullable<ProtocolHandlers['onauthenticate']>, boolean][] = [
    ['lets in', (_, done) => done(), true],
    ['lets in later', (_, done) => void setImmediate(done), true],
    ['lets in with null', (_, done) => done(null), true],
    ['refuses', (_, done) => done(cause), false],
    ['refuses later', (_, done) => void setImmediate(done, cause), false],
    [
      'throws',
      () => {
        throw cause
      },
      false
    ],
    ['rejects', async () => Promise.reject(cause), false]
  ]
  for (const [what, onauthenticate, welcome] of hooks) {
    for (const initiator of [true, false]) {
      let asked: Uint8Array | null = null
      const hook: ProtocolHandlers['onauthenticate'] = (key, done) => {
        asked = key
        return onauthenticate(key, done)
      }
      const one = new ProtocolStream(initiator, { onauthenticate: hook })
      const two = new ProtocolStream(!initiator)
      two.on('error', () => {})
      const ends = ending(one)
      const shaken = event(one, 'handshake')
      join(one, two)
      if (welcome) {
        await shaken
        t.ok(Buffer.from(asked!).equals(one.remotePublicKey!), what)
        one.destroy()
        two.destroy()
      } else {
        const error = await ends
        t.equal(error?.code, 'ERR_AUTHENTICATION_REFUSED', what)
        t.equal(error?.message, 'Noise handshake error')
        t.equal(error?.cause, cause)
        t.equal(one.remotePublicKey, null)
      }
    }
  }
  t.end()
})

test('stream: what comes while onauthenticate is pending waits, and a late answer after the end is ignored', async (t) => {
  let answer: (error?: unknown) => void = () => {}
  const [a, b] = pair(
    {},
    {
      onauthenticate: (_, done) => {
        answer = done
      },
      limits: { handshakeSize: 1000 }
    }
  )
  const seen: number[] = []
  b.open(KEY, { onhave: ({ start }) => void seen.push(start) })
  const channel = a.open(KEY)
  join(a, b)
  await event(a, 'handshake')
  for (let start = 0; start < 2000; start++) channel.have({ start })
  await turn()
  t.ok(b.bytesReceived < 80000)
  t.same(seen, [])
  const all = signal()
  b.on('remote-open', () => all.resolve())
  answer()
  await all.promise
  while (seen.length < 2000) await turn()
  t.same(
    seen,
    Array.from({ length: 2000 }, (_, i) => i)
  )
  a.destroy()
  b.destroy()

  const [c, d] = pair(
    {},
    {
      onauthenticate: (_, done) => {
        answer = done
      }
    }
  )
  join(c, d)
  await event(c, 'handshake')
  const ends = ending(d)
  c.on('error', () => {})
  d.destroy()
  await ends
  answer()
  answer(new Error('too late'))
  await turn()
  t.equal(d.remotePublicKey, null)
  c.destroy()
  t.end()
})

test('stream: a handler that throws ends that connection with a coded error', async (t) => {
  const cause = new Error('bug')
  const fail = () => {
    throw cause
  }
  const cases: [string, ProtocolHandlers, object][] = [
    ['onhandshake', { onhandshake: fail }, {}],
    ['onhave', {}, { onhave: fail }],
    ['onopen', {}, { onopen: fail }],
    ['onremoteopen', { onremoteopen: fail }, {}]
  ]
  for (const [what, streamHandlers, channelHandlers] of cases) {
    const [a, b] = pair({}, streamHandlers)
    a.on('error', () => {})
    b.open(KEY, channelHandlers)
    a.open(KEY).have({ start: 0 })
    const ends = ending(b)
    join(a, b)
    const error = await ends
    t.equal(error?.code, 'ERR_STREAM_HANDLER', what)
    t.equal(error?.cause, cause)
  }
  t.end()
})

test('stream: many frames in one chunk leave the event loop its turns', async (t) => {
  const stream = new ProtocolStream(true, { encrypted: false, noise: false, limits: { framesPerTurn: 100 } })
  let frames = 0
  stream.open(KEY, { onhave: () => void frames++ })
  const open = Buffer.concat([Buffer.from('23100a20', 'hex'), DK])
  stream.write(Buffer.concat([open, ...Array.from({ length: 1000 }, () => Buffer.from('03130800', 'hex'))]))
  await turn()
  t.ok(frames > 0 && frames < 1000, `${frames} in the first turn`)
  while (frames < 1000) await turn()
  stream.write(Buffer.from('03130800', 'hex'))
  await turn()
  t.equal(frames, 1001)
  stream.destroy()
  t.end()
})

test('stream: the clock is looked at after each message that may set off much', async (t) => {
  const stream = new ProtocolStream(true, { encrypted: false, noise: false })
  let frames = 0
  stream.open(KEY, { onhave: () => void frames++ })
  const open = Buffer.concat([Buffer.from('23100a20', 'hex'), DK])
  const { now } = performance
  t.teardown(() => {
    performance.now = now
  })
  let time = now.call(performance)
  // Each looks as if it had taken a second, of which four milliseconds count.
  performance.now = () => {
    time += 1000
    return time
  }
  stream.write(Buffer.concat([open, ...Array.from({ length: 40 }, () => Buffer.from('03130800', 'hex'))]))
  let most = 0
  for (let before = 0; frames < 40; before = frames) {
    await turn()
    most = Math.max(most, frames - before)
  }
  t.ok(most <= 4, `${most} in one turn`)
  stream.destroy()
  t.end()
})

test('stream: backed up output is visible, and its end is told', async (t) => {
  const stream = new ProtocolStream(true, {
    encrypted: false,
    noise: false,
    limits: { outputHighWater: 10000 }
  })
  let drains = 0
  let events = 0
  const channel = stream.open(KEY, { ondrain: () => void drains++ })
  stream.on('output-drain', () => void events++)
  const value = Buffer.alloc(4000)
  t.ok(channel.data({ index: 0, value }))
  t.ok(channel.data({ index: 1, value }))
  t.notOk(channel.data({ index: 2, value }), 'backed up')
  t.ok(stream.backedUp)
  t.ok(stream.queuedOutput > 12000)
  await turn()
  t.ok(stream.backedUp, 'nobody reads')
  t.same([drains, events], [0, 0])
  stream.resume()
  await turn()
  t.same([drains, events], [1, 1])
  t.equal(stream.queuedOutput, 0)
  t.ok(channel.data({ index: 3, value }))
  await turn()
  t.same([drains, events], [1, 1], 'once')
  stream.destroy()
  t.end()
})

test('stream: output that nobody reads is bounded', async (t) => {
  for (const handlers of [{ encrypted: false, noise: false }, {}]) {
    const stream: AnyStream = new ProtocolStream(true, { ...handlers, limits: { queuedOutput: 50000 } })
    const ends = ending(stream)
    const channel = stream.open(KEY)
    for (let i = 0; i < 20; i++) channel.data({ index: i, value: Buffer.alloc(4000) })
    t.equal((await ends)?.code, 'ERR_OUTPUT_LIMIT')
  }
  t.end()
})

test('stream: messages that do not fit into a frame are not sent', (t) => {
  const stream = new ProtocolStream(true, { encrypted: false, noise: false, limits: { frameSize: 1000 } })
  const channel = stream.open(KEY)
  const sent = stream.bytesSent
  t.throws(() => channel.data({ index: 0, value: Buffer.alloc(1000) }), { code: 'ERR_MESSAGE_TOO_LARGE' })
  t.throws(() => channel.extension(0, Buffer.alloc(1000)), { code: 'ERR_MESSAGE_TOO_LARGE' })
  t.throws(() => channel.extension(0, 'text' as unknown as Uint8Array), /Uint8Array/)
  t.equal(stream.bytesSent, sent)
  stream.destroy()
  t.end()
})

test('stream: input chunks and message values stay as they are', async (t) => {
  const [a, b] = pair()
  const chunks: [Uint8Array, Buffer][] = []
  const watch = (from: ProtocolStream, to: ProtocolStream) =>
    from.on('data', (chunk) => {
      chunks.push([chunk as Uint8Array, Buffer.from(chunk as Uint8Array)])
      to.write(chunk)
    })
  watch(a, b)
  watch(b, a)
  const value = Buffer.alloc(5000, 3)
  const got = signal<DataMessage>()
  b.open(KEY, { ondata: got.resolve })
  a.open(KEY).data({ index: 0, value })
  const message = await got.promise
  value.fill(4)
  t.ok(Buffer.from(message.value!).equals(Buffer.alloc(5000, 3)))
  await turn()
  t.ok(chunks.length >= 4)
  t.ok(chunks.every(([chunk, copy]) => copy.equals(chunk)))
  a.destroy()
  b.destroy()
  t.end()
})

test('stream: what is sent travels two hops and back within one turn of the event loop', async (t) => {
  const [a, b] = pair()
  const [c, d] = pair()
  let answered = false
  const up = d.open(KEY, { onhave: ({ start }) => void up.have({ start: start + 1 }) })
  const down = b.open(KEY, { onhave: (message) => void right.have(message) })
  const right = c.open(KEY, { onhave: (message) => void down.have(message) })
  const left = a.open(KEY, {
    onhave: ({ start }) => {
      answered = start === 6
    }
  })
  const opened = [event(a, 'duplex-channel'), event(c, 'duplex-channel')]
  join(a, b)
  join(c, d)
  await Promise.all(opened)
  await turn()
  left.have({ start: 5 })
  await turn()
  t.ok(answered)
  for (const stream of [a, b, c, d]) stream.destroy()
  t.end()
})

test('stream: a message that is none is refused at once', (t) => {
  const stream = new ProtocolStream(true, { encrypted: false, noise: false })
  const channel = stream.open(KEY)
  const send = channel as unknown as Record<string, (message: unknown) => boolean>
  const names = ['options', 'status', 'have', 'unhave', 'want', 'unwant', 'request', 'cancel', 'data']
  for (const name of names) {
    for (const message of [undefined, null, 5]) {
      t.throws(() => send[name]!(message), { code: 'ERR_INVALID_ARG_TYPE' }, `${name}(${message})`)
    }
  }
  t.ok(channel.have({ start: 0 }), 'the stream goes on')
  stream.destroy()
  t.end()
})
