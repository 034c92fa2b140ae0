import { rmSync } from 'node:fs'
import { mkdir, mkdtemp } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Failure } from './failure.ts'

/** Where the run puts its files. */
export interface Workplace {
  /** Folder of the feed: `feed` or `clone`, so that both have place in one folder. */
  feed: string
  /** The rebuilt file, which is always removed at the end. */
  rebuilt: string
  /** Whether the feed stays. */
  kept: boolean
}

/**
 * A temporary folder, or `keep`. What is not to be kept is removed when the process ends, however it ends, short
 * of being killed. Fails with exit code 4 if the folder cannot be made.
 */
export async function prepareWorkplace(keep: string | null, name: 'feed' | 'clone'): Promise<Workplace> {
  const folder = await makeFolder(keep)
  const rebuilt = path.join(folder, `${name}.rebuilt`)
  removeAtExit(keep === null ? folder : rebuilt)
  return { feed: path.join(folder, name), rebuilt, kept: keep !== null }
}

const removed = new Set<string>()

function removeAtExit(target: string): void {
  // At exit and at once: a second Ctrl-C does not wait for promises.
  if (removed.size === 0) {
    process.once('exit', () => {
      for (const one of removed) rmSync(one, { recursive: true, force: true })
    })
  }
  removed.add(target)
}

async function makeFolder(keep: string | null): Promise<string> {
  try {
    if (keep === null) return await mkdtemp(path.join(os.tmpdir(), 'ddatabase-start-'))
    await mkdir(keep, { recursive: true })
    return keep
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'EEXIST' || code === 'ENOTDIR' ? 'there is a file of this name' : message
    throw new Failure('folder', `The folder ${keep ?? os.tmpdir()} cannot be made: ${reason}.`, error)
  }
}
