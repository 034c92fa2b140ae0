/**
 * Runs the published packages' own tests, unmodified, against our build, and compares with what they give on the
 * originals (published-baseline.json).
 *
 *     npm run test:published -- [--against build|published] [--only ddatabase|hypercore] [--update] [file.js …]
 *
 * `--against published` runs them on the originals; with `--update` the result becomes the baseline.
 * The exit status is 1 if any file is worse than the baseline.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { checkNotYet, type FileBaseline, judge, type NotYet } from './published/judge.ts'
import { createSandbox, type Package } from './published/sandbox.ts'
import { parseTap, type TapRun } from './published/tap.ts'

const BASELINE = fileURLToPath(new URL('./published-baseline.json', import.meta.url))
const NOT_YET = fileURLToPath(new URL('./published-not-yet.json', import.meta.url))
const LIMIT = 120_000
// How many assertions these make is left to chance: the baseline demands none, so only failures count.
const RANDOM = new Set(['copy.js'])
const BUILD: Record<Package, string> = {
  ddatabase: fileURLToPath(new URL('../cjs/index.cjs', import.meta.url)),
  hypercore: fileURLToPath(new URL('../cjs/hypercore.cjs', import.meta.url))
}

type Baseline = Record<Package, Record<string, FileBaseline>>

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    against: { type: 'string', default: 'build' },
    only: { type: 'string' },
    update: { type: 'boolean', default: false }
  }
})
const original = values.against === 'published'
const packages: Package[] = ['ddatabase', 'hypercore']
if (!original && values.against !== 'build') usage('--against takes build or published')
if (values.only !== undefined && !packages.some((name) => name === values.only)) {
  usage('--only takes ddatabase or hypercore')
}
if (values.update && (!original || values.only !== undefined || positionals.length > 0)) {
  usage('--update needs --against published and takes no selection')
}
if (!original && !existsSync(fileURLToPath(new URL('../dist/index.js', import.meta.url)))) {
  usage('there is no build: npm run build')
}

const baseline: Baseline = values.update
  ? { ddatabase: {}, hypercore: {} }
  : JSON.parse(await readFile(BASELINE, 'utf8'))
const notYet: NotYet = original ? { files: [], tests: {} } : JSON.parse(await readFile(NOT_YET, 'utf8'))

const problems: string[] = []
let total = 0
for (const name of packages) {
  if (values.only === undefined || values.only === name) await testPackage(name)
}
if (total === 0) problems.push('no assertion was made')
if (values.update && problems.length === 0)
  await writeFile(BASELINE, `${JSON.stringify(baseline, null, 2)}\n`)
for (const problem of problems) console.log(`PROBLEM ${problem}`)
console.log(problems.length === 0 ? 'as good as the originals' : `${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1

async function testPackage(name: Package): Promise<void> {
  const entry = original ? createRequire(import.meta.url).resolve(`${name}-published`) : BUILD[name]
  const sandbox = await createSandbox(name, entry)
  const known = baseline[name]
  let passed = 0
  let failed = 0
  let left = 0
  try {
    for (const problem of checkNotYet(notYet, sandbox.sources)) problems.push(`${name}/${problem}`)
    for (const file of Object.keys(known)) {
      if (!sandbox.files.includes(file)) problems.push(`${name}/${file}: is missing`)
    }
    for (const file of sandbox.files) {
      if (positionals.length > 0 && !positionals.includes(file)) continue
      if (notYet.files.includes(file)) {
        left++
        console.log(`${name}/${file}: not yet applicable`)
        continue
      }
      const skipped = new Set(notYet.tests[file])
      const result = await sandbox.run(file, skipped, LIMIT)
      const run = parseTap(result.stdout)
      const counts = [...run.tests.values()]
      const passes = counts.reduce((sum, count) => sum + count.passed, 0)
      const fails = counts.reduce((sum, count) => sum + count.failed, 0)
      passed += passes
      failed += fails
      total += passes + fails
      if (values.update) known[file] = baselineOf(file, run)
      const expected = known[file]
      const found = expected
        ? judge({ file, run, stopped: result.stopped, skipped }, expected)
        : [`${file}: has no baseline`]
      const later = skipped.size > 0 ? `, ${skipped.size} tests not yet applicable` : ''
      console.log(`${name}/${file}: ${passes} passed, ${fails} failed${later}`)
      for (const line of run.failures) console.log(`    ${line}`)
      for (const problem of found) problems.push(`${name}/${problem}`)
      if (found.length > 0 && result.stderr !== '') console.log(indent(result.stderr))
    }
  } finally {
    await sandbox.remove()
  }
  console.log(`${name}: ${passed} passed, ${failed} failed, ${left} files not yet applicable\n`)
}

function baselineOf(file: string, run: TapRun): FileBaseline {
  const entries = [...run.tests].map(([name, count]) => [
    name,
    RANDOM.has(file) ? { ...count, passed: 0 } : count
  ])
  return Object.fromEntries(entries)
}

/** The last lines of what a process printed, indented. */
function indent(text: string): string {
  return text.trimEnd().split('\n').slice(-20).join('\n').replace(/^/gm, '    ')
}

function usage(message: string): never {
  console.error(message)
  process.exit(2)
}
