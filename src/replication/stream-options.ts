/** What an application gives a protocol stream, and what it hears from it (spec API §8.1, §8.2). */
import type { DuplexEvents } from 'streamx'
import type { KeyPair } from '../crypto/keys.ts'
import type { Dialect } from '../dialect.ts'
import { argumentRangeError, argumentTypeError, argumentValueError } from '../errors.ts'
import { checkFunction } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import type { Channel } from './channel.ts'
import type { KeyPairSource } from './handshake.ts'
import type { ReplicationLimits } from './limits.ts'
import type { HaveMessage } from './messages.ts'

/** Options and hooks of a stream. The object stays the application's: hooks are looked up when they are called. */
export interface ProtocolHandlers {
  /** A cipher after the handshake. Default true. */
  encrypted?: boolean | undefined
  /**
   * Whether the cipher may be the authenticated one: it is if the remote, too, is of this package and does not say false
   * here. Default true. Without `encrypted` it is never.
   */
  authenticated?: boolean | null | undefined
  /**
   * Whether a remote that does not speak the authenticated transport is refused: the stream is destroyed with
   * `ERR_NOT_AUTHENTICATED` at the end of the handshake, before anything else is sent or taken. Default false.
   */
  requireAuthenticated?: boolean | null | undefined
  /** Handshake and capabilities. Default true; false counts only together with `encrypted: false`. */
  noise?: boolean | undefined
  /** Static X25519 pair of this side, or a function that gets it. Default: a fresh one. */
  keyPair?: KeyPairSource | null | undefined
  /** Milliseconds without input after which the stream is destroyed; half of it without output sends a keepalive. 0 or false: never. Default 20000. */
  timeout?: number | false | null | undefined
  /** Keep the stream open without channels. Default false. */
  live?: boolean | undefined
  /**
   * Bytes a second that may be sent to the remote, of all feeds together: blocks with their proofs. Default: no limit. It can be changed
   * by the property of the stream with this name.
   */
  maxUploadRate?: number | null | undefined
  /** The same for what the remote is asked for. */
  maxDownloadRate?: number | null | undefined
  /** Bounds that differ from the defaults. */
  limits?: Partial<ReplicationLimits> | undefined
  /** Whose discovery keys and capabilities are used. Default: that of the class. */
  dialect?: Dialect | undefined
  /** Only to repeat a recorded session: values that must otherwise be random, and fresh for every stream. */
  recorded?:
    | {
        /** Nonce of this side's direction, 24 bytes. */
        nonce?: Uint8Array | undefined
        /** The handshake's ephemeral X25519 pair. */
        ephemeralKeyPair?: KeyPair | undefined
      }
    | undefined
  /** Whether the remote is welcome: `done()` lets it in; `done(error)` and exceptions end the connection. */
  onauthenticate?: ((remotePublicKey: Uint8Array, done: (error?: unknown) => void) => void) | undefined
  /** The handshake is over. */
  onhandshake?: (() => void) | undefined
  /** The remote opened a feed that is not open here: open it, refuse it with `stream.close`, or do nothing. */
  ondiscoverykey?: ((discoveryKey: Uint8Array) => void) | undefined
  /** The remote opened a feed. */
  onremoteopen?: ((discoveryKey: Uint8Array) => void) | undefined
  /** The remote closed a feed, or the stream was destroyed; `key` is null if the feed was not open here. */
  onchannelclose?: ((discoveryKey: Uint8Array, key: Uint8Array | null) => void) | undefined
  /** The remote announced stream level extensions. */
  onextensions?: ((names: string[]) => void) | undefined
}

/** Events of a stream, beside those of every duplex stream. */
export interface ProtocolStreamEvents extends DuplexEvents {
  /** Bytes for the remote. */
  data: [bytes: Uint8Array]
  /** Why the connection ended. */
  error: [
    error: Error & {
      /** Stable code of an error of this package. */
      readonly code?: string
    }
  ]
  /** The handshake is over: `remotePublicKey` is known. */
  handshake: []
  /** The remote opened a feed that is not open here; see {@link ProtocolHandlers.ondiscoverykey}. */
  'discovery-key': [discoveryKey: Uint8Array]
  /** The remote opened a feed. */
  'remote-open': [discoveryKey: Uint8Array]
  /** Both sides have opened a feed, and the remote has proven that it knows its key. */
  'duplex-channel': [channel: Channel]
  /** A feed was closed; if it was the last one the stream is about to end (see `prefinalize` of the stream). */
  prefinalize: []
  /** The remote announced extensions of the stream. */
  extensions: [names: string[]]
  /** The remote acknowledged blocks; only with the option `ack`. */
  ack: [have: HaveMessage]
  /** Nothing was heard for the `timeout`; the stream is about to be destroyed. */
  timeout: []
  /** The connection takes bytes again after the output was backed up. */
  'output-drain': []
}

/** Refuses what is neither a number of milliseconds nor a word for "never". Errors: TypeError, RangeError. */
export function checkMilliseconds(value: unknown, name: string): void {
  if (isGiven(value) && value !== false && typeof value !== 'number') {
    throw argumentTypeError(`${name} must be a number of milliseconds or false`)
  }
  if (typeof value === 'number' && !(value >= 0)) {
    throw argumentRangeError(`${name} must not be negative, got ${value}`)
  }
}

const HOOKS = [
  'onauthenticate',
  'onhandshake',
  'ondiscoverykey',
  'onremoteopen',
  'onchannelclose',
  'onextensions'
] as const

/** Refuses hooks that could not be called, and other options of a stream that would fail when they are used. Errors: TypeError, RangeError. */
export function checkHandlers(handlers: ProtocolHandlers): void {
  for (const name of HOOKS) checkFunction(handlers[name], name)
  checkMilliseconds(handlers.timeout, 'timeout')
  const recorded: unknown = handlers.recorded
  if (recorded !== undefined && typeof recorded !== 'object')
    throw argumentTypeError('recorded must be an object')
  checkAuthenticated(handlers)
}

/** Refuses what cannot be meant. Errors: TypeError. */
export function checkAuthenticated(
  handlers: Pick<ProtocolHandlers, 'encrypted' | 'authenticated' | 'requireAuthenticated'>
): void {
  for (const name of ['authenticated', 'requireAuthenticated'] as const) {
    const value: unknown = handlers[name]
    if (isGiven(value) && typeof value !== 'boolean') {
      throw argumentTypeError(`${name} must be a boolean`)
    }
  }
  if (handlers.requireAuthenticated && (handlers.encrypted === false || handlers.authenticated === false)) {
    throw argumentValueError('requireAuthenticated needs the options encrypted and authenticated')
  }
}
