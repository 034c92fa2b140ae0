/**
 * What a feed answers to single frames, compared with a recording of the published package. Deliberate differences: a
 * Request for what does not exist is ignored, a Request for a cleared block is answered with Unhave and a Data without
 * value, and where the published package throws out of its stream, ours ends the stream.
 */
import test from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { vector } from '../../helpers/folders.ts'
import { Bench } from '../../helpers/replication-feeds.ts'
import { framesOf, recordOutput } from '../../helpers/replication-frames.ts'
import { type CodedError, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { keyPair } from '../../helpers/vectors.ts'
import { settle } from '../../helpers/watchdog.ts'

interface Case {
  name: string
  feed: 'writer' | 'cleared' | 'empty' | 'replica4'
  before?: string
  preparation: string[]
  sentDuringPreparation: string[]
  input: string[]
  sent: string[]
  destroyed: boolean
  error?: string
  crashedWith?: string
  lengthAfter: number
  haveAfter: number[]
}

const { key, cases } = vector<{ key: string; cases: Case[] }>('reactions.json')
const KEY = Buffer.from(key, 'hex')
const HASH_OF_CLEARED = cases.find(({ name }) => name === 'Request of the hash of a cleared block')!.sent[0]!

async function makeFeed(bench: Bench, kind: Case['feed']): Promise<FeedFace> {
  const secretKey = Buffer.from((await keyPair(key)).secretKey, 'hex')
  if (kind === 'empty') return bench.feed(KEY, { sparse: true })
  const writer = await bench.feed(KEY, { secretKey })
  if (kind === 'replica4') {
    await writer.append(['a', 'b', 'c', 'd'])
    const replica = await bench.feed(KEY, { sparse: true })
    await replica.put(0, Buffer.from('a'), await writer.proof(0))
    return replica
  }
  await writer.append(['a', 'b', 'c', 'd', 'e'])
  if (kind === 'cleared') await writer.clear(1, 3)
  return writer
}

/** What ours does instead, where it differs on purpose. */
function expected(one: Case): { sent: string[][]; destroyed: boolean; error?: string | undefined } {
  if (one.crashedWith !== undefined) return { sent: [one.sent], destroyed: true }
  if (one.name === 'Request of a block beyond the end') return { sent: [[]], destroyed: false }
  // Ignored, or answered as an ordinary request for the block it names.
  if (one.name === 'Request by bytes equal to the byte length') {
    return { sent: [[], [HASH_OF_CLEARED]], destroyed: false }
  }
  if (one.name === 'Request of a cleared block') {
    return { sent: [['03140801', HASH_OF_CLEARED]], destroyed: false }
  }
  return { sent: [one.sent], destroyed: one.destroyed, error: one.error }
}

for (const one of cases) {
  test(`reaction: ${one.name}`, async (t) => {
    const bench = new Bench(t, OURS)
    const feed = await makeFeed(bench, one.feed)
    const asked = /^get\((\d+)\)$/.exec(one.before ?? '')
    if (asked) feed.get(Number(asked[1])).catch(() => {})
    const stream: AnyStream = unwatched(
      replicating(feed).replicate(false, { encrypted: false, noise: false, live: true, random: () => 0 })
    )
    let problem: CodedError | null = null
    stream.on('error', (error) => {
      problem = error
    })
    const output = recordOutput(stream)
    await settle()
    for (const frame of one.preparation) {
      stream.write(Buffer.from(frame, 'hex'))
      await settle()
    }
    const prepared = output.bytes()
    t.deepEqual(
      framesOf(prepared).map(({ hex }) => hex),
      // The first request for more than is here leaves nothing out.
      one.sentDuringPreparation.map((hex) => (hex === '09170804100018002008' ? '09170804100018002000' : hex)),
      'sent before'
    )
    for (const frame of one.input) {
      stream.write(Buffer.from(frame, 'hex'))
      await settle(20)
    }
    const after = expected(one)
    const sent = framesOf(output.bytes().subarray(prepared.byteLength)).map(({ hex }) => hex)
    const wanted = after.sent.find((frames) => frames.join() === sent.join()) ?? after.sent[0]
    t.deepEqual(sent, wanted, 'sent')
    t.equal(stream.destroyed, after.destroyed, 'destroyed')
    if (after.destroyed) t.ok((problem as CodedError | null)?.code, 'with a coded error')
    if (after.error !== undefined) t.equal((problem as CodedError | null)?.message, after.error)
    t.equal(feed.length, one.lengthAfter, 'length')
    const have = Array.from({ length: feed.length }, (_, i) => i).filter((i) => feed.has(i))
    t.deepEqual(have, one.haveAfter, 'blocks')
    stream.destroy()
    await bench.close()
  })
}
