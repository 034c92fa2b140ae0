/** Feed directories of tests: temporary ones, copies of vectors, and their bytes. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tape'
import { SIX_FILES } from './memory-files.ts'

/** The copied test vectors. */
const VECTORS = fileURLToPath(new URL('../vectors/', import.meta.url))

/** A new folder that is removed at the end of the test. */
export async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A parsed JSON vector, at once: the names of tests are made from its entries. */
export function vector<T>(name: string): T {
  return JSON.parse(readFileSync(path.join(VECTORS, name), 'utf8')) as T
}

/** Copies the storage folder of a vector (they must not be opened themselves). */
export async function copyStorageVector(name: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const file of SIX_FILES) {
    await copyFile(path.join(VECTORS, 'storage', name, file), path.join(folder, file)).catch(ignoreMissing)
  }
}

/** The six files of a folder; null for those that do not exist. */
export async function sixFiles(folder: string): Promise<Record<string, Buffer | null>> {
  const out: Record<string, Buffer | null> = {}
  for (const file of SIX_FILES) {
    out[file] = (await readFile(path.join(folder, file)).catch(ignoreMissing)) ?? null
  }
  return out
}

/** As vectors describe a file. */
export function describeFile(content: Buffer | null): { size: number; sha256: string } | null {
  if (content === null) return null
  return { size: content.byteLength, sha256: createHash('sha256').update(content).digest('hex') }
}

/** The first difference of two sets of files, in words; null if they are equal. */
export function differenceOf(
  actual: Record<string, Buffer | null>,
  expected: Record<string, Buffer | null>
): string | null {
  for (const file of SIX_FILES) {
    const [a, b] = [actual[file] ?? null, expected[file] ?? null]
    if (a === null || b === null) {
      if (a !== b) return `${file} exists only in one of them`
      continue
    }
    if (a.byteLength !== b.byteLength) return `${file} has ${a.byteLength} bytes instead of ${b.byteLength}`
    const at = a.findIndex((byte, i) => byte !== b[i])
    if (at !== -1) return `${file} differs at byte ${at}: ${a[at]} instead of ${b[at]}`
  }
  return null
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
