/** The stream against the published protocol packages, in one process: over memory and over loopback TCP, in both roles. */
import test from 'tape'
import { DDATABASE, HYPERCORE } from '../../src/dialect.ts'
import { DDatabaseError } from '../../src/errors.ts'
import {
  type AnyStream,
  awake,
  ending,
  event,
  join,
  joinInPieces,
  joinOverTcp,
  OURS,
  PUBLISHED,
  SeededRandom,
  signal,
  toVector,
  turn
} from './helpers.ts'

const KEY = Buffer.alloc(32, 7)
const OTHER_KEY = Buffer.alloc(32, 8)
const MODES = [{}, { encrypted: false }, { encrypted: false, noise: false }]

type DialectName = keyof typeof OURS

interface Pair {
  label: string
  dialect: DialectName
  /** Ours. */
  ours: AnyStream
  /** The published one. */
  theirs: AnyStream
  connect(): Promise<void>
  end(): void
}

/** Runs `body` with every combination of dialect, role and connection. */
function everyPair(
  name: string,
  body: (t: test.Test, pair: Pair) => Promise<void>,
  options: { ours?: object; theirs?: object } = {}
): void {
  for (const dialect of ['ddatabase', 'hypercore'] as const) {
    for (const initiator of [true, false]) {
      for (const connection of ['memory', 'TCP'] as const) {
        const label = `${dialect}, ours ${initiator ? 'initiates' : 'responds'}, ${connection}`
        test(`published: ${name} (${label})`, async (t) => {
          const ours: AnyStream = new OURS[dialect](initiator, { ...options.ours })
          const theirs: AnyStream = new PUBLISHED[dialect](!initiator, { ...options.theirs })
          const connect = async () => (connection === 'TCP' ? joinOverTcp(ours, theirs) : join(ours, theirs))
          const end = () => {
            for (const stream of [ours, theirs]) {
              stream.on('error', () => {})
              stream.destroy()
            }
          }
          await body(t, { label, dialect, ours, theirs, connect, end })
          end()
          t.end()
        })
      }
    }
  }
}

for (const mode of MODES) {
  everyPair(
    `every message in both directions ${JSON.stringify(mode)}`,
    async (t, { ours, theirs, connect }) => {
      const random = new SeededRandom(8)
      const sent: [string, object][] = [
        ['options', { extensions: ['a', 'b'], ack: true }],
        ['status', { uploading: true, downloading: false }],
        ['have', { start: 5, length: 3 }],
        ['have', { start: 0, length: 2 ** 20, bitfield: random.bytes(20) }],
        ['unhave', { start: 1 }],
        ['want', { start: 0, length: 2 ** 20 }],
        ['unwant', { start: 2 ** 40, length: 1 }],
        ['request', { index: 3, bytes: 0, hash: false, nodes: 2 ** 45 + 1 }],
        ['cancel', { index: 3 }],
        ['data', { index: 0, value: Buffer.alloc(0) }],
        [
          'data',
          {
            index: 9,
            value: random.bytes(300000),
            nodes: [{ index: 4, hash: random.bytes(32), size: 2 ** 41 }],
            signature: random.bytes(64)
          }
        ]
      ]
      const finished: Promise<unknown>[] = []
      const open = (stream: AnyStream) => {
        const seen: [string, unknown][] = []
        const done = signal<[string, unknown][]>()
        finished.push(done.promise)
        const handlers: Record<string, (...args: unknown[]) => void> = {}
        for (const name of new Set(sent.map(([what]) => what))) {
          handlers[`on${name}`] = (message) => void seen.push([name, toVector(message)])
        }
        handlers.onextension = (id, bytes) => {
          seen.push(['extension', [id, toVector(bytes)]])
          done.resolve(seen)
        }
        return stream.open(KEY, handlers)
      }
      for (const channel of [open(ours), open(theirs)]) {
        for (const [name, message] of sent) channel[name](message)
        channel.extension(300, Buffer.from('payload'))
      }
      await connect()
      const [seenByUs, seenByThem] = await awake(Promise.all(finished))
      t.equal((seenByUs as unknown[]).length, sent.length + 1)
      t.same(seenByUs, seenByThem, 'both see the same')
      t.same((seenByThem as unknown[]).at(-1), ['extension', [300, Buffer.from('payload').toString('hex')]])
      const ends = [ending(ours), ending(theirs)]
      ours.close([...ours.channels][0].discoveryKey)
      t.same(await awake(Promise.all(ends)), [null, null], 'and both streams end')
      t.equal(ours.bytesSent, theirs.bytesReceived)
      t.equal(ours.bytesReceived, theirs.bytesSent)
    },
    { ours: mode, theirs: mode }
  )
}

everyPair('keys, addresses and capabilities', async (t, { ours, theirs, connect, label }) => {
  const shaken = [event(ours, 'handshake'), event(theirs, 'handshake')]
  ours.open(KEY)
  theirs.open(KEY)
  const duplex = [event(ours, 'duplex-channel'), event(theirs, 'duplex-channel')]
  await connect()
  await awake(Promise.all(shaken))
  t.ok(Buffer.from(ours.remotePublicKey).equals(theirs.publicKey))
  t.ok(Buffer.from(theirs.remotePublicKey).equals(ours.publicKey))
  t.ok(Buffer.from(ours.state.handshakeHash).equals(theirs.state.handshakeHash))
  await awake(Promise.all(duplex))
  t.ok(ours.remoteVerified(KEY) && theirs.remoteVerified(KEY))
  t.ok(Buffer.from(ours.state.capability(KEY)).equals(theirs.state.remoteCapability(KEY)))
  t.equal(ours.remoteType, label.endsWith('TCP') ? 'tcp' : 'unknown')
  if (label.endsWith('TCP')) t.ok(ours.remoteAddress.includes('127.0.0.1'))
})

everyPair('a wrong capability of ours ends their stream', async (t, { dialect, ours, theirs }) => {
  const real = dialect === 'ddatabase' ? DDATABASE : HYPERCORE
  const impostor: AnyStream = new OURS[dialect](ours.initiator, { dialect: { ...real, capability: 'x' } })
  impostor.on('error', () => {})
  ours.destroy()
  theirs.open(KEY)
  impostor.open(KEY)
  const ends = ending(theirs)
  join(impostor, theirs)
  t.equal((await ends)?.message, 'Invalid remote channel capability')
  impostor.destroy()
})

everyPair('a wrong capability of theirs ends ours', async (t, { ours, theirs, connect }) => {
  theirs.state.capability = () => Buffer.alloc(32)
  theirs.on('error', () => {})
  ours.open(KEY, { onopen: () => t.fail('must not open') })
  theirs.open(KEY)
  const ends = ending(ours)
  await connect()
  const error = await awake(ends)
  t.equal(error?.code, 'ERR_CAPABILITY')
})

everyPair('refusing, reopening and closing', async (t, { ours, theirs, connect }) => {
  const log: string[] = []
  for (const [name, stream] of [
    ['ours', ours],
    ['theirs', theirs]
  ]) {
    stream.prefinalize.wait()
    stream.on('discovery-key', (dk: Buffer) => {
      log.push(`${name} refuses`)
      stream.close(dk)
    })
  }
  const closed = [signal(), signal()]
  ours.open(KEY, { onclose: closed[0]!.resolve })
  theirs.open(OTHER_KEY, { onclose: closed[1]!.resolve })
  await connect()
  await awake(Promise.all(closed.map(({ promise }) => promise)))
  t.same(log.sort(), ['ours refuses', 'theirs refuses'])

  ours.removeAllListeners('discovery-key')
  theirs.removeAllListeners('discovery-key')
  const data = [signal<unknown>(), signal<unknown>()]
  theirs.on('discovery-key', () =>
    theirs.open(KEY, { ondata: data[1]!.resolve }).data({ index: 1, value: KEY })
  )
  const again = ours.open(KEY, { ondata: data[0]!.resolve, onopen: () => again.data({ index: 2 }) })
  t.ok(again.localId > 1, 'a number is not used twice')
  await awake(Promise.all(data.map(({ promise }) => promise)))
  const ends = [ending(ours), ending(theirs)]
  ours.prefinalize.continue()
  theirs.prefinalize.continue()
  await turn()
  t.notOk(ours.destroyed || theirs.destroyed)
  theirs.close(again.discoveryKey)
  t.same(await awake(Promise.all(ends)), [null, null])
  t.ok(again.closed)
})

everyPair(
  'finalize of a live stream',
  async (t, { ours, theirs, connect }) => {
    await connect()
    await awake(Promise.all([event(ours, 'handshake'), event(theirs, 'handshake')]))
    const channel = ours.open(KEY)
    theirs.open(KEY)
    await awake(event(theirs, 'duplex-channel'))
    channel.close()
    await turn()
    t.notOk(ours.destroyed || theirs.destroyed, 'without channels it stays')
    const ends = [ending(ours), ending(theirs)]
    theirs.finalize()
    t.same(await awake(Promise.all(ends)), [null, null])
  },
  { ours: { live: true }, theirs: { live: true } }
)

everyPair('stream level extensions', async (t, { ours, theirs, connect }) => {
  const answers = [signal<unknown>(), signal<unknown>()]
  const a = ours.registerExtension('ask', { encoding: 'json', onmessage: answers[0]!.resolve })
  ours.registerExtension('another', { encoding: 'json' })
  const b = theirs.registerExtension('ask', { encoding: 'json', onmessage: answers[1]!.resolve })
  theirs.registerExtension('aaa', { encoding: 'json' })
  a.send({ from: 'ours' })
  b.send({ from: 'theirs' })
  await connect()
  t.same(await awake(Promise.all(answers.map(({ promise }) => promise))), [
    { from: 'theirs' },
    { from: 'ours' }
  ])
  t.ok(a.remoteSupports())
})

everyPair('onauthenticate that refuses', async (t, { dialect, ours, theirs, connect }) => {
  const cause = new Error('not you')
  ours.handlers.onauthenticate = (_: unknown, done: (error: Error) => void) => done(cause)
  theirs.on('error', () => {})
  const ends = ending(ours)
  await connect()
  const error = await awake(ends)
  t.equal(error?.code, 'ERR_AUTHENTICATION_REFUSED')
  t.equal(error?.cause, cause)

  const mine: AnyStream = new OURS[dialect](true)
  const hook = { onauthenticate: (_: unknown, done: (error: Error) => void) => done(cause) }
  const other: AnyStream = new PUBLISHED[dialect](false, hook)
  const both = [ending(mine), ending(other)]
  join(mine, other)
  t.equal((await Promise.all(both))[1]?.message, 'Noise handshake error')
  t.ok(mine.destroyed)
})

everyPair(
  'keepalives in both directions, and the end when they stop',
  async (t, { ours, theirs, connect }) => {
    await connect()
    await awake(Promise.all([event(ours, 'handshake'), event(theirs, 'handshake')]))
    const before = [ours.bytesReceived, theirs.bytesReceived]
    ours.setKeepAlive(2)
    theirs.setKeepAlive(2)
    await awake(
      new Promise<void>((resolve) => {
        const look = setInterval(() => {
          if (ours.bytesReceived < before[0]! + 3 || theirs.bytesReceived < before[1]! + 3) return
          clearInterval(look)
          resolve()
        }, 2)
      })
    )
    ours.setKeepAlive(0)
    theirs.setKeepAlive(0)
    theirs.on('error', () => {})
    const ends = ending(ours)
    ours.setTimeout(20, () => ours.destroy(new DDatabaseError('ETIMEDOUT')))
    t.equal((await awake(ends))?.code, 'ETIMEDOUT')
  },
  { ours: { timeout: 0 }, theirs: { timeout: 0 } }
)

test('published: however the bytes are cut', async (t) => {
  const random = new SeededRandom(99)
  for (const dialect of ['ddatabase', 'hypercore'] as const) {
    for (const largest of [1, 3, 60, 5000]) {
      const ours: AnyStream = new OURS[dialect](largest % 2 === 1)
      const theirs: AnyStream = new PUBLISHED[dialect](largest % 2 === 0)
      const got = [signal<AnyStream>(), signal<AnyStream>()]
      const value = random.bytes(20000)
      ours.open(KEY, { ondata: got[0]!.resolve }).data({ index: 1, value })
      theirs.open(KEY, { ondata: got[1]!.resolve }).data({ index: 2, value })
      joinInPieces(ours, theirs, random, largest)
      const messages = await awake(Promise.all(got.map(({ promise }) => promise)))
      t.ok(
        messages.every((message) => value.equals(message.value)),
        `${dialect}, pieces of up to ${largest}`
      )
      ours.destroy()
      theirs.destroy()
    }
  }
  t.end()
})
