/**
 * Moves the messages of the handshake (spec WIRE §2): each is framed as varint(length) ‖ message, arrives in chunks of
 * any size, and what follows the last one already belongs to the next layer. In between the application is asked for
 * the key pair and whether the remote's static key is welcome; meanwhile input is buffered up to a limit.
 */
import b4a from 'b4a'
import { KEY_SIZE, type KeyPair, noiseKeyPair } from '../crypto/keys.ts'
import { argumentTypeError, DDatabaseError } from '../errors.ts'
import { GrowingBuffer } from './growing-buffer.ts'
import { type HandshakePayload, handshakePayloadCodec } from './handshake-payload.ts'
import type { ReplicationLimits } from './limits.ts'
import { type HandshakeResult, NoiseHandshake, SECOND_MESSAGE_SIZE } from './noise.ts'
import { varintSize, writeVarint } from './protobuf.ts'
import { RECORD_TRANSPORT } from './records.ts'
import { Timer } from './timer.ts'

// Noise messages have at most 65535 bytes, three groups of 7 bits.
const LENGTH_SIZE = 3

/** An X25519 pair, or a function that gets one. */
export type KeyPairSource = KeyPair | ((callback: (error: unknown, keyPair?: KeyPair | null) => void) => void)

/** What a handshake needs to know. */
export interface HandshakeOptions {
  initiator: boolean
  /** Static pair; a fresh one if null. */
  keyPair: KeyPairSource | null
  /** Nonce of the own key stream, 24 bytes. */
  nonce: Uint8Array
  /** Whether the authenticated transport is offered, or chosen where it is offered. */
  authenticated: boolean
  /** Only to repeat a recorded handshake. */
  ephemeralKeyPair?: KeyPair | undefined
  limits: ReplicationLimits
}

/** Who runs a handshake. */
export interface HandshakeHost {
  /** Sends framed bytes. */
  send(bytes: Uint8Array): void
  /** Asks whether `remotePublicKey` is welcome; an error in the answer, or an exception, refuses it. */
  authenticate(remotePublicKey: Uint8Array, done: (error?: unknown) => void): void
  /** All went well. `authenticated` is what was agreed on; `trailing` are the bytes behind the last message. */
  onfinish(
    result: HandshakeResult,
    remoteNonce: Uint8Array,
    authenticated: boolean,
    trailing: Uint8Array
  ): void
  /** The application has answered later than at once: `full` may have changed. */
  onresume(): void
  /** It failed. Nothing else is called from then on. */
  onfail(error: DDatabaseError): void
}

/** One side of a handshake with its input and output. */
export class Handshake {
  /** Static key of this side; null until the application has given it. */
  publicKey: Uint8Array | null = null

  private state: 'keys' | 'exchange' | 'asking' | 'over' = 'keys'
  private noise: NoiseHandshake | null = null
  private readonly options: HandshakeOptions
  private readonly host: HandshakeHost
  private remotePayload: Uint8Array | null = null
  private readonly input = new GrowingBuffer()
  private offset = 0
  private started = false
  private timer: Timer | null = null

  /** @throws TypeError for a key pair that is not one */
  constructor(options: HandshakeOptions, host: HandshakeHost) {
    this.options = options
    this.host = host
    if (typeof options.keyPair !== 'function') this.useKeyPair(options.keyPair)
  }

  /** Whether no more input should be handed over until `onresume`. */
  get full(): boolean {
    return (
      (this.state === 'keys' || this.state === 'asking') &&
      this.input.length - this.offset > this.options.limits.handshakeSize
    )
  }

  /** Whether the input stands in the middle of a message. */
  get midMessage(): boolean {
    return this.state === 'exchange' && this.input.length > this.offset
  }

  /** Asks for the key pair if need be; the initiator sends its first message. */
  start(): void {
    this.started = true
    const { keyPair } = this.options
    if (typeof keyPair !== 'function') {
      this.begin()
      return
    }
    this.ask<KeyPair>(
      (answer) => keyPair((error, pair) => answer(error, pair)),
      (error, pair) => {
        if (error) throw error
        this.useKeyPair(pair ?? null)
        this.begin()
        this.advance()
      },
      'ERR_KEY_PAIR'
    )
  }

  /** Takes input. */
  push(chunk: Uint8Array): void {
    if (this.state === 'over') return
    this.input.append(chunk)
    if (this.timer === null && this.state === 'exchange') this.startTimer()
    this.advance()
  }

  /** Gives up; nothing is called on the host any more. */
  destroy(): void {
    this.state = 'over'
    this.noise?.destroy()
    this.stopTimer()
  }

  private useKeyPair(keyPair: KeyPair | null): void {
    const pair = keyPair ?? noiseKeyPair()
    if (pair.publicKey?.byteLength !== KEY_SIZE || pair.secretKey?.byteLength !== KEY_SIZE) {
      throw argumentTypeError('keyPair must have a publicKey and a secretKey of 32 bytes')
    }
    this.publicKey = pair.publicKey
    this.noise = new NoiseHandshake(this.options.initiator, pair, this.options.ephemeralKeyPair)
  }

  private begin(): void {
    this.state = 'exchange'
    if (this.options.initiator) this.sendMessage(false)
    if (this.input.length > 0) this.startTimer()
  }

  /**
   * The next message of this side, which names the authenticated transport or not; false if that failed, because the remote's
   * key is a point of low order.
   */
  private sendMessage(authenticated: boolean): boolean {
    const content = { nonce: this.options.nonce, transports: authenticated ? [RECORD_TRANSPORT] : [] }
    const payload = b4a.allocUnsafe(handshakePayloadCodec.size(content))
    handshakePayloadCodec.write(content, payload, 0)
    let message: Uint8Array
    try {
      message = this.noise!.send(payload)
    } catch (cause) {
      this.fail('ERR_HANDSHAKE', cause)
      return false
    }
    const framed = b4a.allocUnsafe(varintSize(message.byteLength) + message.byteLength)
    framed.set(message, writeVarint(framed, 0, message.byteLength))
    this.host.send(framed)
    return true
  }

  private advance(): void {
    while (this.state === 'exchange' && this.started) {
      const message = this.takeMessage()
      if (message === null) return
      this.receive(message)
    }
  }

  private takeMessage(): Uint8Array | null {
    const bytes = this.input.view(this.offset)
    let length = 0
    for (let i = 0; i < LENGTH_SIZE; i++) {
      const byte = bytes[i]
      if (byte === undefined) return null
      length += (byte & 127) * 128 ** i
      if (byte >= 128) continue
      if (length > this.options.limits.handshakeSize) break
      const start = i + 1
      if (bytes.byteLength - start < length) return null
      this.offset += start + length
      return bytes.subarray(start, start + length)
    }
    this.fail('ERR_HANDSHAKE_SIZE')
    return null
  }

  private receive(message: Uint8Array): void {
    const noise = this.noise!
    let payload: Uint8Array
    try {
      payload = noise.recv(message)
    } catch (cause) {
      // Both ends being initiators is a common mistake: each then takes the other's first message for the second.
      const roles = this.options.initiator && message.byteLength < SECOND_MESSAGE_SIZE
      this.fail(roles ? 'ERR_HANDSHAKE_ROLES' : 'ERR_HANDSHAKE', cause)
      return
    }
    if (payload.byteLength > 0) this.remotePayload = payload
    const { remotePublicKey } = noise
    if (remotePublicKey === null) {
      this.sendMessage(this.options.authenticated)
      return
    }
    this.ask(
      (answer) => this.host.authenticate(b4a.from(remotePublicKey), answer),
      (error) => {
        if (error) throw error
        this.state = 'exchange'
        const remote = this.readPayload()
        if (remote === null) return
        const authenticated = this.options.authenticated && remote.transports.includes(RECORD_TRANSPORT)
        if (this.options.initiator) {
          if (this.sendMessage(authenticated)) this.finish(remote, authenticated)
          return
        }
        // The initiator chooses among what it was offered.
        if (remote.transports.length > (authenticated ? 1 : 0)) this.fail('ERR_HANDSHAKE_PAYLOAD')
        else this.finish(remote, authenticated)
      },
      'ERR_AUTHENTICATION_REFUSED'
    )
  }

  private readPayload(): HandshakePayload | null {
    if (this.remotePayload === null) {
      this.fail('ERR_HANDSHAKE_PAYLOAD_MISSING')
      return null
    }
    try {
      return handshakePayloadCodec.read(this.remotePayload, this.options.limits)
    } catch (cause) {
      this.fail('ERR_HANDSHAKE_PAYLOAD', cause)
      return null
    }
  }

  private finish(remote: HandshakePayload, authenticated: boolean): void {
    this.stopTimer()
    this.state = 'over'
    this.host.onfinish(this.noise!.result!, remote.nonce, authenticated, this.input.view(this.offset))
  }

  /**
   * Asks the application and goes on with `next` when it answers, the first time. The time it takes is not counted.
   * Exceptions of `question` and `next`, up to where the handshake is over, fail the handshake with `code`.
   */
  private ask<T>(
    question: (answer: (error?: unknown, value?: T | null) => void) => void,
    next: (error: unknown, value: T | null | undefined) => void,
    code: 'ERR_KEY_PAIR' | 'ERR_AUTHENTICATION_REFUSED'
  ): void {
    this.stopTimer()
    if (this.state === 'exchange') this.state = 'asking'
    let answered = false
    let synchronous = true
    const answer = (error?: unknown, value?: T | null) => {
      if (answered || this.state === 'over') return
      answered = true
      try {
        next(error, value)
      } catch (cause) {
        this.fail(code, cause)
      }
      if (!synchronous) this.host.onresume()
    }
    try {
      question(answer)
    } catch (cause) {
      answered = true
      this.fail(code, cause)
    }
    synchronous = false
  }

  private startTimer(): void {
    const { handshakeTime } = this.options.limits
    if (handshakeTime === Number.POSITIVE_INFINITY) return
    this.timer = new Timer(handshakeTime, () => this.fail('ERR_HANDSHAKE_TIMEOUT'))
  }

  private stopTimer(): void {
    if (this.timer !== null) this.timer.destroy()
    this.timer = null
  }

  private fail(code: DDatabaseError['code'], cause?: unknown): void {
    if (this.state === 'over') return
    this.destroy()
    this.host.onfail(new DDatabaseError(code, { cause }))
  }
}
