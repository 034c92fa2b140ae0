import type { ProtocolStream } from '../../../src/index.ts'

/** Bytes that may wait in the socket before the stream is asked to hold back. */
const HIGH_WATER = 256 * 1024
/** How often a full socket is looked at, in milliseconds: sockets do not say when they have sent. */
const PATIENCE = 10

/** Replicates over a web socket, which may still be connecting. Each ends with the other. */
export function replicateOver(socket: WebSocket, stream: ProtocolStream): void {
  socket.binaryType = 'arraybuffer'
  const connected = new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }))
  stream.on('data', (bytes) => {
    if (socket.readyState !== WebSocket.OPEN) return
    socket.send(bytes as Uint8Array<ArrayBuffer>)
    if (socket.bufferedAmount <= HIGH_WATER) return
    stream.pause()
    resumeWhenSent(socket, stream)
  })
  stream.pause()
  connected.then(() => stream.resume())
  // Nothing can hold the remote back; it sends no more than was asked for.
  socket.addEventListener('message', ({ data }) => stream.write(new Uint8Array(data)))
  socket.addEventListener('close', ({ wasClean, code }) => {
    if (wasClean) stream.end()
    else stream.destroy(new Error(`The connection broke (${code})`))
  })
  stream.on('end', () => socket.close(1000))
  stream.on('close', () => socket.close(1000))
}

function resumeWhenSent(socket: WebSocket, stream: ProtocolStream): void {
  if (socket.bufferedAmount > HIGH_WATER && socket.readyState === WebSocket.OPEN) {
    setTimeout(resumeWhenSent, PATIENCE, socket, stream)
  } else stream.resume()
}
