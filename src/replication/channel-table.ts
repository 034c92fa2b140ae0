/**
 * The channels of one stream (spec WIRE §8): which feeds are open on which numbers, and what a remote's Open and Close do.
 *
 * A feed has one state per stream, found by its discovery key; it exists while either side has opened it. Each side
 * numbers the feeds it opens itself, from 1 up, and never uses a number twice.
 */
import b4a from 'b4a'
import { KEY_SIZE } from '../crypto/keys.ts'
import { argumentTypeError, DDatabaseError } from '../errors.ts'
import { Channel, type ChannelHandlers } from './channel.ts'
import * as messages from './messages.ts'
import type { ProtocolStream } from './stream.ts'
import type { MessageSink } from './transport.ts'

const CLOSE = 10

// Times that a remote may open one feed again while it is open.
const MAX_REOPENED = 16

/** All channels of a stream. */
export class ChannelTable implements MessageSink {
  private readonly stream: ProtocolStream
  private readonly byDiscoveryKey = new Map<string, Channel>()
  private readonly byRemoteId = new Map<number, Channel>()
  // Feeds that this side is about to open, by discovery key, and for how many that are doing so.
  private readonly expected = new Map<string, number>()
  private lastLocalId = 0
  // How many only the remote has opened.
  private pending = 0

  /** @param stream - the stream they are on */
  constructor(stream: ProtocolStream) {
    this.stream = stream
  }

  /** Number of feeds that either side has opened. */
  get size(): number {
    return this.byDiscoveryKey.size
  }

  /** The feeds that either side has opened. */
  values(): IterableIterator<Channel> {
    return this.byDiscoveryKey.values()
  }

  /** The state of a feed, or null. */
  get(discoveryKey: Uint8Array): Channel | null {
    return this.byDiscoveryKey.get(b4a.toString(discoveryKey, 'hex')) ?? null
  }

  /** Opens a feed; see `ProtocolStream.open`. */
  open(key: Uint8Array, discoveryKey: Uint8Array, handlers: ChannelHandlers | undefined): Channel {
    if (this.stream.destroying) return this.closedChannel(key, discoveryKey, handlers)
    let known = this.get(discoveryKey)
    if (known !== null && known.localId === -1 && this.stream.noise && !known.verifies(key)) {
      // The remote does not know the key. It is told no more than that the feed is not to be had.
      this.refuse(discoveryKey)
      return this.closedChannel(key, discoveryKey, handlers)
    }
    if (known?.refused) {
      this.byDiscoveryKey.delete(b4a.toString(discoveryKey, 'hex'))
      known = null
    }
    const channel = known ?? this.create(discoveryKey)
    if (handlers !== undefined) channel.handlers = handlers
    if (channel.localId > -1) return channel
    if (known !== null) this.pending--
    channel.key = key
    channel.localId = ++this.lastLocalId
    this.stream.state.open(channel.localId, key, discoveryKey)
    if (channel.remoteId > -1) {
      channel.openPending = true
      queueMicrotask(() => this.stream.guarded(() => this.runOpen(channel)))
      this.stream.emit('duplex-channel', channel)
    }
    return channel
  }

  /**
   * This side is about to open a feed, as soon as its files are open: until `done` is called nobody is asked whether it is wanted, and
   * after that only if it was not opened.
   */
  expect(discoveryKey: Uint8Array): () => void {
    const name = b4a.toString(discoveryKey, 'hex')
    this.expected.set(name, (this.expected.get(name) ?? 0) + 1)
    return () => {
      const others = this.expected.get(name)! - 1
      if (others > 0) this.expected.set(name, others)
      else this.expected.delete(name)
      const channel = this.get(discoveryKey)
      if (others > 0 || channel === null || this.stream.destroying) return
      if (channel.localId === -1 && channel.remoteId > -1 && !channel.refused) {
        this.stream.guarded(() => this.tellOf(channel))
      }
    }
  }

  /** Closes a channel that this side has opened. */
  close(channel: Channel): void {
    if (channel.localId === -1) return
    const { localId } = channel
    this.forget(channel)
    channel.localId = -1
    channel.handlers?.onclose?.()
    this.stream.state.send(localId, CLOSE, messages.closeCodec, {})
    this.stream.channelClosed()
  }

  /**
   * Tells the remote that a feed is not to be had. This uses up a number.
   *
   * The remote answers with a Close of the channel that it had opened. Where this side has changed its mind before that answer is here,
   * the answer must not close the channel that was opened since: both sides would open and close the feed in turns, for ever. So what
   * was refused stays a channel by itself, which only its number leads to, until the remote has closed it.
   */
  refuse(discoveryKey: Uint8Array): void {
    const channel = this.get(discoveryKey)
    if (channel !== null && channel.localId === -1) channel.refused = true
    this.stream.state.send(++this.lastLocalId, CLOSE, messages.closeCodec, { discoveryKey })
  }

  /** Closes all, because the stream is gone. */
  destroy(): void {
    const channels = [...this.byDiscoveryKey.values()]
    this.byDiscoveryKey.clear()
    this.byRemoteId.clear()
    for (const channel of channels) {
      const opened = channel.localId > -1
      channel.localId = -1
      channel.remoteId = -1
      // One failing handler must not keep the others from hearing of it.
      surface(() => {
        if (opened) channel.handlers?.onclose?.()
      })
      surface(() => this.tellOfClose(channel.discoveryKey, channel.key))
    }
  }

  /** Tells all channels that the output may be written to again. */
  drain(): void {
    for (const channel of this.byDiscoveryKey.values()) {
      if (channel.localId > -1) channel.handlers?.ondrain?.()
    }
  }

  onopen(id: number, message: messages.OpenMessage): void {
    const { stream } = this
    if (id === 0) throw new DDatabaseError('ERR_CHANNEL')
    const known = this.get(message.discoveryKey)
    const holder = this.byRemoteId.get(id)
    if (holder !== undefined && holder !== known) throw new DDatabaseError('ERR_CHANNEL')
    // The published packages take a feed that is opened again, under the same or one more number, for opened anew.
    if (known !== null && known.remoteId > -1 && ++known.reopened > MAX_REOPENED) {
      throw new DDatabaseError('ERR_CHANNEL')
    }
    if (known === null && ++this.pending > stream.limits.pendingChannels) {
      throw new DDatabaseError('ERR_LIMIT', { message: 'The remote opened more feeds than allowed' })
    }
    const channel = known ?? this.create(b4a.from(message.discoveryKey))
    channel.remoteId = id
    channel.remoteCapability = message.capability === null ? null : b4a.from(message.capability)
    this.byRemoteId.set(id, channel)
    if (channel.localId > -1) {
      if (stream.noise && !channel.remoteVerified) throw new DDatabaseError('ERR_CAPABILITY')
      channel.openPending = true
      stream.emit('duplex-channel', channel)
    } else if (!this.expected.has(b4a.toString(channel.discoveryKey, 'hex'))) this.tellOf(channel)
    if (stream.destroying) return
    this.runOpen(channel)
    if (stream.destroying) return
    if (stream.handlers.onremoteopen) stream.handlers.onremoteopen(channel.discoveryKey)
    stream.emit('remote-open', channel.discoveryKey)
  }

  /** The remote has a feed open that this side has not. */
  private tellOf({ discoveryKey }: Channel): void {
    const { stream } = this
    if (stream.handlers.ondiscoverykey) stream.handlers.ondiscoverykey(discoveryKey)
    stream.emit('discovery-key', discoveryKey)
  }

  onclose(id: number, message: messages.CloseMessage): void {
    const channel =
      this.byRemoteId.get(id) ?? (message.discoveryKey === null ? null : this.get(message.discoveryKey))
    if (channel === null) return
    const { localId, key } = channel
    this.forget(channel)
    if (localId > -1) {
      channel.localId = -1
      this.stream.state.send(localId, CLOSE, messages.closeCodec, {})
      channel.handlers?.onclose?.()
    }
    // A refused one may have a successor, and then the feed is not closed.
    if (this.get(channel.discoveryKey) === null) this.tellOfClose(channel.discoveryKey, key)
    this.stream.channelClosed()
  }

  private tellOfClose(discoveryKey: Uint8Array, key: Uint8Array | null): void {
    const { handlers } = this.stream
    if (handlers.onchannelclose) handlers.onchannelclose(discoveryKey, key)
  }

  receives(id: number): boolean {
    return id === 0 || this.byRemoteId.has(id)
  }

  onoptions(id: number, message: messages.OptionsMessage): void {
    if (id === 0) this.stream.onextensions(message.extensions)
    else this.receiver(id)?.onoptions?.(message)
  }

  onstatus(id: number, message: messages.StatusMessage): void {
    this.receiver(id)?.onstatus?.(message)
  }

  onhave(id: number, message: messages.HaveMessage): void {
    this.receiver(id)?.onhave?.(message)
  }

  onunhave(id: number, message: messages.RangeMessage): void {
    this.receiver(id)?.onunhave?.(message)
  }

  onwant(id: number, message: messages.RangeMessage): void {
    this.receiver(id)?.onwant?.(message)
  }

  onunwant(id: number, message: messages.RangeMessage): void {
    this.receiver(id)?.onunwant?.(message)
  }

  onrequest(id: number, message: messages.RequestMessage): void {
    this.receiver(id)?.onrequest?.(message)
  }

  oncancel(id: number, message: messages.CancelMessage): void {
    this.receiver(id)?.oncancel?.(message)
  }

  ondata(id: number, message: messages.DataMessage): void {
    this.receiver(id)?.ondata?.(message)
  }

  onextension(id: number, extension: number, payload: Uint8Array): void {
    if (id === 0) this.stream.remoteExtensions.onmessage(extension, payload, this.stream)
    else this.receiver(id)?.onextension?.(extension, payload)
  }

  /** Who gets what arrives on the remote's number `id`: nobody unless both sides have opened the channel. */
  private receiver(id: number): ChannelHandlers | null {
    const channel = this.byRemoteId.get(id)
    if (channel === undefined || channel.localId === -1) return null
    if (channel.openPending) this.runOpen(channel)
    return channel.localId === -1 ? null : channel.handlers
  }

  private runOpen(channel: Channel): void {
    if (!channel.openPending || channel.localId === -1 || channel.remoteId === -1) return
    channel.openPending = false
    channel.handlers?.onopen?.()
  }

  private create(discoveryKey: Uint8Array): Channel {
    if (discoveryKey.byteLength !== KEY_SIZE) throw argumentTypeError('A discovery key must have 32 bytes')
    const channel = new Channel(this.stream, discoveryKey)
    this.byDiscoveryKey.set(b4a.toString(discoveryKey, 'hex'), channel)
    return channel
  }

  private forget(channel: Channel): void {
    if (channel.localId === -1) this.pending--
    if (this.get(channel.discoveryKey) === channel) {
      this.byDiscoveryKey.delete(b4a.toString(channel.discoveryKey, 'hex'))
    }
    if (channel.reopened === 0) this.byRemoteId.delete(channel.remoteId)
    else for (const [id, other] of this.byRemoteId) if (other === channel) this.byRemoteId.delete(id)
    channel.remoteId = -1
  }

  // For callers that cannot be answered with an exception: the channel is closed from the start, and they hear of it.
  private closedChannel(
    key: Uint8Array,
    discoveryKey: Uint8Array,
    handlers: ChannelHandlers | undefined
  ): Channel {
    const channel = new Channel(this.stream, discoveryKey)
    channel.key = key
    channel.handlers = handlers ?? null
    queueMicrotask(() => handlers?.onclose?.())
    return channel
  }
}

/** Runs `fn`; an exception becomes an uncaught one instead of stopping the caller. */
function surface(fn: () => void): void {
  try {
    fn()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
