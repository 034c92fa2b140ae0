/**
 * hypercore 10 and 11, whose interface is one of promises, as subjects. Their replication never ends by itself and
 * downloads only what is asked for, so a whole copy is asked for here, and the wire is closed when it is there.
 */
import type { Callback, CreateFeed, Feed, FeedOptions, Sink, Source, Wire } from './feed.ts'

/** What such a package exports. */
export type Hypercore = new (dir: string, key: Uint8Array | null, options: FeedOptions) => Core

/** The part of it that is used here. */
interface Core {
  readonly key: Uint8Array
  readonly length: number
  readonly byteLength: number
  /** Not part of its documented interface, which has no number of blocks that are present. */
  readonly core: { readonly bitfield: { countSet(start: number, length: number): number } }
  ready(): Promise<unknown>
  append(data: Uint8Array | Uint8Array[]): Promise<unknown>
  get(index: number, options: { wait?: boolean }): Promise<Uint8Array>
  createReadStream(options: { start: number; end: number }): Source
  createWriteStream(): Sink
  download(range: { start: number; end: number }): { done(): Promise<unknown> }
  replicate(isInitiator: boolean): Wire
  once(event: 'append', listener: () => void): unknown
  close(): Promise<unknown>
}

/** Makes the package one that is driven as all others are. */
export function wrapped(Package: Hypercore): CreateFeed {
  return (dir, key, options) => wrap(new Package(dir, key, options))
}

function wrap(core: Core): Feed {
  return {
    get key() {
      return core.key
    },
    get length() {
      return core.length
    },
    get byteLength() {
      return core.byteLength
    },
    ready: (callback) => settle(core.ready(), callback),
    append: (data, callback) => settle(core.append(data), callback),
    get: (index, options, callback) => settle(core.get(index, options), callback),
    getBatch(start, end, options, callback) {
      const blocks = Array.from({ length: end - start }, (_, at) => core.get(start + at, options))
      settle(Promise.all(blocks), callback)
    },
    createReadStream: (options) => core.createReadStream(options),
    createWriteStream: () => core.createWriteStream(),
    downloaded: (start, end) => core.core.bitfield.countSet(start, end - start),
    replicate(isInitiator, { live }) {
      const wire = core.replicate(isInitiator)
      // The initiator of a connection that is not live is what downloads.
      if (isInitiator && !live) copyAll(core).then(() => wire.destroy())
      return wire
    },
    close: (callback) => settle(core.close(), callback)
  }
}

/** Resolves when an empty core has all that the other end has. */
async function copyAll(core: Core): Promise<void> {
  // A download without an end is never done, so the length must be known.
  await new Promise<void>((resolve) => {
    core.once('append', resolve)
  })
  await core.download({ start: 0, end: core.length }).done()
}

function settle<T>(promise: Promise<T>, callback: Callback<T>): void {
  promise.then((value) => callback(null, value), callback as (error: Error) => void)
}
