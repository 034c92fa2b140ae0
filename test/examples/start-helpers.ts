/** `npm start` as processes, and what the tests of its parts share. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tape'
import { Failure } from '../../examples/start/failure.ts'
import { Report } from '../../examples/start/report.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { Heard } from '../helpers/heard.ts'
import { within } from '../helpers/watchdog.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

// Far above what the slowest machine needs: only a hang gets there.
const PATIENCE = 300_000

/** How a process ended. */
export interface Ended {
  code: number | null
  out: string
  error: string
  /** What is left in the folder for temporary files. */
  left: string[]
}

/** A process that runs the command. */
export interface Running {
  /** Waits for some output, and answers what was found; rejects if the process ends without it. */
  says(what: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
  /** Writes to its input. */
  types(text: string): void
  ended: Promise<Ended>
}

/** Starts the command, or another example. It is killed at the end of the test if it still runs then. */
export async function begin(t: Test, args: string[], program = 'start.ts'): Promise<Running> {
  const temporary = await temporaryFolder(t)
  const env = { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary }
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/${program}`, ...args], {
    cwd: ROOT,
    env
  })
  t.teardown(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  })
  const [out, error] = [new Heard(), new Heard()]
  child.stdout.setEncoding('utf8').on('data', (text: string) => out.add(text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => error.add(text))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject).on('close', async (code) => {
      out.end()
      error.end()
      // The loader keeps a cache of compiled files there.
      const files = await readdir(temporary).catch(() => ['the folder itself is gone'])
      const left = files.filter((name) => !name.startsWith('tsx-'))
      resolve({ out: out.text, error: error.text, code, left })
    })
  })
  const withWords = (reason: Error): never => {
    throw new Error(reason.message + error.text)
  }
  return {
    says: (what) => within(out.says(what).catch(withWords), `the process, with ${what},`, PATIENCE),
    // The time is only counted where somebody waits for it.
    get ended() {
      return within(ended, `the process ${args.join(' ')}`, PATIENCE)
    },
    kill: (signal) => void child.kill(signal),
    types: (text) => void child.stdin.write(text)
  }
}

/** Runs the command to its end. */
export async function start(t: Test, args: string[]): Promise<Ended> {
  return (await begin(t, args)).ended
}

/** A file of random bytes and its SHA-256. */
export async function someFile(
  t: Test,
  size: number
): Promise<{ file: string; bytes: Buffer; sha256: string }> {
  const file = path.join(await temporaryFolder(t), 'some file')
  const bytes = randomBytes(size)
  await writeFile(file, bytes)
  return { file, bytes, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** A report whose text can be read. */
export function written(): { report: Report; text(): string } {
  const output = new PassThrough()
  let text = ''
  output.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  return { report: new Report(output as unknown as NodeJS.WriteStream), text: () => text }
}

/** Asserts that some work ends with a sentence and an exit code. */
export async function fails(
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
