import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `statfs` types of file systems that live in memory: tmpfs and ramfs. */
const memoryFileSystems = new Set([0x01021994, 0x858458f6])

/** Whether the folder is on a file system that lives in memory, where storage costs nothing of what a disk costs. */
export function isInMemory(dir: string): boolean {
  return memoryFileSystems.has(statfsSync(dir).type >>> 0)
}

/**
 * Makes a fresh folder for the feeds of one run, below `parent` or the system's folder for temporary files.
 * @throws {Error} if it is in memory and that is not allowed.
 */
export function makeRunFolder(parent: string | undefined, allowMemory: boolean): string {
  const above = parent ?? tmpdir()
  mkdirSync(above, { recursive: true })
  if (isInMemory(above)) {
    if (!allowMemory) {
      throw new Error(`${above} is a memory file system. Give a folder on a disk with --dir <folder>.`)
    }
    console.error(`${above} is a memory file system: the figures of this smoke run mean nothing.`)
  }
  return mkdtempSync(join(above, 'ddatabase-bench-'))
}

/** Removes a folder and all that is in it. */
export function removeFolder(dir: string): void {
  rmSync(dir, { recursive: true, force: true })
}
