import { Failure } from './exit.ts'

/** Blocks `start` … `end` − 1; an `end` of null is where the feed ends. */
export interface BlockRange {
  start: number
  end: number | null
}

/** Reads `3`, `3..7` (blocks 3 to 6), `3..` or `..7`. Fails with exit code 2 for anything else. */
export function parseRange(text: string): BlockRange {
  const found = /^(?:(\d+)|(\d*)\.\.(\d*))$/.exec(text)
  if (found === null) throw wrong(text)
  const [, single, first, last] = found
  if (single !== undefined) {
    const start = toIndex(single, text)
    return { start, end: start + 1 }
  }
  const start = first === '' ? 0 : toIndex(first!, text)
  const end = last === '' ? null : toIndex(last!, text)
  if (end !== null && end < start) throw wrong(text)
  return { start, end }
}

/** A block number or an offset in bytes. Fails with exit code 2 for anything else. */
export function parseWhole(text: string | number, what: string): number {
  const value = typeof text === 'number' ? text : /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new Failure('usage', `${what} should be a whole number from 0 on, not "${text}".`)
  }
  return value
}

const MAX_INDEX = 2 ** 51

function toIndex(digits: string, text: string): number {
  const value = Number(digits)
  if (value > MAX_INDEX) throw wrong(text)
  return value
}

function wrong(text: string): Failure {
  return new Failure('usage', `"${text}" is no range of blocks; write 7, 3..9 (without block 9), 3.. or ..9.`)
}

const SIZES: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 * 1024 }

/** A number of bytes such as `65536`, `64k` or `1m`, from 1 to `max`. Fails with exit code 2 for anything else. */
export function parseSize(text: string, what: string, max: number): number {
  const found = /^(\d+)([km]?)$/i.exec(text)
  const bytes = found === null ? Number.NaN : Number(found[1]) * SIZES[found[2]!.toLowerCase()]!
  if (!(bytes >= 1 && bytes <= max)) {
    throw new Failure(
      'usage',
      `${what} should be a number of bytes from 1 to ${max}, such as 64k, not "${text}".`
    )
  }
  return bytes
}
