/** Node style callback; `value` is set when there is no error. */
export type Callback<T = unknown> = (error: Error | null, value: T) => void

/** The part of a readable stream that the rows use. */
export interface Source extends AsyncIterable<unknown> {
  on(event: 'data' | 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** The part of a writable stream that the rows use. */
export interface Sink {
  on(event: 'drain' | 'finish', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  /** False: wait for `drain`. */
  write(block: Uint8Array): boolean
  end(): unknown
}

/** A protocol stream, as far as the rows use it: something to be piped to the other end and back. */
export interface Wire {
  pipe(to: unknown): unknown
  on(event: 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  destroy(): void
}

/** Options of both ends of a connection; a subject takes no notice of those that it does not know. */
export interface WireOptions {
  /** Goes on when the feed is copied. */
  readonly live?: boolean
  /** False: the wire of the published packages also between two feeds of this one. */
  readonly authenticated?: boolean
}

/** Options of a feed; the rows use those that all subjects know. */
export type FeedOptions = Record<string, unknown>

/** What `proof` gives and `put` takes. */
export interface Proof {
  nodes: unknown[]
  signature: Uint8Array | null
}

/** Methods that not every subject has; a row says which of them it needs, a subject which of them it lacks. */
export interface Extras {
  digest(index: number): number
  proof(index: number, options: { digest: number }, callback: Callback<Proof>): void
  put(index: number, data: Uint8Array, proof: Proof, callback: Callback): void
  audit(callback: Callback<{ valid: number; invalid: number }>): void
  signature(index: number, callback: Callback<{ index: number; signature: Uint8Array }>): void
  verify(index: number, signature: Uint8Array, callback: Callback<boolean>): void
}

/**
 * The part of a feed's callback interface that the rows use. A subject with another interface
 * is wrapped into this one by its loader, so that all of them are driven alike.
 */
export interface Feed extends Partial<Extras> {
  readonly key: Uint8Array
  readonly length: number
  readonly byteLength: number
  ready(callback: Callback): void
  append(data: Uint8Array | Uint8Array[], callback: Callback): void
  get(index: number, options: { wait?: boolean }, callback: Callback<Uint8Array>): void
  getBatch(start: number, end: number, options: { wait?: boolean }, callback: Callback<Uint8Array[]>): void
  createReadStream(options: { start: number; end: number }): Source
  createWriteStream(): Sink
  downloaded(start: number, end: number): number
  replicate(isInitiator: boolean, options: WireOptions): Wire
  close(callback: Callback): void
}

/** Makes a feed on a folder; opening starts by itself. */
export type CreateFeed = (dir: string, key: Uint8Array | null, options: FeedOptions) => Feed

/** Turns one callback call into a promise; for use outside of inner loops. */
export function call<T>(start: (callback: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error) reject(error)
      else resolve(value)
    })
  })
}
