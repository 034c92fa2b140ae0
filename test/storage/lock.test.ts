/** The lock of a feed's directory: against ourselves and the published packages, in this process and in others. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import flock from 'fd-lock'
import native from 'fs-native-extensions'
import RandomAccessFile from 'random-access-file'
import test, { type Test } from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { replace, systemError, watchDescriptors } from '../helpers/lock-descriptors.ts'
import { type Opener, openDirectory } from '../helpers/lock-openers.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const CHILD = fileURLToPath(new URL('../helpers/lock-child.ts', import.meta.url))
const HEADER = Buffer.concat([Buffer.from('05025700000e0000', 'hex'), Buffer.alloc(24)])

/** Pairs of a holder and a second opener, at least one of which is ours. */
const PAIRS: [Opener, Opener][] = [
  ['ours', 'ours'],
  ['ours', 'ddatabase-published'],
  ['ddatabase-published', 'ours'],
  ['ours', 'hypercore-published'],
  ['hypercore-published', 'ours']
]

function temporaryFolder(t: Test): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ddatabase-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A folder with a `bitfield` file, and the path of that. */
function feedFolder(t: Test): { folder: string; bitfield: string } {
  const folder = temporaryFolder(t)
  const bitfield = path.join(folder, 'bitfield')
  fs.writeFileSync(bitfield, HEADER)
  return { folder, bitfield }
}

function open(folder: string, name = 'bitfield'): StorageFile {
  return new StorageFile(directoryStorage(folder)(name, {}))
}

/** Another process that tried to open the directory, and what came of it: `held` or the code of the error. */
async function openElsewhere(
  t: Test,
  opener: Opener,
  folder: string
): Promise<{ child: ChildProcess; result: string }> {
  const child = fork(CHILD, [opener, folder])
  t.teardown(() => child.kill('SIGKILL'))
  const [result] = (await within(once(child, 'message'), `${opener} in another process`)) as [string]
  return { child, result }
}

async function letGo(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.send('close')
  await within(exit, 'the end of the other process')
}

const LOCKS = { flock, fcntl: native.tryLock, shared: (fd: number) => native.tryLock(fd, { shared: true }) }

/** Which kinds of lock another descriptor for the file could get. */
function available(file: string): Record<keyof typeof LOCKS, boolean> {
  const attempt = (lock: (fd: number) => boolean): boolean => {
    const fd = fs.openSync(file, 'r+')
    try {
      return lock(fd)
    } finally {
      fs.closeSync(fd)
    }
  }
  return { flock: attempt(LOCKS.flock), fcntl: attempt(LOCKS.fcntl), shared: attempt(LOCKS.shared) }
}

for (const [first, second] of PAIRS) {
  test(`${first} keeps ${second} out in the same process`, async (t) => {
    const folder = temporaryFolder(t)
    const holder = await openDirectory(first, folder)
    for (const time of ['first', 'second']) {
      const error = await rejection(openDirectory(second, folder), second)
      t.equal(error.code, 'ELOCKED', `${time} attempt`)
      t.equal(error.message, 'ELOCKED: File is locked')
      if (second === 'ours') t.ok(DDatabaseError.is(error), 'an error of ours')
    }
    await holder.close()
    const next = await openDirectory(second, folder)
    t.equal((await rejection(openDirectory(first, folder), first)).code, 'ELOCKED', 'and the other way round')
    await next.close()
  })

  test(`${first} keeps ${second} in another process out`, async (t) => {
    const folder = temporaryFolder(t)
    const holder = await openDirectory(first, folder)
    t.equal((await openElsewhere(t, second, folder)).result, 'ELOCKED')
    await holder.close()
    const { child, result } = await openElsewhere(t, second, folder)
    t.equal(result, 'held', 'until it is closed')
    await letGo(child)
  })

  test(`${first} in another process keeps ${second} out`, async (t) => {
    const folder = temporaryFolder(t)
    const { child, result } = await openElsewhere(t, first, folder)
    t.equal(result, 'held')
    t.equal((await rejection(openDirectory(second, folder), second)).code, 'ELOCKED')
    await letGo(child)
    await (await openDirectory(second, folder)).close()
    t.pass('until it is closed')
  })

  test(`${first} killed in another process leaves no lock to ${second}`, async (t) => {
    const folder = temporaryFolder(t)
    const { child, result } = await openElsewhere(t, first, folder)
    t.equal(result, 'held')
    t.equal((await rejection(openDirectory(second, folder), second)).code, 'ELOCKED')
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await within(exit, 'the end of the other process')
    await (await openDirectory(second, folder)).close()
    t.pass('free')
  })
}

test('both kinds of lock are held, from the first read until close', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  t.same(available(bitfield), { flock: true, fcntl: true, shared: true }, 'free at first')
  const file = open(folder)
  t.same(available(bitfield), { flock: true, fcntl: true, shared: true }, 'making a storage locks nothing')
  const none = { flock: false, fcntl: false, shared: false }
  await file.read(0, 32)
  t.same(available(bitfield), none, 'after the first read')
  await file.write(32, Buffer.alloc(10))
  t.same(available(bitfield), none, 'after the first write')
  await file.del(32, Number.POSITIVE_INFINITY)
  await file.sync()
  t.same(available(bitfield), none, 'after a deletion')
  await file.close()
  t.same(available(bitfield), { flock: true, fcntl: true, shared: true }, 'free after close')
})

test('a stat locks as well', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  const file = open(folder)
  await file.size()
  t.same(available(bitfield), { flock: false, fcntl: false, shared: false })
  await file.close()
})

test('a file that does not exist is locked when it is created', async (t) => {
  const folder = temporaryFolder(t)
  const bitfield = path.join(folder, 'bitfield')
  const file = open(folder)
  t.equal(await file.readIfPresent(0, 32), null)
  await file.write(0, HEADER)
  t.same(available(bitfield), { flock: false, fcntl: false, shared: false })
  await file.destroy()
  t.notOk(fs.existsSync(bitfield))
})

test('the lock has no gap: one descriptor, never closed before the end', async (t) => {
  const { folder } = feedFolder(t)
  const descriptors = watchDescriptors(t)
  const file = open(folder)
  await file.read(0, 32)
  const fd = descriptors.of('bitfield')
  await file.write(0, HEADER)
  await file.write(32, HEADER)
  t.equal(descriptors.opened.length, 1, 'opened once')
  t.equal(descriptors.of('bitfield'), fd, 'still the same descriptor')
  await file.close()
  t.same(descriptors.live(), [])
})

test('of many openings at the same time exactly one succeeds', async (t) => {
  for (let round = 0; round < 10; round++) {
    const folder = path.join(temporaryFolder(t), 'new')
    const files = Array.from({ length: 5 }, () => open(folder))
    const results = await Promise.allSettled(files.map((file) => file.write(0, HEADER)))
    const codes = results.map((result) => (result.status === 'rejected' ? result.reason.code : 'held')).sort()
    t.same(codes, ['ELOCKED', 'ELOCKED', 'ELOCKED', 'ELOCKED', 'held'])
    await Promise.all(files.map((file) => file.close()))
  }
})

test('who was locked out keeps nothing open and can try again', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  const descriptors = watchDescriptors(t)
  const holder = open(folder)
  await holder.read(0, 32)
  const late = open(folder)
  for (const call of [
    () => late.read(0, 32),
    () => late.size(),
    () => late.write(0, HEADER),
    () => late.sync()
  ]) {
    t.equal((await rejection(call(), 'locked out')).code, 'ELOCKED')
    t.equal(late.readSync(0, 32), null)
    t.equal(late.writeSync(0, HEADER), false)
  }
  t.equal((await rejection(late.readIfPresent(0, 32), 'locked out')).code, 'ELOCKED', 'locked is not absent')
  t.same(descriptors.live(), [bitfield], 'only the holder has a descriptor')
  t.same(available(bitfield), { flock: false, fcntl: false, shared: false }, 'and its locks')
  await holder.close()
  t.ok(HEADER.equals(await late.read(0, 32)))
  await late.close()
  t.same(descriptors.live(), [])
})

test('each kind of lock alone keeps us out, and we give the other one back', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  for (const kind of ['flock', 'fcntl', 'shared'] as const) {
    const fd = fs.openSync(bitfield, 'r+')
    t.ok(LOCKS[kind](fd), `somebody holds ${kind}`)
    const file = open(folder)
    t.equal((await rejection(file.read(0, 32), kind)).code, 'ELOCKED')
    await file.close()
    fs.closeSync(fd)
    t.same(available(bitfield), { flock: true, fcntl: true, shared: true })
  }
})

test('random-access-file 4 with its lock', async (t) => {
  const { folder } = feedFolder(t)
  const create = (): StorageFile =>
    // biome-ignore lint/suspicious/noExplicitAny: the option is not among those that this package uses
    new StorageFile(new RandomAccessFile('bitfield', { directory: folder, lock: true } as any))
  const ours = open(folder)
  await ours.read(0, 32)
  t.equal((await rejection(create().read(0, 32), 'theirs')).code, 'ELOCKED', 'is kept out')
  await ours.close()
  const theirs = create()
  await theirs.read(0, 32)
  t.equal((await rejection(open(folder).read(0, 32), 'ours')).code, 'ELOCKED', 'keeps us out')
  await theirs.close()
})

test('only the bitfield is locked', async (t) => {
  const folder = temporaryFolder(t)
  for (const name of ['key', 'secret_key', 'tree', 'data', 'signatures', 'not_bitfield', 'bitfield/x']) {
    const files = [open(folder, name), open(folder, name)]
    for (const file of files) await file.write(0, HEADER)
    t.same(available(path.join(folder, name)), { flock: true, fcntl: true, shared: true }, name)
    for (const file of files) await file.close()
  }
  const nested = open(folder, 'sub/bitfield')
  await nested.write(0, HEADER)
  t.equal(
    (await rejection(open(folder, 'sub/bitfield').read(0, 1), 'nested')).code,
    'ELOCKED',
    'in any folder'
  )
  await nested.close()
})

test('read-only media: exclusive flock, shared fcntl', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  let writable = false
  watchDescriptors(t, (_file, flags) =>
    !writable && (flags & fs.constants.O_RDWR) !== 0 ? systemError('EROFS') : null
  )
  const reader = open(folder)
  await reader.read(0, 32)
  t.same(available(bitfield), { flock: false, fcntl: false, shared: true })
  t.equal((await rejection(open(folder).read(0, 32), 'a second reader')).code, 'ELOCKED')
  writable = true
  t.equal((await rejection(open(folder).read(0, 32), 'a writer')).code, 'ELOCKED')
  await reader.close()
  t.same(available(bitfield), { flock: true, fcntl: true, shared: true })
})

for (const platform of ['darwin', 'win32']) {
  test(`on ${platform} one kind of lock is taken`, async (t) => {
    const { folder, bitfield } = feedFolder(t)
    const real = Object.getOwnPropertyDescriptor(process, 'platform')!
    t.teardown(() => Object.defineProperty(process, 'platform', real))
    Object.defineProperty(process, 'platform', { ...real, value: platform })
    const file = open(folder)
    await file.read(0, 32)
    t.same(available(bitfield), { flock: false, fcntl: true, shared: true })
    await file.close()
  })
}

test('a file system without fcntl locks is locked with flock alone; other failures of the lock lock out', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  const { tryLock } = native
  let code = ''
  replace(t, native, 'tryLock', () => {
    throw systemError(code)
  })
  for (code of ['ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL']) {
    const file = open(folder)
    await file.read(0, 32)
    const fd = fs.openSync(bitfield, 'r+')
    t.notOk(flock(fd), `${code}: flock is held`)
    t.ok(tryLock(fd), 'fcntl is not')
    fs.closeSync(fd)
    await file.close()
  }
  code = 'EIO'
  const error = await rejection(open(folder).read(0, 32), 'lock')
  t.equal(error.code, 'ELOCKED')
  t.equal((error.cause as { code?: string }).code, 'EIO', 'with the cause')
})

/** Our storage as it is where some of the native modules cannot be loaded. */
async function storageWithout(t: Test, ...missing: string[]): Promise<typeof directoryStorage> {
  const module = createRequire(import.meta.url)('node:module') as {
    _load(name: string, ...rest: unknown[]): unknown
  }
  const load = module._load
  const refused: string[] = []
  module._load = function (this: unknown, name, ...rest) {
    if (!missing.includes(name)) return load.call(this, name, ...rest)
    refused.push(name)
    throw systemError('MODULE_NOT_FOUND')
  }
  try {
    const url = new URL(`../../src/storage/directory.ts?without=${missing.join('+')}`, import.meta.url)
    const loaded = (await import(url.href)) as { directoryStorage: typeof directoryStorage }
    t.same(refused.sort(), [...missing].sort(), `loaded without ${missing.join(' and ')}`)
    return loaded.directoryStorage
  } finally {
    module._load = load
  }
}

test('without native modules there is one lock, or none, and no holes', async (t) => {
  const { folder, bitfield } = feedFolder(t)
  const cases: [string[], ReturnType<typeof available>][] = [
    [['fd-lock'], { flock: true, fcntl: false, shared: false }],
    [['fs-native-extensions'], { flock: false, fcntl: true, shared: true }],
    [['fd-lock', 'fs-native-extensions'], { flock: true, fcntl: true, shared: true }]
  ]
  for (const [missing, free] of cases) {
    const storage = await storageWithout(t, ...missing)
    const file = new StorageFile(storage(folder)('bitfield', {}))
    await file.write(0, HEADER)
    t.same(available(bitfield), free)
    await file.del(1, 2)
    t.equal(await file.size(), 32, 'del in the middle is no error')
    await file.close()
  }
})
