/**
 * Compiles `src` into a few modules in `dist`: what is imported, and what those share. Loading more than a hundred files
 * takes 7 MB more memory than loading these. Names and lines stay as they are, for stack traces; comments go.
 */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

await build({
  absWorkingDir: root,
  entryPoints: [
    'src/index.ts',
    'src/hypercore.ts',
    'src/storage/opfs/opfs-worker.ts',
    // Modules of their own, because package.json chooses one of each pair.
    'src/crypto/backend.ts',
    'src/crypto/backend.browser.ts',
    'src/storage/directory.ts',
    'src/storage/directory.browser.ts'
  ],
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  packages: 'external',
  external: ['#crypto/backend', '#storage/directory'],
  chunkNames: 'shared/[name]-[hash]',
  legalComments: 'none',
  sourcemap: true
})
