/**
 * False sizes in proofs without a block: a parent's hash binds only the sum of the sizes below it, so bytes can be shifted
 * between two neighbours (spec FORMAT §13, quirk 9).
 */
import test, { type Test } from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { MemoryFiles } from '../../helpers/memory-files.ts'
import { Bench, connect, until } from '../../helpers/replication-feeds.ts'
import { join, unwatched } from '../../helpers/replication-pipes.ts'
import { type AnyChannel, type AnyStream, OURS, replicating } from '../../helpers/replication-subjects.ts'
import { SeededRandom } from '../../helpers/seeded-random.ts'
import { rejection, settle } from '../../helpers/watchdog.ts'

const open = (files: MemoryFiles, key: Uint8Array | null, options: object = {}): FeedFace =>
  OURS.open(files.factory(), key, options)

/** A remote that has everything of `writer` and shifts `by` bytes between the first two nodes of each hash it sends. */
function liar(writer: FeedFace, victim: FeedFace, by: number, sendsBlocks = false): AnyStream {
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const channel: AnyChannel = remote.open(writer.key!, {
    onwant: ({ start }: { start: number }) =>
      start === 0 && channel.have({ start: 0, length: writer.length }),
    onrequest: async (request: { index: number; bytes: number; hash: boolean }) => {
      let { index } = request
      if (request.bytes > 0) [index] = (await writer.seek(request.bytes)) as unknown as [number]
      if (!request.hash) {
        if (!sendsBlocks) return
        channel.data({ index, value: await writer.get(index), ...(await writer.proof(index)) })
        return
      }
      const { nodes, signature } = await (
        writer.feed as unknown as {
          proof(
            index: number,
            options: object
          ): Promise<{ nodes: { index: number; size: number; hash: Uint8Array }[]; signature: Uint8Array }>
        }
      ).proof(index, { hash: true })
      const [leaf, sibling, ...others] = nodes
      const forged = [
        { ...leaf!, size: leaf!.size + by },
        { ...sibling!, size: sibling!.size - by },
        ...others
      ]
      channel.data({ index, nodes: forged, signature })
    }
  })
  const stream = unwatched(replicating(victim).replicate(false, { live: true, timeout: 0 }))
  join(remote, stream)
  return stream
}

const BLOCKS = Array.from({ length: 64 }, (_, i) => 'x'.repeat(10 + ((i * 7) % 13)))

async function stage(
  t: Test
): Promise<{ bench: Bench; writer: FeedFace; files: MemoryFiles; victim: FeedFace }> {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(BLOCKS)
  const files = new MemoryFiles()
  const victim = open(files, writer.key, { sparse: true })
  await victim.ready()
  return { bench, writer, files, victim }
}

const has = (feed: FeedFace, index: number) => () =>
  replicating(feed).peers[0]?.remoteBitfield.get(index) === true

for (const by of [3, -3]) {
  test(`shifted sizes: a seek is not shifted by ${by} bytes`, async (t) => {
    const { bench, writer, victim } = await stage(t)
    const stream = liar(writer, victim, by)
    await until(has(victim, 63), 'the Have')
    const border = BLOCKS.slice(0, 21).join('').length
    // Right at the borders, where the lie would tell.
    const places = [border - 2, border - 1, border, border + 1, border + 2].map((bytes) => victim.seek(bytes))
    await settle(20)
    const { cut } = connect(writer, victim, { live: true })
    for (const [i, place] of places.entries()) {
      t.deepEqual(await place, await writer.seek(border - 2 + i), `byte ${border - 2 + i}`)
    }
    stream.destroy()
    await cut()
    await victim.close()
    await bench.close()
  })
}

test('shifted sizes: hashes of everything, all false; then the blocks from somebody honest', async (t) => {
  const { bench, writer, files, victim } = await stage(t)
  const stream = liar(writer, victim, 2)
  await until(has(victim, 63), 'the Have')
  await victim.call('download', { start: 0, end: 64, hash: true })
  stream.destroy()
  t.equal(victim.length, 64)
  t.equal(
    (await rejection(victim.seek(300, { wait: false }), 'seek')).message,
    'Unable to seek to this offset'
  )
  await victim.close()

  const reopened = open(files, writer.key, { sparse: true })
  await reopened.ready()
  const { cut } = connect(writer, reopened, { live: true })
  const random = new SeededRandom(5)
  for (let i = 0; i < 20; i++) {
    const bytes = random.below(writer.byteLength)
    t.deepEqual(await reopened.seek(bytes), await writer.seek(bytes), `byte ${bytes}`)
  }
  // In an order in which each neighbour comes first once.
  for (let i = 63; i >= 0; i -= 3) t.equal(String(await reopened.get(i)), BLOCKS[i])
  await reopened.call('download', { start: 0, end: 64 })
  await cut()
  t.deepEqual({ ...(await reopened.audit()) }, { valid: 64, invalid: 0 })
  for (let i = 0; i < 64; i++)
    t.equal(String(await reopened.get(i, { wait: false })), BLOCKS[i], `block ${i}`)
  for (let bytes = 0; bytes < writer.byteLength; bytes += 7) {
    t.deepEqual(await reopened.seek(bytes, { wait: false }), await writer.seek(bytes), `byte ${bytes}`)
  }
  await reopened.close()

  const copy = new MemoryFiles()
  const whole = open(copy, writer.key)
  await whole.ready()
  await connect(writer, whole).ends
  await whole.close()
  for (const name of ['tree', 'data', 'signatures']) {
    t.ok(Buffer.from(files.read(name)!).equals(copy.read(name)!), `${name}: as if nobody had lied`)
  }
  await bench.close()
})

test('shifted sizes: the liar itself cannot but tell the truth with the block', async (t) => {
  const { bench, writer, victim } = await stage(t)
  const stream = liar(writer, victim, 4, true)
  await until(has(victim, 63), 'the Have')
  for (const bytes of [15, 333, 512, 700]) {
    t.deepEqual(await victim.seek(bytes), await writer.seek(bytes), `byte ${bytes}`)
  }
  t.notOk(stream.destroying)
  stream.destroy()
  await victim.close()
  await bench.close()
})

test('shifted sizes: nobody to ask for the block', async (t) => {
  const { bench, writer, victim } = await stage(t)
  const stream = liar(writer, victim, 4)
  await until(has(victim, 63), 'the Have')
  const place = rejection(victim.seek(333, { ifAvailable: true }), 'seek')
  await until(
    () => replicating(victim).peers[0]!.inflightRequests.some(({ index }) => index % 2 === 0 && index > 0),
    'the request'
  )
  await until(() => victim.length === 64, 'the hashes')
  await settle(10)
  stream.destroy()
  t.equal((await place).code, 'ERR_SEEK_NOT_AVAILABLE')
  await victim.close()
  await bench.close()
})

test('shifted sizes: a range that does not let the pair be fetched', async (t) => {
  const { bench, writer, victim } = await stage(t)
  const { cut } = connect(writer, victim, { live: true })
  const border = BLOCKS.slice(0, 21).join('').length
  t.deepEqual(await victim.seek(border, { start: 21, end: 22 }), [21, 0])
  t.deepEqual([victim.has(20), victim.has(21)], [false, true], 'only what may be asked for')
  await cut()
  await victim.close()
  await bench.close()
})
