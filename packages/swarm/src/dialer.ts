import type { Address } from './address.ts'
import type { AnyDuplex, Connection } from './connection.ts'
import { SwarmError } from './errors.ts'
import type { ConnectOptions, Delays } from './options.ts'
import { dial } from './sockets.ts'
import { about, untilAborted } from './timing.ts'

/** What a dialler needs of the swarm. */
export interface DialerHost {
  readonly connectTimeout: number
  readonly delays: Delays
  /** Takes a connection on, handshake included. */
  take(duplex: AnyDuplex, address: Address): Promise<Connection>
  /** This connection, or if it is over another one to the same peer; null if there is none. */
  present(connection: Connection): Connection | null
  /** An attempt in the background failed; another one follows. */
  warn(error: SwarmError): void
  /** It is over. */
  ended(): void
}

// A connection that lasted so long had been a good one.
const GOOD = 10_000

/** Keeps the swarm connected to one address. */
export class Dialer {
  /** Resolves with the first connection. */
  readonly first: Promise<Connection>
  readonly #address: Address
  readonly #host: DialerHost
  readonly #reconnect: NonNullable<ConnectOptions['reconnect']>
  readonly #stop = new AbortController()
  // The last one, which may be lost.
  #connection: Connection | null = null
  readonly #waiting = new Set<{ resolve(connection: Connection): void; reject(reason: unknown): void }>()
  #failures = 0

  /** Begins at once. */
  constructor(address: Address, options: ConnectOptions, host: DialerHost) {
    this.#address = address
    this.#host = host
    this.#reconnect = options.reconnect ?? 'lost'
    const { signal } = options
    const onabort = (): void => this.#end(signal?.reason)
    signal?.addEventListener('abort', onabort, { once: true })
    this.#stop.signal.addEventListener('abort', () => signal?.removeEventListener('abort', onabort))
    this.first = this.#begin()
    this.first.then(
      (connection) => this.#keep(connection),
      (error) => this.#end(error)
    )
  }

  /** Whether the connection was the last one: it is ending because this side wants it to, or lost and not to be made anew. */
  get over(): boolean {
    if (this.#connection === null) return false
    return (
      this.#connection.intended ||
      (this.#reconnect === 'never' && this.#host.present(this.#connection) === null)
    )
  }

  /**
   * Resolves with the connection that there is, or with another one to the same peer; if there is none with the next one. Rejects when
   * nothing is dialled any more, or with the reason of the signal.
   */
  async current(signal: AbortSignal | undefined): Promise<Connection> {
    if (this.#stopped) throw this.#stop.signal.reason
    const present = this.#connection === null ? null : this.#host.present(this.#connection)
    if (present !== null) return present
    let forget = (): void => {}
    const next = new Promise<Connection>((resolve, reject) => {
      const waiting = { resolve, reject }
      this.#waiting.add(waiting)
      forget = () => this.#waiting.delete(waiting)
    })
    try {
      return await untilAborted(next, signal)
    } finally {
      // The peer may stay away for days, and be asked for all the time.
      forget()
    }
  }

  /** The swarm is connected to a peer: who waits for it does not have to wait any longer. */
  connected(connection: Connection): void {
    const { initiator, address } = connection
    // Before the attempt is known to have succeeded: it may be ended at once.
    if (initiator && address === this.#address.text) this.#connection = connection
    if (this.#connection === null || this.#host.present(this.#connection) !== connection) return
    this.#tellWaiting(connection)
  }

  /** Ends the connection; nothing is dialled any more. */
  async close(reason: Error = new SwarmError('ERR_SWARM_CLOSED')): Promise<void> {
    this.#end(reason)
    await this.#connection?.close()
  }

  /** Nothing is dialled any more. */
  end(): void {
    this.#end(new SwarmError('ERR_SWARM_CLOSED'))
  }

  #end(reason?: unknown): void {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(reason)
    for (const { reject } of this.#waiting) reject(this.#stop.signal.reason)
    this.#waiting.clear()
    this.#host.ended()
  }

  #tellWaiting(connection: Connection): void {
    for (const { resolve } of this.#waiting) resolve(connection)
    this.#waiting.clear()
  }

  async #begin(): Promise<Connection> {
    if (this.#reconnect !== 'always') return this.#dial()
    const connection = await this.#dialUntilConnected()
    if (connection === null) throw this.#stop.signal.reason
    return connection
  }

  async #keep(first: Connection): Promise<void> {
    let connection: Connection | null = first
    while (connection !== null) {
      this.#connection = connection
      this.#tellWaiting(connection)
      await connection.closed
      if (connection.intended || this.#reconnect === 'never') break
      if (Date.now() - connection.since > GOOD) this.#failures = 0
      // Another connection to the same peer may have taken its place.
      do await this.#pause()
      while (!this.#stopped && this.#host.present(connection) !== null)
      connection = await this.#dialUntilConnected()
    }
    this.#end(new SwarmError('ERR_CONNECTION_LOST', { about: this.#address.text }))
  }

  async #dialUntilConnected(): Promise<Connection | null> {
    while (!this.#stopped) {
      try {
        return await this.#dial()
      } catch (error) {
        if (this.#stopped) break
        this.#host.warn(error as SwarmError)
        // The address will not become somebody else's.
        if ((error as SwarmError).code === 'ERR_SELF') this.#end(error)
      }
      await this.#pause()
    }
    return null
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted
  }

  async #dial(): Promise<Connection> {
    const attempt = new AbortController()
    const timeout = new SwarmError('ERR_CONNECT_TIMEOUT', { about: this.#address.text })
    const giveUp = (): void => attempt.abort(this.#stop.signal.reason)
    this.#stop.signal.addEventListener('abort', giveUp, { once: true })
    const timer = setTimeout(() => attempt.abort(timeout), this.#host.connectTimeout)
    try {
      if (this.#stopped) throw this.#stop.signal.reason
      const duplex = await dial(this.#address, attempt.signal)
      const cut = (): unknown => duplex.destroy()
      attempt.signal.addEventListener('abort', cut, { once: true })
      try {
        return await this.#host.take(duplex, this.#address)
      } catch (error) {
        throw attempt.signal.aborted ? attempt.signal.reason : error
      } finally {
        attempt.signal.removeEventListener('abort', cut)
      }
    } finally {
      clearTimeout(timer)
      this.#stop.signal.removeEventListener('abort', giveUp)
    }
  }

  async #pause(): Promise<void> {
    const { min, max } = this.#host.delays
    const delay = about(Math.min(max, min * 2 ** Math.min(20, this.#failures++)))
    const { signal } = this.#stop
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      const over = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', over)
        resolve()
      }
      const timer = setTimeout(over, delay)
      signal.addEventListener('abort', over)
    })
  }
}
