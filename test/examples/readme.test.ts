/**
 * Every program in README.md and UPGRADING.md is run, with the package as its users get it, those of a document one after
 * the other in one folder, as somebody does who reads along. What it prints must be what its comments `// → …` say, in
 * their order. Those for browsers are bundled without any polyfill (test/browser/readme.chromium.ts runs them), commands
 * must exist, and there is no other code.
 */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import test from 'tape'
import { type Staged, stage } from '../package/staging.ts'
import { announced, blocks, document, type Program, programs } from './snippets.ts'

const execute = promisify(execFile)
const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

/** What the documents use beside this package. */
const COMPANIONS = ['hyperbee', 'ws']

// The project that programs run in knows nothing of our tools.
const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** Commands of `npx ddatabase`. */
const COMMANDS = new Set(
  readdirSync(new URL('../../packages/cli/src/commands', import.meta.url)).map(
    (file) => path.parse(file).name
  )
)

/** Longer than any program takes: one that hangs fails. */
const TIMEOUT = 60_000

let staged: Staged

function emptyFolder(): Promise<string> {
  return mkdtemp(path.join(staged.folder, 'readme-'))
}

/** What is wrong with a program that is run in the folder, empty if nothing is. */
async function problems(program: Program, folder: string): Promise<string> {
  try {
    if (program.language === 'js browser') await bundle(program, folder)
    else return await run(program, folder)
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    return stderr || message || String(error)
  }
  return ''
}

async function run(program: Program, folder: string): Promise<string> {
  const { code, language } = program
  const extension = language === 'ts' ? 'mts' : /^import /m.test(code) ? 'mjs' : 'cjs'
  const file = path.join(folder, `program.${extension}`)
  await writeFile(file, code)
  const loader = language === 'ts' ? ['--import', LOADER] : []
  const options = { cwd: folder, timeout: TIMEOUT }
  const { stdout, stderr } = await execute(process.execPath, [...loader, file], options)
  if (stderr !== '') return `warns: ${stderr}`
  const expected = announced(program)
    .map((line) => `${line}\n`)
    .join('')
  if (stdout !== expected) return `prints ${JSON.stringify(stdout)} instead of ${JSON.stringify(expected)}`
  if (language !== 'ts') return ''
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable']
  return staged.tsc(...flags, '--module', 'nodenext', '--types', 'node', file)
}

/** Bundles a program of a page, and the storage's worker, as the README tells. Rejects with what cannot be found. */
async function bundle({ code }: Program, folder: string): Promise<void> {
  const file = path.join(folder, 'page.js')
  await writeFile(file, code)
  await build({
    entryPoints: { page: file, 'opfs-worker': 'ddatabase/opfs-worker' },
    absWorkingDir: folder,
    bundle: true,
    write: false,
    outdir: path.join(folder, 'out'),
    format: 'esm',
    platform: 'browser',
    logLevel: 'silent'
  })
}

test('readme: setup', async () => {
  staged = await stage()
  for (const name of COMPANIONS) {
    await symlink(path.join(MODULES, name), path.join(staged.folder, 'node_modules', name), 'junction')
  }
})

for (const name of ['README.md', 'UPGRADING.md']) {
  let folder: string
  test(`readme: ${name}, a folder`, async () => {
    folder = await emptyFolder()
  })
  for (const program of programs(document(name))) {
    test(`readme: ${name}, ${program.name}`, async (t) => t.equal(await problems(program, folder), ''))
  }
}

test('readme: all languages are there, and no code of another one', (t) => {
  const infos = blocks(document('README.md')).map(({ info }) => info)
  t.same([...new Set(infos)].sort(), ['js', 'js browser', 'sh', 'ts'])
  t.end()
})

test('readme: its commands exist', (t) => {
  const { scripts } = JSON.parse(document('package.json')) as { scripts: Record<string, string> }
  const lines = blocks(document('README.md'))
    .filter(({ info }) => info === 'sh')
    .flatMap(({ code }) => code.trim().split('\n'))
  for (const line of lines) {
    for (const command of line.replace(/ *#.*/, '').split(' && ')) {
      const [program, verb, name] = command.split(' ')
      if (program === 'npx' && verb === 'ddatabase') t.ok(COMMANDS.has(name!), command)
      else if (program === 'npx') t.equal(verb, 'esbuild', command)
      else if (verb === 'run' || verb === 'start' || verb === 'test') {
        t.ok((verb === 'run' ? name! : verb) in scripts, command)
      } else t.ok(program === 'npm' && ['install', 'pack'].includes(verb!), command)
    }
  }
  for (const command of ['npm install && npm start', 'npm install && npm test']) {
    t.ok(lines.includes(command), command)
  }
  t.end()
})

test('readme: programs that are wrong are noticed', async (t) => {
  const wrong: Record<string, [Program['language'], string]> = {
    'an exception': ['js', "require('ddatabase').nothing()"],
    'another output': ['js', "console.log('one') // → two"],
    'a promise nobody settles': ['js', "import 'ddatabase'\nawait new Promise(() => {})"],
    'a missing module': ['js', "import 'nowhere'"],
    'a wrong type': ['ts', "import { Feed } from 'ddatabase'\nconst n: number = Feed\nvoid n"],
    'a module without bundle': ['js browser', "import { fs } from 'node:fs'\nconsole.log(fs)"]
  }
  for (const [name, [language, code]] of Object.entries(wrong)) {
    t.notEqual(await problems({ name, language, code }, await emptyFolder()), '', name)
  }
})

test('readme: teardown', async () => {
  await staged.remove()
})
