import flat from 'flat-tree'
import { DDatabaseError, type ErrorCode } from '../errors.ts'
import { seek } from '../merkle/seek.ts'
import type { Guard } from '../replication/guard.ts'
import { storageError } from '../storage/storage.ts'
import { promised } from '../util/callback.ts'
import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'
import type { AvailabilityTimeouts } from './options.ts'
import { readBlock } from './reader.ts'
import type { Waiter, Waiters, Wish } from './waiters.ts'

/** Options of the calls that may wait. */
export interface WaitOptions {
  /** false: fail instead of waiting. Default true. */
  wait?: boolean | undefined
  /** Milliseconds until `ETIMEDOUT`. Default: none. */
  timeout?: number | undefined
  /** Fail as soon as it is known that no peer can help. Default: the feed's option. */
  ifAvailable?: boolean | undefined
}

/** Where a byte lies: in block `index`, `offset` bytes after its start. */
export interface SeekPosition {
  index: number
  offset: number
}

/** Options of `seek`. */
export interface SeekOptions extends WaitOptions {
  /** First block that may be asked for. */
  start?: number | undefined
  /** One past the last block that may be asked for; −1 for an open end. */
  end?: number | undefined
  /** Ask for hashes, not for blocks. Default true. */
  hash?: boolean | undefined
}

/** Options of `update`. */
export interface UpdateOptions extends WaitOptions {
  /** Wait for this length. Default: one more than now. */
  minLength?: number | undefined
  /** Fetch only a proof, not the block. Default true. */
  hash?: boolean | undefined
  /** Ask peers also on a writable feed. */
  force?: boolean | undefined
}

/** What waiting needs of its feed. */
export interface FinderSource {
  ready(): Promise<Core>
  readonly closed: boolean
  readonly length: number
  readonly waiters: Waiters
  readonly ifAvailable: Guard
  readonly timeouts: AvailabilityTimeouts
  /** A length hint from outside, −1 for none. */
  readonly expectedLength: number
  /** Whether a connected peer can help with the wish. */
  canHelp(wish: Wish): boolean
}

/** The calls that look for something and, unless told otherwise, wait until it is there. */
export class Finder {
  private readonly source: FinderSource

  constructor(source: FinderSource) {
    this.source = source
  }

  /** The bytes of a block, waiting for it if it is not here. `onwait` is called once, if so. */
  async block(
    index: number,
    token: unknown,
    options: WaitOptions,
    onwait?: ((index: number) => void) | null
  ): Promise<Uint8Array> {
    const core = await this.source.ready()
    let told = false
    while (!core.bits.get(index)) {
      if (options.wait === false) throw new DDatabaseError('ERR_BLOCK_NOT_DOWNLOADED')
      const arrived = this.wait({ kind: 'block', index }, token, options, 'ERR_BLOCK_NOT_AVAILABLE')
      if (!told) onwait?.(index)
      told = true
      await arrived
    }
    return readBlock(core, index)
  }

  /** Waits until the feed has `length` blocks. */
  async length(length: number, options: UpdateOptions, token?: unknown): Promise<void> {
    const core = await this.source.ready()
    const wish: Wish = { kind: 'update', length, hash: options.hash !== false }
    while (core.length < length) await this.wait(wish, token, options, 'ERR_UPDATE_NOT_AVAILABLE')
  }

  /** The block that contains byte `bytes`, waiting until the nodes that tell are here (spec FORMAT §8.3). */
  async place(bytes: number, options: SeekOptions, token?: unknown): Promise<SeekPosition> {
    const core = await this.source.ready()
    while (true) {
      if (bytes === core.byteLength) return { index: core.length, offset: 0 }
      const found = await this.look(core, bytes)
      if (!(found instanceof Error) && found.treeIndex % 2 === 0) {
        return { index: found.treeIndex / 2, offset: found.offset }
      }
      if (options.wait === false)
        throw found instanceof Error ? found : new DDatabaseError('ERR_SEEK_NOT_FOUND')
      const wish = this.seekWish(bytes, found instanceof Error ? null : found.treeIndex, options)
      await this.wait(wish, token, options, 'ERR_SEEK_NOT_AVAILABLE')
    }
  }

  private async look(
    core: Core,
    bytes: number
  ): Promise<{ treeIndex: number; offset: number } | DDatabaseError> {
    const { tree } = core.storage
    try {
      return await seek(
        bytes,
        core.length,
        core.tree,
        async (index) => tree.getSync(index) ?? tree.require(index)
      )
    } catch (error) {
      if (DDatabaseError.is(error) && error.code === 'ERR_SEEK_OUT_OF_BOUNDS') return error
      throw storageError(error)
    }
  }

  private seekWish(bytes: number, nearest: number | null, options: SeekOptions): Wish {
    let start = options.start ?? 0
    let end = options.end ?? -1
    if (nearest !== null) {
      const left = flat.leftSpan(nearest) / 2
      const right = flat.rightSpan(nearest) / 2 + 1
      if (left > start) start = left
      if (end === -1 || right < end) end = right
    }
    if (end > -1 && end <= start) throw new DDatabaseError('ERR_SEEK_NOT_FOUND')
    return { kind: 'seek', bytes, start, end, hash: options.hash !== false }
  }

  private async wait(
    wish: Wish,
    token: unknown,
    options: WaitOptions,
    unavailable: 'ERR_BLOCK_NOT_AVAILABLE' | 'ERR_UPDATE_NOT_AVAILABLE' | 'ERR_SEEK_NOT_AVAILABLE'
  ): Promise<void> {
    const { waiters } = this.source
    const waiter = waiters.add(wish, token, options.ifAvailable === true)
    const { timeout } = options
    const timer = timeout
      ? setTimeout(() => waiters.finish(waiter, new DDatabaseError('ETIMEDOUT')), timeout)
      : undefined
    if (options.ifAvailable === true) this.failUnlessAvailable(waiter, unavailable)
    try {
      await waiter.answer.promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends the wait when all that could still connect has been heard and nobody has what is wished for. */
  private failUnlessAvailable(waiter: Waiter, code: ErrorCode): void {
    const { source } = this
    const { wish } = waiter
    const decide = async (): Promise<void> => {
      if (wish.kind === 'update') await promised((callback) => source.timeouts.update(callback))
      else await promised((callback) => source.timeouts.get(callback))
      // Whoever is about to connect in this turn still gets its say.
      await nextTurn()
      await new Promise<void>((resolve) => source.ifAvailable.ready(resolve))
      if (source.closed) throw new DDatabaseError('ERR_FEED_CLOSED', { message: 'Closed' })
      if (!source.canHelp(wish)) throw new DDatabaseError(code)
    }
    if (wish.kind === 'update' && source.expectedLength > -1 && source.expectedLength <= source.length) {
      source.waiters.finish(waiter, new DDatabaseError('ERR_UNEXPECTED_LENGTH'))
      return
    }
    decide().catch((error) => source.waiters.finish(waiter, error))
  }
}
