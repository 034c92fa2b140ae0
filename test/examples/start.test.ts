/** `npm start`, as a process and in its parts. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type Test } from 'tape'
import { readArguments } from '../../examples/start/arguments.ts'
import { Failure } from '../../examples/start/failure.ts'
import { BLOCK_SIZE, importFile } from '../../examples/start/import-file.ts'
import { openFeed } from '../../examples/start/open-feed.ts'
import { proveBlocks } from '../../examples/start/prove-blocks.ts'
import { Source } from '../../examples/start/source.ts'
import { Feed } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Ended {
  code: number | null
  out: string
  error: string
  /** What is left in the folder for temporary files. */
  left: string[]
}

/** Runs the command to its end. `during` is shown each piece of output. */
async function start(t: Test, args: string[], during?: (out: string, pid: number) => void): Promise<Ended> {
  const temporary = await temporaryFolder(t)
  const env = { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary }
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/start.ts', ...args], { cwd: ROOT, env })
  const ended = { out: '', error: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.out += text
    during?.(ended.out, child.pid!)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.error += text
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('close', resolve).on('error', reject)
  })
  // The loader keeps a cache of compiled files there.
  const left = (await readdir(temporary)).filter((name) => !name.startsWith('tsx-'))
  return { ...ended, code, left }
}

/** A file of random bytes and its SHA-256. */
async function someFile(t: Test, size: number): Promise<{ file: string; bytes: Buffer; sha256: string }> {
  const file = path.join(await temporaryFolder(t), 'some file')
  const bytes = randomBytes(size)
  await writeFile(file, bytes)
  return { file, bytes, sha256: createHash('sha256').update(bytes).digest('hex') }
}

test('start: a file goes through a feed and back', async (t) => {
  const { file, sha256 } = await someFile(t, 5 * BLOCK_SIZE + 100)
  const { code, out, error, left } = await start(t, [file])
  t.equal(code, 0, 'exit code')
  t.equal(error, '', 'no complaint')
  t.match(out, /^imported +6 blocks in /m, 'imported')
  t.match(out, /^reopened +same key, same length$/m, 'reopened')
  t.match(out, /^audited +6 blocks valid, 0 invalid/m, 'audited')
  t.equal(out.match(/^sought /gm)?.length, 3, 'three places')
  t.ok(out.includes(`SHA-256 ${sha256}, equal`), 'rebuilt')
  t.equal(out.match(/^proved .* travelled with \d+ nodes?/gm)?.length, 3, 'three proofs')
  t.match(out, /^key +[0-9a-f]{64}$/m, 'key')
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
  t.ok(out.includes(sha256), 'rebuilt')
})

test('start: --keep keeps the feed, and a second run finds it', async (t) => {
  const { file, bytes } = await someFile(t, 2 * BLOCK_SIZE)
  const keep = path.join(await temporaryFolder(t), 'deep', 'kept')
  const first = await start(t, [file, '--keep', keep])
  t.equal(first.code, 0, first.error)
  t.same(await readdir(keep), ['feed'], 'the rebuilt file is gone, the feed is not')
  t.same(await readFile(path.join(keep, 'feed', 'data')), bytes, 'it holds the file')

  const second = await start(t, [`--keep=${keep}`, file])
  t.equal(second.code, 0, second.error)
  t.match(second.out, /2 of them were here already/, 'nothing is appended twice')
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

test('start: a file that becomes shorter', async (t) => {
  const { file } = await someFile(t, 100)
  const source = await Source.open(file)
  await truncate(file, 50)
  t.equal((await source.read(0, 20)).byteLength, 20, 'what is there can be read')
  await fails(t, source.read(0, 100), 3, /became shorter/)
  await source.close()
})

test('start: arguments', async (t) => {
  t.same(readArguments([]), { file: process.execPath, keep: null, help: false }, 'none')
  t.same(readArguments(['a', '--keep', 'b']).keep, path.resolve('b'), 'folder')
  t.equal(readArguments(['--help']).help, true, 'help')
  for (const words of [['a', 'b'], ['--kepe', 'x'], ['--keep'], [''], ['--keep', '']]) {
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

test('start: what a proof saves the next one', async (t) => {
  const feed = new Feed(path.join(await temporaryFolder(t), 'feed'))
  await feed.append(Array.from({ length: 16 }, (_, i) => Buffer.from(`block ${i}`)))
  t.same(await proveBlocks(feed, [5, 4, 5]), [
    // The path from a leaf to the root of 16 blocks has four siblings.
    { block: 5, bytes: 7, nodes: 4, signed: true },
    { block: 4, bytes: 7, nodes: 0, signed: false },
    { block: 5, bytes: 7, nodes: 0, signed: false }
  ])
  await feed.close()
})

// A signal is delivered to a process of this system only on POSIX.
if (process.platform !== 'win32') {
  test('start: Ctrl-C leaves nothing broken', async (t) => {
    const { file } = await someFile(t, 0)
    // A hole: takes time to import, but no space here.
    await truncate(file, 256 * 1024 * 1024)
    const keep = await temporaryFolder(t)
    let interrupted = false
    const { code, error, left } = await start(t, [file, '--keep', keep], (_, pid) => {
      if (!interrupted) process.kill(pid, 'SIGINT')
      interrupted = true
    })
    t.equal(code, 130, 'exit code')
    t.match(error, /^Interrupted\. .*\n$/, 'one sentence')
    t.same(left, [], 'no temporary folder')

    const feed = await openFeed(path.join(keep, 'feed'))
    t.ok(feed.length < 4096, `${feed.length} blocks were stored`)
    t.same(await feed.audit(), { valid: feed.length, invalid: 0 }, 'all of them whole')
    await feed.close()
  })
}

async function fails(
  t: Test,
  work: Promise<unknown>,
  exitCode: number,
  sentence: RegExp,
  name?: string
): Promise<void> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason
  )
  if (!(error instanceof Failure)) {
    t.fail(`${name ?? String(sentence)}: ${String(error)}`)
    return
  }
  t.equal(error.exitCode, exitCode, `${name ?? error.message}: exit code`)
  t.match(error.message, sentence, name ?? 'sentence')
}
