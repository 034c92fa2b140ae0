import test from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import { StreamCipher } from '../../src/replication/cipher.ts'
import { FrameDecoder } from '../../src/replication/frames.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { mutate } from '../fuzz/wire-messages.ts'
import {
  type AnyStream,
  awake,
  CODECS,
  collect,
  ending,
  event,
  hex,
  join,
  OURS,
  type ProtocolHandlers,
  ProtocolStream,
  SeededRandom,
  signal,
  toVector,
  transcripts,
  turn,
  vector
} from './helpers.ts'

const PLAIN = { encrypted: false, noise: false, timeout: 0 } as const
const KEY = Buffer.alloc(32, 7)

/** Feeds bytes to a stream without handshake and tells what it ended with; `null` if it lives. */
async function feed(
  bytes: Uint8Array | Uint8Array[],
  handlers: ProtocolHandlers = {},
  prepare: (stream: ProtocolStream) => void = () => {}
): Promise<string | null> {
  const stream = new ProtocolStream(true, { ...PLAIN, ...handlers })
  let error: (Error & { code?: string }) | null = null
  stream.on('error', (problem) => {
    error = problem
  })
  stream.resume()
  prepare(stream)
  for (const chunk of Array.isArray(bytes) ? bytes : [bytes]) stream.write(chunk)
  await turn()
  await turn()
  if (error !== null && !DDatabaseError.is(error)) throw error
  const code = error === null ? null : (error as { code: string }).code
  stream.destroy()
  return code
}

function open(number: number, feedNumber = number): Buffer {
  const dk = Buffer.alloc(32, 1)
  dk.writeUInt32BE(feedNumber)
  const header = number * 16
  const bytes: number[] = []
  for (let rest = header; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest < 128 ? rest : (rest % 128) + 128)
    if (rest < 128) break
  }
  return Buffer.concat([Buffer.of(bytes.length + 34, ...bytes, 0x0a, 0x20), dk])
}

// On purpose stricter than the reference, which takes what is left of a cut field and ignores wire types.
const STRICTER = new Set([
  'Open whose discovery key field announces 32 bytes but has none',
  'Want whose field 1 is tagged as length delimited'
])

test('hostile: odd input of the vectors ends the stream where the reference ends or crashes', async (t) => {
  const { discoveryKey } = new ProtocolStream(true, PLAIN).open(KEY)
  for (const { name, bytes, handlers, destroyedWith, threwOutOfTheStream } of vector('messages.json')
    .oddInput) {
    const wrong = destroyedWith !== undefined || threwOutOfTheStream !== undefined || STRICTER.has(name)
    const seen: unknown[] = []
    const handler = (what: string) => (message: unknown) => void seen.push([what, toVector(message)])
    const names = ['onhave', 'onwant', 'onrequest', 'onopen']
    const code = await feed(
      [Buffer.concat([hex('23100a20'), Buffer.from(discoveryKey)]), hex(bytes)],
      {},
      (stream) => {
        stream.open(KEY, Object.fromEntries(names.slice(0, 3).map((what) => [what, handler(what)])))
      }
    )
    t.equal(code !== null, wrong, `${name}: ${code}`)
    if (!wrong) {
      t.same(
        seen,
        handlers.map((one: { handler: string; message: unknown }) => [one.handler, one.message])
      )
    }
  }
  t.end()
})

test('hostile: the inputs of all reactions are decoded or refused, never thrown', async (t) => {
  let refused = 0
  for (const { name, preparation, input, crashedWith } of vector('reactions.json').cases) {
    const code = await feed([...preparation, ...input].map(hex))
    if (code !== null) refused++
    t.ok(code === null || code.startsWith('ERR_'), `${name}: ${code}`)
    if (crashedWith?.includes('sig')) t.equal(code, 'ERR_MESSAGE_MALFORMED', 'a short signature')
  }
  t.ok(refused > 0)
  t.end()
})

test('hostile: handshakes that are none', async (t) => {
  const cases: [string, string | Uint8Array[], string | undefined][] = [
    ['a length that does not end', 'ffffffffffffffffffff', 'ERR_HANDSHAKE_SIZE'],
    ['a length over the limit', '808004', 'ERR_HANDSHAKE_SIZE'],
    ['an empty message', '00', 'ERR_HANDSHAKE'],
    ['a short message', '0500000000ff', 'ERR_HANDSHAKE'],
    ['a low order key', `3a${'00'.repeat(58)}`, 'ERR_HANDSHAKE'],
    ['noise', [new SeededRandom(3).bytes(100000)], 'ERR_HANDSHAKE']
  ]
  for (const [name, bytes, code] of cases) {
    const stream = new ProtocolStream(false)
    const ends = ending(stream)
    stream.resume()
    if (typeof bytes === 'string') for (const byte of hex(bytes)) stream.write(Buffer.of(byte))
    else for (const chunk of bytes) stream.write(chunk)
    const error = await ends
    t.ok(
      error?.code === code || (name === 'noise' && error?.code === 'ERR_HANDSHAKE_SIZE'),
      `${name}: ${error?.code}`
    )
  }

  const [a, b] = [new ProtocolStream(true), new ProtocolStream(true)]
  const ends = [ending(a), ending(b)]
  join(a, b)
  const [error] = await Promise.all(ends)
  t.equal(error?.code, 'ERR_HANDSHAKE_ROLES', 'two initiators')
  t.equal(error?.message, 'Noise handshake error')
  t.end()
})

test('hostile: handshake payloads', async (t) => {
  const nonce = `0a18${'05'.repeat(24)}`
  const cases: [string, string, string, string | null][] = [
    ['good', nonce, nonce, null],
    ['only in the first message', nonce, '', null],
    ['with unknown fields', nonce, `4801${nonce}520101`, null],
    ['none', '', '', 'ERR_HANDSHAKE_PAYLOAD_MISSING'],
    ['a nonce of 23 bytes', nonce, `0a17${'05'.repeat(23)}`, 'ERR_HANDSHAKE_PAYLOAD'],
    ['a nonce of 25 bytes', nonce, `0a19${'05'.repeat(25)}`, 'ERR_HANDSHAKE_PAYLOAD'],
    ['a nonce that is not there', nonce, '0a18', 'ERR_HANDSHAKE_PAYLOAD'],
    ['another field only', nonce, '4801', 'ERR_HANDSHAKE_PAYLOAD'],
    ['large', nonce, `${nonce}5280f003${'00'.repeat(63488)}`, null]
  ]
  for (const [name, first, third, code] of cases) {
    const stream = new ProtocolStream(false, { timeout: 0 })
    const outcome = Promise.race([ending(stream), event(stream, 'handshake')])
    const noise = new NoiseHandshake(true, ProtocolStream.keyPair())
    const frame = (message: Uint8Array) => {
      const size = message.byteLength
      const length =
        size < 128
          ? [size]
          : size < 16384
            ? [(size % 128) + 128, size >> 7]
            : [(size % 128) + 128, ((size >> 7) % 128) + 128, size >> 14]
      return Buffer.concat([Buffer.from(length), message])
    }
    stream.once('data', (chunk) => {
      noise.recv((chunk as Uint8Array).subarray(1))
      stream.write(frame(noise.send(hex(third))))
    })
    stream.write(frame(noise.send(hex(first))))
    const result = await outcome
    t.equal(Array.isArray(result) ? null : (result?.code ?? 'no error'), code, name)
    stream.destroy()
  }
  t.end()
})

test('hostile: a handshake that is trickled in for ever', async (t) => {
  const stream = new ProtocolStream(false, { timeout: 0, limits: { handshakeTime: 30 } })
  const ends = ending(stream)
  stream.resume()
  const trickle = setInterval(() => stream.write(Buffer.of(0x3a)), 2)
  const error = await awake(ends)
  clearInterval(trickle)
  t.equal(error?.code, 'ERR_HANDSHAKE_TIMEOUT')

  let answer: (error?: unknown) => void = () => {}
  const slow = new ProtocolStream(false, {
    timeout: 0,
    limits: { handshakeTime: 30 },
    onauthenticate: (_, done) => {
      answer = done
    }
  })
  const fast = new ProtocolStream(true, { timeout: 0 })
  join(slow, fast)
  await event(fast, 'handshake')
  await new Promise((resolve) => setTimeout(resolve, 60))
  const shaken = event(slow, 'handshake')
  answer()
  await shaken
  t.pass('the time the application takes does not count')
  slow.destroy()
  fast.destroy()
  t.end()
})

test('hostile: Opens that break the rules', async (t) => {
  t.equal(await feed([open(1), open(2)]), null)
  t.equal(await feed([open(0)]), 'ERR_CHANNEL', 'on channel 0')
  t.equal(await feed([open(1), open(1)]), null, 'twice is taken for opened anew')
  t.equal(await feed([open(1), open(2, 1)]), null, 'and so is the same feed on two numbers')
  const again = Array.from({ length: 20 }, (_, i) => open(i + 1, 1))
  t.equal(await feed(again), 'ERR_CHANNEL', 'but not for ever')
  t.equal(await feed([open(1), open(1, 2)]), 'ERR_CHANNEL', 'two feeds on one number')
  t.equal(await feed([open(1), hex('011a'), open(1, 2)]), null, 'a number that was closed')
  t.equal(await feed([open(2 ** 40, 1), hex('011a')]), null, 'a large number')
  const many = Array.from({ length: 11 }, (_, i) => open(i + 1))
  t.equal(await feed(many, { limits: { pendingChannels: 10 } }), 'ERR_LIMIT', 'a flood')
  const cycles = many.flatMap((bytes, i) => [bytes, Buffer.of(1, (i + 1) * 16 + 10)])
  t.equal(
    await feed(cycles.slice(0, 14), { limits: { pendingChannels: 1 } }),
    null,
    'closed ones do not count'
  )
  const refuse = (stream: ProtocolStream) => void stream.on('discovery-key', (dk) => stream.close(dk))
  t.equal(await feed(many, { limits: { pendingChannels: 10 } }, refuse), 'ERR_LIMIT', 'refused ones do')
  t.end()
})

test('hostile: closes and messages for nobody are ignored', async (t) => {
  t.equal(
    await feed([hex('011a'), hex(`233a0a20${'11'.repeat(32)}`), hex('03130800'), hex('051f00657874')]),
    null
  )
  t.equal(await feed([hex('020f00'), hex('07010a0474657374'), hex('020f00'), hex('020f05')]), null)
  t.end()
})

test('hostile: a remote that floods and does not read is cut off', async (t) => {
  const stream = new ProtocolStream(true, { ...PLAIN, live: true, limits: { queuedOutput: 100000 } })
  stream.on('discovery-key', (dk) => stream.close(dk))
  const ends = ending(stream)
  for (let i = 1; i < 20000 && !stream.destroying; i++) {
    // Opened, refused, and closed as the refusal asks for, so that nothing stays open.
    stream.write(open(i, i))
    stream.write(Buffer.of(3, 0x80 + ((i * 16 + 10) % 128), 0x80 + (((i * 16) >> 7) % 128), (i * 16) >> 14))
    if (i % 100 === 0) await turn()
  }
  t.equal((await ends)?.code, 'ERR_OUTPUT_LIMIT')
  t.end()
})

test('hostile: a stream that dies while onauthenticate is pending, and a socket that dies at any byte', async (t) => {
  const random = new SeededRandom(77)
  for (let run = 0; run < 60; run++) {
    const a: AnyStream = new ProtocolStream(true)
    const b: AnyStream = new ProtocolStream(false, {
      onauthenticate: (_, done) => void (random.chance(0.5) ? done() : setImmediate(done))
    })
    let left = random.below(700)
    const closed = signal()
    b.open(KEY, { onclose: closed.resolve })
    const channel = a.open(KEY)
    for (let i = 0; i < 5; i++) channel.data({ index: i, value: Buffer.alloc(50) })
    const ends = [ending(a), ending(b)]
    const forward = (from: AnyStream, to: AnyStream) =>
      from.on('data', (chunk: Uint8Array) => {
        const part = chunk.subarray(0, left)
        left -= part.byteLength
        to.write(part)
        if (left > 0) return
        if (run % 2) to.end()
        else to.destroy()
        from.destroy()
      })
    forward(a, b)
    forward(b, a)
    if (left === 0) a.destroy()
    await turn()
    await turn()
    for (const stream of [a, b]) if (!stream.destroying) stream.destroy()
    const errors = await Promise.all(ends)
    await closed.promise
    if (errors.some((error) => error !== null && !DDatabaseError.is(error))) t.fail(String(errors))
  }
  t.pass('60 connections')
  t.end()
})

/** The plain bytes that a transcript's sides sent after the handshake. */
function plainStreams(): Buffer[] {
  return transcripts().flatMap(({ entries }) =>
    ['initiator', 'responder'].map((side) =>
      Buffer.concat(
        entries
          .filter(
            (entry: { from: string; kind: string }) => entry.from === side && entry.kind !== 'handshake'
          )
          .map((entry: { plain?: string; wire: string }) => hex(entry.plain ?? entry.wire))
      )
    )
  )
}

test('fuzz: changed streams after the handshake are decoded or end with a coded error', async (t) => {
  const streams = plainStreams()
  const feeds: Buffer[] = transcripts().flatMap(({ feeds }) =>
    Object.values(feeds as Record<string, string>).map(hex)
  )
  const codes = new Map<string, number>()
  const seed = 4000
  for (let run = 0; run < 600; run++) {
    const random = new SeededRandom(seed + run)
    const bytes = mutate(random.pick(streams), random)
    const chunks: Buffer[] = []
    for (let offset = 0; offset < bytes.length; ) {
      const size = random.between(1, random.pick([3, 100, 10000]))
      chunks.push(bytes.subarray(offset, offset + size))
      offset += size
    }
    try {
      const code = await feed(chunks, {}, (stream) => {
        for (const key of feeds) stream.open(key, {})
        stream.registerExtension('test', { encoding: 'json' })
      })
      codes.set(code ?? 'lives', (codes.get(code ?? 'lives') ?? 0) + 1)
    } catch (error) {
      t.fail(`seed ${seed + run}: ${error}`)
    }
  }
  t.ok(codes.size > 2, JSON.stringify([...codes]))
  t.notOk(codes.has('ERR_STREAM_HANDLER'), 'nothing failed inside')
  t.end()
})

test('fuzz: changed connections from the first byte on', async (t) => {
  const codes = new Map<string, number>()
  const seed = 9000
  const recorded = transcripts().filter(({ noise }) => noise)
  for (let run = 0; run < 200; run++) {
    const random = new SeededRandom(seed + run)
    const { entries, keys, package: dialect, encrypted } = random.pick(recorded)
    const side = random.pick(['initiator', 'responder'])
    const from = (who: string) =>
      Buffer.concat(
        entries
          .filter((entry: { from: string }) => entry.from === who)
          .map((entry: { wire: string }) => hex(entry.wire))
      )
    const pair = (kind: string) => ({
      publicKey: hex(keys[side][`${kind}PublicKey`]),
      secretKey: hex(keys[side][`${kind}SecretKey`])
    })
    const stream = new OURS[dialect as keyof typeof OURS](side === 'initiator', {
      timeout: 0,
      encrypted,
      authenticated: false,
      keyPair: pair('static'),
      recorded: { nonce: hex(keys[side].nonce), ephemeralKeyPair: pair('ephemeral') }
    })
    collect(stream)
    const ends = ending(stream)
    const bytes = mutate(from(side === 'initiator' ? 'responder' : 'initiator'), random)
    stream.write(bytes)
    await turn()
    stream.end(undefined)
    await turn()
    stream.destroy()
    const error = await ends
    if (error !== null && !DDatabaseError.is(error)) t.fail(`seed ${seed + run}: ${error}`)
    const code = error?.code ?? 'lives'
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  t.ok(codes.size > 2, JSON.stringify([...codes]))
  t.notOk(codes.has('ERR_STREAM_HANDLER'), 'nothing failed inside')
  t.end()
})

test('fuzz: frames and messages of random bytes', (t) => {
  const random = new SeededRandom(123)
  for (let run = 0; run < 3000; run++) {
    const decoder = new FrameDecoder(DEFAULT_LIMITS.frameSize)
    try {
      decoder.write(random.bytes(random.below(60)))
      while (decoder.next()) CODECS[decoder.type]?.read(decoder.body, DEFAULT_LIMITS)
    } catch (error) {
      if (!DDatabaseError.is(error)) t.fail(String(error))
    }
  }
  const cipher = new StreamCipher(Buffer.alloc(32), Buffer.alloc(24))
  cipher.update(Buffer.alloc(0), Buffer.alloc(0))
  t.pass('3000 inputs')
  t.end()
})
