/**
 * The messages that hostile remotes are known for, one by one: after the handshake, in both dialects, and on every transport. The
 * connection ends with a coded error or goes on as if nothing had been; an honest peer beside it goes on being served.
 */
import test from 'tape'
import type { Output } from '../../src/replication/output.ts'
import { bytes, frame, uint, varint } from '../fuzz/wire-messages.ts'
import { Bench, connect, texts, until } from '../helpers/replication-feeds.ts'
import { type CodedError, ending, unwatched } from '../helpers/replication-pipes.ts'
import { OURS, OURS_HYPERCORE, replicating } from '../helpers/replication-subjects.ts'
import { settle } from '../helpers/watchdog.ts'

const join = (...parts: Uint8Array[]) => Buffer.concat(parts)
const rle = (...parts: (number | Uint8Array)[]) =>
  join(...parts.map((part) => (typeof part === 'number' ? varint(part) : part)))
const node = (index: number, hash: number, size: number) =>
  bytes(3, join(uint(1, index), bytes(2, Buffer.alloc(hash, 7)), uint(3, size)))
const value = bytes(2, Buffer.from('block 4'))

/** What is sent, and the code that the connection ends with; null if it goes on. */
const CASES: Record<string, [sent: Uint8Array, code: string | null]> = {
  'a frame length that does not end': [Buffer.alloc(11, 0xff), 'ERR_VARINT'],
  'a frame length of 2^53': [varint(2 ** 53), 'ERR_VARINT'],
  'a frame over the limit': [varint(2 ** 24), 'ERR_FRAME_SIZE'],
  'a header that does not end': [join(varint(11), Buffer.alloc(11, 0xff)), 'ERR_VARINT'],
  'an extension without an id': [frame(1, 15, Buffer.alloc(0)), 'ERR_MESSAGE_MALFORMED'],
  'an extension whose id does not end': [frame(1, 15, Buffer.alloc(12, 0xff)), 'ERR_MESSAGE_MALFORMED'],
  'an extension with an id of 2^53': [frame(1, 15, varint(2 ** 53)), 'ERR_MESSAGE_MALFORMED'],
  'a type that does not exist': [frame(1, 12, Buffer.from('what?')), null],
  'RLE that ends in a varint': [
    frame(1, 3, join(uint(1, 0), bytes(3, Buffer.of(0x80)))),
    'ERR_MALFORMED_RLE'
  ],
  'RLE with a literal that is cut off': [
    frame(1, 3, join(uint(1, 0), bytes(3, rle(2 * 100, Buffer.of(1))))),
    'ERR_MALFORMED_RLE'
  ],
  'RLE of 2^45 ones': [frame(1, 3, join(uint(1, 0), bytes(3, rle(4 * 2 ** 45 + 3)))), 'ERR_MALFORMED_RLE'],
  'RLE of 2^31 zeros': [frame(1, 3, join(uint(1, 0), bytes(3, rle(4 * 2 ** 31 + 1)))), 'ERR_MALFORMED_RLE'],
  'RLE of many small runs': [
    frame(1, 3, join(uint(1, 0), bytes(3, rle(...new Array<number>(50_000).fill(4 * 131_072 + 3))))),
    'ERR_MALFORMED_RLE'
  ],
  ...Object.fromEntries(
    [2 ** 27, 2 ** 50, 2 ** 53 - 1, 2 ** 53, 2 ** 63].flatMap((size) => {
      const words = `2^${Math.round(Math.log2(size))}${size === 2 ** 53 - 1 ? ' − 1' : ''}`
      // Numbers that are not exact any more are refused where they are read.
      const tooLarge = size >= 2 ** 53 ? 'ERR_MESSAGE_MALFORMED' : null
      return [
        [`Have of ${words} blocks`, [frame(1, 3, join(uint(1, 0), uint(2, size))), tooLarge ?? 'ERR_LIMIT']],
        [
          `Have from block ${words} on`,
          [frame(1, 3, join(uint(1, size), uint(2, 10))), tooLarge ?? (size > 2 ** 40 ? 'ERR_LIMIT' : null)]
        ],
        [`Unhave of ${words} blocks`, [frame(1, 4, join(uint(1, 0), uint(2, size))), tooLarge]],
        [`Want of ${words} blocks`, [frame(1, 5, join(uint(1, 0), uint(2, size))), tooLarge]],
        [`Request of block ${words}`, [frame(1, 7, uint(1, size)), tooLarge]],
        [`Request of byte ${words}`, [frame(1, 7, join(uint(1, 0), uint(2, size))), tooLarge]],
        [`Cancel of block ${words}`, [frame(1, 8, uint(1, size)), tooLarge]],
        [`Data of block ${words}`, [frame(1, 9, join(uint(1, size), value)), tooLarge]]
      ] as const
    })
  ),
  'a Want that is not aligned': [frame(1, 5, join(uint(1, 3), uint(2, 100))), null],
  'a bitfield that is not aligned': [
    frame(1, 3, join(uint(1, 3), bytes(3, rle(4 * 100 + 3)))),
    'ERR_MESSAGE_INVALID'
  ],
  'Data without value and nodes': [frame(1, 9, uint(1, 4)), 'ERR_PROOF_MALFORMED'],
  'Data without an index': [frame(1, 9, value), 'ERR_MESSAGE_INVALID'],
  'Data with a short signature': [
    frame(1, 9, join(uint(1, 4), value, bytes(4, Buffer.alloc(63)))),
    'ERR_MESSAGE_MALFORMED'
  ],
  'Data with a long signature': [
    frame(1, 9, join(uint(1, 4), value, bytes(4, Buffer.alloc(65)))),
    'ERR_MESSAGE_MALFORMED'
  ],
  'Data with a short hash': [frame(1, 9, join(uint(1, 4), value, node(10, 31, 7))), 'ERR_MESSAGE_MALFORMED'],
  'Data with a long hash': [frame(1, 9, join(uint(1, 4), value, node(10, 33, 7))), 'ERR_MESSAGE_MALFORMED'],
  'Data with a node 2^53 − 1': [frame(1, 9, join(uint(1, 4), value, node(2 ** 53 - 1, 32, 7))), null],
  'Data with a size of 2^53': [
    frame(1, 9, join(uint(1, 4), value, node(10, 32, 2 ** 53))),
    'ERR_MESSAGE_MALFORMED'
  ],
  'Data that nobody asked for': [frame(1, 9, join(uint(1, 4), value, node(10, 32, 7))), null],
  'Open on channel 0': [frame(0, 0, bytes(1, Buffer.alloc(32, 1))), 'ERR_CHANNEL'],
  'Open with a short discovery key': [frame(2, 0, bytes(1, Buffer.alloc(31, 1))), 'ERR_MESSAGE_MALFORMED'],
  'Open of another feed on a channel in use': [frame(1, 0, bytes(1, Buffer.alloc(32, 1))), 'ERR_CHANNEL'],
  'Close with a short discovery key': [frame(1, 10, bytes(1, Buffer.alloc(3))), 'ERR_MESSAGE_MALFORMED'],
  'a field that is cut off': [frame(1, 3, Buffer.of(0x1a, 0x20)), 'ERR_MESSAGE_MALFORMED']
}

const TRANSPORTS = {
  'without a cipher': { encrypted: false, noise: false },
  'as with old peers': { authenticated: false },
  authenticated: {}
}

for (const subject of [OURS, OURS_HYPERCORE]) {
  for (const [transport, options] of Object.entries(TRANSPORTS)) {
    test(`hostile messages: ${subject.name}, ${transport}`, async (t) => {
      const names = Object.keys(CASES)
      const bench = new Bench(t, subject)
      const writer = await bench.writer(texts(2 * names.length))
      const victim = await bench.sparse(writer)
      const honest = connect(writer, victim, { live: true })
      await victim.get(0)
      const wrong: string[] = []
      for (const [i, name] of names.entries()) {
        const [sent, expected] = CASES[name]!
        const stream = replicating(victim).replicate(false, { live: true, timeout: 0, ...options })
        const end = ending(stream)
        const remote = unwatched(new subject.Protocol(true, { live: true, timeout: 0, ...options }))
        remote.on('data', (chunk: Uint8Array) => stream.destroying || stream.write(chunk))
        stream.on('data', (chunk: Uint8Array) => remote.destroying || remote.write(chunk))
        remote.open(writer.key)
        await until(
          () => replicating(victim).peers.some((peer) => peer.stream.stream === stream && peer.remoteOpened),
          'the Open'
        )
        // What the remote's stream would never send itself.
        const { output } = (remote as unknown as { state: { output: Output } }).state
        const offset = output.reserve(sent.byteLength)
        output.bytes.set(sent, offset)
        await settle(10)
        const lives = !stream.destroying
        stream.destroy()
        remote.destroy()
        const code = lives ? null : ((await end) as CodedError | null)?.code
        await end
        if (code !== expected) wrong.push(`${name}: ${code}`)
        // Each time a block that is not here yet.
        const block = 1 + i
        if (String(await victim.get(block)) !== `block ${block}`) wrong.push(`${name}: block ${block}`)
      }
      t.deepEqual(wrong, [], `${names.length} messages`)
      t.notOk(honest.a.destroyed || honest.b.destroyed, 'the honest connection lives')
      await honest.cut()
    })
  }
}
