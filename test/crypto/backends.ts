/** Both backends, and modules of ours bundled the way a browser gets them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import * as browser from '../../src/crypto/backend.browser.ts'
import * as sodium from '../../src/crypto/backend.ts'

/** What both backends export, with equal types. */
export type Backend = {
  [Name in keyof typeof sodium]: Name extends 'XSalsa20'
    ? new (
        ...args: ConstructorParameters<typeof sodium.XSalsa20>
      ) => Pick<sodium.XSalsa20, 'update' | 'destroy'>
    : (typeof sodium)[Name]
}

/** The backends by name: libsodium first, which is the measure. */
export const BACKENDS: readonly (readonly [string, Backend])[] = [
  ['libsodium', sodium],
  ['browser', browser]
]

/** The repository's root folder. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Modules of `src`, given by their path there, bundled for browsers; all that they export. At once, since tape requires the
 * test files.
 */
export function browserModules<T>(...modules: string[]): T {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'ddatabase-test-'))
  try {
    const contents = modules.map((file) => `export * from './${file}'`).join('\n')
    const { outputFiles } = buildSync({
      stdin: { contents, resolveDir: path.join(ROOT, 'src') },
      bundle: true,
      format: 'cjs',
      platform: 'browser',
      write: false
    })
    const file = path.join(folder, 'bundle.cjs')
    writeFileSync(file, outputFiles[0]!.contents)
    return createRequire(import.meta.url)(file) as T
  } finally {
    rmSync(folder, { recursive: true })
  }
}
