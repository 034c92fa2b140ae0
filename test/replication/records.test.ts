/** Records: the vectors, in both runtimes and by a second implementation, and what happens to bytes that were changed. */
import { createHash } from 'node:crypto'
import test from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import { handshakePayloadCodec } from '../../src/replication/handshake-payload.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { Output } from '../../src/replication/output.ts'
import * as node from '../../src/replication/records.ts'
import { browserModules } from '../crypto/backends.ts'
import { hex, SeededRandom, turn, vector } from './helpers.ts'
import { keyOf, open, recordsOf, seal, sealAll } from './second-implementation.ts'

type Records = typeof node
type Side = 'initiator' | 'responder'

const RUNTIMES: readonly (readonly [string, Records])[] = [
  ['node', node],
  ['browser', browserModules<Records>('replication/records.ts')]
]
const { MAX_RECORD_SIZE, RECORD_HEADER_SIZE, RECORD_OVERHEAD } = node
const vectors = vector('records.json')
const KEY = Buffer.alloc(32, 5)

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** A sealer or opener that begins with the record `number`. */
function from<T extends node.RecordSealer | node.RecordOpener>(cipher: T, number: number): T {
  return Object.assign(cipher, { count: number })
}

/** Bytes as records. */
function sealed(sealer: node.RecordSealer, plain: Uint8Array): Buffer {
  const end = RECORD_HEADER_SIZE + plain.byteLength
  const bytes = Buffer.alloc(end + sealer.overhead(plain.byteLength))
  bytes.set(plain, RECORD_HEADER_SIZE)
  return Buffer.from(sealer.seal(bytes, end))
}

/** What an opener makes of chunks, up to where it fails. */
function opened(opener: node.RecordOpener, ...chunks: Uint8Array[]): { records: string[]; code: unknown } {
  const records: string[] = []
  try {
    for (const chunk of chunks) {
      const before = Buffer.from(chunk)
      opener.write(chunk)
      for (let size = opener.next(); size !== -1; size = opener.next()) {
        // Some into memory of the caller's.
        const target = size % 2 === 1 ? Buffer.alloc(size) : undefined
        const plain = opener.open(target)
        if (plain.byteLength !== size || (target && plain !== target))
          throw new Error('not what was asked for')
        records.push(text(plain))
      }
      if (!before.equals(chunk)) throw new Error('the chunk was changed')
    }
  } catch (error) {
    if (!DDatabaseError.is(error)) throw error
    return { records, code: error.code }
  }
  return { records, code: null }
}

const large = Buffer.from(Array.from({ length: vectors.large.size }, (_, i) => i % 251))

test('records: the second implementation gives the vectors', (t) => {
  const hash = hex(vectors.handshakeHash)
  for (const side of ['initiator', 'responder'] as const) {
    t.equal(text(keyOf(hex(vectors.split[side]), hash)), vectors.recordKeys[side], `key of the ${side}`)
  }
  for (const { from: side, number, plain, record } of [...vectors.records, ...vectors.numbers]) {
    const key = hex(vectors.recordKeys[side])
    t.equal(text(seal(key, number, hex(plain))), record, `${side}, record ${number}`)
    t.equal(text(open(key, number, hex(record))), plain)
  }
  const records = sealAll(hex(vectors.recordKeys[vectors.large.from]), vectors.large.number, large)
  t.same(
    records.map((record) => record.length - RECORD_OVERHEAD),
    vectors.large.records
  )
  t.equal(createHash('sha256').update(Buffer.concat(records)).digest('hex'), vectors.large.sha256)
  t.end()
})

test('records: the handshake of the vectors', (t) => {
  const pair = (side: Side, kind: string) => ({
    publicKey: hex(vectors[side][`${kind}PublicKey`]),
    secretKey: hex(vectors[side][`${kind}SecretKey`])
  })
  const [initiator, responder] = (['initiator', 'responder'] as const).map(
    (side) => new NoiseHandshake(side === 'initiator', pair(side, 'static'), pair(side, 'ephemeral'))
  )
  for (const [i, transports] of [[], [1], [1]].entries()) {
    const nonce = hex(vectors[i === 1 ? 'responder' : 'initiator'].nonce)
    const payload = Buffer.alloc(handshakePayloadCodec.size({ nonce, transports }))
    handshakePayloadCodec.write({ nonce, transports }, payload, 0)
    t.equal(text(payload), vectors.payloads[i], `payload ${i + 1}`)
    const read = handshakePayloadCodec.read(payload, DEFAULT_LIMITS)
    t.same([text(read.nonce), read.transports], [text(nonce), transports])
    const [sender, receiver] = i === 1 ? [responder!, initiator!] : [initiator!, responder!]
    const message = sender.send(payload)
    t.equal(text(message), vectors.messages[i], `message ${i + 1}`)
    receiver.recv(message)
  }
  t.equal(text(initiator!.result!.handshakeHash), vectors.handshakeHash)
  t.equal(text(initiator!.result!.split.tx), vectors.split.initiator)
  t.equal(text(initiator!.result!.split.rx), vectors.split.responder)
  t.end()
})

for (const [runtime, { RecordSealer, RecordOpener, recordKey }] of RUNTIMES) {
  test(`records, ${runtime}: the vectors`, (t) => {
    for (const side of ['initiator', 'responder'] as const) {
      const key = recordKey(hex(vectors.split[side]), hex(vectors.handshakeHash))
      t.equal(text(key), vectors.recordKeys[side], `key of the ${side}`)
      const records = vectors.records.filter((record: { from: Side }) => record.from === side)
      const sealer = new RecordSealer(Buffer.from(key))
      const opener = new RecordOpener(Buffer.from(key))
      for (const { plain, record } of records) {
        t.equal(text(plain === '' ? sealer.close() : sealed(sealer, hex(plain))), record)
        t.same(opened(opener, hex(record)), { records: [plain], code: null })
      }
      t.ok(opener.closed)
    }
    for (const { from: side, number, plain, record } of vectors.numbers) {
      const key = hex(vectors.recordKeys[side])
      t.equal(text(sealed(from(new RecordSealer(key), number), hex(plain))), record, `record ${number}`)
      t.same(opened(from(new RecordOpener(key), number), hex(record)), { records: [plain], code: null })
      t.equal(opened(from(new RecordOpener(key), number + 1), hex(record)).code, 'ERR_RECORD')
    }
    const bytes = sealed(new RecordSealer(hex(vectors.recordKeys[vectors.large.from])), large)
    t.equal(bytes.length, vectors.large.sealedSize)
    t.equal(
      createHash('sha256').update(bytes).digest('hex'),
      vectors.large.sha256,
      'cut into records in place'
    )
    t.end()
  })

  test(`records, ${runtime}: all sizes around the largest, with any chunks`, (t) => {
    const random = new SeededRandom(4)
    for (const size of [
      1,
      2,
      100,
      MAX_RECORD_SIZE - 1,
      MAX_RECORD_SIZE,
      MAX_RECORD_SIZE + 1,
      3 * MAX_RECORD_SIZE + 7
    ]) {
      const plain = random.bytes(size)
      const bytes = sealed(new RecordSealer(KEY), plain)
      t.ok(bytes.equals(Buffer.concat(sealAll(KEY, 0, plain))), `${size} bytes, as the second implementation`)
      for (const largest of [1, 70000, bytes.length]) {
        if (largest === 1 && size > 1000) continue
        const opener = new RecordOpener(KEY)
        const chunks: Buffer[] = []
        for (let at = 0; at < bytes.length; ) {
          const end = at + (largest === bytes.length ? largest : random.between(1, largest))
          chunks.push(Buffer.from(bytes.subarray(at, end)))
          at = end
        }
        const { records, code } = opened(opener, ...chunks)
        t.ok(code === null && records.join('') === text(plain), `in ${chunks.length} chunks`)
        t.notOk(opener.midRecord)
      }
    }
    t.end()
  })

  test(`records, ${runtime}: what is not the next record is refused, and nothing of it given out`, (t) => {
    const sealer = new RecordSealer(KEY)
    const plains = [Buffer.from('first'), Buffer.from('second!'), Buffer.from('third'), Buffer.alloc(0)]
    const records = plains.map((plain) => (plain.length === 0 ? sealer.close() : sealed(sealer, plain)))
    const [a, b, c, close] = records as [Buffer, Buffer, Buffer, Buffer]
    const names = plains.map(text)
    const outcome = (...chunks: Uint8Array[]) => opened(new RecordOpener(KEY), Buffer.concat(chunks))
    t.same(outcome(...records), { records: names, code: null })

    const refused = (name: string, good: number, ...chunks: Uint8Array[]) =>
      t.same(outcome(...chunks), { records: names.slice(0, good), code: 'ERR_RECORD' }, name)
    refused('dropped', 0, b, c)
    refused('dropped later', 1, a, c)
    refused('repeated', 1, a, a)
    refused('out of order', 1, a, c, b)
    refused('an early end', 1, a, close)
    refused('something behind the end', 4, ...records, Buffer.of(1))
    refused('another key', 0, Buffer.concat(sealAll(Buffer.alloc(32, 6), 0, plains[0]!)))
    refused('cut and joined', 0, a.subarray(0, a.length - 1), b)
    refused('a size that is too large', 1, a, Buffer.of(1, 0, 2))
    t.same(outcome(a, Buffer.of(0, 0, 2)), { records: [names[0]], code: null }, 'the largest size')

    for (let at = 0; at < b.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = Buffer.from(b)
        changed[at]! ^= 1 << bit
        const { records: got, code } = outcome(a, changed, c)
        // A size that grew waits for more; it fails when that has come.
        const waits = code === null && at < RECORD_HEADER_SIZE
        if (got.join() !== names[0] || (code !== 'ERR_RECORD' && !waits))
          t.fail(`byte ${at}, bit ${bit}: ${code}`)
        if (waits) t.equal(outcome(a, changed, c, Buffer.alloc(MAX_RECORD_SIZE)).code, 'ERR_RECORD')
      }
    }
    for (let end = 1; end < b.length; end++) {
      const opener = new RecordOpener(KEY)
      const { records: got, code } = opened(opener, a, b.subarray(0, end))
      if (got.length !== 1 || code !== null || !opener.midRecord) t.fail(`cut at byte ${end}`)
    }
    t.pass(`every bit of ${b.length} bytes, and every cut`)
    t.end()
  })
}

test('records: frames of one tick are one record, a large frame is sealed where it lies', async (t) => {
  const chunks: Buffer[] = []
  const output = new Output({ borrow: () => null, push: (chunk) => void chunks.push(Buffer.from(chunk)) })
  output.sealer = new node.RecordSealer(KEY)
  const random = new SeededRandom(9)
  const sent: Buffer[] = []
  const send = (size: number) => {
    const bytes = random.bytes(size)
    const offset = output.reserve(size)
    output.bytes.set(bytes, offset)
    sent.push(bytes)
    return output.bytes.byteLength
  }
  const sizes = () => chunks.flatMap(recordsOf).map((record) => record.length - RECORD_OVERHEAD)
  for (let i = 0; i < 10; i++) send(20)
  t.equal(output.waiting, 200)
  await turn()
  t.same(sizes(), [200])
  for (const size of [1005, 1006, 1100]) {
    send(size)
    await turn()
    // The second tick knows from the first how much it needs.
    chunks.length = 0
    for (let i = 0; i < size; i += 5) send(5)
    await turn()
    t.same(sizes(), [Math.ceil(size / 5) * 5], `${size} bytes in small frames`)
  }
  for (const size of [65536, 65900, MAX_RECORD_SIZE, MAX_RECORD_SIZE + 1, 1e6]) {
    chunks.length = 0
    const slab = send(size)
    await turn()
    t.equal(
      slab,
      size + output.sealer.overhead(size),
      `a frame of ${size} bytes, and nothing but the overhead`
    )
    t.equal(chunks.length, 1)
    t.equal(sizes().length, Math.ceil(size / MAX_RECORD_SIZE))
  }
  chunks.length = 0
  send(10)
  output.flush()
  send(10)
  output.destroy()
  await turn()
  t.same(sizes(), [10], 'flushed at once, and nothing after destroy')
  t.end()
})
