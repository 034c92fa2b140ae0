import b4a from 'b4a'
import { bench, do_not_optimize } from 'mitata'
import { encode } from '../../src/bitfield/rle.ts'
import { HASH_SIZE } from '../../src/merkle/node.ts'
import { FrameDecoder, frameSize, writeFrameHeader } from '../../src/replication/frames.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { dataCodec, haveCodec, type MessageCodec } from '../../src/replication/messages.ts'
import {
  MAX_RECORD_SIZE,
  RECORD_HEADER_SIZE,
  RECORD_OVERHEAD,
  RecordOpener,
  RecordSealer
} from '../../src/replication/records.ts'
import { blockAt, randomNumbers } from '../harness/blocks.ts'

const HAVE = 3
const DATA = 9
const channel = 0
const proofNodes = 4
const blockSizes = { '512 B': 512, '16 KB': 16 * 1024, '64 KB': 64 * 1024 }

/** Encodes a message into `target` as a frame, which is returned. */
function frame<Sent>(
  target: Uint8Array,
  type: number,
  codec: MessageCodec<Sent, unknown>,
  message: Sent
): Uint8Array {
  const bodySize = codec.size(message)
  const body = writeFrameHeader(target, 0, channel, type, bodySize)
  codec.write(message, target, body)
  return target.subarray(0, frameSize(channel, type, bodySize))
}

function both<Sent>(name: string, type: number, codec: MessageCodec<Sent, unknown>, message: Sent): void {
  const room = frameSize(channel, type, codec.size(message))
  bench(`framing: encode ${name}`, function* () {
    const target = b4a.alloc(room)
    yield () => do_not_optimize(frame(target, type, codec, message))
  })
  bench(`framing: decode ${name}`, function* () {
    const bytes = frame(b4a.alloc(room), type, codec, message)
    const decoder = new FrameDecoder(DEFAULT_LIMITS.frameSize)
    yield () => {
      decoder.write(bytes)
      while (decoder.next()) do_not_optimize(codec.read(decoder.body, DEFAULT_LIMITS))
    }
  })
}

/** Random bits in every other KB of a window of a million blocks. */
function haveBitfield(): Uint8Array {
  const random = randomNumbers(1)
  return encode(Uint8Array.from({ length: 128 * 1024 }, (_, at) => (at & 1024 ? random() * 256 : 255)))
}

/** Messages to frames and back, bytes to records and back. */
export function framing(): void {
  const nodes = Array.from({ length: proofNodes }, (_, at) => ({
    index: 2 ** (at + 16),
    hash: b4a.alloc(HASH_SIZE, at),
    size: 2 ** (at + 20)
  }))
  for (const [size, bytes] of Object.entries(blockSizes)) {
    both(`Data of ${size}`, DATA, dataCodec, { index: 70_000, value: blockAt(bytes, 0), nodes })
  }
  both('Have of a range', HAVE, haveCodec, { start: 70_000, length: 1_000 })
  both('Have with a bitfield', HAVE, haveCodec, { start: 0, length: 2 ** 20, bitfield: haveBitfield() })

  for (const [size, bytes] of Object.entries({ ...blockSizes, '128 KB': MAX_RECORD_SIZE })) {
    bench(`framing: seal a record of ${size}`, function* () {
      const sealer = new RecordSealer(b4a.alloc(32, 1))
      const room = b4a.alloc(bytes + RECORD_OVERHEAD)
      yield () => do_not_optimize(sealer.seal(room, RECORD_HEADER_SIZE + bytes))
    })
    bench(`framing: seal and open a record of ${size}`, function* () {
      // A record can be opened once, so there is no opening without sealing.
      const sealer = new RecordSealer(b4a.alloc(32, 1))
      const opener = new RecordOpener(b4a.alloc(32, 1))
      const room = b4a.alloc(bytes + RECORD_OVERHEAD)
      const target = b4a.alloc(bytes)
      yield () => {
        opener.write(sealer.seal(room, RECORD_HEADER_SIZE + bytes))
        while (opener.next() !== -1) do_not_optimize(opener.open(target))
      }
    })
  }
}
