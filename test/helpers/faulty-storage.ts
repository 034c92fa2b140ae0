/** Storage that fails at a chosen operation: the nth since it was armed. */
import type { Failure, MemoryFiles, Operation, OperationHook } from './memory-files.ts'

/**
 * How the chosen operation fails.
 * - `before`: it does nothing;
 * - `after`: it does everything, and then reports an error;
 * - `torn`: it does half of its work;
 * - `dead`: it does nothing, and neither does any operation after it (the disk is gone);
 * - `dead-torn`: it does half of its work, and nothing works after it.
 */
export type FaultMode = 'before' | 'after' | 'torn' | 'dead' | 'dead-torn'

/** All of them. */
export const FAULT_MODES: readonly FaultMode[] = ['before', 'after', 'torn', 'dead', 'dead-torn']

const CHANGING: ReadonlySet<Operation> = new Set(['write', 'del', 'truncate', 'unlink'])

/** Whether only operations that change something make a difference in this mode. */
function changesOnly(mode: FaultMode): boolean {
  return mode === 'after' || mode === 'torn' || mode === 'dead-torn'
}

/** Decides which operation fails. It lets everything pass until it is armed. */
export class FaultPlan implements OperationHook {
  /** The error that was reported, or null while the chosen operation has not come. */
  injected: Error | null = null
  /** What the failing operation was: `write bitfield` and the like. */
  where = ''
  /** Whether the failing operation would have changed a file. */
  changing = false
  #mode: FaultMode = 'before'
  #left = Infinity
  #only: ((file: string, operation: Operation) => boolean) | undefined

  /**
   * From now on the `n`th operation (1 is the next one) fails. In modes where reads make no difference to `before`
   * only changing operations count. `only` restricts the operations that count.
   */
  arm(mode: FaultMode, n: number, only?: (file: string, operation: Operation) => boolean): void {
    this.#mode = mode
    this.#left = n
    this.#only = only
    this.injected = null
    this.where = ''
  }

  /** The fault is gone: everything works again. */
  disarm(): void {
    this.#left = Infinity
  }

  before(file: string, operation: Operation): Failure | undefined {
    const dead = this.#mode === 'dead' || this.#mode === 'dead-torn'
    if (this.#left > 0) {
      if (this.#left === Infinity) return undefined
      if (changesOnly(this.#mode) && !CHANGING.has(operation)) return undefined
      if (this.#only !== undefined && !this.#only(file, operation)) return undefined
      if (--this.#left > 0) return undefined
      this.where = `${operation} ${file}`
      this.changing = CHANGING.has(operation)
    } else if (!dead) return undefined
    else return { error: diskError(file, operation), done: 'nothing' }
    this.injected = diskError(file, operation)
    const done = this.#mode === 'after' ? 'everything' : this.#mode.endsWith('torn') ? 'half' : 'nothing'
    return { error: this.injected, done }
  }
}

/** A storage factory on `files` that fails as `plan` says. */
export function faultyStorage(files: MemoryFiles, plan: FaultPlan) {
  return files.factory(plan)
}

/** Whether `error`, or something in its chain of causes, was injected by a {@link FaultPlan}. */
export function isInjected(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if (INJECTED.has(e)) return true
  return false
}

const INJECTED = new WeakSet<Error>()

function diskError(file: string, operation: Operation): Error {
  const error = Object.assign(new Error(`EIO: i/o error, ${operation} '${file}'`), { code: 'EIO' })
  INJECTED.add(error)
  return error
}
