import type { Feed } from 'ddatabase'
import { randomToken } from './guard.ts'
import type { InspectedFeed, InspectOptions } from './inspect.ts'

/** The arguments of `inspect`, checked and with their defaults in place. */
export interface Arguments {
  feeds: InspectedFeed[]
  port: number
  host: '127.0.0.1' | '::1'
  token: string
  open: boolean
}

/** Errors: TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE`, RangeError `ERR_OUT_OF_RANGE`. */
export function checkArguments(given: unknown, options: InspectOptions | null): Arguments {
  if (typeof (options ?? {}) !== 'object') throw wrongType('options should be an object')
  const port = options?.port ?? 0
  const host = options?.host ?? '127.0.0.1'
  const token = options?.token ?? randomToken()
  if (typeof port !== 'number') throw wrongType('port should be a number')
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    const error = new RangeError(`port should be a whole number from 0 to 65535, got ${port}`)
    throw Object.assign(error, { code: 'ERR_OUT_OF_RANGE' })
  }
  if (host !== '127.0.0.1' && host !== '::1') throw wrongValue('host should be 127.0.0.1 or ::1')
  if (typeof token !== 'string') throw wrongType('token should be a string')
  if (!/^[\w-]{16,256}$/.test(token)) {
    throw wrongValue('token should be 16 to 256 letters, digits, "-" and "_"')
  }
  const feeds = Array.isArray(given) ? given.map(named) : [named(given)]
  return { feeds, port, host, token, open: !!options?.open }
}

function named(given: unknown): InspectedFeed {
  if (typeof given === 'object' && given !== null) {
    const { feed, name } = ('feed' in given ? given : { feed: given }) as Partial<InspectedFeed>
    if (typeof (name ?? '') !== 'string') throw wrongType('name should be a string')
    if (isFeed(feed)) return { feed, name: name ?? undefined }
  }
  throw wrongType('feeds should be feeds of ddatabase, or objects with a feed and a name')
}

function isFeed(value: unknown): value is Feed<unknown> {
  const { on, ready, replicate } = (value ?? {}) as Partial<Feed<unknown>>
  return typeof on === 'function' && typeof ready === 'function' && typeof replicate === 'function'
}

function wrongType(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' })
}

function wrongValue(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
}
