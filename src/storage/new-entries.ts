/** The names of files that a power failure could take back. Node only. */
import fs from 'node:fs'
import { codeOf } from '../errors.ts'
import type { Descriptors, OpenFile } from './descriptors.ts'

/** The file system, or the system, does not offer the operation. */
export const NOT_OFFERED: ReadonlySet<unknown> = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'])

/** Folders with entries that a power failure could still take back. */
export class NewEntries {
  readonly #descriptors: Descriptors
  readonly #changes = new Map<string, number>()

  /** @param descriptors - the open files of which folders are some while they are synchronised */
  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors
  }

  /** `folder` got a new entry. */
  add(folder: string): void {
    this.#changes.set(folder, (this.#changes.get(folder) ?? 0) + 1)
  }

  /** All entries added before this call are on the disk when the promise resolves. */
  async flush(): Promise<void> {
    for (const [folder, changes] of [...this.#changes]) {
      await syncFolder(folder, this.#descriptors)
      // An entry added meanwhile may have come too late: then the folder stays listed.
      if (this.#changes.get(folder) === changes) this.#changes.delete(folder)
    }
  }
}

/** A folder that is being synchronised. It is closed soon. */
class OpenFolder implements OpenFile {
  used = false
  readonly idle = false
  hasDescriptor = false

  giveUp(): boolean {
    return true
  }
}

async function syncFolder(folder: string, descriptors: Descriptors): Promise<void> {
  // Windows has no such operation, and needs none.
  if (process.platform === 'win32') return
  const place = new OpenFolder()
  await new Promise<void>((resolve) => descriptors.enter(place, false, resolve))
  try {
    const handle = await openFolder(folder, descriptors)
    if (handle === null) return
    place.hasDescriptor = true
    try {
      await handle.sync()
    } catch (error) {
      if (!NOT_OFFERED.has(codeOf(error))) throw error
    } finally {
      await handle.close()
    }
  } finally {
    descriptors.leave(place)
  }
}

function openFolder(folder: string, descriptors: Descriptors): Promise<fs.promises.FileHandle | null> {
  // Somebody removed it: there is nothing left to keep.
  return openHandle(folder, fs.constants.O_RDONLY, descriptors)
}

/** A handle of what is there by this name, also when descriptors are scarce; null if nothing is. */
export async function openHandle(
  name: string,
  flags: number,
  descriptors: Descriptors
): Promise<fs.promises.FileHandle | null> {
  for (;;) {
    try {
      return await fs.promises.open(name, flags)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null
      await new Promise<void>((again, fail) => {
        if (!descriptors.relievesLater(error, again)) fail(error)
      })
    }
  }
}
