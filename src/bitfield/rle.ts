/**
 * Run length encoding of bitfields in Have messages (spec WIRE §12): a sequence of
 *
 * ```
 * varint(2·n)             literal: n bytes follow
 * varint(4·n + 2·v + 1)   run of n bytes, all 00 (v = 0) or all ff (v = 1)
 * ```
 */
import b4a from 'b4a'
import { DDatabaseError } from '../errors.ts'

// Four numbers per run that is worth encoding: where the literal before it starts, where it starts and ends, v.
const TOKEN = 4

/** Encodes `bytes`; trailing zero bytes are dropped. Byte for byte what the published packages send. */
export function encode(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--

  const tokens = worthwhileRuns(bytes, end)
  const tail = tokens.length === 0 ? 0 : tokens[tokens.length - 2]!
  const encoded = b4a.allocUnsafe(encodedLength(tokens, end))
  let at = 0
  for (let i = 0; i < tokens.length; i += TOKEN) {
    const literal = tokens[i]!
    const start = tokens[i + 1]!
    const stop = tokens[i + 2]!
    if (literal < start) at = writeLiteral(encoded, at, bytes, literal, start)
    at = writeVarint(encoded, at, 4 * (stop - start) + 2 * tokens[i + 3]! + 1)
  }
  if (tail < end) writeLiteral(encoded, at, bytes, tail, end)
  return encoded
}

/**
 * Scans for runs of equal 00 or ff bytes and keeps those for which literal + run is shorter than one literal
 * over both; the others stay part of the pending literal.
 */
function worthwhileRuns(bytes: Uint8Array, end: number): number[] {
  const tokens: number[] = []
  let literal = 0
  let at = 0
  while (at < end) {
    const value = bytes[at]
    if (value !== 0x00 && value !== 0xff) {
      at++
      continue
    }
    const start = at
    do at++
    while (at < end && bytes[at] === value)

    const head = start - literal
    const length = at - start
    const bit = value === 0xff ? 1 : 0
    const cost = (head > 0 ? varintLength(2 * head) + head : 0) + varintLength(4 * length + 2 * bit + 1)
    if (cost < varintLength(2 * (head + length)) + head + length) {
      tokens.push(literal, start, at, bit)
      literal = at
    }
  }
  return tokens
}

function encodedLength(tokens: number[], end: number): number {
  let length = 0
  let literal = 0
  for (let i = 0; i < tokens.length; i += TOKEN) {
    const head = tokens[i + 1]! - tokens[i]!
    if (head > 0) length += varintLength(2 * head) + head
    length += varintLength(4 * (tokens[i + 2]! - tokens[i + 1]!) + 2 * tokens[i + 3]! + 1)
    literal = tokens[i + 2]!
  }
  const tail = end - literal
  return tail > 0 ? length + varintLength(2 * tail) + tail : length
}

function writeLiteral(target: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): number {
  const next = writeVarint(target, at, 2 * (end - start))
  copy(target, next, bytes, start, end)
  return next + end - start
}

/** Copies bytes; short literals are the rule, and for these making a view costs more than the copy. */
function copy(target: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): void {
  if (end - start > 48) target.set(bytes.subarray(start, end), at)
  else for (let i = start, to = at; i < end; i++) target[to++] = bytes[i]!
}

/**
 * Decodes; the result is padded with zeros to a multiple of 4 bytes.
 *
 * Throws `ERR_MALFORMED_RLE` for a varint that is cut or not a safe integer, for a literal that reaches beyond
 * the input, and for more than `limit` decoded bytes; the latter before anything is allocated.
 */
export function decode(bytes: Uint8Array, limit: number): Uint8Array {
  const size = decodedLength(bytes, limit)
  return write(b4a.alloc(Math.ceil(size / 4) * 4), bytes)
}

/** Throws `ERR_MALFORMED_RLE` where {@link decode} would. */
export function requireSize(bytes: Uint8Array, limit: number): void {
  decodedLength(bytes, limit)
}

/** Decodes into `target`, whose rest is set to zero. Throws `ERR_MALFORMED_RLE` as {@link decode} with its size as limit. */
export function decodeInto(target: Uint8Array, bytes: Uint8Array): Uint8Array {
  decodedLength(bytes, target.byteLength)
  target.fill(0)
  return write(target, bytes)
}

/** Decodes what was found to be well formed and to fit, into zeros. */
function write(decoded: Uint8Array, bytes: Uint8Array): Uint8Array {
  const reader = new VarintReader(bytes)
  let at = 0
  while (reader.at < bytes.length) {
    const head = reader.next()
    const length = lengthOf(head)
    if (head % 2 === 0) {
      copy(decoded, at, bytes, reader.at, reader.at + length)
      reader.at += length
    } else if (head % 4 === 3) {
      decoded.fill(0xff, at, at + length)
    }
    at += length
  }
  return decoded
}

function decodedLength(bytes: Uint8Array, limit: number): number {
  const reader = new VarintReader(bytes)
  let size = 0
  while (reader.at < bytes.length) {
    const head = reader.next()
    const length = lengthOf(head)
    if (head % 2 === 0) {
      if (length > bytes.length - reader.at) throw malformed('a literal reaches beyond the input')
      reader.at += length
    }
    size += length
    if (size > limit) throw malformed(`it decodes to more than ${limit} bytes`)
  }
  return size
}

function lengthOf(head: number): number {
  return head % 2 === 0 ? head / 2 : Math.floor(head / 4)
}

class VarintReader {
  at = 0
  #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  next(): number {
    let value = 0
    let scale = 1
    for (;;) {
      if (this.at === this.#bytes.length) throw malformed('a number is cut')
      const byte = this.#bytes[this.at++]!
      value += (byte & 0x7f) * scale
      // Checked on the way, so that a number of any length is refused within a few bytes.
      if (value > Number.MAX_SAFE_INTEGER || scale > Number.MAX_SAFE_INTEGER)
        throw malformed('a number is too large')
      if (byte < 0x80) return value
      scale *= 0x80
    }
  }
}

function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value
  let next = at
  while (rest >= 0x80) {
    target[next++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[next++] = rest
  return next
}

function varintLength(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x200000) return 3
  let length = 4
  for (let rest = Math.floor(value / 0x200000); rest >= 0x80; rest = Math.floor(rest / 0x80)) length++
  return length
}

function malformed(reason: string): DDatabaseError {
  return new DDatabaseError('ERR_MALFORMED_RLE', {
    message: `The run-length encoded bitfield is malformed: ${reason}`
  })
}
