/** Files in directories that are closed while they are in use, because there are too many. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test, { type Test } from 'tape'
import { Feed } from '../../src/index.ts'
import { Descriptors } from '../../src/storage/descriptors.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { replace, systemError, watchDescriptors } from '../helpers/lock-descriptors.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { rejection, settle, within } from '../helpers/watchdog.ts'

const { O_RDWR } = fs.constants
const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (data: Uint8Array | null): string | null =>
  data === null ? null : Buffer.from(data).toString('latin1')

function temporaryFolder(t: Test): string {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'ddatabase-')))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A file in a folder whose content is `content`, if that is given, and opened then. */
async function opened(
  folder: string,
  name: string,
  options: { sync?: boolean; pool: Descriptors },
  content = ''
): Promise<StorageFile> {
  const file = new StorageFile(directoryStorage(folder, options)(name, {}))
  if (content !== '') await file.write(0, bytes(content))
  return file
}

/** Gives up whatever a small pool can give up. */
function giveUpAll(pool: Descriptors): boolean {
  return pool.relieves(systemError('EMFILE'))
}

test('many files: no more are open than the bound says, and all go on', async (t) => {
  const folder = temporaryFolder(t)
  const descriptors = watchDescriptors(t)
  const pool = new Descriptors(8, 4)
  const storage = directoryStorage(folder, { pool })
  const files = Array.from({ length: 40 }, (_, i) => new StorageFile(storage(`file${i}`, {})))
  let most = 0
  for (let round = 0; round < 3; round++) {
    for (const [i, file] of files.entries()) {
      if (!file.writeSync(round, bytes('abc'.charAt(round))))
        await file.write(round, bytes('abc'.charAt(round)))
      t.equal(text(file.readSync(0, round + 1)), 'abc'.slice(0, round + 1), `file ${i}`)
      most = Math.max(most, pool.size)
      // What is written to is closed in the thread pool.
      await settle()
    }
  }
  t.equal(most, 8)
  t.ok(descriptors.live().length <= 8)
  // All at once: those that find no room wait.
  const writes = files.map((file) => file.write(3, bytes('d')))
  const watching = setInterval(() => {
    most = Math.max(most, descriptors.live().length)
  })
  await within(Promise.all(writes), 'writes at once')
  await within(Promise.all(files.map((file) => file.sync())), 'synchronisations at once')
  clearInterval(watching)
  for (const file of files) t.equal(text(await file.read(0, 4)), 'abcd')
  t.equal(most, 8, 'never more')
  for (const file of files) await file.close()
  t.equal(pool.size, 0)
  t.same(descriptors.live(), [])
})

test('whatever is asked of a file that was given up', async (t) => {
  for (const sync of [true, false]) {
    for (const settled of [true, false]) {
      const folder = temporaryFolder(t)
      const descriptors = watchDescriptors(t)
      const pool = new Descriptors()
      const file = await opened(folder, 'data', { sync, pool }, '0123456789')
      const raw = file.raw as unknown as { truncate(size: number, done: () => void): void }
      const calls: [string, () => unknown, unknown][] = [
        ['read', async () => text(await file.read(2, 3)), '234'],
        ['readSync', () => text(file.readSync(2, 3)), sync && settled ? '234' : null],
        ['sizeSync', () => file.raw.sizeSync!(), sync && settled ? 10 : null],
        ['stat', () => file.size(), 10],
        ['write', () => file.write(0, bytes('x')), undefined],
        ['writeAll', () => file.writeAll(1, [bytes('y'), bytes('z')]), undefined],
        ['writeSync', () => file.writeSync(0, bytes('x')), sync && settled],
        ['del', () => file.del(8, 2), undefined],
        ['truncate', () => new Promise<void>((resolve) => raw.truncate(5, () => resolve())), undefined],
        ['sync', () => file.sync(), undefined],
        ['names', () => file.raw.names, 1],
        ['open', () => new Promise((resolve) => file.raw.open!(resolve)), null],
        [
          'two at once',
          async () => text((await Promise.all([file.read(0, 3), file.write(4, bytes('x'))]))[0]),
          'xyz'
        ]
      ]
      for (const [what, call, expected] of calls) {
        await file.read(0, 1)
        t.ok(giveUpAll(pool))
        t.same(descriptors.live(), [], `closed before ${what}`)
        if (settled) await settle()
        t.equal(await within(Promise.resolve(call()), what), expected, `${what}, sync ${sync}`)
      }
      t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), 'xyz3x')
      giveUpAll(pool)
      await within(file.close(), 'close')
      await rejection(file.read(0, 1), 'read after close')
      t.equal(file.raw.names, null)
      t.equal(pool.size, 0)
      t.same(descriptors.live(), [])
    }
  }
})

test('the file with the lock is never given up', async (t) => {
  const folder = temporaryFolder(t)
  const descriptors = watchDescriptors(t)
  const pool = new Descriptors(2, 1)
  const bitfield = await opened(folder, 'bitfield', { pool }, 'abc')
  const fd = descriptors.of('bitfield')
  const others: StorageFile[] = []
  for (const name of ['data', 'tree', 'signatures', 'key', 'secret_key']) {
    others.push(await opened(folder, name, { pool }, name))
    await settle()
  }
  giveUpAll(pool)
  const { suspend } = bitfield.raw as unknown as { suspend(done: () => void): void }
  await new Promise<void>((resolve) => suspend.call(bitfield.raw, resolve))
  await settle()
  t.same(descriptors.live(), [path.join(folder, 'bitfield')], 'everything else was')
  t.equal(descriptors.of('bitfield'), fd)
  const second = new StorageFile(directoryStorage(folder)('bitfield', {}))
  t.equal((await rejection(second.read(0, 1), 'a second opening')).code, 'ELOCKED')
  t.equal(text(bitfield.readSync(0, 3)), 'abc')
  for (const file of others) t.equal((await file.size())! > 0, true, 'the others go on')
  for (const file of [...others, bitfield]) await file.close()
  t.equal(await second.size(), 3, 'unlocked by closing it')
  await second.close()
})

test('what is in use is not given up', async (t) => {
  const folder = temporaryFolder(t)
  const pool = new Descriptors()
  const file = await opened(folder, 'data', { pool }, 'abc')
  const held: (() => void)[] = []
  const { read } = fs
  replace(t, fs, 'read', (...call: Parameters<typeof read>) => held.push(() => read(...call)))
  const reading = file.readLater(0, 3)
  t.notOk(giveUpAll(pool))
  const closing = file.close()
  t.notOk(giveUpAll(pool), 'nor while closing waits')
  for (const go of held) go()
  t.equal(text(await reading), 'abc')
  await within(closing, 'close')
  t.notOk(giveUpAll(pool))
  t.equal(pool.size, 0)
})

test('a file that was removed or replaced meanwhile is an error, and is not made again', async (t) => {
  const replacements: [string, (file: string) => void][] = [
    ['removed', (file) => fs.rmSync(file)],
    ['the folder renamed', (file) => fs.renameSync(path.dirname(file), `${path.dirname(file)}-elsewhere`)],
    ['the folder removed', (file) => fs.rmSync(path.dirname(file), { recursive: true })],
    [
      'made anew: the number of its inode may be the same',
      (file) => {
        fs.rmSync(file)
        fs.writeFileSync(file, '012')
        fs.appendFileSync(file, '3456789')
      }
    ],
    [
      'replaced by a copy',
      (file) => {
        fs.cpSync(file, `${file}.copy`, { preserveTimestamps: true })
        fs.renameSync(`${file}.copy`, file)
      }
    ]
  ]
  for (const sync of [true, false]) {
    for (const [what, change] of replacements) {
      const folder = path.join(temporaryFolder(t), 'feed')
      const pool = new Descriptors()
      const file = await opened(folder, 'data', { sync, pool }, '0123456789')
      t.ok(giveUpAll(pool))
      await settle()
      // So that it is made at another time, as clocks of file systems tell it.
      await new Promise((resolve) => setTimeout(resolve, 20))
      change(path.join(folder, 'data'))
      const before = fs.existsSync(folder) ? fs.readdirSync(folder) : null
      t.equal(file.raw.names, 0, `${what}: names`)
      t.equal(file.readSync(0, 1), null, 'readSync')
      t.equal(file.writeSync(0, bytes('x')), false, 'writeSync')
      for (const [name, call] of [
        ['read', () => file.read(0, 3)],
        ['size', () => file.size()],
        ['write', () => file.write(0, bytes('x'))],
        ['del', () => file.del(0, 1)],
        ['sync', () => file.sync()],
        ['readIfPresent', () => file.readIfPresent(0, 1)],
        ['read again', () => file.read(0, 3)]
      ] as [string, () => Promise<unknown>][]) {
        t.equal((await rejection(within(call(), name), name)).code, 'ERR_STORAGE', name)
      }
      t.same(fs.existsSync(folder) ? fs.readdirSync(folder) : null, before, 'nothing was made')
      if (before !== null && before.length > 0)
        t.equal(fs.readFileSync(path.join(folder, 'data'), 'latin1'), '0123456789', 'or written')
      await within(file.close(), 'close')
      t.equal(pool.size, 0)
    }
  }
})

test('a file that is back goes on; one that was removed while it was open stays open', async (t) => {
  const folder = temporaryFolder(t)
  const pool = new Descriptors()
  const file = await opened(folder, 'data', { pool }, 'abc')
  const place = path.join(folder, 'data')
  giveUpAll(pool)
  await settle()
  fs.renameSync(place, `${place}.elsewhere`)
  await rejection(file.read(0, 3), 'read')
  fs.renameSync(`${place}.elsewhere`, place)
  fs.chmodSync(place, 0o600)
  t.equal(text(await file.read(0, 3)), 'abc')
  t.equal(file.raw.names, 1)

  fs.rmSync(place)
  t.notOk(giveUpAll(pool), 'it could not be opened again')
  t.equal(text(await file.read(0, 3)), 'abc')
  await file.write(3, bytes('d'))
  t.equal(file.raw.names, 0)
  await file.close()
  t.equal(pool.size, 0)
})

test('a system that cannot tell when a file was made', async (t) => {
  const told: [string, (stat: fs.Stats) => number][] = [
    ['nothing', () => 0],
    ['the last change', (stat) => stat.ctimeMs]
  ]
  const { fstatSync, statSync } = fs
  for (const [what, birth] of told) {
    const tell = (stat: fs.Stats): fs.Stats => Object.assign(stat, { birthtimeMs: birth(stat) })
    replace(t, fs, 'fstatSync', (fd: number) => tell(fstatSync(fd)))
    replace(t, fs, 'statSync', (file: string) => tell(statSync(file)))
    const place = path.join(temporaryFolder(t), 'data')
    const pool = new Descriptors()
    const file = await opened(path.dirname(place), 'data', { pool }, 'abc')
    giveUpAll(pool)
    await settle()
    await new Promise((resolve) => setTimeout(resolve, 20))
    fs.chmodSync(place, 0o600)
    t.equal(file.raw.names, 1, `${what}: the same file with other permissions`)
    t.equal(text(await file.read(0, 3)), 'abc')
    giveUpAll(pool)
    await settle()
    fs.cpSync(place, `${place}.copy`, { preserveTimestamps: true })
    fs.renameSync(`${place}.copy`, place)
    t.equal(file.raw.names, 0, 'another one')
    t.equal((await rejection(file.read(0, 3), 'read')).code, 'ERR_STORAGE')
    await file.close()
  }
})

test('durability disk: nothing is acknowledged in a folder that was removed or exchanged', async (t) => {
  for (const exchange of [false, true]) {
    const folder = path.join(temporaryFolder(t), 'feed')
    const pool = new Descriptors()
    const feed = new Feed(directoryStorage(folder, { pool }), { durability: 'disk' })
    await feed.append('one')
    giveUpAll(pool)
    await settle()
    await feed.append('two')
    t.equal(feed.length, 2)
    giveUpAll(pool)
    await settle()
    fs.cpSync(folder, `${folder}-copy`, { recursive: true, preserveTimestamps: true })
    fs.rmSync(folder, { recursive: true })
    if (exchange) fs.renameSync(`${folder}-copy`, folder)
    const before = exchange ? fs.readdirSync(folder) : null
    t.equal((await rejection(feed.append('three'), 'append')).code, 'ERR_STORAGE')
    await within(
      feed.close().catch(() => {}),
      'close'
    )
    t.same(exchange ? fs.readdirSync(folder) : null, before)
    t.equal(fs.existsSync(folder), exchange)
    if (!exchange) continue
    const again = new Feed(folder)
    await again.ready()
    t.equal(again.length, 2, 'and nothing was written')
    t.equal(text(await again.get(1)), 'two')
    await again.close()
  }
})

test('sync after giving up: the file is synchronised; what closing reported is told', async (t) => {
  for (const sync of [true, false]) {
    const folder = temporaryFolder(t)
    const descriptors = watchDescriptors(t)
    const synced: string[] = []
    const { fdatasync } = fs
    replace(t, fs, 'fdatasync', (fd: number, callback: () => void) => {
      synced.push(descriptors.live().find((file) => descriptors.of(file) === fd) ?? 'nothing')
      fdatasync(fd, callback)
    })
    const pool = new Descriptors()
    const file = await opened(folder, 'data', { sync, pool }, 'abc')
    giveUpAll(pool)
    await file.sync()
    t.same(synced, [path.join(folder, 'data')])

    await file.write(0, bytes('x'))
    const { close, closeSync } = fs
    replace(t, fs, 'close', (fd: number, callback: (error: Error) => void) =>
      close(fd, () => callback(systemError('EIO')))
    )
    replace(t, fs, 'closeSync', (fd: number) => {
      closeSync(fd)
      throw systemError('EIO')
    })
    t.ok(giveUpAll(pool))
    replace(t, fs, 'close', close)
    replace(t, fs, 'closeSync', closeSync)
    t.equal(text(await file.read(0, 3)), 'xbc', 'reading goes on')
    t.equal((await rejection(file.sync(), 'sync')).code, 'EIO')
    t.equal((await rejection(file.sync(), 'sync')).code, 'EIO', 'and is not forgotten')
    await file.close()
    t.same(descriptors.live(), [])
  }
})

test('written, given up, and not to be written any more: it is synchronised all the same', async (t) => {
  const folder = temporaryFolder(t)
  let refuse = false
  watchDescriptors(t, (_file, flags) => (refuse && (flags & O_RDWR) !== 0 ? systemError('EACCES') : null))
  const pool = new Descriptors()
  const file = await opened(folder, 'data', { pool }, 'abc')
  giveUpAll(pool)
  await settle()
  refuse = true
  t.equal(file.readSync(0, 3), null, 'not at once')
  t.equal(text(await file.read(0, 3)), 'abc', 'but it can be read')
  t.equal((await rejection(file.write(0, bytes('x')), 'write')).code, 'EACCES')
  let synced = 0
  const { fdatasync } = fs
  replace(t, fs, 'fdatasync', (fd: number, callback: () => void) => {
    synced++
    fdatasync(fd, callback)
  })
  await file.sync()
  await file.sync()
  t.equal(synced, 1, 'once')
  refuse = false
  for (const read of [async () => file.readSync(0, 3), () => file.readLater(0, 3)]) {
    giveUpAll(pool)
    await settle()
    t.equal(text(await read()), 'abc')
    t.throws(() => file.writeSync(0, bytes('x')), { code: 'EACCES' }, 'it stays read-only until it is closed')
  }
  await file.close()
})

test('no descriptors left: others are given up for whatever has to be opened', async (t) => {
  const folder = temporaryFolder(t)
  const pool = new Descriptors()
  let limit = Number.POSITIVE_INFINITY
  const descriptors = watchDescriptors(t, () =>
    descriptors.live().length >= limit ? systemError('EMFILE') : null
  )
  const storage = directoryStorage(folder, { pool })
  const files = Array.from({ length: 20 }, (_, i) => new StorageFile(storage(`file${i}`, {})))
  limit = 5
  for (const file of files) await file.write(0, bytes('abc'))
  t.ok(descriptors.live().length <= limit)
  await within(Promise.all(files.map((file) => file.write(3, bytes('def')))), 'writes at once')
  for (const file of files) t.equal(text(await file.read(0, 6)), 'abcdef')

  const { readFileSync } = fs
  let refused = 0
  const scarce = (): boolean => descriptors.live().length > 1 && ++refused > 0
  replace(t, fs, 'readFileSync', (file: string) => {
    if (scarce()) throw systemError('EMFILE')
    return readFileSync(file)
  })
  const { close } = fs
  replace(t, fs, 'close', () => t.fail('those that are given up for that are closed at once'))
  t.equal(text(storage.readWhole!('file3')), 'abcdef', 'a whole file at once')
  t.equal(refused, 1)
  replace(t, fs, 'close', close)
  for (const file of files) await file.read(0, 6)
  const { open } = fs.promises
  replace(t, fs.promises, 'open', async (file: string) => {
    if (scarce()) throw systemError('ENFILE')
    return open(file)
  })
  limit = Number.POSITIVE_INFINITY
  const fresh = await opened(folder, 'fresh', { pool }, 'abc')
  await files[0]!.read(0, 6)
  await fresh.sync()
  t.equal(refused, 2, 'a folder that is synchronised')
  for (const file of [...files, fresh]) await file.close()

  limit = 0
  const last = new StorageFile(storage('file0', {}))
  t.equal(
    (await rejection(last.read(0, 1), 'read')).code,
    'EMFILE',
    'an error if there is nothing to give up'
  )
  limit = 1
  t.equal(text(await last.read(0, 6)), 'abcdef', 'and tried again next time')
  await last.close()
  t.equal(pool.size, 0)
})

test('random operations on many files, few of them open, against arrays', async (t) => {
  const seed = seedFromEnvironment(4711)
  for (const sync of [true, false]) {
    const random = new SeededRandom(seed)
    const folder = temporaryFolder(t)
    const pool = new Descriptors(random.between(2, 6), 2)
    const storage = directoryStorage(folder, { sync, pool })
    const make = (i: number): StorageFile => new StorageFile(storage(`file${i}`, {}))
    const files = Array.from({ length: 24 }, (_, i) => make(i))
    const models = files.map(() => Buffer.alloc(0))
    const what = `seed ${seed}, sync ${sync}`
    const wrong: string[] = []

    async function operate(i: number): Promise<void> {
      const [file, model] = [files[i]!, models[i]!]
      const offset = random.below(40)
      const size = random.between(1, 20)
      const kind = random.below(10)
      if (kind < 4) {
        const data = random.bytes(size)
        const grown = Buffer.alloc(Math.max(model.length, offset + size))
        grown.set(model)
        grown.set(data, offset)
        models[i] = grown
        if (kind > 1 || !file.writeSync(offset, data)) await file.write(offset, data)
      } else if (kind < 7) {
        if (offset + size > model.length) return
        const at = offset
        const data = (kind === 4 ? null : file.readSync(at, size)) ?? (await file.readLater(at, size))
        if (!model.subarray(at, at + size).equals(data)) wrong.push(`read of file ${i}`)
      } else if (kind === 7) {
        if (offset < model.length) models[i] = model.subarray(0, offset)
        await file.del(offset, Number.POSITIVE_INFINITY)
      } else if (kind === 8) {
        if ((await file.size()) !== model.length) wrong.push(`size of file ${i}`)
      } else {
        await file.sync()
        if (random.chance(0.8)) return
        await file.close()
        files[i] = make(i)
      }
    }

    for (let round = 0; round < 150; round++) {
      // Different files at once.
      const chosen = random.shuffle(files.map((_, i) => i)).slice(0, random.between(1, 10))
      await within(Promise.all(chosen.map(operate)), what)
      if (random.chance(0.1)) giveUpAll(pool)
    }
    t.ok(pool.size <= 6, what)
    for (const [i, file] of files.entries()) {
      if (models[i]!.length > 0 && !models[i]!.equals(await file.read(0, models[i]!.length)))
        wrong.push(`file ${i} at the end`)
      await file.close()
      if (
        (models[i]!.length > 0 || fs.existsSync(path.join(folder, `file${i}`))) &&
        !models[i]!.equals(fs.readFileSync(path.join(folder, `file${i}`)))
      )
        wrong.push(`file ${i} on the disk`)
    }
    t.same(wrong, [], what)
    t.equal(pool.size, 0)
  }
})
