/**
 * How many files a process has open at once: beyond a bound those that were not used lately are given up, and opened again
 * by their next use. Node only.
 *
 * The pool of random-access-file 4 gives up one at random, be it in use, be it the one with the lock; and whatever is in that
 * place by then is opened, or made anew. Its mechanism, `suspend` of random-access-storage, is what is used here too.
 */
import fs from 'node:fs'
import { noneLeft } from './storage-error.ts'

/** So many are open at once in any case; most processes never need more. */
const LEAST = 64

/** Where the limit of the process cannot be told. Other systems with a limit allow more, and Node raises it as far as it may. */
const USUAL_LIMIT = 2048

/** A file that is open, or is being opened. */
export interface OpenFile {
  /** Set at each use, taken back here. */
  used: boolean
  /** Whether nothing is being done with it. */
  readonly idle: boolean
  /** Whether it is open. */
  readonly hasDescriptor: boolean
  /**
   * Closes it until it is used again, as soon as what is being done with it is done, and then calls {@link Descriptors.leave}.
   * @param atOnce - of one that is idle: it has to be closed when this returns
   * @returns false if it has to stay open
   */
  giveUp(atOnce: boolean): boolean
}

/**
 * The open files of a process. Which one goes is decided by a second chance: they stand in a queue, and one that was used since its
 * last turn goes to the end of it instead. So a use costs no more than setting a flag. If all are in use, the next ones wait
 * for the first of them.
 */
export class Descriptors {
  readonly #least: number
  /** The queue. */
  readonly #files = new Set<OpenFile>()
  readonly #kept = new Set<OpenFile>()
  readonly #leaving = new Set<OpenFile>()
  readonly #waiting = new Map<OpenFile, () => void>()
  /** Openings that the system has refused for want of descriptors. */
  #refused: (() => void)[] = []
  #bound: number | null

  /**
   * @param bound - how many shall be open; null: what the limit of the process leaves room for, see {@link boundOf}
   * @param least - so many may be open beside those that have to stay, whatever the bound
   */
  constructor(bound: number | null = null, least = LEAST) {
    this.#bound = bound
    this.#least = least
  }

  /** How many there are. */
  get size(): number {
    return this.#kept.size + this.#files.size + this.#leaving.size
  }

  /** Calls `open`, which opens `file`, when there is room for it: at once, or later. With `keep` it stays, for its lock's sake. */
  enter(file: OpenFile, keep: boolean, open: () => void): void {
    if (keep) {
      this.#kept.add(file)
      this.#giveUp(-this.#room(), false)
      open()
    } else if (this.enterNow(file)) open()
    else {
      this.#waiting.set(file, open)
      this.#serve()
    }
  }

  /** The same for a file that does not stay, if there is room now. */
  enterNow(file: OpenFile): boolean {
    if (this.#waiting.size > 0) return false
    const room = this.#room()
    if (room < 1) {
      this.#giveUp(1 - room, false)
      if (this.#room() < 1) return false
    }
    this.#files.add(file)
    return true
  }

  /** `file` is closed, or could not be opened. */
  leave(file: OpenFile): void {
    if (!this.#files.delete(file) && !this.#leaving.delete(file)) this.#kept.delete(file)
    if (this.#waiting.size > 0) this.#serve()
    if (this.#refused.length === 0) return
    const refused = this.#refused
    this.#refused = []
    for (const open of refused) open()
  }

  /** Whether to try again now: opening failed because there are no more descriptors, and some were given up. */
  relieves(error: unknown): boolean {
    if (!noneLeft(error)) return false
    // So there is less room than thought. What else the process opens, such as sockets, could not help itself.
    this.#bound = Math.min(this.#bound ?? Number.POSITIVE_INFINITY, boundOf(this.size))
    return this.#giveUp(Math.max(8, this.#files.size >> 3), true) > 0
  }

  /** The same, but tries again itself by `open`; also if all are in use, when the first is not. */
  relievesLater(error: unknown, open: () => void): boolean {
    if (this.relieves(error)) {
      open()
      return true
    }
    if (!noneLeft(error)) return false
    // Only those that have what they need: others could be waiting for the same.
    if (!some(this.#leaving, ({ hasDescriptor }) => hasDescriptor)) {
      const busy = some(this.#files, ({ hasDescriptor }) => hasDescriptor)
      if (busy === null) return false
      this.#dismiss(busy, false)
    }
    this.#refused.push(open)
    return true
  }

  /** How many more files there may be. */
  #room(): number {
    const size = this.#files.size + this.#leaving.size
    if (size < this.#least) return this.#least - size
    this.#bound ??= boundOf(limitOfProcess())
    return Math.max(this.#least, this.#bound - this.#kept.size) - size
  }

  /** Gives up so many of those that are idle, if there are. */
  #giveUp(count: number, atOnce: boolean): number {
    let done = 0
    // Two turns for each: in the second it has not been used since the first.
    let turns = 2 * this.#files.size
    // Those that go to the end of the queue are met again.
    for (const file of this.#files) {
      if (done >= count || turns-- === 0) break
      if (file.used || !file.idle) {
        file.used = false
        this.#files.delete(file)
        this.#files.add(file)
      } else if (this.#dismiss(file, atOnce)) done++
    }
    return done
  }

  #dismiss(file: OpenFile, atOnce: boolean): boolean {
    this.#files.delete(file)
    this.#leaving.add(file)
    if (file.giveUp(atOnce)) return true
    this.#leaving.delete(file)
    this.#kept.add(file)
    return false
  }

  /** Lets in who waits, and has others leave for the rest as soon as they are not in use. */
  #serve(): void {
    for (const [file, open] of this.#waiting) {
      if (this.#room() < 1) break
      this.#waiting.delete(file)
      this.#files.add(file)
      open()
    }
    for (const file of this.#files) {
      if (this.#leaving.size >= this.#waiting.size) break
      this.#dismiss(file, false)
    }
  }
}

function some<T>(all: Iterable<T>, condition: (one: T) => boolean): T | null {
  for (const one of all) if (condition(one)) return one
  return null
}

/** Those of this process. */
export const descriptors = new Descriptors()

/** How many files may be open under a limit. The rest is for sockets, for what else the process opens, and for what is being closed. */
export function boundOf(limit: number): number {
  return Math.floor(limit * 0.75)
}

/** How many descriptors this process may have. */
export function limitOfProcess(): number {
  try {
    // The first number is the one that counts. It may be `unlimited`.
    const limit = /^Max open files +(\w+)/m.exec(fs.readFileSync('/proc/self/limits', 'latin1'))?.[1]
    if (limit === 'unlimited') return Number.POSITIVE_INFINITY
    return Number(limit) > 0 ? Number(limit) : USUAL_LIMIT
  } catch {
    return USUAL_LIMIT
  }
}
