/** The command line as processes of its own, as a person or a script would run it. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Test } from 'tape'
import { temporaryFolder } from '../../../test/helpers/folders.ts'
import { Heard } from '../../../test/helpers/heard.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import { runProgram, type Surroundings } from '../src/run.ts'

export { temporaryFolder }

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** What Node has to be told to run the sources. */
export const PROGRAM: readonly string[] = [
  '--import',
  TSX,
  fileURLToPath(new URL('../src/main.ts', import.meta.url))
]

/** Milliseconds far above what the slowest machine needs: only a hang gets there. */
export const PATIENCE = 300_000

/** How a process ended. */
export interface Ended {
  code: number | null
  out: string
  error: string
}

/** A running process. */
export interface Running {
  child: ChildProcessWithoutNullStreams
  /** Waits for something on either output and answers it; rejects if the process ends without. */
  says(what: RegExp): Promise<RegExpExecArray>
  ended: Promise<Ended>
}

/** Options of a run. */
export interface RunOptions {
  /** Working directory. */
  cwd?: string
  env?: Record<string, string>
  /** Given to the standard input, which is then closed. */
  input?: string | Uint8Array
  uid?: number
}

/** The variables of a run: nothing of the surroundings decides about colours. */
export function environment(more: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR, TSX_TSCONFIG_PATH = path.join(ROOT, 'tsconfig.json') } = process.env
  return { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }), TSX_TSCONFIG_PATH, ...more }
}

/** Starts the command. It is killed at the end of the test if it still runs then. */
export function begin(t: Test, args: readonly string[], options: RunOptions = {}): Running {
  const { cwd, env, input, uid } = options
  const child = spawn(process.execPath, [...PROGRAM, ...args], {
    cwd,
    env: environment(env),
    ...(uid === undefined ? {} : { uid })
  })
  t.teardown(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  })
  // Whoever does not read its input may be gone when it is written.
  child.stdin.on('error', () => {})
  if (input !== undefined) child.stdin.end(input)
  const [out, error] = [new Heard(), new Heard()]
  child.stdout.setEncoding('utf8').on('data', (text: string) => out.add(text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => error.add(text))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject).on('close', (code) => {
      out.end()
      error.end()
      resolve({ out: out.text, error: error.text, code })
    })
  })
  return {
    child,
    says: (what) => within(out.says(what, error), `the process, with ${what},`, PATIENCE),
    ended: within(ended, `ddatabase ${args.join(' ')}`, PATIENCE)
  }
}

/** Runs the command to its end as a process; its standard input is empty unless it is given. */
export function spawned(t: Test, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return begin(t, args, { input: '', ...options }).ended
}

/** Runs the command to its end within this process, which is much faster; its standard input is empty unless it is given. */
export async function run(
  _t: Test,
  args: readonly string[],
  options: { input?: string | Uint8Array } = {}
): Promise<Ended> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  stdin.end(options.input ?? '')
  const output = { out: '', error: '' }
  stdout.setEncoding('utf8').on('data', (text: string) => {
    output.out += text
  })
  stderr.setEncoding('utf8').on('data', (text: string) => {
    output.error += text
  })
  const streams = { stdin, stdout, stderr } as unknown as Pick<Surroundings, 'stdin' | 'stdout' | 'stderr'>
  const running = runProgram(args, { ...streams, signal: new AbortController().signal })
  const code = await within(running, `ddatabase ${args.join(' ')}`, PATIENCE)
  return { ...output, code }
}

/** Runs the command, which has to succeed, and answers its JSON. */
export async function json(
  t: Test,
  args: readonly string[],
  options: { input?: string | Uint8Array } = {}
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they know to be there
): Promise<any> {
  const { code, out, error } = await run(t, [...args, '--json'], options)
  if (code !== 0) throw new Error(`ddatabase ${args.join(' ')} ended with ${code}: ${error}`)
  return JSON.parse(out)
}

/** Asserts that a command fails with an exit code and one sentence on the standard error. */
export async function fails(
  t: Test,
  args: readonly string[],
  code: number,
  sentence: RegExp,
  options: { input?: string | Uint8Array } = {}
): Promise<void> {
  const ended = await run(t, [...args], options)
  const name = `ddatabase ${args.join(' ').slice(0, 60)}`
  t.equal(ended.code, code, `${name}: exit code ${code}`)
  const lines = ended.error
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('error: '))
  t.equal(lines.length, 1, `${name}: one line`)
  t.match(lines[0] ?? '', sentence, lines[0] ?? name)
  t.match(lines[0] ?? '', /[.?]$/, 'a sentence')
  t.notOk(/\n\s+at /.test(ended.error), 'without a stack')
}

/** A new feed with some blocks of text. */
export async function someFeed(
  t: Test,
  blocks: readonly string[] = ['zero', 'one', 'two']
): Promise<{ dir: string; key: string }> {
  const dir = path.join(await temporaryFolder(t), 'feed')
  const { key } = await json(t, ['create', dir])
  if (blocks.length > 0) await json(t, ['append', dir, '--encoding', 'utf-8', ...blocks])
  return { dir, key }
}

/** A file of random bytes. */
export async function someFile(t: Test, size: number): Promise<{ file: string; bytes: Buffer }> {
  const file = path.join(await temporaryFolder(t), 'some file')
  const bytes = randomBytes(size)
  await writeFile(file, bytes)
  return { file, bytes }
}

/** Shares a feed over TCP on loopback only, and answers its address. */
export async function shared(
  t: Test,
  dir: string,
  args: readonly string[] = ['--no-swarm']
): Promise<{ address: string; running: Running }> {
  const running = begin(t, ['share', dir, '--host', '127.0.0.1', ...args])
  const [, address] = await running.says(/Listening at (127\.0\.0\.1:\d+)/)
  return { address: address!, running }
}
