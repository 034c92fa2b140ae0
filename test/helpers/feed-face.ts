/**
 * One typed face for this package's feeds and the published ones, so that the same steps can be done by either.
 * Every call is watched: one that never answers rejects.
 */
import type { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'streamx'
import { within } from './watchdog.ts'

/** A node as feeds give and take it. */
export interface Node {
  index: number
  hash: Uint8Array
  size: number
}

/** A proof as `proof` gives and `put` takes it. `put` empties `nodes`. */
export interface Proof {
  nodes: Node[]
  signature: Uint8Array | null
}

/** A proof that survives `put`: `put` empties the list of the copy it gets. */
export function copyProof(proof: Proof): Proof {
  return { nodes: [...proof.nodes], signature: proof.signature }
}

/** What both implementations offer without a callback. */
export interface RawFeed extends EventEmitter {
  readonly key: Uint8Array | null
  readonly secretKey: Uint8Array | null
  readonly discoveryKey: Uint8Array | null
  readonly length: number
  readonly byteLength: number
  readonly writable: boolean
  readonly readable: boolean
  readonly live: boolean
  readonly opened: boolean
  readonly closed: boolean
  has(start: number, end?: number): boolean
  downloaded(start?: number, end?: number): number
  digest(index: number): number
  createReadStream(options?: object): Readable
  createWriteStream(options?: object): Writable
  readonly [method: string | symbol]: unknown
}

/** How a call is made: with a callback, or for its promise. */
export type CallStyle = 'callback' | 'promise'

type Method = (...args: unknown[]) => unknown

/** A feed of either implementation. */
export class FeedFace {
  /** The feed itself. */
  readonly feed: RawFeed
  readonly #style: () => CallStyle

  /** @param style - asked before each call; the published packages know only callbacks */
  constructor(feed: RawFeed, style: () => CallStyle) {
    this.feed = feed
    this.#style = style
  }

  get key(): Buffer {
    return Buffer.from(this.feed.key ?? [])
  }

  get secretKey(): Buffer {
    return Buffer.from(this.feed.secretKey ?? [])
  }

  get length(): number {
    return this.feed.length
  }

  get byteLength(): number {
    return this.feed.byteLength
  }

  get writable(): boolean {
    return this.feed.writable
  }

  /** Calls an asynchronous method in the chosen style. `seek` gives its callback two values: they come as an array. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    const run = this.feed[method] as Method
    if (this.#style() === 'promise') {
      return within(run.apply(this.feed, args) as Promise<unknown>, `${method}()`)
    }
    const answer = new Promise((resolve, reject) => {
      run.call(this.feed, ...args, (error: unknown, ...values: unknown[]) => {
        if (error) reject(error)
        else resolve(method === 'seek' ? values : values[0])
      })
    })
    return within(answer, `${method}(callback)`)
  }

  ready(): Promise<void> {
    return this.call('ready') as Promise<void>
  }

  append(value: unknown): Promise<number> {
    return this.call('append', value) as Promise<number>
  }

  get(index: number, options: object = {}): Promise<unknown> {
    return this.call('get', index, options)
  }

  getBatch(start: number, end: number, options: object = {}): Promise<unknown[]> {
    return this.call('getBatch', start, end, options) as Promise<unknown[]>
  }

  head(options: object = {}): Promise<unknown> {
    return this.call('head', options)
  }

  /** The block and the offset in it, whichever way they are answered. */
  async seek(bytes: number, options: object = {}): Promise<[block: number, offset: number]> {
    const answer = await this.call('seek', bytes, options)
    if (Array.isArray(answer)) return answer as [number, number]
    const { index, offset } = answer as { index: number; offset: number }
    return [index, offset]
  }

  clear(start: number, end: number, options: object = {}): Promise<void> {
    return this.call('clear', start, end, options) as Promise<void>
  }

  truncate(length: number): Promise<void> {
    return this.call('truncate', length) as Promise<void>
  }

  signature(index: number): Promise<{ index: number; signature: Uint8Array }> {
    return this.call('signature', index) as Promise<{ index: number; signature: Uint8Array }>
  }

  verify(index: number, signature: Uint8Array): Promise<boolean> {
    return this.call('verify', index, signature) as Promise<boolean>
  }

  rootHashes(index: number): Promise<Node[]> {
    return this.call('rootHashes', index) as Promise<Node[]>
  }

  proof(index: number, options: object = {}): Promise<Proof> {
    return this.call('proof', index, options) as Promise<Proof>
  }

  put(index: number, value: unknown, proof: Proof): Promise<void> {
    return this.call('put', index, value, proof) as Promise<void>
  }

  audit(): Promise<{ valid: number; invalid: number }> {
    return this.call('audit') as Promise<{ valid: number; invalid: number }>
  }

  flush(): Promise<void> {
    return this.call('flush') as Promise<void>
  }

  finalize(): Promise<void> {
    return this.call('finalize') as Promise<void>
  }

  close(): Promise<void> {
    return this.call('close') as Promise<void>
  }

  destroyStorage(): Promise<void> {
    return this.call('destroyStorage') as Promise<void>
  }

  has(start: number, end?: number): boolean {
    return end === undefined ? this.feed.has(start) : this.feed.has(start, end)
  }

  downloaded(start?: number, end?: number): number {
    return this.feed.downloaded(start, end)
  }

  digest(index: number): number {
    return this.feed.digest(index)
  }
}

/** Makes a feed of one implementation. The storage is a directory or a storage function. */
export type OpenFeed = (storage: unknown, key?: Uint8Array | null, options?: object) => FeedFace

/** All chunks of a read stream; rejects with the stream's error. */
export function collect(stream: Readable, what = 'the read stream'): Promise<unknown[]> {
  const chunks: unknown[] = []
  return within(
    new Promise((resolve, reject) => {
      stream.on('data', (chunk: unknown) => chunks.push(chunk))
      stream.on('error', reject)
      stream.on('end', () => resolve(chunks))
      stream.on('close', () => reject(new Error(`${what} closed before its end`)))
    }),
    what
  )
}

/** The first `count` chunks of a read stream, which is left open. */
export function take(stream: Readable, count: number, what = 'the read stream'): Promise<unknown[]> {
  const chunks: unknown[] = []
  return within(
    new Promise((resolve, reject) => {
      if (count === 0) resolve(chunks)
      stream.on('data', (chunk: unknown) => {
        chunks.push(chunk)
        if (chunks.length === count) resolve(chunks)
      })
      stream.on('error', reject)
      stream.on('end', () => reject(new Error(`${what} ended after ${chunks.length} of ${count} blocks`)))
    }),
    what
  )
}

/** Destroys a stream and waits until it is closed. */
export function destroyed(stream: Readable | Writable): Promise<void> {
  return within(
    new Promise((resolve) => {
      stream.on('close', () => resolve())
      stream.on('error', () => {})
      ;(stream as Readable).destroy()
    }),
    'destroying a stream'
  )
}

/** Writes the chunks and ends the stream; answers after `finish`. */
export function writeAll(stream: Writable, chunks: readonly unknown[]): Promise<void> {
  return within(
    new Promise((resolve, reject) => {
      stream.on('finish', () => resolve())
      stream.on('error', reject)
      for (const chunk of chunks) stream.write(chunk)
      ;(stream as unknown as { end(): void }).end()
    }),
    'the write stream'
  )
}
