/**
 * Extensions (spec WIRE §13, API §7): messages of the application's own beside those of the protocol, on a feed or on a
 * stream. Each side keeps its extensions sorted by name and announces the names; a message carries the sender's position
 * in the list it announced last, and the receiver delivers it to its own extension of that name.
 */
import codecs from 'codecs'
import { argumentTypeError, argumentValueError, DDatabaseError, reasonOf } from '../errors.ts'
import { isBytes } from '../util/bytes.ts'
import { checkFunction, unwatched } from '../util/callback.ts'

/** What the application gives for an extension. `Peer` is whom the messages come from. */
export interface ExtensionHandlers<Message = unknown, Peer = unknown> {
  /** Name of a codec (`binary`, `utf-8`, `json`, …) or a codec. Default `binary`. */
  encoding?: unknown
  /** A message has come, decoded. */
  onmessage?(message: Message, peer: Peer): void
  /** Gets the errors of decoding, which are ignored without it. */
  onerror?(error: Error, peer: Peer): void
}

/** What carries the messages of a registry: a feed with its peers, or a stream. */
export interface ExtensionCarrier<Peer> {
  /** The list of names has changed. */
  onextensionupdate?(): void
  /** Sends an encoded message from the extension at position `id` to `peer`; false if nothing was sent or the output is backed up. */
  sendExtension(id: number, message: Uint8Array, peer: Peer | undefined): boolean
  /** Sends an encoded message to everybody; whether there is anybody. */
  broadcastExtension?(id: number, message: Uint8Array): boolean
  /** Whether the other side (any other side) has announced `name`. */
  remoteSupportsExtension?(name: string): boolean
}

/** The codec of an extension, and whether the rest can be used. Errors: TypeError. */
function encodingOf(handlers: ExtensionHandlers<never, never>): Extension['encoding'] {
  const { encoding } = handlers
  checkFunction(handlers.onmessage, 'onmessage')
  checkFunction(handlers.onerror, 'onerror')
  const given: unknown = encoding || 'binary'
  const codec = typeof given === 'string' ? codecs(given) : given
  const { encode, decode } = codec as Partial<Extension['encoding']>
  if (typeof encode !== 'function' || typeof decode !== 'function') {
    throw argumentTypeError('encoding should be the name of a codec or an object with encode and decode')
  }
  // A codec need not be as simple as that, unless it is a function or a class.
  return typeof codec === 'function' ? (codec as unknown as Extension['encoding']) : codecs(codec)
}

/** One registered extension. */
export class Extension<Message = unknown, Peer = unknown> {
  /** Its name, unique within the registry. */
  readonly name: string
  /** Its position in the sorted list; −1 once destroyed. */
  id = -1
  /** What encodes its messages. */
  encoding: {
    /** The bytes of a message. */
    encode(message: unknown): Uint8Array
    /** The message of the bytes. */
    decode(bytes: Uint8Array): unknown
  }
  /** What the application gave; may be changed. */
  handlers: ExtensionHandlers<Message, Peer>
  private registry: ExtensionRegistry<Peer> | null

  /** Made by {@link ExtensionRegistry.add}. */
  constructor(registry: ExtensionRegistry<Peer>, name: string, handlers: ExtensionHandlers<Message, Peer>) {
    this.registry = registry
    this.name = name
    this.handlers = handlers
    this.encoding = encodingOf(handlers)
  }

  /** Whether `destroy` was called. */
  get destroyed(): boolean {
    return this.registry === null
  }

  /** The bytes of a message. Throws `ERR_ENCODING`. */
  encode(message: Message): Uint8Array {
    let bytes: unknown
    try {
      bytes = unwatched(this.encoding.encode(message))
    } catch (cause) {
      throw new DDatabaseError('ERR_ENCODING', {
        cause,
        message: `The message could not be encoded: ${reasonOf(cause)}`
      })
    }
    if (isBytes(bytes)) return bytes
    throw new DDatabaseError('ERR_ENCODING', { message: 'The codec of the extension did not give bytes' })
  }

  /** Sends a message, to `peer` where there is more than one. False if destroyed, not sent, or backed up. */
  send(message: Message, peer?: Peer): boolean {
    if (this.registry === null) return false
    return this.registry.carrier.sendExtension(this.id, this.encode(message), peer)
  }

  /** Sends a message to all peers; whether there is any. */
  broadcast(message: Message): boolean {
    if (this.registry === null) return false
    const { carrier } = this.registry
    const bytes = this.encode(message)
    if (carrier.broadcastExtension === undefined) return carrier.sendExtension(this.id, bytes, undefined)
    return carrier.broadcastExtension(this.id, bytes)
  }

  /** Whether the other side (any other side) has an extension of this name. */
  remoteSupports(): boolean {
    return this.registry?.carrier.remoteSupportsExtension?.(this.name) ?? false
  }

  /** Takes the extension off its feed or stream. */
  destroy(): void {
    const { registry } = this
    this.registry = null
    if (registry !== null) registry.remove(this as Extension<unknown, Peer>)
  }

  /** Delivers the bytes of a message that came from `peer`. Exceptions of the application's `onmessage` pass through. */
  onmessage(bytes: Uint8Array, peer: Peer): void {
    if (!this.handlers.onmessage) return
    let message: unknown
    try {
      message = this.encoding.decode(bytes)
    } catch (error) {
      if (this.handlers.onerror) this.handlers.onerror(error as Error, peer)
      return
    }
    this.handlers.onmessage(message as Message, peer)
  }
}

/** The extensions of one feed or stream, sorted by name. */
export class ExtensionRegistry<Peer = unknown> {
  /** What carries the messages. */
  readonly carrier: ExtensionCarrier<Peer>
  /** Grows with every change of the list. */
  changes = 0
  private list: Extension<unknown, Peer>[] = []

  /** @param carrier - what carries the messages */
  constructor(carrier: ExtensionCarrier<Peer>) {
    this.carrier = carrier
  }

  /** Number of extensions. */
  get length(): number {
    return this.list.length
  }

  /** All extensions, sorted by name. */
  [Symbol.iterator](): IterableIterator<Extension<unknown, Peer>> {
    return this.list.values()
  }

  /** The extension of this name, or null. */
  get(name: string): Extension<unknown, Peer> | null {
    return this.list.find((extension) => extension.name === name) ?? null
  }

  /** All names, in ascending order of their UTF-16 code units. */
  names(): string[] {
    return this.list.map((extension) => extension.name)
  }

  /**
   * Registers an extension.
   *
   * @param handlers - or a function that is given the extension and returns them
   * @throws TypeError for a name that is no string or is taken
   */
  add<Message = unknown>(
    name: string,
    handlers:
      | ExtensionHandlers<Message, Peer>
      | ((extension: Extension<Message, Peer>) => ExtensionHandlers<Message, Peer> | undefined) = {}
  ): Extension<Message, Peer> {
    if (typeof name !== 'string') throw argumentTypeError('The name of an extension must be a string')
    if (this.get(name) !== null) throw argumentValueError('Cannot add multiple messages with the same name')
    const extension = new Extension<Message, Peer>(
      this,
      name,
      typeof handlers === 'function' ? {} : (handlers ?? {})
    )
    if (typeof handlers === 'function') {
      extension.handlers = handlers(extension) ?? {}
      extension.encoding = encodingOf(extension.handlers)
    }
    const at = this.list.findIndex((other) => other.name > name)
    this.list.splice(at === -1 ? this.list.length : at, 0, extension as Extension<unknown, Peer>)
    this.renumber()
    return extension
  }

  /** Takes an extension off the list; called by its `destroy`. */
  remove(extension: Extension<unknown, Peer>): void {
    this.list = this.list.filter((other) => other !== extension)
    extension.id = -1
    this.renumber()
  }

  /** The view on the extensions of one remote. */
  remote(): RemoteExtensions<Peer> {
    return new RemoteExtensions(this)
  }

  private renumber(): void {
    for (let i = 0; i < this.list.length; i++) this.list[i]!.id = i
    this.changes++
    this.carrier.onextensionupdate?.()
  }
}

/** What one remote has announced, and the way from its positions to our extensions. */
export class RemoteExtensions<Peer = unknown> {
  /** Names in the remote's order; null before it announced any. */
  names: string[] | null = null
  private readonly local: ExtensionRegistry<Peer>

  /** Made by {@link ExtensionRegistry.remote}. */
  constructor(local: ExtensionRegistry<Peer>) {
    this.local = local
  }

  /** Takes a new list of names. */
  update(names: string[]): void {
    this.names = names
  }

  /** Whether the remote has announced `name`. */
  has(name: string): boolean {
    return this.names?.includes(name) ?? false
  }

  /** Delivers a message to the extension whose name is at position `id` of the remote's list; ignored if there is none. */
  onmessage(id: number, message: Uint8Array, peer: Peer): void {
    const name = this.names?.[id]
    if (name !== undefined) this.local.get(name)?.onmessage(message, peer)
  }
}
