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

test('incomplete: overwrite where nothing can be deleted', async (t) => {
  const full = ['read', 'write', 'stat', 'del', 'close'] as const
  const cases: Record<string, (storage: Record<string, unknown>) => void> = {
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
      storage.del = (_offset: number, _size: number, callback: (error: null) => void) => callback(null)
    }
  }
  for (const [name, change] of Object.entries(cases)) {
    const files = new MemoryFiles()
    const make = only(files, () => full) as unknown as StorageFactory
    const storage = ((file: string, options: object) => {
      const made = make(file, options) as unknown as Record<string, unknown>
      change(made)
      return made
    }) as unknown as Storage
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
