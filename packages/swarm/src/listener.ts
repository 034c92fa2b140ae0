import { createServer as createHttpServer, Server as HttpServer } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import { addressText } from './address.ts'
import type { AnyDuplex } from './connection.ts'
import { SwarmError } from './errors.ts'
import { MAX_MESSAGE } from './sockets.ts'

/** A port that peers can connect to. */
export class Listener {
  /** What peers connect to: `host:port`, or `ws://host:port`. */
  readonly address: string
  /** The address that is bound. */
  readonly host: string
  /** The port. */
  readonly port: number
  /** Whether it takes WebSockets. */
  readonly websocket: boolean
  readonly #server: net.Server
  #closing: Promise<void> | null = null

  private constructor(server: net.Server, websocket: boolean) {
    const { address, port } = server.address() as AddressInfo
    this.#server = server
    this.host = address
    this.port = port
    this.websocket = websocket
    this.address = `${websocket ? 'ws://' : ''}${addressText(address, port)}`
  }

  /**
   * Listens. `onconnection` gets each connection and the address that it comes from. Made by `swarm.listen`. @internal
   * Errors: `ERR_PORT_IN_USE`, `ERR_LISTEN`.
   */
  static async start(
    where: { port: number; host: string | null; websocket: boolean },
    onconnection: (duplex: AnyDuplex, address: string | null) => void
  ): Promise<Listener> {
    const { port, host, websocket } = where
    const server = websocket ? webSocketServer(onconnection) : tcpServer(onconnection)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, ...(host === null ? {} : { host }) }, () => resolve())
    }).catch((cause: NodeJS.ErrnoException) => {
      const about = host === null ? `port ${port}` : addressText(host, port)
      throw new SwarmError(cause.code === 'EADDRINUSE' ? 'ERR_PORT_IN_USE' : 'ERR_LISTEN', { about, cause })
    })
    // Failures to accept one connection (too many files, say) concern that connection only.
    server.on('error', () => {})
    return new Listener(server, websocket)
  }

  /** Whether the port was given back. */
  get closed(): boolean {
    return this.#closing !== null
  }

  /** Gives the port back. Connections that came by it stay. */
  close(): Promise<void> {
    // The server is closed when its connections are over; the port is free at once.
    this.#closing ??= new Promise((resolve) => {
      this.#server.close()
      // Who has not asked for a WebSocket yet would keep the process alive, for ever if it says nothing. The others are not among these.
      if (this.#server instanceof HttpServer) this.#server.closeAllConnections()
      setImmediate(resolve)
    })
    return this.#closing
  }
}

function tcpServer(onconnection: (duplex: AnyDuplex, address: string | null) => void): net.Server {
  return net.createServer({ noDelay: true }, (socket) => {
    // The swarm listens for errors a moment later.
    socket.on('error', () => {})
    onconnection(socket, remoteAddress(socket))
  })
}

function webSocketServer(onconnection: (duplex: AnyDuplex, address: string | null) => void): net.Server {
  const server = createHttpServer((_request, response) => {
    response.writeHead(426, { connection: 'close' }).end('This port takes WebSockets.\n')
  })
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_MESSAGE })
  server.on('upgrade', (request, socket, head) => {
    const address = remoteAddress(request.socket)
    sockets.handleUpgrade(request, socket, head, (webSocket: WebSocket) =>
      onconnection(createWebSocketStream(webSocket), address)
    )
  })
  return server
}

function remoteAddress({ remoteAddress: host, remotePort: port }: net.Socket): string | null {
  return host === undefined || port === undefined ? null : addressText(host, port)
}
