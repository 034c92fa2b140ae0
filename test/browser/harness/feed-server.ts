import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { createWebSocketStream, WebSocketServer } from 'ws'
import type { Feed } from '../../../src/index.ts'

/** A feed that is served over web sockets on loopback. */
export interface FeedServer {
  url: string
  close(): Promise<void>
}

/** Serves `feed` to everybody who connects and knows its key. */
export async function serveFeed(feed: Feed<unknown>): Promise<FeedServer> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await new Promise((resolve) => server.once('listening', resolve))
  server.on('connection', (socket) => {
    const connection = createWebSocketStream(socket)
    // How it ends is seen on the other side.
    pipeline(connection, feed.replicate(false, { live: true }), connection, () => {})
  })
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of server.clients) socket.terminate()
        server.close(() => resolve())
      })
  }
}
