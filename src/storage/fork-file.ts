/**
 * The forks that a feed has met, in a file of its own beside the six of the format: one line of JSON for each, added at the
 * end and synchronised. A line that was cut, or damaged, or does not hold is not there; those before and after it are. The
 * file may be removed, and other packages ignore it.
 */
import b4a from 'b4a'
import { type ForkProof, forkFromText, forkToText } from '../merkle/fork.ts'
import { type StorageFactory, StorageFile } from './random-access.ts'

/** Name of the file. */
export const FORKS_NAME = 'forks'

// A proof has at most some 20 KB. What is beyond that many for all of them was not written here.
const LONGEST = 1024 * 1024

const LINE_END = b4a.from('\n')

/** The file. */
export class ForkFile {
  readonly #create: StorageFactory

  /** @param create - makes the file's storage, one for each use */
  constructor(create: StorageFactory) {
    this.#create = create
  }

  /** What was remembered; nothing of it is verified. A file that cannot be read is not there. */
  async load(): Promise<ForkProof[]> {
    const bytes = await this.#read().catch(() => null)
    if (bytes === null) return []
    const found: ForkProof[] = []
    for (const line of b4a.toString(bytes).split('\n')) {
      const proof = line === '' ? null : forkFromText(line)
      if (proof !== null) found.push(proof)
    }
    return found
  }

  /** Adds a proof; durable when this resolves. Rejects with the storage's error. */
  async add(proof: ForkProof): Promise<void> {
    await this.#use(async (file) => {
      const size = (await file.size()) ?? 0
      // What is in front may have been cut in the middle of a line.
      const start = size === 0 ? [] : [LINE_END]
      await file.write(size, b4a.concat([...start, b4a.from(forkToText(proof)), LINE_END]))
      await file.sync()
    })
  }

  /** Removes the file. Rejects with the storage's error. */
  async destroy(): Promise<void> {
    await new StorageFile(this.#create(FORKS_NAME, { folders: false })).destroy()
  }

  async #read(): Promise<Uint8Array | null> {
    const { readWhole } = this.#create
    if (readWhole !== undefined) {
      const bytes = readWhole(FORKS_NAME)
      return bytes === null || bytes.byteLength > LONGEST ? null : bytes
    }
    return this.#use(async (file) => {
      const size = await file.size()
      return size === null || size === 0 || size > LONGEST ? null : file.read(0, size)
    })
  }

  async #use<T>(use: (file: StorageFile) => Promise<T>): Promise<T> {
    const file = new StorageFile(this.#create(FORKS_NAME, { folders: false }))
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }
}
