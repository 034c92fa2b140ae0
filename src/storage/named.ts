import { directoryStorage as ofThisRuntime } from '#storage/directory'
import type { StorageFactory } from './random-access.ts'

/**
 * Storage in the files of a directory: what a feed uses that is given a name. In Node the files lie in the file
 * system, may be read-only, and `bitfield` is locked while it is open. In a browser the directory is one of the origin
 * private file system (`originPrivateStorage`). The directory and a file are created by the first write to it.
 * Names cannot leave the directory. A second opening fails with `ELOCKED`. In Node all files in directories share the descriptors
 * that the process may have: those not used lately are closed in between, but for `bitfield`.
 * @param options - `sync: false` switches `readSync` and `writeSync` off
 * @throws TypeError `ERR_INVALID_ARG_VALUE` (also the factory, for its name) for a path that no file can have
 */
// With a type of its own: old resolvers of types do not know what `#` means.
export const directoryStorage: (directory: string, options?: { sync?: boolean }) => StorageFactory =
  ofThisRuntime
