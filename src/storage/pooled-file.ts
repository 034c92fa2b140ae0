/** A file whose descriptor can be given up and had again. Node only. */
import fs from 'node:fs'
import path from 'node:path'
import RandomAccessFile from 'random-access-file'
import type { Request } from 'random-access-storage'
import { codeOf, DDatabaseError } from '../errors.ts'
import type { Descriptors, OpenFile } from './descriptors.ts'
import type { NewEntries } from './new-entries.ts'

const { O_RDONLY, O_RDWR, O_CREAT } = fs.constants

/** The operating system's ways to say "you may not write here". */
const WRITING_REFUSED: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS'])

/** What the files of one directory have in common. */
export interface Shared {
  readonly directory: string
  readonly newEntries: NewEntries
  readonly pool: Descriptors
  readonly sync: boolean
}

/** What the files of one directory differ in. */
interface Kind {
  /** Whether folders are made that are not there. */
  readonly folders: boolean
  /** Whether it is locked while it is open. */
  readonly locked: boolean
  /** Of a new file, less the umask. */
  readonly permissions: number
}

/** What tells a file from others. Numbers of inodes are used again; so it takes the time of its creation, too. */
type Identity = Pick<fs.Stats, 'dev' | 'ino' | 'birthtimeMs' | 'ctimeMs' | 'mtimeMs' | 'nlink'>

const NO_FILE: Identity = { dev: -1, ino: -1, birthtimeMs: -1, ctimeMs: -1, mtimeMs: -1, nlink: 0 }

/**
 * The descriptor of a file: opened for reading and writing at once by the first request, until `close`. That of a locked
 * file is the same all the time: the lock belongs to it, so it has no gap and never competes with itself. Others may be given
 * up in between, when too many files are open ({@link Descriptors}): the next request opens the same file again, or fails with
 * `ERR_STORAGE` if it is not there any more. It is never made a second time.
 *
 * A synchronisation makes durable what was written through a descriptor that was given up: it is that of the file. It also
 * tells what went wrong in between: Linux, since 4.17, tells an error of writing back to the first who synchronises, also through a
 * descriptor that was opened later. It can forget one that nobody was told when it needs the memory while the file is not
 * open; other systems promise nothing of the kind. What closing reports is kept for the next synchronisation.
 */
export abstract class PooledFile extends RandomAccessFile implements OpenFile {
  used = false
  hasDescriptor = false
  protected readonly shared: Shared
  readonly #kind: Kind
  /** Why the file was opened for reading only, or null if it was not. */
  protected refusal: Error | null = null
  /** Whether something may be written that was not synchronised. */
  protected unsynced = false
  /** What closing a descriptor that was given up has reported. */
  protected failure: Error | null = null
  /** The file whose descriptor was given up, null while there is one. */
  #givenUp: Identity | null = null
  #closesAtOnce = false
  /** Whether it is given up as soon as it has been opened, and used. */
  #leaves = false

  constructor(name: string, shared: Shared, kind: Kind) {
    super(name, { directory: shared.directory })
    this.shared = shared
    this.#kind = kind
  }

  /** Locks a file that was opened; answers why that failed, or null. */
  protected abstract lock(fd: number, readOnly: boolean): Error | null

  /** Names of the open file: none after somebody has removed it, or its folder. Null if it is not open. */
  get names(): number | null {
    if (!this.opened || this.closed) return null
    if (this.#givenUp === null) return fs.fstatSync(this.fd).nlink
    const there = fs.statSync(this.filename, { throwIfNoEntry: false })
    return there !== undefined && isSame(there, this.#givenUp) ? there.nlink : 0
  }

  /** Whether `fd` can be used now, without a request. */
  protected immediate(): boolean {
    if (!this.shared.sync || !this.opened || this.closed || this._queued.length > 0) return false
    this.used = true
    return this.#givenUp === null || this.#reopenNow()
  }

  get idle(): boolean {
    return this._pending === 0 && this._queued.length === 0
  }

  giveUp(atOnce: boolean): boolean {
    // Without a name it could not be opened again.
    if (this.idle && identityOf(this.fd).nlink === 0) return false
    this.#closesAtOnce = atOnce
    if (this.hasDescriptor) super.suspend()
    // As long as it is suspended it cannot be suspended again.
    else this.#leaves = true
    return true
  }

  /** Does nothing: only the pool knows when, and nobody may lose a lock by it. */
  override suspend(callback?: (error: Error | null) => void): void {
    if (callback !== undefined) process.nextTick(callback, null)
  }

  override _suspend(request: Request): void {
    const { fd } = this
    this.#givenUp = identityOf(fd)
    this.fd = 0
    // Never an error: the descriptor is gone also if the system reports one.
    const closed = (error: Error | null): void => {
      this.failure ??= error
      this.hasDescriptor = false
      this.shared.pool.leave(this)
      request.callback(null)
    }
    // On a file system of a network closing waits until everything is written.
    if (this.#closesAtOnce || (this.shared.sync && !this.unsynced)) closed(failureOf(() => fs.closeSync(fd)))
    else fs.close(fd, (error) => closed(error ?? null))
  }

  /** Ends the suspension as `_open` does. False if that fails: a request tries again then, and is told why. */
  #reopenNow(): boolean {
    if (!this.shared.pool.enterNow(this)) return false
    try {
      const fd = fs.openSync(this.filename, this.refusal === null ? O_RDWR : O_RDONLY)
      if (this.#differs(fd) === null) {
        this.suspended = false
        this._needsOpen = false
        this.#adopt(fd)
        return true
      }
      fs.closeSync(fd)
    } catch {}
    this.shared.pool.leave(this)
    return false
  }

  #adopt(fd: number): void {
    this.fd = fd
    this.hasDescriptor = true
    this.#givenUp = null
  }

  /** Why this is not the file that was given up, or null. */
  #differs(fd: number): Error | null {
    return this.#givenUp === null || isSame(identityOf(fd), this.#givenUp) ? null : this.gone()
  }

  /** Whether these are the facts of the open file. */
  protected isFile(facts: fs.Stats): boolean {
    return isSame(facts, identityOf(this.fd))
  }

  /** Why nothing that is written could be read again, or null. */
  #whyUseless(fd: number): Error | null {
    try {
      return fs.fstatSync(fd).isFile() ? null : notAFile(this.filename)
    } catch (error) {
      return error as Error
    }
  }

  // Not ENOENT: that would mean that there has been nothing.
  protected gone(): DDatabaseError {
    const message = `Somebody has removed or replaced a file that is in use: ${this.filename}`
    return new DDatabaseError('ERR_STORAGE', { message })
  }

  override _open(request: Request): void {
    const create = this.writing && this.#givenUp === null
    this.shared.pool.enter(this, this.#kind.locked, () => {
      if (this.refusal === null) this.#openForWriting(request, create)
      else this.#openReadOnly(request, this.refusal)
    })
  }

  #openForWriting(request: Request, create: boolean): void {
    this.#openFile(O_RDWR, (error, fd) => {
      if (error === null) this.#opened(request, fd, null)
      else if (error.code === 'ENOENT' && create) this.#create(request)
      else if (WRITING_REFUSED.has(error.code)) this.#openReadOnly(request, error)
      else this.#notOpened(request, error)
    })
  }

  #openReadOnly(request: Request, refusal: Error): void {
    fs.stat(this.filename, (unknown, stat) => {
      // A pipe would be waited for until somebody writes to it.
      if (unknown === null && !stat.isFile()) {
        this.#notOpened(request, notAFile(this.filename))
        return
      }
      this.#openFile(O_RDONLY, (error, fd) => {
        if (error === null) this.#opened(request, fd, refusal)
        else this.#notOpened(request, error)
      })
    })
  }

  #create(request: Request, foldersMade = false): void {
    this.#openFile(O_RDWR | O_CREAT, (error, fd) => {
      if (error === null) {
        this.shared.newEntries.add(path.dirname(this.filename))
        this.#opened(request, fd, null)
      } else if (error.code === 'ENOENT' && this.#kind.folders && !foldersMade) this.#createFolders(request)
      else this.#notCreated(request, error)
    })
  }

  #openFile(flags: number, callback: (error: NodeJS.ErrnoException | null, fd: number) => void): void {
    fs.open(this.filename, flags, this.#kind.permissions, (error, fd) => {
      const again = (): void => this.#openFile(flags, callback)
      if (error === null || !this.shared.pool.relievesLater(error, again)) callback(error, fd)
    })
  }

  #createFolders(request: Request): void {
    const innermost = path.dirname(this.filename)
    fs.mkdir(innermost, { recursive: true }, (error, outermost) => {
      if (error !== null) {
        whyNotMade(innermost, error, (reason) => this.#notCreated(request, reason))
        return
      }
      if (outermost !== undefined) {
        // Each new folder is a new entry of the one around it.
        for (let folder = innermost; folder.length >= outermost.length; ) {
          const around = path.dirname(folder)
          if (around === folder) break
          this.shared.newEntries.add(around)
          folder = around
        }
      }
      this.#create(request, true)
    })
  }

  #opened(request: Request, fd: number, refusal: Error | null): void {
    const failure =
      this.#whyUseless(fd) ?? (this.#kind.locked ? this.lock(fd, refusal !== null) : this.#differs(fd))
    if (failure !== null) {
      fs.close(fd, () => this.#notOpened(request, failure))
      return
    }
    this.refusal = refusal
    this.#adopt(fd)
    request.callback(null)
    if (!this.#leaves) return
    this.#leaves = false
    super.suspend()
  }

  #notCreated(request: Request, error: Error): void {
    // Forgets that something was to be written: the next read shall find nothing instead of being refused too.
    this.writing = false
    this.#notOpened(request, error)
  }

  #notOpened(request: Request, error: Error): void {
    // Without this every later request would answer `Not opened` instead of trying again.
    this._needsOpen = true
    this.#leaves = false
    this.shared.pool.leave(this)
    request.callback(this.#givenUp !== null && codeOf(error) === 'ENOENT' ? this.gone() : error)
  }

  override _close(request: Request): void {
    const { fd } = this
    this.fd = 0
    fs.close(fd, (error) => {
      this.hasDescriptor = false
      this.shared.pool.leave(this)
      // The descriptor is gone also if the system reports an error, and its number may already be another file's.
      if (error) this.closed = true
      request.callback(error ?? null)
    })
  }
}

/** A pipe answers each byte once, or waits for ever; a device may take everything, and keep nothing. */
export function notAFile(name: string): DDatabaseError {
  return new DDatabaseError('ERR_STORAGE', { message: `This is no file: ${name}` })
}

/**
 * Why a folder could not be made. With `recursive`, Node.js says ENOENT where the file system is read-only; of the outermost folder that
 * is missing it tells the reason.
 */
function whyNotMade(folder: string, error: NodeJS.ErrnoException, callback: (reason: Error) => void): void {
  const around = path.dirname(folder)
  if (error.code !== 'ENOENT' || around === folder) {
    callback(error)
    return
  }
  fs.mkdir(folder, (reason) => {
    if (reason === null || reason.code === 'EEXIST') callback(error)
    else whyNotMade(around, reason, callback)
  })
}

function identityOf(fd: number): Identity {
  try {
    const { dev, ino, birthtimeMs, ctimeMs, mtimeMs, nlink } = fs.fstatSync(fd)
    return { dev, ino, birthtimeMs, ctimeMs, mtimeMs, nlink }
  } catch {
    // Of a file system that is gone.
    return NO_FILE
  }
}

// A system that does not know when a file was made tells when it was changed last, be it only its permissions.
function isSame(one: Identity, other: Identity): boolean {
  if (one.nlink === 0 || other.nlink === 0 || one.dev !== other.dev || one.ino !== other.ino) return false
  if (one.birthtimeMs === other.birthtimeMs) return true
  return [one, other].every(madeUnknown) && one.mtimeMs === other.mtimeMs
}

function madeUnknown({ birthtimeMs, ctimeMs }: Identity): boolean {
  return birthtimeMs === ctimeMs
}

function failureOf(call: () => void): Error | null {
  try {
    call()
    return null
  } catch (error) {
    return error as Error
  }
}
