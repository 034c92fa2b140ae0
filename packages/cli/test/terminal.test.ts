/** In a pseudo-terminal, as a person sits at it; and at the end of a pipe. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { spawn as spawnInTerminal } from '@lydell/node-pty'
import { Feed } from 'ddatabase'
import test, { type Test } from 'tape'
import { Heard } from '../../../test/helpers/heard.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import {
  environment,
  json,
  PATIENCE,
  PROGRAM,
  shared,
  someFeed,
  spawned,
  temporaryFolder
} from './helpers.ts'

const ESC = '\u001b'

/** The command in a terminal. */
interface Terminal {
  says(what: RegExp): Promise<RegExpExecArray>
  type(keys: string): void
  /** The exit code, and everything that came until then, control characters and all. */
  ended: Promise<{ code: number; text: string }>
}

// The terminal is gone a moment after its process, with whatever was not read by then. So its process is a shell, which tells the
// exit code and stays until everything was read; Ctrl-C is for the command alone.
const SHELL = `trap : INT; "$0" "$@"; echo "[exit code $?]"; read -r line`

function inTerminal(t: Test, args: readonly string[], env: Record<string, string> = {}): Terminal {
  const command = [process.execPath, ...PROGRAM, ...args]
  const terminal = spawnInTerminal('/bin/sh', ['-c', SHELL, ...command], {
    cols: 100,
    rows: 30,
    env: environment({ TERM: 'xterm-256color', ...env })
  })
  t.teardown(() => terminal.kill('SIGKILL'))
  const shown = new Heard()
  terminal.onData((data) => shown.add(data))
  terminal.onExit(() => shown.end())
  const ended = shown.says(/\[exit code (\d+)\]/).then(({ 1: code, index }) => {
    return { code: Number(code), text: shown.text.slice(0, index) }
  })
  return {
    says: async (what) => {
      // Who has ended says nothing more.
      const either = new RegExp(`(?:${what.source})|\\[exit code \\d+\\]`, what.flags)
      const match = await within(shown.says(either), `the terminal, with ${what},`, PATIENCE)
      if (!what.test(match[0])) throw new Error(`The command ended without ${what}: ${shown.text}`)
      return match
    },
    type: (keys) => terminal.write(keys),
    ended: within(ended, `ddatabase ${args.join(' ')} in a terminal`, PATIENCE)
  }
}

/** A folder with a large file that takes no space here. */
async function largeFolder(t: Test, size: number): Promise<string> {
  const folder = path.join(await temporaryFolder(t), 'large')
  await mkdir(folder)
  await writeFile(path.join(folder, 'hole'), '')
  await truncate(path.join(folder, 'hole'), size)
  return folder
}

test('terminal: a bar with rate and remaining time, and Ctrl-C', async (t) => {
  const folder = await largeFolder(t, 1_500_000_000)
  const dir = path.join(await temporaryFolder(t), 'feed')
  const importing = inTerminal(t, ['import', folder, dir])
  await importing.says(/importing.* [█░]+ \d+% [\d.]+ MB of 1\.5 GB, [\d.]+ MB\/s, \d+ s left/)
  importing.type('\u0003')
  const { code, text } = await importing.ended
  t.equal(code, 130, 'exit code')
  t.match(text, /error:.* Interrupted; what was imported so far is kept/, 'one sentence')
  t.ok(
    text.includes(`${ESC}[?25l`) && text.lastIndexOf(`${ESC}[?25h`) > text.lastIndexOf(`${ESC}[?25l`),
    'the cursor is back'
  )
  t.notOk(/importing \d+% \(/.test(text), 'no plain lines')
  const feed = new Feed(dir, { createIfMissing: false })
  const { valid, invalid } = await feed.audit()
  t.same([valid > 0, valid === feed.length, invalid], [true, true, 0], `${valid} blocks, all whole`)
  await feed.close()
})

test('terminal: the peers are in the bar of a clone', async (t) => {
  const folder = await largeFolder(t, 60_000_000)
  const { dir, key } = await someFeed(t, [])
  await json(t, ['append', dir, '--file', path.join(folder, 'hole')])
  const { address } = await shared(t, dir)
  const copy = path.join(await temporaryFolder(t), 'copy')
  const cloning = inTerminal(t, ['clone', key, copy, '--connect', address, '--no-swarm'])
  await cloning.says(/fetching.* [█░]+ \d+% .* of 60\.0 MB.*, 1 peer/)
  const { code, text } = await cloning.ended
  t.equal(code, 0, text)
  t.match(text, /all of 916 blocks in .*: 916 blocks fetched and checked, 60\.0 MB/, 'told at the end')
  const sharing = inTerminal(t, ['share', copy, '--host', '127.0.0.1', '--no-swarm'])
  await sharing.says(/ddatabase clone/)
  await sharing.says(/sharing.* 0 bytes, 0 peers/)
  sharing.type('\u0003')
  t.equal((await sharing.ended).code, 0, 'Ctrl-C is the ordinary end of share')
})

test('terminal: colours, and how to do without', async (t) => {
  const { dir, key } = await someFeed(t)
  const color = new RegExp(`${ESC}\\[1m`)
  const lines = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
    const { code, text } = await inTerminal(t, ['info', dir, ...args], env).ended
    t.equal(code, 0)
    t.ok(text.includes(key), 'the key')
    return text
  }
  t.match(await lines([]), color, 'in a terminal')
  t.doesNotMatch(await lines([], { NO_COLOR: '1' }), color, 'NO_COLOR')
  t.doesNotMatch(await lines(['--no-color']), color, '--no-color')
  t.doesNotMatch(await lines([], { TERM: 'dumb' }), color, 'a terminal that has none')
  t.match((await spawned(t, ['info', dir, '--color'])).out, color, '--color, in a pipe')
  t.doesNotMatch((await spawned(t, ['info', dir])).out, color, 'none in a pipe')
  t.doesNotMatch(await lines(['--json']), color, 'none in JSON')
})

test('terminal: what an author wrote cannot steer it', async (t) => {
  const { dir } = await someFeed(t, [])
  const evil = `${ESC}]0;title\u0007${ESC}[2Jcleared\u202e`
  await json(t, ['append', dir, '--encoding', 'utf-8', evil])
  await json(t, ['append', dir, '--encoding', 'hex', 'ff00'])
  const { text } = await inTerminal(t, ['cat', dir]).ended
  t.notOk(
    text.includes(`${ESC}]0;`) || text.includes(`${ESC}[2J`) || text.includes('\u202e'),
    'made harmless'
  )
  t.match(text, /\\u001b\]0;title\\u0007\\u001b\[2Jcleared\\u202e/, 'and visible')
  t.match(text, /<2 bytes that are no text; --raw gives them>/, 'bytes')
  t.equal((await spawned(t, ['get', dir, '0'])).out, `${evil}\n`, 'a pipe gets it as it is')
})

test('terminal: lines that are typed', async (t) => {
  const { dir } = await someFeed(t, [])
  const typing = inTerminal(t, ['append', dir])
  await typing.says(/Each line becomes a block; Ctrl-D ends/)
  typing.type('hello\r')
  typing.type('there\r')
  typing.type('\u0004')
  const { code, text } = await typing.ended
  t.equal(code, 0, text)
  t.match(text, /Blocks 0 to 1\./)
  t.equal((await spawned(t, ['cat', dir])).out, 'hello\nthere\n')
})

if (process.platform !== 'win32') {
  test('a pipe whose reader goes is no trouble', async (t) => {
    const { dir } = await someFeed(t, [])
    const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i} of many`).join('\n')
    await json(t, ['append', dir, '--encoding', 'utf-8'], { input: lines })
    const child = spawn(process.execPath, [...PROGRAM, 'cat', dir], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe']
    })
    let error = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      error += text
    })
    child.stdout.once('data', () => child.stdout.destroy())
    const code = await within(new Promise((resolve) => child.on('close', resolve)), 'cat', PATIENCE)
    t.same([code, error], [141, ''], 'ends quietly, with the code of SIGPIPE')
    t.equal((await json(t, ['info', dir])).length, 50_000, 'the feed is whole')
  })

  test('lines are appended as they come, and Ctrl-C keeps them', async (t) => {
    const { begin } = await import('./helpers.ts')
    const { dir } = await someFeed(t, [])
    const appending = begin(t, ['append', dir, '--debug'])
    appending.child.stdin.write('one\ntwo\nhalf')
    let size = 0
    while (size < 6) size = (await readFile(path.join(dir, 'data')).catch(() => Buffer.alloc(0))).byteLength
    appending.child.kill('SIGINT')
    const { code, error, out } = await appending.ended
    t.equal(code, 130, error)
    t.match(error, /error: Interrupted; the feed is whole and has [23] blocks\./)
    t.match(out, /^Blocks 0 to [12]\./, 'what was appended is told')
  })
}

if (process.platform === 'linux') {
  test('an output that is full', async (t) => {
    const { dir } = await someFeed(t)
    const command = [process.execPath, ...PROGRAM, 'cat', dir].map((word) => `'${word}'`).join(' ')
    let failure: { status?: number; stderr?: Buffer } = {}
    try {
      execFileSync('/bin/sh', ['-c', `${command} > /dev/full`], { env: environment(), stdio: 'pipe' })
    } catch (error) {
      failure = error as typeof failure
    }
    t.equal(failure.status, 7, 'exit code')
    t.match(String(failure.stderr), /^error: The output cannot be written: ENOSPC.*\n$/, 'one sentence')
  })
}

test('nothing is left in the folder for temporary files', async (t) => {
  const { dir, key } = await someFeed(t)
  const { address } = await shared(t, dir)
  const temporary = await temporaryFolder(t)
  const env = { TMPDIR: temporary, TEMP: temporary, TMP: temporary }
  const { code, error } = await spawned(t, ['cat', key, '--connect', address, '--no-swarm'], { env })
  t.equal(code, 0, error)
  t.same(
    (await readdir(temporary)).filter((name) => name.startsWith('ddatabase')),
    [],
    'the borrowed copy is gone'
  )
  await rm(temporary, { recursive: true, force: true })
})
