/** Files in a directory: the storage of a feed that was given a path. Node only. */
import fs from 'node:fs'
import path from 'node:path'
import type { Request } from 'random-access-storage'
import { argumentRangeError, argumentValueError, codeOf, DDatabaseError } from '../errors.ts'
import { type DenoFile, deno } from '../util/deno.ts'
import { requireFor } from '../util/require.ts'
import { type Descriptors, descriptors } from './descriptors.ts'
import { NewEntries, NOT_OFFERED, openHandle } from './new-entries.ts'
import { notAFile, PooledFile, type Shared } from './pooled-file.ts'
import type { StorageCallback, StorageFactory } from './random-access.ts'
import type { FileStamp } from './stamps.ts'

/** Size of the read request that stands for a synchronisation, see {@link DirectoryFile.sync}. */
const SYNC = -1

type NativeExtensions = typeof import('fs-native-extensions').default
type Flock = typeof import('fd-lock').default

// Both are native code and may be missing for a platform; the storage then works without holes and locks. In Deno they need what is not
// there, and end the process.
const native = deno === null ? optional<NativeExtensions>('fs-native-extensions') : null
const flock = deno === null ? optional<Flock>('fd-lock') : null

function optional<T>(name: string): T | null {
  try {
    return requireFor(name)(name) as T
  } catch {
    return null
  }
}

/**
 * Storage in the files `<directory>/<name>` (spec FORMAT §1, §9, §10). The directory and a file are created by the
 * first write to it. Names cannot leave the directory. Files that may not be written are opened for reading only;
 * a write is then rejected with the error of the operating system. The file `bitfield` is locked while it is open:
 * a second opening fails with `ELOCKED`.
 * @param options - `sync: false` switches `readSync` and `writeSync` off; `pool`: the open files of which these are some,
 * those of the process
 * @throws TypeError `ERR_INVALID_ARG_VALUE` (also the factory, for its name) for a path that no file can have
 */
export function directoryStorage(
  directory: string,
  options: { sync?: boolean; pool?: Descriptors } = {}
): StorageFactory {
  requirePath(directory)
  // Resolved now: a process that changes its working directory must not end up with files in two places.
  const root = path.resolve(directory)
  const pool = options.pool ?? descriptors
  const newEntries = new NewEntries(pool)
  const shared: Shared = { directory: root, newEntries, pool, sync: options.sync !== false }
  const create = (name: string, { folders = true }: { folders?: boolean } = {}): DirectoryFile => {
    requirePath(name)
    return new DirectoryFile(name, shared, {
      folders,
      locked: isNamed(name, 'bitfield'),
      permissions: isNamed(name, 'secret_key') ? 0o600 : 0o666
    })
  }
  if (!shared.sync) return Object.assign(create, { extraFiles: true })
  return Object.assign(create, {
    extraFiles: true,
    readWhole: (name: string) => readWhole(path.join(root, name), pool),
    stampOf: (name: string) => stampOf(path.join(root, name))
  })
}

// Milliseconds: the system's clock for the times of files goes in steps of up to 10, where it has any fractions; else of up to 2000.
const FINE_STEP = 20
const COARSE_STEP = 2100

/** By its name, as only the name is there when it is opened the next time. */
function stampOf(file: string): FileStamp | null {
  try {
    const { size, ino, mtimeNs, ctimeNs } = fs.statSync(file, { bigint: true })
    const age = Date.now() - Number(mtimeNs / 1_000_000n)
    const step = mtimeNs % 1_000_000n === 0n ? COARSE_STEP : FINE_STEP
    return {
      // The time of the last change of any kind cannot be set: it tells a file that was put back from a copy.
      text: [size, ino, mtimeNs, ctimeNs].join(' '),
      settles: age < 0 ? Number.POSITIVE_INFINITY : Math.max(0, step - age)
    }
  } catch {
    return null
  }
}

function readWhole(file: string, pool: Descriptors): Uint8Array | null {
  // Most are not there, and an error takes ten times as long.
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return null
  // Reading a pipe, or a device, may never end.
  if (!stat.isFile()) throw notAFile(file)
  try {
    return fs.readFileSync(file)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    if (pool.relieves(error)) return readWhole(file, pool)
    throw error
  }
}

// The file functions throw on this instead of answering, which would leave a request of random-access-storage
// running for ever.
function requirePath(name: string): void {
  if (name.includes('\0')) throw argumentValueError('A storage path cannot contain a zero byte')
}

/**
 * A file below a directory. The queue of random-access-storage decides when each `_method` runs: opening and closing
 * wait for what is running, everything else runs as soon as the file is open, in no particular order.
 */
class DirectoryFile extends PooledFile {
  /** What is still being synchronised when the file itself is. */
  #flushing: Promise<unknown> | null = null
  /** What has the lock in Deno, which knows no descriptors of others. */
  #lock: DenoFile | null = null

  /**
   * Reads at once, or answers null while the file is not open or something is queued: what was asked for earlier
   * comes first. Requests that already run have no order among themselves, so overtaking them breaks none.
   */
  readSync(offset: number, size: number, target?: Uint8Array): Uint8Array | null {
    if (!this.immediate()) return null
    requireOffset(offset)
    const data = target?.subarray(0, size) ?? Buffer.allocUnsafe(size)
    for (let done = 0; done < size; ) {
      const read = fs.readSync(this.fd, data, done, size - done, offset + done)
      if (read === 0) throw partialRead(this.filename, offset, size)
      done += read
    }
    return data
  }

  /** Writes at once, or answers false in the cases of {@link readSync}. */
  writeSync(offset: number, data: Uint8Array): boolean {
    if (!this.immediate()) return false
    if (this.refusal !== null) throw this.refusal
    requireOffset(offset)
    this.unsynced = true
    for (let done = 0; done < data.length; ) {
      done += fs.writeSync(this.fd, data, done, data.length - done, offset + done)
    }
    return true
  }

  /** Writes several pieces in one trip through the thread pool, which costs as much as copying tens of kilobytes. */
  writeAll(offset: number, pieces: readonly Uint8Array[], callback: StorageCallback): void {
    // The queue of random-access-storage only hands on what is to be written.
    this.write(offset, pieces as unknown as Buffer, callback)
  }

  /** Bytes of the file at once, or null in the cases of {@link readSync}. */
  sizeSync(): number | null {
    return this.immediate() ? fs.fstatSync(this.fd).size : null
  }

  /**
   * Writes that have been answered survive a power failure once this is answered, as do the names of all files that
   * were created below the directory before.
   */
  sync(callback: StorageCallback): void {
    // A request like any other, so that closing waits for it; a read, because only reads never create the file.
    this.read(0, SYNC, (error) => {
      const absent = !this.opened && codeOf(error) === 'ENOENT'
      if (error || absent) callback(absent ? null : error)
      else this.#flushNames(callback)
    })
  }

  // Not in the same request: folders may have to wait for the descriptors of files, so no file must wait for folders.
  #flushNames(callback: StorageCallback): void {
    const done = this.shared.newEntries.flush()
    const all = Promise.allSettled([this.#flushing, done])
    this.#flushing = all
    all.then(() => {
      if (this.#flushing === all) this.#flushing = null
    })
    done.then(() => callback(null), callback)
  }

  override close(callback: (error: Error | null) => void = () => {}): void {
    super.close((error) => {
      if (this.#flushing === null) callback(error)
      else this.#flushing.then(() => callback(error))
    })
  }

  protected override lock(fd: number, readOnly: boolean): Error | null {
    if (deno === null) return lockDescriptor(fd, readOnly)
    // There a lock would keep this file's own descriptor out.
    if (process.platform === 'win32') return null
    let file: DenoFile
    try {
      file = deno.openSync(this.filename, { read: true })
    } catch (error) {
      // No descriptors left, or no permission: nobody is above who would catch it.
      return error as Error
    }
    const lock = lockInDeno(file)
    if (lock instanceof Error) return lock
    this.#lock = lock
    return null
  }

  override _close(request: Request): void {
    this.#lock?.close()
    this.#lock = null
    super._close(request)
  }

  override _read(request: Request): void {
    this.used = true
    if (request.size === SYNC) {
      this.#sync(request)
      return
    }
    attempt(request, () => super._read(request))
  }

  #sync(request: Request): void {
    // It may have been written before it could not be written any more.
    const nothing = this.refusal !== null && !this.unsynced
    if (nothing || this.failure !== null) {
      request.callback(this.failure)
      return
    }
    this.unsynced = false
    const done = (error: Error | null): void => {
      if (error !== null) this.unsynced = true
      request.callback(error)
    }
    fs.fdatasync(this.fd, (error) => {
      // With `--permission` Node.js refuses this for the numbers of descriptors, but not for handles.
      if (codeOf(error) === 'ERR_ACCESS_DENIED') this.#syncHandle().then(() => done(null), done)
      else done(error)
    })
  }

  /** The same through a handle of its own: a synchronisation is that of the file. */
  async #syncHandle(): Promise<void> {
    const { O_RDWR } = fs.constants
    const handle = await openHandle(this.filename, O_RDWR, this.shared.pool)
    try {
      const there = await handle?.stat()
      if (handle !== null && there !== undefined && this.isFile(there)) await handle.datasync()
      // Without a name there is nothing that a power failure could leave.
      else if (this.names !== 0) throw this.gone()
    } finally {
      await handle?.close()
    }
  }

  override _write(request: Request): void {
    if (this.#refused(request)) return
    const data = request.data as Uint8Array | readonly Uint8Array[]
    if (Array.isArray(data)) attempt(request, () => this.#writePieces(request, data, request.offset))
    else attempt(request, () => super._write(request))
  }

  #writePieces(request: Request, pieces: readonly Uint8Array[], offset: number): void {
    fs.writev(this.fd, pieces, offset, (error, written) => {
      if (error !== null) {
        request.callback(error)
        return
      }
      // The system may take less at a time.
      const rest = behind(pieces, written)
      if (rest.length === 0) request.callback(null)
      else this.#writePieces(request, rest, offset + written)
    })
  }

  /**
   * At the end of the file the file ends exactly at the offset afterwards; in the middle the range becomes a hole.
   * Where the file system has no holes the bytes stay: nobody reads them any more.
   */
  override _del(request: Request): void {
    if (this.#refused(request)) return
    attempt(request, () => this.#delete(request))
  }

  #delete(request: Request): void {
    const { offset, size } = request
    fs.fstat(this.fd, (error, stat) => {
      if (error !== null) request.callback(error)
      else if (size === 0 || offset >= stat.size) request.callback(null)
      else if (offset + size >= stat.size)
        fs.ftruncate(this.fd, offset, (failure) => request.callback(failure))
      else if (native === null) request.callback(null)
      else
        punchHole(native, this.fd, offset, size).then(
          () => request.callback(null),
          request.callback.bind(request)
        )
    })
  }

  override _truncate(request: Request): void {
    if (this.#refused(request)) return
    attempt(request, () => super._truncate(request))
  }

  #refused(request: Request): boolean {
    if (this.refusal !== null) {
      request.callback(this.refusal)
      return true
    }
    this.used = true
    this.unsynced = true
    return false
  }
}

/** What follows the first `size` bytes of these pieces. */
function behind(pieces: readonly Uint8Array[], size: number): Uint8Array[] {
  const rest: Uint8Array[] = []
  let skipped = size
  for (const piece of pieces) {
    if (skipped < piece.length) rest.push(piece.subarray(skipped))
    skipped = Math.max(0, skipped - piece.length)
  }
  return rest
}

/** Runs `start`, which answers the request later; what is thrown (a size that no buffer has) is the answer. */
function attempt(request: Request, start: () => void): void {
  try {
    requireOffset(request.offset)
    start()
  } catch (error) {
    request.callback(error as Error)
  }
}

// The file functions take some of these for "wherever the last transfer ended".
function requireOffset(offset: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw argumentRangeError(`There is no offset ${offset} in a file`)
}

async function punchHole(
  extensions: NativeExtensions,
  fd: number,
  offset: number,
  size: number
): Promise<void> {
  try {
    await extensions.trim(fd, offset, size)
  } catch (error) {
    if (!NOT_OFFERED.has(codeOf(error))) throw error
  }
}

/**
 * Locks the open file behind a descriptor against every other opening, in this process or another. Closing the
 * descriptor, or the end of the process, unlocks it.
 *
 * The published packages lock with flock, newer file storages (random-access-file 4) with fcntl, and on Linux neither
 * sees the other: so hold both (spec FORMAT §13 quirk 14). Elsewhere there is only one kind: fs-native-extensions
 * locks with flock on Apple systems, where it would only replace the first lock, and with LockFileEx on Windows, where
 * a second lock fails on the very descriptor that has the first.
 *
 * An exclusive fcntl lock needs a descriptor that can write. A read-only one takes it shared: that keeps writers out,
 * and other readers are kept out by the flock, which is always exclusive.
 * @returns `ELOCKED` if somebody else has a lock, else null, also if there is no native module for locks
 */
function lockDescriptor(fd: number, readOnly: boolean): DDatabaseError | null {
  if (flock !== null && !flock(fd)) return new DDatabaseError('ELOCKED')
  const twoKinds = process.platform === 'linux' || process.platform === 'android'
  if (native === null || (flock !== null && !twoKinds)) return null
  try {
    return native.tryLock(fd, { shared: readOnly }) ? null : new DDatabaseError('ELOCKED')
  } catch (error) {
    // A file system, or an old kernel, without this kind of lock; nobody else can hold one there either.
    return NOT_OFFERED.has(codeOf(error)) ? null : new DDatabaseError('ELOCKED', { cause: error })
  }
}

/** The file with the lock that the published packages see, or why it has none: then it is closed. */
function lockInDeno(file: DenoFile): DenoFile | DDatabaseError {
  try {
    if (file.tryLockSync?.(true) === true) return file
  } catch (cause) {
    file.close()
    return new DDatabaseError('ELOCKED', { cause })
  }
  file.close()
  if (file.tryLockSync !== undefined) return new DDatabaseError('ELOCKED')
  return new DDatabaseError('ERR_UNSUPPORTED_RUNTIME', {
    message:
      'This version of Deno cannot lock a directory: it has no Deno.FsFile.tryLockSync. Use a newer one'
  })
}

function isNamed(name: string, file: string): boolean {
  return name === file || name.endsWith(`/${file}`)
}

/** Like the asynchronous read of random-access-file. */
function partialRead(filename: string, offset: number, size: number): Error {
  const error = new Error('EPARTIALREAD: Could not satisfy length')
  return Object.assign(error, { code: 'EPARTIALREAD', path: filename, offset, size })
}
