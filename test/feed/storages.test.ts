/** What may be passed as storage, and how it is asked (spec API §1, FORMAT §10). */
import { access, readdir, truncate } from 'node:fs/promises'
import path from 'node:path'
import RAF from 'random-access-file'
import RAM from 'random-access-memory'
import test from 'tape'
import ddatabase, { type Feed, type Storage } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles, SIX_FILES } from '../helpers/memory-files.ts'
import { within } from '../helpers/watchdog.ts'
import { failure, memory, refusal, texts } from './feeds.ts'

const IN_ORDER = ['key', 'secret_key', 'tree', 'data', 'bitfield', 'signatures']

async function works(feed: Feed<unknown>): Promise<string[]> {
  await within(feed.append(['a', 'b']), 'append')
  return texts((await within(feed.getBatch(0, 2), 'getBatch')) as Uint8Array[])
}

test('storages: a directory', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'deep', 'er')
  const feed = ddatabase<unknown>(folder)
  t.deepEqual(await works(feed), ['a', 'b'])
  await feed.close()
  t.deepEqual(
    (await readdir(folder)).sort(),
    [...SIX_FILES, 'checkpoint.0', 'checkpoint.1'].sort(),
    'the six files and the checkpoints'
  )
  const again = ddatabase<unknown>(folder)
  await again.ready()
  t.deepEqual([again.length, again.writable], [2, true])
  await again.destroyStorage()
  const left = await readdir(folder).catch(() => [])
  t.deepEqual(left, [], 'destroyStorage removes them')
})

test('storages: opening to read creates no content', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'replica')
  const feed = ddatabase(folder, Buffer.alloc(32, 1))
  await feed.ready()
  await feed.close()
  t.deepEqual((await readdir(folder)).sort(), ['bitfield', 'checkpoint.0', 'key', 'signatures', 'tree'])
  await access(path.join(folder, 'key'))
})

test('storages: a class', async (t) => {
  const feed = ddatabase<unknown>(RAM as unknown as Storage)
  t.deepEqual(await works(feed), ['a', 'b'])
  await feed.close()
})

test('storages: a function, asked for the six names in order', async (t) => {
  for (const kind of ['fresh', 'stored', 'replica'] as const) {
    const files = new MemoryFiles()
    if (kind === 'stored') {
      const first = ddatabase<unknown>(memory(files))
      await first.append('x')
      await first.close()
    }
    const make = files.factory()
    const asked: { name: string; options: Record<string, unknown>; rest: number }[] = []
    const storage = (name: string, options: Record<string, unknown>, ...rest: unknown[]) => {
      asked.push({ name, options: { ...options }, rest: rest.length })
      return make(name)
    }
    const key = kind === 'replica' ? Buffer.alloc(32, 1) : null
    const feed = ddatabase<unknown>(storage as unknown as Storage, key)
    await feed.ready()
    t.deepEqual(
      asked.map(({ name }) => name),
      IN_ORDER,
      `${kind}: the names`
    )
    t.deepEqual(asked[0]!.options, {}, `${kind}: nothing is known yet when the key is asked for`)
    for (const { name, options } of asked.slice(1)) {
      t.deepEqual(
        options,
        { key: feed.key, discoveryKey: feed.discoveryKey },
        `${kind}: ${name} gets the keys`
      )
    }
    const count = asked.length
    if (kind !== 'replica') await works(feed)
    await feed.close()
    t.ok(
      asked.slice(count).every(({ name }) => !IN_ORDER.includes(name)),
      `${kind}: each is asked for once`
    )
  }
})

test('storages: the keys given for a static feed are null', async (t) => {
  const make = new MemoryFiles().factory()
  const asked: unknown[] = []
  const storage = (name: string, options: object) => {
    if (name !== 'key') asked.push(options)
    return make(name)
  }
  const feed = ddatabase(storage as unknown as Storage, { live: false })
  await feed.ready()
  t.deepEqual(asked, new Array(5).fill({ key: null, discoveryKey: null }))
  await feed.close()
})

test('storages: an arrow function, a bound one and a method', async (t) => {
  const make = new MemoryFiles()
  const holder = {
    files: make,
    storage(name: string) {
      return this.files.factory()(name)
    }
  }
  const feed = ddatabase<unknown>(holder.storage.bind(holder) as unknown as Storage)
  t.deepEqual(await works(feed), ['a', 'b'])
  await feed.close()
  function plain(name: string) {
    return new MemoryFiles().factory()(name)
  }
  const another = ddatabase<unknown>(plain as unknown as Storage)
  t.deepEqual(await works(another), ['a', 'b'])
  await another.close()
})

test('storages: with a name in front of each file', async (t) => {
  const files = new MemoryFiles()
  const make = files.factory()
  const two = ['content.', 'metadata.'].map((prefix) =>
    ddatabase<unknown>(((name: string) => make(prefix + name)) as unknown as Storage)
  )
  for (const feed of two) t.deepEqual(await works(feed), ['a', 'b'])
  t.notDeepEqual(two[0]!.key, two[1]!.key)
  for (const feed of two) await feed.close()
  t.deepEqual(
    Object.keys(files.toHex()).sort(),
    [...SIX_FILES].flatMap((name) => [`content.${name}`, `metadata.${name}`]).sort()
  )
})

test('storages: one that can only read, for the keys', async (t) => {
  const files = new MemoryFiles()
  const first = ddatabase<unknown>(memory(files))
  await first.append('x')
  const { key } = first
  await first.close()
  const make = files.factory()
  const storage = (name: string) => {
    if (name !== 'key' && name !== 'secret_key') return make(name)
    const stored = Buffer.from(files.read(name)!)
    return {
      read: (offset: number, size: number, callback: (error: null, data: Buffer) => void) =>
        setImmediate(callback, null, stored.subarray(offset, offset + size)),
      write: () => {
        throw new Error('no write is needed')
      },
      close: (callback: (error: null) => void) => callback(null)
    }
  }
  const feed = ddatabase<unknown>(storage as unknown as Storage, key)
  t.equal(await within(feed.append('y'), 'append'), 1, 'keys that are stored are not written again')
  await feed.close()
})

for (const [what, methods] of [
  ['nothing but read and write', ['read', 'write', 'close']],
  ['stat as well', ['read', 'write', 'close', 'stat']]
] as const) {
  test(`storages: files in a wrapper that has ${what}`, async (t) => {
    const folder = await temporaryFolder(t)
    const storage = ((name: string) => {
      const file = new RAF(name, { directory: folder })
      const has = methods.map((method) => [method, file[method].bind(file)])
      return { ...Object.fromEntries(has), statable: methods.length === 4 }
    }) as unknown as Storage
    const first = ddatabase<unknown>(storage)
    t.deepEqual(await works(first), ['a', 'b'])
    await first.close()
    const again = ddatabase<unknown>(storage)
    await within(again.ready(), 'ready')
    t.deepEqual([again.length, again.writable, again.key], [2, true, first.key], 'it is there again')
    t.equal(await again.append('c'), 2)
    await again.close()

    for (const [file, code] of [
      ['secret_key', 'ERR_SECRET_KEY_DAMAGED'],
      ['key', 'ERR_KEY_DAMAGED']
    ] as const) {
      await truncate(path.join(folder, file), 10)
      const damaged = ddatabase(storage)
      const error = await failure(damaged.ready())
      t.equal(error.code, code, `no other ${file} takes the place of one that was cut`)
      await damaged.close()
    }
  })
}

test('storages: one that keeps what it is given', async (t) => {
  // As those do that answer before they have written, or whose pages are what was written.
  const kept = new Map<string, { offset: number; data: Uint8Array }[]>()
  const storage = ((name: string) => {
    const writes = kept.get(name) ?? []
    kept.set(name, writes)
    return {
      read(offset: number, size: number, callback: (error: Error | null, data?: Buffer) => void) {
        const end = Math.max(0, ...writes.map((write) => write.offset + write.data.byteLength))
        if (offset + size > end) {
          callback(new Error('Could not satisfy length'))
          return
        }
        const content = Buffer.alloc(end)
        for (const write of writes) content.set(write.data, write.offset)
        callback(null, content.subarray(offset, offset + size))
      },
      write(offset: number, data: Uint8Array, callback: (error: null) => void) {
        writes.push({ offset, data })
        callback(null)
      }
    }
  }) as unknown as Storage
  const feed = ddatabase<unknown>(storage)
  // Into the second page of bits, and changes of both in turns.
  await feed.append(Array.from({ length: 8190 }, (_, i) => `${i}`))
  for (let i = 0; i < 10; i++) await feed.append('more')
  for (let i = 0; i < 6; i++) {
    await feed.clear(i)
    await feed.append('last')
  }
  await feed.close()
  const again = ddatabase<unknown>(storage)
  await within(again.ready(), 'ready')
  t.deepEqual([again.length, again.downloaded()], [8206, 8200], 'the memory of a page was not used again')
  t.deepEqual(texts([(await again.get(6)) as Uint8Array, (await again.head()) as Uint8Array]), ['6', 'last'])
  await again.close()
})

test('storages: a function whose storages are promises or nonsense', async (t) => {
  const make = new MemoryFiles().factory()
  const answers: Record<string, unknown> = {
    'a promise': Promise.resolve(make('key')),
    null: null,
    'a number': 5,
    'an object without methods': {}
  }
  for (const [what, answer] of Object.entries(answers)) {
    const feed = ddatabase((() => answer) as unknown as Storage)
    t.equal((await failure(feed.ready())).code, 'ERR_INVALID_ARG_TYPE', what)
    await feed.close()
  }
  const boom = new Error('boom')
  const feed = ddatabase(() => {
    throw boom
  })
  const error = await failure(feed.ready())
  t.equal(error.code, 'ERR_STORAGE', 'a function that throws')
  t.equal(error.cause, boom, 'the cause is kept')
  await feed.close()
})

test('storages: what one says of a failure is told, also if it is no Error', async (t) => {
  for (const [said, told] of [
    [{ message: 'no such bucket' }, 'no such bucket'],
    [new Error('no such disk'), 'no such disk'],
    ['no such file', 'no such file'],
    [{ message: 7 }, '[object Object]'],
    [true, 'true']
  ] as const) {
    const make = new MemoryFiles().factory()
    const feed = ddatabase<unknown>(((name: string) => {
      const file = make(name)
      if (name === 'data') file.write = (_offset, _data, callback) => callback?.(said as Error)
      return file
    }) as Storage)
    const error = await failure(feed.append('x'))
    t.deepEqual([error.code, error.message], ['ERR_STORAGE', `The storage failed: ${told}`])
    t.equal(error.cause, said)
    await feed.close()
  }
})

test('storages: a failed opening can be tried again', async (t) => {
  const make = new MemoryFiles().factory()
  let ready = false
  const feed = ddatabase<unknown>(((name: string) => {
    if (!ready) throw new Error('not yet')
    return make(name)
  }) as Storage)
  t.equal(await refusal(feed.ready()), 'ERR_STORAGE: The storage failed: not yet')
  t.deepEqual([feed.opened, feed.opening, feed.closed], [false, false, false])
  ready = true
  t.deepEqual(await works(feed), ['a', 'b'], 'the next call opens')
  t.equal(feed.opened, true)
  await feed.close()
})
