/** What opening does about single, known losses; and what durability promises when the disk fails. */
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import type { Recovery } from '../../src/feed/recovered.ts'
import ddatabase, { type Feed, type Storage } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { rejection, within } from '../helpers/watchdog.ts'
import { SimulatedDisk } from './disk.ts'

const BLOCKS = Array.from({ length: 40 }, (_, i) => Buffer.from(`block ${i}${'.'.repeat(i % 7)}`))

/** A closed feed of forty blocks in a folder; it has a checkpoint. */
async function stored(t: Test): Promise<string> {
  const folder = path.join(await temporaryFolder(t), 'feed')
  const feed = ddatabase(folder)
  await feed.append(BLOCKS.slice(0, 15))
  for (const block of BLOCKS.slice(15)) await feed.append(block)
  await feed.close()
  return folder
}

async function change(folder: string, file: string, edit: (content: Buffer) => void): Promise<void> {
  const content = await readFile(path.join(folder, file))
  edit(content)
  await writeFile(path.join(folder, file), content)
}

function recoveryOf(feed: Feed): Recovery | null {
  return feed.recovery
}

async function assertWhole(t: Test, feed: Feed): Promise<void> {
  const blocks = await feed.getBatch(0, BLOCKS.length)
  t.ok(
    blocks.every((block, i) => BLOCKS[i]!.equals(block)),
    'every block is right'
  )
  t.equal(await feed.verify(BLOCKS.length - 1, (await feed.signature()).signature), true, 'and signed')
  t.equal(await feed.append('more'), BLOCKS.length, 'it can be appended to')
}

test('recovery: a clean feed has nothing to repair', async (t) => {
  const feed = ddatabase(await stored(t))
  let told = false
  feed.on('recovered', () => {
    told = true
  })
  await feed.ready()
  t.equal(recoveryOf(feed), null)
  t.equal(told, false)
  await assertWhole(t, feed)
  await feed.close()
})

test('recovery: a bitfield that is mostly a hole', async (t) => {
  const folder = await stored(t)
  const file = path.join(folder, 'bitfield')
  await truncate(file, 32 + 200 * 3584)
  const feed = ddatabase(folder)
  await feed.ready()
  t.equal(recoveryOf(feed), null, 'it has the bits that it had')
  await assertWhole(t, feed)
  await feed.close()
  await change(folder, 'bitfield', (content) => {
    content[32 + 150 * 3584] = 0x80
  })
  const again = ddatabase(folder)
  await again.ready()
  t.equal(again.has(150 * 8192), false, 'a bit beyond the end, far behind it, is seen and means nothing')
  t.equal(again.length, BLOCKS.length + 1)
  await again.close()
})

const HEALED: Record<string, (folder: string) => Promise<unknown>> = {
  'the bitfield is gone': (folder) => rm(path.join(folder, 'bitfield')),
  'the bitfield is cut': (folder) => truncate(path.join(folder, 'bitfield'), 1000),
  'the bitfield is empty': (folder) => change(folder, 'bitfield', (content) => content.fill(0)),
  'the signatures are gone': (folder) => rm(path.join(folder, 'signatures')),
  'the last signature is cut': (folder) => truncate(path.join(folder, 'signatures'), 32 + 64 * 40 - 20),
  'a root is gone': (folder) =>
    change(folder, 'tree', (content) => content.fill(0, 32 + 40 * 31, 32 + 40 * 32))
}

for (const [what, damage] of Object.entries(HEALED)) {
  test(`recovery: ${what}`, async (t) => {
    const folder = await stored(t)
    await damage(folder)
    const feed = ddatabase(folder)
    const told: Recovery[] = []
    feed.on('recovered', (recovery) => told.push(recovery))
    await within(feed.ready(), 'ready')
    t.equal(told.length, 1, 'it is told')
    t.equal(recoveryOf(feed), told[0], 'and can be looked up')
    t.equal(told[0]?.length, BLOCKS.length)
    await assertWhole(t, feed)
    await feed.close()
    const again = ddatabase(folder)
    await again.ready()
    t.equal(recoveryOf(again), null, 'once')
    await again.close()
  })
}

test('recovery: data that had been there for certain is not there', async (t) => {
  const folder = await stored(t)
  await truncate(path.join(folder, 'data'), 200)
  const refused = await rejection(ddatabase(folder).ready(), 'ready')
  t.equal(refused.code, 'ERR_FEED_DAMAGED')
  const [entry, ...others] = (
    refused as unknown as { damage: { file: string; start: number; end: number }[] }
  ).damage
  t.deepEqual([entry?.file, entry?.end, others.length], ['data', BLOCKS.length, 0], 'it says what')
  const feed = ddatabase(folder, { repair: true })
  await feed.ready()
  t.equal(feed.length, BLOCKS.length, 'the tree stays')
  t.deepEqual([feed.has(entry!.start - 1), feed.has(entry!.start), feed.has(39)], [true, false, false])
  t.deepEqual(await feed.get(entry!.start - 1), BLOCKS[entry!.start - 1])
  t.equal((await rejection(feed.get(39, { wait: false }), 'get')).code, 'ERR_BLOCK_NOT_DOWNLOADED')
  t.equal(await feed.append('more'), BLOCKS.length)
  await feed.close()
})

test('recovery: a checkpoint of a history that is no more is none', async (t) => {
  const folder = await stored(t)
  const names = ['checkpoint.0', 'checkpoint.1']
  const kept = await Promise.all(names.map((name) => readFile(path.join(folder, name)).catch(() => null)))
  const feed = ddatabase(folder)
  await feed.truncate(20)
  await feed.append(['other 20', 'other 21'])
  await feed.close()
  for (const [i, name] of names.entries()) {
    await rm(path.join(folder, name), { force: true })
    if (kept[i] != null) await writeFile(path.join(folder, name), kept[i])
  }
  const again = ddatabase(folder, { valueEncoding: 'utf-8' })
  await again.ready()
  t.deepEqual([again.length, recoveryOf(again as never)], [22, null])
  t.equal(await again.get(21), 'other 21')
  await again.close()
})

test('recovery: a batch whose bits were cut at the border of two pages is completed', async (t) => {
  const files = new MemoryFiles()
  const storage = () => files.factory() as unknown as Storage
  const many = Array.from({ length: 8190 }, (_, i) => `${i}`)
  const first = ddatabase(storage(), { valueEncoding: 'utf-8' })
  await first.append(many)
  await first.append(Array.from({ length: 10 }, (_, i) => `${8190 + i}`))
  await first.close()
  files.put('bitfield', files.read('bitfield')!.subarray(0, 32 + 3584))
  const feed = ddatabase(storage(), { valueEncoding: 'utf-8' })
  await feed.ready()
  t.deepEqual([feed.length, feed.recovery?.formerLength, feed.recovery?.foundBlocks], [8200, 8192, 8])
  t.equal(await feed.get(8199), '8199')
  t.deepEqual({ ...(await feed.audit()) }, { valid: 8200, invalid: 0 })
  t.equal(await feed.append('8200'), 8200)
  await feed.close()
})

test('recovery: a root is worked out from a node that is torn, which an earlier signature tells', async (t) => {
  const disk = new SimulatedDisk({})
  const open = () => ddatabase(disk.factory() as unknown as Storage)
  let feed = open()
  await feed.append(BLOCKS.slice(0, 4))
  await feed.append(BLOCKS.slice(4, 11))
  await feed.close()
  const tree = Buffer.from(disk.files.read('tree')!)
  const slot = (index: number) => 32 + 40 * index
  disk.files.put('tree', tree.fill(0, slot(3), slot(3) + 5).fill(0, slot(7), slot(8)))
  feed = open()
  await feed.ready()
  t.deepEqual([feed.length, feed.recovery?.healedNodes], [11, 2])
  t.deepEqual({ ...(await feed.audit()) }, { valid: 11, invalid: 0 })
  await feed.close()
  feed = open()
  await feed.ready()
  t.deepEqual([feed.length, feed.recovery], [11, null])
  await feed.close()
})

test('recovery: an append whose signature and bits of blocks were cut short is completed', async (t) => {
  const folder = await stored(t)
  const feed = ddatabase(folder)
  await feed.append(['one', 'two', 'three'])
  await feed.flush()
  const files = new MemoryFiles()
  for (const name of [
    'key',
    'secret_key',
    'tree',
    'data',
    'signatures',
    'bitfield',
    'checkpoint.0',
    'checkpoint.1'
  ]) {
    const content = await readFile(path.join(folder, name)).catch(() => null)
    if (content !== null) files.put(name, content)
  }
  await feed.close()
  // Of the signature there are four bytes; the bits of the tree were written, and those of the blocks were not.
  const end = 32 + 64 * (BLOCKS.length + 2)
  const signatures = Buffer.from(files.read('signatures')!)
  files.put('signatures', signatures.fill(0, end, end + 60))
  const bitfield = Buffer.from(files.read('bitfield')!)
  bitfield[32 + BLOCKS.length / 8] = 0
  files.put('bitfield', bitfield)
  const storage = Object.assign(files.factory(), { extraFiles: true }) as unknown as Storage
  const again = ddatabase(storage, { valueEncoding: 'utf-8' })
  await again.ready()
  t.deepEqual(
    [again.length, again.recovery?.foundBlocks, again.recovery?.signed],
    [BLOCKS.length + 3, 3, true]
  )
  t.equal(await again.get(BLOCKS.length + 2), 'three')
  t.equal(await again.append('four'), BLOCKS.length + 3)
  t.deepEqual({ ...(await again.audit()) }, { valid: BLOCKS.length + 4, invalid: 0 })
  await again.close()
})

test('behind: a signature beyond the end is seen, and nothing is appended below it', async (t) => {
  const folder = await stored(t)
  // A signature without its tree, as a power failure leaves it.
  await change(folder, 'signatures', () => {})
  const signatures = await readFile(path.join(folder, 'signatures'))
  await writeFile(
    path.join(folder, 'signatures'),
    Buffer.concat([signatures, Buffer.alloc(64), Buffer.alloc(64, 7)])
  )
  const feed = ddatabase(folder)
  const behind: number[] = []
  feed.on('behind', (length) => behind.push(length))
  const refused = await rejection(feed.append('x'), 'append')
  t.equal(refused.code, 'ERR_BEHIND')
  t.deepEqual(behind, [42])
  t.equal(await feed.flush(), 40, 'flush has nothing to sign')
  const [first, second] = await Promise.allSettled([feed.append('y'), feed.append('z', { force: true })])
  t.equal(second.status === 'fulfilled' && second.value, 40, 'whoever insists may')
  t.ok(first.status === 'rejected' || first.value === 41)
  await feed.close()
  const again = ddatabase(folder)
  t.ok((await again.append('w')) > 40, 'and is not asked again')
  await again.close()
})

/** Storages in memory that count and fail synchronisations: those of which `fails` answers a code. */
function syncable(files = new MemoryFiles()) {
  const state = {
    syncs: 0,
    fail: false,
    fails: (_name: string): string | null => (state.fail ? 'EIO' : null),
    synced: [] as string[],
    names: [] as string[]
  }
  const factory = files.factory()
  const storage = (name: string) => {
    state.names.push(name)
    return Object.assign(factory(name), {
      sync(callback: (error: Error | null) => void) {
        state.syncs++
        const code = state.fails(name)
        if (code === null) state.synced.push(name)
        setImmediate(callback, code === null ? null : Object.assign(new Error(code), { code }))
      }
    })
  }
  return { state, storage: storage as unknown as Storage, files }
}

test('durability: of a storage that cannot be synchronised', async (t) => {
  const storage = new MemoryFiles().factory() as unknown as Storage
  t.equal(
    (await rejection(ddatabase(storage, { durability: 'disk' }).ready(), 'ready')).code,
    'ERR_DURABILITY'
  )
  t.throws(() => ddatabase(storage, { durability: 'paper' as never }), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('durability: a storage function is asked for six names', async (t) => {
  const { state, storage } = syncable()
  const feed = ddatabase(storage)
  await feed.append('a')
  await feed.close()
  t.deepEqual(state.names.sort(), ['bitfield', 'data', 'key', 'secret_key', 'signatures', 'tree'])
})

test('durability: process does not wait for the disk, disk does, flush does in both', async (t) => {
  for (const durability of ['process', 'disk'] as const) {
    const { state, storage } = syncable()
    const feed = ddatabase(storage, { durability })
    await feed.ready()
    state.syncs = 0
    await feed.append('a')
    t.equal(
      state.syncs,
      durability === 'disk' ? 4 : 0,
      `${durability}: data and tree, then signature and bitfield`
    )
    await Promise.all(Array.from({ length: 50 }, (_, i) => feed.append(`${i}`)))
    t.ok(
      state.syncs <= 12,
      `${durability}: fifty appends at once share their synchronisations: ${state.syncs}`
    )
    const before = state.syncs
    await feed.append('b')
    await feed.flush()
    t.ok(state.syncs > before, `${durability}: flush`)
    await feed.close()
  }
})

test('durability: blocks from peers share synchronisations', async (t) => {
  const source = ddatabase(new MemoryFiles().factory() as unknown as Storage)
  await source.append(BLOCKS)
  const { state, storage } = syncable()
  const copy = ddatabase(storage, source.key, { durability: 'disk', sparse: true })
  await copy.ready()
  state.syncs = 0
  const told: number[] = []
  copy.on('download', (index) => told.push(index))
  await Promise.all(BLOCKS.map(async (block, i) => copy.put(i, block, await source.proof(i))))
  t.equal(told.length, BLOCKS.length)
  t.ok(state.syncs > 0 && state.syncs <= 2 * BLOCKS.length, `${state.syncs} synchronisations`)
  await copy.close()
  await source.close()
})

test('durability disk: a synchronisation that fails', async (t) => {
  const { state, storage, files } = syncable()
  const feed = ddatabase(storage, { durability: 'disk' })
  await feed.append('a')
  state.fail = true
  t.equal((await rejection(feed.append('b'), 'append')).code, 'ERR_STORAGE')
  t.equal(feed.length, 1, 'the append has not been')
  state.fail = false
  t.equal((await rejection(feed.append('c'), 'append')).code, 'ERR_WRITE_REFUSED', 'it is not tried again')
  t.deepEqual(await feed.get(0), Buffer.from('a'), 'reading goes on')
  await feed.close().catch(() => {})
  const again = ddatabase(syncable(files).storage, { durability: 'disk' })
  t.equal(await again.append('d'), 1, 'opened again, it works')
  await again.close()
})

test('durability process: a synchronisation that fails concerns flush and close alone', async (t) => {
  const { state, storage } = syncable()
  const feed = ddatabase(storage)
  await feed.append('a')
  state.fail = true
  t.equal((await rejection(feed.flush(), 'flush')).code, 'ERR_STORAGE')
  t.equal(await feed.append('b'), 1)
  t.equal((await rejection(feed.close(), 'close')).code, 'ERR_STORAGE')
  t.equal(feed.closed, true, 'closed all the same')
})

test('durability disk: who waits for a block that cannot be made durable gets it, as whoever asks then', async (t) => {
  const author = ddatabase(new MemoryFiles().factory())
  await author.append(['a', 'b'])
  const { state, storage } = syncable()
  const copy = ddatabase(storage, author.key, { sparse: true, durability: 'disk' })
  await copy.ready()
  let told = 0
  copy.on('download', () => told++)
  const waiting = copy.get(1)
  state.fail = true
  const stream = copy.replicate(true, { live: true })
  const remote = author.replicate(false, { live: true })
  for (const one of [stream, remote]) one.on('error', () => {})
  stream.pipe(remote).pipe(stream)
  t.equal(String(await within(waiting, 'the block')), 'b')
  t.equal(String(await copy.get(1, { wait: false })), 'b', 'the next one')
  t.equal(told, 0, 'it does not count as downloaded')
  await author.close()
  await copy.close().catch(() => {})
})

test('durability: a synchronisation that did not begin, as there were no descriptors left, is made up for', async (t) => {
  for (const durability of ['process', 'disk'] as const) {
    const { state, storage } = syncable()
    const feed = ddatabase(storage, { durability })
    await feed.append('a')
    for (const file of ['data', 'tree', 'signatures', 'bitfield']) {
      state.fails = (name) => (name === file ? 'EMFILE' : null)
      const change = durability === 'disk' ? feed.append('b') : feed.append('b').then(() => feed.flush())
      t.equal((await rejection(change, file)).code, 'ERR_STORAGE', `${durability}, ${file}`)
      state.fails = () => null
      state.synced = []
      await feed.append('c')
      await feed.flush()
      t.ok(state.synced.includes(file), 'synchronised with the next change')
    }
    t.equal(feed.length, durability === 'disk' ? 5 : 9, 'what was rejected has not been')
    await feed.close()
  }
})

test('durability: a failed synchronisation beside one that did not begin is not tried again', async (t) => {
  const { state, storage } = syncable()
  const feed = ddatabase(storage, { durability: 'disk' })
  await feed.append('a')
  state.fails = (name) => (name === 'data' ? 'EMFILE' : 'EIO')
  t.equal((await rejection(feed.append('b'), 'append')).code, 'ERR_STORAGE')
  state.fails = () => null
  t.equal((await rejection(feed.append('c'), 'append')).code, 'ERR_WRITE_REFUSED')
  await feed.close().catch(() => {})
})

test('recovery: checkpoints that were removed claim nothing when a power failure brings them back', async (t) => {
  const author = new SimulatedDisk({ extraFiles: true })
  // It knows nothing of names: what was removed is always back.
  const storageOf = (disk: SimulatedDisk) => disk.factory() as unknown as Storage
  const first = ddatabase(storageOf(author))
  await first.append(BLOCKS)
  await first.close()
  // Two leaves, and their blocks: one leaf alone would be worked out.
  for (const node of [20, 22]) author.files.writeAt('tree', 32 + 40 * node, Buffer.alloc(32, 7))
  const size = BLOCKS[10]!.byteLength + BLOCKS[11]!.byteLength
  author.files.writeAt('data', Buffer.concat(BLOCKS.slice(0, 10)).byteLength, Buffer.alloc(size, 7))

  const disk = new SimulatedDisk({ extraFiles: true }, author.files)
  const feed = ddatabase(storageOf(disk))
  t.equal((await rejection(feed.get(11, { wait: false }), 'get')).code, 'ERR_BLOCK_DAMAGED')
  await feed.flush()
  const files = disk.powerless(disk.now, new SeededRandom(7))
  await feed.close()
  const again = ddatabase(storageOf(new SimulatedDisk({ extraFiles: true }, files)))
  await again.ready()
  t.deepEqual([again.length, again.downloaded()], [BLOCKS.length, BLOCKS.length - 2])
  await again.close()
})
