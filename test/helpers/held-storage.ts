/** Storage whose operations can be held up: they are answered when the test says so, or never. */
import type { RandomAccess, StorageFactory } from '../../src/storage/random-access.ts'
import { MemoryFiles } from './memory-files.ts'

type Operation = 'read' | 'write' | 'del' | 'stat'

/** Storages on {@link MemoryFiles}, without synchronous extras, whose operations can be held. */
export class HeldStorage {
  readonly files: MemoryFiles
  readonly create: StorageFactory
  #holds: ((file: string, operation: Operation) => boolean) | null = null
  #held: (() => void)[] = []
  #arrived: (() => void) | null = null
  #undone = false

  constructor(files = new MemoryFiles()) {
    this.files = files
    const make = files.factory() as unknown as StorageFactory
    this.create = (name, options) => this.#wrap(name, make(name, options))
  }

  /**
   * From now on the operations that `which` names do their work at once, but are not answered before {@link release};
   * or, if they are to be left `undone`, do it only then.
   * @returns resolves when the first one is held
   */
  hold(which: (file: string, operation: Operation) => boolean, undone = false): Promise<void> {
    this.#holds = which
    this.#undone = undone
    return new Promise((resolve) => {
      this.#arrived = resolve
    })
  }

  /** Lets further operations pass; those that are held stay so. */
  pass(): void {
    this.#holds = null
  }

  /** Answers what is held, in order, and lets further operations pass. */
  release(): void {
    this.#holds = null
    for (const answer of this.#held.splice(0)) answer()
  }

  #wrap(name: string, raw: RandomAccess): RandomAccess {
    const wrap = (operation: Operation) => {
      const method = (raw[operation] as (...args: unknown[]) => void).bind(raw)
      return (...args: unknown[]) => {
        const callback = args.pop() as (...values: unknown[]) => void
        const holds = this.#holds?.(name, operation) === true
        if (holds && this.#undone) {
          this.#held.push(() => method(...args, callback))
          this.#arrived?.()
          return
        }
        method(...args, (...values: unknown[]) => {
          if (!holds) return callback(...values)
          this.#held.push(() => callback(...values))
          this.#arrived?.()
        })
      }
    }
    return {
      statable: true,
      read: wrap('read'),
      write: wrap('write'),
      del: wrap('del'),
      stat: wrap('stat'),
      get opened() {
        return raw.opened
      },
      get closed() {
        return raw.closed
      },
      open: raw.open?.bind(raw),
      close: raw.close?.bind(raw),
      unlink: raw.unlink?.bind(raw)
    } as RandomAccess
  }
}
