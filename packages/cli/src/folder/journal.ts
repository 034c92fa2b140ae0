import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/**
 * What an import that is going on leaves beside the feed, so that the next one finds what a crash or Ctrl-C cut short: the number of its
 * first block, and of its manifest from when that is about to be appended. Removed when the manifest is there.
 */
const NAME = 'import.json'

/** The first block of an import that did not get to its manifest, null if there is none. `length` is that of the feed. */
export async function unfinishedImport(folder: string, length: number): Promise<number | null> {
  try {
    const text = await readFile(path.join(folder, NAME), 'utf8')
    const { first, manifest } = JSON.parse(text) as { first?: unknown; manifest?: unknown }
    if (typeof manifest === 'number' && length > manifest) return null
    return typeof first === 'number' && Number.isSafeInteger(first) && first >= 0 && first <= length
      ? first
      : null
  } catch {
    // Lost or damaged: then everything is appended once more, which costs space and nothing else.
    return null
  }
}

/** An import begins at block `first`; later, `manifest` is the first block of its manifest. */
export async function beginImport(folder: string, first: number, manifest?: number): Promise<void> {
  await writeFile(path.join(folder, NAME), `${JSON.stringify({ first, manifest })}\n`)
}

/** The import has its manifest. */
export async function endImport(folder: string): Promise<void> {
  await rm(path.join(folder, NAME), { force: true })
}
