/** Texts for people. */

/** A whole number with separators. */
export function number(value: number): string {
  return value.toLocaleString('en')
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** A number of bytes. */
export function bytes(value: number): string {
  let unit = 0
  let shown = value
  while (shown >= 999.5 && unit < UNITS.length - 1) {
    shown /= 1000
    unit++
  }
  return `${unit === 0 || shown >= 99.95 ? Math.round(shown) : shown.toFixed(1)} ${UNITS[unit]}`
}

/** A share as a percentage that says 100 only if nothing is missing. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return '–'
  return `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)}\u00a0%`
}

/** A number and its noun: `1 block`, `2 blocks`. */
export function count(value: number, noun: string): string {
  return `${number(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** A duration. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`
  const seconds = milliseconds / 1000
  return seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`
}
