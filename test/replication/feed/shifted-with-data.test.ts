/** A parent's hash binds the sizes of two children in their sum only (spec FORMAT quirk 9): who shifts them gains nothing. */
import test, { type Test } from 'tape'
import { Feed, ProtocolStream } from '../../../src/index.ts'
import { MemoryFiles } from '../../helpers/memory-files.ts'
import { until } from '../../helpers/replication-feeds.ts'

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const
const BLOCKS = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => Buffer.alloc(10, letter))

/**
 * Has a copy of blocks 0, 1, 4 and 5 ask for the hash of block 2 and the data of block 3, and answers both at once: `by` bytes are
 * shifted from leaf 2 to leaf 3.
 */
async function answeredWith(by: number, t: Test): Promise<void> {
  const source = new Feed(new MemoryFiles().factory())
  await source.append(BLOCKS)
  const copy = new Feed(new MemoryFiles().factory(), source.key, { sparse: true })
  await copy.ready()
  const stream = copy.replicate(false, PLAIN)
  const remote = new ProtocolStream(true, PLAIN)
  for (const one of [stream, remote]) one.on('error', (error) => t.fail(error.message))
  const asked = new Map<string, number>()
  const channel = remote.open(source.key!, {
    onwant: () => channel.have({ start: 0, length: BLOCKS.length }),
    onrequest: ({ index, bytes, nodes }) => void asked.set(bytes ? 'seek' : String(index), nodes ?? 0)
  })
  stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))
  remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
  const answer = async (index: number, digest: number): Promise<void> => {
    const { nodes, signature } = await source.proof(index, { digest })
    channel.data({ index, value: BLOCKS[index]!, nodes, signature })
  }
  for (const index of [0, 1, 4, 5]) {
    const got = copy.get(index)
    await until(() => asked.has(String(index)), `the request for ${index}`)
    await answer(index, asked.get(String(index))!)
    t.ok(BLOCKS[index]!.equals(await got), `block ${index}`)
  }
  const sought = copy.seek(25)
  const got = copy.get(3)
  await until(() => asked.has('seek') && asked.has('3'), 'both requests')
  const { nodes, signature } = await source.proof(2, { hash: true, digest: asked.get('seek')! })
  const shifted = nodes.map((node) => {
    const change = node.index === 4 ? -by : node.index === 6 ? by : 0
    return { ...node, size: node.size + change }
  })
  channel.data({ index: 2, nodes: shifted, signature })
  channel.data({ index: 3, value: BLOCKS[3]!, nodes: [] })
  t.ok(BLOCKS[3]!.equals(await got), 'the block whose neighbour has a false size')
  for (const index of [0, 1, 3, 4, 5]) {
    if (!BLOCKS[index]!.equals(await copy.get(index))) t.fail(`block ${index} is another one`)
  }
  const { valid, invalid } = await copy.audit()
  t.deepEqual({ valid, invalid }, { valid: 5, invalid: 0 }, 'every byte is where it should be')
  const rest = copy.get(2)
  await until(() => asked.has('2'), 'the request for 2')
  await answer(2, 0)
  t.ok(BLOCKS[2]!.equals(await rest), 'the block that the sizes were shifted of')
  await sought.catch(() => {})
  for (const one of [stream, remote]) one.destroy()
  for (const feed of [copy, source]) await feed.close()
}

for (const by of [10, -10, 3]) {
  test(`sizes shifted by ${by} in a hash, and the data of the neighbour with it`, (t) => answeredWith(by, t))
}
