/** Files in the origin private file system: the storage of a feed that was given a name in a browser. */
import RandomAccessStorage, { type Request } from 'random-access-storage'
import { argumentTypeError, argumentValueError } from '../../errors.ts'
import type { RandomAccess, StorageCallback, StorageFactory } from '../random-access.ts'
import type { FilePath } from './access-file.ts'
import { type Files, localFiles, type OpenFile } from './files.ts'
import { remoteFiles, type WorkerSource } from './remote-files.ts'
import { requireSupport } from './support.ts'
import { inDedicatedWorker, type StorageWorker } from './web.ts'

/** Options of {@link originPrivateStorage}. */
export interface OriginPrivateStorageOptions {
  /**
   * The worker that has the files open, or the address of its script, `ddatabase/opfs-worker`. By default the one
   * beside the script of this package, where bundlers that know `new Worker(new URL(…))` put it. A worker that is
   * passed should do nothing else, and is the caller's to end.
   */
  worker?: StorageWorker | URL | string | undefined
  /** false: no `readSync` and `writeSync`, which work inside a dedicated worker only. Default true. */
  sync?: boolean | undefined
}

/** Size of the read request that stands for a synchronisation, see {@link OriginPrivateFile.sync}. */
const SYNC = -1

/**
 * Storage in the folder `name` of the origin private file system of a browser, where it stays when the page is
 * closed. Folders in `name` are separated by `/`; neither it nor the names of files lead out of it.
 *
 * The files are used by a worker that all feeds of a page share: it is started by the first access and ended when no
 * file is open. Inside a dedicated worker they are used directly. An open file cannot be opened again, in this
 * page or another: that fails with `ELOCKED`, after a second, in which the page before a reload may let go.
 *
 * Errors of opening: `ERR_UNSUPPORTED_RUNTIME`, `ERR_STORAGE_WORKER`, `ELOCKED`, and `ERR_INVALID_ARG_VALUE` for a name that
 * this browser does not allow, such as one with a backslash. A write beyond the quota fails with the code `ENOSPC`, which
 * a feed reports as the cause of `ERR_STORAGE`.
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` (also the factory) for a name that no file can have
 */
export function originPrivateStorage(
  name: string,
  options: OriginPrivateStorageOptions = {}
): StorageFactory {
  const folder = toPath(name)
  const { worker } = options
  const running = worker !== undefined && typeof worker !== 'string' && !(worker instanceof URL)
  if (running && typeof worker?.postMessage !== 'function') {
    throw argumentTypeError('worker should be a worker or the address of its script')
  }
  return (file) => {
    const path = toPath(file)
    if (path.length === 0) throw argumentValueError('A file has to have a name')
    return new OriginPrivateFile([...folder, ...path], { worker, running, sync: options.sync !== false })
  }
}

/** The names on the way, as if the folder were the root of a disk. */
function toPath(name: unknown): string[] {
  if (typeof name !== 'string') throw argumentTypeError('A storage path should be a string')
  if (name.includes('\0')) throw argumentValueError('A storage path cannot contain a zero byte')
  const path: string[] = []
  for (const part of name.split('/')) {
    if (part === '..') path.pop()
    else if (part !== '' && part !== '.') path.push(part)
  }
  return path
}

/** What the files of one storage have in common. */
interface Shared {
  readonly worker: WorkerSource
  /** Whether `worker` is one that need not be started. */
  readonly running: boolean
  readonly sync: boolean
}

/** A file of the storage. When each `_method` runs is decided by the queue of random-access-storage. */
class OriginPrivateFile extends RandomAccessStorage implements RandomAccess {
  readonly #path: FilePath
  readonly #shared: Shared
  #file: OpenFile | null = null

  constructor(path: FilePath, shared: Shared) {
    super()
    this.#path = path
    this.#shared = shared
  }

  /** In a dedicated worker: reads at once, or answers null while the file is not open or something is queued. */
  readSync(offset: number, size: number): Uint8Array | null {
    return this.#immediate()?.read(offset, size) ?? null
  }

  /** In a dedicated worker: writes at once, or answers false as {@link readSync}. */
  writeSync(offset: number, data: Uint8Array): boolean {
    const file = this.#immediate()
    file?.write(offset, data)
    return file !== undefined
  }

  #immediate(): OpenFile['local'] {
    const usable =
      this.#shared.sync && this.opened && !this.closed && !this.suspended && this._queued.length === 0
    return usable ? this.#file?.local : undefined
  }

  /** Writes that have been answered survive a power failure once this is answered. */
  sync(callback: StorageCallback): void {
    // A request like any other, so that closing waits for it; a read, because only reads never create the file.
    this.read(0, SYNC, (error) => {
      const absent = !this.opened && (error as { code?: unknown } | null)?.code === 'ENOENT'
      callback(absent ? null : error)
    })
  }

  override _open(request: Request): void {
    answer(request, this.#open(this.writing))
  }

  async #open(create: boolean): Promise<void> {
    // Another opening is asked for when the first write comes.
    if (this.#file !== null) return
    try {
      this.#file = await this.#files().open(this.#path, create)
    } catch (error) {
      // Forgets that something was to be written: the next read shall find nothing instead of creating the file.
      if (create) this.writing = false
      // Without this every later request would answer `Not opened` instead of trying again.
      this._needsOpen = true
      throw error
    }
  }

  #files(): Files {
    const { worker, running } = this.#shared
    const local = worker === undefined && inDedicatedWorker()
    // A worker that is running looks for itself.
    if (!running) requireSupport(!local)
    return local ? localFiles : remoteFiles(worker)
  }

  override _read(request: Request): void {
    const { offset, size } = request
    if (size === SYNC) answer(request, this.#file!.flush())
    else answer(request, this.#file!.read(offset, size))
  }

  override _write(request: Request): void {
    answer(request, this.#file!.write(request.offset, request.data!))
  }

  override _del(request: Request): void {
    answer(request, this.#file!.del(request.offset, request.size))
  }

  override _truncate(request: Request): void {
    answer(request, this.#file!.truncate(request.offset))
  }

  override _stat(request: Request): void {
    answer(
      request,
      this.#file!.size().then((size) => ({ size }))
    )
  }

  override _close(request: Request): void {
    const file = this.#file
    this.#file = null
    if (file === null) request.callback(null)
    else answer(request, file.close())
  }

  override _unlink(request: Request): void {
    answer(
      request,
      Promise.resolve().then(() => this.#files().remove(this.#path))
    )
  }
}

/** Answers a request with the outcome of a promise. What its callback throws is an uncaught exception. */
function answer(request: Request, promise: Promise<unknown>): void {
  promise.then(
    (value) => queueMicrotask(() => request.callback(null, value)),
    (error: Error) => queueMicrotask(() => request.callback(error))
  )
}
