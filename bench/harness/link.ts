import { createServer, connect as openSocket, type Server, type Socket } from 'node:net'
import type { Feed, Wire, WireOptions } from './feed.ts'

/** A connection between two feeds. */
export interface Link {
  /** Resolves when the downloading end has closed its stream well, rejects with its error. */
  readonly closed: Promise<void>
  /** Cuts the connection. */
  cut(): void
}

/** Makes a connection for the feed that downloads. */
export type Connect = (target: Feed, options: WireOptions) => Link

/** Connects to `source` in this process, without a socket. */
export function throughMemory(source: () => Feed): Connect {
  return (target, options) => {
    const from = source().replicate(false, options)
    const wire = target.replicate(true, options)
    from.on('error', () => {})
    from.pipe(wire)
    wire.pipe(from)
    return watched(wire)
  }
}

/** Connects to whoever serves the port of the loopback interface. */
export function throughPort(port: number): Connect {
  return (target, options) => {
    const wire = target.replicate(true, options)
    joinSocket(wire, openSocket(port, '127.0.0.1'))
    return watched(wire)
  }
}

/** Connects to `source` in this process over loopback TCP. */
export async function throughTcp(source: () => Feed, options: WireOptions): Promise<Connect> {
  const server: Server = createServer((socket) => joinSocket(source().replicate(false, options), socket))
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return throughPort((server.address() as { port: number }).port)
}

/** Pipes a socket and a protocol stream into each other. Requests are small and must not wait for more (Nagle). */
export function joinSocket(wire: Wire, socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => wire.destroy())
  wire.on('error', () => socket.destroy())
  wire.pipe(socket)
  socket.pipe(wire as unknown as NodeJS.WritableStream)
}

function watched(wire: Wire): Link {
  const closed = new Promise<void>((resolve, reject) => {
    wire.on('error', reject)
    wire.on('close', resolve)
  })
  // Whoever cuts the connection does not wait for its end.
  closed.catch(() => {})
  return { closed, cut: () => wire.destroy() }
}
