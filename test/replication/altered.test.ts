/** A man in the middle of an authenticated connection: nothing that he changes is ever delivered. */
import test from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import type { Feed } from '../../src/index.ts'
import { browserModules } from '../crypto/backends.ts'
import { feedOf, replicaOf } from '../feed/feeds.ts'
import { within } from '../helpers/watchdog.ts'
import {
  type AnyStream,
  awake,
  collect,
  ending,
  join,
  ProtocolStream,
  SeededRandom,
  toVector,
  turn
} from './helpers.ts'
import { recordsOf } from './second-implementation.ts'

type Side = 'initiator' | 'responder'
type StreamClass = typeof ProtocolStream

const KEY = Buffer.alloc(32, 7)
const SIDES = ['initiator', 'responder'] as const
const inBrowsers = browserModules<{ ProtocolStream: StreamClass }>('replication/stream.ts')

/** One side of a session that is always the same, and what it has heard. */
function speaker(side: Side, authenticated: boolean, Stream: StreamClass) {
  const seed = (text: string) => Buffer.alloc(32, `${side} ${text}`)
  const stream = new Stream(side === 'initiator', {
    timeout: 0,
    live: true,
    authenticated,
    keyPair: ProtocolStream.keyPair(seed('static')),
    recorded: {
      nonce: seed('nonce').subarray(8),
      ephemeralKeyPair: ProtocolStream.keyPair(seed('ephemeral'))
    }
  })
  const heard: string[] = []
  const hear =
    (name: string) =>
    (...args: unknown[]) =>
      void heard.push(JSON.stringify([name, ...args.map(toVector)]))
  const channel = stream.open(KEY, {
    onoptions: hear('options'),
    onhave: hear('have'),
    onrequest: hear('request'),
    ondata: hear('data'),
    onextension: hear('extension')
  })
  const greeting = stream.registerExtension<Uint8Array>('greeting', {
    onmessage: (message) => hear('greeting')(message)
  })
  /** Says something in several ticks. */
  const speak = async () => {
    channel.options({ extensions: ['payments'] })
    channel.have({ start: 0, length: 3 })
    await turn()
    channel.extension(0, Buffer.from(`pay 100 to the ${side}`))
    stream.ping()
    await turn()
    channel.request({ index: 2, nodes: 5 })
    channel.data({ index: 1, value: Buffer.alloc(40, side), signature: Buffer.alloc(64, 1) })
    await turn()
    greeting.send(Buffer.from('and goodbye'))
  }
  return { stream, heard, speak }
}

/** What each side sends and hears if nobody comes between them. */
async function record(authenticated: boolean, Streams: readonly [StreamClass, StreamClass]) {
  const speakers = SIDES.map((side, i) => speaker(side, authenticated, Streams[i]!))
  const [a, b] = speakers as [(typeof speakers)[0], (typeof speakers)[0]]
  const outputs = [collect(a.stream), collect(b.stream)]
  const ends = Promise.all([ending(a.stream), ending(b.stream)])
  join(a.stream, b.stream)
  await Promise.all([a.speak(), b.speak()])
  await turn()
  for (const { stream } of speakers) stream.finalize()
  const errors = (await awake(within(ends, 'the ends'))).filter((error) => error !== null)
  if (errors.length > 0) throw errors[0]
  return {
    sent: { initiator: outputs[0]!.bytes(), responder: outputs[1]!.bytes() },
    heard: { initiator: a.heard, responder: b.heard }
  }
}

/** The handshake messages and the records that a side sent. */
function unitsOf(bytes: Buffer, side: Side): { handshake: Buffer[]; records: Buffer[] } {
  const handshake: Buffer[] = []
  let at = 0
  for (let messages = side === 'initiator' ? 2 : 1; messages > 0; messages--) {
    const end = at + 1 + bytes[at]!
    handshake.push(bytes.subarray(at, end))
    at = end
  }
  return { handshake, records: recordsOf(bytes.subarray(at)) }
}

/** What becomes of a side that receives this. */
async function receive(side: Side, authenticated: boolean, chunks: readonly Buffer[], Stream: StreamClass) {
  const { stream, heard } = speaker(side, authenticated, Stream)
  collect(stream)
  const end = ending(stream)
  for (const chunk of chunks) if (!stream.destroying) stream.write(Buffer.from(chunk))
  await turn()
  if (!stream.destroying) stream.end(undefined)
  await turn()
  stream.destroy()
  const error = await end
  if (error !== null && !DDatabaseError.is(error)) throw error
  return { heard, code: error?.code ?? null, truncated: stream.truncated }
}

const other = (side: Side): Side => (side === 'initiator' ? 'responder' : 'initiator')

test('altered: the session of these tests, in all combinations of runtimes', async (t) => {
  const { sent, heard } = await record(true, [ProtocolStream, ProtocolStream])
  for (const side of SIDES) {
    t.equal(heard[side].length, 6, `the ${side} hears everything`)
    t.ok(
      heard[side].some((message) => message.includes(Buffer.from(`to the ${other(side)}`).toString('hex')))
    )
    const { handshake, records } = unitsOf(sent[side], side)
    t.ok(records.length >= 5, `${records.length} records`)
    const rest = sent[side].length - Buffer.concat([...handshake, ...records]).length
    t.equal(rest, 0, 'and nothing else')
  }
  const { ProtocolStream: Browser } = inBrowsers
  for (const classes of [
    [Browser, Browser],
    [Browser, ProtocolStream],
    [ProtocolStream, Browser]
  ] as const) {
    t.same(await record(true, classes), { sent, heard }, 'the same bytes')
  }
})

for (const [runtime, Stream, step] of [
  ['node', ProtocolStream, 1],
  ['browser', inBrowsers.ProtocolStream, 29]
] as const) {
  test(`altered, ${runtime}: any changed byte, from the first one on`, async (t) => {
    const { sent, heard } = await record(true, [ProtocolStream, ProtocolStream])
    const random = new SeededRandom(6)
    const codes = new Map<unknown, number>()
    for (const side of SIDES) {
      const bytes = sent[other(side)]
      for (let at = 0; at < bytes.length; at += step) {
        const changed = Buffer.from(bytes)
        changed[at]! ^= 1 << random.below(8)
        const outcome = await receive(side, true, [changed], Stream)
        codes.set(outcome.code, (codes.get(outcome.code) ?? 0) + 1)
        const genuine = outcome.heard.every((message, i) => message === heard[side][i])
        if (!genuine || outcome.code === null) {
          t.fail(`byte ${at} to the ${side}: ${outcome.code}, ${outcome.heard}`)
        }
      }
    }
    t.ok(codes.get('ERR_RECORD')! > 10, JSON.stringify([...codes]))
  })

  test(`altered, ${runtime}: cut anywhere, split anywhere`, async (t) => {
    const { sent, heard } = await record(true, [ProtocolStream, ProtocolStream])
    let clean = 0
    for (const side of SIDES) {
      const bytes = sent[other(side)]
      const { handshake, records } = unitsOf(bytes, other(side))
      const boundaries = new Set([0])
      let sum = 0
      for (const unit of [...handshake, ...records]) {
        sum += unit.length
        boundaries.add(sum)
      }
      const shaken = Buffer.concat(handshake).length
      for (let at = 0; at <= bytes.length; at += step) {
        const cut = await receive(side, true, [bytes.subarray(0, at)], Stream)
        if (!cut.heard.every((message, i) => message === heard[side][i])) t.fail(`cut at ${at}: ${cut.heard}`)
        if (cut.code !== (boundaries.has(at) ? null : 'ERR_STREAM_TRUNCATED'))
          t.fail(`cut at ${at}: ${cut.code}`)
        if (cut.truncated !== (at >= shaken && at < bytes.length)) t.fail(`cut at ${at}: ${cut.truncated}`)
        if (cut.code === null) clean++
        const split = await receive(side, true, [bytes.subarray(0, at), bytes.subarray(at)], Stream)
        if (split.code !== null || split.truncated || split.heard.join() !== heard[side].join()) {
          t.fail(`split at ${at}: ${split.code}, ${split.heard}`)
        }
      }
      const single = Array.from(bytes, (byte) => Buffer.of(byte))
      t.same(await receive(side, true, single, Stream), { heard: heard[side], code: null, truncated: false })
    }
    t.ok(clean >= 2, `${clean} cuts between two records were no error, but known`)
  })
}

test('altered: records dropped, repeated, moved, joined from elsewhere', async (t) => {
  const { sent, heard } = await record(true, [ProtocolStream, ProtocolStream])
  for (const side of SIDES) {
    const { handshake, records } = unitsOf(sent[other(side)], other(side))
    const mirrored = unitsOf(sent[side], side).records
    /** Delivers these records; nothing from the one with the number `bad` on may be heard. */
    const refused = async (name: string, bad: number, changed: readonly Buffer[], code = 'ERR_RECORD') => {
      const outcome = await receive(side, true, [...handshake, ...changed], ProtocolStream)
      const good = await receive(side, true, [...handshake, ...records.slice(0, bad)], ProtocolStream)
      t.same([outcome.code, outcome.heard], [code, good.heard], `${side}: ${name}`)
    }
    for (const [i, one] of records.entries()) {
      const [before, after] = [records.slice(0, i), records.slice(i + 1)]
      // The end of the last one that is missing looks like a cut.
      if (after.length > 0) await refused(`${i} dropped`, i, [...before, ...after])
      await refused(`${i} repeated`, i + 1, [...before, one, one, ...after])
      for (let later = i + 1; later < records.length; later++) {
        const moved = [...records]
        moved.splice(later, 0, ...moved.splice(i, 1))
        await refused(`${i} moved to ${later}`, i, moved)
      }
      await refused(`${i} from the other direction`, i, [...before, mirrored[i % mirrored.length]!, ...after])
      await refused(`an empty one before ${i}`, i, [...before, Buffer.alloc(19), ...records.slice(i)])
    }
    const last = records.at(-1)!
    await refused('the last one first', 0, [last, ...records])
    const again = await receive(side, true, [...handshake, ...records, Buffer.of(0)], ProtocolStream)
    t.same([again.code, again.heard], ['ERR_RECORD', heard[side]], 'something behind the end')
    const older = await receive(
      side,
      true,
      [
        ...handshake,
        ...unitsOf((await record(false, [ProtocolStream, ProtocolStream])).sent[other(side)], other(side))
          .handshake
      ],
      ProtocolStream
    )
    t.notEqual(older.code, null, 'bytes of another session')
  }
})

test('altered: the same on the wire of old peers is delivered', async (t) => {
  const { sent, heard } = await record(false, [ProtocolStream, ProtocolStream])
  let delivered = 0
  const bytes = sent.initiator
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 1
    const outcome = await receive('responder', false, [changed], ProtocolStream)
    if (outcome.heard.some((message, i) => message !== heard.responder[i])) delivered++
  }
  t.ok(delivered > 50, `${delivered} of ${bytes.length} changes were heard, so these tests can tell`)
})

/** Hands on what a stream sends, and lets `change` at each piece, which knows how many bytes went before. */
function through(from: AnyStream, to: AnyStream, change: (piece: Buffer, before: number) => Buffer): void {
  let passed = 0
  from.on('data', (chunk: Uint8Array) => {
    const piece = change(Buffer.from(chunk), passed)
    passed += chunk.byteLength
    if (!to.destroying) to.write(piece)
  })
  let ended = false
  from.on('end', () => {
    ended = true
    to.end()
  })
  // What has ended well is still to be looked at by the other side.
  from.on('close', () => ended || to.destroy())
}

test('altered: replication with extension messages, at random places', async (t) => {
  const source = await feedOf(Array.from({ length: 40 }, (_, i) => Buffer.alloc(i * 50, i + 1)))
  const words = new Set(Array.from({ length: 20 }, (_, i) => `word ${i}`))
  const talking = (feed: Feed, heard: string[]) =>
    feed.registerExtension<Uint8Array>('words', {
      onmessage: (word) => void heard.push(Buffer.from(word).toString())
    })
  const heardBySource: string[] = []
  const toReplica = talking(source, heardBySource)
  let total = [20000, 2000]
  const codes = new Map<unknown, number>()
  for (let run = 0; run < 40; run++) {
    const random = new SeededRandom(700 + run)
    const replica = await replicaOf(source, { sparse: false })
    const heard: string[] = []
    const toSource = talking(replica, heard)
    const streams = [source.replicate(true), replica.replicate(false)] as const
    // The first run goes undisturbed.
    const direction = random.below(2)
    const place = run === 0 ? Infinity : random.below(total[direction]!)
    const sizes = [0, 0]
    const altering = (which: number) => (piece: Buffer, before: number) => {
      sizes[which] = before + piece.length
      if (which === direction && place >= before && place < before + piece.length) {
        piece[place - before]! ^= 1 << random.below(8)
      }
      return piece
    }
    for (const [feed, extension] of [
      [source, toReplica],
      [replica, toSource]
    ] as const) {
      feed.once('peer-open', () => {
        for (const word of words) extension.broadcast(Buffer.from(word))
      })
    }
    const ends = [ending(streams[0]), ending(streams[1])]
    through(streams[0], streams[1], altering(0))
    through(streams[1], streams[0], altering(1))
    const receiver = 1 - direction
    const error = (await awake(within(Promise.all(ends), 'the ends')))[receiver]
    codes.set(error?.code ?? null, (codes.get(error?.code ?? null) ?? 0) + 1)
    if (run === 0) {
      total = sizes
      t.equal(heard.length + heardBySource.length, 40, 'undisturbed all words are heard')
      t.equal(replica.downloaded(), 40)
    } else if (error === null && place < sizes[direction]!)
      t.fail(`seed ${700 + run}, byte ${place} in direction ${direction}: nothing noticed`)
    for (const word of [...heard, ...heardBySource])
      if (!words.has(word)) t.fail(`seed ${700 + run}: ${word}`)
    for (let i = 0; i < replica.length; i++) {
      if (!replica.has(i)) continue
      if (!Buffer.alloc(i * 50, i + 1).equals(await replica.get(i))) t.fail(`seed ${700 + run}: block ${i}`)
    }
    if (run > 0) {
      const again = [source.replicate(true), replica.replicate(false)] as const
      const over = Promise.all(again.map(ending))
      join(...again)
      await awake(within(over, 'the next connection'))
      if (replica.downloaded() !== 40) t.fail(`seed ${700 + run}: ${replica.downloaded()} blocks`)
    }
    await replica.close()
  }
  t.ok(codes.get('ERR_RECORD')! > 20, JSON.stringify([...codes]))
  await source.close()
})
