/**
 * A small file of text beside the six of the format, in a directory: lines, of which new ones are added at the end and
 * synchronised. Who reads it decides which lines hold, as any of them may be cut or damaged. The file may be removed, and other
 * packages ignore it.
 */
import b4a from 'b4a'
import { Mutex } from '../util/mutex.ts'
import { type StorageFactory, StorageFile } from './random-access.ts'
import { noneLeft } from './storage-error.ts'

// What is longer was not written here.
const LONGEST = 1024 * 1024

const LINE_END = b4a.from('\n')

/** The file. */
export class LineFile {
  readonly #create: StorageFactory
  readonly #name: string
  // Two that are added at once would have the same place.
  readonly #adding = new Mutex()

  /** @param create - makes the file's storage, one for each use */
  constructor(create: StorageFactory, name: string) {
    this.#create = create
    this.#name = name
  }

  /**
   * All lines that are not empty. A file that cannot be read is not there, unless it only could not be opened for want of descriptors: what it
   * remembers would be forgotten. Rejects with that error.
   */
  async load(): Promise<string[]> {
    const bytes = await this.#read().catch((error: unknown) => {
      if (noneLeft(error)) throw error
      return null
    })
    return bytes === null ? [] : b4a.toString(bytes).split('\n').filter(Boolean)
  }

  /** Adds a line; durable when this resolves. Rejects with the storage's error. */
  async add(line: string): Promise<void> {
    const add = async (file: StorageFile): Promise<void> => {
      const size = (await file.size()) ?? 0
      // What is in front may have been cut in the middle of a line.
      const start = size === 0 ? [] : [LINE_END]
      await file.write(size, b4a.concat([...start, b4a.from(line), LINE_END]))
      await file.sync()
    }
    await this.#adding.run(() => this.#use(add))
  }

  /** Removes the file. Rejects with the storage's error. */
  async destroy(): Promise<void> {
    await new StorageFile(this.#create(this.#name, { folders: false })).destroy()
  }

  async #read(): Promise<Uint8Array | null> {
    const { readWhole } = this.#create
    if (readWhole !== undefined) {
      const bytes = readWhole(this.#name)
      return bytes === null || bytes.byteLength > LONGEST ? null : bytes
    }
    return this.#use(async (file) => {
      const size = await file.size()
      return size === null || size === 0 || size > LONGEST ? null : file.read(0, size)
    })
  }

  async #use<T>(use: (file: StorageFile) => Promise<T>): Promise<T> {
    const file = new StorageFile(this.#create(this.#name, { folders: false }))
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }
}
