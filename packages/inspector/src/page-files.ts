import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The files of the page by name. */
export type PageFiles = ReadonlyMap<string, Uint8Array>

// The same from the sources and from what is built of them.
const BUILT = fileURLToPath(new URL('../dist/page/', import.meta.url))

/** The page as it was built with the package. Errors: `ENOENT` if it was not. */
export async function readPage(folder = BUILT): Promise<PageFiles> {
  const files = new Map<string, Uint8Array>()
  for (const name of await readdir(folder)) files.set(name, await readFile(path.join(folder, name)))
  return files
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8'
}

/** The content type of a file by its name. */
export function typeOf(name: string): string {
  return TYPES[path.extname(name)] ?? 'application/octet-stream'
}
