/** `npm start` as a process, and the parts of it that import a file. */
import { randomBytes } from 'node:crypto'
import { appendFile, chmod, mkdir, readdir, readFile, truncate, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import { readArguments } from '../../examples/start/arguments.ts'
import { BLOCK_SIZE, importFile } from '../../examples/start/import-file.ts'
import { openFeed } from '../../examples/start/open-feed.ts'
import { Source } from '../../examples/start/source.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { begin, fails, someFile, start } from './start-helpers.ts'

test('start: a file goes through a feed and into a clone', async (t) => {
  const { file, sha256 } = await someFile(t, 5 * BLOCK_SIZE + 100)
  const { code, out, error, left } = await start(t, [file])
  t.equal(code, 0, 'exit code')
  t.equal(error, '', 'no complaint')
  t.match(out, /^imported +6 blocks in /m, 'imported')
  t.match(out, /^reopened +same key, same length$/m, 'reopened')
  t.match(out, /^audited +6 blocks valid, 0 invalid/m, 'audited')
  t.equal(out.match(/^sought /gm)?.length, 3, 'three places')
  t.ok(out.includes(`SHA-256 ${sha256}, equal to the file's`), 'rebuilt')
  t.match(
    out,
    /^length +6 blocks, 327\.8 kB, proven by \d nodes and a signature$/m,
    'the length travels first'
  )
  const sparse = [
    ...out.matchAll(/^sparse +block (\d): (\d+) bytes travelled with (\d) nodes? and no signature$/gm)
  ]
  t.equal(new Set(sparse.map(([, block]) => block)).size, 3, 'three blocks')
  for (const [, , bytes, nodes] of sparse)
    t.ok(Number(bytes) <= BLOCK_SIZE && Number(nodes) <= 4, 'one block, its proof')
  const [, bytes] = /^sparse +3 blocks of 6 in (\d+) bytes: /m.exec(out)!
  t.ok(Number(bytes) < 3 * BLOCK_SIZE + 1500, `${bytes} bytes for three blocks`)
  t.match(out, /^cloned +0 blocks were here already, 6 were fetched; the last 3 in /m, 'cloned')
  t.equal(out.match(/^audited +6 blocks valid, 0 invalid/gm)?.length, 2, 'the clone is audited, too')
  t.ok(
    out.includes(`SHA-256 ${sha256}, equal to that of the file on the other side`),
    'the clone is rebuilt, too'
  )
  t.match(
    out,
    /^peer +127\.0\.0\.1, port \d+: 6 blocks \(327\.8 kB\) downloaded; .* received, .* sent$/m,
    'stats'
  )
  t.match(
    out,
    /^served +127\.0\.0\.1, port \d+: 6 blocks \(327\.8 kB\) uploaded$/m,
    'stats of the other side'
  )
  t.equal(new Set(out.match(/^key +[0-9a-f]{64}$/gm)).size, 1, 'one key')
  t.match(out, /^length +6 blocks$/m, 'length')
  t.match(out, /^bytes +327780$/m, 'bytes')
  t.match(out, /^speed +[\d.]+ MB\/s$/m, 'speed')
  t.same(left, [], 'the temporary folder is gone')
})

test('start: an empty file is fine', async (t) => {
  const { file, sha256 } = await someFile(t, 0)
  const { code, out, error } = await start(t, [file])
  t.equal(code, 0, 'exit code')
  t.equal(error, '', 'no complaint')
  t.match(out, /^length +0 blocks$/m)
  t.match(out, /^cloned +0 blocks were here already, 0 were fetched/m)
  t.equal(out.match(new RegExp(`^rebuilt .*${sha256}`, 'gm'))?.length, 2, 'rebuilt on both sides')
})

test('start: --keep keeps the feed, and a second run finds it', async (t) => {
  const { file, bytes } = await someFile(t, 2 * BLOCK_SIZE)
  const keep = path.join(await temporaryFolder(t), 'deep', 'kept')
  const first = await start(t, [file, '--keep', keep])
  t.equal(first.code, 0, first.error)
  t.same((await readdir(keep)).sort(), ['clone', 'feed'], 'the rebuilt files are gone, the feeds are not')
  t.same(await readFile(path.join(keep, 'feed', 'data')), bytes, 'it holds the file')
  t.same(await readFile(path.join(keep, 'clone', 'data')), bytes, 'and so does the clone')

  const second = await start(t, [`--keep=${keep}`, file])
  t.equal(second.code, 0, second.error)
  t.match(second.out, /2 of them were here already/, 'nothing is appended twice')
  t.match(second.out, /^cloned +2 blocks were here already, 0 were fetched/m, 'nothing is fetched twice')
  t.match(second.out, /^served .*: 0 blocks/m, 'nothing is sent twice')
  const keys = [first.out, second.out].map((out) => /^key +(.*)$/m.exec(out)?.[1])
  t.equal(keys[0], keys[1], 'same key')

  const other = await someFile(t, 2 * BLOCK_SIZE)
  const third = await start(t, ['--keep', keep, other.file])
  t.equal(third.code, 4, 'another file: exit code')
  t.match(third.error, /^The folder holds another feed; .*\n$/, 'one sentence')
  t.same(await readFile(path.join(keep, 'feed', 'data')), bytes, 'the feed is unharmed')
})

test('start: what cannot be read is told in one sentence', async (t) => {
  const folder = await temporaryFolder(t)
  const missing = path.join(folder, 'missing')
  const { code, out, error, left } = await start(t, [missing])
  t.equal(code, 3, 'exit code')
  t.equal(out, '', 'nothing was begun')
  t.equal(error, `${missing} cannot be read: it does not exist.\n`)
  t.same(left, [], 'nothing is left behind')
})

test('start: sources that are no readable file', async (t) => {
  const folder = await temporaryFolder(t)
  const file = path.join(folder, 'file')
  await writeFile(file, 'x')
  await fails(t, Source.open(folder), 3, /is (not a file|.*a folder)/)
  await fails(t, Source.open(path.join(file, 'below')), 3, /no folder|does not exist/)
  await fails(t, Source.open('zero\0byte'), 3, /no file can have this path/, 'a zero byte')
  if (process.platform !== 'win32' && process.getuid?.() !== 0) {
    await chmod(file, 0)
    await fails(t, Source.open(file), 3, /access is denied/)
  }
})

test('start: a file that is changed while it is read', async (t) => {
  const { file } = await someFile(t, 100)
  const source = await Source.open(file)
  await truncate(file, 50)
  t.equal((await source.read(0, 20)).byteLength, 20, 'what is there can be read')
  await fails(t, source.read(0, 100), 3, /was changed/, 'shorter')
  await source.close()

  const signal = new AbortController().signal
  const changes: Record<string, () => Promise<void>> = {
    longer: () => appendFile(file, 'more'),
    rewritten: () => utimes(file, new Date(0), new Date(0))
  }
  for (const [name, change] of Object.entries(changes)) {
    const changing = await Source.open(file)
    const feed = await openFeed(await temporaryFolder(t))
    await change()
    await fails(t, importFile(feed, changing, { at() {}, end() {} }, signal), 3, /was changed/, name)
    await feed.close()
    await changing.close()
  }
})

test('start: arguments', async (t) => {
  const file = process.execPath
  const key = randomBytes(32)
  const hex = key.toString('hex')
  t.same(readArguments([]), { mode: 'both', file, keep: null, port: 0 }, 'none')
  t.same(
    readArguments(['a', '--keep', 'b', '--port=7']),
    { mode: 'both', file: path.resolve('a'), keep: path.resolve('b'), port: 7 },
    'all'
  )
  t.same(readArguments(['serve']), { mode: 'serve', file, keep: null, port: 0 }, 'serve')
  t.same(readArguments(['serve', './serve']).mode, 'serve', 'a file of that name')
  t.same(readArguments(['./clone']).mode, 'both', 'another one')
  t.same(readArguments(['clone', hex, '--port', '7']), { mode: 'clone', key, port: 7, keep: null }, 'clone')
  t.same(readArguments(['--help']), { mode: 'help' }, 'help')

  const wrong: string[][] = [
    ['a', 'b'],
    ['--kepe', 'x'],
    ['--keep'],
    [''],
    ['--keep', ''],
    ['--port', '65536']
  ]
  wrong.push(['--port', 'x'], ['--port='], ['--port', '-1'], ['serve', 'a', 'b'])
  wrong.push(['clone'], ['clone', hex], ['clone', hex, '--port', '0'], ['clone', hex, hex, '--port', '7'])
  wrong.push(['clone', hex.slice(1), '--port', '7'], ['clone', `${hex.slice(1)}g`, '--port', '7'])
  for (const words of wrong) {
    await fails(t, Promise.resolve(words).then(readArguments), 2, /\. See npm start -- --help\.$/)
  }
  const { code, out } = await start(t, ['--help'])
  t.equal(code, 0, 'help is no failure')
  t.match(out, /^Usage: npm start/, 'help')
})

test('start: a folder that cannot be used', async (t) => {
  const { file } = await someFile(t, 10)
  const { code, error } = await start(t, [file, '--keep', file])
  t.equal(code, 4, 'exit code')
  t.match(error, /^The folder .* cannot be made: there is a file of this name\.\n$/)

  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'tree'), 'no header, but long enough to be taken for one')
  await fails(t, openFeed(folder), 4, /cannot be used: The file "tree" has a foreign or damaged header\.$/)
  const mine = path.join(folder, 'mine')
  await mkdir(mine)
  const feed = await openFeed(mine)
  await fails(t, openFeed(mine), 4, /another process is using it\.$/)
  await feed.close()
})

test('start: an interrupted import goes on where it stopped', async (t) => {
  const { file, bytes, sha256 } = await someFile(t, 40 * BLOCK_SIZE + 1)
  const folder = await temporaryFolder(t)
  const source = await Source.open(file)
  const stop = new AbortController()
  const idle = { at() {}, end() {} }

  let feed = await openFeed(folder)
  await fails(
    t,
    importFile(feed, source, { ...idle, at: () => stop.abort() }, stop.signal),
    130,
    /^Interrupted/
  )
  const found = feed.length
  t.ok(found > 0 && found < 41, `${found} blocks were stored`)
  await feed.close()

  feed = await openFeed(folder)
  t.equal(feed.length, found, 'they are still there')
  const seen: number[] = []
  const progress = { ...idle, at: (done: number) => seen.push(done) }
  t.same(await importFile(feed, source, progress, new AbortController().signal), { sha256, found })
  t.equal(feed.length, 41, 'all blocks')
  t.equal(seen.at(-1), bytes.byteLength, 'progress ends at the end')
  t.same(await readFile(path.join(folder, 'data')), bytes, 'nothing twice')
  await feed.close()
  await source.close()
})

test('start: feeds that are not the beginning of the file', async (t) => {
  const { file, bytes } = await someFile(t, 2 * BLOCK_SIZE + 5)
  const source = await Source.open(file)
  const signal = new AbortController().signal
  const contents: Record<string, Buffer[]> = {
    'other bytes': [randomBytes(BLOCK_SIZE)],
    'other blocks': [bytes.subarray(0, 100)],
    'the same length in other blocks': [bytes.subarray(0, 7), bytes.subarray(7, BLOCK_SIZE)],
    'more bytes': [bytes.subarray(0, BLOCK_SIZE), bytes.subarray(BLOCK_SIZE, 2 * BLOCK_SIZE), randomBytes(6)]
  }
  for (const [name, blocks] of Object.entries(contents)) {
    const feed = await openFeed(await temporaryFolder(t))
    await feed.append(blocks)
    await fails(t, importFile(feed, source, { at() {}, end() {} }, signal), 4, /another feed/, name)
    t.equal(feed.length, blocks.length, `${name}: unchanged`)
    await feed.close()
  }
  const part = await openFeed(await temporaryFolder(t))
  await part.append([bytes.subarray(0, BLOCK_SIZE), bytes.subarray(BLOCK_SIZE, 2 * BLOCK_SIZE)])
  await part.clear(0)
  await fails(
    t,
    importFile(part, source, { at() {}, end() {} }, signal),
    4,
    /another feed/,
    'a block is gone'
  )
  await part.close()
  await source.close()
})

// A signal is delivered to a process of this system only on POSIX.
if (process.platform !== 'win32') {
  test('start: Ctrl-C during the import leaves nothing broken', async (t) => {
    const { file } = await someFile(t, 0)
    // A hole: takes time to import, but no space here.
    await truncate(file, 512 * 1024 * 1024)
    const keep = await temporaryFolder(t)
    const process = await begin(t, [file, '--keep', keep])
    await process.says(/^file /m)
    process.kill('SIGINT')
    const { code, error, left } = await process.ended
    t.equal(code, 130, 'exit code')
    t.match(error, /^Interrupted\. .*\n$/, 'one sentence')
    t.same(left, [], 'no temporary folder')

    const feed = await openFeed(path.join(keep, 'feed'))
    t.ok(feed.length < 8192, `${feed.length} blocks were stored`)
    t.same(await feed.audit(), { valid: feed.length, invalid: 0 }, 'all of them whole')
    await feed.close()
  })
}
