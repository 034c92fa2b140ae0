/** How a connection gets each of the errors of replication: as the error with which its stream is destroyed. */
import type { Test } from 'tape'
import { DDATABASE } from '../../src/dialect.ts'
import { type DDatabaseError, type Feed, type ProtocolHandlers, ProtocolStream } from '../../src/index.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { feedOf, replicaOf } from '../feed/feeds.ts'
import { ending } from '../helpers/replication-pipes.ts'
import type { Case } from './feed-cases.ts'

type Streams = Parameters<typeof ending>[0]

const KEY = Buffer.alloc(32, 7)
const PLAIN = { encrypted: false, noise: false, timeout: 0 } as const

const hex = (text: string) => Buffer.from(text, 'hex')

/** How a stream ends. */
function endOf(stream: ProtocolStream): Promise<unknown> {
  return ending(stream as unknown as Streams)
}

/** The end of a stream that receives these bytes, without a handshake. */
function receiving(bytes: string, handlers: ProtocolHandlers = {}): Case {
  return () => receive(new ProtocolStream(true, { ...PLAIN, ...handlers }), bytes)
}

/** The end of a stream that receives these bytes as its handshake. */
function shaking(bytes: string, handlers: ProtocolHandlers = {}): Case {
  return () => receive(new ProtocolStream(false, { timeout: 0, ...handlers }), bytes)
}

function receive(stream: ProtocolStream, bytes: string): Promise<unknown> {
  const end = endOf(stream)
  stream.resume()
  stream.write(hex(bytes))
  return end
}

/** The end of the second of two connected streams. */
function between(
  a: ProtocolHandlers,
  b: ProtocolHandlers,
  prepare = (_a: ProtocolStream, _b: ProtocolStream) => {}
): Case {
  return async () => {
    const [first, second] = [new ProtocolStream(true, a), new ProtocolStream(false, b)]
    prepare(first, second)
    return joined(first, second)
  }
}

async function joined(remote: ProtocolStream, stream: ProtocolStream): Promise<unknown> {
  remote.on('error', () => {})
  const end = endOf(stream)
  remote.pipe(stream).pipe(remote)
  const error = await end
  remote.destroy()
  return error
}

/** The payload of the third message of a handshake, whose first has a good one. */
function payload(first: string, third: string): Case {
  return async () => {
    const stream = new ProtocolStream(false, { timeout: 0 })
    const end = endOf(stream)
    const noise = new NoiseHandshake(true, ProtocolStream.keyPair())
    const frame = (message: Uint8Array) => Buffer.concat([Buffer.of(message.byteLength), message])
    stream.once('data', (chunk) => {
      noise.recv((chunk as Uint8Array).subarray(1))
      stream.write(frame(noise.send(hex(third))))
    })
    stream.write(frame(noise.send(hex(first))))
    return end
  }
}

/** The end of a replica's stream whose remote does this when both have opened the feed. */
function attacked(
  attack: (channel: ReturnType<ProtocolStream['open']>, remote: ProtocolStream) => unknown,
  prepare: (replica: Feed) => unknown,
  options: object = {}
): Case {
  return async (t: Test) => {
    const source = await feedOf(['a', 'b'])
    const replica = await replicaOf(source)
    t.teardown(() => Promise.all([source.close(), replica.close()]))
    prepare(replica)
    const remote = new ProtocolStream(true, { live: true })
    const channel = remote.open(source.key!, { onopen: () => attack(channel, remote) })
    return joined(remote, replica.replicate(false, { live: true, ...options }))
  }
}

const NONCE = `0a18${'05'.repeat(24)}`
const OPEN = '0a20'
const fail = () => {
  throw new Error('the application failed')
}

/** A case for each code, in the order of `src/errors.ts`. */
export const STREAM_CASES = {
  ERR_HANDSHAKE: shaking('0500000000ff'),
  ERR_HANDSHAKE_ROLES: async () => joined(new ProtocolStream(true), new ProtocolStream(true)),
  ERR_HANDSHAKE_SIZE: shaking('808004'),
  ERR_HANDSHAKE_TIMEOUT: shaking('3a', { limits: { handshakeTime: 10 } }),
  ERR_HANDSHAKE_PAYLOAD_MISSING: payload('', ''),
  ERR_HANDSHAKE_PAYLOAD: payload(NONCE, '4801'),
  ERR_AUTHENTICATION_REFUSED: between({}, { onauthenticate: (_key, done) => done(new Error('not you')) }),
  ERR_NOT_AUTHENTICATED: between({ authenticated: false }, { requireAuthenticated: true }),
  ERR_KEY_PAIR: async () => {
    const stream = new ProtocolStream(true, { keyPair: fail })
    stream.resume()
    return endOf(stream)
  },
  // The same discovery key and another capability: what somebody has who has seen the one and cannot make the other.
  ERR_CAPABILITY: between({ dialect: { ...DDATABASE, capability: 'something else' } }, {}, (a, b) => {
    b.open(KEY)
    a.open(KEY)
  }),
  ERR_CHANNEL: receiving(`2300${OPEN}${'01'.repeat(32)}`),
  // Somebody in between changes the last bit of everything that follows the initiator's two messages of the handshake.
  ERR_RECORD: async () => {
    const [remote, stream] = [new ProtocolStream(true), new ProtocolStream(false)]
    const end = endOf(stream)
    remote.open(KEY)
    let chunks = 0
    remote.on('data', (chunk) => {
      const bytes = Buffer.from(chunk as Uint8Array)
      if (chunks++ >= 2) bytes[bytes.length - 1]! ^= 1
      stream.write(bytes)
    })
    stream.on('data', (chunk) => void remote.write(chunk))
    const error = await end
    remote.destroy()
    return error
  },
  ERR_FRAME_SIZE: receiving('ffffff7f'),
  ERR_VARINT: receiving('ffffffffffffffffff01'),
  ERR_MESSAGE_INVALID: receiving('0110'),
  ERR_MESSAGE_MALFORMED: receiving(`0310${OPEN}`),
  ERR_MALFORMED_RLE: attacked(
    (channel) => channel.have({ start: 0, length: 2 ** 20, bitfield: hex('140102') }),
    () => {}
  ),
  ERR_MESSAGE_TOO_LARGE: async () => {
    const stream = new ProtocolStream(true, { ...PLAIN, limits: { frameSize: 1000 } })
    const channel = stream.open(KEY)
    try {
      channel.extension(0, Buffer.alloc(1000))
    } catch (error) {
      return error
    } finally {
      stream.destroy()
    }
    return null
  },
  ERR_LIMIT: receiving([1, 2].map((n) => `23${n}0${OPEN}${`0${n}`.repeat(32)}`).join(''), {
    limits: { pendingChannels: 1 }
  }),
  ERR_OUTPUT_LIMIT: async () => {
    const stream = new ProtocolStream(true, { ...PLAIN, limits: { queuedOutput: 50000 } })
    const end = endOf(stream)
    const channel = stream.open(KEY)
    for (let i = 0; i < 20; i++) channel.extension(0, Buffer.alloc(4000))
    return end
  },
  ERR_STREAM_TRUNCATED: async () => {
    const stream = new ProtocolStream(true, PLAIN)
    const end = receive(stream, `2310${OPEN}`)
    stream.end(null)
    return end
  },
  ERR_STREAM_HANDLER: receiving(`2310${OPEN}${'01'.repeat(32)}`, { ondiscoverykey: fail }),
  ERR_REQUEST_TIMEOUT: async (t: Test) => {
    let pinging: NodeJS.Timeout | undefined
    const error = await attacked(
      (channel, remote) => {
        // It is alive, but does not answer.
        pinging = setInterval(() => remote.destroyed || remote.ping(), 5)
        channel.have({ start: 0, length: 2 })
      },
      (replica) => replica.download({}),
      { timeout: 50 }
    )(t)
    clearInterval(pinging)
    return error
  },
  ERR_FORK: async () => {
    const one = await feedOf(['a', 'b'])
    const other = await feedOf(['a', 'c'], { secretKey: one.secretKey! })
    const stream = one.replicate(true, { live: true })
    const error = await joined(other.replicate(false, { live: true }), stream)
    await one.close()
    await other.close()
    return error
  }
} satisfies Partial<Record<DDatabaseError['code'], Case>>
