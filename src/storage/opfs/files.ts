import { AccessFile, type FilePath, removeFile } from './access-file.ts'

/** The ways to the origin private file system: {@link localFiles} in a dedicated worker, else {@link remoteFiles}. */
export interface Files {
  /** Errors: as {@link AccessFile.open}. */
  open(path: FilePath, create: boolean): Promise<OpenFile>
  /** Errors: as {@link removeFile}. */
  remove(path: FilePath): Promise<void>
}

/** An open file; the methods are those of {@link AccessFile}. */
export interface OpenFile {
  read(offset: number, size: number): Promise<Uint8Array>
  write(offset: number, data: Uint8Array): Promise<void>
  del(offset: number, size: number): Promise<void>
  truncate(size: number): Promise<void>
  size(): Promise<number>
  flush(): Promise<void>
  close(): Promise<void>
  /** The file itself where it can be used at once. */
  readonly local?: AccessFile
}

/** The files of a dedicated worker that uses them itself. */
export const localFiles: Files = {
  open: async (path, create) => new LocalFile(await AccessFile.open(path, create)),
  remove: removeFile
}

class LocalFile implements OpenFile {
  readonly local: AccessFile

  constructor(file: AccessFile) {
    this.local = file
  }

  async read(offset: number, size: number): Promise<Uint8Array> {
    return this.local.read(offset, size)
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.local.write(offset, data)
  }

  async del(offset: number, size: number): Promise<void> {
    this.local.del(offset, size)
  }

  async truncate(size: number): Promise<void> {
    this.local.truncate(size)
  }

  async size(): Promise<number> {
    return this.local.size()
  }

  async flush(): Promise<void> {
    this.local.flush()
  }

  async close(): Promise<void> {
    this.local.close()
  }
}
