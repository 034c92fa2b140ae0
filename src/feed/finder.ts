import flat from 'flat-tree'
import { DDatabaseError, type ErrorCode } from '../errors.ts'
import { seek } from '../merkle/seek.ts'
import type { Guard } from '../replication/guard.ts'
import type { Wish } from '../replication/source.ts'
import { storageError } from '../storage/storage-error.ts'
import { onAbort, throwIfAborted } from '../util/abort.ts'
import { promised } from '../util/callback.ts'
import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'
import { proveNode } from './healing.ts'
import { type AvailabilityTimeouts, checkTimeout } from './options.ts'
import { readBlock } from './reader.ts'
import type { Waiter, Waiters } from './waiters.ts'

/** Options of the calls that may wait. */
export interface WaitOptions {
  /** false: fail instead of waiting. Default true. */
  wait?: boolean | undefined
  /** Milliseconds until `ETIMEDOUT`. Default: none. */
  timeout?: number | undefined
  /** Fail as soon as it is known that no peer can help. Default: the feed's option. */
  ifAvailable?: boolean | undefined
  /** Ends the call with `ERR_REQUEST_CANCELLED`, at once, and takes its requests back. */
  signal?: AbortSignal | null | undefined
}

/** Where a byte lies: in block `index`, `offset` bytes after its start. */
export interface SeekPosition {
  /** The block. */
  index: number
  /** Bytes from the start of the block. */
  offset: number
}

/** Options of `seek`. */
export interface SeekOptions extends WaitOptions {
  /** First block that may be asked for. */
  start?: number | undefined
  /** One past the last block that may be asked for; −1 or 0 for an open end. */
  end?: number | undefined
  /** Ask for hashes, and for a block only where sizes are not certain without it. Default true. */
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

/** What is looked for, or why it is not here yet. */
type Attempt<V extends object> = V | ErrorCode | null

/** What waiting needs of its feed. */
export interface FinderSource {
  /** The feed if it can be used right now. */
  readonly core: Core | null
  ready(): Promise<Core>
  readonly closed: boolean
  readonly length: number
  /** Whether all that is here was made here. */
  readonly isAuthor: boolean
  readonly waiters: Waiters
  readonly ifAvailable: Guard
  readonly timeouts: AvailabilityTimeouts
  /** A length hint from outside, −1 for none. */
  readonly expectedLength: number
  /** Whether a connected peer can help with the wish. */
  canHelp(wish: Wish): boolean
  /** A call has begun to wait: peers can be asked. */
  wished(wish: Wish): void
  /** A place was found: it need not be asked for any more. */
  placed(bytes: number): void
  /** A wait was given up: requests for it can be taken back. */
  givenUp(): void
}

/** The calls that look for something and, unless told otherwise, wait until it is there. */
export class Finder {
  private readonly source: FinderSource
  // Calls that give up when nobody can help, with what they are told then.
  private readonly conditional = new Map<Waiter, Condition>()
  // Of these, those that are being decided as soon as nobody holds the guard.
  private readonly held = new Map<Waiter, () => void>()
  private listening = false

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
    const here = (core: Core): Attempt<Uint8Array> | Promise<Attempt<Uint8Array>> => {
      if (core.bits.get(index)) return readBlock(core, index).catch(asDamaged)
      // Who does not wait asks only whether it is here.
      if (options.wait === false) return null
      if (core.damaged.has(index)) return 'ERR_BLOCK_DAMAGED'
      // What an author has cleared, or lost some time ago, does not come back by itself.
      return this.source.isAuthor && index < core.length ? 'ERR_BLOCK_NOT_AVAILABLE' : null
    }
    return this.find({ kind: 'block', index }, token, options, here, () => onwait?.(index))
  }

  /** Waits until the feed has `length` blocks. */
  async length(length: number, options: UpdateOptions, token?: unknown): Promise<void> {
    const wish: Wish = { kind: 'update', length, hash: options.hash !== false }
    const reached = (core: Core): Core | ErrorCode =>
      core.length >= length ? core : 'ERR_UPDATE_NOT_AVAILABLE'
    await this.find(wish, token, options, reached)
  }

  /** The block that contains byte `bytes`, waiting until the nodes that tell are here (spec FORMAT §8.3). */
  async place(bytes: number, options: SeekOptions, token?: unknown): Promise<SeekPosition> {
    const start = options.start ?? 0
    // Byte streams pass an open end as −1 + 1.
    const end = options.end || -1
    const wish: Wish = { kind: 'seek', bytes, start, end, hash: options.hash !== false }
    const place = await this.find<SeekPosition>(wish, token, options, async (core, waiter) => {
      if (bytes === core.byteLength) return { index: core.length, offset: 0 }
      const { wish: before } = waiter
      waiter.wish = { ...before, looking: true } as Wish
      const found = await this.look(core, bytes)
      waiter.wish = before
      if (typeof found === 'string') {
        // Nothing that may be asked for: waiting would be in vain.
        if (options.wait !== false && end > -1 && end <= start) throw new DDatabaseError('ERR_SEEK_NOT_FOUND')
        return found
      }
      if (found.treeIndex % 2 === 0) {
        const index = found.treeIndex / 2
        if (this.source.isAuthor || isSettled(core, index)) return { index, offset: found.offset }
        waiter.wish = { ...wish, pair: index - (index % 2) }
        this.source.placed(bytes)
        return 'ERR_SEEK_NOT_FOUND'
      }
      waiter.wish = { ...wish, ...narrow(wish, found.treeIndex) }
      return 'ERR_SEEK_NOT_FOUND'
    })
    this.source.placed(bytes)
    return place
  }

  /**
   * Tries until it works, each time something changes that the wish depends on. The call is known to `cancel` from
   * the start, also while the feed is still opening. An error code that `attempt` answers (null: a block is not here) means
   * "not yet": no error is made unless it is thrown, because its stack would cost more than the rest of a wait.
   */
  private async find<V extends object>(
    wish: Wish,
    token: unknown,
    options: WaitOptions,
    attempt: (core: Core, waiter: Waiter) => Attempt<V> | Promise<Attempt<V>>,
    onwait?: () => void
  ): Promise<V> {
    const { waiters } = this.source
    const { signal } = options
    throwIfAborted(signal)
    let waiter = waiters.add(wish, token, options.ifAvailable === true)
    let forget: (() => void) | null = null
    let timer: ReturnType<typeof setTimeout> | null = null
    let asked = false
    try {
      if (signal) forget = onAbort(signal, (error) => waiters.finish(waiter, error))
      const timeout = checkTimeout(options.timeout)
      if (timeout > 0) {
        timer = setTimeout(() => waiters.finish(waiter, new DDatabaseError('ETIMEDOUT')), timeout)
      }
      // Without a pause where none is needed: `onwait` is called before the call returns.
      const core = this.source.core ?? (await waiters.during(waiter, this.source.ready()))
      for (let first = true; ; first = false) {
        let result = attempt(core, waiter)
        if (result instanceof Promise) {
          if (wish.kind === 'block') waiters.found(waiter)
          result = await waiters.during(waiter, result)
          // Taken away while it was read: back to waiting.
          if (result === null || result === 'ERR_BLOCK_DAMAGED')
            waiter = waiters.add(waiter.wish, token, waiter.ifAvailable)
        }
        if (waiter.failure !== null) throw waiter.failure
        if (result !== null && typeof result !== 'string') return result
        if (options.wait === false) throw new DDatabaseError(result ?? 'ERR_BLOCK_NOT_DOWNLOADED')
        if (result === 'ERR_BLOCK_DAMAGED' || result === 'ERR_BLOCK_NOT_AVAILABLE')
          this.failUnlessAvailable(waiter, result)
        else if (waiter.ifAvailable) this.failUnlessAvailable(waiter, UNAVAILABLE[waiter.wish.kind])
        if (first) onwait?.()
        asked = true
        waiter.asks = true
        this.source.wished(waiter.wish)
        const given = await waiter.answer.promise
        this.forget(waiter)
        // An abort in between has found the wait over, but not the call.
        if (waiter.failure !== null) throw waiter.failure
        // Only who waits for a block is given one.
        if (given !== null) return given as object as V
        waiter = waiters.add(waiter.wish, token, waiter.ifAvailable)
        waiter.asks = true
      }
    } catch (error) {
      waiters.finish(waiter)
      this.forget(waiter)
      if (asked) this.source.givenUp()
      throw error
    } finally {
      if (timer !== null) clearTimeout(timer)
      forget?.()
      waiters.finish(waiter)
    }
  }

  private async look(core: Core, bytes: number): Promise<{ treeIndex: number; offset: number } | ErrorCode> {
    const { tree } = core.storage
    try {
      return await seek(bytes, core.length, core.tree, async (index) => {
        // A node that does not hold is mended, or not known any more.
        const known = core.verified === null || core.verified.knows(index)
        if (!known && !(await proveNode(core, index))) throw new DDatabaseError('ERR_NODE_NOT_FOUND')
        return tree.getSync(index) ?? tree.require(index)
      })
    } catch (error) {
      if (DDatabaseError.is(error) && error.code === 'ERR_SEEK_OUT_OF_BOUNDS') return error.code
      throw storageError(error)
    }
  }

  /** Ends the wait when all that could still connect has been heard and nobody has what is wished for. */
  private failUnlessAvailable(waiter: Waiter, code: ErrorCode): void {
    const { source } = this
    const { wish } = waiter
    if (wish.kind === 'update' && source.expectedLength > -1 && source.expectedLength <= source.length) {
      source.waiters.finish(waiter, new DDatabaseError('ERR_UNEXPECTED_LENGTH'))
      return
    }
    const hook = wish.kind === 'update' ? 'update' : 'get'
    this.decide(
      waiter,
      code,
      promised((callback) => {
        // The application may have left one out, or taken it away.
        if (typeof source.timeouts?.[hook] === 'function') source.timeouts[hook](callback)
        else callback(null)
      })
    )
  }

  /** Somebody left, or has less than before: who was said to be able to help may not be any more. */
  reconsider(): void {
    for (const [waiter, { deciding, code }] of this.conditional) {
      if (!deciding) this.decide(waiter, code, Promise.resolve())
    }
  }

  private decide(waiter: Waiter, code: ErrorCode, allowed: Promise<unknown>): void {
    const { source, conditional } = this
    const condition: Condition = { deciding: true, code }
    const decision = async (): Promise<void> => {
      await allowed
      // Whoever is about to connect in this turn still gets its say.
      await nextTurn()
      if (conditional.get(waiter) !== condition) return
      await this.untilFree(waiter)
      if (source.closed) throw new DDatabaseError('ERR_FEED_CLOSED', { message: 'Closed' })
      if (!source.canHelp(waiter.wish)) throw new DDatabaseError(code)
      condition.deciding = false
    }
    conditional.set(waiter, condition)
    decision().catch((error) => source.waiters.finish(waiter, error))
  }

  /**
   * Resolves when nobody holds the guard; never for a call that is over before. That may take for ever, so nothing is left with the
   * guard for each call.
   */
  private untilFree(waiter: Waiter): Promise<void> {
    return new Promise((resolve) => {
      this.held.set(waiter, resolve)
      if (this.listening) return
      this.listening = true
      this.source.ifAvailable.ready(() => {
        this.listening = false
        const free = [...this.held.values()]
        this.held.clear()
        for (const go of free) go()
      })
    })
  }

  private forget(waiter: Waiter): void {
    this.conditional.delete(waiter)
    this.held.delete(waiter)
  }
}

/** Why a call that gives up when nobody can help does so, and whether that is being found out right now. */
interface Condition {
  deciding: boolean
  readonly code: ErrorCode
}

/** A block that turns out to be damaged is not here. */
function asDamaged(error: unknown): 'ERR_BLOCK_DAMAGED' {
  if (DDatabaseError.is(error) && error.code === 'ERR_BLOCK_DAMAGED') return error.code
  throw error
}

/** What is said when no peer can help. */
const UNAVAILABLE = {
  block: 'ERR_BLOCK_NOT_AVAILABLE',
  update: 'ERR_UPDATE_NOT_AVAILABLE',
  seek: 'ERR_SEEK_NOT_AVAILABLE'
} as const

/** The blocks of a seek that can hold the place, when it is known to lie below a node. Errors: `ERR_SEEK_NOT_FOUND`. */
function narrow(range: { start: number; end: number }, treeIndex: number): { start: number; end: number } {
  const first = flat.leftSpan(treeIndex) / 2
  const last = flat.rightSpan(treeIndex) / 2 + 1
  const start = Math.max(range.start, first)
  const end = range.end === -1 ? last : Math.min(range.end, last)
  if (end <= start) throw new DDatabaseError('ERR_SEEK_NOT_FOUND')
  return { start, end }
}

/**
 * Whether the sizes of a block and of its neighbour below the same parent are proven. A hash binds the size of its own
 * data, and the sum of the sizes below it: two leaves that came without data may have shifted bytes between them.
 */
function isSettled(core: Core, index: number): boolean {
  const neighbour = index % 2 === 0 ? index + 1 : index - 1
  return core.bits.get(index) || core.bits.get(neighbour) || !core.tree.get(flat.parent(2 * index))
}
