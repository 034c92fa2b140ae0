/** A number of bytes for people. */
export function megabytes(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`
  return `${(bytes / 1e6).toFixed(1)} MB`
}

/** Milliseconds for people. */
export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}

/** Bytes in a time, for people. */
export function speed(bytes: number, milliseconds: number): string {
  // Megabytes a second are thousands of bytes a millisecond.
  const rate = bytes / 1e3 / Math.max(milliseconds, 0.001)
  return `${rate.toFixed(rate < 10 ? 1 : 0)} MB/s`
}

/** One thing or several. */
export function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`
}

/** A key, or another hash, for people. */
export function hex(bytes: Uint8Array | null): string {
  return Buffer.from(bytes ?? []).toString('hex')
}
