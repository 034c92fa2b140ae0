/** Storages that lack something, and files that lack their end. */
import test from 'tape'
import type { RandomAccess, Storage, StorageFactory } from '../../src/index.ts'
import ddatabase from '../../src/index.ts'
import { failure, texts } from '../feed/feeds.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'

const factory = (files: MemoryFiles) => files.factory() as unknown as StorageFactory

test('incomplete: a node that is cut off is no node', async (t) => {
  const files = new MemoryFiles()
  const feed = ours()(files.factory())
  await feed.append(['b0', 'b1', 'b2'])
  await feed.append('block3')
  await feed.append('block4')
  await feed.close()
  const tree = files.read('tree')!
  for (const cut of [1, 8, 20, 39, 40]) {
    const torn = files.clone()
    torn.put('tree', tree.subarray(0, tree.byteLength - cut))
    torn.put('checkpoint', null)
    const [mine, theirs] = [ours()(torn.clone().factory()), published(torn.clone().factory())]
    await Promise.all([mine.ready(), theirs.ready()])
    t.deepEqual([mine.length, mine.byteLength], [theirs.length, 12], `${cut} bytes: as published`)
    await mine.append('next')
    const blocks = ['b0', 'b1', 'b2', 'block3', 'next'].map((text) => Buffer.from(text))
    await assertFeedIs(mine, { blocks })
    await Promise.all([mine.close(), theirs.close()])
  }
})

/** Storages with these methods only. */
function only(files: MemoryFiles, which: (name: string) => readonly (keyof RandomAccess)[] | null): Storage {
  const make = factory(files)
  return ((name: string, options: object) => {
    const raw = make(name, options)
    const methods = which(name)
    if (methods === null) return raw
    const storage: Record<string, unknown> = {
      statable: methods.includes('stat'),
      open: raw.open?.bind(raw),
      get opened() {
        return raw.opened
      },
      get closed() {
        return raw.closed
      }
    }
    for (const method of methods) storage[method] = (raw[method] as (...args: unknown[]) => void).bind(raw)
    return storage
  }) as unknown as Storage
}

/** Sizes cannot be told; a read beyond the end fails without a code. */
function withoutStat(storage: Record<string, unknown>): void {
  delete storage.stat
  storage.statable = false
  const read = storage.read as (
    offset: number,
    size: number,
    callback: (...answer: unknown[]) => void
  ) => void
  storage.read = (offset: number, size: number, callback: (...answer: unknown[]) => void) =>
    read(offset, size, (error, data) => callback(error && new Error((error as Error).message), data))
}

const isKey = (name: string) => name === 'key' || name === 'secret_key'

test('incomplete: key files that can only be read', async (t) => {
  for (const methods of [['stat', 'read', 'close'], ['read', 'close'], ['read']] as const) {
    const files = new MemoryFiles()
    const first = ddatabase<unknown>(factory(files))
    await first.append('a')
    await first.close()
    const storage = only(files, (name) => (isKey(name) ? methods : null))
    const feed = ddatabase<unknown>(storage, first.key)
    await feed.ready()
    t.deepEqual([feed.writable, await feed.append('b')], [true, 1], methods.join())
    await feed.close()
    // Nothing is stored, and so the key would have to be written.
    const none = ddatabase(only(new MemoryFiles(), (name) => (isKey(name) ? methods : null)))
    t.equal((await failure(none.ready())).code, 'ERR_STORAGE', 'a write is refused')
  }
  const bad = ddatabase((() => ({ write() {} })) as unknown as Storage)
  t.equal((await failure(bad.ready())).code, 'ERR_INVALID_ARG_TYPE', 'reading is needed')
})

type Callback = (error: null) => void

/** Ways not to delete, and not to know a size. */
const LACKS: Record<string, (storage: Record<string, unknown>) => void> = {
  'no del': (storage) => delete storage.del,
  'no del and no stat': (storage) => {
    delete storage.del
    withoutStat(storage)
  },
  'no stat': withoutStat,
  'not deletable': (storage) => {
    storage.deletable = false
  },
  'a del that does nothing': (storage) => {
    storage.del = (_offset: number, _size: number, callback: Callback) => callback(null)
  },
  'a del that does nothing, and no stat': (storage) => {
    storage.del = (_offset: number, _size: number, callback: Callback) => callback(null)
    withoutStat(storage)
  },
  'a del that works at the end only': (storage) => {
    const del = storage.del as (offset: number, size: number, callback: Callback) => void
    const stat = storage.stat as (callback: (error: unknown, stat: { size: number }) => void) => void
    storage.del = (offset: number, size: number, callback: Callback) =>
      stat((_error, stat) => (offset + size < stat.size ? callback(null) : del(offset, size, callback)))
  }
}

function lacking(files: MemoryFiles, change: (storage: Record<string, unknown>) => void): Storage {
  const make = only(files, () => ['read', 'write', 'stat', 'del', 'close']) as unknown as StorageFactory
  return ((file: string, options: object) => {
    const made = make(file, options) as unknown as Record<string, unknown>
    change(made)
    return made
  }) as unknown as Storage
}

test('incomplete: overwrite where nothing can be deleted', async (t) => {
  for (const [name, change] of Object.entries(LACKS)) {
    const storage = lacking(new MemoryFiles(), change)
    const old = ddatabase<unknown>(storage)
    await old.append(Array.from({ length: 9000 }, (_, i) => `block ${i}`))
    await old.close()
    const feed = ddatabase<unknown>(storage, null, { overwrite: true })
    await feed.ready()
    t.deepEqual([feed.length, feed.downloaded()], [0, 0], name)
    await feed.close()
    const again = ddatabase<unknown>(storage)
    await again.ready()
    t.deepEqual([again.length, again.downloaded(), await again.append('new')], [0, 0, 0], `${name}: reopened`)
    t.deepEqual(again.key, feed.key)
    await again.close()
    const last = ddatabase<unknown>(storage)
    await last.ready()
    t.deepEqual([last.length, texts([await last.get(0)])], [1, ['new']])
    t.deepEqual({ ...(await last.audit()) }, { valid: 1, invalid: 0 })
    await last.close()
  }
})

test('incomplete: overwrite by a copy of another feed where nothing can be deleted', async (t) => {
  const other = ddatabase<unknown>(factory(new MemoryFiles()) as never)
  await other.append('other')
  for (const [name, change] of Object.entries(LACKS)) {
    const storage = lacking(new MemoryFiles(), change)
    const old = ddatabase<unknown>(storage)
    await old.append('old')
    await old.close()
    const copy = ddatabase<unknown>(storage, other.key, { overwrite: true })
    await copy.ready()
    await copy.close()
    const again = ddatabase<unknown>(storage)
    await again.ready()
    t.deepEqual([again.writable, again.secretKey, again.length], [false, null, 0], name)
    t.deepEqual(again.key, other.key)
    await again.close()
  }
  await other.close()
})

test('incomplete: truncate where nothing can be deleted', async (t) => {
  for (const [name, change] of Object.entries(LACKS)) {
    const storage = lacking(new MemoryFiles(), change)
    const feed = ddatabase<unknown>(storage)
    await feed.append(Array.from({ length: 2000 }, (_, i) => `block ${i}`))
    for (let i = 0; i < 10; i++) await feed.append(`one ${i}`)
    await feed.truncate(5)
    await feed.close()
    const again = ddatabase<unknown>(storage)
    await again.ready()
    t.deepEqual([again.length, again.downloaded(), again.recovery], [5, 5, null], `${name}: not undone`)
    t.equal(await again.append('new'), 5)
    await again.close()
    const last = ddatabase<unknown>(storage)
    await last.ready()
    t.deepEqual([last.length, texts([await last.get(5)])], [6, ['new']])
    t.deepEqual({ ...(await last.audit()) }, { valid: 6, invalid: 0 })
    await last.close()
  }
})

/** Files of ten blocks of an author, who has signed twenty. */
async function behind(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(factory(files))
  for (let i = 0; i < 10; i++) await feed.append(`block ${i}`)
  const early = files.clone()
  for (let i = 10; i < 20; i++) await feed.append(`block ${i}`)
  await feed.close()
  early.put('signatures', files.read('signatures'))
  return early
}

const slot = (files: MemoryFiles, block: number) =>
  files.read('signatures')!.subarray(32 + 64 * block, 32 + 64 * (block + 1))

test('incomplete: truncate below a history that was lost, where the end alone can be deleted', async (t) => {
  const files = await behind()
  const lost = Buffer.from(slot(files, 19))
  const storage = lacking(files, LACKS['a del that works at the end only']!)
  const feed = ddatabase<unknown>(storage)
  await feed.ready()
  t.equal((await failure(feed.append('other'))).code, 'ERR_BEHIND')
  await feed.truncate(5)
  await feed.close()
  const again = ddatabase<unknown>(storage)
  await again.ready()
  t.equal(again.length, 5, 'not undone')
  t.equal((await failure(again.append('other'))).code, 'ERR_BEHIND')
  t.ok(lost.equals(slot(files, 19)), 'what tells of the lost history stays')
  await again.close()
})

test('incomplete: a history that was lost is given up, where the end alone can be deleted', async (t) => {
  const files = await behind()
  const feed = ddatabase<unknown>(lacking(files, LACKS['a del that works at the end only']!))
  t.equal(await feed.append(['a', 'b', 'c'], { force: true }), 10)
  await feed.close()
  for (const block of [10, 11])
    t.ok(
      slot(files, block).every((byte) => byte === 0),
      `nothing of it: ${block}`
    )
  t.equal(files.read('signatures')!.byteLength, 32 + 13 * 64)
})

test('incomplete: where the end is cut, nothing of it is read', async (t) => {
  const operations: string[] = []
  const hook = {
    before(file: string, operation: string) {
      if (file === 'signatures') operations.push(operation)
      return undefined
    }
  }
  const feed = ddatabase<unknown>(new MemoryFiles().factory(hook) as unknown as Storage)
  for (let i = 0; i < 10; i++) await feed.append(`block ${i}`)
  await feed.truncate(5)
  const behindDel = operations.slice(operations.lastIndexOf('del') + 1)
  t.ok(
    operations.includes('del') && !behindDel.includes('read') && !behindDel.includes('write'),
    `${behindDel}`
  )
  await feed.close()
})
