/**
 * Files in memory whose content outlives the storages made from them: closing a feed and making another one on
 * the same `MemoryFiles` is a reopening, `clone()` is the state a crash would have left behind.
 */
import RandomAccessStorage, { type Request } from 'random-access-storage'

/** What happens to the storages of a {@link MemoryFiles}; the place where faults are injected. */
export type Operation = 'open' | 'read' | 'write' | 'del' | 'truncate' | 'stat' | 'close' | 'unlink'

/** Asked before each operation. The answer says whether, and how, it fails. */
export interface OperationHook {
  /** `undefined` lets the operation happen. */
  before(file: string, operation: Operation): Failure | undefined
}

/** How an operation fails: how much of it is done before `error` is reported. */
export interface Failure {
  error: Error
  done: 'nothing' | 'half' | 'everything'
}

/** The six names of a feed's storages, in the order in which the format lists them. */
export const SIX_FILES = ['key', 'secret_key', 'signatures', 'tree', 'data', 'bitfield'] as const

/** The least a feed needs of a storage (spec FORMAT §10); `del` is missing on `data`, where it is optional. */
export interface PlainStorage {
  read(offset: number, size: number, callback: (error: Error | null, data?: Uint8Array) => void): void
  write(offset: number, data: Uint8Array, callback?: (error: Error | null) => void): void
  del?(offset: number, size: number, callback?: (error: Error | null) => void): void
}

/** A set of named growing byte arrays. */
export class MemoryFiles {
  readonly #files = new Map<string, Uint8Array>()

  /** The content of a file, or null if it does not exist. */
  read(name: string): Uint8Array | null {
    return this.#files.get(name) ?? null
  }

  /** Replaces a file; null removes it. */
  put(name: string, content: Uint8Array | null): void {
    if (content === null) this.#files.delete(name)
    else this.#files.set(name, Buffer.from(content))
  }

  /** An independent copy of all files. */
  clone(): MemoryFiles {
    const copy = new MemoryFiles()
    for (const [name, content] of this.#files) copy.put(name, content)
    return copy
  }

  /** All files in hexadecimal, for comparisons; absent ones are left out. */
  toHex(): Record<string, string> {
    const out: Record<string, string> = {}
    for (const name of [...this.#files.keys()].sort()) {
      out[name] = Buffer.from(this.#files.get(name)!).toString('hex')
    }
    return out
  }

  /** Storages with all methods of random-access-storage; a missing file fails to open, as on a disk. */
  factory(hook?: OperationHook): (name: string) => RandomAccessStorage {
    return (name) => new MemoryFile(this, name, hook)
  }

  /** Storages that offer only what they must, and whose errors have no code. */
  plainFactory(): (name: string) => PlainStorage {
    return (name) => ({
      ...(name !== 'data' && {
        del: (offset: number, size: number, callback?: (error: Error | null) => void) => {
          this.deleteAt(name, offset, size)
          if (callback !== undefined) setImmediate(callback, null)
        }
      }),
      read: (offset, size, callback) => {
        const content = this.read(name)
        if (content === null || offset + size > content.byteLength) {
          setImmediate(callback, new Error('Could not satisfy length'))
        } else setImmediate(callback, null, Buffer.from(content.subarray(offset, offset + size)))
      },
      write: (offset, data, callback) => {
        this.writeAt(name, offset, data)
        if (callback !== undefined) setImmediate(callback, null)
      }
    })
  }

  /** Writes, growing the file; a gap reads as zero. */
  writeAt(name: string, offset: number, data: Uint8Array): void {
    const old = this.read(name) ?? new Uint8Array(0)
    const end = offset + data.byteLength
    const content = end > old.byteLength ? Buffer.concat([old, Buffer.alloc(end - old.byteLength)]) : old
    content.set(data, offset)
    this.#files.set(name, content)
  }

  /** Cuts the file if the range reaches its end, else fills the range with zeros. */
  deleteAt(name: string, offset: number, size: number): void {
    const content = this.read(name)
    if (content === null) return
    if (offset + size >= content.byteLength) this.put(name, content.subarray(0, offset))
    else content.fill(0, offset, offset + size)
  }
}

class MemoryFile extends RandomAccessStorage {
  readonly #files: MemoryFiles
  readonly #name: string
  readonly #hook: OperationHook | undefined

  constructor(files: MemoryFiles, name: string, hook: OperationHook | undefined) {
    super()
    this.#files = files
    this.#name = name
    this.#hook = hook
  }

  override _open(request: Request): void {
    if (this.#fails('open', request)) return
    const missing = this.#files.read(this.#name) === null
    if (missing && !this.writing) {
      request.callback(
        Object.assign(new Error(`ENOENT: no such file, open '${this.#name}'`), { code: 'ENOENT' })
      )
      return
    }
    if (missing) this.#files.put(this.#name, new Uint8Array(0))
    request.callback(null)
  }

  override _read(request: Request): void {
    if (this.#fails('read', request)) return
    const content = this.#files.read(this.#name)
    if (content === null || request.offset + request.size > content.byteLength) {
      request.callback(Object.assign(new Error('Could not satisfy length'), { code: 'EPARTIALREAD' }))
      return
    }
    const { offset, size } = request
    request.callback(null, Buffer.from(content.subarray(offset, offset + size)))
  }

  override _write(request: Request): void {
    const write = (size: number) =>
      this.#files.writeAt(this.#name, request.offset, request.data!.subarray(0, size))
    if (
      this.#fails(
        'write',
        request,
        () => write(request.data!.byteLength >> 1),
        () => write(Infinity)
      )
    )
      return
    write(Infinity)
    request.callback(null)
  }

  override _del(request: Request): void {
    const length = this.#files.read(this.#name)?.byteLength ?? 0
    const size = Math.max(0, Math.min(request.size, length - request.offset))
    const cut = () => this.#files.deleteAt(this.#name, request.offset, request.size)
    // Half of a deletion: its second half, so that one that reaches the end leaves a shorter file.
    const half = () => this.#files.deleteAt(this.#name, request.offset + (size >> 1), size - (size >> 1))
    if (this.#fails('del', request, half, cut)) return
    cut()
    request.callback(null)
  }

  override _truncate(request: Request): void {
    const content = this.#files.read(this.#name) ?? new Uint8Array(0)
    const to = (size: number) => {
      if (size > content.byteLength) this.#files.writeAt(this.#name, size, new Uint8Array(0))
      else this.#files.put(this.#name, content.subarray(0, size))
    }
    const half = () => to(request.offset + Math.max(0, (content.byteLength - request.offset) >> 1))
    if (this.#fails('truncate', request, half, () => to(request.offset))) return
    to(request.offset)
    request.callback(null)
  }

  override _stat(request: Request): void {
    if (this.#fails('stat', request)) return
    const content = this.#files.read(this.#name)
    if (content === null) {
      request.callback(
        Object.assign(new Error(`ENOENT: no such file, stat '${this.#name}'`), { code: 'ENOENT' })
      )
    } else request.callback(null, { size: content.byteLength })
  }

  override _close(request: Request): void {
    if (this.#fails('close', request)) return
    request.callback(null)
  }

  override _unlink(request: Request): void {
    const unlink = () => this.#files.put(this.#name, null)
    if (this.#fails('unlink', request, () => {}, unlink)) return
    unlink()
    request.callback(null)
  }

  #fails(operation: Operation, request: Request, half?: () => void, everything?: () => void): boolean {
    const failure = this.#hook?.before(this.#name, operation)
    if (failure === undefined) return false
    if (failure.done === 'half') half?.()
    if (failure.done === 'everything') everything?.()
    request.callback(failure.error)
    return true
  }
}
