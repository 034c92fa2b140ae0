import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import test from 'tape'
import ts from 'typescript'
import { type Staged, stage } from './staging.ts'

const ENTRIES = [
  { path: 'ddatabase', file: 'index', name: 'ddatabase' },
  { path: 'ddatabase/hypercore', file: 'hypercore', name: 'hypercore' }
]

const CONSUMER_CTS = `
import byDefault, { Feed as NamedFeed, type FeedOptions } from 'ddatabase'
import ddatabase = require('ddatabase')
import hypercore = require('ddatabase/hypercore')

const { Feed, DDatabaseError } = ddatabase
const options: ddatabase.FeedOptions = { sparse: true }
const again: FeedOptions = options
const called: ddatabase.Feed = ddatabase('./feed', null, options)
const made: NamedFeed = new ddatabase('./feed', null, again)
const third: ddatabase.Feed = byDefault('./feed')
const fourth: NamedFeed = new NamedFeed('./feed')
const other: hypercore.Feed = hypercore('./feed')
const length: number = called.length + made.length + third.length + fourth.length + other.length
const failure: ddatabase.DDatabaseError | null = DDatabaseError.is(length) ? length : null
const code: ddatabase.ErrorCode | undefined = failure?.code
// @ts-expect-error a number is no storage
ddatabase(5)
// @ts-expect-error there is no such option
ddatabase('./feed', null, { sprase: true })
export const used = [called instanceof Feed, code]
`

const CONSUMER_MTS = `
import ddatabase, { DDatabaseError, Feed, type FeedOptions } from 'ddatabase'
import hypercore, { Feed as OtherFeed } from 'ddatabase/hypercore'

const options: FeedOptions = { sparse: true }
const called: Feed = ddatabase('./feed', null, options)
const made: Feed = new ddatabase('./feed', null, options)
const other: OtherFeed = hypercore('./feed')
const block: Uint8Array = await called.get(0)
// @ts-expect-error a number is no storage
ddatabase(5)
// @ts-expect-error there is no such option
ddatabase('./feed', null, { sprase: true })
export const used = [called instanceof Feed, DDatabaseError.is(made), other.length, block]
`

let staged: Staged

test('package: setup', async (t) => {
  staged = await stage()
  t.ok(staged.files.length > 0, 'the package was packed')
})

test('package: holds what is needed and nothing else', async (t) => {
  for (const { file } of ENTRIES) {
    for (const needed of [`dist/${file}.js`, `dist/${file}.d.ts`, `cjs/${file}.cjs`, `cjs/${file}.d.cts`]) {
      t.ok(staged.files.includes(needed), needed)
    }
  }
  const folder = ['package.json', 'index.cjs', 'index.d.cts'].map((file) => `hypercore/${file}`)
  for (const needed of ['package.json', ...folder, 'LICENSE', 'src/index.ts']) {
    t.ok(staged.files.includes(needed), needed)
  }
  const allowed = /^(?:dist|src|cjs|docs|hypercore)\/|^(?:package\.json|[A-Z]+(?:\.md)?)$/
  const others = staged.files.filter((path) => !allowed.test(path) || /\.test\.|(?:^|\/)test\//.test(path))
  t.same(others, [], 'no tests, no tools')
})

// Bundlers look for the script of a worker where `new URL` says; those that serve without bundling leave its imports alone,
// and a browser knows no packages.
test('package: the script of the worker is beside what starts it, and needs no other package', async (t) => {
  const starts: string[] = []
  for (const file of staged.files.filter((path) => /^dist\/.*\.js$/.test(path))) {
    const code = await readFile(join(staged.unpacked, file), 'utf8')
    for (const [, path] of code.matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g)) {
      starts.push(posix.join(posix.dirname(file), path!))
    }
  }
  const { exports } = JSON.parse(await readFile(join(staged.unpacked, 'package.json'), 'utf8')) as {
    exports: { './opfs-worker': { default: string } }
  }
  t.same(starts, [posix.normalize(exports['./opfs-worker'].default)])

  const { metafile } = await build({
    entryPoints: starts,
    absWorkingDir: staged.unpacked,
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser'
  })
  const others = Object.keys(metafile.inputs).filter((path) => !path.startsWith('dist/shared/'))
  t.same(others, [], 'nothing but our own')
})

// What is optional is looked for at run time, and from where? In CommonJS there is no `import.meta.url`.
test('package: a bundle for Node.js finds the native code that was left out of it', async (t) => {
  const code = `
    import { Feed } from 'ddatabase'
    const open = async (folder) => {
      const feed = new Feed(folder)
      await feed.append('hello')
      console.log(await new Feed(folder).ready().then(() => 'opened twice', (error) => error.code))
      await feed.close()
    }
    open('./' + process.argv[2])
  `
  await writeFile(join(staged.folder, 'bundled.mjs'), code)
  for (const name of NATIVE) {
    const modules = [staged.unpacked, staged.folder].map((folder) => join(folder, 'node_modules', name))
    await symlink(modules[0]!, modules[1]!, 'junction')
  }
  for (const [format, file, define] of [
    ['cjs', 'bundle.cjs', {}],
    // webpack writes the place at which the module was, also on the machine to which the bundle goes.
    ['cjs', 'moved.cjs', { 'import.meta.url': '"file:///gone/node_modules/ddatabase/dist/index.js"' }],
    ['esm', 'bundle.mjs', {}]
  ] as const) {
    const { warnings } = await build({
      entryPoints: ['bundled.mjs'],
      absWorkingDir: staged.folder,
      bundle: true,
      format,
      outfile: file,
      platform: 'node',
      // As each bundler's manual has it where modules that are CommonJS come into one that is not. Ours must not be in its way.
      banner: { js: format === 'cjs' ? '' : REQUIRE },
      external: NATIVE,
      define,
      logLevel: 'silent'
    })
    t.same(warnings, [], 'no warnings')
    t.equal((await staged.node(file, `${file}-feed`)).trim(), 'ELOCKED', file)
  }
})

const NATIVE = ['sodium-native', 'fs-native-extensions', 'fd-lock']
const REQUIRE = `import { createRequire } from 'module'; const require = createRequire(import.meta.url);`

// With permissions Node.js refuses some calls for the numbers of descriptors, whatever is allowed.
test('package: with the permissions of Node.js', async (t) => {
  const code = `
    import { Feed } from 'ddatabase'
    const feed = new Feed('./permitted/feed', { durability: process.argv[2] })
    await feed.append(Array.from({ length: 300 }, () => Buffer.alloc(1000)))
    await feed.flush()
    await feed.clear(10, 20)
    await feed.truncate(200)
    const again = await new Feed('./permitted/feed').ready().then(() => 'opened twice', (error) => error.code)
    const { valid } = await feed.audit()
    await feed.destroyStorage()
    console.log(again, valid)
  `
  await writeFile(join(staged.folder, 'permitted.mjs'), code)
  await mkdir(join(staged.folder, 'permitted'))
  const flag = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission'
  const allowed = [
    '--allow-addons',
    '--allow-fs-read=*',
    `--allow-fs-write=${join(staged.folder, 'permitted')}`
  ]
  for (const durability of ['process', 'disk']) {
    const printed = await staged.node(flag, ...allowed, 'permitted.mjs', durability)
    t.equal(printed.trim(), 'ELOCKED 190', durability)
  }
})

test('package: mentions no path of the machine that made it', async (t) => {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const folders = [root, join(homedir(), '/'), join(tmpdir(), '/')]
  const escaped = folders.filter((folder) => folder !== '/').map((folder) => folder.replace(/[^\w]/g, '\\$&'))
  // Not as the tail of a longer path: `tree/root/` is no mention of a home folder `/root/`.
  const mention = new RegExp(`(?<![\\w.*/])(?:${escaped.join('|')}).{0,40}`)
  const found: string[] = []
  for (const path of staged.files) {
    const match = mention.exec(await readFile(join(staged.unpacked, path), 'utf8'))
    if (match) found.push(`${path}: ${match[0]}`)
  }
  t.same(found, [])
})

for (const { path, file, name } of ENTRIES) {
  // The same for both module systems: `api` holds the named exports, `name` the callable.
  const body = `
    const storage = (file) => new RAM(file)
    const feeds = [${name}(storage), new ${name}(storage), new api.Feed(storage)]
    const check = async () => {
      await feeds[0].append('hello')
      const block = await feeds[0].get(0)
      await Promise.all(feeds.map((feed) => feed.close()))
      console.log(JSON.stringify({
        instances: feeds.map((feed) => feed instanceof ${name} && feed instanceof api.Feed),
        foreign: [{} instanceof ${name}, {} instanceof api.Feed],
        named: [api.${name} === ${name}, api.default === ${name}],
        discoveryKey: ${name}.discoveryKey(feeds[0].key).equals(feeds[0].discoveryKey),
        error: api.DDatabaseError.is(new Error('foreign')),
        block: block.toString()
      }))
    }
    check()
  `
  const expected = {
    instances: [true, true, true],
    foreign: [false, false],
    named: [true, true],
    discoveryKey: true,
    error: false,
    block: 'hello'
  }

  test(`package: require('${path}')`, async (t) => {
    const head = `const RAM = require('random-access-memory'), api = require('${path}'), ${name} = api\n`
    await writeFile(join(staged.folder, `${name}.cjs`), head + body)
    t.same(JSON.parse(await staged.node(`${name}.cjs`)), expected)
  })

  test(`package: import '${path}'`, async (t) => {
    const head = `import RAM from 'random-access-memory'\nimport ${name}, * as api from '${path}'\n`
    await writeFile(join(staged.folder, `${name}.mjs`), head + body)
    t.same(JSON.parse(await staged.node(`${name}.mjs`)), expected)
  })

  test(`package: require and import of '${path}' give the same function`, async (t) => {
    const code = `
      import { createRequire } from 'node:module'
      import * as api from '${path}'
      const required = createRequire(import.meta.url)('${path}')
      console.log(required === api.default && required.Feed === api.Feed)
    `
    await writeFile(join(staged.folder, `${name}-both.mjs`), code)
    t.equal((await staged.node(`${name}-both.mjs`)).trim(), 'true')
  })

  test(`package: require('${path}') has every type that the ES module exports`, async (t) => {
    const [module, commonjs] = exportedTypes([
      join(staged.unpacked, 'dist', `${file}.d.ts`),
      join(staged.unpacked, 'cjs', `${file}.d.cts`)
    ])
    t.ok(module!.includes('Feed'), 'there are types')
    t.same(commonjs, module)
  })
}

/** Names of the exported types of each declaration file, sorted. */
function exportedTypes(files: string[]): string[][] {
  const nodenext = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }
  const program = ts.createProgram(files, { ...nodenext, target: ts.ScriptTarget.ES2022, types: [] })
  const checker = program.getTypeChecker()
  return files.map((file) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)!
    const names = checker.getExportsOfModule(module).flatMap((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      return target.flags & ts.SymbolFlags.Type ? [symbol.name] : []
    })
    return names.sort()
  })
}

const RESOLUTIONS = [
  { resolution: 'node16', module: 'node16' },
  { resolution: 'nodenext', module: 'nodenext' },
  { resolution: 'bundler', module: 'preserve' }
]

for (const { resolution, module } of RESOLUTIONS) {
  test(`package: types with moduleResolution ${resolution}`, async (t) => {
    await writeFile(join(staged.folder, 'consumer.cts'), CONSUMER_CTS)
    await writeFile(join(staged.folder, 'consumer.mts'), CONSUMER_MTS)
    const flags = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node', '--esModuleInterop']
    const mode = ['--moduleResolution', resolution, '--module', module]
    t.equal(await staged.tsc(...flags, ...mode, 'consumer.cts', 'consumer.mts'), '')
  })
}

test('package: types for resolvers that know no exports map', async (t) => {
  // The oldest resolution cannot follow into the ES module, so only the callable itself is looked at.
  await writeFile(join(staged.folder, 'old.ts'), CONSUMER_CTS)
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node', '--esModuleInterop']
  const mode = ['--moduleResolution', 'node10', '--module', 'commonjs', '--ignoreDeprecations', '6.0']
  t.equal(await staged.tsc(...flags, ...mode, 'old.ts'), '')
})

test('package: its folder `hypercore` is a package that takes the place of hypercore 9', async (t) => {
  // As npm makes it of "hypercore": "file:node_modules/ddatabase/hypercore".
  await symlink(join('ddatabase', 'hypercore'), join(staged.folder, 'node_modules', 'hypercore'), 'junction')
  const manifest = JSON.parse(await readFile(join(staged.unpacked, 'hypercore', 'package.json'), 'utf8'))
  t.match(manifest.version, /^9\./, 'a version that modules of that time ask for')
  const code = `
    import { createRequire } from 'node:module'
    import imported from 'hypercore'
    import hypercore from 'ddatabase/hypercore'
    const required = createRequire(import.meta.url)('hypercore')
    console.log(required === hypercore && imported === hypercore)
  `
  await writeFile(join(staged.folder, 'in-place.mjs'), code)
  t.equal((await staged.node('in-place.mjs')).trim(), 'true', 'the same function as ddatabase/hypercore')
  await writeFile(
    join(staged.folder, 'in-place.cts'),
    "import hypercore = require('hypercore')\nexport const feed: hypercore.Feed = hypercore('./feed')\n"
  )
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node']
  t.equal(
    await staged.tsc(...flags, '--moduleResolution', 'nodenext', '--module', 'nodenext', 'in-place.cts'),
    '',
    'with its types'
  )
})

test('package: teardown', async (t) => {
  await staged.remove()
  t.pass('removed')
})
