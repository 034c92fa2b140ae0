/** The bytes of hexadecimal text. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  for (let i = 0; i < bytes.byteLength; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** Bytes in hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/** Unsigned 64 bit numbers, big endian, one after the other. */
export function uint64s(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of values.entries()) view.setBigUint64(8 * i, BigInt(value))
  return bytes
}

/** All parts in one. */
export function join(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/** A line of a hex dump. */
export interface HexLine {
  offset: string
  hex: string
  text: string
}

/** The first `limit` bytes as lines of sixteen. */
export function hexDump(bytes: Uint8Array, limit: number): HexLine[] {
  const lines: HexLine[] = []
  for (let at = 0; at < Math.min(limit, bytes.byteLength); at += 16) {
    const part = bytes.subarray(at, at + 16)
    lines.push({
      offset: at.toString(16).padStart(6, '0'),
      hex: Array.from(part, (byte) => byte.toString(16).padStart(2, '0')).join(' '),
      text: Array.from(part, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')).join(
        ''
      )
    })
  }
  return lines
}

/** Text of bytes for one line: what cannot be shown is a dot. Null if most of it is no text. */
export function preview(bytes: Uint8Array): string | null {
  const text = new TextDecoder().decode(bytes)
  let strange = 0
  let shown = ''
  for (const character of text) {
    const code = character.codePointAt(0)!
    const bad = code === 0xfffd || code < 0x20 || (code >= 0x7f && code < 0xa0)
    if (bad && code !== 9 && code !== 10 && code !== 13) strange++
    shown += bad ? '·' : character
  }
  return strange > text.length / 8 ? null : shown
}
