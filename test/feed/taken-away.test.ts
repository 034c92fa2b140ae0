/** Blocks that are taken away, by clear and truncate, while somebody reads them or appends; and what peers are told. */
import test from 'tape'
import type { FeedOptions } from '../../src/index.ts'
import ddatabase, { type Feed } from '../../src/index.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { join } from '../helpers/replication-pipes.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { copyBlocks, feedOf, refusal, replicaOf, settled, texts } from './feeds.ts'

/** A feed on a storage whose operations can be held. */
async function heldFeed(
  values: string[],
  options: FeedOptions<unknown> = {}
): Promise<{ storage: HeldStorage; feed: Feed<unknown> }> {
  const storage = new HeldStorage()
  const first = ddatabase<unknown>(storage.create)
  await first.append(values)
  await first.close()
  const reopened = new HeldStorage(storage.files)
  const feed = ddatabase<unknown>(reopened.create, options)
  await feed.ready()
  return { storage: reopened, feed }
}

const dataRead = (file: string, operation: string) => file === 'data' && operation === 'read'

/** A cache of the application's. */
function mapCache() {
  const values = new Map<number, unknown>()
  return {
    get: (key: number) => values.get(key),
    set: (key: number, value: unknown) => void values.set(key, value),
    del: (key: number) => void values.delete(key)
  }
}

test('taken away: a get that reads while the block is cleared', async (t) => {
  const { storage, feed } = await heldFeed(['hello', 'world', 'third'])
  for (const call of [() => feed.get(1, { wait: false }), () => feed.getBatch(1, 2, { wait: false })]) {
    // The bytes are deleted before the read has looked at them.
    const held = storage.hold(dataRead, true)
    const answer = refusal(call())
    await within(held, 'the read')
    storage.pass()
    await feed.clear(1)
    storage.release()
    t.equal(await answer, 'ERR_BLOCK_NOT_DOWNLOADED: Block not downloaded')
    await feed.truncate(1)
    await feed.append(['world', 'third'])
  }
  await feed.close()
})

test('taken away: a block that was read before it was cleared may be answered', async (t) => {
  const { storage, feed } = await heldFeed(['hello', 'world'])
  const held = storage.hold(dataRead)
  const get = feed.get(1)
  await within(held, 'the read')
  storage.pass()
  await feed.clear(1)
  storage.release()
  t.deepEqual(texts([await within(get, 'get')]), ['world'])
  await feed.close()
})

test('taken away: a get goes back to waiting', async (t) => {
  const source = await feedOf(['hello', 'world'])
  const storage = new HeldStorage()
  const copy = ddatabase(storage.create, source.key, { sparse: true })
  await copy.ready()
  await copyBlocks(source, copy, 0, 1)
  const held = storage.hold(dataRead, true)
  const get = copy.get(1)
  await within(held, 'the read')
  storage.pass()
  await copy.clear(1)
  storage.release()
  t.equal(await settled(get), false)
  await copyBlocks(source, copy, 1)
  t.deepEqual(texts([await within(get, 'get')]), ['world'], 'until the block is here again')
  await Promise.all([source.close(), copy.close()])
})

test('taken away: reads that cross a truncation answer the new block, also from caches', async (t) => {
  for (const options of [{}, { cache: { data: 1e6 } }, { cache: { tree: mapCache(), data: mapCache() } }]) {
    const { storage, feed } = await heldFeed(['hello', 'world', 'third'], options)
    const held = storage.hold(
      (file, operation) => operation === 'read' && (file === 'data' || file === 'tree')
    )
    const get = feed.get(2)
    const batch = feed.getBatch(2, 3)
    await within(held, 'the read')
    storage.pass()
    await feed.truncate(1)
    await feed.append(['WORLDS', 'FOURTH'])
    storage.release()
    t.deepEqual(texts([await within(get, 'get')]), ['FOURTH'])
    t.deepEqual(texts((await within(batch, 'getBatch')) as Uint8Array[]), ['FOURTH'])
    t.deepEqual(texts([await feed.get(1), await feed.get(2)]), ['WORLDS', 'FOURTH'], 'and so later')
    t.equal((await feed.proof(0)).nodes.find(({ index }) => index === 2)?.size, 6, 'also of nodes')
    t.deepEqual({ ...(await feed.audit()) }, { valid: 3, invalid: 0 })
    await feed.close()
  }
})

test('taken away: a batch that waits while some of it is cleared, and nothing is verified', async (t) => {
  const { feed } = await heldFeed(['hello', 'world'], { verify: 'off' })
  const copy = ddatabase(new MemoryFiles().factory(), feed.key)
  join(feed.replicate(true, { live: true }), copy.replicate(false, { live: true }))
  await new Promise((resolve) => feed.once('peer-open', resolve))
  const asked = feed.getBatch(0, 3).catch((error: { code?: unknown }) => error.code)
  await settle()
  // While there are peers, downloads of before are through with it.
  await feed.clear(0, 1)
  await feed.append('third')
  t.equal(await asked, 'ERR_BLOCK_NOT_AVAILABLE')
  await Promise.all([feed.close(), copy.close()])
})

test('taken away: proofs and signatures asked for during a truncation', async (t) => {
  const { storage, feed } = await heldFeed(['a', 'b', 'c', 'd'])
  await feed.append('e')
  const asks: (() => Promise<unknown>)[] = [() => feed.proof(0), () => feed.signature(0)]
  for (const ask of asks) {
    const held = storage.hold((file, operation) => file === 'signatures' && operation === 'read', true)
    const answer = ask()
    await within(held, 'the read')
    storage.pass()
    await feed.truncate(feed.length - 2)
    storage.release()
    await within(answer, 'the answer')
    t.equal(await feed.verify(feed.length - 1, (await feed.signature(0)).signature), true)
  }
  await feed.close()
})

test('taken away: peers are told of blocks that were here, and of no others', async (t) => {
  const feed = await feedOf<unknown>(['a', 'b', 'c', 'd'])
  const replica = await replicaOf(feed as Feed)
  const streams = [feed.replicate(true, { live: true }), replica.replicate(false, { live: true })] as const
  join(streams[0] as never, streams[1] as never)
  await within(replica.get(3), 'get')
  const told: unknown[] = []
  const peer = feed.peers[0]!
  const unhave = peer.unhave.bind(peer)
  peer.unhave = (message) => {
    told.push(message)
    unhave(message)
  }
  await feed.clear(1, 4e9)
  t.deepEqual(told.splice(0), [{ start: 1, length: 3 }], 'clear')
  await feed.clear(0, 4e9)
  t.deepEqual(told.splice(0), [{ start: 0, length: 1 }], 'what is gone already is not told again')
  await feed.clear(0, 100)
  t.deepEqual(told.splice(0), [])
  const append = feed.append('e')
  await feed.truncate(2)
  await append
  t.deepEqual(
    told.splice(0),
    [{ start: 2, length: 3 }],
    'truncate beside an append tells of the appended ones'
  )
  for (const stream of streams) stream.destroy()
  await Promise.all([feed.close(), replica.close()])
})
