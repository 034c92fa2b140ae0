/** What {@link directoryStorage} is in browsers: there a feed that was given a path is stored in a folder of that name. */

import { originPrivateStorage } from './opfs/storage.ts'
import type { StorageFactory } from './random-access.ts'

/**
 * As in Node: storage in the files `<directory>/<name>`, here of the origin private file system
 * (`originPrivateStorage`).
 * @param options - `sync: false` switches `readSync` and `writeSync` off (they work in dedicated workers only)
 */
export function directoryStorage(directory: string, options: { sync?: boolean } = {}): StorageFactory {
  return originPrivateStorage(directory, options)
}
