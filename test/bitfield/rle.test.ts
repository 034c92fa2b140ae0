import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import b4a from 'b4a'
import test from 'tape'
import { decode, encode } from '../../src/bitfield/rle.ts'
import { DDatabaseError } from '../../src/errors.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'

const published = createRequire(import.meta.url)('bitfield-rle').align(4) as {
  encode(bytes: Uint8Array): Uint8Array
  decode(bytes: Uint8Array): Uint8Array
}

interface Case {
  name: string
  bytes?: string
  bytesLength: number
  encoded: string
  decodedLength: number
  decodedLengthAligned4: number
  decodedAligned4?: string
}

const { cases } = JSON.parse(readFileSync(new URL('../vectors/rle.json', import.meta.url), 'utf8')) as {
  cases: Case[]
}

// The two inputs that the vectors only describe.
const described: Record<string, (bytes: Uint8Array) => void> = {
  '1024 ff': (bytes) => bytes.fill(0xff),
  '128 KiB': (bytes) => {
    bytes.fill(0xff, 0, 70000)
    bytes[100000] = 1
  }
}

function inputOf(vector: Case): Uint8Array {
  if (vector.bytes !== undefined) return b4a.from(vector.bytes, 'hex')
  const bytes = b4a.alloc(vector.bytesLength)
  described[vector.name.split(':')[0]!]!(bytes)
  return bytes
}

for (const vector of cases) {
  test(`rle: vector ${vector.name}`, (t) => {
    const bytes = inputOf(vector)
    t.equal(bytes.length, vector.bytesLength, 'input length')
    t.equal(b4a.toString(encode(bytes), 'hex'), vector.encoded, 'encoded')

    const decoded = decode(b4a.from(vector.encoded, 'hex'), vector.decodedLength)
    t.equal(decoded.length, vector.decodedLengthAligned4, 'decoded length')
    if (vector.decodedAligned4 !== undefined)
      t.equal(b4a.toString(decoded, 'hex'), vector.decodedAligned4, 'decoded')
    const kept = Math.min(decoded.length, bytes.length)
    t.ok(b4a.equals(decoded.subarray(0, kept), bytes.subarray(0, kept)), 'decodes to the input')
    t.ok(
      [...bytes.subarray(kept), ...decoded.subarray(kept)].every((byte) => byte === 0),
      'and zeros'
    )

    if (vector.decodedLength > 0) {
      throwsMalformed(t, vector.encoded, vector.decodedLength - 1, 'one byte over the limit')
    }
    t.end()
  })
}

test('rle: random input as the published package', (t) => {
  const random = new SeededRandom(seedFromEnvironment(1201))
  for (let round = 0; round < 2000; round++) {
    const bytes = patchy(random, random.below(round % 20 === 0 ? 20000 : 200))
    const encoded = encode(bytes)
    if (!b4a.equals(encoded, published.encode(bytes))) return t.end(`round ${round}: encoded differently`)
    const decoded = decode(encoded, bytes.length)
    if (!b4a.equals(decoded, published.decode(encoded))) return t.end(`round ${round}: decoded differently`)
    if (!b4a.equals(decoded, naiveDecode(encoded))) return t.end(`round ${round}: decoded wrongly`)
  }
  t.pass('equal')
  t.end()
})

test('rle: random garbage decodes or is refused, as the naive decoder says', (t) => {
  const random = new SeededRandom(seedFromEnvironment(1202))
  let refused = 0
  for (let round = 0; round < 5000; round++) {
    const garbage = random.bytes(random.below(12))
    const limit = random.below(5000)
    let expected: Uint8Array | null = null
    try {
      expected = naiveDecode(garbage, limit)
    } catch {
      refused++
    }
    let decoded: Uint8Array | null = null
    try {
      decoded = decode(garbage, limit)
    } catch (error) {
      if (!DDatabaseError.is(error) || error.code !== 'ERR_MALFORMED_RLE') throw error
    }
    if (expected === null ? decoded !== null : decoded === null || !b4a.equals(decoded, expected)) {
      return t.end(`round ${round}: ${garbage.toString('hex')} limit ${limit}`)
    }
  }
  t.ok(refused > 500 && refused < 4900, `both kinds occur (${refused} refused)`)
  t.end()
})

test('rle: malformed input', (t) => {
  throwsMalformed(t, '80', 100, 'a cut varint')
  throwsMalformed(t, '06aabb', 100, 'a literal beyond the input')
  throwsMalformed(t, 'feffffffffffffff7f00', 1e15, 'a huge literal')
  throwsMalformed(t, `${'80'.repeat(1000)}01`, 100, 'a varint that does not end')
  throwsMalformed(t, `${'80'.repeat(1000)}00`, 100, 'a long varint of zeros')
  throwsMalformed(t, 'ffffffffffffffff7f', Number.MAX_SAFE_INTEGER, 'a number above 2^53')
  throwsMalformed(t, 'fdffffffffffff0f', 131072, 'a run that would fill the memory')
  throwsMalformed(t, '1111'.repeat(4), 30, 'many small runs over the limit together')
  t.equal(decode(b4a.from('1111'.repeat(4), 'hex'), 32).length, 32, 'and within it')
  t.equal(decode(b4a.from('8000', 'hex'), 0).length, 0, 'an empty literal, written long')
  t.end()
})

function throwsMalformed(t: test.Test, hex: string, limit: number, name: string): void {
  try {
    decode(b4a.from(hex, 'hex'), limit)
    t.fail(name)
  } catch (error) {
    t.equal(DDatabaseError.is(error) && error.code, 'ERR_MALFORMED_RLE', name)
  }
}

/** Bytes in patches of 00, ff and noise. */
function patchy(random: SeededRandom, size: number): Uint8Array {
  const bytes = b4a.alloc(size)
  for (let at = 0; at < size; ) {
    const end = Math.min(size, at + 1 + random.below(random.pick([2, 5, 80, 3000])))
    const kind = random.below(3)
    for (; at < end; at++) bytes[at] = kind === 0 ? 0 : kind === 1 ? 0xff : random.below(256)
  }
  return bytes
}

/** Straight from the specification, with BigInt, one byte at a time. */
function naiveDecode(bytes: Uint8Array, limit = Number.MAX_SAFE_INTEGER): Uint8Array {
  const out: number[] = []
  let at = 0
  while (at < bytes.length) {
    let head = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Error('cut')
      head |= BigInt(byte & 127) << shift
      if (byte < 128) break
    }
    const count = head % 2n === 0n ? head / 2n : head / 4n
    if (BigInt(out.length) + count > BigInt(limit)) throw new Error('limit')
    for (let i = 0n; i < count; i++) {
      const byte = head % 2n === 0n ? bytes[at++] : head % 4n === 3n ? 255 : 0
      if (byte === undefined) throw new Error('beyond')
      out.push(byte)
    }
  }
  while (out.length % 4 !== 0) out.push(0)
  return Uint8Array.from(out)
}
