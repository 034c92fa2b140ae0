import type { ProtocolStream } from '../replication/stream.ts'
import type { Feed } from './feed.ts'
import type { FeedOptions, Key, Storage } from './options.ts'

/** Makes feeds; callable with and without `new`, and `instanceof` works. */
export interface FeedFactory extends FeedStatics {
  <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  /** Prototype of the feeds. */
  readonly prototype: Feed<unknown>
}

/** What the callable of either dialect carries. */
export interface FeedStatics {
  /** The discovery key of a public key: what peers find each other by without learning the key. */
  discoveryKey(key: Uint8Array): Uint8Array
  /** The class of the replication streams. */
  readonly Protocol: typeof ProtocolStream
}

/** The callable form of a feed class. Classes may extend it, as they could the published packages' function. */
export function feedFactory<Factory extends FeedStatics>(FeedClass: typeof Feed): Factory {
  function factory(...args: ConstructorParameters<typeof Feed>): Feed {
    return Reflect.construct(FeedClass, args, new.target ?? FeedClass)
  }
  factory.prototype = FeedClass.prototype
  return Object.assign(factory, {
    discoveryKey: (key: Uint8Array) => FeedClass.discoveryKey(key),
    Protocol: FeedClass.Protocol,
    // Classes that extend the callable inherit its statics, not those of the class.
    dialect: FeedClass.dialect
  }) as unknown as Factory
}
