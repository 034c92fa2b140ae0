import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/**
 * What an import that is going on leaves beside the feed, so that the next one finds what a crash or Ctrl-C cut short:
 * the number of its first block. Removed when the manifest is there.
 */
const NAME = 'import.json'

/** The first block of an import that did not get to its manifest, null if there is none. */
export async function unfinishedImport(folder: string): Promise<number | null> {
  try {
    const { first } = JSON.parse(await readFile(path.join(folder, NAME), 'utf8')) as { first?: unknown }
    return typeof first === 'number' && Number.isSafeInteger(first) && first >= 0 ? first : null
  } catch {
    // Lost or damaged: then everything is appended once more, which costs space and nothing else.
    return null
  }
}

/** An import begins at block `first`. */
export async function beginImport(folder: string, first: number): Promise<void> {
  await writeFile(path.join(folder, NAME), `${JSON.stringify({ first })}\n`)
}

/** The import has its manifest. */
export async function endImport(folder: string): Promise<void> {
  await rm(path.join(folder, NAME), { force: true })
}
