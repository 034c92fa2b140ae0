/**
 * From messages to bytes and back (spec WIRE §1 – §7): handshake, cipher or records, frames, encoding. One per stream; it knows
 * channel numbers, but not what the channels are for.
 *
 * Whatever is wrong with the input, or thrown while it is worked on, ends in `host.onfail`: nothing is thrown.
 */
import b4a from 'b4a'
import { capability, remoteCapability, type Split } from '../crypto/capability.ts'
import { type KeyPair, randomBytes } from '../crypto/keys.ts'
import type { Dialect } from '../dialect.ts'
import { DDatabaseError } from '../errors.ts'
import { inNextTurn, TurnBudget, turnIsOver } from '../util/turn.ts'
import { NONCE_SIZE, StreamCipher } from './cipher.ts'
import {
  checkExtension,
  EXTENSION_TYPE,
  FrameDecoder,
  frameSize,
  splitExtension,
  writeFrameHeader
} from './frames.ts'
import { Handshake, type KeyPairSource } from './handshake.ts'
import { Input } from './input.ts'
import type { ReplicationLimits } from './limits.ts'
import type { Loan } from './loans.ts'
import * as messages from './messages.ts'
import type { HandshakeResult } from './noise.ts'
import { Output } from './output.ts'
import { varintSize, writeVarint } from './protobuf.ts'
import { RecordOpener, RecordSealer, recordKey } from './records.ts'

/** What a transport needs to know. */
export interface TransportOptions {
  initiator: boolean
  /** A cipher after the handshake. Without it the handshake still proves who is there. */
  encrypted: boolean
  /** Whether the cipher may be the authenticated one: it is if the other side speaks it, too. Only with `encrypted`. */
  authenticated: boolean
  /** Handshake and capabilities; only off if `encrypted` is off too. */
  noise: boolean
  keyPair: KeyPairSource | null
  dialect: Dialect
  limits: ReplicationLimits
  /** Only to repeat a recorded session: values that are random otherwise. */
  recorded: { nonce?: Uint8Array | undefined; ephemeralKeyPair?: KeyPair | undefined } | undefined
}

/** Receives the decoded messages. `channel` is the number the remote chose. */
export interface MessageSink {
  /** Whether messages on this channel go to somebody: what comes for nobody is not even looked at. */
  receives(channel: number): boolean
  onopen(channel: number, message: messages.OpenMessage): void
  onoptions(channel: number, message: messages.OptionsMessage): void
  onstatus(channel: number, message: messages.StatusMessage): void
  onhave(channel: number, message: messages.HaveMessage): void
  onunhave(channel: number, message: messages.RangeMessage): void
  onwant(channel: number, message: messages.RangeMessage): void
  onunwant(channel: number, message: messages.RangeMessage): void
  onrequest(channel: number, message: messages.RequestMessage): void
  oncancel(channel: number, message: messages.CancelMessage): void
  ondata(channel: number, message: messages.DataMessage): void
  onclose(channel: number, message: messages.CloseMessage): void
  onextension(channel: number, id: number, payload: Uint8Array): void
}

/** Who runs a transport. */
export interface TransportHost {
  readonly sink: MessageSink
  /** Sends bytes; they belong to the receiver from then on. If they were borrowed, the receiver has the loan. */
  push(bytes: Uint8Array, loan: Loan | null): void
  /** Memory for a chunk of so many bytes; null if it could not be used again. */
  borrow(size: number): Loan | null
  /** Whether more may be sent without piling up. */
  accepting(): boolean
  authenticate(remotePublicKey: Uint8Array, done: (error?: unknown) => void): void
  /** The handshake is over. Not called without noise. */
  onhandshake(): void
  /** The other side has said, authenticated, that it sends nothing more. */
  onend(): void
  /** Called at most once; the host destroys the transport then. */
  onfail(error: Error): void
}

// Before the handshake is over messages wait: encoded, but for Opens, whose capability depends on the session.
type Waiting = Uint8Array | { channel: number; key: Uint8Array; discoveryKey: Uint8Array }

// Messages that come in great numbers; after so many the clock is looked at.
const REQUEST = 7
const DATA = 9
const STEPS_PER_LOOK = 4

/** One end of a connection. On a stream it is the property `state`. */
export class Transport {
  /** Static key of this side; null without noise, or until the application has given it. */
  publicKey: Uint8Array | null = null
  /** Static key of the other side; null before the end of the handshake and without noise. */
  remotePublicKey: Uint8Array | null = null
  /** Identifies the session: 64 bytes, the same on both sides; null before the end of the handshake and without noise. */
  handshakeHash: Uint8Array | null = null

  private readonly options: TransportOptions
  private readonly host: TransportHost
  private readonly nonce: Uint8Array
  private handshake: Handshake | null = null
  private waiting: Waiting[] | null = null
  private waitingSize = 0
  private split: Split | null = null
  private remoteEnded = false
  private inputOver = false
  private bytesLeft = 0
  private readonly output: Output
  private readonly decoder: FrameDecoder
  private readonly input: Input
  private consumed: (() => void) | null = null
  private pumping = false
  private pumpingSoon = false
  private steps = 0
  private claimed = false
  private readonly budget: TurnBudget
  private state: 'open' | 'ended' | 'destroyed' = 'open'

  /** @throws TypeError for a key pair that is not one */
  constructor(options: TransportOptions, host: TransportHost) {
    this.options = options
    this.host = host
    this.output = new Output({
      borrow: (size) => host.borrow(size),
      push: (chunk, loan) => this.push(chunk, loan)
    })
    this.decoder = new FrameDecoder(options.limits.frameSize)
    this.input = new Input(this.decoder, () => {
      this.remoteEnded = true
      host.onend()
    })
    this.budget = new TurnBudget(options.limits.framesPerTurn)
    this.nonce = options.recorded?.nonce ?? randomBytes(NONCE_SIZE)
    if (!options.noise) return
    this.waiting = []
    this.handshake = new Handshake(
      {
        initiator: options.initiator,
        keyPair: options.keyPair,
        nonce: this.nonce,
        authenticated: options.authenticated,
        ephemeralKeyPair: options.recorded?.ephemeralKeyPair,
        limits: options.limits
      },
      {
        send: (bytes) => this.push(bytes),
        authenticate: (remotePublicKey, done) => this.host.authenticate(remotePublicKey, done),
        onfinish: (result, remoteNonce, authenticated, trailing) =>
          this.onhandshake(result, remoteNonce, authenticated, trailing),
        onresume: () => this.onresume(),
        onfail: (error) => this.fail(error)
      }
    )
    this.publicKey = this.handshake.publicKey
  }

  /** Whether the handshake is still going on. */
  get handshaking(): boolean {
    return this.handshake !== null
  }

  /** Bytes sent, including those that have not left yet. */
  get bytesSent(): number {
    return this.bytesLeft + this.output.waiting
  }

  /** Whether all that is sent and received after the handshake is authenticated; false before the end of the handshake. */
  get authenticated(): boolean {
    return this.output.sealer !== null
  }

  /**
   * Whether an authenticated connection is over and the other side has not said that this was all: it was cut, by accident
   * or by somebody on the way.
   */
  get truncated(): boolean {
    return this.authenticated && !this.remoteEnded && (this.inputOver || this.state === 'destroyed')
  }

  /** Whether a message has come in part. */
  get midMessage(): boolean {
    return this.input.midMessage
  }

  /** Whether input waits for the next turn of the event loop. */
  get busy(): boolean {
    return this.pumpingSoon
  }

  /** Bytes that wait inside the transport. */
  get queued(): number {
    return this.waitingSize + this.output.waiting
  }

  /** The capability this side sends for a feed; null without noise or before the end of the handshake. */
  capability(key: Uint8Array): Uint8Array | null {
    return this.split === null ? null : capability(key, this.split, this.options.dialect)
  }

  /** The capability the other side has to send for a feed; null without noise or before the end of the handshake. */
  remoteCapability(key: Uint8Array): Uint8Array | null {
    return this.split === null ? null : remoteCapability(key, this.split, this.options.dialect)
  }

  /** Begins the handshake. Input comes after this. */
  start(): void {
    if (this.handshake === null) return
    this.handshake.start()
    if (this.handshake !== null) this.publicKey = this.handshake.publicKey
  }

  /**
   * Takes a chunk of input; `consumed` is called when the next one is welcome, and nothing refers to this one any more. The chunk is
   * not changed.
   */
  recv(chunk: Uint8Array, consumed: () => void): void {
    this.consumed = consumed
    if (this.state === 'destroyed') {
      this.release()
      return
    }
    if (this.handshake !== null) {
      // Still not null afterwards unless the chunk ended the handshake.
      this.handshake.push(chunk)
      if (this.handshake !== null) {
        if (!this.handshake.full) this.release()
        return
      }
    } else this.input.push(chunk)
    this.pump()
  }

  /** Sends a message; false if the output is backed up, or nothing is sent any more. Throws `ERR_MESSAGE_TOO_LARGE`, TypeErrors and RangeErrors. */
  send<S>(channel: number, type: number, codec: messages.MessageCodec<S, unknown>, message: S): boolean {
    if (this.state !== 'open') return false
    const size = this.checkSize(codec.size(message))
    const total = frameSize(channel, type, size)
    if (this.waiting !== null) {
      const frame = b4a.allocUnsafe(total)
      codec.write(message, frame, writeFrameHeader(frame, 0, channel, type, size))
      return this.wait(frame, total)
    }
    const offset = this.output.reserve(total)
    const { bytes } = this.output
    codec.write(message, bytes, writeFrameHeader(bytes, offset, channel, type, size))
    return this.host.accepting()
  }

  /** Sends an Open with the capability for `key`. */
  open(channel: number, key: Uint8Array, discoveryKey: Uint8Array): boolean {
    if (this.state !== 'open') return false
    if (this.waiting !== null) return this.wait({ channel, key, discoveryKey }, 128)
    return this.send(channel, 0, messages.openCodec, { discoveryKey, capability: this.capability(key) })
  }

  /** Sends an extension message. */
  extension(channel: number, id: number, payload: Uint8Array): boolean {
    checkExtension(id, payload)
    if (this.state !== 'open') return false
    const size = this.checkSize(varintSize(id) + payload.length)
    const total = frameSize(channel, EXTENSION_TYPE, size)
    const target = this.waiting === null ? null : b4a.allocUnsafe(total)
    const offset = target === null ? this.output.reserve(total) : 0
    const bytes = target ?? this.output.bytes
    bytes.set(payload, writeVarint(bytes, writeFrameHeader(bytes, offset, channel, EXTENSION_TYPE, size), id))
    return target === null ? this.host.accepting() : this.wait(target, total)
  }

  /** Sends a keepalive; not during the handshake. */
  ping(): boolean {
    if (this.state !== 'open' || this.waiting !== null) return false
    const offset = this.output.reserve(1)
    this.output.bytes[offset] = 0
    return this.host.accepting()
  }

  /** No input comes any more. Answers an error if the last message is not whole. */
  endInput(): DDatabaseError | null {
    this.inputOver = true
    const { midMessage } = this.handshake ?? this.input
    return midMessage ? new DDatabaseError('ERR_STREAM_TRUNCATED') : null
  }

  /** Lets everything that was sent leave, and sends nothing from then on. */
  end(): void {
    if (this.state !== 'open') return
    this.output.flush()
    // Who has gone without a word does not wait for one, and a socket that was ended may refuse it.
    const { sealer } = this.output
    if (sealer !== null && !this.inputOver) this.push(sealer.close())
    if (this.state === 'open') this.state = 'ended'
    this.waiting = null
    this.waitingSize = 0
  }

  /** Stops at once. Chunks that were not worked on are given up. */
  destroy(): void {
    if (this.state === 'destroyed') return
    this.state = 'destroyed'
    if (this.handshake !== null) this.handshake.destroy()
    this.handshake = null
    this.waiting = null
    this.waitingSize = 0
    this.output.destroy()
    this.input.destroy()
    this.release()
  }

  private checkSize(size: number): number {
    if (size > this.options.limits.frameSize) throw new DDatabaseError('ERR_MESSAGE_TOO_LARGE')
    return size
  }

  private push(bytes: Uint8Array, loan: Loan | null = null): void {
    this.bytesLeft += bytes.length
    this.host.push(bytes, loan)
  }

  private wait(item: Waiting, size: number): boolean {
    this.waiting!.push(item)
    this.waitingSize += size
    if (this.waitingSize > this.options.limits.queuedOutput) this.fail(new DDatabaseError('ERR_OUTPUT_LIMIT'))
    return false
  }

  private onhandshake(
    result: HandshakeResult,
    remoteNonce: Uint8Array,
    authenticated: boolean,
    trailing: Uint8Array
  ): void {
    const { split, handshakeHash } = result
    this.handshake = null
    this.split = split
    this.remotePublicKey = result.remotePublicKey
    this.handshakeHash = handshakeHash
    if (authenticated) {
      this.output.sealer = new RecordSealer(recordKey(split.tx, handshakeHash))
      this.input.opener = new RecordOpener(recordKey(split.rx, handshakeHash))
    } else if (this.options.encrypted) {
      this.output.cipher = new StreamCipher(split.tx, this.nonce)
      this.input.cipher = new StreamCipher(split.rx, remoteNonce)
    }
    try {
      // Messages that the application sends here still go to the end of the queue.
      this.host.onhandshake()
      this.sendWaiting()
    } catch (error) {
      this.fail(error)
    }
    if (trailing.length > 0 && this.state !== 'destroyed') this.input.push(trailing)
  }

  private sendWaiting(): void {
    const { waiting } = this
    this.waiting = null
    this.waitingSize = 0
    if (waiting === null || this.state !== 'open') return
    for (const item of waiting) {
      if (!(item instanceof Uint8Array)) this.open(item.channel, item.key, item.discoveryKey)
      else {
        const offset = this.output.reserve(item.length)
        this.output.bytes.set(item, offset)
      }
    }
  }

  // The application answered a question of the handshake.
  private onresume(): void {
    if (this.handshake === null) {
      this.pump()
      return
    }
    this.publicKey = this.handshake.publicKey
    if (!this.handshake.full) this.release()
  }

  private pump(): void {
    if (this.pumping || this.pumpingSoon) return
    this.pumping = true
    const { decoder } = this
    try {
      while (this.state !== 'destroyed') {
        // Sockets and timers get their turn every few milliseconds, also if all that moves here moves in memory.
        if (!this.budget.spend(1) || (++this.steps >= STEPS_PER_LOOK && this.turnIsOver())) {
          this.pumping = false
          this.pumpSoon()
          return
        }
        if (decoder.next()) {
          // Only these come by the thousand and take little each. Any other may set off much, by what others have said and asked for.
          if (decoder.type !== REQUEST && decoder.type !== DATA) this.steps = STEPS_PER_LOOK
          this.dispatch(decoder)
          this.settleLoan()
        } else if (!this.input.refill()) break
      }
    } catch (error) {
      this.fail(error)
    }
    this.pumping = false
    this.release()
  }

  private turnIsOver(): boolean {
    this.steps = 0
    return turnIsOver()
  }

  /**
   * To be asked for while a message is handed over, by who will give its memory back: when nothing refers to any part of the message
   * any more. Null if it is not borrowed.
   */
  claimMemory(): Loan | null {
    const { loan } = this.decoder
    if (loan === null || this.claimed) return null
    this.claimed = true
    loan.lend()
    return loan
  }

  private settleLoan(): void {
    if (!this.claimed) this.decoder.loan?.keep()
    this.claimed = false
  }

  private pumpSoon(): void {
    this.pumpingSoon = true
    inNextTurn(() => {
      this.pumpingSoon = false
      this.pump()
    })
  }

  private dispatch(decoder: FrameDecoder): void {
    const { channel, type, source, start, end } = decoder
    const { sink } = this.host
    const { limits } = this.options
    // Published peers still send what they were about to after a Close, on a number and with a body that are none.
    if (type > 0 && type < 10 && !sink.receives(channel)) return
    switch (type) {
      case 0:
        sink.onopen(channel, messages.openCodec.read(source, limits, start, end))
        break
      case 1:
        sink.onoptions(channel, messages.optionsCodec.read(source, limits, start, end))
        break
      case 2:
        sink.onstatus(channel, messages.statusCodec.read(source, limits, start, end))
        break
      case 3:
        sink.onhave(channel, messages.haveCodec.read(source, limits, start, end))
        break
      case 4:
        sink.onunhave(channel, messages.unhaveCodec.read(source, limits, start, end))
        break
      case 5:
        sink.onwant(channel, messages.wantCodec.read(source, limits, start, end))
        break
      case 6:
        sink.onunwant(channel, messages.unwantCodec.read(source, limits, start, end))
        break
      case 7:
        sink.onrequest(channel, messages.requestCodec.read(source, limits, start, end))
        break
      case 8:
        sink.oncancel(channel, messages.cancelCodec.read(source, limits, start, end))
        break
      case 9:
        sink.ondata(channel, messages.dataCodec.read(source, limits, start, end))
        break
      case 10:
        sink.onclose(channel, messages.closeCodec.read(source, limits, start, end))
        break
      case EXTENSION_TYPE: {
        const { id, payload } = splitExtension(decoder.body)
        sink.onextension(channel, id, payload)
        break
      }
      // 11 to 14 are not in use and ignored.
    }
  }

  private release(): void {
    const { consumed } = this
    this.consumed = null
    if (consumed !== null) consumed()
  }

  private fail(error: unknown): void {
    if (this.state === 'destroyed') return
    const coded = DDatabaseError.is(error)
      ? error
      : new DDatabaseError('ERR_STREAM_HANDLER', { cause: error })
    this.host.onfail(coded)
  }
}
