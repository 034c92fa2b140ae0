/** Requests that are sent ahead: what their digests leave out, and what happens if an answer before them is given up. */
import test from 'tape'
import { MemoryBits, TreeSet } from '../../src/merkle/tree-set.ts'
import { Foreseen } from '../../src/replication/foreseen.ts'
import type { InflightRequest } from '../../src/replication/requests.ts'
import { Bench, blocksOf, complete, connect, texts, until } from '../helpers/replication-feeds.ts'
import { type AnyChannel, OURS, replicating } from '../helpers/replication-subjects.ts'
import { settle } from '../helpers/watchdog.ts'

const BLOCKS = 300

/** A tree of 64 blocks that is here, and one of which only the root is known. */
function trees() {
  const holder = new TreeSet(new MemoryBits())
  for (let block = 0; block < 64; block++) holder.set(2 * block)
  const bits = new MemoryBits()
  const tree = new TreeSet(bits)
  tree.set(63)
  return { holder, known: { tree, pages: { treeBytes: 16 } as never } }
}

test('ahead: neighbours that are asked for together bring each node once', (t) => {
  for (const [ahead, expected] of [
    [true, 63],
    [false, 64 * 6]
  ] as const) {
    const { holder, known } = trees()
    const foreseen = new Foreseen(known, () => ahead, [])
    const remote = new TreeSet(new MemoryBits())
    let nodes = 0
    for (let block = 0; block < 64; block++) {
      const digest = foreseen.digest(block)
      nodes += holder.proof(2 * block, { digest, tree: remote })!.nodes.length
      foreseen.asked(block, digest)
    }
    t.equal(nodes, expected, ahead ? 'ahead' : 'without')
  }
  t.end()
})

test('ahead: after an answer that was given up nothing is claimed that is not here', (t) => {
  const { known } = trees()
  const foreseen = new Foreseen(known, () => true, [])
  // Bit 0 and bit 7: the root above it.
  const honest = 129
  foreseen.asked(0, foreseen.digest(0))
  t.equal(foreseen.digest(1), 1, 'the sibling comes with the first block')
  foreseen.broke()
  t.equal(foreseen.digest(1), 0, 'the remote is told to forget')
  t.equal(foreseen.digest(1), honest, 'then it is told what is here')
  foreseen.broke()
  t.equal(foreseen.digest(1), honest, 'nothing was claimed, so nothing is taken back')
  t.end()
})

test('ahead: what is remembered is renewed from the requests under way', (t) => {
  const { known } = trees()
  const inflight: InflightRequest[] = []
  const foreseen = new Foreseen(known, () => true, inflight)
  const nodes = foreseen.digest(0)
  inflight.push({
    index: 0,
    bytes: 0,
    question: null,
    hash: false,
    nodes,
    sent: 0,
    arrived: false,
    overdue: false,
    doubted: false,
    again: false
  })
  foreseen.asked(0, nodes)
  // Blocks that are never stored here, and not under way any more.
  for (let i = 0; i < 5000; i++) foreseen.asked(2 + (i % 30), 3)
  t.equal(foreseen.digest(1), 1, 'the request is still under way')
  t.end()
})

/** Nodes and full digests on the connections of a feed from now on. */
function watch(feed: object) {
  const seen = { nodes: 0, blocks: 0, digests: [] as number[] }
  replicating(feed as never).on('peer-open', (peer: { stream: AnyChannel }) => {
    const { stream } = peer
    const { data } = stream
    stream.data = (message: { nodes: unknown[]; value: unknown }) => {
      seen.nodes += message.nodes.length
      seen.blocks++
      return data.call(stream, message as never)
    }
    const { request } = stream
    stream.request = (message: { nodes: number }) => {
      seen.digests.push(message.nodes)
      return request.call(stream, message as never)
    }
  })
  return seen
}

for (const authenticated of [true, false]) {
  test(`ahead: a copy gets few nodes twice, authenticated: ${authenticated}`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(BLOCKS))
    const replica = await bench.replica(writer)
    const seen = watch(writer)
    const { ends } = connect(writer, replica, { authenticated })
    t.deepEqual(await ends, [null, null])
    t.deepEqual(await blocksOf(replica), texts(BLOCKS))
    t.ok(seen.nodes < 2 * BLOCKS, `${seen.nodes} nodes for ${BLOCKS} blocks`)
    await bench.close()
  })
}

test('ahead: downloads that are cancelled on the way and begun again', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(BLOCKS))
  const replica = await bench.sparse(writer)
  const seen = watch(replica)
  const { cut } = connect(writer, replica, { live: true })
  // The first block brings the roots; from then on much is asked for at a time.
  await replica.get(BLOCKS - 1)
  const all = replicating(replica)
  for (let round = 0; round < 8; round++) {
    const before = replica.downloaded()
    const download = all.download({ start: 0, end: BLOCKS })
    Promise.resolve(download).catch(() => {})
    await until(() => replica.downloaded() > before || replica.downloaded() === BLOCKS, 'some blocks')
    all.undownload(download)
  }
  all.download({ start: 0, end: BLOCKS })
  await complete(replica, BLOCKS)
  t.deepEqual(await blocksOf(replica), texts(BLOCKS))
  t.equal(all.peers.length, 1, 'the connection has not ended')
  t.ok(seen.digests.includes(0), 'the writer was told to forget')
  await cut()
  await bench.close()
})

/** Keeps back what a feed sends to its peer, until it is let go: one after the other, in its order. */
function keepAnswers(feed: object) {
  const kept: (() => void)[] = []
  const [peer] = replicating(feed as never).peers as unknown as { stream: AnyChannel }[]
  const { stream } = peer!
  const { data } = stream
  stream.data = (message: never) => {
    kept.push(() => data.call(stream, message))
  }
  return {
    kept,
    release: async () => {
      for (let send = kept.shift(); send !== undefined; send = kept.shift()) {
        send()
        await settle(20)
      }
      stream.data = data
    }
  }
}

for (const others of [false, true]) {
  test(`ahead: an answer that crosses its Cancel and is wanted again, ${others ? 'from somebody else' : 'from the same remote'}`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(texts(BLOCKS))
    const mirror = await bench.replica(writer)
    t.deepEqual(await connect(writer, mirror).ends, [null, null])
    const replica = await bench.sparse(writer)
    const { cut } = connect(writer, replica, { live: true })
    // It brings the roots.
    await replica.get(BLOCKS - 1)
    const answers = keepAnswers(writer)
    const all = replicating(replica)
    const cancelled = [100, 101, 102, 103]
    // Twice: the first request after a Cancel leaves nothing out, but those behind it do.
    for (const kept of [4, 8]) {
      const gets = cancelled.map((index) => replica.get(index).catch((error) => error.code))
      await until(() => answers.kept.length === kept, 'the answers')
      for (const index of cancelled) all.cancel(index)
      t.ok((await Promise.all(gets)).every((code) => code === 'ERR_REQUEST_CANCELLED'))
    }

    const other = others ? connect(mirror, replica, { live: true }) : null
    if (others) {
      await until(() => all.peers.length === 2 && all.peers.every((peer) => peer.remoteOpened), 'two peers')
      replicating(writer).setUploading(false)
      await until(() => all.peers.some((peer) => !peer.remoteUploading), 'the writer does not upload')
    }
    const again = replica.get(103)
    await answers.release()
    t.equal(String(await again), texts(1, 103)[0], 'what came first lacked nodes')
    t.equal(all.peers.length, others ? 2 : 1, 'nobody is blamed')
    await other?.cut()
    await cut()
    await bench.close()
  })
}

test('ahead: an answer to what was asked before the remote stopped uploading, and is asked again', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(BLOCKS))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await replica.get(BLOCKS - 1)
  const answers = keepAnswers(writer)
  const all = replicating(replica)
  const first = replica.get(100).catch((error) => error.code)
  const second = replica.get(101)
  await until(() => answers.kept.length === 2, 'two answers')
  replicating(writer).setUploading(false)
  await until(() => all.peers.some((peer) => !peer.remoteUploading), 'the writer does not upload')
  all.cancel(100)
  t.equal(await first, 'ERR_REQUEST_CANCELLED')
  replicating(writer).setUploading(true)
  await until(() => all.peers.some((peer) => peer.remoteUploading), 'the writer uploads')
  await answers.release()
  t.equal(String(await second), texts(1, 101)[0], 'what came first lacked nodes')
  t.equal(all.peers.length, 1, 'nobody is blamed')
  await cut()
  await bench.close()
})

test('ahead: of what comes at once, everything before the first wrong block is stored, and nothing behind it', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(10))
  const replica = await bench.sparse(writer, { allowPush: true })
  const stored: number[] = []
  replicating(replica).on('download', (index: number) => stored.push(index))
  const proofs: { nodes: never[]; signature: Uint8Array | null }[] = []
  for (let i = 0; i < 10; i++) proofs.push((await writer.proof(i)) as never)
  replicating(writer).on('peer-open', (peer: { stream: AnyChannel }) => {
    for (const [index, { nodes, signature }] of proofs.entries()) {
      const value = Buffer.from(index === 5 ? 'something else' : `${texts(1, index)[0]}`)
      peer.stream.data({ index, value, nodes, signature })
    }
  })
  const { ends } = connect(writer, replica, { live: true })
  t.equal((await ends)[1]?.code, 'ERR_PROOF_CHECKSUM')
  t.deepEqual(stored, [0, 1, 2, 3, 4])
  t.equal(replica.downloaded(), 5)
  await bench.close()
})
