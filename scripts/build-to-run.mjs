/**
 * Builds what `npx ddatabase` runs in a clone: the modules of the core and of the packages, and the page of the inspector. Without types,
 * which nobody who tries it waits for; `npm run build && npm run build:packages` makes all that is published.
 */
import './bundle.mjs'
import { execFileSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

execFileSync(
  process.execPath,
  ['--import', 'tsx', join('packages', 'inspector', 'scripts', 'build-page.ts')],
  { cwd: root, stdio: 'inherit' }
)

// The command line comes last: where it is, the others are.
for (const [name, entry] of [
  ['swarm', 'index'],
  ['inspector', 'index'],
  ['cli', 'main']
]) {
  await build({
    absWorkingDir: join(root, 'packages', name),
    entryPoints: [`src/${entry}.ts`],
    outfile: `dist/${entry}.js`,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    // Its paths would put the other packages into each of them.
    tsconfigRaw: {},
    sourcemap: true,
    logLevel: 'error'
  })
}
