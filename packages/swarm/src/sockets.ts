import net from 'node:net'
import { createWebSocketStream, WebSocket } from 'ws'
import type { Address } from './address.ts'
import type { AnyDuplex } from './connection.ts'
import { SwarmError } from './errors.ts'

/** Bytes of one WebSocket message: more than a protocol stream sends at once. */
export const MAX_MESSAGE = 16 * 1024 * 1024

/**
 * Opens a TCP connection or a WebSocket.
 * Errors: `ERR_CONNECTION_REFUSED`, `ERR_CONNECT`; the reason of the signal.
 */
export function dial(address: Address, signal: AbortSignal): Promise<AnyDuplex> {
  return address.kind === 'tcp' ? dialTcp(address, signal) : dialWebSocket(address, signal)
}

function dialTcp({ host, port, text }: Address, signal: AbortSignal): Promise<AnyDuplex> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, noDelay: true })
    const giveUp = (): void => {
      socket.destroy()
      reject(signal.reason)
    }
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', giveUp)
      reject(connectError(error, text))
    }
    socket.once('error', fail)
    socket.once('connect', () => {
      signal.removeEventListener('abort', giveUp)
      socket.off('error', fail)
      resolve(socket)
    })
    if (signal.aborted) giveUp()
    else signal.addEventListener('abort', giveUp, { once: true })
  })
}

function dialWebSocket({ text }: Address, signal: AbortSignal): Promise<AnyDuplex> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(text, { perMessageDeflate: false, maxPayload: MAX_MESSAGE })
    const giveUp = (): void => {
      socket.terminate()
      reject(signal.reason)
    }
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', giveUp)
      reject(connectError(error, text))
    }
    // Not taken off before the stream has its own: terminating a socket that is connecting is an error, too.
    socket.on('error', fail)
    socket.once('open', () => {
      signal.removeEventListener('abort', giveUp)
      resolve(createWebSocketStream(socket))
    })
    if (signal.aborted) giveUp()
    else signal.addEventListener('abort', giveUp, { once: true })
  })
}

function connectError(cause: Error & { code?: string; errors?: unknown[] }, about: string): SwarmError {
  // All addresses of a name refused, or one did.
  const refused = cause.code === 'ECONNREFUSED'
  return new SwarmError(refused ? 'ERR_CONNECTION_REFUSED' : 'ERR_CONNECT', { about, cause })
}
