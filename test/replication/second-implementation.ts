/**
 * The authenticated transport once more, written from docs/protocol.md alone and over other primitives: `noise-handshake`,
 * `node:crypto` and noble.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { blake2b } from '@noble/hashes/blake2.js'
import Noise from 'noise-handshake'

const LABEL = Buffer.from('ddatabase authenticated transport 1')
const MAX_SIZE = 131072
const TAG_SIZE = 16

interface Pair {
  publicKey: Uint8Array
  secretKey: Uint8Array
}

/** The key of one direction. */
export function keyOf(splitKey: Uint8Array, handshakeHash: Uint8Array): Buffer {
  return Buffer.from(blake2b(Buffer.concat([LABEL, handshakeHash]), { key: splitKey, dkLen: 32 }))
}

function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64LE(BigInt(number), 4)
  return nonce
}

function headerOf(size: number): Buffer {
  const header = Buffer.alloc(3)
  header.writeUIntLE(size, 0, 3)
  return header
}

/** One record. */
export function seal(key: Uint8Array, number: number, plain: Uint8Array): Buffer {
  const header = headerOf(plain.byteLength)
  const cipher = createCipheriv('chacha20-poly1305', key, nonceOf(number), { authTagLength: TAG_SIZE })
  cipher.setAAD(header, { plaintextLength: plain.byteLength })
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([header, sealed, cipher.getAuthTag()])
}

/** Bytes as records; none if there are no bytes. */
export function sealAll(key: Uint8Array, first: number, bytes: Uint8Array): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at < bytes.byteLength; at += MAX_SIZE) {
    records.push(seal(key, first + records.length, bytes.subarray(at, at + MAX_SIZE)))
  }
  return records
}

/** What a record seals. Throws if it is not the very record with this number. */
export function open(key: Uint8Array, number: number, record: Uint8Array): Buffer {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonceOf(number), { authTagLength: TAG_SIZE })
  const end = record.byteLength - TAG_SIZE
  decipher.setAAD(record.subarray(0, 3), { plaintextLength: end - 3 })
  decipher.setAuthTag(record.subarray(end))
  return Buffer.concat([decipher.update(record.subarray(3, end)), decipher.final()])
}

/** The records that lie in `bytes` one after the other, without what is not whole. */
export function recordsOf(bytes: Buffer): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at + 3 <= bytes.length; ) {
    const end = at + 3 + bytes.readUIntLE(at, 3) + TAG_SIZE
    if (end > bytes.length) break
    records.push(bytes.subarray(at, end))
    at = end
  }
  return records
}

/** One end of a connection: shakes hands and then takes and gives bytes of frames. */
export class SecondImplementation {
  /** Payload of the remote's last handshake message. */
  remotePayload = Buffer.alloc(0)
  /** Bytes of frames that came, in order. */
  received = Buffer.alloc(0)
  /** Sizes of the records that came. */
  readonly sizes: number[] = []
  /** Whether the remote's last record came. */
  closed = false
  readonly #noise: Noise
  readonly #initiator: boolean
  readonly #send: (bytes: Buffer) => void
  readonly #payloads: readonly Uint8Array[]
  #messages = 0
  #input = Buffer.alloc(0)
  #sent = 0

  /**
   * @param send - gets what is for the remote
   * @param payloads - of this side's handshake messages, in order
   */
  constructor(
    initiator: boolean,
    keyPair: Pair,
    send: (bytes: Buffer) => void,
    payloads: readonly Uint8Array[]
  ) {
    this.#initiator = initiator
    this.#send = send
    this.#payloads = payloads
    this.#noise = new Noise('XX', initiator, keyPair)
    this.#noise.initialise(Buffer.alloc(0))
    if (initiator) this.#sendMessage()
  }

  /** Whether the handshake is over. */
  get shaken(): boolean {
    return this.#messages === 3
  }

  /** Input. */
  write(chunk: Uint8Array): void {
    this.#input = Buffer.concat([this.#input, chunk])
    while (!this.shaken && this.#input.length > 1) {
      // Messages of 128 bytes and more have two bytes of length.
      const [low, high] = [this.#input[0]!, this.#input[1]!]
      const start = low < 128 ? 1 : 2
      const end = start + (low < 128 ? low : low - 128 + 128 * high)
      if (this.#input.length < end) return
      this.remotePayload = Buffer.from(this.#noise.recv(Buffer.from(this.#input.subarray(start, end))))
      this.#input = this.#input.subarray(end)
      this.#messages++
      if (!this.shaken) this.#sendMessage()
    }
    if (!this.shaken) return
    for (const record of recordsOf(this.#input)) {
      if (this.closed) throw new Error('there is something behind the last record')
      const plain = open(keyOf(this.#noise.rx!, this.#noise.hash!), this.sizes.length, record)
      this.received = Buffer.concat([this.received, plain])
      this.sizes.push(plain.length)
      this.closed = plain.length === 0
      this.#input = this.#input.subarray(record.length)
    }
  }

  /** Sends frames. */
  send(frames: Uint8Array): void {
    for (const record of sealAll(this.#key(), this.#sent, frames)) this.#record(record)
  }

  /** Sends the last record. */
  close(): void {
    this.#record(seal(this.#key(), this.#sent, Buffer.alloc(0)))
  }

  #key(): Buffer {
    return keyOf(this.#noise.tx!, this.#noise.hash!)
  }

  #record(record: Buffer): void {
    this.#sent++
    this.#send(record)
  }

  #sendMessage(): void {
    const own = this.#initiator ? this.#messages / 2 : 0
    const message = this.#noise.send(this.#payloads[own]!)
    this.#messages++
    const size = message.byteLength
    const length = size < 128 ? [size] : [(size % 128) + 128, Math.floor(size / 128)]
    this.#send(Buffer.concat([Buffer.from(length), message]))
  }
}
