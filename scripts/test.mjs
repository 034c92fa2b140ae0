/**
 * Runs the tests, each folder of them in a process of its own: first, two at a time, those where nobody has to answer in time, then the others one
 * after the other; `TEST_WORKERS=2`: two of all. What a folder prints (TAP) comes out as a whole when it is done, and in the end how many
 * assertions there were.
 *
 *     node scripts/test.mjs                  all tests
 *     node scripts/test.mjs test/feed ...    those in some folders
 */
import { execFileSync, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const tape = join(root, 'node_modules', 'tape', 'bin', 'tape')
// Those that take longest go first, so that none of them is left to run alone at the end.
const LONGEST = [
  'examples',
  'model',
  'crash',
  'interop',
  'feed',
  'fuzz',
  'faults',
  'replication',
  'swarm',
  'cli'
]
// Without peers that take too long, or anything else that waits for a while: another process beside them changes nothing.
const PATIENT = [
  'examples',
  'model',
  'crash',
  'package',
  'types',
  'interop',
  'faults',
  'fuzz',
  'storage',
  'bitfield',
  'merkle',
  'damage'
]

// The page of the inspector is the one thing that is tested as it was built.
execFileSync(
  process.execPath,
  ['--import', 'tsx', join('packages', 'inspector', 'scripts', 'build-page.ts')],
  {
    cwd: root,
    stdio: 'inherit'
  }
)

const workers = Number(process.env.TEST_WORKERS ?? 1)
const wanted = process.argv.slice(2).map((folder) => relative(root, folder))
const folders = foldersIn([
  'test',
  ...readdirSync(join(root, 'packages')).map((name) => join('packages', name, 'test'))
])
const chosen = [...folders]
  .filter(([folder]) => wanted.length === 0 || wanted.some((one) => `${folder}/`.startsWith(`${one}/`)))
  .sort(([a], [b]) => rank(a) - rank(b))
const total = { tests: 0, pass: 0, fail: 0 }
const failed = []

const isPatient = ([folder]) => PATIENT.includes(basename(folder))
const impatient = chosen.filter((one) => !isPatient(one))
await workOn(chosen.filter(isPatient), Math.max(2, workers))
await workOn(impatient, workers)

// Once more where they are found.
for (const text of failed) console.log(text)
console.log(`\n1..${total.tests}\n# tests ${total.tests}\n# pass  ${total.pass}\n# fail  ${total.fail}`)
process.exitCode = failed.length > 0 || total.tests === 0 ? 1 : 0

/** Runs some folders, so many at a time. */
async function workOn(queue, atOnce) {
  await Promise.all(Array.from({ length: atOnce }, () => work(queue)))
}

async function work(queue) {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const [folder, files] = next
    const started = performance.now()
    const { output, status } = await run(files)
    const seconds = Math.round((performance.now() - started) / 1000)
    process.stdout.write(`# ==== ${folder}, ${seconds} s\n${output}`)
    const counts = Object.fromEntries(Object.keys(total).map((word) => [word, count(output, word)]))
    for (const word of Object.keys(total)) total[word] += counts[word] ?? 0
    if (status === 0 && counts.tests !== undefined) continue
    failed.push(`# failed: ${folder} (status ${status})`, ...failures(output))
    if (counts.fail) continue
    // The process died: there is no summary and perhaps no test that failed; its last lines may tell why.
    total.fail++
    failed.push(output.slice(-3000).replaceAll(/^/gm, '#     died: '))
  }
}

function run(files) {
  const child = spawn(process.execPath, ['--import', 'tsx', tape, ...files], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const parts = []
  child.stdout.on('data', (part) => parts.push(part))
  child.stderr.on('data', (part) => parts.push(part))
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ output: Buffer.concat(parts).toString(), status: code ?? signal })
    })
  })
}

/** The assertions that failed, each with the test that it belongs to and what is known of it; not as TAP. */
function failures(output) {
  const found = []
  let test = ''
  for (const part of output.split(/\n(?=(?:ok|not ok|#) )/)) {
    if (part.startsWith('# ')) test = part.split('\n', 1)[0]
    if (part.startsWith('not ok')) found.push(`${test}\n${part}`.replaceAll(/^/gm, '# '))
  }
  return found
}

/** The number in the last summary line of that word. */
function count(output, word) {
  const lines = [...output.matchAll(new RegExp(`^# ${word} +(\\d+)$`, 'gm'))]
  return lines.length === 0 ? undefined : Number(lines[lines.length - 1][1])
}

/** Test files by the folder they are in. */
function foldersIn(tops) {
  const found = new Map()
  for (const top of tops) {
    for (const name of readdirSync(join(root, top), { recursive: true })) {
      if (!name.endsWith('.test.ts')) continue
      const folder = join(top, dirname(name))
      found.set(folder, [...(found.get(folder) ?? []), join(top, name)].sort())
    }
  }
  return found
}

function rank(folder) {
  const names = [basename(folder), basename(dirname(folder))]
  const at = LONGEST.findIndex((name) => names.includes(name))
  return at === -1 ? LONGEST.length : at
}
