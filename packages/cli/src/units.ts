/** Numbers and hashes for people. */

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const

/** A number of bytes in decimal units. */
export function size(bytes: number): string {
  let value = bytes
  let unit = 0
  // What would be rounded to 1000 belongs to the next unit.
  while (value >= (unit === 0 ? 1000 : 999.95) && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  if (unit === 0) return count(bytes, 'byte')
  return `${value.toFixed(1)} ${UNITS[unit]}`
}

/** Seconds in words as short as `3 s`, `4 min 05 s` or `2 h 07 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`
}

function pad(value: number): string {
  return String(value).padStart(2, '0')
}

/** One thing or several. */
export function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`
}

/** Bytes in hexadecimal; null stays null. */
export function hex(bytes: Uint8Array): string
export function hex(bytes: Uint8Array | null): string | null
export function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Text from elsewhere without what could steer a terminal: control characters become visible escapes. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (character) => {
    if (character === '\n') return '\\n'
    if (character === '\t') return '\\t'
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
