/**
 * A simulated disk: a log of everything that was done to it, from which the files can be worked out as they would be after
 * the process, or the power, was gone at any moment.
 */
import type { FileStamp } from '../../src/storage/stamps.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'

type Answer<T = void> = (error: Error | null, value?: T) => void

/** One change. */
interface Change {
  readonly file: string
  readonly offset: number
  /** What is written; null: the file is cut at `offset`, or gets a hole of `size` bytes. */
  readonly data: Uint8Array | null
  readonly size: number
  /** Moments: when it was asked for, when it was answered, and when it was safe; Infinity for never. */
  readonly asked: number
  answered: number
  safe: number
}

/** What the storages offer besides the least. */
export interface DiskOptions {
  /** Checkpoints may be kept. */
  extraFiles?: boolean
  /** Reads and writes at once. */
  immediate?: boolean
  /**
   * Files can be told from what they were by their sizes alone, as where a power failure has lost their times: marks that they are
   * clean have to be taken back in time.
   */
  stamps?: boolean
  /** Nothing can be synchronised. */
  withoutSync?: boolean
}

/** A disk in memory. */
export class SimulatedDisk {
  /** Moments pass with every change that is asked for or answered. */
  now = 0
  readonly #files = new MemoryFiles()
  readonly #start: MemoryFiles
  readonly #changes: Change[] = []
  readonly options: DiskOptions

  constructor(options: DiskOptions, start = new MemoryFiles()) {
    this.options = options
    this.#start = start
    this.#files = start.clone()
  }

  /** The files as they are now. */
  get files(): MemoryFiles {
    return this.#files
  }

  /** Makes storages for a feed. */
  factory(): (name: string) => object {
    const { extraFiles = false, stamps = false } = this.options
    const create = (name: string): object => this.#storage(name)
    if (!stamps) return Object.assign(create, { extraFiles })
    const stampOf = (name: string): FileStamp | null => {
      const content = this.#files.read(name)
      return content === null ? null : { text: `${content.byteLength}`, settles: 0 }
    }
    return Object.assign(create, { extraFiles, stampOf, stampsFrom: 0 })
  }

  #storage(name: string): object {
    const files = this.#files
    const change = (offset: number, data: Uint8Array | null, size: number): Change => {
      const made: Change = {
        file: name,
        offset,
        data: data === null ? null : Uint8Array.from(data),
        size,
        asked: this.now++,
        answered: Infinity,
        safe: Infinity
      }
      this.#changes.push(made)
      apply(files, made)
      return made
    }
    const later = (made: Change, answer: Answer): void => {
      setImmediate(() => {
        made.answered = this.now++
        answer(null)
      })
    }
    const read = (offset: number, size: number): Uint8Array => {
      const content = files.read(name)
      if (content === null) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
      if (size > 0 && offset + size > content.byteLength)
        throw Object.assign(new Error('too short'), { code: 'EPARTIALREAD' })
      return Buffer.from(content.subarray(offset, offset + size))
    }
    return {
      statable: true,
      stat: (answer: Answer<{ size: number }>) =>
        setImmediate(() => answer(null, { size: files.read(name)?.byteLength ?? 0 })),
      read: (offset: number, size: number, answer: Answer<Uint8Array>) =>
        setImmediate(() => {
          let bytes: Uint8Array
          try {
            bytes = read(offset, size)
          } catch (error) {
            answer(error as Error)
            return
          }
          answer(null, bytes)
        }),
      write: (offset: number, data: Uint8Array, answer: Answer) => later(change(offset, data, 0), answer),
      del: (offset: number, size: number, answer: Answer) => later(change(offset, null, size), answer),
      close: (answer: Answer) => setImmediate(answer, null),
      ...(this.options.withoutSync !== true && {
        sync: (answer: Answer) => {
          const mine = this.#changes.filter(
            (made) => made.file === name && made.answered < Infinity && made.safe === Infinity
          )
          setImmediate(() => {
            for (const made of mine) made.safe = this.now
            this.now++
            answer(null)
          })
        }
      }),
      ...(this.options.immediate === true && {
        readSync: (offset: number, size: number, target?: Uint8Array) => {
          const bytes = read(offset, size)
          // One way or the other, as storages do.
          if (target === undefined || offset % 2 === 1) return bytes
          target.set(bytes)
          return target.subarray(0, size)
        },
        writeSync: (offset: number, data: Uint8Array) => {
          const made = change(offset, data, 0)
          made.answered = this.now++
          return true
        }
      })
    }
  }

  /** The files after the process was killed at a moment: what was being written may be there, in part. */
  killed(moment: number, random: SeededRandom): MemoryFiles {
    const files = this.#start.clone()
    for (const made of this.#changes) {
      if (made.answered < moment) apply(files, made)
      else if (made.asked < moment) applyPart(files, made, random.next())
    }
    return files
  }

  /**
   * The files after the power was gone at a moment: of what was not safe each byte may be there or not, in pieces, also if
   * what came later is there.
   */
  powerless(moment: number, random: SeededRandom): MemoryFiles {
    const files = this.#start.clone()
    // Now and then nearly all of it, or nearly nothing: these find other mistakes than one half.
    const share = [0.05, 0.3, 0.5, 0.8, 0.97][random.below(5)]!
    for (const made of this.#changes) {
      if (made.asked >= moment) break
      if (made.safe < moment) apply(files, made)
      else if (made.data === null || random.next() < 0.7) {
        if (random.next() < share) apply(files, made)
      } else applyPieces(files, made, random, share)
    }
    return files
  }
}

function apply(files: MemoryFiles, { file, offset, data, size }: Change): void {
  if (data === null) files.deleteAt(file, offset, size)
  else files.writeAt(file, offset, data)
}

function applyPart(files: MemoryFiles, made: Change, share: number): void {
  const { file, offset, data } = made
  if (data === null) {
    if (share < 0.5) apply(files, made)
    return
  }
  const length = Math.round(share * 1.4 * data.byteLength - 0.2 * data.byteLength)
  if (length > 0) files.writeAt(file, offset, data.subarray(0, length))
}

function applyPieces(files: MemoryFiles, made: Change, random: SeededRandom, share: number): void {
  const { file, offset, data } = made
  for (let from = 0; from < data!.byteLength; ) {
    const to = Math.min(data!.byteLength, from + 1 + random.below(Math.max(1, data!.byteLength)))
    if (random.next() < share) files.writeAt(file, offset + from, data!.subarray(from, to))
    // The size may have got there without the bytes.
    else if (random.next() < 0.3) files.writeAt(file, offset + to, new Uint8Array(0))
    from = to
  }
}
