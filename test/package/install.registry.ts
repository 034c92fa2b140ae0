/**
 * Installs the package from the registry, as its users do, and uses it with every supported Node.js line, module system
 * and TypeScript resolution. Not part of `npm test`, because it needs the registry: `npm run test:install`.
 */
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { blocks, document } from '../examples/snippets.ts'
import { Project } from './registry.ts'
import { type Staged, stage } from './staging.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')

const MEGABYTES = 45
const PACKAGES = 48
const LINES = [20, 22, 24]

let staged: Staged
let folder: string
let project: Project
/** Path of Node.js, by line. */
const runtimes = new Map<number, string>()

/** A function that appends, gets and replicates with one of the two callables. */
function use(name: string): string {
  return `
async function use_${name}(folder: string | null): Promise<string[]> {
  const feed = ${name}(folder ?? ((name) => new RAM()), { valueEncoding: 'utf-8' })
  await feed.append(['a', 'b'])
  await feed.append('c')
  const clone = ${name}((name) => new RAM(), feed.key, { valueEncoding: 'utf-8' })
  await clone.ready()
  const stream = feed.replicate(true)
  const other = clone.replicate(false)
  stream.pipe(other).pipe(stream)
  const blocks = await Promise.all([0, 1, 2].map((index) => clone.get(index)))
  await Promise.all([feed.close(), clone.close()])
  return blocks
}
`
}

const FILES = ['consumer.cts', 'consumer.mts']

const BODY = `${use('ddatabase')}${use('hypercore')}
async function main(): Promise<void> {
  const folder = process.argv[2]
  const all = [
    await use_ddatabase(null),
    await use_hypercore(null),
    await use_ddatabase(folder + '-ddatabase'),
    await use_hypercore(folder + '-hypercore')
  ]
  console.log(JSON.stringify(all))
}

main()
`
const EXPECTED = new Array(4).fill(['a', 'b', 'c'])

const ESM = `
import ddatabase from 'ddatabase'
import hypercore from 'ddatabase/hypercore'
import RAM from 'random-access-memory'
${BODY}`
const COMMONJS = `
import ddatabase = require('ddatabase')
import hypercore = require('ddatabase/hypercore')
import RAM = require('random-access-memory')
${BODY}`
// random-access-memory has no types.
const AMBIENT = "declare module 'random-access-memory'"

/** What a person without TypeScript would have written. */
function javascript(text: string): string {
  return text
    .replace(/import (\w+) = require/g, 'const $1 = require')
    .replace(/: string \| null|: Promise<(?:void|string\[\])>/g, '')
}

test('install: setup', async (t) => {
  staged = await stage()
  folder = await mkdtemp(join(tmpdir(), 'ddatabase-install-'))
  t.ok(staged.tarball, 'the package is packed')
})

test('install: what comes with it', async (t) => {
  project = await Project.make(join(folder, 'consumer'), {
    dependencies: { ddatabase: `file:${staged.tarball}` }
  })
  await project.npm('install', '--omit=dev')
  const installed = await project.installed()
  t.ok(installed.has('node_modules/ddatabase'))
  const named = (what: string) =>
    [...installed].filter(([, entry]) => what in entry).map(([path, { version }]) => `${path} ${version}`)
  t.same(named('deprecated'), [], 'nothing that is deprecated')
  t.notOk(installed.get('node_modules/ddatabase')?.hasInstallScript, 'no install scripts of ours')
  t.comment(`install scripts of others: ${named('hasInstallScript').join(', ') || 'none'}`)

  const megabytes = (await project.size()) / 1e6
  t.comment(`${installed.size} packages, ${megabytes.toFixed(1)} MB`)
  t.ok(installed.size <= PACKAGES, `at most ${PACKAGES} packages: ${installed.size}`)
  t.ok(megabytes <= MEGABYTES, `at most ${MEGABYTES} MB: ${megabytes.toFixed(1)}`)

  const audit = await project.audit()
  if (audit === null) t.comment('skipped: the registry does not answer npm audit')
  else t.equal(audit.total, 0, 'npm audit finds nothing')
})

test('install: the lines of Node.js', async (t) => {
  const own = Number(process.versions.node.split('.')[0])
  const others = LINES.filter((line) => line !== own)
  const dependencies = Object.fromEntries(others.map((line) => [`node${line}`, `npm:node@${line}`]))
  const tools = await Project.make(join(folder, 'runtimes'), { dependencies })
  await tools.npm('install')
  for (const line of LINES) {
    const path =
      line === own ? process.execPath : join(tools.folder, 'node_modules', `node${line}`, 'bin', 'node')
    runtimes.set(line, path)
    const { stdout } = await tools.run(path, ['--version'])
    t.ok(stdout.startsWith(`v${line}.`), stdout.trim())
  }
})

/** Runs a program of the consumer with each Node.js. */
async function runs(t: test.Test, file: string): Promise<void> {
  for (const [line, path] of runtimes) {
    const data = join(folder, 'data', `${line}-${file.replaceAll('/', '-')}`)
    const { status, stdout, stderr } = await project.run(path, [file, data])
    t.same(status === 0 ? JSON.parse(stdout) : stderr, EXPECTED, `${file} with Node.js ${line}`)
    t.equal(stderr, '', 'and no warnings')
  }
}

test('install: CommonJS', async (t) => {
  await project.write('consumer.cjs', javascript(COMMONJS))
  await runs(t, 'consumer.cjs')
})

test('install: ES modules', async (t) => {
  await project.write('consumer.mjs', javascript(ESM))
  await runs(t, 'consumer.mjs')
})

// Enough that Node.js would hash with a second thread, and then an opening by another process.
const ELSEWHERE = `
import { execFileSync } from 'node:child_process'
import { Feed } from 'ddatabase'
import RAM from 'random-access-memory'

const [, , folder, node] = process.argv
const feed = new Feed(folder)
for (let i = 0; i < 48; i++) await feed.append(Array.from({ length: 16 }, () => Buffer.alloc(65536, i)))
const clone = new Feed(RAM, feed.key)
const stream = feed.replicate(true)
stream.pipe(clone.replicate(false)).pipe(stream)
await clone.download()
const { valid, invalid } = await clone.audit()
const here = await new Feed(folder).ready().then(() => 'no lock', (error) => error.code)
const there = execFileSync(node, ['opening.mjs', folder], { encoding: 'utf8' }).trim()
await Promise.all([feed.close(), clone.close()])
const again = new Feed(folder)
await again.ready()
const { length } = again
await again.close()
const after = execFileSync(node, ['opening.mjs', folder], { encoding: 'utf8' }).trim()
console.log(JSON.stringify({ valid, invalid, here, there, length, after }))
`
const OPENING = `
import { Feed } from 'ddatabase'

const feed = new Feed(process.argv[2])
console.log(await feed.ready().then(() => 'opened', (error) => error.code))
await feed.close()
`
const SEEN = { valid: 768, invalid: 0, here: 'ELOCKED', there: 'ELOCKED', length: 768, after: 'opened' }
const OTHERS = [
  { name: 'Bun', binary: '@oven/bun-linux-x64-baseline', version: '1.4.5', path: 'bin/bun', args: [] },
  {
    name: 'Deno',
    binary: '@deno/linux-x64-glibc',
    version: '2.9.6',
    path: 'deno',
    args: ['run', '--allow-all']
  }
]

if (process.platform === 'linux' && process.arch === 'x64') {
  test('install: other runtimes', async (t) => {
    const dependencies = Object.fromEntries(OTHERS.map(({ binary, version }) => [binary, version]))
    const tools = await Project.make(join(folder, 'others'), { dependencies })
    await tools.npm('install', '--ignore-scripts')
    await project.write('elsewhere.mjs', ELSEWHERE)
    await project.write('opening.mjs', OPENING)
    for (const { name, binary, path, args } of OTHERS) {
      const program = join(tools.folder, 'node_modules', binary, path)
      const data = join(folder, 'data', name)
      const { status, stdout, stderr } = await project.run(program, [
        ...args,
        'elsewhere.mjs',
        data,
        process.execPath
      ])
      t.same(status === 0 ? JSON.parse(stdout) : stderr, SEEN, name)
    }
  })
}

for (const [resolution, module] of [
  ['node16', 'node16'],
  ['nodenext', 'nodenext'],
  ['bundler', 'preserve']
] as const) {
  test(`install: TypeScript with moduleResolution ${resolution}`, async (t) => {
    await symlink(
      join(ROOT, 'node_modules', '@types'),
      join(project.folder, 'node_modules', '@types'),
      'junction'
    ).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await project.write('consumer.cts', COMMONJS)
    await project.write('consumer.mts', ESM)
    await project.write('ambient.d.ts', AMBIENT)
    const { stdout } = await project.run(process.execPath, [
      ...[TSC, '--strict', '--target', 'es2022', '--types', 'node', '--outDir', resolution],
      ...['--moduleResolution', resolution, '--module', module, 'ambient.d.ts', ...FILES]
    ])
    t.equal(stdout, '', 'the compiler agrees')
    await runs(t, `${resolution}/consumer.cjs`)
    await runs(t, `${resolution}/consumer.mjs`)
  })
}

test('install: in place of hypercore 9, as UPGRADING.md says', async (t) => {
  const said = blocks(document('UPGRADING.md')).find(({ code }) => code.includes('"corestore":'))
  const recipe = JSON.parse(said!.code) as { dependencies: object; overrides: object }
  const place = await Project.make(join(folder, 'in-place'), {
    dependencies: { ...recipe.dependencies, ddatabase: `file:${staged.tarball}`, hypertrie: '5.1.3' },
    overrides: recipe.overrides
  })
  await place.npm('install')
  const hypercores = async () =>
    [...(await place.installed())].filter(([path]) => /(?:^|\/)hypercore$/.test(path))
  t.same(
    (await hypercores()).map(([path, { link }]) => [path, link === true]).sort(),
    [
      ['node_modules/ddatabase/hypercore', false],
      ['node_modules/hypercore', true]
    ],
    'there is no other hypercore'
  )
  t.equal(
    (await place.run(process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ls', 'hypercore'])).status,
    0,
    'npm is content'
  )
  await place.write('store.cjs', STORE)
  const first = await place.run(process.execPath, ['store.cjs'])
  t.same(first.status === 0 ? JSON.parse(first.stdout) : first.stderr, STORED)

  await rm(join(place.folder, 'node_modules'), { recursive: true })
  await rm(join(place.folder, 'stores'), { recursive: true })
  await place.npm('ci')
  const again = await place.run(process.execPath, ['store.cjs'])
  t.same(again.status === 0 ? JSON.parse(again.stdout) : again.stderr, STORED, 'also as the lockfile says')
})

// Two stores of corestore 5 in directories, with a map of hypertrie 5, replicate over the stream of corestore's own
// dependency.
const STORE = `
const hypercore = require('hypercore')
const Corestore = require('corestore')
const hypertrie = require('hypertrie')
const call = (object, method, ...args) =>
  new Promise((resolve, reject) => object[method](...args, (error, value) => (error ? reject(error) : resolve(value))))

async function main() {
  const [a, b] = [new Corestore('./stores/a'), new Corestore('./stores/b')]
  await Promise.all([a.ready(), b.ready()])
  const feed = a.default()
  const trie = hypertrie(null, { feed, valueEncoding: 'utf-8' })
  await call(trie, 'put', 'hello', 'world')
  const copy = hypertrie(null, { feed: b.get({ key: feed.key, sparse: true }), valueEncoding: 'utf-8' })
  await call(copy, 'ready')
  const stream = a.replicate(true, { live: true })
  stream.pipe(b.replicate(false, { live: true })).pipe(stream)
  await call(copy.feed, 'update')
  const { value } = await call(copy, 'get', 'hello')
  console.log(JSON.stringify({
    value,
    same: hypercore === require('ddatabase/hypercore') && feed instanceof hypercore,
    esm: (await import('hypercore')).default === hypercore
  }))
  process.exit(0)
}

main()
`
const STORED = { value: 'world', same: true, esm: true }

test('install: teardown', async (t) => {
  await staged.remove()
  await rm(folder, { recursive: true, force: true })
  t.pass('removed')
})
