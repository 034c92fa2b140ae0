/** `import` and `export`: what goes in comes out, and nothing else is touched. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import {
  appendFile,
  chmod,
  lstat,
  lutimes,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
  writeFile
} from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { Feed } from 'ddatabase'
import test, { type Test } from 'tape'
import { rejection, within } from '../../../test/helpers/watchdog.ts'
import { exportFolder } from '../src/folder/export.ts'
import { importInto } from '../src/folder/import.ts'
import { type Entry, encodeManifest, manifestOf } from '../src/folder/manifest.ts'
import { isInside, targetOf, unsafeEntries } from '../src/folder/paths.ts'
import { scan } from '../src/folder/scan.ts'
import type { Progress } from '../src/progress.ts'
import { begin, fails, json, run, someFile, spawned, temporaryFolder } from './helpers.ts'

const POSIX = process.platform !== 'win32'

// Reading takes its time, so that an import can be ended half way on any machine.
const SLOW_READS = `data:text/javascript,${encodeURIComponent(`
  import { open } from 'node:fs/promises'
  const handle = await open(process.execPath)
  const prototype = Object.getPrototypeOf(handle)
  const { read } = prototype
  prototype.read = async function (...values) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    return read.apply(this, values)
  }
  await handle.close()
`)}`

/** A folder with all that an import knows. */
async function someFolder(t: Test): Promise<string> {
  const folder = path.join(await temporaryFolder(t), 'a folder')
  await mkdir(path.join(folder, 'sub', 'empty'), { recursive: true })
  await writeFile(path.join(folder, 'text.txt'), 'some text')
  await writeFile(path.join(folder, 'zero'), '')
  await writeFile(path.join(folder, 'sub', 'big'), randomBytes(200_000))
  await writeFile(path.join(folder, 'sub', 'ünï cödé\\x'), 'x')
  if (POSIX) await symlink('../text.txt', path.join(folder, 'sub', 'link'))
  await chmod(path.join(folder, 'text.txt'), 0o640)
  await utimes(path.join(folder, 'sub', 'big'), 981173106.789, 981173106.789)
  await utimes(path.join(folder, 'sub'), 981173107, 981173107)
  await chmod(path.join(folder, 'sub', 'empty'), 0o555)
  return folder
}

/** What is in a folder, in a form that can be compared. */
async function contents(folder: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const place = path.join(folder, name)
    const stats = await lstat(place)
    const mode = (stats.mode & 0o777).toString(8)
    const time = Math.round(stats.mtimeMs)
    if (stats.isSymbolicLink()) found[name] = ['link', await readlink(place)]
    else if (stats.isDirectory()) found[name] = ['folder', mode, time]
    else found[name] = ['file', mode, time, (await readFile(place)).toString('base64')]
  }
  return found
}

/** A feed whose last block is this manifest. */
async function feedWith(
  t: Test,
  entries: readonly Partial<Entry>[],
  blocks: readonly string[] = ['evil']
): Promise<string> {
  const dir = path.join(await temporaryFolder(t), 'feed')
  const feed = new Feed(dir)
  const whole = entries.map((entry) => ({
    path: 'x',
    type: 'file',
    mode: 0o644,
    mtime: 0,
    size: 0,
    block: 0,
    blocks: 0,
    ...entry
  }))
  await feed.append([
    ...blocks.map((block) => Buffer.from(block)),
    ...encodeManifest('folder', whole as Entry[])
  ])
  await feed.close()
  return dir
}

const FILE: Partial<Entry> = { type: 'file', size: 4, block: 0, blocks: 1 }

test('a folder goes in and comes out: names, modes, times, links', async (t) => {
  const folder = await someFolder(t)
  const dir = path.join(await temporaryFolder(t), 'feed')
  const imported = await json(t, ['import', folder, dir])
  t.same(
    [imported.files, imported.unchanged, imported.length],
    [4, 0, 7],
    'four files in six blocks, and the manifest'
  )
  const target = path.join(await temporaryFolder(t), 'deep', 'target')
  t.equal((await json(t, ['export', dir, target])).files, 4)
  t.same(await contents(target), await contents(folder), 'the same')
  t.equal((await json(t, ['export', dir, target])).unchanged, 4, 'again: nothing is written')
  t.same(await contents(target), await contents(folder), 'still the same')
  t.match((await run(t, ['info', dir])).out, /^holds a folder +[67] entries$/m, 'info knows')

  await appendFile(path.join(target, 'text.txt'), '!')
  await fails(
    t,
    ['export', dir, target],
    4,
    /text\.txt is there and differs, nothing was written; --overwrite/
  )
  t.equal((await json(t, ['export', dir, target, '--overwrite'])).files, 1, '--overwrite')
  t.same(await contents(target), await contents(folder), 'as it was')
  for (const left of await readdir(target, { recursive: true }))
    t.notOk(left.includes('part'), `${left} is no rest`)
})

test('a folder that has changed: only what has changed is appended', async (t) => {
  const folder = await someFolder(t)
  const dir = path.join(await temporaryFolder(t), 'feed')
  const first = await json(t, ['import', folder, dir])
  const same = await json(t, ['import', folder, dir])
  t.same([same.changed, same.length, same.key], [false, first.length, first.key], 'nothing new')
  await writeFile(path.join(folder, 'text.txt'), 'other text')
  await writeFile(path.join(folder, 'new'), 'new')
  await rm(path.join(folder, 'zero'))
  const next = await json(t, ['import', folder, dir])
  t.same([next.unchanged, next.blocks, next.length], [2, 3, first.length + 3], 'two files and a manifest')
  const target = await temporaryFolder(t)
  await json(t, ['export', dir, target])
  t.same(await contents(target), await contents(folder), 'the newest state')
  t.equal((await json(t, ['import', folder, dir, '--full'])).unchanged, 0, '--full')
})

test('one file goes in and comes out', async (t) => {
  const { file, bytes } = await someFile(t, 150_000)
  const dir = path.join(await temporaryFolder(t), 'feed')
  t.equal((await json(t, ['import', file, dir])).length, 4, 'three blocks and the manifest')
  const target = await temporaryFolder(t)
  await json(t, ['export', dir, target])
  t.same(await readFile(path.join(target, 'some file')), bytes, 'into a folder, under its name')
  await json(t, ['export', dir, path.join(target, 'other name')])
  t.same(await readFile(path.join(target, 'other name')), bytes, 'under another name')
  await fails(t, ['export', dir, path.join(target, 'other name')], 4, /exists already; --overwrite/)
  t.equal((await json(t, ['export', dir, path.join(target, 'other name'), '--overwrite'])).bytes, 150_000)
})

test('a feed that was not imported comes out as its bytes', async (t) => {
  const dir = path.join(await temporaryFolder(t), 'feed')
  await json(t, ['create', dir])
  await json(t, ['append', dir, '--encoding', 'utf-8', 'one', 'two'])
  const file = path.join(await temporaryFolder(t), 'out')
  await json(t, ['export', dir, file])
  t.equal(await readFile(file, 'utf8'), 'onetwo')
  await fails(t, ['export', dir, path.dirname(file)], 4, /is a folder, and this feed does not say/)
})

test('the longest names, and times before 1970', async (t) => {
  const folder = await temporaryFolder(t)
  // 255 bytes, as many as a name can have.
  const [file, link] = ['語'.repeat(85), 'l'.repeat(255)]
  await writeFile(path.join(folder, file), 'some text')
  await mkdir(path.join(folder, 'old'))
  if (POSIX) {
    await symlink('old', path.join(folder, link))
    await lutimes(path.join(folder, link), new Date(-3000), new Date(-3000))
  }
  for (const name of [file, 'old']) await utimes(path.join(folder, name), new Date(-3000), new Date(-3000))
  const dir = path.join(await temporaryFolder(t), 'feed')
  await json(t, ['import', folder, dir])
  const target = await temporaryFolder(t)
  t.equal((await json(t, ['export', dir, target])).files, 1)
  t.same(await contents(target), await contents(folder), 'the same')
  t.equal((await json(t, ['export', dir, target])).unchanged, 1, 'again: nothing is written')
})

test('many files: the manifest takes several blocks', async (t) => {
  const folder = await temporaryFolder(t)
  const name = 'n'.repeat(200)
  for (let i = 0; i < 5000; i++) await writeFile(path.join(folder, `${name}${i}`), '')
  const dir = path.join(await temporaryFolder(t), 'feed')
  const imported = await json(t, ['import', folder, dir])
  t.equal(imported.length, 3, 'two parts and the manifest')
  t.equal((await json(t, ['info', dir])).folderEntries, 5000, 'all of them')
  t.equal((await json(t, ['import', folder, dir])).changed, false, 'nothing has changed')
  const target = await temporaryFolder(t)
  await json(t, ['export', dir, target])
  t.equal((await readdir(target)).length, 5000, 'exported')
})

const HOSTILE: Record<string, { entries: Partial<Entry>[]; reason: RegExp }> = {
  'a path that goes up': { entries: [{ ...FILE, path: '../outside' }], reason: /it leads out of the folder/ },
  'a path that goes up later': {
    entries: [{ ...FILE, path: 'a/../../outside' }],
    reason: /it leads out of the folder/
  },
  'an absolute path': { entries: [{ ...FILE, path: '/outside' }], reason: /it is an absolute path/ },
  'an empty name': { entries: [{ ...FILE, path: 'a//b' }], reason: /no path that an import makes/ },
  'a dot': { entries: [{ ...FILE, path: './a' }], reason: /no path that an import makes/ },
  'a zero byte': { entries: [{ ...FILE, path: 'a\0b' }], reason: /zero byte/ },
  'a file below a link of the manifest': {
    entries: [
      { path: 'l', type: 'symlink', target: '.' },
      { ...FILE, path: 'l/outside' }
    ],
    reason: /l is no folder/
  },
  'a link and a file of one name': {
    entries: [
      { path: 'l', type: 'symlink', target: '../..' },
      { ...FILE, path: 'l' }
    ],
    reason: /named twice/
  },
  'a link that goes up': { entries: [{ path: 'l', type: 'symlink', target: '..' }], reason: /leads out/ },
  'a link that goes up and comes back': {
    entries: [{ path: 'l', type: 'symlink', target: '../target/x' }],
    reason: /leads out/
  },
  'an absolute link': {
    entries: [{ path: 'l', type: 'symlink', target: '/etc/passwd' }],
    reason: /leads out/
  },
  'a link that goes up by way of another': {
    entries: [
      { path: 'd', type: 'directory' },
      { path: 'd/e', type: 'directory' },
      { path: 'd/e/l', type: 'symlink', target: '..' },
      { path: 'm', type: 'symlink', target: 'd/e/l/../..' }
    ],
    reason: /m is refused because it is a link that leads out/
  },
  'a link that goes up by way of another on disks that do not tell capitals': {
    entries: [
      { path: 'x/y/Z', type: 'symlink', target: '../..' },
      { path: 'e', type: 'symlink', target: 'x/y/z/../s' }
    ],
    reason: /e is refused because it is a link that leads out/
  },
  'a link that goes up by way of another whose letters are composed': {
    entries: [
      { path: 'x/y/\u00fc', type: 'symlink', target: '../..' },
      { path: 'e', type: 'symlink', target: 'x/y/u\u0308/../s' }
    ],
    reason: /e is refused because it is a link that leads out/
  },
  'a path that is too long': {
    entries: [{ ...FILE, path: 'x/'.repeat(200_000).concat('x') }],
    reason: /its name is too long/
  },
  'a link to a path that is too long': {
    entries: [{ path: 'l', type: 'symlink', target: 'x/'.repeat(400_000).concat('x') }],
    reason: /l is refused because it is a link to a path that is too long/
  },
  'a link by way of one to a path that is too long': {
    entries: [
      { path: 'l', type: 'symlink', target: 'x/'.repeat(400_000).concat('x') },
      { path: 'm', type: 'symlink', target: 'l/../l/../..' }
    ],
    reason: /l is refused because it is a link to a path that is too long/
  },
  'links in a circle': {
    entries: [
      { path: 'l', type: 'symlink', target: 'm' },
      { path: 'm', type: 'symlink', target: 'l' }
    ],
    reason: /leads out/
  }
}

for (const [name, { entries, reason }] of Object.entries(HOSTILE)) {
  test(`export refuses ${name}`, async (t) => {
    const dir = await feedWith(t, [...entries, { ...FILE, path: 'good' }])
    const around = await temporaryFolder(t)
    const target = path.join(around, 'target')
    await fails(t, ['export', dir, target], 4, reason)
    t.same(await readdir(around), [], 'nothing was written')
    const { skipped } = await json(t, ['export', dir, target, '--skip-unsafe'])
    t.ok(skipped.length > 0, '--skip-unsafe leaves it out')
    t.same(await readdir(around), ['target'], 'nothing beside the target')
    t.equal(await readFile(path.join(target, 'good'), 'utf8'), 'evil', 'and writes the others')
  })
}

test('export refuses what is no manifest that an import makes', async (t) => {
  const wrong: Partial<Entry>[] = [
    { ...FILE, type: 'device' as 'file' },
    { ...FILE, mode: 0o4755 },
    { ...FILE, block: 1 },
    { ...FILE, blocks: 2 },
    { ...FILE, block: -1 },
    { ...FILE, size: 0.5 },
    { ...FILE, mtime: null as unknown as number },
    { ...FILE, mtime: 1e300 },
    { ...FILE, path: 7 as unknown as string },
    { type: 'symlink', path: 'l' },
    { type: 'directory', path: 'd', blocks: 1 }
  ]
  for (const entry of wrong) {
    const target = path.join(await temporaryFolder(t), 'target')
    await fails(
      t,
      ['export', await feedWith(t, [entry]), target],
      6,
      /manifest of the folder in this feed makes no sense/
    )
  }
  const target = await temporaryFolder(t)
  await fails(
    t,
    ['export', await feedWith(t, [{ ...FILE, path: 'f', size: 3 }]), target],
    6,
    /manifest says 3 bytes/
  )
  t.same(await readdir(target), [], 'nothing is left')
})

test('info tells what it can of a feed with a manifest that makes no sense', async (t) => {
  const dir = await feedWith(t, [{ ...FILE, mode: 0o4755 }])
  const { code, out, error } = await run(t, ['info', dir])
  t.equal(code, 0)
  t.match(out, /^length +2 blocks$/m)
  t.notOk(/holds a folder/.test(out))
  t.match(
    error,
    /^warning: The manifest of the folder in this feed makes no sense \(entry 0\); `ddatabase cat`/
  )
  const { key, length, folderEntries } = await json(t, ['info', dir])
  t.same([key.length, length, folderEntries], [64, 2, null], 'as JSON')
})

test('a manifest of many parts is not read at once, and not without end', async (t) => {
  const dir = path.join(await temporaryFolder(t), 'feed')
  const feed = new Feed(dir)
  const head = (parts: number) =>
    Buffer.from(JSON.stringify({ format: 'ddatabase-folder', version: 1, root: 'folder', parts }))
  await feed.append([...Array.from({ length: 20 }, () => Buffer.from('[]')), head(20)])
  const read: number[] = []
  const { getBatch } = feed
  feed.getBatch = ((start: number, end: number, options: object) => {
    read.push(end - start)
    return Reflect.apply(getBatch, feed, [start, end, options])
  }) as typeof getBatch
  t.same(await manifestOf(feed), { root: 'folder', entries: [], index: 20 })
  t.same([read.length, Math.max(...read)], [5, 4], 'four blocks at a time')

  read.length = 0
  await feed.append([...Array.from({ length: 20 }, () => Buffer.from('no part')), head(20)])
  t.match((await rejection(manifestOf(feed), 'the manifest')).message, /makes no sense \(entries\)/)
  t.equal(read.length, 1, 'the first part that is none is the last that is read')
  await feed.close()
  t.equal((await json(t, ['info', dir])).length, 42)
  await fails(t, ['export', dir, path.join(await temporaryFolder(t), 'target')], 6, /makes no sense/)

  // As large as blocks can be, and nothing in them.
  const part = Buffer.alloc(8_000_000, ' ')
  part.write('[]')
  const large = {
    length: 1_000_001,
    has: () => true,
    get: async () => head(1_000_000),
    getBatch: async (start: number, end: number) => Array.from({ length: end - start }, () => part)
  }
  const error = await rejection(manifestOf(large as unknown as Feed), 'the manifest')
  t.match(error.message, /has more than 512 MiB/)
})

test('export: nothing in a manifest gets to steer the terminal', async (t) => {
  const title = '\u001b]0;owned\u0007'
  const long = await feedWith(t, [{ ...FILE, path: `${title}${'x'.repeat(300)}` }])
  await fails(
    t,
    ['export', long, await temporaryFolder(t)],
    4,
    /^error: The name .*\\u001b\]0;owned\\u0007x+ is/
  )
  const below = await feedWith(t, [
    { ...FILE, path: title },
    { ...FILE, path: `${title}/x` }
  ])
  const reason = /because \\u001b\]0;owned\\u0007 is no folder/
  await fails(t, ['export', below, await temporaryFolder(t)], 4, reason)

  const dir = path.join(await temporaryFolder(t), 'feed')
  const feed = new Feed(dir)
  const entry = { path: title, type: 'file', mode: 0o644, mtime: 0, size: 4, block: 0, blocks: 1 } as const
  await feed.append([Buffer.from('evil'), ...encodeManifest('file', [entry])])
  await feed.close()
  const target = await temporaryFolder(t)
  const { out } = await run(t, ['export', dir, `${target}/`])
  t.ok(out.includes('\\u001b]0;owned\\u0007'), 'the name of the file that was written')
  t.notOk(out.includes('\u001b'))
})

test('export writes nothing into the folder of the feed', async (t) => {
  const around = await temporaryFolder(t)
  const [one, many] = [path.join(around, 'one'), path.join(around, 'many')]
  await writeFile(path.join(around, 'secret_key'), 'evil')
  await json(t, ['import', path.join(around, 'secret_key'), one])
  const secret = await readFile(path.join(one, 'secret_key'))
  const same = path.join(around, 'x', '..', 'one')
  for (const target of [one, same, `${one}/`, path.join(one, 'new'), path.join(one, 'secret_key')]) {
    await fails(t, ['export', one, target, '--overwrite'], 2, /is in the folder of the feed itself/)
  }
  t.same(await readFile(path.join(one, 'secret_key')), secret, 'as it was')
  if (POSIX) {
    const alias = path.join(around, 'alias')
    await symlink(one, alias)
    await fails(t, ['export', alias, path.join(alias, 'new')], 2, /is in the folder of the feed itself/)
    await fails(t, ['export', one, alias], 2, /is in the folder of the feed itself/)
  }

  await mkdir(path.join(around, 'folder', 'feed'), { recursive: true })
  await writeFile(path.join(around, 'folder', 'feed', 'secret_key'), 'evil')
  await json(t, ['import', path.join(around, 'folder'), many])
  const before = await contents(many)
  await fails(t, ['export', many, many], 2, /is the folder of the feed itself/)
  await fails(t, ['export', many, path.join(many, 'a', 'b')], 2, /is in the folder of the feed itself/)
  const feed = path.join(around, 'target', 'feed')
  await mkdir(path.dirname(feed))
  await rename(many, feed)
  await fails(
    t,
    ['export', feed, path.dirname(feed), '--overwrite'],
    4,
    /is the folder of the feed itself, nothing was written/
  )
  t.same(await contents(feed), before, 'as it was')
})

test('export: what appears while it runs is not replaced', async (t) => {
  const dir = await feedWith(t, [
    { ...FILE, path: 'a' },
    { ...FILE, path: 'b' },
    { path: 'l', type: 'symlink', target: 'a' }
  ])
  const feed = new Feed(dir)
  await feed.ready()
  const source = {
    feed,
    remote: false,
    patiently: <T>(waiting: Promise<T>) => waiting,
    withoutEnd: <T>(waiting: Promise<T>) => waiting
  }
  const manifest = (await manifestOf(feed))!
  const { signal } = new AbortController()
  const exported = (target: string, name: string, overwrite: boolean) => {
    // With the first block of the first file.
    const at = () => writeFileSync(path.join(target, name), 'mine')
    const options = { overwrite, skipUnsafe: false }
    return exportFolder(source, manifest, target, options, { at } as unknown as Progress, signal)
  }
  for (const name of POSIX ? ['a', 'b', 'l'] : ['a', 'b']) {
    const target = await temporaryFolder(t)
    const { message } = await rejection(exported(target, name, false), 'the export')
    t.match(message, /is there (now|and differs); --overwrite replaces such files/, name)
    t.equal(await readFile(path.join(target, name), 'utf8'), 'mine', 'is left')
    t.notOk(
      (await readdir(target)).some((left) => left.includes('part')),
      'and nothing half written'
    )
  }
  await feed.close()
})

test('names that some disks take for the same, and links that stay inside', async (t) => {
  const { signal } = new AbortController()
  const link = (name: string, target: string) => ({ path: name, type: 'symlink', target }) as Entry
  const entries = [
    link('A', 'x'),
    link('a', 'x/y'),
    link('x/B', '../a/z'),
    link('x/b', 'y'),
    link('c', 'X/b/../s')
  ]
  t.same(await unsafeEntries(entries, signal, false), [])
})

test('unsafe names on Windows', async (t) => {
  const { signal } = new AbortController()
  const entry = (name: string, target?: string): Entry =>
    ({
      path: name,
      type: target === undefined ? 'file' : 'symlink',
      mode: 0,
      mtime: 0,
      size: 0,
      block: 0,
      blocks: 0,
      target
    }) as Entry
  for (const name of ['a\\..\\b', 'C:x', 'a:stream']) {
    t.equal((await unsafeEntries([entry(name)], signal, true)).length, 1, name)
    t.equal((await unsafeEntries([entry(name)], signal, false)).length, 0, `${name} elsewhere`)
  }
  t.equal((await unsafeEntries([entry('l', '..\\x')], signal, true)).length, 1, 'a link')
  t.equal(targetOf('sub\\x', true), 'sub/x', 'a link that Windows tells is that of the manifest')
  t.equal(
    (await unsafeEntries([entry('l', targetOf('sub\\x', true))], signal, true)).length,
    0,
    'and can be exported'
  )
  t.notOk(isInside('l', targetOf('..\\x', true)), 'one that leads out is seen to')
  t.equal(targetOf('sub\\x', false), 'sub\\x', 'elsewhere it is a letter of the name')
})

test('many entries are looked through, and Ctrl-C is heard meanwhile', async (t) => {
  const entries = Array.from({ length: 200_000 }, (_, i) => ({
    path: `folder/${i}`,
    type: 'symlink',
    target: `${i - 1}`
  }))
  const stop = new AbortController()
  setImmediate(() => stop.abort('interrupted'))
  const looking = unsafeEntries(entries as Entry[], stop.signal).then(({ length }) => length)
  const error = await rejection(looking, 'all of them')
  t.match(error.message, /^Interrupted; nothing was written yet/)
})

if (POSIX) {
  test('export does not write through links that are there', async (t) => {
    const dir = await feedWith(t, [
      { path: 'd', type: 'directory', mode: 0o755 },
      { ...FILE, path: 'd/f' }
    ])
    const [target, outside] = [await temporaryFolder(t), await temporaryFolder(t)]
    await symlink(outside, path.join(target, 'd'))
    await fails(t, ['export', dir, target], 4, /is a link, which may lead out|is in the way/)
    await fails(t, ['export', dir, target, '--overwrite'], 4, /is a link, which may lead out|is in the way/)
    t.same(await readdir(outside), [], 'nothing there')

    const file = await feedWith(t, [{ ...FILE, path: 'f' }])
    const [other, victim] = [await temporaryFolder(t), path.join(outside, 'victim')]
    await writeFile(victim, 'mine')
    await symlink(victim, path.join(other, 'f'))
    await json(t, ['export', file, other, '--overwrite'])
    t.equal(await readFile(victim, 'utf8'), 'mine', 'a link is replaced, not followed')
    t.equal(await readFile(path.join(other, 'f'), 'utf8'), 'evil')
  })

  test('export again: folders that their owner may not enter, or write to', async (t) => {
    const dir = await feedWith(t, [
      { path: 'closed', type: 'directory', mode: 0 },
      { ...FILE, path: 'closed/f' },
      { path: 'closed/sub', type: 'directory', mode: 0o600 },
      { ...FILE, path: 'closed/sub/g' },
      { path: 'fixed', type: 'directory', mode: 0o500 },
      { ...FILE, path: 'fixed/h' }
    ])
    const around = await temporaryFolder(t)
    const target = path.join(around, 'target')
    // Nothing is closed to the superuser, who therefore runs it as somebody else.
    const nobody = process.getuid?.() === 0 ? { uid: 65534 } : {}
    if (nobody.uid !== undefined) {
      for (const place of [path.dirname(dir), around]) execFileSync('chown', ['-R', '65534', place])
    }
    const exported = async (...more: string[]) => {
      const args = ['export', dir, target, '--json', ...more]
      const { code, out, error } = await spawned(t, args, {
        ...nobody,
        env: { TMPDIR: around, HOME: around }
      })
      const { files, unchanged } = code === 0 ? JSON.parse(out) : { files: 0, unchanged: 0 }
      return { code, files, unchanged, error }
    }
    const closed = path.join(target, 'closed')
    t.same(await exported(), { code: 0, files: 3, unchanged: 0, error: '' })
    t.same(await exported(), { code: 0, files: 0, unchanged: 3, error: '' }, 'again')
    t.equal((await lstat(closed)).mode & 0o777, 0, 'it stays closed')
    await chmod(closed, 0o700)
    await utimes(path.join(closed, 'f'), 5, 5)
    await chmod(closed, 0)
    const { code, error } = await exported()
    t.equal(code, 4, 'what differs in it is in the way')
    t.match(error, /closed\/f is there and differs/)
    await chmod(closed, 0)
    t.same(await exported('--overwrite'), { code: 0, files: 1, unchanged: 2, error: '' }, 'and is replaced')
    // For whoever removes it all.
    for (const name of ['closed', 'closed/sub', 'fixed']) await chmod(path.join(target, name), 0o700)
  })

  test('export makes no link that leads out by way of links that are there', async (t) => {
    const folders = ['p', 'p/q'].map((name) => ({ path: name, type: 'directory', mode: 0o755 }) as const)
    const target = path.join(await temporaryFolder(t), 'target')
    const first = await feedWith(t, [...folders, { path: 'p/q/l', type: 'symlink', target: '../..' }])
    await json(t, ['export', first, target])
    for (const evil of ['p/q/l/..', 'p/q/l/../target/p', 'out', 'circle']) {
      const second = await feedWith(t, [...folders, { path: 'x', type: 'symlink', target: evil }])
      if (evil === 'out') await symlink('/etc', path.join(target, 'out'))
      if (evil === 'circle') await symlink('circle', path.join(target, 'circle'))
      await fails(t, ['export', second, target], 4, /x would lead out of the target by way of a link/)
      t.notOk((await readdir(target)).includes('x'), 'it is not made')
    }
    await symlink(path.join(target, 'p'), path.join(target, 'absolute'))
    for (const good of ['p/q/l/p/q', 'absolute/q/none', 'p/q/l']) {
      const second = await feedWith(t, [...folders, { path: 'x', type: 'symlink', target: good }])
      await json(t, ['export', second, target, '--overwrite'])
      t.equal(await readlink(path.join(target, 'x')), good, 'one that stays inside is made')
    }
  })

  test('export of one file: a link that leads to nothing is there, too', async (t) => {
    const { file, bytes } = await someFile(t, 10)
    const dir = path.join(await temporaryFolder(t), 'feed')
    await json(t, ['import', file, dir])
    const target = await temporaryFolder(t)
    const link = path.join(target, 'some file')
    await symlink('nothing', link)
    for (const place of [link, target]) {
      await fails(t, ['export', dir, place], 4, /some file exists already; --overwrite replaces a file/)
    }
    t.equal(await readlink(link), 'nothing', 'is left')
    await json(t, ['export', dir, target, '--overwrite'])
    t.same(await readdir(target), ['some file'], 'what it leads to is not made')
    t.same(await readFile(link), bytes, '--overwrite replaces it')
    await rm(link)
    await symlink('some file', link)
    await fails(t, ['export', dir, link], 4, /some file/)
    await fails(t, ['export', dir, path.join(file, 'x')], 4, /some file/)
  })

  test('import: the feed is no part of itself, whatever its path', async (t) => {
    const [around, folder] = [await temporaryFolder(t), await temporaryFolder(t)]
    await writeFile(path.join(folder, 'x'), 'x')
    await symlink(folder, path.join(around, 'alias'))
    const dir = path.join(around, 'alias', 'feed')
    await json(t, ['create', dir])
    t.equal((await json(t, ['import', folder, dir])).files, 1, 'its folder by another path')
    t.equal((await json(t, ['import', path.join(around, 'alias'), path.join(folder, 'feed')])).changed, false)
    for (const own of [path.join(folder, 'feed'), path.join(folder, 'feed', 'secret_key')]) {
      await fails(t, ['import', own, dir], 2, /is (the folder|a file) of the feed itself/)
    }
    t.equal((await json(t, ['info', dir])).length, 2, 'nothing was appended')
    const below = path.join(folder, 'feed', 'below')
    await mkdir(below)
    await writeFile(path.join(below, 'y'), 'y')
    t.equal((await json(t, ['import', below, dir])).files, 1, 'another folder that is in its own')
  })

  test('import: links that lead out, and things that cannot be imported', async (t) => {
    const folder = await someFolder(t)
    const dir = path.join(await temporaryFolder(t), 'feed')
    await symlink('/etc/passwd', path.join(folder, 'out'))
    const { error } = await run(t, ['import', folder, dir])
    t.match(error, /^warning: the link out leads out of the folder; an export will refuse it\.$/m)
    const target = await temporaryFolder(t)
    await fails(t, ['export', dir, target], 4, /^error: out is refused because/)
    t.same((await json(t, ['export', dir, target, '--skip-unsafe'])).skipped, ['out'])

    execFileSync('mkfifo', [path.join(folder, 'pipe')])
    const other = path.join(await temporaryFolder(t), 'feed')
    await fails(
      t,
      ['import', folder, other],
      4,
      /^error: pipe cannot be imported because it is a device, a pipe or a socket/
    )
    t.same(await readdir(path.dirname(other)), [], 'nothing was made')
    t.same(
      (await json(t, ['import', folder, other, '--skip-unreadable'])).skipped,
      ['pipe'],
      '--skip-unreadable'
    )
    await fails(t, ['import', path.join(folder, 'none'), other], 4, /does not exist/)
  })

  test('import: a file that has become something else since it was looked at', async (t) => {
    const [folder, outside] = [await temporaryFolder(t), await temporaryFolder(t)]
    const [file, other] = [path.join(folder, 'f'), path.join(outside, 'other')]
    for (const name of [file, other]) {
      await writeFile(name, '')
      await utimes(name, 1000, 1000)
    }
    const { signal } = new AbortController()
    const scanned = await scan(folder, outside, signal)
    const feed = new Feed(path.join(await temporaryFolder(t), 'feed'))
    const become: Record<string, () => Promise<unknown>> = {
      'a pipe': async () => execFileSync('mkfifo', [file]),
      'a link': () => symlink(other, file),
      'a socket': () =>
        new Promise<void>((resolve) => {
          const server = createServer().listen(file, resolve)
          t.teardown(() => server.close())
        })
    }
    for (const [what, make] of Object.entries(become)) {
      await rm(file)
      await make()
      if (what !== 'a link') await utimes(file, 1000, 1000)
      const work = importInto(feed, outside, scanned, false, { at() {} } as unknown as Progress, signal)
      const error = await rejection(within(work, 'the import'), what)
      t.match(error.message, /^f was changed while it was read/, what)
    }
    t.equal(feed.length, 0, 'nothing was appended')
    await feed.close()
  })

  test('import: a link that is named itself', async (t) => {
    const folder = await temporaryFolder(t)
    await writeFile(path.join(folder, 'file'), 'text')
    await symlink('file', path.join(folder, 'link'))
    const dir = path.join(await temporaryFolder(t), 'feed')
    t.equal((await json(t, ['import', path.join(folder, 'link'), dir])).files, 1, 'means what it leads to')
    t.equal((await run(t, ['get', dir, '0', '--raw'])).out, 'text')
  })

  test('import: files that may not be read', async (t) => {
    // Not below the temporary folder of the test, which only this user may enter.
    const around = await mkdtemp(path.join(path.dirname(await temporaryFolder(t)), 'ddatabase-test-'))
    t.teardown(async () => {
      await chmod(path.join(around, 'folder', 'closed'), 0o700).catch(() => {})
      await rm(around, { recursive: true, force: true })
    })
    await chmod(around, 0o777)
    const folder = path.join(around, 'folder')
    await mkdir(path.join(folder, 'closed'), { recursive: true })
    for (const name of ['a', 'secret', 'closed/b']) await writeFile(path.join(folder, name), name)
    await chmod(path.join(folder, 'secret'), 0)
    await chmod(path.join(folder, 'closed'), 0)
    const dir = path.join(around, 'feed')
    // Nothing is closed to the superuser, who therefore runs it as somebody else.
    const nobody = process.getuid?.() === 0 ? { uid: 65534 } : {}
    const options = { ...nobody, env: { TMPDIR: around, HOME: around } }
    const refused = await spawned(t, ['import', folder, dir], options)
    t.equal(refused.code, 4, refused.error)
    t.match(
      refused.error,
      /^error: closed cannot be imported because access is denied, and 1 more, so nothing was; --skip-unreadable/
    )
    t.notOk((await readdir(around)).includes('feed'), 'nothing was made')
    const skipping = await spawned(t, ['import', folder, dir, '--skip-unreadable', '--json'], options)
    t.equal(skipping.code, 0, skipping.error)
    t.same(JSON.parse(skipping.out).skipped, ['closed', 'secret'], 'left out')
    t.equal(
      skipping.error.match(/^warning: .* is left out because access is denied\.$/gm)?.length,
      2,
      'and told'
    )
  })
}

test('import: Ctrl-C and kill, then the same command again', async (t) => {
  const folder = await temporaryFolder(t)
  for (const name of ['a', 'b', 'c']) await writeFile(path.join(folder, name), randomBytes(30_000_000))
  for (const signal of POSIX ? (['SIGINT', 'SIGKILL'] as const) : (['SIGKILL'] as const)) {
    const dir = path.join(await temporaryFolder(t), 'feed')
    const running = begin(t, ['import', folder, dir], { env: { NODE_OPTIONS: `--import ${SLOW_READS}` } })
    await running.says(/importing [1-9]0%/)
    running.child.kill(signal)
    const { code, error } = await running.ended
    if (signal === 'SIGINT') {
      t.equal(code, 130, 'exit code')
      t.match(
        error,
        /^error: Interrupted; what was imported so far is kept, and the same command goes on after it\.$/m
      )
    }
    const { length } = await json(t, ['info', dir])
    t.ok(length > 0 && length < 1375, `${signal}: ${length} blocks were stored`)
    t.equal((await run(t, ['audit', dir])).code, 0, 'all of them whole')
    const again = await json(t, ['import', folder, dir])
    t.same([again.resumed, again.length], [length, 1375], 'found again, and nothing twice')
    t.notOk((await readdir(dir)).includes('import.json'), 'finished')
  }
})

test('import: what was changed after an interruption is appended anew', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'a'), randomBytes(300_000))
  await writeFile(path.join(folder, 'b'), randomBytes(300_000))
  const dir = path.join(await temporaryFolder(t), 'feed')
  await json(t, ['create', dir])
  // As if it had been interrupted in b.
  const feed = new Feed(dir)
  const bytes = Buffer.concat([await readFile(path.join(folder, 'a')), Buffer.alloc(0)])
  await feed.append(Array.from({ length: 5 }, (_, i) => bytes.subarray(65536 * i, 65536 * (i + 1))))
  await feed.append(Buffer.from('the beginning of what b was'))
  await feed.close()
  await writeFile(path.join(dir, 'import.json'), '{"first":0}\n')
  const { resumed } = await json(t, ['import', folder, dir])
  t.equal(resumed, 5, 'a was found')
  const target = await temporaryFolder(t)
  await json(t, ['export', dir, target])
  for (const name of ['a', 'b']) {
    t.same(await readFile(path.join(target, name)), await readFile(path.join(folder, name)), name)
  }
})

test('import: an interruption after what only looks like a manifest', async (t) => {
  for (const looks of [
    '{"format":"ddatabase-folder","version":7}',
    '{"format":"ddatabase-folder","version":1,"root":"folder","entries":[]}'
  ]) {
    const folder = await temporaryFolder(t)
    await writeFile(path.join(folder, 'a'), looks)
    await writeFile(path.join(folder, 'b'), 'b')
    const dir = path.join(await temporaryFolder(t), 'feed')
    const journal = path.join(dir, 'import.json')
    await json(t, ['create', dir])
    await json(t, ['append', dir, '--file', path.join(folder, 'a')])
    await writeFile(journal, '{"first":0}\n')
    const { resumed, length } = await json(t, ['import', folder, dir])
    t.same([resumed, length], [1, 3], 'it is found again')
    // As if it were killed before it can remove what it leaves.
    await writeFile(path.join(folder, 'c'), 'c')
    const { signal } = new AbortController()
    const scanned = await scan(folder, dir, signal)
    const feed = new Feed(dir)
    await feed.ready()
    const append = feed.append.bind(feed) as (blocks: Uint8Array[]) => Promise<number>
    feed.append = (async (blocks: Uint8Array[]) => {
      const first = await append(blocks)
      if (String(blocks[0]).includes('"c"')) throw new Error('killed')
      return first
    }) as typeof feed.append
    await rejection(
      importInto(feed, dir, scanned, false, { at() {} } as unknown as Progress, signal),
      'killed'
    )
    await feed.close()
    t.same(JSON.parse(await readFile(journal, 'utf8')), { first: 3, manifest: 4 }, 'what it leaves')
    t.equal((await json(t, ['import', folder, dir])).changed, false, 'it had its manifest')
  }
})

test('export: blocks that are not here', async (t) => {
  const folder = await someFolder(t)
  const dir = path.join(await temporaryFolder(t), 'feed')
  await json(t, ['import', folder, dir])
  await json(t, ['clear', dir, '0..2', '--force'])
  const target = await temporaryFolder(t)
  await fails(t, ['export', dir, target], 8, /are not here; fetch them with `ddatabase sync`/)
  t.notOk(
    (await readdir(target, { recursive: true })).some((name) => name.includes('part')),
    'nothing half written'
  )
})
