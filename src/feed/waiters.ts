import { DDatabaseError } from '../errors.ts'
import type { Wish } from '../replication/source.ts'
import { type Deferred, deferred } from '../util/callback.ts'

/** A call that waits, or is about to. */
export interface Waiter {
  /** Of the same kind all the time; a seek may narrow its range. */
  wish: Wish
  /** Why the call was ended. */
  failure: Error | null
  /** Resolved when the wish may have come true. */
  readonly answer: Deferred<void>
  /** Also told of a failure: what the call is doing beside waiting. */
  interrupt: ((error: Error) => void) | null
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

  /** Starts waiting. Settle it with {@link finish} or by one of the events below. */
  add(wish: Wish, token: unknown, ifAvailable: boolean): Waiter {
    const waiter: Waiter = { wish, failure: null, answer: deferred(), interrupt: null, token, ifAvailable }
    if (wish.kind === 'block') {
      const same = this.blocks.get(wish.index)
      if (same === undefined) this.blocks.set(wish.index, new Set([waiter]))
      else same.add(waiter)
    } else {
      this.others.add(waiter)
    }
    return waiter
  }

  /** The outcome of something that the call does, or why the call was ended, if that comes first. */
  during<V>(waiter: Waiter, doing: Promise<V>): Promise<V> {
    return new Promise((resolve, reject) => {
      waiter.interrupt = reject
      if (waiter.failure !== null) reject(waiter.failure)
      doing.then(resolve, reject)
    })
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

  /** Wishes that are not for one block. */
  *otherWishes(): Generator<Wish> {
    for (const { wish } of this.others) yield wish
  }

  /** Ends a wait: with an error, or well. Harmless if it has ended already. */
  finish(waiter: Waiter, error?: Error): void {
    this.remove(waiter)
    if (error === undefined) {
      waiter.answer.resolve()
    } else {
      waiter.failure ??= error
      waiter.answer.reject(error)
      waiter.interrupt?.(error)
    }
  }

  /** Blocks `start` … `end` − 1 are here now, and the feed has `length` blocks. */
  stored(start: number, end: number, length: number): void {
    if (end - start <= this.blocks.size) {
      for (let index = start; index < end; index++) this.blockStored(index)
    } else {
      for (const index of [...this.blocks.keys()]) {
        if (index >= start && index < end) this.blockStored(index)
      }
    }
    this.changed(length)
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
    this.failAll(new DDatabaseError('ERR_REQUEST_CANCELLED'), (waiter) => waiter.token === token)
  }

  /** Ends the waits for blocks, and the seeks, that lie within `start` … `end` − 1. */
  cancelRange(start: number, end: number): void {
    this.failAll(new DDatabaseError('ERR_REQUEST_CANCELLED'), ({ wish }) => {
      if (wish.kind === 'block') return start <= wish.index && wish.index < end
      return wish.kind === 'seek' && start <= wish.start && wish.end > -1 && wish.end <= end
    })
  }

  /** Ends all waits, or those that `which` picks, with `error`. */
  failAll(error: Error, which: (waiter: Waiter) => boolean = () => true): void {
    for (const waiter of [...this]) {
      if (which(waiter)) this.finish(waiter, error)
    }
  }

  private blockStored(index: number): void {
    const waiters = this.blocks.get(index)
    if (waiters === undefined) return
    this.blocks.delete(index)
    for (const waiter of waiters) waiter.answer.resolve()
  }

  private remove(waiter: Waiter): void {
    const { wish } = waiter
    if (wish.kind !== 'block') {
      this.others.delete(waiter)
      return
    }
    const same = this.blocks.get(wish.index)
    if (same?.delete(waiter) && same.size === 0) this.blocks.delete(wish.index)
  }
}
