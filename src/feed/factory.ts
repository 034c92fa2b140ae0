import type { Dialect } from '../dialect.ts'
import { argumentTypeError } from '../errors.ts'
import type { ProtocolStream } from '../replication/stream.ts'
import { constructOn } from '../util/construct-on.ts'
import type { ChosenEncoding, EncodedValue } from './encoding.ts'
import { Feed as FeedClass } from './feed.ts'
import type { FeedOptions, Key, Storage } from './options.ts'

/** Options whose encoding tells the values of the feed: {@link FeedOptions} where `E` is kept apart. */
export type TypedFeedOptions<T, E> = FeedOptions<T> & {
  /** Name of an encoding or a codec. Default binary. */
  valueEncoding?: (E & ChosenEncoding) | undefined
}

/**
 * The values of a feed made with {@link TypedFeedOptions}. `T` is what options or a codec of a known type say, `unknown` if
 * they say nothing; then the name of the encoding decides, and bytes if there is none.
 */
export type FeedValue<T, E> = unknown extends T
  ? unknown extends E
    ? Uint8Array
    : E extends undefined | null
      ? Uint8Array
      : EncodedValue<E>
  : T

/**
 * A signed append-only log of blocks, or a verified copy of one; `T` is the type of its values.
 *
 * Asynchronous methods take a callback as last argument or return a promise. Called before the feed is open they
 * wait for that; after `close` they fail with `ERR_FEED_CLOSED`. The rejection of a call that nobody awaits does
 * not end the process.
 */
export interface Feed<T = Uint8Array> extends FeedClass<T> {}

/** The class of the feeds of the ddatabase dialect, for `new`, `extends` and `instanceof`. */
export const Feed = FeedClass as unknown as FeedConstructor

/**
 * The class of feeds. The type of the values follows from the options: `{ valueEncoding: 'utf-8' }` makes a
 * `Feed<string>`, a codec for `T` a `Feed<T>`, and `new Feed<T>(…)` whatever the caller says.
 */
export interface FeedConstructor extends FeedStatics {
  new <T, const E>(storage: Storage, options?: TypedFeedOptions<T, E> | null): Feed<FeedValue<T, E>>
  new <T, const E>(
    storage: Storage,
    key?: Key | null,
    options?: TypedFeedOptions<T, E> | null
  ): Feed<FeedValue<T, E>>
  new <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  new <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
  /** Prototype of the feeds. */
  readonly prototype: Feed<unknown>
}

/** Makes feeds; callable with and without `new`, and `instanceof` works. Typed as {@link FeedConstructor} is. */
export interface FeedFactory extends FeedConstructor {
  <T, const E>(storage: Storage, options?: TypedFeedOptions<T, E> | null): Feed<FeedValue<T, E>>
  <T, const E>(
    storage: Storage,
    key?: Key | null,
    options?: TypedFeedOptions<T, E> | null
  ): Feed<FeedValue<T, E>>
  <T = Uint8Array>(storage: Storage, options?: FeedOptions<T> | null): Feed<T>
  <T = Uint8Array>(storage: Storage, key?: Key | null, options?: FeedOptions<T> | null): Feed<T>
}

/** What the class and the callable of either dialect carry. */
export interface FeedStatics {
  /** The discovery key of a public key: what peers find each other by without learning the key. */
  discoveryKey(key: Uint8Array): Uint8Array
  /** The class of the replication streams. */
  readonly Protocol: typeof ProtocolStream
  /** The strings that these feeds use. */
  readonly dialect: Dialect
}

/** The callable form of a feed class. Classes may extend it, and functions inherit from it, as they could from the published packages'. */
export function feedFactory<Factory extends FeedStatics>(Class: typeof FeedClass): Factory {
  function factory(this: unknown, ...args: ConstructorParameters<typeof FeedClass>): object {
    if (new.target === undefined && this instanceof Class) {
      // A function that inherits from this one, as classes did before the language had some.
      if (Object.hasOwn(this, 'actives')) throw argumentTypeError('This object is a feed already')
      return constructOn(this, () => Reflect.construct(Class, args))
    }
    return Reflect.construct(Class, args, new.target ?? Class)
  }
  factory.prototype = Class.prototype
  return Object.assign(factory, {
    discoveryKey: (key: Uint8Array) => Class.discoveryKey(key),
    Protocol: Class.Protocol,
    // Classes that extend the callable inherit its statics, not those of the class.
    dialect: Class.dialect
  }) as unknown as Factory
}
