import net from 'node:net'
import { pipeline } from 'node:stream'
import type { Feed, TransferStats } from '../../src/index.ts'
import { Failure } from './failure.ts'

/** Only programs of this machine can connect. */
export const HOST = '127.0.0.1'

/** A connection that has ended, and what went over it. */
export interface Served {
  /** The port of the other side. */
  remotePort: number
  stats: TransferStats
  /** Why it ended, null if the other side was done. */
  error: Error | null
}

/** Serves one feed to everybody who connects and knows its key. */
export class Server {
  readonly port: number
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()
  #feed: Feed | null = null
  #onserved: (served: Served) => void = () => {}

  private constructor(server: net.Server) {
    this.#server = server
    this.port = (server.address() as net.AddressInfo).port
    server.on('connection', (socket) => this.#connected(socket))
  }

  /** Takes the port, so that it is known at once whether it can be had. Fails with exit code 5. */
  static async listen(port: number): Promise<Server> {
    const server = net.createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, HOST, () => resolve())
    }).catch((error: NodeJS.ErrnoException) => {
      throw new Failure('connection', `Port ${port} cannot be used: ${reasonOf(error)}.`, error)
    })
    return new Server(server)
  }

  /** Serves the feed from now on. Who connected before was sent away. */
  serve(feed: Feed, onserved: (served: Served) => void): void {
    this.#feed = feed
    this.#onserved = onserved
  }

  /** Ends all connections and gives the port back. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #connected(socket: net.Socket): void {
    const feed = this.#feed
    if (feed === null) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    const remotePort = socket.remotePort ?? 0
    const stream = feed.replicate(false, { live: true })
    // Feeds with other keys are not to be had here; without an answer the other side would wait.
    stream.on('discovery-key', (discoveryKey) => stream.close(discoveryKey))
    const peer = feed.peers.find((candidate) => candidate.stream.stream === stream)
    pipeline(socket, stream, socket, (error) => {
      this.#sockets.delete(socket)
      // Who comes while the feed is closed is sent away.
      if (peer !== undefined) this.#onserved({ remotePort, stats: peer.stats!, error: error ?? null })
    })
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') return 'another program is using it'
  if (code === 'EACCES') return 'access is denied'
  return message
}
