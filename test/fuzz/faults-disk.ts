/** Disks that fail at any moment: once, for a while, or from then on. */
import type RandomAccessStorage from 'random-access-storage'
import type { Request } from 'random-access-storage'
import type { Failure } from '../helpers/memory-files.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'

type Operation = 'open' | 'read' | 'write' | 'del' | 'stat' | 'sync' | 'close' | 'unlink'

const ANY: readonly Operation[] = ['open', 'read', 'write', 'del', 'stat', 'sync', 'close', 'unlink']
const CHANGES: readonly Operation[] = ['write', 'del', 'unlink']
const FILES = ['key', 'secret_key', 'signatures', 'tree', 'data', 'bitfield', 'checkpoint']

// Turns of the event loop before a slow disk does something.
const MOST_TURNS = 3

// More than any run comes to, but one that tries again for ever.
const MOST_FAILURES = 3000

/** What fails. */
interface Fault {
  operations: readonly Operation[]
  /** The beginning of the names of the files. */
  files: readonly string[]
  code: 'EIO' | 'ENOSPC'
  done: Failure['done']
  /** Operations that go well before, and that fail then. */
  spared: number
  left: number
  /** How many of those that may fail do. */
  share: number
}

const INJECTED = new WeakSet<Error>()

/** Whether an error, or something in its chain of causes, is one of a {@link Disk}. */
export function isOfDisk(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if (INJECTED.has(e)) return true
  return false
}

/** Where the files of one feed are. */
export class Disk {
  /** What has failed, in short. */
  readonly failures: string[] = []
  /** Somebody does not leave it alone, whatever it answers. */
  hammered: Error | null = null
  readonly #random: SeededRandom
  readonly #isSlow: boolean
  #faults: Fault[] = []

  constructor(random: SeededRandom) {
    this.#random = random
    this.#isSlow = random.chance(0.4)
  }

  /** From now on something fails. @returns what, in words */
  breaks(): string {
    const random = this.#random
    const isFull = random.chance(0.4)
    const operations = isFull
      ? random.pick<readonly Operation[]>([['write'], CHANGES])
      : random.pick<readonly Operation[]>([ANY, CHANGES, ['read', 'stat'], ['sync'], [random.pick(ANY)]])
    const fault: Fault = {
      operations,
      files: random.chance(0.5) ? FILES : [random.pick(FILES)],
      code: isFull ? 'ENOSPC' : 'EIO',
      done: random.pick(['nothing', 'nothing', 'half', 'everything'] as const),
      spared: random.pick([0, 0, 1, random.below(12)]),
      left: random.pick([1, 1, random.between(2, 12), Number.POSITIVE_INFINITY]),
      share: random.pick([1, 1, 0.5])
    }
    this.#faults.push(fault)
    return JSON.stringify(fault)
  }

  /** From now on all goes well. */
  mends(): void {
    this.#faults = []
  }

  /** Whether an operation fails, and how. */
  fails(file: string, operation: Operation): Failure | null {
    const fault = this.#faults.find(
      ({ operations, files, share }) =>
        operations.includes(operation) &&
        files.some((name) => file.startsWith(name)) &&
        this.#random.chance(share)
    )
    if (fault === undefined || fault.spared-- > 0) return null
    if (--fault.left <= 0) this.#faults.splice(this.#faults.indexOf(fault), 1)
    const text = `${fault.code}: ${operation} '${file}'`
    const error = Object.assign(new Error(text), { code: fault.code })
    INJECTED.add(error)
    // Half a key is a damaged one, of which a feed that is opened again only tells.
    const done = fault.done === 'half' && file.endsWith('key') ? 'nothing' : fault.done
    this.failures.push(`${text}, ${done} done`)
    if (this.failures.length >= MOST_FAILURES) {
      this.#faults = []
      this.hammered = new Error(`asked again and again: ${this.failures.slice(-8).join('; ')}`)
    }
    return { error, done }
  }

  /** Does something now, or after some turns if it is slow. */
  later(act: () => void): void {
    const wait = (turns: number): void => {
      if (turns > 0) setImmediate(wait, turns - 1)
      else act()
    }
    wait(this.#isSlow ? this.#random.below(MOST_TURNS + 1) : 0)
  }
}

type Method = '_open' | '_read' | '_write' | '_del' | '_stat' | '_close' | '_unlink'
type AtOnce = Partial<{
  readSync(offset: number, size: number, target?: Uint8Array): Uint8Array | null
  writeSync(offset: number, data: Uint8Array): boolean
  sizeSync(): number | null
}>

/** Has a file of this name be on a disk. */
export function onDisk<T extends RandomAccessStorage>(file: T, name: string, disk: Disk): T {
  const raw = file as unknown as Record<Method, (request: Request) => void> & Raw
  for (const operation of ['open', 'read', 'write', 'del', 'stat', 'close', 'unlink'] as const) {
    const method: Method = `_${operation}`
    const run = raw[method].bind(raw)
    raw[method] = (request) => {
      // A size that no read has stands for a synchronisation in the storage of directories.
      const what = operation === 'read' && request.size < 0 ? 'sync' : operation
      const failure = disk.fails(name, what)
      disk.later(() => {
        if (failure === null) run(request)
        // A system that reports an error has closed the file all the same.
        else if (operation === 'close') run(answering(request, request, failure.error, () => ended(raw)))
        else if (failure.done === 'nothing' || !CHANGES.includes(what)) {
          if (operation === 'open') tryAgain(raw)
          request.callback(failure.error)
        } else run(answering(request, failure.done === 'half' ? half(request) : request, failure.error))
      })
    }
  }
  const { readSync, writeSync, sizeSync } = raw
  const orThrow = (operation: Operation): void => {
    const failure = disk.fails(name, operation)
    if (failure !== null) throw failure.error
  }
  if (readSync !== undefined)
    raw.readSync = (...args) => {
      const answer = readSync.apply(file, args)
      if (answer !== null) orThrow('read')
      return answer
    }
  if (sizeSync !== undefined)
    raw.sizeSync = () => {
      const answer = sizeSync.call(file)
      if (answer !== null) orThrow('stat')
      return answer
    }
  if (writeSync !== undefined)
    raw.writeSync = (offset, data) => {
      // Nothing is written, but it is known whether it would be.
      if (!writeSync.call(file, offset, data.subarray(0, 0))) return false
      const failure = disk.fails(name, 'write')
      if (failure === null) return writeSync.call(file, offset, data)
      const done = { nothing: 0, half: data.length >> 1, everything: data.length }[failure.done]
      writeSync.call(file, offset, data.subarray(0, done))
      throw failure.error
    }
  return file
}

type Raw = { _needsOpen: boolean; closed: boolean } & AtOnce

// What the storage of directories does when the system fails to open a file, or to close it.
function tryAgain(raw: Raw): void {
  if (raw.sizeSync !== undefined) raw._needsOpen = true
}
function ended(raw: Raw): void {
  if (raw.sizeSync !== undefined) raw.closed = true
}

/** A request, or part of it, which is answered with an error when it is done. The queue knows it by the whole one only. */
function answering(whole: Request, part: Request, error: Error, before = () => {}): Request {
  return changed(part, {
    callback: () => {
      before()
      whole.callback(error)
    }
  })
}

/** The first half of a write, the second of a deletion: so one that reaches the end leaves a shorter file. */
function half(request: Request): Request {
  const { offset, size, data } = request
  if (data === null || data === undefined) {
    if (!Number.isFinite(size)) return request
    return changed(request, { offset: offset + (size >> 1), size: size - (size >> 1) })
  }
  const pieces = data as unknown as Uint8Array | Uint8Array[]
  const part = Array.isArray(pieces)
    ? pieces.slice(0, pieces.length >> 1)
    : pieces.subarray(0, pieces.length >> 1)
  return changed(request, { data: part as unknown as Buffer, size: part.length })
}

function changed(request: Request, changes: Partial<Request>): Request {
  return Object.assign(Object.create(request), changes)
}
