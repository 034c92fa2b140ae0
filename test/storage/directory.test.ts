/** Files in a directory. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import native from 'fs-native-extensions'
import type RandomAccessStorage from 'random-access-storage'
import test, { type Test } from 'tape'
import { Feed } from '../../src/index.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { replace, systemError, watchDescriptors } from '../helpers/lock-descriptors.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const { O_CREAT, O_RDWR } = fs.constants
const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (data: Uint8Array | null): string | null =>
  data === null ? null : Buffer.from(data).toString('latin1')

function temporaryFolder(t: Test): string {
  // The real path, because the paths of opened files are compared with it.
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'ddatabase-')))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

function open(folder: string, name = 'data', options: { sync?: boolean } = {}): StorageFile {
  return new StorageFile(directoryStorage(folder, options)(name, {}))
}

/** A promise for a call to the storage itself. */
function answered(call: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

test('directory and file are created by the first write', async (t) => {
  const folder = path.join(temporaryFolder(t), 'some', 'where')
  const file = open(folder)
  await rejection(file.read(0, 1), 'read')
  await file.size()
  await file.readIfPresent(0, 1)
  await file.sync()
  await file.del(0, 10)
  t.notOk(fs.existsSync(path.dirname(folder)), 'nothing else creates anything')
  await file.write(0, bytes(''))
  t.equal(fs.statSync(path.join(folder, 'data')).size, 0, 'an empty write does')
  await file.close()

  const deleting = open(folder, 'signatures')
  await answered((done) => deleting.raw.del!(0, 10, done))
  t.ok(fs.existsSync(path.join(folder, 'signatures')), 'a deletion counts as a write')
  await deleting.close()
})

test('a feed is destroyed also where nothing can be synchronised', async (t) => {
  const folder = path.join(temporaryFolder(t), 'feed')
  const before = new Feed(folder)
  await before.append('a')
  await before.close()
  const feed = new Feed(folder)
  await feed.ready()
  for (const name of ['fsync', 'fdatasync'] as const) {
    replace(t, fs, name, (_fd: number, callback: (error: Error) => void) => callback(systemError('EIO')))
  }
  await feed.destroyStorage()
  t.notOk(fs.existsSync(folder) && fs.readdirSync(folder).length > 0, 'the secret key as well')
})

test('stat: a missing file is ENOENT every time', async (t) => {
  const { raw } = open(temporaryFolder(t))
  t.equal(raw.statable, true)
  for (let i = 0; i < 3; i++) {
    t.equal(
      (
        await rejection(
          answered((done) => raw.stat!(done)),
          'stat'
        )
      ).code,
      'ENOENT'
    )
    t.equal(
      (
        await rejection(
          answered((done) => raw.read(0, 1, done)),
          'read'
        )
      ).code,
      'ENOENT'
    )
  }
})

test('names stay below the directory', async (t) => {
  const outside = temporaryFolder(t)
  const folder = path.join(outside, 'inside')
  const names = ['../escaped', '../../escaped', '/absolute/data', 'a/../../b', 'sub/folder/data']
  for (const name of names) {
    const file = open(folder, name)
    await file.write(0, bytes('x'))
    await file.close()
  }
  t.same(fs.readdirSync(outside), ['inside'], 'nothing beside the directory')
  t.same(fs.readdirSync(folder).sort(), ['absolute', 'b', 'escaped', 'sub'])
  t.ok(fs.existsSync(path.join(folder, 'sub', 'folder', 'data')))
})

test('a relative directory is resolved when the storage is made', async (t) => {
  const folder = temporaryFolder(t)
  const before = process.cwd()
  t.teardown(() => process.chdir(before))
  process.chdir(folder)
  const file = open('feed')
  fs.mkdirSync(path.join(folder, 'elsewhere'))
  process.chdir(path.join(folder, 'elsewhere'))
  await file.write(0, bytes('x'))
  await file.close()
  t.ok(fs.existsSync(path.join(folder, 'feed', 'data')))
})

test('a path with a zero byte is refused', (t) => {
  const refusal = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
  t.throws(() => directoryStorage('a\0b'), refusal, 'directory')
  t.throws(() => directoryStorage('a')('a\0b', {}), refusal, 'name')
  t.end()
})

test('where no folder can be made, the error tells why', async (t) => {
  const folder = temporaryFolder(t)
  // As of a file system that is read-only from `folder` on: Node.js says ENOENT of what is made with its parents.
  const asked: string[] = []
  replace(t, fs, 'mkdir', (name: string, ...rest: unknown[]) => {
    asked.push(path.relative(folder, name))
    const alone = rest.length === 1
    const outermost = path.dirname(name) === folder
    const callback = rest.at(-1) as (error: Error) => void
    setImmediate(callback, systemError(alone && outermost ? 'EROFS' : 'ENOENT'))
  })
  const error = await rejection(open(path.join(folder, 'a', 'b')).write(0, bytes('x')), 'write')
  t.equal(error.code, 'EROFS')
  t.same(asked, [path.join('a', 'b'), path.join('a', 'b'), 'a'])
})

test('one descriptor, for reading and writing, until close', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'data'), 'abc')
  const descriptors = watchDescriptors(t)
  const file = open(folder)
  t.equal(text(await file.read(0, 3)), 'abc')
  await file.write(3, bytes('d'))
  await file.size()
  await file.del(3, 1)
  t.same(descriptors.opened, [path.join(folder, 'data')], 'opened once')
  await file.close()
  t.same(descriptors.live(), [], 'closed')
  await rejection(file.read(0, 1), 'read after close')
  await rejection(file.write(0, bytes('x')), 'write after close')
  t.equal(descriptors.opened.length, 1, 'and not opened again')
})

test('close waits for what is running', async (t) => {
  const folder = temporaryFolder(t)
  const file = open(folder)
  const order: string[] = []
  const writes = [0, 1, 2, 3].map((i) =>
    file.write(i, bytes('abcd'.charAt(i))).then(() => order.push('write'))
  )
  const sync = file.sync().then(() => order.push('sync'))
  await within(
    file.close().then(() => order.push('close')),
    'close'
  )
  await Promise.all([...writes, sync])
  t.equal(order.at(-1), 'close')
  t.equal(order.length, 6)
  t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), 'abcd')
})

test('a failed close is reported and leaves no descriptor to be closed twice', async (t) => {
  const folder = temporaryFolder(t)
  const file = open(folder)
  await file.write(0, bytes('abc'))
  const closed: number[] = []
  const { close } = fs
  replace(t, fs, 'close', (fd: number, callback: (error: Error | null) => void) => {
    closed.push(fd)
    close(fd, () => callback(systemError('EIO')))
  })
  t.equal((await rejection(file.close(), 'close')).code, 'EIO')
  await file.close()
  await rejection(file.read(0, 1), 'read')
  t.equal(file.readSync(0, 1), null)
  t.equal(closed.length, 1)
})

for (const code of ['EACCES', 'EPERM', 'EROFS']) {
  test(`read-only media (${code}): reading works, writing gets the error of the system`, async (t) => {
    const folder = temporaryFolder(t)
    fs.writeFileSync(path.join(folder, 'data'), 'abc')
    const descriptors = watchDescriptors(t, (file, flags) => {
      if ((flags & O_RDWR) === 0) return null
      return fs.existsSync(file) || (flags & O_CREAT) !== 0 ? systemError(code) : null
    })
    const file = open(folder)
    const truncatable = file.raw as unknown as RandomAccessStorage
    t.equal(text(await file.read(0, 3)), 'abc', 'read')
    t.equal(text(file.readSync(1, 2)), 'bc', 'read at once')
    t.equal(await file.size(), 3, 'size')
    await file.sync()
    for (const [what, call] of [
      ['write', () => file.write(0, bytes('x'))],
      ['del', () => file.del(0, 3)],
      ['truncate', () => answered((done) => truncatable.truncate(0, done))]
    ] as [string, () => Promise<void>][]) {
      t.equal((await rejection(call(), what)).code, code, what)
    }
    t.throws(() => file.writeSync(0, bytes('x')), { code }, 'write at once')
    t.equal(text(await file.read(0, 3)), 'abc', 'reading still works')
    await file.close()

    const writing = open(folder)
    t.equal((await rejection(writing.write(0, bytes('x')), 'write')).code, code, 'a write that comes first')
    t.equal(text(await writing.read(0, 3)), 'abc', 'a read after it')
    await writing.close()

    const missing = open(folder, 'missing')
    t.equal(
      (await rejection(missing.write(0, bytes('x')), 'write')).code,
      code,
      'a file that cannot be created'
    )
    t.equal((await rejection(missing.read(0, 1), 'read')).code, 'ENOENT', 'is still missing')
    t.equal(await missing.size(), 0)
    await missing.close()
    t.same(descriptors.live(), [], 'everything is closed')
    t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), 'abc', 'nothing has changed')
  })
}

test('other errors of opening are not taken for read-only media', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'data'), 'abc')
  let broken = true
  watchDescriptors(t, (_file, flags) => (broken && (flags & O_RDWR) !== 0 ? systemError('EMFILE') : null))
  const file = open(folder)
  t.equal((await rejection(file.read(0, 3), 'read')).code, 'EMFILE')
  t.equal((await rejection(file.write(0, bytes('x')), 'write')).code, 'EMFILE')
  broken = false
  await file.write(0, bytes('x'))
  t.equal(text(await file.read(0, 3)), 'xbc', 'the next request tries again')
  await file.close()

  const folderAsFile = open(path.dirname(folder), path.basename(folder))
  t.equal((await rejection(folderAsFile.read(0, 1), 'read')).code, 'EISDIR')
})

test('pipes and devices are no files', { skip: process.platform === 'win32' }, async (t) => {
  const folder = temporaryFolder(t)
  fs.symlinkSync('/dev/null', path.join(folder, 'device'))
  execFileSync('mkfifo', [path.join(folder, 'pipe')])
  let readOnly = false
  const descriptors = watchDescriptors(t, (_file, flags) =>
    readOnly && (flags & O_RDWR) !== 0 ? systemError('EACCES') : null
  )
  for (const name of ['device', 'pipe']) {
    const file = open(folder, name)
    for (const [what, call] of [
      ['write', () => file.write(0, bytes('x'))],
      ['read', () => file.read(0, 1)],
      ['size', () => file.size()]
    ] as [string, () => Promise<unknown>][])
      t.equal((await rejection(call(), `${what} ${name}`)).code, 'ERR_STORAGE', `${what} ${name}`)
    readOnly = true
    const reading = open(folder, name)
    t.equal((await rejection(reading.read(0, 1), name)).code, 'ERR_STORAGE', `${name}, for reading only`)
    readOnly = false
    t.throws(() => directoryStorage(folder).readWhole!(name), { code: 'ERR_STORAGE' }, `all of ${name}`)
  }
  t.same(descriptors.live(), [], 'nothing stays open')
})

test('sizes and offsets that cannot be are errors, and closing still works', async (t) => {
  const folder = temporaryFolder(t)
  const file = open(folder)
  await file.write(0, bytes('abc'))
  for (const size of [2 ** 52, Number.POSITIVE_INFINITY, Number.NaN, 0.5, -2]) {
    await rejection(within(file.read(0, size), 'read'), `read of ${size} bytes`)
  }
  for (const offset of [-1, -5, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    for (const [what, call] of [
      ['read', () => file.read(offset, 1)],
      ['write', () => file.write(offset, bytes('x'))],
      ['del', () => answered((done) => file.raw.del!(offset, 1, done))]
    ] as [string, () => Promise<unknown>][]) {
      const { code } = await rejection(within(call(), what), `${what} at ${offset}`)
      t.equal(code, 'ERR_OUT_OF_RANGE', `${what} at ${offset}`)
    }
    t.throws(() => file.readSync(offset, 1), { code: 'ERR_OUT_OF_RANGE' }, `readSync at ${offset}`)
    t.throws(() => file.writeSync(offset, bytes('x')), { code: 'ERR_OUT_OF_RANGE' }, `writeSync at ${offset}`)
  }
  await within(file.close(), 'close')
  t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), 'abc', 'nothing has changed')
})

test('del at the end cuts the file at exactly the offset', async (t) => {
  const folder = temporaryFolder(t)
  const size = (): number => fs.statSync(path.join(folder, 'data')).size
  const file = open(folder)
  await file.write(0, Buffer.alloc(20_000, 7))
  // To the raw storage, because StorageFile keeps deletions beyond the end away from it.
  const del = (offset: number, length: number): Promise<void> =>
    answered((done) => file.raw.del!(offset, length, done))
  for (const [offset, length, left] of [
    [20_000, 1, 20_000],
    [30_000, Number.POSITIVE_INFINITY, 20_000],
    [19_999, 0, 20_000],
    [19_999, 1, 19_999],
    [12_345, 10_000, 12_345],
    [4097, Number.POSITIVE_INFINITY, 4097],
    [0, 4097, 0],
    [0, Number.POSITIVE_INFINITY, 0]
  ] as const) {
    await del(offset, length)
    t.equal(size(), left, `${length} bytes at ${offset}`)
  }
  await file.close()
})

/** Whether the file system of the temporary folder has holes. */
async function hasHoles(folder: string): Promise<boolean> {
  const probe = fs.openSync(path.join(folder, 'probe'), 'w+')
  try {
    fs.writeSync(probe, Buffer.alloc(65_536, 1))
    await native.trim(probe, 4096, 8192)
    return true
  } catch {
    return false
  } finally {
    fs.closeSync(probe)
  }
}

test('del in the middle gives the space back', async (t) => {
  const folder = temporaryFolder(t)
  const MEGABYTE = 2 ** 20
  const file = open(folder)
  await file.write(0, Buffer.alloc(4 * MEGABYTE, 7))
  await file.sync()
  const blocks = (): number => fs.statSync(path.join(folder, 'data')).blocks * 512
  const before = blocks()
  await file.del(MEGABYTE + 100, 2 * MEGABYTE)
  await file.sync()
  const freed = before - blocks()
  if (await hasHoles(folder)) {
    t.ok(freed >= 2 * MEGABYTE - 2 * 4096, `${freed} bytes came back, all but the parts of two pages`)
    t.ok(
      Buffer.alloc(2 * MEGABYTE).equals(await file.read(MEGABYTE + 100, 2 * MEGABYTE)),
      'the whole range is zero'
    )
  } else {
    t.equal(freed, 0, 'a file system without holes: the space stays used')
  }
  t.equal(await file.size(), 4 * MEGABYTE, 'the size stays')
  t.ok(Buffer.alloc(MEGABYTE + 100, 7).equals(await file.read(0, MEGABYTE + 100)), 'what is before stays')
  const after = 3 * MEGABYTE + 100
  t.ok(Buffer.alloc(MEGABYTE - 100, 7).equals(await file.read(after, MEGABYTE - 100)), 'what follows stays')
  await file.close()
})

test('del in the middle where there are no holes changes nothing and is no error', async (t) => {
  const file = open(temporaryFolder(t))
  await file.write(0, bytes('abcdefgh'))
  let code = ''
  const trimmed: number[][] = []
  replace(t, native, 'trim', async (_fd: number, offset: number, size: number) => {
    trimmed.push([offset, size])
    throw systemError(code)
  })
  for (code of ['EOPNOTSUPP', 'ENOTSUP', 'EINVAL', 'ENOSYS']) {
    await file.del(2, 3)
    t.equal(text(await file.read(0, 8)), 'abcdefgh', code)
  }
  code = 'EIO'
  t.equal((await rejection(file.del(2, 3), 'del')).code, 'EIO', 'other errors reject')
  t.same(trimmed, Array(5).fill([2, 3]))
  await file.close()
})

test('synchronous calls: only while the file is open and nothing is queued', async (t) => {
  const folder = temporaryFolder(t)
  const file = open(folder)
  t.equal(file.readSync(0, 1), null, 'not open: read')
  t.equal(file.writeSync(0, bytes('x')), false, 'not open: write')
  t.notOk(fs.existsSync(path.join(folder, 'data')), 'and nothing was created')

  const writing = file.write(0, bytes('abc'))
  t.equal(file.readSync(0, 1), null, 'opening: read')
  t.equal(file.writeSync(0, bytes('x')), false, 'opening: write')
  await writing
  t.equal(text(file.readSync(0, 3)), 'abc', 'open: read')
  t.equal(file.writeSync(1, bytes('BCD')), true, 'open: write')
  t.equal(text(await file.read(0, 4)), 'aBCD', 'seen by asynchronous reads')
  t.equal(text(file.readSync(0, 0)), '', 'no bytes')
  t.equal(file.writeSync(9, bytes('')), true, 'no bytes')
  t.equal(await file.size(), 4)

  const running = file.read(0, 4)
  t.equal(text(file.readSync(0, 1)), 'a', 'beside a running request, which has no order with others')
  await running
  const closing = file.close()
  t.equal(file.readSync(0, 1), null, 'closing: read')
  t.equal(file.writeSync(0, bytes('x')), false, 'closing: write')
  await closing
  t.equal(file.readSync(0, 1), null, 'closed: read')
  t.equal(file.writeSync(0, bytes('x')), false, 'closed: write')
  t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), 'aBCD')
})

test('synchronous calls never overtake what was queued before', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'data'), 'abc')
  const file = open(folder)
  await file.read(0, 1)
  // The first write of a file queues an opening and waits behind it as long as the read runs.
  const running = file.read(0, 3)
  const written = file.write(0, bytes('xyz'))
  t.equal(file.writeSync(0, bytes('###')), false, 'write')
  t.equal(file.readSync(0, 3), null, 'read')
  await Promise.all([running, written])
  t.equal(text(file.readSync(0, 3)), 'xyz')
  await file.close()
})

test('synchronous calls can be switched off', async (t) => {
  const file = open(temporaryFolder(t), 'data', { sync: false })
  await file.write(0, bytes('abc'))
  t.equal(file.readSync(0, 3), null)
  t.equal(file.writeSync(0, bytes('x')), false)
  t.equal(text(await file.read(0, 3)), 'abc')
  await file.close()
})

test('synchronous calls: partial transfers and errors', async (t) => {
  const file = open(temporaryFolder(t))
  await file.write(0, bytes(''))
  const { readSync, writeSync } = fs as unknown as Record<
    'readSync' | 'writeSync',
    (...args: unknown[]) => number
  >
  const transfers: number[] = []
  const piecewise =
    (transfer: (...args: unknown[]) => number) =>
    (fd: number, data: Uint8Array, at: number, length: number, position: number): number => {
      transfers.push(length)
      return transfer(fd, data, at, Math.min(length, 3), position)
    }
  replace(t, fs, 'readSync', piecewise(readSync))
  replace(t, fs, 'writeSync', piecewise(writeSync))
  t.equal(file.writeSync(2, bytes('abcdefgh')), true)
  t.equal(text(file.readSync(0, 10)), '\0\0abcdefgh')
  t.same(transfers, [8, 5, 2, 10, 7, 4, 1], 'continued until everything was transferred')
  t.throws(() => file.readSync(0, 11), { code: 'EPARTIALREAD' }, 'too few bytes')
  t.throws(() => file.readSync(100, 1), { code: 'EPARTIALREAD' }, 'beyond the end')
  replace(t, fs, 'writeSync', () => {
    throw systemError('ENOSPC')
  })
  t.throws(() => file.writeSync(0, bytes('x')), { code: 'ENOSPC' }, 'errors of the system')
  await file.close()
})

/** Records what is synchronised, by path, until the test ends. */
function watchSyncs(t: Test, descriptors: ReturnType<typeof watchDescriptors>): string[] {
  const synced: string[] = []
  const { fdatasync } = fs
  replace(t, fs, 'fdatasync', (fd: number, callback: (error: Error | null) => void) => {
    synced.push(descriptors.live().find((file) => descriptors.of(file) === fd) ?? `descriptor ${fd}`)
    fdatasync(fd, callback)
  })
  const { open } = fs.promises
  replace(t, fs.promises, 'open', async (folder: string, flags: number) => {
    const handle = await open(folder, flags)
    const sync = handle.sync.bind(handle)
    handle.sync = () => {
      synced.push(folder)
      return sync()
    }
    return handle
  })
  return synced
}

test('sync: the file, and the names of what is new', async (t) => {
  const base = temporaryFolder(t)
  const folder = path.join(base, 'a', 'b')
  const synced = watchSyncs(t, watchDescriptors(t))
  const storage = directoryStorage(folder)
  const data = new StorageFile(storage('data', {}))
  const tree = new StorageFile(storage('tree', {}))

  await data.sync()
  t.same(synced, [], 'a file that was never created needs nothing')
  await data.write(0, bytes('abc'))
  await data.sync()
  t.equal(synced[0], path.join(folder, 'data'), 'the file first')
  t.same(synced.slice(1).sort(), [base, path.join(base, 'a'), folder], 'then every folder with a new entry')
  synced.length = 0

  await data.write(0, bytes('abc'))
  await data.sync()
  t.same(synced.splice(0), [path.join(folder, 'data')], 'afterwards only the file')
  await tree.write(0, bytes('abc'))
  await tree.sync()
  t.same(synced.splice(0), [path.join(folder, 'tree'), folder], 'another new file, in a folder that exists')

  await data.close()
  await tree.close()
  await rejection(data.sync(), 'sync after close')
  const again = open(folder)
  await again.sync()
  t.same(synced.splice(0), [path.join(folder, 'data')], 'a file that existed, even before it is used')
  await again.close()
})

test('sync: errors reject, except that a file system does not synchronise folders', async (t) => {
  const file = open(temporaryFolder(t))
  await file.write(0, bytes('abc'))
  const { open: openHandle } = fs.promises
  let code = ''
  let folders = 0
  replace(t, fs.promises, 'open', async (folder: string) => {
    const handle = await openHandle(folder)
    handle.sync = async () => {
      folders++
      throw systemError(code)
    }
    return handle
  })
  code = 'EIO'
  t.equal((await rejection(file.sync(), 'sync')).code, 'EIO', 'of the folder')
  t.equal((await rejection(file.sync(), 'sync')).code, 'EIO', 'again: it is still not safe')
  code = 'EINVAL'
  await file.sync()
  await file.sync()
  t.equal(folders, 3, 'once it is clear that it cannot be done, it is not tried again')

  replace(t, fs, 'fdatasync', (_fd: number, callback: (error: Error) => void) => callback(systemError('EIO')))
  t.equal((await rejection(file.sync(), 'sync')).code, 'EIO', 'of the file')
  await within(file.close(), 'close')
})

test('a new secret key can be read by its owner only', async (t) => {
  const folder = temporaryFolder(t)
  const umask = process.umask(0o022)
  t.teardown(() => process.umask(umask))
  const mode = (name: string): number => fs.statSync(path.join(folder, name)).mode & 0o777
  for (const name of ['secret_key', 'other/secret_key', 'key', 'data', 'not_secret_key']) {
    const file = open(folder, name)
    await file.write(0, bytes('x'))
    await file.close()
  }
  t.equal(mode('secret_key'), 0o600)
  t.equal(mode('other/secret_key'), 0o600)
  t.equal(mode('key'), 0o644)
  t.equal(mode('data'), 0o644)
  t.equal(mode('not_secret_key'), 0o644)

  fs.chmodSync(path.join(folder, 'secret_key'), 0o640)
  const existing = open(folder, 'secret_key')
  await existing.write(0, bytes('y'))
  await existing.close()
  t.equal(mode('secret_key'), 0o640, 'the permissions of an existing file are its owner’s decision')
})

test('with durability disk nothing is acknowledged that goes with a removed folder', async (t) => {
  const folder = path.join(temporaryFolder(t), 'feed')
  const feed = new Feed(folder, { durability: 'disk' })
  await feed.append('kept')
  await fs.promises.rm(folder, { recursive: true })
  const { code } = (await rejection(feed.append('lost'), 'append')) as { code?: unknown }
  t.equal(code, 'ERR_STORAGE')
  t.deepEqual([feed.length, String(await feed.get(0))], [1, 'kept'], 'reading goes on')
  const refused = (await rejection(feed.append('lost'), 'append')) as { code?: unknown }
  t.equal(refused.code, 'ERR_WRITE_REFUSED')
  await rejection(feed.close(), 'close')
  t.equal(fs.existsSync(folder), false, 'the folder does not come back')
})

test('a feed whose folder was removed closes, and does not bring the folder back', async (t) => {
  const folder = temporaryFolder(t)
  for (const wait of [0, 400]) {
    const dir = path.join(folder, `feed-${wait}`)
    const feed = new Feed(dir)
    await feed.append(['a', 'b'])
    // By then it has its first checkpoint, or has been synchronised once.
    await new Promise((resolve) => setTimeout(resolve, wait))
    await feed.append('c')
    await fs.promises.rm(dir, { recursive: true })
    await feed.close()
    t.notOk(fs.existsSync(dir), `after ${wait} ms`)
  }
})
