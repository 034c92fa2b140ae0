/**
 * What travels inside the handshake messages (spec WIRE §3). Decoders of the published packages skip fields that they do
 * not know, so this is the place for what later versions want to tell each other.
 */
import { DDatabaseError } from '../errors.ts'
import { NONCE_SIZE } from './cipher.ts'
import type { MessageCodec } from './messages.ts'
import { bytesFieldSize, FieldReader, writeBytesField } from './protobuf.ts'

const reader = new FieldReader()

/** What each side tells the other inside the handshake (spec WIRE §3). */
export interface HandshakePayload {
  /** Nonce of the sender's key stream, 24 bytes. */
  nonce: Uint8Array
}

/** The payload of the handshake messages. */
export const handshakePayloadCodec: MessageCodec<HandshakePayload, HandshakePayload> = {
  size(message) {
    return bytesFieldSize('nonce', message.nonce, NONCE_SIZE)
  },
  write(message, target, offset) {
    return writeBytesField(target, offset, 1, message.nonce)
  },
  read(body, limits) {
    let nonce: Uint8Array | null = null
    reader.begin(body, 0, body.byteLength, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) nonce = reader.bytes(NONCE_SIZE)
      else reader.skip()
    }
    if (nonce === null) throw new DDatabaseError('ERR_MESSAGE_INVALID')
    return { nonce }
  }
}
