/** A connection that stalls, so that there is time to end what waits for it, however fast or slow the machine is. */
import net from 'node:net'
import type { Test } from 'tape'

const HOST = '127.0.0.1'

/** Passes on the first `bytes` of what comes from a port, then nothing more. Answers the port where it listens. */
export async function halfway(t: Test, port: string | number, bytes: number): Promise<string> {
  const server = net.createServer((socket) => {
    const inner = net.connect(Number(port), HOST)
    let left = bytes
    const close = (): void => {
      socket.destroy()
      inner.destroy()
    }
    for (const end of [socket, inner]) end.on('error', () => {}).on('close', close)
    t.teardown(close)
    socket.pipe(inner)
    inner.on('data', (chunk) => {
      if (left > 0) socket.write(chunk.subarray(0, left))
      left -= chunk.byteLength
    })
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  t.teardown(() => server.close())
  return String((server.address() as net.AddressInfo).port)
}
