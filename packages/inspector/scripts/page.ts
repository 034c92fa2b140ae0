/** The page of the inspector, bundled: `npm run build` writes it to `dist/page`, tests serve it from memory. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const SOURCE = fileURLToPath(new URL('../src/page/', import.meta.url))

/** Bundles the page. The script and the style sheet contain all that they need. */
export async function bundlePage(): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: { main: path.join(SOURCE, 'main.tsx'), style: path.join(SOURCE, 'style.css') },
    bundle: true,
    write: false,
    outdir: '/',
    format: 'esm',
    platform: 'browser',
    // The first versions with light-dark(), which the style sheet is built on.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'eof',
    logLevel: 'warning'
  })
  const files = new Map(outputFiles.map((file) => [path.basename(file.path), file.contents]))
  files.set('index.html', await readFile(path.join(SOURCE, 'index.html')))
  return files
}

/** Writes the bundled page into a folder. */
export async function writePage(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, content] of await bundlePage()) await writeFile(path.join(folder, name), content)
}
