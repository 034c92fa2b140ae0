import test from 'tape'
import { FrameDecoder, frameSize, writeFrameHeader } from '../../src/replication/frames.ts'
import { GrowingBuffer } from '../../src/replication/growing-buffer.ts'
import { Output } from '../../src/replication/output.ts'
import { hex, SeededRandom } from './helpers.ts'

const MAX = 8 * 1024 * 1024

interface Frame {
  channel: number
  type: number
  body: Buffer
}

function frame({ channel, type, body }: Frame): Buffer {
  const bytes = Buffer.alloc(frameSize(channel, type, body.length))
  body.copy(bytes, writeFrameHeader(bytes, 0, channel, type, body.length))
  return bytes
}

function decode(chunks: Uint8Array[], max = MAX): { frames: Frame[]; error: string; decoder: FrameDecoder } {
  const decoder = new FrameDecoder(max)
  const frames: Frame[] = []
  let error = ''
  try {
    for (const chunk of chunks) {
      decoder.write(chunk)
      while (decoder.next()) {
        frames.push({ channel: decoder.channel, type: decoder.type, body: Buffer.from(decoder.body) })
      }
    }
  } catch (problem) {
    error = (problem as { code: string }).code
  }
  return { frames, error, decoder }
}

test('frames: any chunking gives the same frames', (t) => {
  const random = new SeededRandom(5)
  const frames: Frame[] = Array.from({ length: 60 }, (_, i) => ({
    channel: i % 7 === 0 ? random.below(2 ** 40) : random.below(20),
    type: random.below(16),
    body: random.bytes(random.pick([0, 1, 5, 200, 70000]))
  }))
  const stream = Buffer.concat(
    frames.flatMap((item) => [frame(item), Buffer.alloc(random.below(3))]) // keepalives in between
  )
  for (const largest of [1, 2, 7, 100, 65536, stream.length]) {
    const chunks: Buffer[] = []
    for (let offset = 0; offset < stream.length; ) {
      const size = largest === 1 ? 1 : random.between(1, largest)
      chunks.push(stream.subarray(offset, offset + size))
      offset += size
    }
    const copy = Buffer.from(stream)
    const { frames: found, error, decoder } = decode(chunks)
    t.equal(error, '')
    t.same(found, frames, `chunks of up to ${largest} bytes`)
    t.notOk(decoder.midFrame, 'nothing is left')
    t.ok(copy.equals(stream), 'the chunks are unchanged')
  }
  t.end()
})

test('frames: a body in one chunk is not copied', (t) => {
  const chunk = frame({ channel: 1, type: 9, body: Buffer.alloc(1000) })
  const decoder = new FrameDecoder(MAX)
  decoder.write(chunk)
  t.ok(decoder.next())
  t.equal(decoder.body.buffer, chunk.buffer)
  t.end()
})

test('frames: the rest of a body may be written into its place', (t) => {
  const body = new SeededRandom(1).bytes(1000)
  const bytes = frame({ channel: 1, type: 9, body })
  const decoder = new FrameDecoder(MAX)
  t.equal(decoder.missing, 0)
  decoder.write(bytes.subarray(0, 303))
  t.notOk(decoder.next())
  const { missing } = decoder
  t.equal(missing, bytes.length - 303)
  decoder.claim(missing - 10).set(bytes.subarray(303, -10))
  t.notOk(decoder.next())
  t.equal(decoder.missing, 10)
  decoder.claim(10).set(bytes.subarray(-10))
  t.ok(decoder.next())
  t.ok(body.equals(decoder.body))
  t.equal(decoder.missing, 0)
  t.notOk(decoder.next())
  t.end()
})

test('frames: limits', (t) => {
  t.equal(decode([hex('8280800413')]).error, 'ERR_FRAME_SIZE', '8 MiB and one byte')
  const exact = decode([hex('8180800413')])
  t.equal(exact.error, '', 'exactly 8 MiB')
  t.ok(exact.decoder.midFrame)
  t.equal(decode([hex('01930a')]).error, 'ERR_FRAME_SIZE', 'shorter than its own header')
  t.equal(decode([hex('ffffffffffffffffff01')]).error, 'ERR_VARINT', 'a length that overflows')
  t.equal(
    decode([...hex('808080808080808001')].map((byte) => Buffer.of(byte))).error,
    'ERR_VARINT',
    'a length that does not end'
  )
  t.equal(decode([hex('05ffffffffffffffff01')]).error, 'ERR_VARINT', 'a header that overflows')
  t.equal(decode([hex('ffffffffffff1f')]).error, 'ERR_FRAME_SIZE', 'a length just below 2^53')
  t.equal(decode([hex('0713000000000000')], 6).error, '', 'a limit of our own')
  t.equal(decode([hex('081300000000000000')], 6).error, 'ERR_FRAME_SIZE')
  t.end()
})

test('frames: a claimed size is not allocated', (t) => {
  const before = process.memoryUsage().arrayBuffers
  const decoders: FrameDecoder[] = []
  for (let i = 0; i < 100; i++) {
    const decoder = new FrameDecoder(MAX)
    decoder.write(hex('818080041301020304'))
    t.equal(decoder.next(), false)
    decoders.push(decoder)
  }
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 10 * 1024 * 1024, `100 claims of 8 MiB cost ${grown} bytes, ${decoders.length} decoders`)
  t.end()
})

test('frames: a large body that arrives byte by byte costs a bounded number of copies', (t) => {
  const buffer = new GrowingBuffer(0, 1 << 20)
  const byte = Buffer.of(7)
  const arrays = new Set<ArrayBufferLike>()
  for (let i = 0; i < 1 << 20; i++) {
    buffer.append(byte)
    if (i % 997 === 0) arrays.add(buffer.view().buffer)
  }
  t.equal(buffer.length, 1 << 20)
  t.ok(Buffer.from(buffer.view()).equals(Buffer.alloc(1 << 20, 7)))
  t.ok(arrays.size <= 21, `${arrays.size} arrays on the way`)
  t.end()
})

/** What was scheduled for the end of this tick is done. */
function endOfTick(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

test('frames: what is sent in one tick leaves in few chunks, in order and unmixed', async (t) => {
  const chunks: Uint8Array[] = []
  const output = new Output({ borrow: () => null, push: (chunk) => void chunks.push(chunk) })
  const random = new SeededRandom(9)
  const sent: Buffer[] = []
  const send = (size: number) => {
    const bytes = random.bytes(size)
    const offset = output.reserve(size)
    output.bytes.set(bytes, offset)
    sent.push(bytes)
  }
  for (const sizes of [
    [1, 2, 3],
    [500, 600, 700, 20000, 30000],
    [5],
    [200000, 1, 200000],
    [3000, 3000, 3000]
  ]) {
    const before = chunks.length
    for (const size of sizes) send(size)
    t.ok(output.waiting > 0, 'something waits for the end of the tick')
    await endOfTick()
    t.equal(output.waiting, 0, 'nothing after it')
    t.ok(
      chunks.length - before <= sizes.length,
      `${chunks.length - before} chunks for ${sizes.length} frames`
    )
    t.ok(Buffer.concat(chunks).equals(Buffer.concat(sent)))
  }
  send(10)
  output.flush()
  send(10)
  output.destroy()
  sent.pop()
  await endOfTick()
  t.ok(Buffer.concat(chunks).equals(Buffer.concat(sent)), 'flushed at once, and nothing after destroy')
  t.end()
})
