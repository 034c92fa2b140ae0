/**
 * What travels inside the handshake messages (spec WIRE §3). Decoders of the published packages skip fields that they do
 * not know, so this is the place for what later versions want to tell each other.
 */
import { DDatabaseError } from '../errors.ts'
import { NONCE_SIZE } from './cipher.ts'
import type { MessageCodec } from './messages.ts'
import { bytesFieldSize, FieldReader, uintFieldSize, writeBytesField, writeUintField } from './protobuf.ts'

const NONCE = 1
const TRANSPORT = 11
const reader = new FieldReader()

/** What each side tells the other inside the handshake (spec WIRE §3). */
export interface HandshakePayload {
  /** Nonce of the sender's key stream, 24 bytes. */
  nonce: Uint8Array
  /**
   * Transports other than the stream cipher (docs/protocol.md): in the second message those that the responder speaks, in
   * the third the one that the initiator has chosen of them, if any. In the first message, which anybody can change, none.
   */
  transports: readonly number[]
}

/** The payload of the handshake messages. */
export const handshakePayloadCodec: MessageCodec<HandshakePayload, HandshakePayload> = {
  size(message) {
    let size = bytesFieldSize('nonce', message.nonce, NONCE_SIZE)
    for (const transport of message.transports) size += uintFieldSize('transport', transport)
    return size
  },
  write(message, target, offset) {
    let end = writeBytesField(target, offset, NONCE, message.nonce)
    for (const transport of message.transports) end = writeUintField(target, end, TRANSPORT, transport)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let nonce: Uint8Array | null = null
    const transports: number[] = []
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === NONCE) nonce = reader.bytes(NONCE_SIZE)
      else if (reader.field === TRANSPORT) transports.push(reader.uint())
      else reader.skip()
    }
    if (nonce === null) throw new DDatabaseError('ERR_MESSAGE_INVALID')
    return { nonce, transports }
  }
}
