import { argumentRangeError, argumentValueError, DDatabaseError } from '../../errors.ts'
import { requireSupport, unsupported } from './support.ts'
import { type FileHandle, type FolderHandle, type SyncAccessHandle, web } from './web.ts'

/**
 * How long an opening waits for another owner of the file to let go, in milliseconds. Browsers give up the files of a
 * page that was closed or reloaded a moment later than they load the next one.
 */
const GRACE = 1000
const RETRY = 20

/** Files that are open in this very worker: waiting for those would only delay the refusal. */
const openHere = new Set<string>()

/** Where a file is: folders from the root of the origin private file system, then its own name. */
export type FilePath = readonly string[]

/** One open file of the origin private file system. For dedicated workers; all methods work at once. */
export class AccessFile {
  private readonly handle: SyncAccessHandle
  private readonly unlock: () => void

  private constructor(handle: SyncAccessHandle, unlock: () => void) {
    this.handle = handle
    this.unlock = unlock
  }

  /**
   * Opens a file; nobody else, in no tab or worker, can open it until it is closed or its owner is gone.
   * @param create - whether the file and its folders are made if they are missing
   * Errors: `ENOENT`, `ELOCKED` (after a second at most), `ERR_UNSUPPORTED_RUNTIME`, `ERR_INVALID_ARG_VALUE`,
   * and what {@link translate} makes of others
   */
  static async open(path: FilePath, create: boolean): Promise<AccessFile> {
    requireSupport(false)
    const name = path.join('/')
    if (openHere.has(name)) throw new DDatabaseError('ELOCKED')
    openHere.add(name)
    let unlock: (() => void) | null = null
    try {
      const file = await findFile(path, create)
      const deadline = Date.now() + GRACE
      unlock = await lock(`ddatabase:${name}`)
      const handle = await takeHandle(file, deadline)
      const release = unlock
      return new AccessFile(handle, () => {
        openHere.delete(name)
        release()
      })
    } catch (error) {
      openHere.delete(name)
      unlock?.()
      throw translate(error)
    }
  }

  /** Exactly `size` bytes. Errors: `EPARTIALREAD` if there are fewer, `ERR_OUT_OF_RANGE`. */
  read(offset: number, size: number): Uint8Array {
    requireWhole(offset, 'offset')
    requireWhole(size, 'size')
    const stored = this.size()
    // Looked at first: a size that nobody has must not be allocated.
    if (offset + size > stored)
      throw coded('EPARTIALREAD', `Could not satisfy length: ${size} bytes at ${offset}`)
    // Not by b4a: what the worker's script imports is loaded as it is by servers that bundle only what pages import.
    const data = new Uint8Array(size)
    this.transfer(
      size,
      (done) => this.handle.read(data.subarray(done), { at: offset + done }),
      'EPARTIALREAD'
    )
    return data
  }

  /** Writes all of `data`; a gap before it reads as zero. Errors: `ENOSPC` when the quota is exceeded, `ERR_OUT_OF_RANGE`. */
  write(offset: number, data: Uint8Array): void {
    requireWhole(offset, 'offset')
    this.transfer(
      data.byteLength,
      (done) => this.handle.write(done === 0 ? data : data.subarray(done), { at: offset + done }),
      'ENOSPC'
    )
  }

  /** Ends the file at `offset` if the range reaches its end. There are no holes: elsewhere the bytes stay, unread. */
  del(offset: number, size: number): void {
    requireWhole(offset, 'offset')
    const stored = this.size()
    if (size > 0 && offset < stored && offset + size >= stored) this.truncate(offset)
  }

  /** Cuts the file, or extends it with zeros. */
  truncate(size: number): void {
    requireWhole(size, 'size')
    translated(() => this.handle.truncate(size))
  }

  /** Size in bytes. */
  size(): number {
    return translated(() => this.handle.getSize())
  }

  /** What was written survives a power failure. */
  flush(): void {
    translated(() => this.handle.flush())
  }

  /** Lets the file go. */
  close(): void {
    try {
      translated(() => this.handle.close())
    } finally {
      this.unlock()
    }
  }

  private transfer(size: number, step: (done: number) => number, shortCode: string): void {
    for (let done = 0; done < size; ) {
      const count = translated(() => step(done))
      if (count === 0) throw coded(shortCode, `Only ${done} of ${size} bytes were transferred`)
      done += count
    }
  }
}

/**
 * Removes a file, and its folder if that is empty then.
 * Errors: `ENOENT`, `ELOCKED`, `ERR_UNSUPPORTED_RUNTIME`, `ERR_INVALID_ARG_VALUE`
 */
export async function removeFile(path: FilePath): Promise<void> {
  requireSupport(false)
  try {
    const folders = path.slice(0, -1)
    const folder = await findFolder(folders, false)
    await named(path.at(-1)!, (name) => folder.removeEntry(name))
    if (folders.length === 0) return
    const parent = await findFolder(folders.slice(0, -1), false)
    // Refused as long as something is in it.
    await parent.removeEntry(folders.at(-1)!).catch(() => {})
  } catch (error) {
    throw translate(error)
  }
}

async function findFolder(path: FilePath, create: boolean): Promise<FolderHandle> {
  let folder: FolderHandle
  try {
    folder = await web.navigator!.storage!.getDirectory!()
  } catch (error) {
    // Private windows of some browsers, and pages without an origin.
    throw unsupported('the browser refuses the origin private file system to this page', error)
  }
  for (const part of path) {
    const parent = folder
    folder = await named(part, (name) => parent.getDirectoryHandle(name, { create }))
  }
  return folder
}

async function findFile(path: FilePath, create: boolean): Promise<FileHandle> {
  const folder = await findFolder(path.slice(0, -1), create)
  return named(path.at(-1)!, (name) => folder.getFileHandle(name, { create }))
}

/** Uses a name. Which ones no file can have depends on the browser. Errors: `ERR_INVALID_ARG_VALUE`, and those of `use` */
async function named<T>(name: string, use: (name: string) => Promise<T>): Promise<T> {
  try {
    return await use(name)
  } catch (error) {
    if (nameOf(error) !== 'TypeError') throw error
    throw argumentValueError(`No file can be called ${JSON.stringify(name)} here`, error)
  }
}

/**
 * Takes a lock of the browser's lock manager, which outlives neither this worker nor its page. The handle alone would
 * keep others out as well. But browsers leave tabs that hold a lock awake, and do not keep their pages in memory, with
 * the files still open, after the user has gone to another page.
 * @returns how to let it go. Errors: `ELOCKED`
 */
function lock(name: string): Promise<() => void> {
  const locks = web.navigator?.locks
  if (locks === undefined) return Promise.resolve(() => {})
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), GRACE)
  return new Promise((resolve, reject) => {
    locks
      .request(name, { signal: patience.signal }, () => {
        clearTimeout(timer)
        return new Promise<void>((release) => resolve(release))
      })
      .catch((error: unknown) => {
        clearTimeout(timer)
        reject(nameOf(error) === 'AbortError' ? new DDatabaseError('ELOCKED', { cause: error }) : error)
      })
  })
}

async function takeHandle(file: FileHandle, deadline: number): Promise<SyncAccessHandle> {
  if (typeof file.createSyncAccessHandle !== 'function') {
    throw unsupported('synchronous access handles (FileSystemFileHandle.createSyncAccessHandle) are missing')
  }
  while (true) {
    try {
      const handle = await file.createSyncAccessHandle()
      if (typeof (handle.getSize() as unknown) === 'number') return handle
      handle.close()
      throw unsupported('the access handles of this old browser are not synchronous')
    } catch (error) {
      if (nameOf(error) === 'NotSupportedError') {
        // WebKitGTK has the method, and nothing behind it.
        throw unsupported('this browser cannot give synchronous access handles', error)
      }
      if (!IN_USE.has(nameOf(error))) throw error
      if (Date.now() >= deadline) throw new DDatabaseError('ELOCKED', { cause: error })
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY))
  }
}

/** The names under which browsers say that a file has a handle already. */
const IN_USE: ReadonlySet<unknown> = new Set(['NoModificationAllowedError', 'InvalidStateError'])

/** What browsers call it, and what file systems do. */
const CODES: ReadonlyMap<unknown, string> = new Map([
  ['NotFoundError', 'ENOENT'],
  ['QuotaExceededError', 'ENOSPC'],
  ['NoModificationAllowedError', 'ELOCKED'],
  ['TypeMismatchError', 'ENOTDIR'],
  ['NotAllowedError', 'EACCES'],
  ['SecurityError', 'EACCES']
])

/** Gives an exception of the browser the code that storages of files have, its own name stays. */
function translate(error: unknown): unknown {
  const code = CODES.get(nameOf(error))
  if (code === undefined || DDatabaseError.is(error)) return error
  if (code === 'ELOCKED') return new DDatabaseError('ELOCKED', { cause: error })
  return coded(code, `${code}: ${(error as Error).message}`, error)
}

function translated<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw translate(error)
  }
}

function coded(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code })
}

function requireWhole(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw argumentRangeError(`There is no ${name} ${value} in a file`)
}

function nameOf(error: unknown): unknown {
  return (error as { name?: unknown } | null)?.name
}
