import { type OriginPrivateStorageOptions, originPrivateStorage } from '../../../src/storage/opfs/storage.ts'
import { StorageFile } from '../../../src/storage/random-access.ts'
import type { CheckResult } from '../../storage/conformance.ts'
import { runConformance } from './conformance-run.ts'
import { expose } from './expose.ts'
import { listing } from './opfs.ts'

const files = new Map<string, StorageFile>()
const file = (name: string, options?: OriginPrivateStorageOptions): StorageFile => {
  const found = files.get(name) ?? new StorageFile(originPrivateStorage('files', options)(name, {}))
  files.set(name, found)
  return found
}
const given: Worker[] = []

expose({
  listing,
  conformanceInPage: () => runConformance('page'),

  conformanceInWorker: (options: { sync?: boolean }) =>
    new Promise<Record<string, CheckResult[]>>((resolve, reject) => {
      const worker = new Worker('/storage-worker.js', { type: 'module' })
      worker.addEventListener('message', ({ data }) => {
        worker.terminate()
        resolve(data)
      })
      worker.addEventListener('error', () => reject(new Error('the worker failed')))
      worker.postMessage(options)
    }),

  open(name: string, options?: OriginPrivateStorageOptions) {
    file(name, options)
  },
  openWithWorker(name: string) {
    const worker = new Worker('/moved/worker.js', { type: 'module' })
    given.push(worker)
    file(name, { worker })
  },
  endGivenWorkers() {
    for (const worker of given) worker.terminate()
  },
  write: (name: string, offset: number, data: string) =>
    file(name).write(offset, new TextEncoder().encode(data)),
  read: async (name: string, offset: number, size: number) =>
    new TextDecoder().decode(await file(name).read(offset, size)),
  size: (name: string) => file(name).size(),
  close: (name: string) => file(name).close(),
  destroy: (name: string) => file(name).destroy(),
  forget: (name: string) => void files.delete(name),

  /** Writes and reads more than may be under way at once. */
  async flood(name: string, count: number, size: number) {
    const piece = (i: number) => new Uint8Array(size).fill(i + 1)
    await Promise.all(Array.from({ length: count }, (_, i) => file(name).write(i * size, piece(i))))
    const read = await Promise.all(Array.from({ length: count }, (_, i) => file(name).read(i * size, size)))
    return read.every((data, i) => data.every((byte) => byte === i + 1))
  }
})
