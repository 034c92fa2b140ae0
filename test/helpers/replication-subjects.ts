/** Feeds that replicate, of this package and of the published ones, behind one set of types. */
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { HypercoreProtocolStream, ProtocolStream } from '../../src/replication/stream.ts'
import type { OpenFeed, RawFeed } from './feed-face.ts'
import { ours, oursHypercore } from './ours.ts'
import { published, publishedHypercore } from './published.ts'

/** Blocks and bytes transferred. */
export interface Counters {
  uploadedBlocks: number
  uploadedBytes: number
  downloadedBlocks: number
  downloadedBytes: number
}

/** A remote as feeds show it (spec API §8.3). */
export interface AnyPeer {
  readonly feed: unknown
  readonly stream: { readonly stream: AnyStream }
  readonly remoteLength: number
  readonly remoteBitfield: { get(index: number): boolean }
  readonly remoteDownloading: boolean
  readonly remoteUploading: boolean
  readonly downloading: boolean
  readonly uploading: boolean
  readonly remoteOpened: boolean
  readonly remoteAck: boolean
  readonly ack: boolean
  readonly live: boolean
  readonly sparse: boolean
  readonly inflightRequests: readonly { index: number }[]
  readonly inflightWants: number
  readonly maxRequests: number
  readonly stats: Counters | null
  readonly publicKey?: Uint8Array | null
  readonly remotePublicKey: Uint8Array | null
  readonly remoteAddress: string | null
  readonly remoteType: string | null
  extension(id: number, message: Uint8Array): unknown
  setDownloading(downloading: boolean): void
  setUploading(uploading: boolean): void
  have(range: { start: number; length?: number }): void
  unhave(range: { start: number; length?: number }): void
  update(): void
  end(): void
  destroy(error?: Error): void
}

/** A protocol stream of either implementation. */
export interface AnyStream extends EventEmitter {
  readonly initiator: boolean
  readonly live: boolean
  readonly destroying: boolean
  readonly destroyed: boolean
  readonly publicKey: Uint8Array | null
  readonly remotePublicKey: Uint8Array | null
  readonly remoteAddress: string | null
  readonly remoteType: string | null
  readonly channelCount: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly prefinalize: { wait(): void; continue(): void }
  write(chunk: Uint8Array): boolean
  end(): void
  destroy(error?: Error): void
  pipe(to: object): void
  open(key: Uint8Array, handlers?: object): AnyChannel
  close(discoveryKey: Uint8Array): void
  opened(key: Uint8Array): boolean
  remoteOpened(key: Uint8Array): boolean
  remoteVerified(key: Uint8Array): boolean
  finalize(): void
  ping(): unknown
  registerExtension(name: string, handlers: object): { send(message: unknown): void }
}

/** One feed on a protocol stream. */
export interface AnyChannel {
  options(message: object): unknown
  status(message: object): unknown
  have(message: object): unknown
  unhave(message: object): unknown
  want(message: object): unknown
  unwant(message: object): unknown
  request(message: object): unknown
  cancel(message: object): unknown
  data(message: object): unknown
  extension(id: number, message: Uint8Array): unknown
  close(): void
  destroy(error?: Error): void
}

/** A feed level extension. */
export interface AnyExtension {
  readonly name: string
  send(message: unknown, peer: AnyPeer): void
  broadcast(message: unknown): boolean
  destroy(): void
}

/** What replication adds to a feed. */
export interface AnyFeed extends RawFeed {
  readonly peers: readonly AnyPeer[]
  readonly remoteLength: number
  readonly stats: { peers: Counters[]; totals: Counters } | null
  readonly downloading: boolean
  readonly uploading: boolean
  maxRequests: number
  timeouts: { get(callback: () => void): void; update(callback: () => void): void }
  readonly ifAvailable: { wait(): void; continue(): void }
  replicate(initiator: unknown, options?: object): AnyStream
  registerExtension(name: string, handlers?: object): AnyExtension
  setDownloading(downloading: boolean): void
  setUploading(uploading: boolean): void
  setExpectedLength(length: number): void
  download(range?: unknown, callback?: (error: Error | null) => void): object
  undownload(range: object): void
  cancel(start: unknown, end?: number): void
  readonly get: (
    index: number,
    options: object,
    callback: (error: Error | null, value: unknown) => void
  ) => unknown
}

/** One implementation in one dialect. */
export interface Subject {
  readonly name: string
  readonly dialect: 'ddatabase' | 'hypercore'
  readonly isOurs: boolean
  readonly open: OpenFeed
  /** Its protocol stream class. */
  readonly Protocol: ProtocolClass
}

/** A protocol stream class of either implementation. */
export interface ProtocolClass {
  new (initiator: boolean, handlers?: object): AnyStream
  isProtocolStream(value: unknown): boolean
  keyPair(seed?: Uint8Array): { publicKey: Uint8Array; secretKey: Uint8Array }
}

const require = createRequire(import.meta.url)
const protocolOf = (name: string, protocol: string) =>
  createRequire(require.resolve(name))(protocol) as ProtocolClass

/** This package. */
export const OURS: Subject = {
  name: 'ours',
  dialect: 'ddatabase',
  isOurs: true,
  open: ours(() => 'callback'),
  Protocol: ProtocolStream as unknown as ProtocolClass
}

/** This package in the hypercore dialect. */
export const OURS_HYPERCORE: Subject = {
  name: 'ours (hypercore)',
  dialect: 'hypercore',
  isOurs: true,
  open: oursHypercore(() => 'callback'),
  Protocol: HypercoreProtocolStream as unknown as ProtocolClass
}

/** ddatabase 10.0.4. */
export const PUBLISHED: Subject = {
  name: 'published ddatabase',
  dialect: 'ddatabase',
  isOurs: false,
  open: published,
  Protocol: protocolOf('ddatabase-published', '@ddatabase/protocol')
}

/** hypercore 9.12.0. */
export const PUBLISHED_HYPERCORE: Subject = {
  name: 'published hypercore',
  dialect: 'hypercore',
  isOurs: false,
  open: publishedHypercore,
  Protocol: protocolOf('hypercore-published', 'hypercore-protocol')
}

/** All of them. */
export const SUBJECTS: readonly Subject[] = [OURS, OURS_HYPERCORE, PUBLISHED, PUBLISHED_HYPERCORE]

/** The replication half of a feed. */
export function replicating(face: { feed: RawFeed }): AnyFeed {
  return face.feed as AnyFeed
}

/** The next `event` of `emitter`. */
export function nextEvent(emitter: EventEmitter | AnyStream, event: string): Promise<unknown[]> {
  return new Promise((resolve) => {
    ;(emitter as EventEmitter).once(event, (...args: unknown[]) => resolve(args))
  })
}
