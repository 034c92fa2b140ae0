import b4a from 'b4a'
import { DDatabaseError } from '../errors.ts'
import type { Wish } from '../replication/source.ts'
import { type Deferred, deferred } from '../util/callback.ts'

/** A call that waits, or is about to. */
export interface Waiter {
  /** Of the same kind all the time; a seek may narrow its range. */
  wish: Wish
  /** Why the call was ended. */
  failure: Error | null
  /** Resolved when the wish may have come true: with the block, if that was at hand. */
  readonly answer: Deferred<Uint8Array | null>
  /** Also told of a failure: what the call is doing beside waiting. */
  interrupt: ((error: Error) => void) | null
  /** Whether peers may be asked: not before it is known that the call has to wait. */
  asks: boolean
  /** What `cancel` knows the call by. */
  readonly token: unknown
  /** Whether the call gives up when no peer can help. */
  readonly ifAvailable: boolean
}

/**
 * The calls that wait for blocks, for a longer feed or for a place to become known. Waiters for a block are found
 * by its number: storing one costs nothing for those who wait for another.
 */
export class Waiters {
  private readonly blocks = new Map<number, Set<Waiter>>()
  private readonly others = new Set<Waiter>()
  private readonly doing = new Set<Waiter>()
  private readonly tokens = new Map<unknown, Set<Waiter>>()

  /** Starts waiting. Settle it with {@link finish} or by one of the events below. */
  add(wish: Wish, token: unknown, ifAvailable: boolean): Waiter {
    const waiter: Waiter = {
      wish,
      failure: null,
      answer: deferred(),
      interrupt: null,
      asks: false,
      token,
      ifAvailable
    }
    if (wish.kind === 'block') addTo(this.blocks, wish.index, waiter)
    else this.others.add(waiter)
    if (token !== undefined) addTo(this.tokens, token, waiter)
    return waiter
  }

  /** The outcome of something that a call does instead of waiting, or why the call was ended, if that comes first. */
  during<V>(waiter: Waiter, doing: Promise<V>): Promise<V> {
    return new Promise((resolve, reject) => {
      waiter.interrupt = reject
      this.doing.add(waiter)
      if (waiter.failure !== null) reject(waiter.failure)
      const done = (): void => {
        this.doing.delete(waiter)
      }
      doing.then(
        (value) => {
          done()
          resolve(value)
        },
        (error) => {
          done()
          reject(error)
        }
      )
    })
  }

  /** The block is here and is being read: from now on the call is not known as one that waits. */
  found(waiter: Waiter): void {
    this.remove(waiter)
  }

  /** Ends all calls, also those that do something. */
  end(error: Error): void {
    this.failAll(error)
    for (const waiter of this.doing) this.finish(waiter, error)
  }

  /** Everybody who waits. */
  *[Symbol.iterator](): Generator<Waiter> {
    for (const waiters of this.blocks.values()) yield* waiters
    yield* this.others
  }

  /** Blocks that calls wait for. */
  wishedBlocks(): Iterable<number> {
    return this.blocks.keys()
  }

  /** Whether a call waits for this block. */
  isWished(index: number): boolean {
    return this.blocks.has(index)
  }

  /** Wishes that are not for one block, and that peers may be asked for. */
  *otherWishes(): Generator<Wish> {
    for (const { wish, asks } of this.others) if (asks) yield wish
  }

  /** Ends a wait: with an error, or well. Harmless if it has ended already. */
  finish(waiter: Waiter, error?: Error): void {
    this.remove(waiter)
    if (error === undefined) {
      waiter.answer.resolve(null)
    } else {
      waiter.failure ??= error
      waiter.answer.reject(error)
      waiter.interrupt?.(error)
    }
  }

  /** Blocks `start` … `end` − 1 are here now, and the feed has `length` blocks. */
  stored(start: number, end: number, length: number): void {
    for (const index of this.blocksWithin(start, end)) this.answerAll(index, null)
    this.changed(length)
  }

  /** A block that is here now, with its bytes: each call that waits for it gets a copy, and need not read it. */
  give(index: number, bytes: Uint8Array): void {
    if (this.blocks.has(index)) this.answerAll(index, bytes)
  }

  /** Nodes became known, or the feed has `length` blocks now. */
  changed(length: number): void {
    for (const waiter of this.others) {
      // Only a new look at the tree can tell whether a place is known, so every seek is woken.
      if (waiter.wish.kind === 'seek' || (waiter.wish.kind === 'update' && waiter.wish.length <= length)) {
        this.finish(waiter)
      }
    }
  }

  /** Ends the waits known by `token` with `ERR_REQUEST_CANCELLED`. */
  cancel(token: unknown): void {
    const waiters = this.tokens.get(token)
    if (waiters === undefined) return
    const error = new DDatabaseError('ERR_REQUEST_CANCELLED')
    for (const waiter of [...waiters]) this.finish(waiter, error)
  }

  /** Ends the waits for blocks, and the seeks, that lie within `start` … `end` − 1. */
  cancelRange(start: number, end: number): void {
    const error = new DDatabaseError('ERR_REQUEST_CANCELLED')
    for (const index of this.blocksWithin(start, end)) {
      for (const waiter of [...this.blocks.get(index)!]) this.finish(waiter, error)
    }
    for (const waiter of [...this.others]) {
      const { wish } = waiter
      if (wish.kind === 'seek' && start <= wish.start && wish.end > -1 && wish.end <= end) {
        this.finish(waiter, error)
      }
    }
  }

  /** Ends all waits, or those that `which` picks, with `error`. */
  failAll(error: Error, which: (waiter: Waiter) => boolean = () => true): void {
    for (const waiter of [...this]) {
      if (which(waiter)) this.finish(waiter, error)
    }
  }

  /** The blocks of `start` … `end` − 1 that calls wait for. */
  private blocksWithin(start: number, end: number): number[] {
    if (end - start > this.blocks.size) {
      return [...this.blocks.keys()].filter((index) => index >= start && index < end)
    }
    const within: number[] = []
    for (let index = start; index < end; index++) if (this.blocks.has(index)) within.push(index)
    return within
  }

  private answerAll(index: number, bytes: Uint8Array | null): void {
    const waiters = this.blocks.get(index)!
    this.blocks.delete(index)
    for (const waiter of waiters) {
      removeFrom(this.tokens, waiter.token, waiter)
      waiter.answer.resolve(bytes === null ? null : b4a.from(bytes))
    }
  }

  private remove(waiter: Waiter): void {
    const { wish, token } = waiter
    if (wish.kind === 'block') removeFrom(this.blocks, wish.index, waiter)
    else this.others.delete(waiter)
    if (token !== undefined) removeFrom(this.tokens, token, waiter)
  }
}

function addTo<K>(map: Map<K, Set<Waiter>>, key: K, waiter: Waiter): void {
  const same = map.get(key)
  if (same === undefined) map.set(key, new Set([waiter]))
  else same.add(waiter)
}

function removeFrom<K>(map: Map<K, Set<Waiter>>, key: K, waiter: Waiter): void {
  const same = map.get(key)
  if (same?.delete(waiter) && same.size === 0) map.delete(key)
}
