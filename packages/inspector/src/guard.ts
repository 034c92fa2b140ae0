/**
 * Who may ask: programs of this machine, under this server's own name, that know the token.
 *
 * - _Host_: a page of elsewhere whose name was made to point at this machine (DNS rebinding) is of the same origin as this server,
 *   for the browser. Its requests carry its own name.
 * - _Origin_, _Sec-Fetch-Site_: no other page may ask for anything, and what changes a feed has to come from this one (CSRF).
 * - _token_: the first part of every path, so that nothing at all is served without it. It is in no cookie: those would be sent to
 *   every server on this machine, whatever its port.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { Failure } from './messages.ts'

/** A token of 32 random bytes. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url')
}

/** Whether two tokens are the same, in a time that does not tell how far they are. */
export function sameToken(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}

const HEADERS: Record<string, string> = {
  // The page needs nothing but its own files, and pictures made of blocks. Nothing inline, no text that becomes code.
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    'img-src data: blob:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), usb=()',
  'cache-control': 'no-store'
}

/** Puts the headers that keep the page apart from all others on every answer. */
export const protectedHeaders: MiddlewareHandler = async (context, next) => {
  await next()
  for (const [name, value] of Object.entries(HEADERS)) {
    if (!context.res.headers.has(name)) context.res.headers.set(name, value)
  }
}

/** Refuses what was not asked of this server by this server's page. @param hosts - its names, with the port */
export function checkSource(hosts: () => readonly string[]): MiddlewareHandler {
  return async (context, next) => {
    const { req } = context
    const host = req.header('host') ?? ''
    if (!hosts().includes(host))
      return context.json(failure('HOST', 'This is not the name of this server'), 421)
    const origin = req.header('origin')
    if (origin !== undefined ? origin !== `http://${host}` : req.method !== 'GET') {
      return context.json(failure('ORIGIN', 'Only the page of this server may do that'), 403)
    }
    const site = req.header('sec-fetch-site')
    const opened = req.method === 'GET' && req.header('sec-fetch-mode') === 'navigate'
    if (site !== undefined && site !== 'same-origin' && site !== 'none' && !opened) {
      return context.json(failure('ORIGIN', 'Only the page of this server may do that'), 403)
    }
    return next()
  }
}

/** Refuses paths that do not begin with the token. */
export function checkToken(token: string): MiddlewareHandler {
  return async (context, next) => {
    if (sameToken(context.req.param('token') ?? '', token)) return next()
    return context.json(
      failure('TOKEN', 'Open the address that was printed when the inspector was started'),
      403
    )
  }
}

function failure(code: string, message: string): Failure {
  return { code, message }
}
