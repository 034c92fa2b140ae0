/** Blocks that come one by one: how many commits there are of them, and what becomes of them when their peer leaves. */
import test from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import type { Proof } from '../../src/merkle/verify.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { until } from '../helpers/replication-feeds.ts'

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const
const COUNT = 8
// As many as may be under way to a published peer.
const MANY = 16

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** How often data was written for blocks that came one by one, with pauses, all of them asked for before. */
async function copied(t: test.Test, count: number, pause: (feed: Feed) => Promise<unknown>): Promise<number> {
  const source = new Feed(new MemoryFiles().factory())
  await source.append(Array.from({ length: count }, (_, index) => `block ${index}`))
  const proofs: Proof[] = []
  for (let index = 0; index < count; index++) proofs.push(await source.proof(index))
  let writes = 0
  const before = (file: string, operation: string) => {
    if (file === 'data' && operation === 'write') writes++
    return undefined
  }
  const feed = new Feed(new MemoryFiles().factory({ before }), source.key)
  await feed.ready()
  const stream = feed.replicate(false, PLAIN)
  const remote = new ProtocolStream(true, PLAIN)
  for (const one of [stream, remote]) one.on('error', (error) => t.fail(error.message))
  const asked = new Set<number>()
  const channel = remote.open(source.key!, {
    onwant: () => channel.have({ start: 0, length: count }),
    onrequest: ({ index }) => void asked.add(index)
  })
  stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
  remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
  await until(() => asked.size === count, 'the requests')
  for (let index = 0; index < count; index++) {
    const { nodes, signature } = proofs[index]!
    channel.data({ index, value: Buffer.from(`block ${index}`), nodes, signature })
    await pause(feed)
  }
  await until(() => feed.downloaded() === count, 'the blocks')
  stream.destroy()
  remote.destroy()
  await feed.close()
  await source.close()
  return writes
}

test('arrivals: blocks of a flow that come in chunks of their own are stored together', async (t) => {
  const inOneTurn = await copied(t, MANY, () => new Promise<void>((resolve) => process.nextTick(resolve)))
  // Without waiting there are five: what comes while one is being stored is stored together, too.
  t.ok(inOneTurn <= 3, `${inOneTurn} writes`)
  const inSeveral = await copied(t, MANY, turn)
  t.ok(inSeveral <= 12, `${inSeveral} writes`)
})

test('arrivals: what is not part of a flow does not wait for the end of its turn', async (t) => {
  let early: number | null = null
  await copied(t, COUNT, async (feed) => {
    // Asked for before what has been sent arrives, so this is over before any wait that begins then.
    await turn()
    early ??= feed.downloaded()
  })
  t.equal(early, 1)
})

test('arrivals: what comes later is not waited for', async (t) => {
  const turns = async () => {
    for (let i = 0; i < 12; i++) await turn()
  }
  t.equal(await copied(t, MANY, turns), MANY)
})

test('arrivals: what is stored after its peer has left is the end of a download from others', async (t) => {
  const source = new Feed(new MemoryFiles().factory())
  await source.append(Array.from({ length: COUNT }, (_, index) => `block ${index}`))
  const proofs: Proof[] = []
  for (let index = 0; index < COUNT; index++) proofs.push(await source.proof(index))
  const feed = new Feed(new MemoryFiles().factory(), source.key)
  await feed.ready()
  const options = { ...PLAIN, live: false }
  const remoteOf = () => {
    const stream = feed.replicate(false, options)
    const remote = new ProtocolStream(true, options)
    for (const one of [stream, remote]) one.on('error', () => {})
    const state = { asked: new Set<number>(), told: false, ended: false }
    const channel = remote.open(source.key!, {
      onwant: () => {
        channel.have({ start: 0, length: COUNT })
        state.told = true
      },
      onrequest: ({ index }) => void state.asked.add(index),
      onstatus: ({ downloading }) => {
        if (downloading === false) state.ended = true
      },
      onclose: () => {
        state.ended = true
      }
    })
    stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
    remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
    return { stream, channel, state }
  }
  const first = remoteOf()
  await until(() => first.state.asked.size === COUNT, 'the requests')
  const second = remoteOf()
  await until(() => second.state.told, 'the second one')
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.notOk(second.state.ended, 'it stays as long as there is something to be had')
  for (let index = 0; index < COUNT; index++) {
    const { nodes, signature } = proofs[index]!
    first.channel.data({ index, value: Buffer.from(`block ${index}`), nodes, signature })
    await new Promise<void>((resolve) => process.nextTick(resolve))
  }
  // The last one is still on its way, in this turn.
  for (let hops = 0; hops < 4; hops++) await new Promise<void>((resolve) => process.nextTick(resolve))
  first.stream.destroy()
  t.ok(feed.downloaded() < COUNT, 'not all is stored yet')
  await until(() => second.state.ended, 'the end')
  t.equal(feed.downloaded(), COUNT)
  t.equal(second.state.asked.size, 0)
  second.stream.destroy()
  await feed.close()
  await source.close()
})
