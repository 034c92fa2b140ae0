/** The options `cache` and `storageCacheSize` (spec API §2, quirk Q2). */
import test from 'tape'
import ddatabase, { type FeedOptions } from '../../src/index.ts'
import { createCaches } from '../../src/storage/caches.ts'
import { GenerationCache } from '../../src/util/lru.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { feedOf, memory, texts, thrown } from './feeds.ts'

const VALUES = Array.from({ length: 300 }, (_, i) => `block ${i}`)

/** A cache of an application, with or without `del`. */
class Cache {
  readonly entries = new Map<number, unknown>()
  hits = 0
  readonly del?: (key: number) => void

  constructor(forgets: boolean) {
    if (forgets) this.del = (key) => void this.entries.delete(key)
  }

  get(key: number): unknown {
    const value = this.entries.get(key)
    if (value) this.hits++
    return value
  }

  set(key: number, value: unknown): void {
    if (typeof key !== 'number') throw new Error('keys are numbers')
    this.entries.set(key, value)
  }
}

const WITHOUT_TREE: Record<string, FeedOptions> = {
  'cache: false': { cache: false },
  'cache.tree: false': { cache: { tree: false } },
  'cache.tree: 0': { cache: { tree: 0 } },
  'storageCacheSize: 0': { storageCacheSize: 0 },
  'storageCacheSize: false': { storageCacheSize: false }
}
const WITH_TREE: Record<string, FeedOptions> = {
  'no option': {},
  'cache: {}': { cache: {} },
  'cache.tree: a size': { cache: { tree: 4000 } },
  'cache.tree: as much as there is': { cache: { tree: Number.POSITIVE_INFINITY } },
  'storageCacheSize: a size': { storageCacheSize: 1 },
  'storageCacheSize: as much as there is': { storageCacheSize: Number.POSITIVE_INFINITY },
  'both: cache.tree counts': { storageCacheSize: 0, cache: { tree: 4000 } }
}

for (const [kind, cases] of Object.entries({ without: WITHOUT_TREE, with: WITH_TREE })) {
  for (const [what, options] of Object.entries(cases)) {
    test(`caches: ${what}: ${kind} a cache of nodes, the answers are the same`, async (t) => {
      const feed = await feedOf(VALUES, options)
      t.equal(feed._storage.treeCache !== null, kind === 'with')
      t.equal(feed._storage.dataCache, null, 'no cache of blocks')
      t.deepEqual(texts(await feed.getBatch(0, 300)), VALUES)
      t.deepEqual(await feed.seek(7), { index: 1, offset: 0 })
      t.deepEqual({ ...(await feed.audit()) }, { valid: 300, invalid: 0 })
      await feed.truncate(100)
      await feed.append(VALUES.slice(0, 50) as never)
      t.deepEqual(texts(await feed.getBatch(98, 102)), ['block 98', 'block 99', 'block 0', 'block 1'])
      await feed.close()
    })
  }
}

for (const forgets of [true, false]) {
  test(`caches: objects of the application ${forgets ? 'with' : 'without'} del`, async (t) => {
    const tree = new Cache(forgets)
    const data = new Cache(forgets)
    const cache = Object.freeze({ tree, data })
    const feed = await feedOf(VALUES, { cache })
    t.equal(feed._storage.treeCache !== null && feed._storage.dataCache !== null, true)
    for (let round = 0; round < 2; round++) {
      t.deepEqual(texts([await feed.get(5), await feed.get(200)]), ['block 5', 'block 200'], 'get')
    }
    t.ok(data.hits > 0, 'blocks come from the cache')
    await feed.proof(5)
    await feed.proof(5)
    t.ok(tree.hits > 0, 'nodes come from the cache')

    await feed.clear(5)
    t.notOk(data.entries.get(5), 'a cleared block is forgotten')
    await feed.truncate(200)
    await feed.append(['new'] as never)
    t.deepEqual(texts([await feed.get(200)]), ['new'], 'a block after truncation')
    t.equal((await feed.proof(200)).nodes.length > 0, true)
    t.deepEqual({ ...(await feed.audit()) }, { valid: 200, invalid: 0 })
    await feed.close()
  })
}

test('caches: a size for blocks', async (t) => {
  const feed = await feedOf(VALUES, { cache: { data: 1000 } })
  t.ok(feed._storage.dataCache)
  for (let round = 0; round < 2; round++) t.deepEqual(texts([await feed.get(5)]), ['block 5'])
  await feed.truncate(5)
  await feed.append(['other'] as never)
  t.deepEqual(texts([await feed.get(5)]), ['other'])
  await feed.close()
  for (const nothing of [0, false] as const) {
    const plain = await feedOf(VALUES, { cache: { data: nothing } })
    t.equal(plain._storage.dataCache, null)
    await plain.close()
  }
})

test('caches: the size is kept to, whatever the blocks are', async (t) => {
  const random = new SeededRandom(3)
  const cache = new GenerationCache<Uint8Array>(1000, (bytes) => bytes.byteLength)
  const kept = new Map<number, Uint8Array>()
  let hits = 0
  for (let i = 0; i < 5000; i++) {
    const key = random.below(40)
    if (random.chance(0.1)) {
      cache.delete(key)
      kept.delete(key)
    } else {
      const value = new Uint8Array(random.below(random.chance(0.02) ? 1500 : 120))
      cache.set(key, value)
      kept.set(key, value)
    }
    const found = cache.get(random.below(40))
    if (found !== undefined) hits++
    const { fresh, stale } = cache as unknown as Record<'fresh' | 'stale', Map<number, Uint8Array>>
    let total = 0
    for (const [which, value] of [...fresh, ...stale]) {
      total += value.byteLength
      if (kept.get(which) !== value) t.fail('an older value')
    }
    if (total > 1000) t.fail(`${total} bytes are kept`)
  }
  t.ok(hits > 1000, `${hits} hits`)
  const caches = createCaches({ cache: { data: 10_000 } })
  for (let i = 0; i < 1000; i++) caches.blocks!.set(i, new Uint8Array(0))
  const there = Array.from({ length: 1000 }, (_, i) => caches.blocks!.get(i)).filter(Boolean)
  t.ok(there.length > 20 && there.length < 80, `${there.length} empty blocks`)
})

test('caches: two feeds with the same options do not read each other', async (t) => {
  const shared: Record<string, FeedOptions> = {
    'an empty object': { cache: {} },
    sizes: { cache: { tree: 4000, data: 4000 } },
    'caches of the application': { cache: { tree: new Cache(true), data: new Cache(true) } },
    'caches of the application without del': { cache: { tree: new Cache(false), data: new Cache(false) } }
  }
  for (const [what, options] of Object.entries(shared)) {
    const files = [new MemoryFiles(), new MemoryFiles()] as const
    const before = Object.keys(options.cache as object)
    for (const [i, content] of [VALUES, VALUES.map((value) => `the other ${value}`)].entries()) {
      await (await feedOf(content, options, files[i])).close()
    }
    t.deepEqual(Object.keys(options.cache as object), before, `${what}: the object is as it was`)
    const [one, two] = [ddatabase(memory(files[0]), options), ddatabase(memory(files[1]), options)]
    await Promise.all([one.ready(), two.ready()])
    for (const index of [0, 3, 250]) {
      t.deepEqual(texts([await one.get(index)]), [`block ${index}`], `${what}: one, block ${index}`)
      t.deepEqual(texts([await two.get(index)]), [`the other block ${index}`], `${what}: two, block ${index}`)
      const { nodes, signature } = await two.proof(index)
      const replica = ddatabase(memory(), two.key)
      await replica.put(index, Buffer.from(`the other block ${index}`), { nodes, signature })
      t.equal(replica.has(index), true, `${what}: a proof of two holds`)
      await replica.close()
      t.deepEqual(texts([await one.get(index)]), [`block ${index}`], `${what}: one again`)
    }
    await Promise.all([one.close(), two.close()])
  }
})

test('caches: wrong settings', async (t) => {
  for (const options of [{ cache: { tree: 'x' } }, { storageCacheSize: {} }, { cache: { data: {} } }]) {
    const code = await (async () => {
      const constructed = thrown(() => ddatabase(memory(), options as never).on('error', () => {}))
      if (constructed !== 'nothing was thrown') return constructed
      return ddatabase(memory(), options as never)
        .ready()
        .catch((error) => error.code)
    })()
    t.equal(code, 'ERR_INVALID_ARG_TYPE', JSON.stringify(options))
  }
})

test('caches: true is what is done anyway', (t) => {
  t.deepEqual(createCaches({ cache: true }), createCaches({}))
  t.equal(createCaches({ cache: true, storageCacheSize: 80 }).treeBytes, 80)
  t.end()
})
