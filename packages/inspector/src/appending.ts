import type { FeedWatch } from './feed-watch.ts'

/** Values of one request. */
const MAX_VALUES = 10_000

/** What was appended. */
export interface Appended {
  /** The first block. */
  start: number
  count: number
}

/**
 * Appends the body of a request as one batch: `application/octet-stream` in blocks of `size` bytes, `application/json` as
 * `{ "values": [...] }`. The feed's own encoding makes blocks of the values.
 * Errors: TypeError or RangeError for a body that is none, and those of `append`.
 */
export async function appendBody(
  { feed }: FeedWatch,
  type: string,
  body: Uint8Array,
  size: number
): Promise<Appended> {
  const values = valuesOf(type, body, size)
  if (values.length === 0) throw new TypeError('There is nothing to append')
  if (values.length > MAX_VALUES) throw tooMany()
  const start = await feed.append(values)
  return { start, count: values.length }
}

function valuesOf(type: string, body: Uint8Array, size: number): unknown[] {
  if (type === 'application/octet-stream') {
    if (size < 1) throw new RangeError('block should be at least 1')
    // Before they are made.
    if (body.byteLength > size * MAX_VALUES) throw tooMany()
    const blocks: Uint8Array[] = []
    for (let at = 0; at < body.byteLength; at += size) blocks.push(body.subarray(at, at + size))
    return blocks
  }
  if (type === 'application/json') {
    const { values } = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as {
      values?: unknown
    }
    if (!Array.isArray(values)) throw new TypeError('values should be an array')
    return values
  }
  throw new TypeError('The content type should be application/json or application/octet-stream')
}

function tooMany(): RangeError {
  return new RangeError(`No more than ${MAX_VALUES} blocks at once`)
}
