/** Declarations for the dependencies that ship none: only what this package uses. */

declare module 'sodium-native/binding.js' {
  interface Binding {
    /** The native function behind that of the package: buffer, offset and size of output, input and key. 0 if all is well. */
    crypto_generichash(
      out: ArrayBufferLike,
      outOffset: number,
      outSize: number,
      input: ArrayBufferLike,
      inputOffset: number,
      inputSize: number,
      key: ArrayBufferLike,
      keyOffset: number,
      keySize: number
    ): number
  }
  const binding: Binding
  export default binding
}

declare module 'sodium-native' {
  interface Sodium {
    crypto_generichash(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void
    crypto_generichash_batch(out: Uint8Array, inputs: Uint8Array[], key?: Uint8Array): void
    crypto_sign_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
    crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void
    /** Throws for points of low order. */
    crypto_scalarmult(out: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): void
    randombytes_buf(out: Uint8Array): void
    crypto_stream_xor_STATEBYTES: number
    crypto_stream_xor_init(state: Uint8Array, nonce: Uint8Array, key: Uint8Array): void
    crypto_stream_xor_update(state: Uint8Array, out: Uint8Array, input: Uint8Array): void
    crypto_stream_xor_final(state: Uint8Array): void
    crypto_aead_chacha20poly1305_ietf_encrypt(
      out: Uint8Array,
      plaintext: Uint8Array,
      ad: Uint8Array | null,
      unused: null,
      nonce: Uint8Array,
      key: Uint8Array
    ): number
    /** Throws if the tag is wrong. */
    crypto_aead_chacha20poly1305_ietf_decrypt(
      out: Uint8Array,
      unused: null,
      ciphertext: Uint8Array,
      ad: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array
    ): number
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

  /** A position in the tree that moves by additions only. */
  interface Cursor {
    index: number
    /** Position within its depth. */
    offset: number
    /** 2^(depth + 1): the distance of neighbours at this depth. */
    factor: number
    isLeft(): boolean
    sibling(): number
    parent(): number
  }
  /** Never returns for −1 and other numbers that are not tree indexes. */
  export function iterator(index: number): Cursor
}

declare module 'codecs' {
  interface Codec {
    name?: string
    encode(value: unknown): Uint8Array
    decode(block: Uint8Array): unknown
  }
  const codecs: ((name: unknown, fallback?: Codec) => Codec) &
    Record<'binary' | 'json' | 'ndjson' | 'utf8', Codec>
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
    /** Whether the next request opens first. Set again after a failed opening, or it would never be retried. */
    _needsOpen: boolean
    /** Requests that wait, headed by the opening, suspending, closing or unlinking that runs, if one does. */
    readonly _queued: readonly unknown[]
    /** How many requests are running. */
    readonly _pending: number
    read(offset: number, size: number, callback: (error: Error | null, data: Uint8Array) => void): void
    write(offset: number, data: Uint8Array, callback?: (error: Error | null) => void): void
    del(offset: number, size: number, callback?: (error: Error | null) => void): void
    truncate(offset: number, callback?: (error: Error | null) => void): void
    stat(callback: (error: Error | null, stat: { size: number }) => void): void
    open(callback?: (error: Error | null) => void): void
    /** Closes until the next request, once nothing is running. */
    suspend(callback?: (error: Error | null) => void): void
    close(callback?: (error: Error | null) => void): void
    unlink(callback?: (error: Error | null) => void): void
    _open(request: Request): void
    _read(request: Request): void
    _write(request: Request): void
    _del(request: Request): void
    _truncate(request: Request): void
    _stat(request: Request): void
    /** An error would leave it closed and not suspended: requests would then find it open. */
    _suspend(request: Request): void
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

declare module 'noise-handshake' {
  interface NoiseKeyPair {
    publicKey: Uint8Array
    secretKey: Uint8Array
  }

  /** State of one handshake; `send` and `recv` alternate until `complete`. */
  class Noise {
    constructor(pattern: 'XX', initiator: boolean, staticKeyPair: NoiseKeyPair)
    /** Ephemeral pair: made when it is sent, or set before. Wiped at the end. */
    e: NoiseKeyPair | null
    /** Static key of the other side, once it is known. */
    rs: Uint8Array | null
    complete: boolean
    /** 32 byte keys of the two directions, after the last message. */
    tx: Uint8Array | null
    rx: Uint8Array | null
    /** Handshake hash, 64 bytes, after the last message. */
    hash: Uint8Array | null
    initialise(prologue: Uint8Array): void
    send(payload: Uint8Array): Uint8Array
    recv(message: Uint8Array): Uint8Array
  }
  export default Noise
}

declare module 'protocol-buffers-encodings' {
  interface Encoding<T> {
    /** Wire type. */
    type: number
    /** After the call, `encode.bytes` is the number of bytes written. */
    encode: { (value: T, target: Uint8Array, offset: number): Uint8Array; bytes: number }
    /** After the call, `decode.bytes` is the number of bytes read. */
    decode: { (source: Uint8Array, offset: number): T; bytes: number }
    encodingLength(value: T): number
  }
  const encodings: {
    varint: Encoding<number>
    bool: Encoding<boolean | number>
    string: Encoding<string>
    bytes: Encoding<Uint8Array>
    /** Offset after the field of wire type `type` that starts at `offset`. */
    skip(type: number, source: Uint8Array, offset: number): number
  }
  export default encodings
}
