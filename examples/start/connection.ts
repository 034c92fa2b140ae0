import net from 'node:net'
import { pipeline } from 'node:stream'
import type { Feed, Peer, ProtocolStream, TransferStats } from '../../src/index.ts'
import { DDatabaseError } from '../../src/index.ts'
import { Failure, interrupted } from './failure.ts'
import { HOST } from './server.ts'

/** What has come over a connection so far. */
export interface Travelled {
  blocks: number
  /** Bytes of the blocks. */
  bytes: number
  /** Nodes of proofs: a hash and a size each. */
  nodes: number
  signatures: number
  /** Bytes of everything, as they came out of the socket. */
  received: number
}

/** A connection to somebody who serves the feed. */
export class Connection {
  readonly port: number
  /** Rejects when the connection breaks, or Ctrl-C is pressed. Never resolves. */
  readonly #broken: Promise<never>
  readonly #feed: Feed
  readonly #stream: ProtocolStream
  readonly #ended: Promise<void>
  #nodes = 0
  #signatures = 0
  #stats: TransferStats | null = null
  #ending = false

  private constructor(feed: Feed, port: number, signal: AbortSignal) {
    this.#feed = feed
    this.port = port
    const socket = net.connect(port, HOST)
    let opened = false
    feed.on('peer-add', (peer: Peer) => this.#watch(peer))
    this.#stream = feed.replicate(true, { live: true })
    let fail: (error: Failure) => void = () => {}
    this.#broken = new Promise((_, reject) => {
      fail = reject
    })
    // Whoever waits for something else meanwhile is told by `during`.
    this.#broken.catch(() => {})
    signal.addEventListener('abort', () => fail(interrupted()))
    feed.on('peer-open', () => {
      opened = true
    })
    feed.on('peer-remove', () => {
      // The connection stands, but this feed was refused.
      if (!this.#stream.destroying) fail(opened ? lost() : unknownKey(port))
    })
    this.#ended = new Promise((resolve) => {
      pipeline(socket, this.#stream, socket, (error) => {
        if (!this.#ending) fail(opened ? lost(error) : notReached(port, error))
        resolve()
      })
    })
  }

  /** Connects and waits until the other side has opened the feed, too. Fails with exit codes 5 and 130. */
  static async open(feed: Feed, port: number, signal: AbortSignal): Promise<Connection> {
    const opened = new Promise<void>((resolve) => feed.once('peer-open', () => resolve()))
    const connection = new Connection(feed, port, signal)
    try {
      if (signal.aborted) throw interrupted()
      await connection.during(opened)
      return connection
    } catch (error) {
      await connection.end(true)
      throw error
    }
  }

  /** Waits for something that needs the connection. Fails with exit codes 5 and 130. */
  during<T>(work: Promise<T>): Promise<T> {
    return Promise.race([this.#broken, work])
  }

  /** What has come so far. */
  get travelled(): Travelled {
    // The totals of the feed: its only peer is this one.
    const { downloadedBlocks, downloadedBytes } = this.#feed.stats!.totals
    return {
      blocks: downloadedBlocks,
      bytes: downloadedBytes,
      nodes: this.#nodes,
      signatures: this.#signatures,
      received: this.#stream.bytesReceived
    }
  }

  /** Bytes that were sent to the other side. */
  get sent(): number {
    return this.#stream.bytesSent
  }

  /** Blocks and bytes of blocks in both directions. */
  get stats(): TransferStats {
    return this.#stats!
  }

  /** Ends the connection: in good order, or `atOnce`. */
  async end(atOnce = false): Promise<void> {
    this.#ending = true
    if (atOnce) this.#stream.destroy()
    else this.#stream.finalize()
    await this.#ended
  }

  #watch(peer: Peer): void {
    this.#stats = peer.stats
    const { ondata } = peer
    peer.ondata = (message) => {
      this.#nodes += message.nodes.length
      if (message.signature !== null) this.#signatures++
      ondata.call(peer, message)
    }
  }
}

function unknownKey(port: number): Failure {
  return new Failure('connection', `What is served on port ${port} is not the feed with this key.`)
}

function lost(error?: Error | null): Failure {
  const reason = error ? ` (${reasonOf(error)})` : ''
  return new Failure(
    'connection',
    `The other side went away${reason}. A kept clone is whole, and the next run fetches only what it lacks.`,
    error
  )
}

function notReached(port: number, error?: Error | null): Failure {
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  if (code === 'ECONNREFUSED') return new Failure('connection', `Nothing is served on port ${port}.`, error)
  const reason = error ? reasonOf(error) : 'it ended the connection'
  return new Failure(
    'connection',
    `What is on port ${port} does not serve a feed, or not yet: ${reason}.`,
    error
  )
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'EPIPE') {
    return 'the connection broke'
  }
  return DDatabaseError.is(error) ? `${error.message}, ${error.code}` : error.message
}
