import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PRELOAD = fileURLToPath(new URL('./skip-tests.cjs', import.meta.url))

/** The two published packages whose tests are run. */
export type Package = 'ddatabase' | 'hypercore'

// Tests of files that are private to the originals.
const PRIVATE = new Set(['bitfield.js', 'tree-index.js', 'cache.js'])

// The generation that the published packages were tested with.
const ALIASES: Record<string, string> = { tape: 'tape-4', 'random-access-memory': 'random-access-memory-3' }

/** A temporary folder in which a published package's own tests find another implementation as `../`. */
export interface Sandbox {
  /** Test files to run, sorted. */
  files: string[]
  /** Text of each of them. */
  sources: Map<string, string>
  /**
   * Runs one test file in its own process.
   *
   * @param skipped - names of tests that are not registered
   * @param limit - milliseconds after which the process is killed
   */
  run(file: string, skipped: ReadonlySet<string>, limit: number): Promise<ProcessResult>
  remove(): Promise<void>
}

/** How a test process ended. */
export interface ProcessResult {
  stdout: string
  stderr: string
  /** Why it did not end by itself with a status that tape gives, or null. */
  stopped: string | null
}

/**
 * Copies the tests of a published package, unmodified, beside an `index.js` that loads the implementation to be
 * tested.
 *
 * @param name - whose tests
 * @param entry - absolute path of the CommonJS entry of the implementation
 */
export async function createSandbox(name: Package, entry: string): Promise<Sandbox> {
  const published = dirname(createRequire(import.meta.url).resolve(`${name}-published/package.json`))
  const folder = await mkdtemp(join(tmpdir(), `published-${name}-`))
  await cp(join(published, 'test'), join(folder, 'test'), { recursive: true })
  await writeFile(join(folder, 'index.js'), `module.exports = require(${JSON.stringify(entry)})\n`)

  const files = (await readdir(join(folder, 'test')))
    .filter((file) => file.endsWith('.js') && !PRIVATE.has(file))
    .sort()
  const sources = new Map<string, string>()
  for (const file of files) sources.set(file, await readFile(join(folder, 'test', file), 'utf8'))
  const helpers = await readdir(join(folder, 'test', 'helpers'))
  const texts = [...sources.values()]
  for (const file of helpers) texts.push(await readFile(join(folder, 'test', 'helpers', file), 'utf8'))
  await linkModules(folder, published, texts)

  return {
    files,
    sources,
    run: (file, skipped, limit) => runNode(folder, join('test', file), skipped, limit),
    remove: () => rm(folder, { recursive: true, force: true })
  }
}

/** Links each package that the texts require into the sandbox; Node then finds its dependencies at its real place. */
async function linkModules(folder: string, published: string, texts: string[]): Promise<void> {
  const wanted = new Set<string>()
  for (const text of texts) {
    for (const match of text.matchAll(/require\('([^'.][^']*)'\)/g)) wanted.add(match[1]!)
  }
  const fromHere = createRequire(join(ROOT, 'package.json'))
  const fromPublished = createRequire(join(published, 'package.json'))
  for (const name of wanted) {
    if (createRequire(import.meta.url).resolve.paths(name) === null) continue // of Node itself
    const source = ALIASES[name] ?? name
    // What the published package depends on must be the very copy it uses, not another version of ours.
    const resolver = source === name ? fromPublished : fromHere
    const target = join(folder, 'node_modules', name)
    await mkdir(dirname(target), { recursive: true })
    await symlink(packageFolder(resolver, source), target, 'junction')
  }
}

function packageFolder(resolver: NodeJS.Require, name: string): string {
  return dirname(resolver.resolve(`${name}/package.json`))
}

function runNode(
  cwd: string,
  file: string,
  skipped: ReadonlySet<string>,
  limit: number
): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-r', PRELOAD, file], {
      cwd,
      env: { ...process.env, NODE_OPTIONS: '', SKIPPED_TESTS: JSON.stringify([...skipped]) },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, limit)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      let stopped: string | null = null
      if (late) stopped = `still running after ${limit / 1000} s`
      else if (signal !== null) stopped = `killed by ${signal}`
      else if (code !== 0 && code !== 1) stopped = `exit status ${code}`
      resolve({ stdout, stderr, stopped })
    })
  })
}
