import { DDatabaseError, reasonOf } from '../errors.ts'
import { ignore } from '../util/callback.ts'
import type { StorageFile } from './random-access.ts'
import { noneLeft } from './storage-error.ts'

/** What an acknowledged write survives: the end of the process, or also a power failure. */
export type DurabilityMode = 'process' | 'disk'

/**
 * Synchronises the files of a feed. A file is synchronised only if something was written to it, and one synchronisation
 * serves all who wrote before it began.
 *
 * A synchronisation that failed is never tried again: the system may have dropped what it could not write, and would
 * report success for the rest. From then on everything here rejects, until the feed is opened again. One that did not begin, because
 * nothing could be opened for want of descriptors, is: the next one makes up for it.
 */
export class Durability {
  readonly mode: DurabilityMode
  /** Whether all files can be synchronised. */
  readonly offered: boolean
  /** Why nothing can be promised any more. */
  failure: DDatabaseError | null = null

  readonly #files: readonly StorageFile[]
  readonly #running = new Map<StorageFile, Promise<void>>()
  #round: Promise<void> | null = null
  #nextRound: Promise<void> | null = null

  /**
   * @param files - all files of a feed
   * Errors: `ERR_DURABILITY` if mode `disk` is asked of files that cannot be synchronised
   */
  constructor(mode: DurabilityMode, files: readonly StorageFile[]) {
    this.mode = mode
    this.offered = files.every((file) => file.syncable)
    if (mode === 'disk' && !this.offered) throw new DDatabaseError('ERR_DURABILITY')
    this.#files = files
  }

  /** What was written to these files before this call survives a power failure. Errors: `ERR_STORAGE`. */
  async sync(...files: StorageFile[]): Promise<void> {
    if (!this.offered) return
    if (this.failure !== null) throw this.failure
    const results = await Promise.allSettled(files.map((file) => this.#sync(file)))
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    if (reasons.length > 0) throw this.#failed(reasons)
  }

  /**
   * What was written to any file before this call survives a power failure. Calls made while a round of
   * synchronisations is running share the next one. Errors: `ERR_STORAGE`.
   */
  all(): Promise<void> {
    if (!this.offered) return Promise.resolve()
    if (this.#round === null) {
      this.#round = this.sync(...this.#files).finally(() => {
        this.#round = null
      })
      return this.#round
    }
    // The one that is running may have begun before the last write.
    this.#nextRound ??= this.#round.catch(ignore).then(() => {
      this.#nextRound = null
      return this.all()
    })
    return this.#nextRound
  }

  /** Resolves when nothing is being synchronised. */
  async idle(): Promise<void> {
    while (this.#round !== null || this.#nextRound !== null)
      await (this.#nextRound ?? this.#round)?.catch(ignore)
    await Promise.allSettled(this.#running.values())
  }

  #sync(file: StorageFile): Promise<void> {
    if (!file.unsynced) return this.#running.get(file) ?? Promise.resolve()
    file.unsynced = false
    const running = this.#syncNow(file).finally(() => {
      if (this.#running.get(file) === running) this.#running.delete(file)
    })
    this.#running.set(file, running)
    return running
  }

  async #syncNow(file: StorageFile): Promise<void> {
    try {
      await file.sync()
    } catch (error) {
      if (noneLeft(error)) file.unsynced = true
      throw error
    }
    // On the disk, but nobody will ever find it.
    if (this.mode === 'disk' && file.removed) throw new Error('A file was removed while it was open')
  }

  #failed(reasons: readonly unknown[]): DDatabaseError {
    const final = reasons.find((reason) => !noneLeft(reason))
    const cause = final ?? reasons[0]
    const error = new DDatabaseError('ERR_STORAGE', {
      message: `The storage could not be synchronised: ${reasonOf(cause)}`,
      cause
    })
    if (final === undefined) return error
    this.failure ??= error
    return this.failure
  }
}
