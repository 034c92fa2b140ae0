/** The contract of a storage: what a StorageFile makes of every kind of storage that a feed can be given. */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import vm from 'node:vm'
import RandomAccessFile from 'random-access-file'
import RandomAccessMemory from 'random-access-memory'
import test, { type Test } from 'tape'
import ddatabase from '../../src/index.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import {
  type RandomAccess,
  type StorageFactory,
  StorageFile,
  toFactory
} from '../../src/storage/random-access.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { rejection, within } from '../helpers/watchdog.ts'
import { CONFORMANCE, type StorageTraits } from './conformance.ts'

const require = createRequire(import.meta.url)
// random-access-storage 1 in its two common forms, the second being what the published package stores in.
const RandomAccessMemory3 = require('random-access-memory-3') as new () => RandomAccess
const publishedStorage = createRequire(require.resolve('ddatabase-published'))(
  '@ddatabase/default-storage'
) as (name: string, options: { directory: string }) => RandomAccess

function temporaryFolder(t: Test): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ddatabase-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (data: Uint8Array | null): string | null =>
  data === null ? null : Buffer.from(data).toString('latin1')
const coded = (code: string): Error => Object.assign(new Error(code), { code })

/** A storage that has nothing but `read` and `write`, with the given parts replaced. */
function minimal(parts: Partial<RandomAccess> = {}): RandomAccess {
  const { read, write } = new MemoryFiles().plainFactory()('data')
  return { read, write, ...parts } as RandomAccess
}

interface Kind extends StorageTraits {
  create(folder: string): RandomAccess
}

const FILES = { persistent: true, complete: true, immediate: false, strict: false }
const MEMORY = { persistent: false, complete: true, immediate: false, strict: false }

const KINDS: Kind[] = [
  {
    ...FILES,
    name: 'directory storage',
    immediate: true,
    strict: true,
    create: (folder) => directoryStorage(folder)('data', {})
  },
  {
    ...FILES,
    name: 'directory storage without synchronous calls',
    strict: true,
    create: (folder) => directoryStorage(folder, { sync: false })('data', {})
  },
  {
    ...FILES,
    name: 'random-access-file 4',
    create: (directory) => new RandomAccessFile('data', { directory })
  },
  {
    ...FILES,
    name: 'random-access-file 2',
    create: (directory) => publishedStorage('data', { directory })
  },
  { ...MEMORY, name: 'random-access-memory 6', create: () => new RandomAccessMemory() },
  { ...MEMORY, name: 'random-access-memory 3', create: () => new RandomAccessMemory3() },
  { ...MEMORY, complete: false, name: 'only read and write', create: () => minimal() }
]

for (const kind of KINDS) {
  for (const { name, run } of CONFORMANCE) {
    test(`${kind.name}: ${name}`, async (t) => {
      const folder = temporaryFolder(t)
      await run(t, kind, {
        create: () => kind.create(folder),
        stored: async () => fs.existsSync(path.join(folder, 'data'))
      })
    })
  }
}

test('destroy: order, choice of the method, errors', async (t) => {
  const calls: string[] = []
  const done =
    (name: string, error: Error | null) => (callback: (error: Error | null, value: undefined) => void) => {
      calls.push(name)
      callback(error, undefined)
    }
  await new StorageFile(
    minimal({ close: done('close', null), destroy: done('destroy', coded('ENOENT')) })
  ).destroy()
  t.same(calls.splice(0), ['close', 'destroy'], 'closed before it is destroyed; what is missing is no error')
  await new StorageFile(minimal({ unlink: done('unlink', null), destroy: done('destroy', null) })).destroy()
  t.same(calls.splice(0), ['unlink'], 'only one of both')
  const failing = new StorageFile(minimal({ unlink: done('unlink', coded('EPERM')) }))
  t.equal((await rejection(failing.destroy(), 'destroy')).code, 'EPERM', 'other errors pass')
})

test('a failed close can be repeated, a successful one happens once', async (t) => {
  let calls = 0
  const file = new StorageFile(
    minimal({ close: (callback) => callback(++calls === 1 ? coded('EIO') : null, undefined) })
  )
  t.equal((await rejection(file.close(), 'close')).code, 'EIO')
  await file.close()
  await file.close()
  t.equal(calls, 2)
})

test('absent: with stat', async (t) => {
  const file = (answer: Error | { size: number }, read: RandomAccess['read'] = minimal().read): StorageFile =>
    new StorageFile(
      minimal({
        statable: true,
        read,
        stat: (callback) => (answer instanceof Error ? callback(answer, { size: 0 }) : callback(null, answer))
      })
    )
  const broken: RandomAccess['read'] = (_offset, _size, callback) => callback(new Error('no code'), bytes(''))

  t.equal(await file(coded('ENOENT')).readIfPresent(0, 3), null, 'ENOENT')
  t.equal(await file(coded('ENOENT')).size(), 0, 'ENOENT is size 0')
  t.equal(await file({ size: 0 }).readIfPresent(0, 3), null, 'size 0')
  for (const error of [coded('EIO'), coded('EACCES'), new Error('no code')]) {
    t.equal(await rejection(file(error).readIfPresent(0, 3), 'stat'), error, `stat: ${error.message} rejects`)
    t.equal(await rejection(file(error).size(), 'size'), error, 'size too')
  }
  t.equal(
    (await rejection(file({ size: 2 }).readIfPresent(0, 3), 'short')).code,
    'ERR_STORAGE',
    'too short rejects'
  )
  t.equal(
    (await rejection(file({ size: 5 }).readIfPresent(32, 3), 'short')).code,
    'ERR_STORAGE',
    'ends before'
  )
  t.equal((await rejection(file({ size: 3 }, broken).readIfPresent(0, 3), 'read')).message, 'no code')
  t.equal(
    (await rejection(file({} as { size: number }).size(), 'stat')).code,
    'ERR_STORAGE',
    'a stat without a size'
  )
})

test('absent: without a usable stat', async (t) => {
  const unusable: Partial<RandomAccess>[] = [
    {},
    { statable: true },
    { statable: false, stat: (callback) => callback(null, { size: 3 }) },
    { statable: 1 as unknown as boolean, stat: (callback) => callback(null, { size: 3 }) }
  ]
  for (const parts of unusable) {
    const file = (error: Error | null, data = bytes('abc')): StorageFile =>
      new StorageFile(minimal({ ...parts, read: (_offset, _size, callback) => callback(error, data) }))
    t.equal(await file(null).size(), null, 'the size is unknown')
    t.equal(text(await file(null).readIfPresent(0, 3)), 'abc', 'present')
    t.equal(await file(coded('ENOENT')).readIfPresent(0, 3), null, 'ENOENT')
    t.equal(await file(new Error('no code')).readIfPresent(0, 3), null, 'an error without a code')
    t.equal(await file(coded('EPARTIALREAD')).readIfPresent(0, 3), null, 'the file ends before')
    for (const code of ['EIO', 'EACCES', 'ELOCKED']) {
      t.equal((await rejection(file(coded(code)).readIfPresent(0, 3), code)).code, code, `${code} rejects`)
    }
    const short = file(null, bytes('ab')).readIfPresent(0, 3)
    t.equal((await rejection(short, 'short')).code, 'ERR_STORAGE', 'too few bytes')
  }
  const throwing = minimal({
    read: () => {
      throw new Error('a defect')
    }
  })
  const thrown = await rejection(new StorageFile(throwing).readIfPresent(0, 3), 'read')
  t.equal(thrown.message, 'a defect', 'what is thrown does not mean absent')
})

test('the answer must have the size that was asked for', async (t) => {
  const answers: unknown[] = [bytes('ab'), bytes('abcd'), bytes(''), null, undefined, 'abc', {}]
  // Of that size, and not bytes.
  answers.push(new ArrayBuffer(3), new DataView(new ArrayBuffer(3)))
  for (const answer of answers) {
    const file = new StorageFile(
      minimal({ read: (_offset, _size, callback) => callback(null, answer as Uint8Array) })
    )
    t.equal((await rejection(file.read(0, 3), 'read')).code, 'ERR_STORAGE', `got ${JSON.stringify(answer)}`)
    const read = file.readOrAbsent(0, 3)
    t.equal((await rejection(read, 'readOrAbsent')).code, 'ERR_STORAGE', 'nor is it absent')
  }
  const file = new StorageFile(minimal({ readSync: () => bytes('ab') }))
  t.throws(() => file.readSync(0, 3), { code: 'ERR_STORAGE' }, 'at once as well')
})

test('bytes of another realm are bytes', async (t) => {
  const foreign = vm.runInNewContext('new Uint8Array([0, 1, 2, 3, 4]).subarray(1, 4)') as Uint8Array
  t.notOk(foreign instanceof Uint8Array)
  const file = new StorageFile(minimal({ read: (_offset, _size, callback) => callback(null, foreign) }))
  for (const data of [await file.read(0, 3), await file.readOrAbsent(0, 3)]) {
    t.ok(data instanceof Uint8Array)
    t.same([...data!], [1, 2, 3])
  }
  const feed = ddatabase(vm.runInNewContext(STORAGE, { setImmediate }))
  await feed.append(['hello', 'world'])
  const copy = ddatabase(RandomAccessMemory as never, feed.key)
  await copy.ready()
  const stream = feed.replicate(true)
  stream.pipe(copy.replicate(false)).pipe(stream)
  t.equal(String(await within(copy.get(1), 'a block')), 'world', 'also for peers')
})

// All of it in another realm.
const STORAGE = `(function () {
  let content = new Uint8Array(0)
  return {
    read(offset, size, callback) {
      const enough = offset + size <= content.length
      setImmediate(callback, enough ? null : new Error('too short'), content.slice(offset, offset + size))
    },
    write(offset, data, callback) {
      const longer = new Uint8Array(Math.max(content.length, offset + data.length))
      longer.set(content)
      longer.set(data, offset)
      content = longer
      setImmediate(callback, null)
    }
  }
})`

test('synchronous calls and sync are optional', async (t) => {
  const plain = new StorageFile(minimal())
  t.equal(plain.readSync(0, 3), null)
  t.equal(plain.writeSync(0, bytes('abc')), false)
  await plain.sync()

  const written: string[] = []
  const able = new StorageFile(
    minimal({
      readSync: () => bytes('abc'),
      writeSync: (offset, data) => written.push(`${offset} ${text(data)}`) > 0,
      sync: (callback) => callback(coded('EIO'), undefined)
    })
  )
  t.equal(text(able.readSync(0, 3)), 'abc')
  t.equal(able.writeSync(7, bytes('x')), true)
  t.same(written, ['7 x'])
  t.equal((await rejection(able.sync(), 'sync')).code, 'EIO')
})

/** All calls of a file that answer with a promise. */
function calls(file: StorageFile): [string, () => Promise<unknown>][] {
  return [
    ['read', () => file.read(0, 3)],
    ['write', () => file.write(0, bytes('abc'))],
    ['del', () => file.del(0, 3)],
    ['sync', () => file.sync()],
    ['close', () => file.close()],
    ['destroy', () => file.destroy()]
  ]
}

test('errors pass through as they are, and what a storage throws rejects', async (t) => {
  const error = coded('ENOSPC')
  const answer = (...args: unknown[]): void => (args.at(-1) as (error: Error) => void)(error)
  const throws = (): never => {
    throw error
  }
  for (const fail of [answer, throws]) {
    const parts = { read: fail, write: fail, del: fail, stat: fail, close: fail, unlink: fail, sync: fail }
    for (const [name, call] of calls(new StorageFile(parts)))
      t.equal(await rejection(call(), name), error, name)
    t.equal(await rejection(new StorageFile({ ...parts, statable: true }).size(), 'stat'), error, 'stat')
  }
})

test('only the first answer of a call counts', async (t) => {
  const file = (first: Error | null, second: Error | null): StorageFile => {
    const answer = (...args: unknown[]): void => {
      const callback = args.at(-1) as (error: Error | null, value?: unknown) => void
      callback(first, Object.assign(bytes('abc'), { size: 3 }))
      callback(second, Object.assign(bytes('xyz!'), { size: 4 }))
    }
    const parts = { read: answer, write: answer, del: answer, stat: answer, close: answer, unlink: answer }
    return new StorageFile({ ...parts, sync: answer, statable: true })
  }
  const good = file(null, coded('EIO'))
  t.equal(await good.size(), 3)
  t.equal(text(await good.readIfPresent(0, 3)), 'abc')
  t.equal(text((await good.read(0, 3)) as Uint8Array), 'abc')
  for (const [name, call] of calls(good)) await within(call(), name)
  for (const [name, call] of calls(file(coded('EIO'), null))) {
    t.equal((await rejection(call(), name)).code, 'EIO', name)
  }
})

test('del is nothing for storages that cannot', async (t) => {
  let calls = 0
  const del = (): void => {
    calls++
  }
  await new StorageFile(minimal()).del(0, 10)
  await new StorageFile(minimal({ deletable: false, del })).del(0, 10)
  t.equal(calls, 0)
})

test('a failed opening is tried again', async (t) => {
  for (const kind of KINDS.filter((kind) => kind.persistent)) {
    const blocked = path.join(temporaryFolder(t), 'blocked')
    fs.writeFileSync(blocked, 'a file where a folder should be')
    const file = new StorageFile(kind.create(blocked))
    t.equal((await rejection(file.read(0, 1), 'read')).code, 'ENOTDIR', `${kind.name}: read`)
    t.ok((await rejection(file.write(0, bytes('abc')), 'write')).code, 'write')
    t.ok((await rejection(file.write(0, bytes('abc')), 'write')).code, 'the second error has a code as well')
    fs.rmSync(blocked)
    await file.write(0, bytes('abc'))
    t.equal(text(await file.read(0, 3)), 'abc', 'works as soon as the reason is gone')
    await file.close()
  }
})

test('toFactory', async (t) => {
  const plain: StorageFactory = () => new RandomAccessMemory()
  t.equal(toFactory(plain), plain, 'a function is called as it is')

  const seen: unknown[] = []
  class Storage extends RandomAccessMemory {
    constructor(...args: unknown[]) {
      super()
      seen.push(...args)
    }
  }
  const options = { key: null, discoveryKey: null }
  t.ok((toFactory(Storage)('tree', options) as unknown) instanceof Storage, 'a class is constructed')
  t.same(seen, ['tree', options], 'with name and options')
  t.ok(
    (toFactory(RandomAccessMemory)('key', {}) as unknown) instanceof RandomAccessMemory,
    'RandomAccessMemory'
  )
  t.ok(toFactory(class {})('key', {}), 'a class without a name')

  // Functions whose source text begins like a class. Made from text, because a formatter may change it.
  for (const source of ['classify => classify + "!"', '({ class(name) { return name + "!" } }).class']) {
    const storage: unknown = new Function(`return ${source}`)()
    t.equal(toFactory(storage)('key', {}) as unknown, 'key!', source)
  }
  for (const source of ['class{}', 'class A{}', 'class/**/A{}', 'class\nA {}']) {
    const storage: unknown = new Function(`return ${source}`)()
    t.ok(toFactory(storage)('key', {}), JSON.stringify(source))
  }

  for (const wrong of [undefined, null, 7, {}, [], './dir', new RandomAccessMemory()]) {
    t.throws(
      () => toFactory(wrong),
      { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message: 'Storage should be a function or string' },
      String(wrong)
    )
  }
})

test('what a factory answers is checked when a file is made of it', async (t) => {
  for (const wrong of [undefined, null, 7, 'data', {}, { write() {} }]) {
    const factory = toFactory(() => wrong)
    t.throws(() => new StorageFile(factory('key', {})), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })
  }
  const throwing = toFactory(() => {
    throw new Error('from the factory')
  })
  t.throws(() => throwing('key', {}), /from the factory/, 'what it throws passes')
})
