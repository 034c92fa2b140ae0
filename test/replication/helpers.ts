/** What the tests of the wire share. */
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'streamx'
import * as messages from '../../src/replication/messages.ts'
import { HypercoreProtocolStream, ProtocolStream } from '../../src/replication/stream.ts'
import type { ProtocolHandlers } from '../../src/replication/stream-options.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

export type { ProtocolHandlers }
export { HypercoreProtocolStream, ProtocolStream, SeededRandom }

const vectors = new URL('../vectors/', import.meta.url)

/** A vector file. */
// biome-ignore lint/suspicious/noExplicitAny: vectors are plain JSON of many shapes
export function vector(name: string): any {
  return JSON.parse(readFileSync(new URL(name, vectors), 'utf8'))
}

/** All recorded transcripts. */
// biome-ignore lint/suspicious/noExplicitAny: vectors are plain JSON of many shapes
export function transcripts(): any[] {
  return readdirSync(new URL('transcripts/', vectors))
    .filter((name) => name.endsWith('.json'))
    .map((name) => vector(`transcripts/${name}`))
}

/** Bytes of a hex string. */
export function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}

/** Codec of each message type. */
// biome-ignore lint/suspicious/noExplicitAny: indexed by a number that is only known at run time
export const CODECS: messages.MessageCodec<any, any>[] = [
  messages.openCodec,
  messages.optionsCodec,
  messages.statusCodec,
  messages.haveCodec,
  messages.unhaveCodec,
  messages.wantCodec,
  messages.unwantCodec,
  messages.requestCodec,
  messages.cancelCodec,
  messages.dataCodec,
  messages.closeCodec
]

const BYTE_FIELDS = new Set(['discoveryKey', 'capability', 'bitfield', 'value', 'hash', 'signature'])

/** A message of a vector file with its byte fields as bytes. */
export function fromVector(message: unknown): unknown {
  if (Array.isArray(message)) return message.map(fromVector)
  if (typeof message !== 'object' || message === null) return message
  return Object.fromEntries(
    Object.entries(message).map(([name, value]) => [
      name,
      BYTE_FIELDS.has(name) && typeof value === 'string' ? hex(value) : fromVector(value)
    ])
  )
}

/** A message as the vector files write it: bytes in hex, without fields that are null. */
export function toVector(message: unknown): unknown {
  if (message instanceof Uint8Array) return Buffer.from(message).toString('hex')
  if (Array.isArray(message)) return message.map(toVector)
  if (typeof message !== 'object' || message === null) return message
  return Object.fromEntries(
    Object.entries(message)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [name, toVector(value)])
  )
}

const DEFAULTS: Record<string, unknown>[] = [
  {},
  { extensions: [], ack: false },
  { uploading: false, downloading: false },
  { length: 1, ack: false },
  { length: 1 },
  { length: 0 },
  { length: 0 },
  { bytes: 0, hash: false, nodes: 0 },
  { bytes: 0, hash: false },
  { nodes: [] },
  {}
]

/** What a receiver makes of a sent message, as the vector files write it. */
export function received(type: number, message: Record<string, unknown>): unknown {
  return { ...DEFAULTS[type], ...message }
}

/** A stream of ours or of the published packages; both have the interface of API §8.2. */
// biome-ignore lint/suspicious/noExplicitAny: the published streams have no types
export type AnyStream = any

const require = createRequire(import.meta.url)

/** The published stream class of each dialect. */
export const PUBLISHED = {
  ddatabase: createRequire(require.resolve('ddatabase-published'))('@ddatabase/protocol'),
  hypercore: createRequire(require.resolve('hypercore-published'))('hypercore-protocol')
}

/** Our stream class of each dialect. */
export const OURS = { ddatabase: ProtocolStream, hypercore: HypercoreProtocolStream }

/** Connects two streams in memory. */
export function join(a: AnyStream, b: AnyStream): void {
  a.pipe(b).pipe(a)
}

/** Connects two streams in memory, cutting what they send into random pieces. */
export function joinInPieces(a: AnyStream, b: AnyStream, random: SeededRandom, largest: number): void {
  const forward = (from: AnyStream, to: AnyStream) => {
    from.on('data', (chunk: Uint8Array) => {
      for (let offset = 0; offset < chunk.byteLength; ) {
        const size = random.between(1, largest)
        to.write(Buffer.from(chunk.subarray(offset, offset + size)))
        offset += size
      }
    })
    from.on('end', () => to.end())
    from.on('close', () => to.destroy())
  }
  forward(a, b)
  forward(b, a)
}

/** Connects two streams over a TCP socket on the loopback interface. */
export async function joinOverTcp(a: AnyStream, b: AnyStream): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => a.destroy())
    a.pipe(socket).pipe(a)
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket: Socket = connect(port, '127.0.0.1')
  socket.on('error', () => b.destroy())
  b.pipe(socket).pipe(b)
}

/** The error a stream is destroyed with, or null if it closes without one. Listens from now on. */
export function ending(stream: AnyStream): Promise<(Error & { code?: string }) | null> {
  return new Promise((resolve) => {
    let error: Error | null = null
    stream.on('error', (problem: Error) => {
      error = problem
    })
    stream.on('close', () => resolve(error))
  })
}

/** Everything a stream sends, collected; it is read all the time. */
export function collect(stream: AnyStream): { bytes(): Buffer } {
  const chunks: Uint8Array[] = []
  stream.on('data', (chunk: Uint8Array) => chunks.push(Buffer.from(chunk)))
  return { bytes: () => Buffer.concat(chunks) }
}

/** Resolves with the arguments of the next `event` of `emitter`. */
export function event(emitter: AnyStream | Duplex, name: string): Promise<unknown[]> {
  return new Promise((resolve) => {
    ;(emitter as AnyStream).once(name, (...args: unknown[]) => resolve(args))
  })
}

/** A promise and its resolve function. */
export function signal<T = void>(): { promise: Promise<T>; resolve(value: T): void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((yes) => {
    resolve = yes
  })
  return { promise, resolve }
}

/** Runs `work` while the process is kept alive: the timers of streams do not do that. */
export async function awake<T>(work: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1000)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}

/** A turn of the event loop, after everything that is under way in memory. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
