import { type Duplex, pipeline } from 'node:stream'
import type { ProtocolStream } from 'ddatabase'
import { SwarmError, type SwarmErrorCode } from './errors.ts'
import type { ConnectionKind } from './options.ts'

/** A duplex stream of bytes, of Node.js or of `streamx`. */
export interface AnyDuplex {
  /** Listens. */
  on(event: 'error', listener: (error: Error) => void): unknown
  /** Sends. */
  write(bytes: Uint8Array): boolean
  /** Ends the sending side. */
  end(): unknown
  /** Ends both sides at once. */
  destroy(error?: Error): unknown
  /** Reads. */
  pipe<Target extends NodeJS.WritableStream>(target: Target): Target
}

/** What is known of a connection when it is made. */
export interface ConnectionFacts {
  kind: ConnectionKind
  address: string | null
  /** Milliseconds that a connection may take to end in good order. */
  closeTimeout: number
}

// Milliseconds that a stream may take to end once it is destroyed. That of an application may never do: it is left to itself then.
const END = 1000

/** A connection to one peer, over which any number of feeds are replicated. */
export class Connection {
  /** What kind it is. */
  readonly kind: ConnectionKind
  /** Where it leads, as `host:port` or as the application says; null if that is not known. */
  readonly address: string | null
  /** The stream that feeds and stream extensions use. */
  readonly stream: ProtocolStream
  /** When it was made, in milliseconds since 1970. */
  readonly since = Date.now()
  /** Resolves when it is over: with the reason, or null if it ended in good order. */
  readonly closed: Promise<Error | null>

  readonly #closeTimeout: number
  readonly #cut: () => void
  #reason: Error | null = null
  #intended = false

  /** Made by the swarm. @internal */
  constructor(duplex: AnyDuplex, stream: ProtocolStream, facts: ConnectionFacts) {
    this.kind = facts.kind
    this.address = facts.address
    this.stream = stream
    this.#closeTimeout = facts.closeTimeout
    // Hyperswarm's streams tell of errors after the pipeline has let go of them.
    duplex.on('error', () => {})
    let failure: Error | null = null
    let remoteEnded = false
    stream.on('finish', () => {
      remoteEnded = true
    })
    stream.on('error', (error) => {
      failure ??= error
      this.#cut()
    })
    const reason = (error: Error | null | undefined): Error | null => {
      if (this.#reason !== null) return this.#reason
      // A WebSocket whose remote has said goodbye cannot take our own goodbye any more.
      const inOrder = stream.authenticated ? !stream.truncated : remoteEnded
      if (inOrder || this.#intended) return null
      return failure ?? error ?? new SwarmError('ERR_CONNECTION_LOST')
    }
    let cut = (): void => {}
    this.closed = new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined
      const over = (error?: Error | null): void => {
        clearTimeout(timer)
        cut = () => {}
        resolve(reason(error))
      }
      cut = () => {
        timer ??= setTimeout(() => {
          duplex.destroy()
          over()
        }, END)
      }
      const node = duplex as Duplex
      pipeline(node, stream as unknown as Duplex, node, over)
    })
    this.#cut = () => cut()
  }

  /** Whether this side sent the first message of the handshake. */
  get initiator(): boolean {
    return this.stream.initiator
  }

  /** X25519 key of the peer, proven by the handshake. All zeros before the swarm has told of the connection. */
  get remotePublicKey(): Uint8Array {
    return this.stream.remotePublicKey ?? new Uint8Array(32)
  }

  /** Bytes that were sent. */
  get bytesSent(): number {
    return this.stream.bytesSent
  }

  /** Bytes that were received. */
  get bytesReceived(): number {
    return this.stream.bytesReceived
  }

  /** Whether it is about to end because this side wants it to. */
  get intended(): boolean {
    return this.#intended
  }

  /** Ends the connection when what was sent has left; the address is not dialled again. */
  async close(): Promise<void> {
    this.#intended = true
    this.stream.finalize()
    const timer = setTimeout(() => {
      this.stream.destroy()
      this.#cut()
    }, this.#closeTimeout)
    await this.closed
    clearTimeout(timer)
  }

  /** Ends the connection at once. */
  destroy(reason: Error | null = null): void {
    if (reason === null) this.#intended = true
    else this.#reason ??= reason
    this.stream.destroy(reason)
    this.#cut()
  }

  /** Ends the connection at once, because of a peer or an address. @internal */
  refuse(code: SwarmErrorCode): SwarmError {
    const error = new SwarmError(code)
    this.destroy(error)
    return error
  }
}
