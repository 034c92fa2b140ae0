import { treeHash } from '../crypto/hash.ts'
import {
  type CheckpointFiles,
  type ClearedRecord,
  encodeCheckpoint,
  setDataBytes
} from '../storage/checkpoint.ts'
import { storageError } from '../storage/storage.ts'
import { ignore } from '../util/callback.ts'
import { Mutex } from '../util/mutex.ts'
import type { Core, Head } from './core.ts'

/** Bytes of blocks, nodes and signatures after which a checkpoint is made: what an opening may have to look through. */
const INTERVAL = 64 * 1024 * 1024

// Blocks of which the claim is taken back together.
const WINDOW = 1024

// Also where the folder was removed: a checkpoint must not bring it back.
const REFUSED: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOENT'])

// How soon a feed gets its first checkpoint, milliseconds. A feed that is closed before gets it then.
const FIRST_DELAY = 250

/**
 * Makes what was committed durable in the background, and says so in a checkpoint: after every 64 MB, and at the end. A
 * failure fails no commit: it is tried again the next time, and `close` tells it. (After a failed
 * synchronisation nothing more is claimed, see `Durability`.)
 */
export class Checkpoints {
  readonly #core: Core
  readonly #files: CheckpointFiles | null
  readonly #readsData: boolean
  // Checkpoints and records one after the other. A holder of this never waits for the feed's mutex.
  readonly #order = new Mutex()
  #running: Promise<void> | null = null
  // The medium may not be written.
  #refused = false
  #timer: ReturnType<typeof setTimeout> | null = null
  #changed = false
  // Windows of blocks that the checkpoint which counts does not claim any more.
  readonly #disclaimed = new Set<number>()

  /**
   * @param files - where checkpoints go; null: the storage is synchronised and nothing is claimed
   * @param readsData - false: the application writes the `data` file itself
   */
  constructor(core: Core, files: CheckpointFiles | null, readsData: boolean) {
    this.#core = core
    this.#files = files
    this.#readsData = readsData
  }

  /** Something was committed, and the state of the feed is whole: a moment to make a checkpoint. */
  committed(): void {
    this.#changed = true
    if (this.#core.storage.written >= INTERVAL) this.#start()
    else if (this.#timer === null && this.#files?.exists === false) this.soon()
  }

  /** Makes a checkpoint shortly. */
  soon(): void {
    this.#changed = true
    if (this.#timer !== null) return
    this.#timer = setTimeout(() => {
      // Only between two commits is the state whole.
      void this.#core.mutex.run(async () => this.#start())
    }, FIRST_DELAY)
    const timer = this.#timer as { unref?: () => void }
    timer.unref?.()
  }

  /**
   * Takes back the claim that blocks are here. Their bits are cleared already, and their bytes may be destroyed when this
   * resolves. Errors: `ERR_STORAGE`.
   */
  async cleared({ start, end }: ClearedRecord): Promise<void> {
    await this.#record(async (files) => {
      // More is taken back than has to be, so that who clears one block after the other waits for the disk once for many.
      const windows: number[] = []
      for (let window = Math.floor(start / WINDOW); window * WINDOW < end; window++) {
        if (!this.#disclaimed.has(window)) windows.push(window)
      }
      if (windows.length === 0) return
      await files.cleared({ start: windows[0]! * WINDOW, end: (windows[windows.length - 1]! + 1) * WINDOW })
      for (const window of windows) this.#disclaimed.add(window)
    })
  }

  /** Takes back what is claimed beyond a shorter head; to be called before anything of it is destroyed. Errors: `ERR_STORAGE`. */
  async truncated(head: Head): Promise<void> {
    const { length, byteLength, roots } = head
    await this.#record((files) => files.truncated({ length, byteLength, treeHash: treeHash(roots) }))
  }

  /**
   * Takes everything back, because nodes are going to be forgotten, which a checkpoint would miss; another one is made soon. Errors:
   * `ERR_STORAGE`.
   */
  async forgotten(): Promise<void> {
    const files = this.#files
    if (files === null) return
    await this.#order.run(async () => {
      try {
        await files.destroy()
      } catch (error) {
        throw storageError(error)
      }
    })
    this.#disclaimed.clear()
    this.soon()
  }

  /** Makes the last checkpoint, if anything was committed since the one before. Errors: `ERR_STORAGE`. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
    if (this.#changed) await this.#make()
  }

  /** Removes the files. */
  async destroy(): Promise<void> {
    await this.#files?.destroy()
  }

  #start(): void {
    const pointless = this.#core.storage.durability.failure !== null
    if (this.#running !== null || !this.#changed || pointless) return
    this.#running = this.#make()
      .catch(ignore)
      .finally(() => {
        this.#running = null
      })
  }

  // What is claimed is the state of this moment; all of it is written, and whatever follows takes back its own part.
  #make(): Promise<void> {
    const { storage, pages, bits, length, byteLength, roots } = this.#core
    const payload =
      this.#files === null
        ? null
        : encodeCheckpoint(
            {
              length,
              byteLength,
              treeHash: treeHash(roots),
              signatureSlots: storage.signatures.slots,
              dataBytes: 0
            },
            pages
          )
    const reachesEnd = this.#readsData && length > 0 && bits.get(length - 1)
    storage.written = 0
    this.#changed = false
    return this.#order.run(async () => {
      try {
        // Empty blocks at the end, or a storage that cannot tell, leave the file shorter.
        const dataBytes = reachesEnd ? Math.min(byteLength, (await storage.data.size()) ?? 0) : 0
        await storage.durability.all()
        if (payload === null || this.#refused) return
        setDataBytes(payload, dataBytes)
        await this.#files!.write(payload)
        this.#disclaimed.clear()
      } catch (error) {
        this.#refused = REFUSED.has((error as { code?: unknown } | null)?.code)
        if (this.#refused) return
        this.#changed = true
        throw storageError(error)
      }
    })
  }

  async #record(write: (files: CheckpointFiles) => Promise<void>): Promise<void> {
    const files = this.#files
    if (files === null) return
    try {
      await this.#order.run(() => write(files))
    } catch (error) {
      // On a full disk, clearing is the way out: without a checkpoint nothing is claimed either.
      await files.destroy().catch(() => {
        throw storageError(error)
      })
    }
  }
}
