/** Declarations for the dependencies that ship none: only what this package uses. */

declare module 'sodium-universal' {
  interface Sodium {
    crypto_generichash(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void
    crypto_generichash_batch(out: Uint8Array, inputs: Uint8Array[], key?: Uint8Array): void
    crypto_sign_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
    crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void
    randombytes_buf(out: Uint8Array): void
  }
  const sodium: Sodium
  export default sodium
}

declare module 'flat-tree' {
  /** Roots of the full subtrees over the leaves below tree index `index` (an even number, twice the length). */
  export function fullRoots(index: number): number[]
  export function depth(index: number): number
  export function offset(index: number, depth?: number): number
  export function index(depth: number, offset: number): number
  export function sibling(index: number, depth?: number): number
  export function parent(index: number, depth?: number): number
  export function leftChild(index: number, depth?: number): number
  export function rightChild(index: number, depth?: number): number
  export function leftSpan(index: number, depth?: number): number
  export function rightSpan(index: number, depth?: number): number
}

declare module 'codecs' {
  interface Codec {
    name?: string
    encode(value: unknown): Uint8Array
    decode(block: Uint8Array): unknown
  }
  function codecs(name: unknown, fallback?: Codec): Codec
  export default codecs
}

declare module 'random-access-storage' {
  import type { EventEmitter } from 'node:events'

  export interface Request {
    offset: number
    size: number
    data: Uint8Array | null
    callback(error: Error | null, value?: unknown): void
  }

  class RandomAccessStorage extends EventEmitter {
    opened: boolean
    closed: boolean
    suspended: boolean
    writing: boolean
    readonly statable: boolean
    read(offset: number, size: number, callback: (error: Error | null, data: Uint8Array) => void): void
    write(offset: number, data: Uint8Array, callback?: (error: Error | null) => void): void
    del(offset: number, size: number, callback?: (error: Error | null) => void): void
    truncate(offset: number, callback?: (error: Error | null) => void): void
    stat(callback: (error: Error | null, stat: { size: number }) => void): void
    open(callback?: (error: Error | null) => void): void
    close(callback?: (error: Error | null) => void): void
    unlink(callback?: (error: Error | null) => void): void
    _open(request: Request): void
    _read(request: Request): void
    _write(request: Request): void
    _del(request: Request): void
    _truncate(request: Request): void
    _stat(request: Request): void
    _close(request: Request): void
    _unlink(request: Request): void
  }
  export default RandomAccessStorage
}

declare module 'random-access-file' {
  import RandomAccessStorage from 'random-access-storage'

  class RandomAccessFile extends RandomAccessStorage {
    constructor(filename: string, options?: { directory?: string; readable?: boolean; writable?: boolean })
    readonly filename: string
    /** File descriptor, 0 while closed. */
    fd: number
    /** Flags of `fs.open`. */
    mode: number
  }
  export default RandomAccessFile
}

declare module 'random-access-memory' {
  import RandomAccessStorage from 'random-access-storage'

  class RandomAccessMemory extends RandomAccessStorage {
    constructor(options?: unknown)
    length: number
    toBuffer(): Buffer
  }
  export default RandomAccessMemory
}

declare module 'fs-native-extensions' {
  const extensions: {
    tryLock(fd: number, options?: { shared?: boolean }): boolean
    unlock(fd: number): void
    trim(fd: number, offset: number, length: number): Promise<void>
  }
  export default extensions
}

declare module 'fd-lock' {
  /** Exclusive, non blocking `flock`; true when it was got. */
  function lock(fd: number): boolean
  export default lock
}
