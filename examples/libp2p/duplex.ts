import { Duplex } from 'node:stream'

/** What is used of a stream of libp2p 3 (`Stream` of `@libp2p/interface`). */
export interface Libp2pStream extends AsyncIterable<{ subarray(): Uint8Array }> {
  /** Sends; false if the caller should wait for `onDrain` before more. */
  send(bytes: Uint8Array): boolean
  /** Resolves when more can be sent. */
  onDrain(): Promise<void>
  /** Ends the sending side. */
  close(): Promise<void>
  /** Ends both sides at once. */
  abort(error: Error): void
}

/** A stream of libp2p as a duplex stream of Node.js, for `swarm.addConnection`. */
export function libp2pDuplex(stream: Libp2pStream): Duplex {
  const received = stream[Symbol.asyncIterator]()
  let over = false

  async function pull(duplex: Duplex): Promise<void> {
    let wanted = true
    while (wanted) {
      const { done, value } = await received.next()
      over = done === true
      // Some chunks are lists of pieces, which `subarray` joins.
      wanted = duplex.push(over ? null : value.subarray()) && !over
    }
  }

  return new Duplex({
    read() {
      pull(this).catch((error) => this.destroy(error))
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
      else stream.onDrain().then(() => callback(), callback)
    },
    final(callback) {
      stream.close().then(() => callback(), callback)
    },
    destroy(error, callback) {
      if (error !== null || !over) stream.abort(error ?? new Error('The connection was ended'))
      callback(error)
    }
  })
}
