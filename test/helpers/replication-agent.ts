/**
 * Feeds that replicate over TCP sockets, driven by commands: the same for feeds of this process and of another one, so
 * that a scenario can be written once and run in both directions.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { FeedFace } from './feed-face.ts'
import { until } from './replication-feeds.ts'
import type { CodedError } from './replication-pipes.ts'
import {
  type AnyExtension,
  type AnyPeer,
  type AnyStream,
  type Counters,
  replicating,
  SUBJECTS
} from './replication-subjects.ts'

/** What is known of a feed without waiting. */
export interface FeedInfo {
  length: number
  byteLength: number
  /** Present blocks. */
  downloaded: number
  totals: Counters
  remoteLength: number
  peers: {
    remoteLength: number
    uploading: boolean
    downloading: boolean
    type: string | null
    totals: Counters | null
  }[]
}

/** How a stream ended. */
export interface StreamEnd {
  message: string | null
  code: string | null
}

/** What both kinds of agents do. All values can travel between processes. */
export interface AgentCommands {
  /** Opens feed `id`; answers its keys. */
  open(
    id: string,
    subject: string,
    storage: string,
    key: Uint8Array | null,
    options: object
  ): Promise<Uint8Array>
  /** Calls an asynchronous method of a feed. */
  call(id: string, method: string, ...args: unknown[]): Promise<unknown>
  /** Calls a synchronous method of a feed. */
  act(id: string, method: string, ...args: unknown[]): Promise<void>
  info(id: string): Promise<FeedInfo>
  /** Waits until a feed has this length and this many blocks. */
  reach(id: string, length: number, blocks: number): Promise<void>
  /** Waits until a feed has this many peers that have opened it. */
  peers(id: string, count: number): Promise<void>
  /** Serves these feeds to everybody who connects; answers the port. */
  listen(name: string, ids: string[], initiator: boolean, options: object): Promise<number>
  /** Replicates these feeds over a new socket. */
  dial(name: string, ids: string[], port: number, initiator: boolean, options: object): Promise<void>
  /** Waits until all streams of a name have ended. */
  ended(name: string): Promise<StreamEnd[]>
  /** Waits until all streams of a name have ended, or the feed has all of its `length` blocks. */
  endedOrComplete(name: string, id: string, length: number): Promise<void>
  /** Breaks all sockets of a name off. */
  hangUp(name: string): Promise<void>
  /** Blocks acknowledged on the streams of a name. */
  acks(name: string, count: number): Promise<number[]>
  /** Registers a JSON extension; it answers each message that is a number with the next one, up to `last`. */
  extend(id: string, name: string, last: number): Promise<void>
  broadcast(id: string, name: string, message: unknown): Promise<boolean>
  /** Waits for this many messages of an extension. */
  messages(id: string, name: string, count: number): Promise<unknown[]>
  close(id: string): Promise<void>
  /** Closes everything. */
  stop(): Promise<void>
}

interface Line {
  streams: AnyStream[]
  ends: StreamEnd[]
  sockets: Set<Socket>
  server: Server | null
  acks: number[]
}

/** The agent itself. */
export class Agent implements AgentCommands {
  readonly #feeds = new Map<string, FeedFace>()
  readonly #lines = new Map<string, Line>()
  readonly #extensions = new Map<string, { extension: AnyExtension; messages: unknown[] }>()

  async open(id: string, subject: string, storage: string, key: Uint8Array | null, options: object) {
    const { open } = SUBJECTS.find(({ name }) => name === subject)!
    const feed = open(storage, key === null ? null : Buffer.from(key), options)
    this.#feeds.set(id, feed)
    await feed.ready()
    return feed.key
  }

  async call(id: string, method: string, ...args: unknown[]) {
    return plain(await this.#feed(id).call(method, ...args.map(asBuffer)))
  }

  async act(id: string, method: string, ...args: unknown[]) {
    const feed = this.#feed(id).feed as unknown as Record<string, (...args: unknown[]) => unknown>
    feed[method]!(...args)
  }

  async info(id: string): Promise<FeedInfo> {
    const face = this.#feed(id)
    const feed = replicating(face)
    return {
      length: face.length,
      byteLength: face.byteLength,
      downloaded: face.downloaded(),
      totals: { ...feed.stats!.totals },
      remoteLength: feed.remoteLength,
      peers: feed.peers.map((peer) => ({
        remoteLength: peer.remoteLength,
        uploading: peer.remoteUploading,
        downloading: peer.remoteDownloading,
        type: peer.remoteType,
        totals: peer.stats && { ...peer.stats }
      }))
    }
  }

  reach(id: string, length: number, blocks: number) {
    const feed = this.#feed(id)
    return until(
      () => feed.length === length && feed.downloaded() === blocks,
      `${id}: ${blocks} of ${length} blocks`
    )
  }

  peers(id: string, count: number) {
    const feed = replicating(this.#feed(id))
    return until(
      () => feed.peers.filter((peer) => peer.remoteOpened).length === count,
      `${id}: ${count} peers`
    )
  }

  async listen(name: string, ids: string[], initiator: boolean, options: object) {
    const line = this.#line(name)
    const server = createServer((socket) => this.#attach(line, socket, ids, initiator, options))
    line.server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  async dial(name: string, ids: string[], port: number, initiator: boolean, options: object) {
    this.#attach(this.#line(name), connect(port, '127.0.0.1'), ids, initiator, options)
  }

  async ended(name: string) {
    const line = this.#line(name)
    await until(
      () => line.streams.length > 0 && line.ends.length === line.streams.length,
      `the end of ${name}`
    )
    return line.ends
  }

  endedOrComplete(name: string, id: string, length: number) {
    const line = this.#line(name)
    const feed = this.#feed(id)
    return until(
      () =>
        feed.downloaded() === length || (line.streams.length > 0 && line.ends.length === line.streams.length),
      `the end of ${name}`
    )
  }

  async hangUp(name: string) {
    for (const socket of this.#line(name).sockets) socket.destroy()
  }

  async acks(name: string, count: number) {
    const line = this.#line(name)
    await until(() => line.acks.length >= count, `${count} acknowledgements on ${name}`)
    return line.acks
  }

  async extend(id: string, name: string, last: number) {
    const messages: unknown[] = []
    const extension = replicating(this.#feed(id)).registerExtension(name, {
      encoding: 'json',
      onmessage: (message: unknown, peer: AnyPeer) => {
        messages.push(message)
        if (typeof message === 'number' && message < last) extension.send(message + 1, peer)
      }
    })
    this.#extensions.set(`${id} ${name}`, { extension, messages })
  }

  async broadcast(id: string, name: string, message: unknown) {
    return this.#extensions.get(`${id} ${name}`)!.extension.broadcast(message)
  }

  async messages(id: string, name: string, count: number) {
    const { messages } = this.#extensions.get(`${id} ${name}`)!
    await until(() => messages.length >= count, `${count} messages of ${name}`)
    return messages
  }

  async close(id: string) {
    const feed = this.#feed(id)
    this.#feeds.delete(id)
    await feed.close()
  }

  async stop() {
    for (const [name, line] of this.#lines) {
      line.server?.close()
      await this.hangUp(name)
    }
    await Promise.all([...this.#feeds.keys()].map((id) => this.close(id)))
  }

  #feed(id: string): FeedFace {
    const feed = this.#feeds.get(id)
    if (feed === undefined) throw new Error(`there is no feed ${id}`)
    return feed
  }

  #line(name: string): Line {
    let line = this.#lines.get(name)
    if (line === undefined) {
      line = { streams: [], ends: [], sockets: new Set(), server: null, acks: [] }
      this.#lines.set(name, line)
    }
    return line
  }

  #attach(line: Line, socket: Socket, ids: string[], initiator: boolean, options: object): void {
    const [first, ...others] = ids.map((id) => replicating(this.#feed(id)))
    // The published packages change the object they are given.
    const stream = first!.replicate(initiator, { ...options })
    for (const other of others) other.replicate(stream, { ...options })
    line.streams.push(stream)
    line.sockets.add(socket)
    let problem: CodedError | null = null
    stream.on('error', (error: CodedError) => {
      problem = error
    })
    stream.on('ack', ({ start }) => line.acks.push(start))
    stream.on('close', () => {
      line.ends.push({ message: problem?.message ?? null, code: problem?.code ?? null })
      socket.destroy()
    })
    socket.on('error', () => stream.destroy())
    socket.on('close', () => {
      line.sockets.delete(socket)
      stream.destroy()
    })
    stream.pipe(socket)
    socket.pipe(stream as unknown as NodeJS.WritableStream)
  }
}

/** Byte arrays that came from another process, as the published packages want them. */
function asBuffer(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value)
  return Array.isArray(value) ? value.map(asBuffer) : value
}

/** A value that can be sent to another process. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (Array.isArray(value)) return value.map(plain)
  return typeof value === 'object' && value !== null ? { ...value } : value
}
