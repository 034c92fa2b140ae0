import { Duplex } from 'node:stream'
import type { Stream } from '@libp2p/interface'

/**
 * A stream of libp2p as a duplex stream of Node.js, for `swarm.addConnection`. Neither side is read faster than the other one
 * takes it: `for await` over a stream of libp2p, which is shorter, would hold in memory whatever comes.
 */
export function libp2pDuplex(stream: Stream): Duplex {
  let waiting: ((error?: Error) => void) | null = null
  const goOn = (error?: Error): void => {
    const callback = waiting
    waiting = null
    callback?.(error)
  }
  const duplex = new Duplex({
    read() {
      if (stream.readStatus === 'paused') stream.resume()
    },
    write(chunk: Uint8Array, _encoding, callback) {
      let room: boolean
      try {
        room = stream.send(chunk)
      } catch (error) {
        callback(error as Error)
        return
      }
      if (room) callback()
      else waiting = callback
    },
    final(callback) {
      stream.close().then(() => callback(), callback)
    },
    destroy(error, callback) {
      // Does nothing if the stream is over.
      stream.abort(error ?? new Error('The connection was ended'))
      callback(error)
    }
  })
  stream.addEventListener('message', ({ data }) => {
    // Some messages are lists of pieces, which `subarray` joins.
    if (!duplex.push(data.subarray()) && stream.readStatus === 'readable') stream.pause()
  })
  stream.addEventListener('end', () => void duplex.push(null))
  stream.addEventListener('drain', () => goOn())
  stream.addEventListener('close', ({ error }) => {
    goOn(error ?? new Error('The stream is closed'))
    if (error !== undefined) duplex.destroy(error)
  })
  return duplex
}
