/** How many commits there are of blocks that come one by one. */
import test from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import type { Proof } from '../../src/merkle/verify.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { until } from '../helpers/replication-feeds.ts'

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const
const COUNT = 8

async function copied(t: test.Test, pause: () => Promise<unknown>): Promise<number> {
  const source = new Feed(new MemoryFiles().factory())
  await source.append(Array.from({ length: COUNT }, (_, index) => `block ${index}`))
  const proofs: Proof[] = []
  for (let index = 0; index < COUNT; index++) proofs.push(await source.proof(index))
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
    onwant: () => channel.have({ start: 0, length: COUNT }),
    onrequest: ({ index }) => void asked.add(index)
  })
  stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
  remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
  await until(() => asked.size === COUNT, 'the requests')
  for (let index = 0; index < COUNT; index++) {
    const { nodes, signature } = proofs[index]!
    channel.data({ index, value: Buffer.from(`block ${index}`), nodes, signature })
    await pause()
  }
  await until(() => feed.downloaded() === COUNT, 'the blocks')
  stream.destroy()
  remote.destroy()
  await feed.close()
  await source.close()
  return writes
}

test('arrivals: blocks that come in chunks of their own in one turn are stored together', async (t) => {
  const writes = await copied(t, () => new Promise<void>((resolve) => process.nextTick(resolve)))
  // Without waiting there are four: what comes while one is being stored is stored together, too.
  t.ok(writes <= 2, `${writes} writes`)
})

test('arrivals: what comes later is not waited for', async (t) => {
  t.equal(await copied(t, () => new Promise((resolve) => setTimeout(resolve, 5))), COUNT)
})
