import { readFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { build, type Metafile } from 'esbuild'
import test from 'tape'
import { ROOT } from './backends.ts'

interface Bundle {
  /** KB, compressed. */
  size: number
  /** Files that are part of it. */
  inputs: string[]
  /** What it still imports. */
  imports: Metafile['outputs'][string]['imports']
}

/** `entry` as a browser gets it: bundled and minified without any polyfill. */
async function bundle(entry: string): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: ROOT,
    bundle: true,
    format: 'esm',
    metafile: true,
    minify: true,
    platform: 'browser',
    write: false
  })
  const output = Object.values(metafile.outputs)[0]!
  return {
    size: gzipSync(outputFiles[0]!.contents, { level: 9 }).byteLength / 1000,
    inputs: Object.keys(output.inputs),
    imports: output.imports
  }
}

test('bundle: the primitives of browsers', async (t) => {
  const { imports, inputs, size } = await bundle('src/crypto/backend.browser.ts')
  t.ok(size < 35, `${size.toFixed(1)} KB compressed`)
  t.deepEqual(imports, [])
  t.ok(inputs.some((file) => file.includes('node_modules/hash-wasm/')))
})

test('bundle: the whole package, with the backend of browsers and nothing of Node', async (t) => {
  const { imports, inputs, size } = await bundle('src/index.ts')
  t.comment(`${size.toFixed(1)} KB compressed`)
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const told = Number(/about (\d+) KB in a bundle/.exec(readme)?.[1])
  t.ok(Math.abs(size - told) < 0.1 * told, 'the README tells its size')
  t.deepEqual(imports, [], 'nothing is left to import')
  t.ok(inputs.includes('src/crypto/backend.browser.ts'))
  t.ok(inputs.includes('src/replication/noise.ts'))
  t.deepEqual(
    inputs.filter((file) => /sodium|noise-handshake|src\/crypto\/backend\.ts/.test(file)),
    []
  )
})
