import { PAGE_BLOCKS, PAGE_SIZE } from '../bitfield/pages.ts'
import { treeHash } from '../crypto/hash.ts'
import { type ClearedRecord, encodeCheckpoint, setDataBytes } from '../storage/checkpoint.ts'
import type { CheckpointFiles } from '../storage/checkpoint-files.ts'
import type { StorageFactory } from '../storage/random-access.ts'
import { stampOfFiles, usesStamps } from '../storage/stamps.ts'
import { storageError } from '../storage/storage-error.ts'
import { NO_END, type PageRange, TouchedPages } from '../storage/touched-pages.ts'
import { ignore } from '../util/callback.ts'
import { Mutex } from '../util/mutex.ts'
import { Ranges } from '../util/ranges.ts'
import { pause } from '../util/turn.ts'
import type { Core, Head } from './core.ts'

/** Bytes of blocks, nodes and signatures after which a checkpoint is made: what an opening may have to look through. */
const INTERVAL = 64 * 1024 * 1024

// So many ranges of one page are told of, then so many of two, of four …
const RANGES_OF_A_SIZE = 8

// Blocks of which the claim is taken back together.
const WINDOW = 1024

// Also where the folder was removed: a checkpoint must not bring it back.
const REFUSED: ReadonlySet<unknown> = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOENT'])

// How long closing may wait until it can be told that nobody writes to the files afterwards, milliseconds.
const LONGEST_WAIT = 50

// How soon a feed gets its first checkpoint, milliseconds, and is taken to be in use. A feed that is closed before gets it then.
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
  #expecting: ReturnType<typeof setTimeout> | null = null
  #changed = false
  // The checkpoint that counts claims exactly what there was when this was last changed, unless records follow it.
  #claimed: boolean
  // Blocks that the checkpoint which counts does not claim any more.
  #disclaimed = new Ranges()
  // Pages that were announced since the state of the checkpoint that is being made; null: none is, or it is not going to tell.
  #next: TouchedPages | null = null
  // What is being written of them.
  #sealed: TouchedPages | null = null

  readonly #create: StorageFactory

  /**
   * @param create - makes the files' storages
   * @param files - where checkpoints go; null: the storage is synchronised and nothing is claimed
   * @param options - `readsData`, false: the application writes the `data` file itself; `claimed`: the checkpoint that there is claims
   * exactly this state
   */
  constructor(
    core: Core,
    create: StorageFactory,
    files: CheckpointFiles | null,
    { readsData, claimed }: { readsData: boolean; claimed: boolean }
  ) {
    this.#core = core
    this.#create = create
    this.#files = files
    this.#readsData = readsData
    this.#claimed = claimed
    core.storage.announce = (pages) => this.#announce(pages)
  }

  /**
   * Somebody may change the feed: what is said of the files for as long as nobody does is taken back shortly, so that the first change
   * need not wait for that.
   */
  expectChanges(): void {
    const files = this.#files
    if (files === null || files.clean === null) return
    this.#expecting = setTimeout(() => {
      // On media that cannot be written, nobody changes anything.
      void this.#order.run(() => this.#touch(files, [])).catch(ignore)
    }, FIRST_DELAY)
    const timer = this.#expecting as { unref?: () => void }
    timer.unref?.()
  }

  /** Something was committed, and the state of the feed is whole: a moment to make a checkpoint. */
  committed(): void {
    this.#changed = true
    if (this.#core.storage.written >= INTERVAL) this.#start()
    else if (this.#files?.exists === false && !this.#refused) this.soon()
  }

  /** Makes a checkpoint shortly. */
  soon(): void {
    this.#changed = true
    if (this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
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
      const from = Math.floor(start / WINDOW) * WINDOW
      const to = Math.ceil(end / WINDOW) * WINDOW
      if (this.#disclaimed.covers([from, to])) return
      await files.cleared({ start: from, end: to })
      this.#disclaimed.add([from, to])
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
    this.#disclaimed = new Ranges()
    this.soon()
  }

  /** Makes the last checkpoint, if anything was committed since the one before. Errors: `ERR_STORAGE`. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#expecting !== null) clearTimeout(this.#expecting)
    await this.#running
    if (this.#changed) await this.#make(true)
    else if (this.#claimed) await this.#order.run(() => this.#mark())
  }

  /** Removes the files, with all of the feed. */
  async destroy(): Promise<void> {
    await this.#files?.destroy(false)
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
  async #make(last = false): Promise<void> {
    const { storage, byteLength } = this.#core
    const { payload, reachesEnd } = this.#state()
    storage.written = 0
    this.#changed = false
    this.#claimed = false
    // Who has closed a feed does not know who writes to its files then: only stamps tell.
    this.#next = !last && this.#tells() ? new TouchedPages([this.#tail()]) : null
    if (this.#next !== null) for (const page of storage.bitfield.unsettled) this.#next.add([page, page + 1])
    await this.#order.run(async () => {
      try {
        // Empty blocks at the end, or a storage that cannot tell, leave the file shorter.
        const dataBytes = reachesEnd ? Math.min(byteLength, (await storage.data.size()) ?? 0) : 0
        await storage.durability.all()
        if (payload === null || this.#refused) return
        setDataBytes(payload, dataBytes)
        const clean = last ? await this.#stamps() : null
        this.#sealed = this.#next
        this.#next = null
        await this.#files!.write(payload, false, clean, this.#sealed)
        this.#claimed = true
        this.#disclaimed = new Ranges()
      } catch (error) {
        this.#refused = REFUSED.has((error as { code?: unknown } | null)?.code)
        if (this.#refused) return
        this.#changed = true
        throw storageError(error)
      } finally {
        this.#next = null
        this.#sealed = null
      }
    })
  }

  /** What a checkpoint of this moment says, null if there is none, and whether the last block is here. Throws `ERR_STORAGE`. */
  #state(): { payload: Uint8Array | null; reachesEnd: boolean } {
    const { storage, pages, bits, length, byteLength, roots } = this.#core
    const { slots: signatureSlots } = storage.signatures
    try {
      const state = { length, byteLength, treeHash: treeHash(roots), signatureSlots, dataBytes: 0 }
      return {
        payload: this.#files === null ? null : encodeCheckpoint(state, pages),
        reachesEnd: this.#readsData && length > 0 && bits.get(length - 1)
      }
    } catch (error) {
      // Bits that are not in memory could not be read.
      throw storageError(error)
    }
  }

  /** Says that the files are as the checkpoint says, if it says all. It is no loss if that fails. */
  async #mark(): Promise<void> {
    const files = this.#files
    if (files === null || !files.bare) return
    const stamps = await this.#stamps()
    if (stamps !== null && stamps !== files.clean) await files.mark(stamps).catch(ignore)
  }

  /** Stamps that the files have for as long as nobody changes them; null if it is not worth it, or not certain. */
  async #stamps(): Promise<string | null> {
    const { pages, storage } = this.#core
    const uncertain = storage.refusal !== null || storage.durability.failure !== null
    if (uncertain || storage.bitfield.unsettled.length > 0 || pages.pageSize !== PAGE_SIZE) return null
    if (!usesStamps(this.#create, pages.length)) return null
    const stamps = stampOfFiles(this.#create)
    if (stamps === null || stamps.settles === 0) return stamps?.text ?? null
    if (stamps.settles > LONGEST_WAIT) return null
    // A little longer: timers and clocks do not agree to the millisecond.
    await pause(stamps.settles + 2)
    const again = stampOfFiles(this.#create)
    return again?.text === stamps.text && again.settles === 0 ? again.text : null
  }

  /** Pages of bits are going to be written, null: all. See `FeedStorage.announce`. */
  #announce(pages: readonly number[] | null): Promise<void> | null {
    const files = this.#files
    if (files === null) return null
    const lacks = (listed: TouchedPages | null): boolean =>
      listed !== null && this.#missing(listed, pages).length > 0
    // The next checkpoint will say so. Until it counts, the one that does has to; and what is on its way to the disk cannot be
    // changed any more.
    if (this.#next !== null) for (const range of this.#missing(this.#next, pages)) this.#next.add(range)
    if (files.clean === null && !lacks(files.touched) && !lacks(this.#sealed)) return null
    const done = this.#record((same) => this.#touch(same, pages))
    // Whoever asked may have failed before they look at this.
    done.catch(ignore)
    return done
  }

  /** Has the checkpoint that counts say that these pages may differ from it. */
  async #touch(files: CheckpointFiles, pages: readonly number[] | null): Promise<void> {
    const { clean, touched } = files
    if (clean === null && touched === null) return
    const ranges = touched === null ? [this.#tail()] : []
    ranges.push(...this.#missing(new TouchedPages([...(touched?.ranges ?? []), ...ranges]), pages))
    if (ranges.length > 0) await files.touch(ranges)
  }

  /** What a list lacks, in ranges that are the larger the more of them there are: it is to stay short. */
  #missing(listed: TouchedPages, pages: readonly number[] | null): PageRange[] {
    if (pages === null) return listed.covers([0, NO_END]) ? [] : [[0, NO_END]]
    const missing: PageRange[] = []
    for (const page of pages) {
      if (listed.has(page) || missing.some(([start, end]) => start <= page && page < end)) continue
      const size = 2 ** Math.floor((listed.ranges.length + missing.length) / RANGES_OF_A_SIZE)
      const start = page - (page % size)
      missing.push([start, start + size])
    }
    return missing
  }

  /** Where the bits of new blocks go: not worth a record for each page. */
  #tail(): PageRange {
    return [Math.max(0, Math.floor(this.#core.length / PAGE_BLOCKS)), NO_END]
  }

  /** Whether it is worth it to tell which pages may differ from a checkpoint. */
  #tells(): boolean {
    const { pages } = this.#core
    return pages.pageSize === PAGE_SIZE && usesStamps(this.#create, pages.length)
  }

  async #record(write: (files: CheckpointFiles) => Promise<void>): Promise<void> {
    const files = this.#files
    if (files === null) return
    await this.#order.run(async () => {
      try {
        await write(files)
      } catch (error) {
        // On a full disk, clearing is the way out: without a checkpoint nothing is claimed either.
        await files.destroy().catch(() => {
          throw storageError(error)
        })
      }
    })
  }
}
