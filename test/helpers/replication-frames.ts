/** What a stream sends, taken apart into frames. */
import { StreamCipher } from '../../src/replication/cipher.ts'
import { EXTENSION_TYPE, FrameDecoder } from '../../src/replication/frames.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import * as messages from '../../src/replication/messages.ts'
import type { AnyStream } from './replication-subjects.ts'

/** Codec of each message type. */
// biome-ignore lint/suspicious/noExplicitAny: indexed by a number that is only known at run time
const CODECS: messages.MessageCodec<any, any>[] = [
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

/** Types of messages, by name. */
export const TYPES = {
  open: 0,
  options: 1,
  status: 2,
  have: 3,
  unhave: 4,
  want: 5,
  request: 7,
  data: 9,
  close: 10
} as const

/** One frame; a keepalive has no message. */
export interface SentFrame {
  channel: number
  type: number
  /** Length, header and body in hexadecimal. */
  hex: string
  // biome-ignore lint/suspicious/noExplicitAny: one of many messages
  message: any
}

/** Splits bytes that are nothing but frames. Keepalives are dropped. */
export function framesOf(plain: Uint8Array): SentFrame[] {
  const decoder = new FrameDecoder(DEFAULT_LIMITS.frameSize)
  decoder.write(plain)
  const out: SentFrame[] = []
  while (decoder.next()) {
    const { channel, type } = decoder
    const body = Buffer.from(decoder.body)
    const header = varint(channel * 16 + type)
    const hex = Buffer.concat([varint(header.byteLength + body.byteLength), header, body]).toString('hex')
    const message = type === EXTENSION_TYPE ? body : CODECS[type]?.read(body, DEFAULT_LIMITS)
    out.push({ channel, type, hex, message })
  }
  return out
}

/** Collects everything a stream sends; it is read all the time. */
export function recordOutput(stream: AnyStream): { bytes(): Buffer } {
  const chunks: Uint8Array[] = []
  stream.on('data', (chunk: Uint8Array) => chunks.push(Buffer.from(chunk)))
  return { bytes: () => Buffer.concat(chunks) }
}

/** Undoes the cipher of one direction. */
export function decrypt(bytes: Uint8Array, key: Uint8Array, nonce: Uint8Array): Buffer {
  const plain = Buffer.alloc(bytes.byteLength)
  new StreamCipher(key, nonce).update(plain, Buffer.from(bytes))
  return plain
}

function varint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  while (rest >= 128) {
    out.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
  return Buffer.from(out)
}
