/**
 * How much one remote may cost us. Every bound on what a peer can make this side allocate, queue or do is here, so that
 * there is one table to read and one place to change. What exceeds a limit ends that one connection with a coded error.
 */
import { argumentRangeError, argumentTypeError } from '../errors.ts'
import { isGiven } from '../util/given.ts'

/** Bounds on one stream and what runs over it. All are numbers ≥ 1; `Infinity` lifts one. */
export interface ReplicationLimits {
  /** Bytes of a frame's body (WIRE §5). Default 8 MiB, what the published packages accept. `ERR_FRAME_SIZE`. */
  frameSize: number
  /** Bytes of one handshake message, and of what is buffered while the application is asked. Default 65535. `ERR_HANDSHAKE_SIZE`. */
  handshakeSize: number
  /** Milliseconds from the first byte to the end of the handshake, not counting the application's own time. Default 20000. `ERR_HANDSHAKE_TIMEOUT`. */
  handshakeTime: number
  /** Frames that are worked on before the event loop gets its turn. Default 1024. */
  framesPerTurn: number
  /** Feeds that the remote opened and we did not. Default 4096. `ERR_LIMIT`. */
  pendingChannels: number
  /** Fields of one message. Default 4096. `ERR_LIMIT`. */
  messageFields: number
  /** Nodes of one Data message; no proof needs more than 110. Default 256. `ERR_LIMIT`. */
  proofNodes: number
  /** Extension names in one Options message. Default 1024. `ERR_LIMIT`. */
  extensions: number
  /** UTF-8 bytes of one extension name. Default 1024. `ERR_LIMIT`. */
  extensionNameSize: number
  /** Bytes of queued output from which on a stream counts as backed up: stop answering requests. Default 64 KiB. */
  outputHighWater: number
  /** Bytes of output that may wait for a remote that does not read. Default 64 MiB. `ERR_OUTPUT_LIMIT`. */
  queuedOutput: number
  /**
   * Requests of one channel that may wait for an answer. Default 4096; published peers keep 32 in flight, those of this version up
   * to 272, and both as many as their application says by `maxRequests`. `ERR_LIMIT`.
   */
  queuedRequests: number
  /** Requests of one channel that ask for what cannot be had (WIRE quirk 6). Default 4096. `ERR_LIMIT`. */
  uselessRequests: number
  /** Wants of one channel, each for another window. Default 65536. `ERR_LIMIT`. */
  wants: number
  /** Data messages of one channel that nothing asked for (hashes, with `allowPush` blocks, too) and that wait to be stored. Default 4096. `ERR_LIMIT`. */
  queuedPushes: number
  /** Bytes that these hold. Default 64 MiB. `ERR_LIMIT`. */
  queuedPushSize: number
  /**
   * What may be noted of the blocks that a remote says it has, in KiB: a page of 8192 blocks that has gaps takes one, a
   * window of 2^20 blocks another one. Default 16384. `ERR_LIMIT`.
   */
  remotePages: number
  /** Blocks that one Have without bitfield may announce. Default 2^24. `ERR_LIMIT`. */
  haveRange: number
  /** Bytes of a decoded Have bitfield: a window of 2^20 blocks. Default 131072. `ERR_LIMIT`. */
  bitfieldSize: number
  /** Number of the highest block that a remote may claim, plus one. Default 2^40. `ERR_LIMIT`. */
  remoteLength: number
}

/** The limits that apply where the application does not say otherwise. */
export const DEFAULT_LIMITS: Readonly<ReplicationLimits> = Object.freeze({
  frameSize: 8 * 1024 * 1024,
  handshakeSize: 65535,
  handshakeTime: 20000,
  framesPerTurn: 1024,
  pendingChannels: 4096,
  messageFields: 4096,
  proofNodes: 256,
  extensions: 1024,
  extensionNameSize: 1024,
  outputHighWater: 64 * 1024,
  queuedOutput: 64 * 1024 * 1024,
  queuedRequests: 4096,
  uselessRequests: 4096,
  wants: 65536,
  queuedPushes: 4096,
  queuedPushSize: 64 * 1024 * 1024,
  remotePages: 16384,
  haveRange: 2 ** 24,
  bitfieldSize: 131072,
  remoteLength: 2 ** 40
})

/**
 * The defaults with `overrides` in place.
 *
 * @throws TypeError for what is no object, RangeError with `ERR_OUT_OF_RANGE` for an override that is not a number ≥ 1
 */
export function resolveLimits(overrides?: Partial<ReplicationLimits> | null): Readonly<ReplicationLimits> {
  if (!isGiven(overrides)) return DEFAULT_LIMITS
  if (typeof overrides !== 'object') throw argumentTypeError('limits must be an object')
  const limits: ReplicationLimits = { ...DEFAULT_LIMITS }
  for (const name of Object.keys(DEFAULT_LIMITS) as (keyof ReplicationLimits)[]) {
    const value = overrides[name]
    if (value === undefined) continue
    if (typeof value !== 'number' || !(value >= 1))
      throw argumentRangeError(`The limit ${name} must be a number from 1 on, got ${value}`)
    limits[name] = value
  }
  return Object.freeze(limits)
}
