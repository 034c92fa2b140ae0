import { DDatabaseError } from '../errors.ts'
import type { ChannelHandlers } from './channel.ts'
import { DEFAULT_LIMITS, type ReplicationLimits } from './limits.ts'
import type { Peer } from './peer.ts'
import { ProtocolStream } from './stream.ts'

/**
 * Protocol streams of another make: modules of hypercore 9's time bring the stream class of their own dependencies.
 * They have the same methods and messages, with four differences that are evened out here: they know no limits, they
 * let exceptions of handlers out of the stream, they do not tell a channel that the remote had opened it before, and
 * those of hypercore-protocol 7 leave it to the handlers to answer a Close with one. A remote that has refused a feed
 * and has it a moment later waits for that answer: until then it takes the feed for open on this side.
 */

/** Whether a stream is not of this package. */
export function isForeign(stream: ProtocolStream): boolean {
  return !(stream instanceof ProtocolStream)
}

/** The limits of a stream; the defaults for a foreign one. */
export function limitsOf(stream: ProtocolStream): Readonly<ReplicationLimits> {
  return stream.limits ?? DEFAULT_LIMITS
}

/** Ends a stream with `ERR_NOT_AUTHENTICATED` unless it is authenticated or will be, which one of another make never is. */
export function requireAuthenticated(stream: ProtocolStream): void {
  if (typeof stream.requireAuthenticated === 'function') stream.requireAuthenticated()
  else stream.destroy(new DDatabaseError('ERR_NOT_AUTHENTICATED'))
}

/** The peer as handlers for a foreign channel: what it throws ends the connection. */
export function foreignHandlers(peer: Peer): ChannelHandlers {
  const guarded = {} as Record<string, (...args: unknown[]) => void>
  for (const name of HANDLERS) {
    const method = name === 'onclose' ? 'close' : name
    guarded[name] = (...args) => {
      try {
        ;(peer[method] as (...args: unknown[]) => void).apply(peer, args)
      } catch (error) {
        peer.destroy(error as Error)
      }
    }
  }
  return guarded as ChannelHandlers
}

const HANDLERS = [
  'onopen',
  'onoptions',
  'onstatus',
  'onhave',
  'onunhave',
  'onwant',
  'onrequest',
  'oncancel',
  'ondata',
  'onextension',
  'onclose'
] as const
