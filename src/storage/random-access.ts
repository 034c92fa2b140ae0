import { argumentTypeError, codeOf, DDatabaseError } from '../errors.ts'

/** Node's way to answer: a truthy first argument is the error. Storages differ in how they say that there is none. */
export type StorageCallback<T = void> = (error?: Error | null, value?: T) => void

/**
 * One file of a feed: anything shaped like `random-access-storage`, 1.x (`destroy`) or 3.x (`unlink`), or less
 * (spec FORMAT §10). Offsets and sizes are bytes. Several calls may be in flight at once.
 */
export interface RandomAccess {
  /** Fails if fewer than `size` bytes exist at `offset`. */
  read(offset: number, size: number, callback: StorageCallback<Uint8Array>): void
  /** Extends the file if needed; a gap reads as zero. A key file that only offers `read` is accepted as well. */
  write(offset: number, data: Uint8Array, callback: StorageCallback): void
  /** Gives the range back; at the end of the file it cuts the file. `size` may be Infinity. */
  del?(offset: number, size: number, callback: StorageCallback): void
  /** Used only if `statable` is exactly true. */
  stat?(callback: StorageCallback<{ size: number }>): void
  /** Whether `stat` works. */
  readonly statable?: boolean
  /** False says that `del` exists but does not work. */
  readonly deletable?: boolean
  /** Opens the file, before its first use; a failed opening is tried again with it. */
  open?(callback: StorageCallback): void
  /** Whether it is open. */
  readonly opened?: boolean
  /** Whether it was closed. */
  readonly closed?: boolean
  /** Closes the file. Nothing is called afterwards but `destroy` or `unlink`. */
  close?(callback: StorageCallback): void
  /** Removes the file: random-access-storage 1 … */
  destroy?(callback: StorageCallback): void
  /** … and its name since 2. */
  unlink?(callback: StorageCallback): void

  /**
   * Extra of the directory storage: reads at once, into the first `size` bytes of `target` if it can and that is given. Null: not
   * possible right now, use `read`. Throws on failure.
   */
  readSync?(offset: number, size: number, target?: Uint8Array): Uint8Array | null
  /** Extra of the directory storage: writes at once. False: not possible right now, use `write`. Throws on failure. */
  writeSync?(offset: number, data: Uint8Array): boolean
  /** Extra of the directory storage: as `write`, several pieces, one behind the other. They must not change until then. */
  writeAll?(offset: number, pieces: readonly Uint8Array[], callback: StorageCallback): void
  /** Extra of the directory storage: bytes of the file at once. Null: not possible right now, use `stat`. Throws on failure. */
  sizeSync?(): number | null
  /** Extra of the directory storage: makes all finished writes survive a power failure. */
  sync?(callback: StorageCallback): void
  /** Extra of the directory storage: how many names the file has, 0 after somebody has removed it; null if it is not open. */
  readonly names?: number | null
}

/** Makes the storage of one file; called once per name and feed, `key` first (spec FORMAT §10). */
export interface StorageFactory {
  (
    name: string,
    /** `folders: false`, only for what is beside the six files: a folder that is not there is not made. */
    options: { key?: Uint8Array | null; discoveryKey?: Uint8Array | null; folders?: boolean }
  ): RandomAccess
  /**
   * Whether it may be asked for more names than the six of the format, several times each: for checkpoints. Functions
   * of applications may know the six only.
   */
  readonly extraFiles?: boolean
  /** Extra of the directory storage: a whole file at once, null if there is none. Throws on failure. */
  readonly readWhole?: (name: string) => Uint8Array | null
  /** Extra of the directory storage: what a file is like at this moment, null if there is none or that cannot be told. */
  readonly stampOf?: (name: string) => {
    /** Another one if the file was changed, or replaced. */
    readonly text: string
    /** Milliseconds until every change that is made from then on makes it another text; Infinity if that is not certain. */
    readonly settles: number
  } | null
  /** From how many pages of bits on stamps are looked at. */
  readonly stampsFrom?: number
}

/** What storages that cannot tell their size say of what they do not have. */
const ABSENT: ReadonlySet<unknown> = new Set(['ENOENT', 'EPARTIALREAD', undefined, null])

// Reads of so many bytes are made at once where the storage can: a trip through the thread pool takes ten times as long.
const SMALL = 4096

/** The source text of a class; `class` may be the start of a longer name (`classify => …`) or of a method. */
const CLASS_SOURCE = /^class(?![\w$(])/

/**
 * The factory in the storage argument of a feed: a function as it is, a class (such as `RandomAccessMemory`) as the
 * constructor of each file. A factory that throws or answers something else fails the opening, not this call.
 * @throws TypeError `ERR_INVALID_ARG_TYPE` for anything else (directories are made into factories elsewhere)
 */
export function toFactory(storage: unknown): StorageFactory {
  if (typeof storage !== 'function') throw argumentTypeError('Storage should be a function or string')
  if (!CLASS_SOURCE.test(Function.prototype.toString.call(storage))) return storage as StorageFactory
  const Storage = storage as new (...args: Parameters<StorageFactory>) => RandomAccess
  return (name, options) => new Storage(name, options)
}

/**
 * Promises over one {@link RandomAccess}. Each call settles once, even if the storage calls back twice; a storage
 * that throws rejects. Errors of the storage pass through as they are, with their `code`.
 */
export class StorageFile {
  /** The storage itself. */
  readonly raw: RandomAccess
  /** Whether there may be writes that a power failure could take back; see `Durability`. */
  unsynced = true
  readonly #statable: boolean
  #openingFailed = false
  #absent = false
  #destroyed = false
  #closing: Promise<void> | null = null

  /** @throws TypeError `ERR_INVALID_ARG_TYPE` if `raw` has no `read` */
  constructor(raw: RandomAccess) {
    // Stores of many feeds hand out key files that can only be read; whoever writes to one is told.
    const { read } = (raw ?? {}) as Partial<RandomAccess>
    if (typeof read !== 'function') throw argumentTypeError('A storage should have a method read')
    this.raw = raw
    this.#statable = raw.statable === true && typeof raw.stat === 'function'
  }

  /** Exactly `size` bytes at `offset`; rejects if there are fewer (`ERR_STORAGE` if the storage does not say so). */
  async read(offset: number, size: number): Promise<Uint8Array> {
    return (size <= SMALL ? this.readSync(offset, size) : null) ?? this.readLater(offset, size)
  }

  /** The same, never at once: what else the process has to do gets its turn. */
  readLater(offset: number, size: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#retryOpening()
      this.raw.read(offset, size, (error, data) => {
        if (error) reject(this.#failed(error))
        else if (isBytes(data, size)) resolve(ofThisRealm(data))
        else reject(wrongSize(size, data))
      })
    })
  }

  /**
   * Exactly `size` bytes at `offset` without waiting, or null if the storage cannot do that now. Throws like `read`
   * rejects.
   */
  readSync(offset: number, size: number, target?: Uint8Array): Uint8Array | null {
    if (this.raw.readSync === undefined) return null
    const data = this.raw.readSync(offset, size, target)
    if (data !== null && data.byteLength !== size) throw wrongSize(size, data)
    return data
  }

  /**
   * Like `read`, but null if nothing is stored here (spec FORMAT §13 quirk 13): the storage says ENOENT or size 0;
   * of a storage that cannot tell its size what {@link readOrAbsent} answers.
   * A file that is not empty but too short is damaged, not absent: it rejects.
   */
  async readIfPresent(offset: number, size: number): Promise<Uint8Array | null> {
    const stored = await this.size()
    if (stored === 0) return null
    if (stored === null) return this.readOrAbsent(offset, size)
    if (offset + size <= stored) return this.read(offset, size)
    // Said here because the errors of some storages have no code.
    throw new DDatabaseError('ERR_STORAGE', {
      message: `Could not satisfy length: ${size} bytes at ${offset} of ${stored}`
    })
  }

  /**
   * Like `readIfPresent` where sizes cannot be told: ENOENT, EPARTIALREAD, or an error without a code, means absent. That the file ends
   * before is all that a wrapper of a file without `stat` can say: by it the last page of bits is known.
   */
  readOrAbsent(offset: number, size: number): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.#retryOpening()
      // Only what the storage answers can mean absence. What it throws is a defect of the storage.
      this.raw.read(offset, size, (error, data) => {
        if (error) {
          this.#failed(error)
          // A storage that is closed has nothing either, and has no code for that.
          if (ABSENT.has(codeOf(error)) && this.#closing === null) resolve(null)
          else reject(error)
        } else if (isBytes(data, size)) resolve(ofThisRealm(data))
        else reject(wrongSize(size, data))
      })
    })
  }

  /** Writes all of `data` at `offset`. `data` must not change until then. */
  write(offset: number, data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (typeof this.raw.write !== 'function') {
        reject(new DDatabaseError('ERR_STORAGE', { message: 'The storage cannot be written to' }))
        return
      }
      this.#retryOpening()
      this.raw.write(offset, data, (error) => {
        // Not before: a synchronisation that ends earlier may have missed it.
        this.unsynced = true
        if (error) reject(this.#failed(error))
        else {
          this.#absent = false
          resolve()
        }
      })
    })
  }

  /**
   * Whether nobody refers to what was written when that is answered. Storages of applications may: some pass on later what they have
   * answered for, others take what they are given for a part of what they hold.
   */
  get keepsNothing(): boolean {
    return this.raw.writeAll !== undefined
  }

  /** Whether {@link writeAll} does it in one go. */
  get writesPieces(): boolean {
    return this.raw.writeAll !== undefined
  }

  /** Writes pieces, one behind the other, in one go; only if the storage offers that. They must not change until then. */
  writeAll(offset: number, pieces: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#retryOpening()
      this.raw.writeAll!(offset, pieces, (error) => {
        this.unsynced = true
        if (error) reject(this.#failed(error))
        else resolve()
      })
    })
  }

  /** Whether {@link readSync} and {@link writeSync} ever do something. */
  get worksAtOnce(): boolean {
    return this.raw.writeSync !== undefined
  }

  /** Writes all of `data` without waiting, or answers false if the storage cannot do that now. Throws on failure. */
  writeSync(offset: number, data: Uint8Array): boolean {
    this.unsynced = true
    return this.raw.writeSync?.(offset, data) ?? false
  }

  /** Whether {@link del} does anything, as far as the storage says. */
  get deletes(): boolean {
    return typeof this.raw.del === 'function' && this.raw.deletable !== false
  }

  /**
   * Gives `size` bytes (possibly Infinity) at `offset` back; nothing happens if the storage cannot, or if the file
   * ends before.
   */
  async del(offset: number, size: number): Promise<void> {
    if (!this.deletes) return
    // random-access-memory 6 moves the end to `offset` even if the file was shorter.
    const stored = await this.size()
    if (stored !== null && offset >= stored) return
    await new Promise<void>((resolve, reject) => {
      this.#retryOpening()
      this.raw.del!(offset, size, (error) => {
        this.unsynced = true
        if (error) reject(this.#failed(error))
        else resolve()
      })
    })
  }

  /** Bytes stored, 0 if the file does not exist, null if the storage cannot tell. */
  size(): Promise<number | null> {
    if (!this.#statable) return Promise.resolve(null)
    return new Promise((resolve, reject) => {
      const now = this.raw.sizeSync?.() ?? null
      if (now !== null) {
        resolve(now)
        return
      }
      this.#retryOpening()
      this.raw.stat!((error, stat) => {
        if (error) {
          this.#failed(error)
          const code = codeOf(error)
          // A wrapper does not tell whether what is in it is open, so it cannot be asked to open it again.
          if (code === 'ENOENT' || (code === undefined && this.#absent)) resolve(0)
          else reject(error)
        } else if (typeof stat?.size === 'number' && stat.size >= 0) resolve(stat.size)
        else
          reject(new DDatabaseError('ERR_STORAGE', { message: 'The storage answered a stat without a size' }))
      })
    })
  }

  /** Begins to open a file of the directory storage that somebody is about to use. */
  openAhead(): void {
    if (this.raw.sizeSync === undefined) return
    this.raw.open?.((error) => {
      // Whoever uses it tries again, and is told.
      if (error) this.#failed(error)
    })
  }

  /**
   * Like `size`, but also null if the storage fails to tell, without saying why by a code. Stores of many feeds derive
   * the key files while they are asked for them, and answer that way what they do not have.
   */
  async sizeIfTold(): Promise<number | null> {
    try {
      return await this.size()
    } catch (error) {
      if (codeOf(error) === undefined) return null
      throw error
    }
  }

  /** Whether the storage can be synchronised. */
  get syncable(): boolean {
    return typeof this.raw.sync === 'function'
  }

  /** Whether what is stored will be gone with the closing of the storage, as far as that says. */
  get removed(): boolean {
    return this.raw.names === 0
  }

  /** Whether there is a file with nothing in it; false where that is the same as no file. */
  async isEmptyFile(): Promise<boolean> {
    return (this.raw.names ?? 0) > 0 && (await this.size()) === 0
  }

  /** Makes all finished writes survive a power failure, if the storage offers that. */
  sync(): Promise<void> {
    if (this.raw.sync === undefined || this.#destroyed) return Promise.resolve()
    return call((done) => this.raw.sync!(done))
  }

  /** Closes the storage, once. A failed closing can be repeated. */
  close(): Promise<void> {
    if (typeof this.raw.close !== 'function') return Promise.resolve()
    this.#closing ??= call((done) => this.raw.close!(done)).catch((error: unknown) => {
      this.#closing = null
      throw error
    })
    return this.#closing
  }

  /** Closes the storage and removes what is stored. It is no error if there is nothing. */
  async destroy(): Promise<void> {
    await this.close()
    this.#destroyed = true
    const { raw } = this
    try {
      if (typeof raw.unlink === 'function') await call((done) => raw.unlink!(done))
      else if (typeof raw.destroy === 'function') await call((done) => raw.destroy!(done))
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }

  #failed(error: Error): Error {
    if (this.raw.opened === false) this.#openingFailed = true
    if (codeOf(error) === 'ENOENT') this.#absent = true
    return error
  }

  // After a failed opening a random-access-storage answers `Not opened`, without a code and for ever, unless it
  // is asked to open again. A missing file would then be ENOENT once and an unknown error afterwards.
  #retryOpening(): void {
    if (!this.#openingFailed) return
    this.#openingFailed = false
    if (this.raw.opened === false && this.raw.closed !== true) this.raw.open?.(noop)
  }
}

function call(method: (done: StorageCallback) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    method((error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

// An ArrayBuffer has a size as well, and no bytes that could be looked at: they would count as damaged.
function isBytes(data: Uint8Array | undefined, size: number): data is Uint8Array {
  return ArrayBuffer.isView(data) && data.byteLength === size && data.length === size
}

// A storage may live in another realm, such as that of a test runner: its bytes are no instances of the class that they are asked for.
function ofThisRealm(data: Uint8Array): Uint8Array {
  if (data instanceof Uint8Array) return data
  const { buffer, byteOffset, byteLength } = data as ArrayBufferView
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
}

function wrongSize(size: number, data: Uint8Array | null | undefined): DDatabaseError {
  const got =
    typeof data?.byteLength === 'number' && 'length' in data ? `${data.byteLength} bytes` : 'no bytes'
  return new DDatabaseError('ERR_STORAGE', { message: `The storage answered ${got} instead of ${size}` })
}

function noop(): void {}
