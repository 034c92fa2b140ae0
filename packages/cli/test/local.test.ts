/** Commands about a feed in a folder. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import test from 'tape'
import { within } from '../../../test/helpers/watchdog.ts'
import { runProgram, type Surroundings } from '../src/run.ts'
import {
  begin,
  environment,
  fails,
  json,
  PATIENCE,
  PROGRAM,
  run,
  shared,
  someFeed,
  someFile,
  temporaryFolder
} from './helpers.ts'

test('create: a feed, its key, and nothing secret', async (t) => {
  const dir = path.join(await temporaryFolder(t), 'deep', 'log')
  const { code, out, error } = await run(t, ['create', dir])
  t.equal(code, 0, error)
  t.match(out, /^[0-9a-f]{64}\n$/, 'the key, and nothing else, on the standard output')
  const secret = (await readFile(path.join(dir, 'secret_key'))).toString('hex')
  t.notOk((out + error).includes(secret.slice(0, 64)), 'not the secret key')
  const shown = await json(t, ['keys', 'show', dir])
  t.equal(shown.key, out.trim(), 'the same key')
  t.notOk(JSON.stringify(shown).includes(secret.slice(0, 64)), 'keys show: not the secret key')
  await fails(t, ['create', dir], 3, /There is a feed in .* already/)
})

test('append, cat, get, seek: values', async (t) => {
  const { dir } = await someFeed(t, [])
  t.match((await run(t, ['append', dir, 'hello', '0123', '1e3', '-', ''])).out, /^Blocks 0 to 4\.\n$/)
  t.match((await run(t, ['append', dir, '--', '--dashed', '-x'])).out, /^Blocks 5 to 6\.\n$/)
  t.match((await run(t, ['append', dir, '{"a": 1}', '--encoding', 'json'])).out, /^Block 7\.\n$/)
  await json(t, ['append', dir, 'ff00', '--encoding', 'hex'])
  await json(t, ['append', dir, '/w==', '--encoding', 'base64'])
  const all = await run(t, ['cat', dir, '--range', '..8'])
  t.equal(all.out, 'hello\n0123\n1e3\n-\n\n--dashed\n-x\n{"a":1}\n', 'as they were given')
  t.equal((await run(t, ['cat', dir, '--range', '1..3', '--raw'])).out, '01231e3', 'raw')
  t.equal((await run(t, ['cat', dir, '--range', '5'])).out, '--dashed\n', 'one block')
  t.equal((await run(t, ['get', dir, '2'])).out, '1e3\n', 'get')
  t.equal((await run(t, ['get', dir, '2', '--raw'])).out, '1e3', 'get, raw')
  const { out } = await run(t, ['cat', dir, '--tail', '3', '--json'])
  t.same(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [
      { index: 7, bytes: 7, encoding: 'json', value: { a: 1 } },
      { index: 8, bytes: 2, encoding: 'base64', value: '/wA=' },
      { index: 9, bytes: 1, encoding: 'base64', value: '/w==' }
    ],
    'cat --tail --json'
  )
  t.same(
    await json(t, ['get', dir, '0']),
    { index: 0, bytes: 5, encoding: 'utf-8', value: 'hello' },
    'get --json'
  )
  t.same(await json(t, ['seek', dir, '6']), { byte: 6, index: 1, offset: 1 }, 'seek --json')
  t.match((await run(t, ['seek', dir, '6'])).out, /^Block 1, byte 1 of it\.\n$/, 'seek')
})

test('append: JSON stays what it is', async (t) => {
  const { dir } = await someFeed(t, [])
  const given =
    '{ "id" : 12345678901234567890,\n\t"n": [1.10, -0, 1e400], "text": " a \\" b \\\\" , "a":1,"a":2 }'
  await json(t, ['append', dir, given])
  const raw = '{"id":12345678901234567890,"n":[1.10,-0,1e400],"text":" a \\" b \\\\","a":1,"a":2}'
  t.equal((await run(t, ['get', dir, '0', '--raw'])).out, raw, 'without the space between its parts')
  const input = Buffer.concat([Buffer.from('"'), Buffer.from([0xff]), Buffer.from('"\n')])
  const { code } = await run(t, ['append', dir, '--encoding', 'json'], { input })
  t.equal(code, 2, 'no UTF-8 is no JSON')
})

test('append: lines of the standard input', async (t) => {
  const { dir } = await someFeed(t, [])
  const { code } = await run(t, ['append', dir], { input: 'one\r\ntwo\n\nfour\ufffd\nlast' })
  t.equal(code, 0)
  const { out } = await run(t, ['cat', dir])
  t.equal(out, 'one\ntwo\n\nfour\ufffd\nlast\n', 'a block for each line, the last one without an end')
  const bytes = await run(t, ['append', dir], { input: Buffer.from([0xff, 0xfe, 0x0a]) })
  t.equal(bytes.code, 0, 'bytes that are no text')
  t.same(
    await json(t, ['get', dir, '5']),
    { index: 5, bytes: 2, encoding: 'base64', value: '//4=' },
    'stay as they are'
  )

  const many = Array.from({ length: 20_000 }, (_, i) => `line ${i}`).join('\n')
  t.same(
    (await json(t, ['append', dir, '--encoding', 'utf-8'], { input: many })).blocks,
    20_000,
    'many at once'
  )

  const wrong = await run(t, ['append', dir, '--json'], { input: '{"a":1}\nnot json\n{"b":2}\n' })
  t.equal(wrong.code, 2, 'a line that is no JSON')
  t.match(JSON.parse(wrong.error).error.message, /^Line 2 is no JSON/, 'says which')
  t.equal(JSON.parse(wrong.out).blocks, 1, 'what came before is appended, and told')
})

test('append: a file in chunks', async (t) => {
  const { dir } = await someFeed(t, [])
  const { file, bytes } = await someFile(t, 200_000)
  t.equal((await json(t, ['append', dir, '--file', file])).blocks, 4, '64 KiB each')
  t.same(await readFile(path.join(dir, 'data')), bytes, 'byte for byte')
  t.equal((await json(t, ['append', dir, '--file', file, '--chunk', '100k'])).blocks, 2, 'other chunks')
  t.equal((await json(t, ['append', dir, '--file', '-'], { input: bytes })).blocks, 4, 'the standard input')
  await fails(t, ['append', dir, '--file', path.join(dir, 'none')], 4, /none does not exist/)
  await fails(t, ['append', dir, '--file', dir], 4, /is a folder; `ddatabase import`/)
  await fails(t, ['append', dir, '--file', file, 'value'], 2, /do not go together/)
  await fails(t, ['append', dir, '--file', file, '--chunk', '9m'], 2, /--chunk should be/)
})

test('append: no file of the feed itself', async (t) => {
  const { dir } = await someFeed(t)
  const own = ['data', 'secret_key'].map((name) => path.join(dir, name))
  if (process.platform !== 'win32') {
    const alias = path.join(await temporaryFolder(t), 'alias')
    await symlink(dir, alias)
    await symlink(own[0]!, `${alias} of data`)
    own.push(path.join(alias, 'data'), `${alias} of data`)
    await fails(t, ['append', alias, '--file', own[0]!], 2, /is a file of the feed itself/)
  }
  for (const file of own) {
    await fails(t, ['append', dir, '--file', file], 2, /is a file of the feed itself/)
  }
  t.equal((await json(t, ['info', dir])).length, 3, 'nothing was appended')
  const note = path.join(dir, 'note')
  await writeFile(note, 'x')
  t.equal((await json(t, ['append', dir, '--file', note])).blocks, 1, 'another one in its folder')
  const beside = path.join(path.dirname(dir), 'data')
  await writeFile(beside, 'x')
  t.equal((await json(t, ['append', dir, '--file', beside])).blocks, 1, 'a file beside it')
})

if (process.platform !== 'win32') {
  test('append: a pipe with a name, with and without a writer', async (t) => {
    const { dir } = await someFeed(t, [])
    const pipe = path.join(await temporaryFolder(t), 'pipe')
    execFileSync('mkfifo', [pipe])
    // It says nothing as long as nothing comes; but the feed is in use. Unless whoever looks has used it first: then it has ended.
    let waiting = begin(t, ['append', dir, '--file', pipe])
    const inUse = async (): Promise<void> => {
      for (;;) {
        if ((await run(t, ['info', dir])).code !== 0) return
        await new Promise((resolve) => setTimeout(resolve, 200))
        if (waiting.child.exitCode !== null) waiting = begin(t, ['append', dir, '--file', pipe])
      }
    }
    await within(inUse(), 'the feed, to be in use', PATIENCE)
    waiting.child.kill('SIGINT')
    t.equal((await waiting.ended).code, 130, 'a writer that does not come is not waited for after Ctrl-C')

    const { file, bytes } = await someFile(t, 200_000)
    const reading = json(t, ['append', dir, '--file', pipe])
    const writing = spawn('/bin/sh', ['-c', 'cat "$0" > "$1"', file, pipe])
    t.teardown(() => writing.kill('SIGKILL'))
    t.equal((await reading).blocks, 4, 'a writer that comes is')
    t.same(await readFile(path.join(dir, 'data')), bytes, 'byte for byte')
    const script = `"$0" "$@" --file <(printf 'from a command')`
    const substituted = spawnSync('bash', ['-c', script, process.execPath, ...PROGRAM, 'append', dir], {
      env: environment()
    })
    t.equal(substituted.status, 0, String(substituted.stderr))
    t.equal((await run(t, ['get', dir, '4'])).out, 'from a command\n', 'what a shell makes of a command')
  })
}

test('info and audit', async (t) => {
  const { dir, key } = await someFeed(t)
  const shown = await json(t, ['info', dir])
  t.equal(shown.key, key)
  t.match(shown.discoveryKey, /^[0-9a-f]{64}$/)
  t.same([shown.length, shown.byteLength, shown.present, shown.complete], [3, 10, 3, true])
  const { out } = await run(t, ['info', dir])
  t.match(out, new RegExp(`^key +${key}\n`), 'key')
  t.match(out, /^length +3 blocks$/m, 'length')
  t.match(out, /^writable +yes/m, 'writable')
  t.match((await run(t, ['audit', dir])).out, /^3 blocks valid, 0 invalid, of 3\.\n$/, 'audit')

  const data = await readFile(path.join(dir, 'data'))
  data[5]! ^= 1
  await writeFile(path.join(dir, 'data'), data)
  const damaged = await run(t, ['audit', dir])
  t.equal(damaged.code, 6, 'a changed byte: exit code')
  t.match(damaged.out, /^2 blocks valid, 1 invalid, of 3/, 'told')
  t.match((await run(t, ['audit', dir, '--repair', '--json'])).out, /"length":3/, '--repair')
})

test('clear', async (t) => {
  const { dir } = await someFeed(t)
  await fails(t, ['clear', dir, '0..2'], 2, /may be the only ones; add --force/)
  t.match((await run(t, ['clear', dir, '0..2', '--force'])).out, /^2 blocks cleared\.\n$/)
  t.equal((await json(t, ['info', dir])).present, 1, 'gone')
  await fails(t, ['get', dir, '0'], 8, /is not here; `ddatabase sync` fetches it/)
  await fails(t, ['clear', dir, '7..9'], 8, /has 3 blocks/)
  await fails(t, ['clear', dir, '3-5'], 2, /is no range of blocks/)
})

test('keys: only export gives the secret key, and import takes it', async (t) => {
  const { dir, key } = await someFeed(t)
  const folder = await temporaryFolder(t)
  const { out, error } = await run(t, ['keys', 'export', dir])
  t.match(out, /^[0-9a-f]{128}\n$/, 'printed if asked for')
  t.match(error, /^warning: whoever has the secret key/, 'with a warning')
  const file = path.join(folder, 'secret')
  const exported = await run(t, ['keys', 'export', dir, '--file', file])
  t.notOk(exported.out.includes(out.trim()), 'not printed if it goes to a file')
  t.equal(await readFile(file, 'utf8'), out, 'the same')
  if (process.platform !== 'win32')
    t.equal((await stat(file)).mode & 0o777, 0o600, 'readable by its owner only')
  await fails(t, ['keys', 'export', dir, '--file', file], 4, /exists already/)

  if (process.platform === 'linux') {
    const script = `ulimit -f 0; trap '' XFSZ; exec "$0" "$@"`
    const cut = path.join(folder, 'cut')
    const words = [...PROGRAM, 'keys', 'export', dir, '--file', cut]
    const { status } = spawnSync('/bin/sh', ['-c', script, process.execPath, ...words], {
      env: environment()
    })
    t.equal(status, 7, 'where nothing can be written')
    t.notOk((await readdir(folder)).includes('cut'), 'nothing is left that looks like a key')
  }

  const copy = path.join(folder, 'copy')
  const imported = await json(t, ['keys', 'import', copy, '--file', file])
  t.same([imported.key, imported.writable], [key, true], 'imported')
  t.notOk(JSON.stringify(imported).includes(out.trim()), 'not shown again')
  await fails(t, ['keys', 'import', path.join(folder, 'other')], 2, /This is no secret key/, { input: 'abc' })
  t.notOk((await readdir(folder)).includes('other'), 'nothing was made')
})

test('folders that cannot be used', async (t) => {
  const folder = await temporaryFolder(t)
  const none = path.join(folder, 'none')
  for (const words of [
    ['info'],
    ['append'],
    ['cat'],
    ['get', '0'],
    ['audit'],
    ['sync'],
    ['share'],
    ['keys', 'show']
  ]) {
    const [name, ...rest] = words
    const args = name === 'keys' ? ['keys', 'show', none] : [name!, none, ...rest]
    await fails(t, args, 3, /does not exist; make a feed with/)
  }
  await fails(t, ['info', folder], 3, /is empty; make a feed/)
  await writeFile(path.join(folder, 'a file'), 'x')
  await fails(t, ['info', folder], 3, /is no feed; make a feed/)
  await fails(t, ['create', folder], 3, /holds other files/)
  await fails(t, ['info', path.join(folder, 'a file')], 4, /is no folder/)
  t.same(await readdir(folder), ['a file'], 'nothing was left behind')
  const foreign = await temporaryFolder(t)
  await writeFile(path.join(foreign, 'key'), Buffer.alloc(32, 7))
  await writeFile(path.join(foreign, 'tree'), 'no header, but long enough to be taken for one')
  await fails(t, ['info', foreign], 3, /is not a feed, or its files are damaged/)
})

test('arguments that make no sense', async (t) => {
  const { dir } = await someFeed(t)
  await fails(t, [], 2, /^error: Which command\?/)
  await fails(t, ['frobnicate'], 2, /Unknown argument: frobnicate/)
  await fails(t, ['inof', dir], 2, /There is no such command; did you mean info\?/)
  await fails(t, ['info'], 2, /Not enough non-option arguments/)
  await fails(t, ['info', dir, '--frob'], 2, /Unknown argument: frob/)
  await fails(t, ['info', ''], 2, /"dir" is empty/)
  await fails(t, ['get', dir, 'x'], 2, /should be a whole number/)
  await fails(t, ['get', dir, '3'], 8, /has 3 blocks, so there is no block 3/)
  await fails(t, ['seek', dir, '10'], 8, /has 10 bytes, so there is no byte 10/)
  await fails(t, ['cat', dir, '--range', '2..9'], 8, /has 3 blocks/)
  await fails(t, ['cat', dir, '--range', '2..1'], 2, /is no range/)
  await fails(t, ['cat', dir, '--range', '1', '--range', '2'], 2, /--range is given twice/)
  await fails(t, ['cat', dir, '--follow'], 2, /--follow is for a key/)
  await fails(t, ['append', dir, 'zz', '--encoding', 'hex'], 2, /Value 1 is no hex/)
  await fails(t, ['clone', 'abc', `${dir}.copy`], 2, /is no key/)
  t.equal((await json(t, ['info', dir])).length, 3, 'nothing was changed')
})

test('a feed that is in use', async (t) => {
  const { dir } = await someFeed(t)
  const { running } = await shared(t, dir)
  await fails(t, ['append', dir, 'x'], 3, /is in use by another process/)
  running.child.kill('SIGINT')
  t.equal((await running.ended).code, 0, 'share ends well with Ctrl-C')
  t.equal((await json(t, ['append', dir, '"x"'])).first, 3, 'free again')
})

test('inspect: a page for this machine only, until Ctrl-C', async (t) => {
  const { dir } = await someFeed(t)
  const running = begin(t, ['inspect', dir, '--no-open'])
  const [, url] = await running.says(/^(http:\/\/127\.0\.0\.1:\d+\/\S+)$/m)
  t.equal((await fetch(url!)).status, 200, 'the page')
  t.notEqual((await fetch(new URL('/', url))).status, 200, 'nothing without the token')
  running.child.kill('SIGINT')
  t.equal((await running.ended).code, 0, 'Ctrl-C is its ordinary end')
  t.equal((await json(t, ['info', dir])).length, 3, 'the feed is free again')
})

test('--json: values as they are in the blocks, on one line, and harmless to a terminal', async (t) => {
  const dir = path.join(await temporaryFolder(t), 'feed')
  await json(t, ['create', dir])
  const nested = '['.repeat(20_000) + ']'.repeat(20_000)
  const blocks = [
    '12345678901234567890',
    '1e400',
    '{"a":\n [1,  2]}',
    nested,
    '"\u009b31m \u202e"',
    '\u009b \u2067'
  ]
  await json(t, ['append', dir, '--encoding', 'utf-8', ...blocks])
  const { out } = await run(t, ['cat', dir, '--json'])
  const lines = out.split('\n').slice(0, -1)
  t.equal(lines.length, blocks.length)
  const values = lines.map((line) => /"encoding":"(.*?)","value":(.*)}$/.exec(line)!.slice(1))
  t.deepEqual(values, [
    ['json', '12345678901234567890'],
    ['json', '1e400'],
    ['json', '{"a":[1,2]}'],
    ['json', nested],
    ['json', '"\\u009b31m \\u202e"'],
    ['utf-8', '"\\u009b \\u2067"']
  ])
  t.equal((await run(t, ['get', dir, '1', '--json'])).out, `${lines[1]}\n`)
})

test('info: a last block that only looks like a folder', async (t) => {
  const { dir } = await someFeed(t, ['{"format":"ddatabase-folder","version":{"toString":1}}'])
  t.equal((await json(t, ['info', dir])).length, 1)
  await fails(t, ['export', dir, `${dir}.out`], 6, /version/)
})

test('whoever takes no output does not keep a run from being ended', async (t) => {
  const { dir } = await someFeed(t)
  for (const [reason, expected] of [
    [undefined, 130],
    ['terminated', 143]
  ] as const) {
    const stop = new AbortController()
    const [stdin, stderr] = [new PassThrough(), new PassThrough()]
    const stdout = new Writable({ write: () => stop.abort(reason) })
    let writes = 0
    const write = stdout.write.bind(stdout) as (...values: unknown[]) => boolean
    stdout.write = (...values: unknown[]) => {
      writes++
      return write(...values)
    }
    const around = { stdin, stdout, stderr, signal: stop.signal } as unknown as Surroundings
    t.equal(await within(runProgram(['cat', dir], around), 'the end'), expected)
    t.equal(writes, 1, 'and is waited for once')
    t.match(String(stderr.read()), /^error: Interrupted/)
  }
})

test('keys import: an input without end', async (t) => {
  const dir = path.join(await temporaryFolder(t), 'feed')
  const stop = new AbortController()
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const around = { stdin, stdout, stderr, signal: stop.signal } as unknown as Surroundings
  const running = runProgram(['keys', 'import', dir], around)
  stdin.write('00')
  setImmediate(() => stop.abort())
  t.equal(await within(running, 'the end'), 130, 'it is not waited for after Ctrl-C')
  if (process.platform !== 'win32') {
    await fails(t, ['keys', 'import', dir, '--file', '/dev/zero'], 2, /This is no secret key/)
  }
})

test('--quiet, --debug, --json: what is said', async (t) => {
  const { dir } = await someFeed(t)
  const quiet = await run(t, ['create', `${dir}2`, '--quiet'])
  t.same([quiet.error, /^[0-9a-f]{64}\n$/.test(quiet.out)], ['', true], 'nothing but the key')
  const debug = await run(t, ['info', `${dir}3`, '--debug'])
  t.match(debug.error, /^error: .*\nFailure: .*\n\s+at /, 'the stack with --debug')
  const asJson = await run(t, ['info', `${dir}3`, '--json'])
  const { error } = JSON.parse(asJson.error)
  t.same([error.exitCode, asJson.code, asJson.out], [3, 3, ''], 'an error in JSON')
})

test('help, version', async (t) => {
  const { code, out } = await run(t, ['--help'])
  t.equal(code, 0)
  const commands = [...out.matchAll(/^ {2}ddatabase (\w+)/gm)].map(([, name]) => name!)
  const expected =
    'append audit cat clear clone completion create export get import info inspect keys peers seek share sync'
  t.same([...new Set(commands)].sort(), expected.split(' '), 'every command')
  for (const name of ['clone', 'share', 'import', 'keys']) {
    const help = await run(t, [name, '--help'])
    t.match(help.out, new RegExp(`^Examples:\\n  ddatabase ${name} `, 'm'), `${name}: examples`)
    t.match(help.out, /--json/, `${name}: --json`)
  }
  t.match((await run(t, ['--version'])).out, /^\d+\.\d+\.\d+\S*\n$/, 'version')
})
