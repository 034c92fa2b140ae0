import { directoryStorage } from '../../src/storage/directory.ts'

/**
 * Where the feeds of the kills are.
 * @param long - the bitfield has some pages: its checkpoints are to tell which of them are touched, as those of much longer feeds do
 */
export function storageOf(folder: string, long: boolean): never {
  const storage = long ? Object.assign(directoryStorage(folder), { stampsFrom: 0 }) : folder
  return storage as never
}
