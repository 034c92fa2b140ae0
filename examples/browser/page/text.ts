const NUMBERS = new Intl.NumberFormat('en')

/** With separators between thousands. */
export function number(value: number): string {
  return NUMBERS.format(value)
}

/** Bytes as megabytes. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1)} MB`
}

/** The beginning of a block: as text if it is text, else in hexadecimal. */
export function preview(data: Uint8Array): string {
  const start = data.subarray(0, 200)
  const printable = start.every((byte) => byte >= 0x20 && byte < 0x7f)
  if (printable) return new TextDecoder().decode(start)
  return `${Array.from(start.subarray(0, 24), (byte) => byte.toString(16).padStart(2, '0')).join(' ')} …`
}
