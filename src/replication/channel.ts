/** A channel (spec WIRE §8, API §8.2): one feed on one stream. */
import b4a from 'b4a'
import { argumentTypeError } from '../errors.ts'
import { checkExtension } from './frames.ts'
import * as messages from './messages.ts'
import type { ProtocolStream } from './stream.ts'
import type { Transport } from './transport.ts'

/** Takes what arrives on a channel. All are called with `this` being the handlers. */
export interface ChannelHandlers {
  /**
   * Both sides have opened the channel. Called once (again only if the remote opens it once more), before any message: as soon as the remote's Open arrives, or, if it was
   * here before ours, after `stream.open` has returned (in a microtask, or at the end of the discovery key event).
   */
  onopen?(): void
  /** The remote tells its extensions, and whether it wants acknowledgements. */
  onoptions?(message: messages.OptionsMessage): void
  /** The remote tells whether it uploads and downloads. */
  onstatus?(message: messages.StatusMessage): void
  /** The remote has blocks. */
  onhave?(message: messages.HaveMessage): void
  /** The remote has blocks no more. */
  onunhave?(message: messages.RangeMessage): void
  /** The remote wants to hear which blocks of a range are here. */
  onwant?(message: messages.RangeMessage): void
  /** The remote does not want to hear of a range any more. */
  onunwant?(message: messages.RangeMessage): void
  /** The remote asks for a block, or for a hash. */
  onrequest?(message: messages.RequestMessage): void
  /** The remote takes a request back. */
  oncancel?(message: messages.CancelMessage): void
  /** A block, or a hash, with its proof. Nothing of it is checked yet. */
  ondata?(message: messages.DataMessage): void
  /** A message of the extension at position `id` of the remote's list. */
  onextension?(id: number, message: Uint8Array): void
  /** The output was backed up and may be written to again. */
  ondrain?(): void
  /** The channel is closed: by either side, or with the stream. Called once. */
  onclose?(): void
}

/** One feed on one stream. The methods that send return false if the output is backed up or the channel is closed. */
export class Channel {
  /** Public key of the feed; null while only the remote has opened it. */
  key: Uint8Array | null = null
  /** Discovery key of the feed. */
  readonly discoveryKey: Uint8Array
  /** Number this side has chosen; −1 if it has not opened the channel, or closed it. */
  localId = -1
  /** Number the remote has chosen; −1 if it has not opened the channel, or it is closed. */
  remoteId = -1
  /** Capability that came with the remote's Open. */
  remoteCapability: Uint8Array | null = null
  /** What takes the messages. */
  handlers: ChannelHandlers | null = null
  /** The stream it is on. */
  readonly stream: ProtocolStream
  /** Whether `onopen` is still to be called though both sides have opened; see `ChannelTable`. */
  openPending = false
  /** How often the remote opened it once more while it was open. */
  reopened = 0
  /** Whether the remote, which alone has opened it, was told that the feed is not to be had. */
  refused = false

  /** Made by `stream.open` and by the remote's Open. */
  constructor(stream: ProtocolStream, discoveryKey: Uint8Array) {
    this.stream = stream
    this.discoveryKey = discoveryKey
  }

  /** The stream's transport. */
  get state(): Transport {
    return this.stream.state
  }

  /** Whether this side has opened it. */
  get opened(): boolean {
    return this.localId > -1
  }

  /** Whether this side has not opened it, or it is closed. */
  get closed(): boolean {
    return this.localId === -1
  }

  /** Whether the remote has opened it. */
  get remoteOpened(): boolean {
    return this.remoteId > -1
  }

  /** Whether both have opened it and the remote's capability is right. False without noise. */
  get remoteVerified(): boolean {
    return this.localId > -1 && this.remoteId > -1 && this.verifies(this.key!)
  }

  /** Whether the remote's capability is the one for `key`. */
  verifies(key: Uint8Array): boolean {
    const expected = this.state.remoteCapability(key)
    return expected !== null && this.remoteCapability !== null && b4a.equals(expected, this.remoteCapability)
  }

  /** Announces extensions and the wish for acknowledgements. */
  options(message: messages.SentOptions): boolean {
    return this.send(1, messages.optionsCodec, message)
  }

  /** Tells what this side does. */
  status(message: messages.SentStatus): boolean {
    return this.send(2, messages.statusCodec, message)
  }

  /** Announces blocks. */
  have(message: messages.SentHave): boolean {
    return this.send(3, messages.haveCodec, message)
  }

  /** Takes announced blocks back. */
  unhave(message: messages.SentRange): boolean {
    return this.send(4, messages.unhaveCodec, message)
  }

  /** Asks to be told about blocks. */
  want(message: messages.SentRange): boolean {
    return this.send(5, messages.wantCodec, message)
  }

  /** Takes a want back. */
  unwant(message: messages.SentRange): boolean {
    return this.send(6, messages.unwantCodec, message)
  }

  /** Asks for a block. */
  request(message: messages.SentRequest): boolean {
    return this.send(7, messages.requestCodec, message)
  }

  /** Takes a request back. */
  cancel(message: messages.SentCancel): boolean {
    return this.send(8, messages.cancelCodec, message)
  }

  /** Sends a block. The value is copied before this returns. Throws `ERR_MESSAGE_TOO_LARGE` if it does not fit into a frame. */
  data(message: messages.SentData): boolean {
    return this.send(9, messages.dataCodec, message)
  }

  /**
   * Sends a message of the extension at position `id` of the announced list.
   * @throws TypeError, RangeError for what is no such number, or no bytes that are still there; then nothing is sent
   */
  extension(id: number, message: Uint8Array): boolean {
    checkExtension(id, message)
    return this.localId > -1 && this.state.extension(this.localId, id, message)
  }

  /** Closes the channel; the stream ends with its last one unless it is live. */
  close(): void {
    this.stream.channelTable.close(this)
  }

  /** Destroys the whole stream. */
  destroy(error?: Error | null): void {
    this.stream.destroy(error)
  }

  private send<S>(type: number, codec: messages.MessageCodec<S, unknown>, message: S): boolean {
    if (this.localId === -1) return false
    if (typeof message !== 'object' || message === null) throw argumentTypeError('message must be an object')
    return this.state.send(this.localId, type, codec, message)
  }
}
