/** The types as the users of the package get them: compiled against the declarations in the tarball. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'tape'
import { type Staged, stage } from '../package/staging.ts'

const FOLDER = new URL('.', import.meta.url)
const STRICT = {
  noEmit: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  target: 'es2022'
}

let staged: Staged

/** Copies suites into the project, with the package's names for its modules and `extension` for their own. */
async function copy(suites: readonly string[], extension: string): Promise<string[]> {
  return Promise.all(
    suites.map(async (suite) => {
      const text = await readFile(new URL(`${suite}.ts`, FOLDER), 'utf8')
      const path = `${suite}.${extension}`
      await writeFile(
        join(staged.folder, path),
        text
          .replaceAll("'../../src/index.ts'", "'ddatabase'")
          .replaceAll("'../../src/hypercore.ts'", "'ddatabase/hypercore'")
          .replaceAll("'./exact.ts'", `'./exact.${extension}'`)
      )
      return path
    })
  )
}

test('types: setup', async (t) => {
  staged = await stage()
  t.ok(staged.files.includes('dist/index.d.ts'), 'the package was packed')
})

/** What the compiler says of files with these options. */
async function compiled(files: readonly string[], options: object): Promise<string> {
  const compilerOptions = { ...STRICT, ...options }
  await writeFile(join(staged.folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  return staged.tsc('-p', 'tsconfig.json')
}

test('types: for Node.js, of the ES module and of the CommonJS module', async (t) => {
  // `await` outside of functions is for ES modules only.
  const files = [
    ...(await copy(['exact', 'feeds', 'methods', 'storages', 'node'], 'mts')),
    ...(await copy(['exact', 'feeds', 'storages'], 'cts'))
  ]
  t.equal(
    await compiled(files, { module: 'nodenext', types: ['node'], lib: ['es2023', 'esnext.disposable'] }),
    ''
  )
})

test('types: for a bundler, with the types of browsers only', async (t) => {
  const files = await copy(['exact', 'feeds', 'methods', 'storages'], 'ts')
  const browser = { types: [], lib: ['es2023', 'dom', 'dom.asynciterable', 'esnext.disposable'] }
  t.equal(await compiled(files, { module: 'esnext', moduleResolution: 'bundler', ...browser }), '')
})

test('types: for a bundler, with the types that the compiler takes by itself', async (t) => {
  const files = await copy(['exact', 'feeds', 'methods', 'storages'], 'ts')
  t.equal(await compiled(files, { module: 'esnext', moduleResolution: 'bundler', types: [] }), '')
})

test('types: teardown', (t) => staged.remove().then(() => t.end()))
