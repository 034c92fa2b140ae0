import test from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import { frameSize, splitExtension, writeFrameHeader } from '../../src/replication/frames.ts'
import { DEFAULT_LIMITS, resolveLimits } from '../../src/replication/limits.ts'
import * as messages from '../../src/replication/messages.ts'
import { CODECS, fromVector, hex, received, SeededRandom, toVector, vector } from './helpers.ts'

interface FrameVector {
  channel: number
  type: number
  message: Record<string, unknown>
  frame: string
  extensionId?: number
  payload?: string
  keepalive?: boolean
}

const frames: FrameVector[] = vector('messages.json').frames

function code(fn: () => unknown): string {
  try {
    fn()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return 'nothing thrown'
}

function body(parts: string): Uint8Array {
  return hex(parts.replaceAll(' ', ''))
}

function encode<S>(codec: messages.MessageCodec<S, unknown>, message: S): Buffer {
  const bytes = Buffer.alloc(codec.size(message))
  codec.write(message, bytes, 0)
  return bytes
}

test('messages: every vector is encoded to the same frame and decoded with all defaults', (t) => {
  for (const { channel, type, message, frame, keepalive, extensionId } of frames) {
    if (keepalive || extensionId !== undefined) continue
    const codec = CODECS[type]!
    const sent = fromVector(message)
    const size = codec.size(sent)
    const bytes = Buffer.alloc(frameSize(channel, type, size))
    const start = writeFrameHeader(bytes, 0, channel, type, size)
    t.equal(codec.write(sent, bytes, start), bytes.byteLength, 'fills its size')
    t.equal(bytes.toString('hex'), frame, `type ${type} ${JSON.stringify(message).slice(0, 60)}`)
    t.same(toVector(codec.read(bytes.subarray(start), DEFAULT_LIMITS)), received(type, message), 'decoded')
  }
  t.end()
})

test('messages: absent fields are null, absent lists are empty', (t) => {
  t.same(messages.openCodec.read(body(`0a20${'11'.repeat(32)}`), DEFAULT_LIMITS).capability, null)
  t.same(messages.haveCodec.read(body('0805'), DEFAULT_LIMITS), {
    start: 5,
    length: 1,
    bitfield: null,
    ack: false
  })
  t.same(messages.dataCodec.read(body('0805'), DEFAULT_LIMITS), {
    index: 5,
    value: null,
    nodes: [],
    signature: null
  })
  t.same(messages.closeCodec.read(body(''), DEFAULT_LIMITS), { discoveryKey: null })
  t.end()
})

test('messages: what is wrong is rejected with a code', (t) => {
  const open = (bytes: string) => code(() => messages.openCodec.read(body(bytes), DEFAULT_LIMITS))
  const data = (bytes: string) => code(() => messages.dataCodec.read(body(bytes), DEFAULT_LIMITS))
  const want = (bytes: string) => code(() => messages.wantCodec.read(body(bytes), DEFAULT_LIMITS))
  t.equal(open(''), 'ERR_MESSAGE_INVALID', 'a required field is missing')
  t.equal(open(`0a1f${'11'.repeat(31)}`), 'ERR_MESSAGE_MALFORMED', 'a short discovery key')
  t.equal(open(`0a21${'11'.repeat(33)}`), 'ERR_MESSAGE_MALFORMED', 'a long discovery key')
  t.equal(open('0a20'), 'ERR_MESSAGE_MALFORMED', 'a discovery key that is not there')
  t.equal(open(`0a20${'11'.repeat(32)} 1200`), 'ERR_MESSAGE_MALFORMED', 'an empty capability')
  t.equal(data(`0801 22 3f ${'11'.repeat(63)}`), 'ERR_MESSAGE_MALFORMED', 'a short signature')
  t.equal(data(`0801 22 41 ${'11'.repeat(65)}`), 'ERR_MESSAGE_MALFORMED', 'a long signature')
  t.equal(data(`0801 1a 25 0800 121f${'11'.repeat(31)} 1800`), 'ERR_MESSAGE_MALFORMED', 'a short hash')
  t.equal(data('0801 1a 04 0800 1800'), 'ERR_MESSAGE_INVALID', 'a node without a hash')
  t.equal(data('0801 1a 10 0800'), 'ERR_MESSAGE_MALFORMED', 'a node beyond the message')
  t.equal(data(`0801 1a 04 0800 1220 ${'11'.repeat(40)}`), 'ERR_MESSAGE_MALFORMED', 'a hash beyond its node')
  t.equal(data('0801 12 ffffffff0f'), 'ERR_MESSAGE_MALFORMED', 'a value of 4 GB that is not there')
  t.equal(want('08'), 'ERR_MESSAGE_MALFORMED', 'a cut number')
  t.equal(want('08 ffffffffffffff1f'), 'ERR_MESSAGE_MALFORMED', 'a number of 2^53 and more')
  t.equal(want('08 80808080808080808080808001'), 'ERR_MESSAGE_MALFORMED', 'a number that does not end')
  t.equal(want('0a 05'), 'ERR_MESSAGE_MALFORMED', 'a number with the wrong wire type')
  t.equal(want('00 05'), 'ERR_MESSAGE_MALFORMED', 'field 0')
  t.equal(want('0800 4b'), 'ERR_MESSAGE_MALFORMED', 'a group')
  t.equal(want('0800 4f'), 'ERR_MESSAGE_MALFORMED', 'wire type 7')
  t.equal(want('0800 4d 000000'), 'ERR_MESSAGE_MALFORMED', 'a cut fixed32')
  t.equal(want('0800 49 00000000000000'), 'ERR_MESSAGE_MALFORMED', 'a cut fixed64')
  t.equal(
    code(() => splitExtension(body(''))),
    'ERR_MESSAGE_MALFORMED',
    'an extension message without id'
  )
  t.equal(
    code(() => splitExtension(body('ffffffffffffffff01'))),
    'ERR_MESSAGE_MALFORMED',
    'a huge extension id'
  )
  t.end()
})

test('messages: unknown fields of every wire type are skipped, the last of repeated fields counts', (t) => {
  const unknown = '48 ffffffffffffffffff01 49 0102030405060708 4a 02 0102 4d 01020304'
  t.same(messages.wantCodec.read(body(`${unknown} 0801 ${unknown} 1008 0802`), DEFAULT_LIMITS), {
    start: 2,
    length: 8
  })
  t.same(messages.wantCodec.read(body('08 ffffffffffffff0f'), DEFAULT_LIMITS), {
    start: Number.MAX_SAFE_INTEGER,
    length: 0
  })
  t.end()
})

test('messages: limits on fields, nodes and extension names', (t) => {
  const limits = resolveLimits({ messageFields: 4, proofNodes: 2, extensions: 2, extensionNameSize: 3 })
  const node = { index: 0, hash: Buffer.alloc(32), size: 1 }
  const data = (count: number) =>
    encode(messages.dataCodec, { index: 0, nodes: Array.from({ length: count }, () => node) })
  const options = (...extensions: string[]) => encode(messages.optionsCodec, { extensions })
  t.equal(messages.dataCodec.read(data(2), limits).nodes.length, 2)
  t.equal(
    code(() => messages.dataCodec.read(data(3), limits)),
    'ERR_LIMIT'
  )
  t.same(messages.optionsCodec.read(options('a', 'bcd'), limits).extensions, ['a', 'bcd'])
  t.equal(
    code(() => messages.optionsCodec.read(options('a', 'b', 'c'), limits)),
    'ERR_LIMIT'
  )
  t.equal(
    code(() => messages.optionsCodec.read(options('abcd'), limits)),
    'ERR_LIMIT'
  )
  t.equal(
    code(() => messages.wantCodec.read(body('0801'.repeat(5)), limits)),
    'ERR_LIMIT'
  )
  t.equal(
    code(() => resolveLimits({ frameSize: 0 })),
    'ERR_OUT_OF_RANGE'
  )
  t.equal(
    code(() => resolveLimits({ frameSize: Number.NaN })),
    'ERR_OUT_OF_RANGE'
  )
  t.end()
})

test('messages: what we send is checked before anything is written', (t) => {
  const { requestCodec, openCodec, dataCodec } = messages
  t.equal(
    code(() => requestCodec.size({ index: -1 })),
    'ERR_OUT_OF_RANGE'
  )
  t.equal(
    code(() => requestCodec.size({ index: 2 ** 53 })),
    'ERR_OUT_OF_RANGE'
  )
  t.equal(
    code(() => requestCodec.size({ index: undefined as unknown as number })),
    'ERR_OUT_OF_RANGE'
  )
  t.equal(
    code(() => openCodec.size({ discoveryKey: Buffer.alloc(31) })),
    'ERR_INVALID_ARG_VALUE'
  )
  t.equal(
    code(() => dataCodec.size({ index: 0, value: 5 as unknown as Uint8Array })),
    'ERR_INVALID_ARG_TYPE'
  )
  t.equal(
    code(() => dataCodec.size({ index: 0, signature: Buffer.alloc(63) })),
    'ERR_INVALID_ARG_VALUE'
  )
  t.equal(
    code(() => dataCodec.size({ index: 0, nodes: [{ index: 0, hash: Buffer.alloc(33), size: 0 }] })),
    'ERR_INVALID_ARG_VALUE'
  )
  for (const nodes of [5, {}, [null], [{}]]) {
    t.equal(
      code(() => dataCodec.size({ index: 0, nodes: nodes as unknown as [] })),
      'ERR_INVALID_ARG_TYPE',
      JSON.stringify(nodes)
    )
  }
  t.equal(
    code(() => messages.optionsCodec.size({ extensions: 'abc' as unknown as [] })),
    'ERR_INVALID_ARG_TYPE'
  )
  t.equal(
    code(() => requestCodec.size({ index: Symbol('index') as unknown as number })),
    'ERR_OUT_OF_RANGE'
  )
  t.end()
})

test('messages: random messages survive the round trip, random bytes only ever give coded errors', (t) => {
  const random = new SeededRandom(31)
  const maybe = <T>(value: T) => (random.chance(0.3) ? null : value)
  const number = () => Math.floor(2 ** random.between(0, 52) * random.next())
  for (let i = 0; i < 500; i++) {
    const message = {
      index: number(),
      value: maybe(random.bytes(random.below(300))),
      nodes: Array.from({ length: random.below(6) }, () => ({
        index: number(),
        hash: random.bytes(32),
        size: number()
      })),
      signature: maybe(random.bytes(64))
    }
    const bytes = encode(messages.dataCodec, message)
    t.same(messages.dataCodec.read(bytes, DEFAULT_LIMITS), message, `message ${i}`)
    for (let change = random.between(1, 4); change > 0; change--)
      bytes[random.below(bytes.length)] = random.below(256)
    const cut = bytes.subarray(0, random.below(bytes.length + 1))
    for (const codec of CODECS) {
      try {
        codec.read(cut, DEFAULT_LIMITS)
      } catch (error) {
        if (!DDatabaseError.is(error)) t.fail(`${error} for ${cut.toString('hex')}`)
      }
    }
  }
  t.end()
})
