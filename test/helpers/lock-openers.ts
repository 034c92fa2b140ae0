/** Opens what locks a feed's directory: our storage and the published packages. */
import { createRequire } from 'node:module'
import { directoryStorage } from '../../src/storage/directory.ts'
import { StorageFile } from '../../src/storage/random-access.ts'

const require = createRequire(import.meta.url)

/** Who opens a directory. */
export type Opener = 'ours' | 'ddatabase-published' | 'hypercore-published'

/** Something that holds the lock of a directory until it is closed. */
export interface Holder {
  close(): Promise<void>
}

interface PublishedFeed {
  on(event: 'error', listener: () => void): void
  ready(callback: (error: Error | null) => void): void
  close(callback: (error: Error | null) => void): void
}

/** Opens a directory as a feed would; rejects with `ELOCKED` if it is taken. */
export function openDirectory(opener: Opener, folder: string): Promise<Holder> {
  return opener === 'ours' ? openOurs(folder) : openPublished(opener, folder)
}

async function openOurs(folder: string): Promise<Holder> {
  const bitfield = new StorageFile(directoryStorage(folder)('bitfield', {}))
  try {
    await bitfield.readIfPresent(0, 32)
    await bitfield.write(0, Buffer.concat([Buffer.from('05025700000e0000', 'hex'), Buffer.alloc(24)]))
  } catch (error) {
    await bitfield.close()
    throw error
  }
  return bitfield
}

function openPublished(name: Opener, folder: string): Promise<Holder> {
  const feed = (require(name) as (folder: string) => PublishedFeed)(folder)
  // It also emits a failure that it tells the callback.
  feed.on('error', () => {})
  const close = (): Promise<void> =>
    new Promise((resolve, reject) => feed.close((error) => (error ? reject(error) : resolve())))
  return new Promise((resolve, reject) => feed.ready((error) => (error ? reject(error) : resolve({ close }))))
}
