import type { Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Failure } from './failure.ts'

/** The file that is imported. Read in pieces, so its size does not matter for memory. */
export class Source {
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly #changed: number
  readonly #handle: FileHandle

  private constructor(path: string, { size, mtimeMs }: Stats, handle: FileHandle) {
    this.path = path
    this.size = size
    this.#changed = mtimeMs
    this.#handle = handle
  }

  /** Fails with exit code 3 unless it is a file that can be read. */
  static async open(path: string): Promise<Source> {
    let handle: FileHandle | undefined
    try {
      handle = await open(path)
      const stat = await handle.stat()
      if (!stat.isFile()) throw new Failure('source', `${path} is not a file.`)
      return new Source(path, stat, handle)
    } catch (error) {
      await handle?.close()
      throw error instanceof Failure ? error : unreadable(path, error)
    }
  }

  /** `size` bytes from `offset` on, fewer only at the end of the file. */
  async read(offset: number, size: number): Promise<Uint8Array> {
    const wanted = Math.min(size, this.size - offset)
    const bytes = Buffer.allocUnsafe(wanted)
    for (let done = 0; done < wanted; ) {
      const { bytesRead } = await this.#handle
        .read(bytes, done, wanted - done, offset + done)
        .catch((error) => Promise.reject(unreadable(this.path, error)))
      if (bytesRead === 0) throw new Failure('source', `${this.path} was changed while it was read.`)
      done += bytesRead
    }
    return bytes
  }

  /** Fails with exit code 3 if the file was written to since it was opened: what was read is neither old nor new. */
  async checkUnchanged(): Promise<void> {
    const { size, mtimeMs } = await this.#handle.stat()
    if (size !== this.size || mtimeMs !== this.#changed) {
      throw new Failure('source', `${this.path} was changed while it was read.`)
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

const REASONS: Record<string, string> = {
  ENOENT: 'it does not exist',
  EACCES: 'access is denied',
  EPERM: 'access is denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  ERR_INVALID_ARG_VALUE: 'no file can have this path'
}

function unreadable(path: string, error: unknown): Failure {
  const { code, message } = error as NodeJS.ErrnoException
  return new Failure('source', `${path} cannot be read: ${REASONS[code ?? ''] ?? message}.`, error)
}
