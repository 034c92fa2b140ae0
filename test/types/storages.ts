/** Whatever is shaped like random-access-storage is a storage, without a cast. */
import ddatabase, { directoryStorage, type RandomAccess, type StorageFactory } from '../../src/index.ts'

// as the types of random-access-storage 3 describe it
type Answer<T = void> = (err: null | Error, value?: T) => void
declare class RandomAccessStorage<Stat extends { size: number } = { size: number }> {
  readable: boolean
  writable: boolean
  deletable: boolean
  truncatable: boolean
  statable: boolean
  opened: boolean
  closed: boolean
  unlinked: boolean
  writing: boolean
  constructor(options?: Readonly<{ createAlways?: boolean }>)
  on(name: 'open' | 'close' | 'unlink' | 'suspend' | 'unsuspend', handler: () => unknown): this
  open(callback: Answer): void
  read(offset: number, size: number, callback: Answer<Uint8Array>): void
  write(offset: number, buffer: Uint8Array, callback?: Answer): void
  del(offset: number, size: number, callback?: Answer): void
  truncate(offset: number, callback?: Answer): void
  stat(callback: Answer<Stat>): void
  suspend(callback?: Answer): void
  close(callback?: Answer): void
  unlink(callback?: Answer): void
}
declare class RandomAccessFile extends RandomAccessStorage<{ size: number; blocks: number }> {
  constructor(filename: string, options?: Readonly<{ directory?: string; lock?: boolean }>)
  static createPool(size: number): unknown
}
declare class RandomAccessMemory extends RandomAccessStorage {
  constructor(options?: { length?: number; pageSize?: number } | Uint8Array)
  clone(): RandomAccessMemory
}

ddatabase(() => new RandomAccessMemory())
ddatabase((name) => new RandomAccessFile(name, { directory: './dir' }))
ddatabase((name: string) => (name === 'bitfield' ? new RandomAccessMemory() : new RandomAccessFile(name)))
ddatabase(RandomAccessMemory)
ddatabase(RandomAccessMemory, { valueEncoding: 'utf-8' })
ddatabase(directoryStorage('./dir', { sync: false }))
class Own extends RandomAccessStorage {}
ddatabase(() => new Own())
ddatabase(Own)

// as random-access-storage 1 had it, callable without `new`
declare function ram(options?: unknown): {
  read(offset: number, size: number, cb: (err: Error | null, data?: Uint8Array) => void): void
  write(offset: number, data: Uint8Array, cb?: (err: Error | null) => void): void
  del(offset: number, size: number, cb?: (err: Error | null) => void): void
  stat(cb: (err: Error | null, stat?: { size: number }) => void): void
  open(cb?: (err: Error | null) => void): void
  close(cb?: (err: Error | null) => void): void
  destroy(cb?: (err: Error | null) => void): void
}
ddatabase(() => ram())
ddatabase(ram)

// other habits of naming "no error"
interface Loose {
  read(offset: number, size: number, cb: (err?: Error | null, data?: Uint8Array) => void): void
  write(offset: number, data: Uint8Array, cb: (err?: Error | null) => void): void
}
declare const loose: (name: string) => Loose
ddatabase(loose)
interface Undefined {
  read(offset: number, size: number, cb: (err?: Error, data?: Uint8Array) => void): void
  write(offset: number, data: Uint8Array, cb: (err?: Error) => void): void
}
declare const undefinedError: (name: string) => Undefined
ddatabase(undefinedError)
// biome-ignore lint/suspicious/noExplicitAny: what a package without types exports
declare const untyped: any
ddatabase(untyped)
ddatabase(() => untyped())
ddatabase((name) => untyped(name))

// written by hand
const files = new Map<string, Uint8Array>()
const byHand: StorageFactory = (name) => ({
  read(offset, size, callback) {
    const data = files.get(name)?.subarray(offset, offset + size)
    if (data?.byteLength !== size) callback(new Error('too short'))
    else callback(null, data)
  },
  write(offset, data, callback) {
    const old = files.get(name) ?? new Uint8Array(0)
    const grown = new Uint8Array(Math.max(old.length, offset + data.length))
    grown.set(old)
    grown.set(data, offset)
    files.set(name, grown)
    callback(null)
  }
})
ddatabase(byHand)
export const file: RandomAccess = byHand('data', {})

// @ts-expect-error nothing to write with
ddatabase(() => ({ read() {} }))
// @ts-expect-error a promise is no storage
ddatabase(async () => new RandomAccessMemory())
// @ts-expect-error an instance is no factory
ddatabase(new RandomAccessMemory())
