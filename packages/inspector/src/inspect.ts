import type { Feed } from 'ddatabase'
import { randomToken } from './guard.ts'
import { openBrowser } from './open-browser.ts'
import { type PageFiles, readPage } from './page-files.ts'
import { startServer } from './server.ts'

/** A feed of any values, and what it is called on the page. */
export interface InspectedFeed {
  feed: Feed<unknown>
  /** Shown beside the key, for instance the directory. Default: the beginning of the key. */
  name?: string | undefined
}

/** Options of {@link inspect}. */
export interface InspectOptions {
  /** Port to listen at. Default 0: any free one. */
  port?: number | undefined
  /** Address to listen at; there are no others, so that nobody but this machine can connect. Default `127.0.0.1`. */
  host?: '127.0.0.1' | '::1' | undefined
  /** Opens the page in the browser of this user. Default false. */
  open?: boolean | undefined
  /** What the address has to contain: 16 to 256 letters, digits, `-` and `_`. Default: 32 random bytes. */
  token?: string | undefined
}

/** A running window. */
export interface Inspector {
  /** Address of the page. It contains the token: whoever knows it may read, and append to, the feeds. */
  readonly url: string
  /** Ends the server and its connections. The feeds stay open. */
  close(): Promise<void>
}

/**
 * Serves a page about feeds on loopback. The feeds stay the caller's: they are opened if they are not yet, and not closed. One that
 * cannot be opened is listed with the reason.
 * @throws TypeError for a host that is not of this machine alone, or a token that is none. Errors: `EADDRINUSE` and others of
 * listening; `ENOENT` if the package was not built.
 */
export async function inspect(
  feeds: Feed<unknown> | InspectedFeed | readonly (Feed<unknown> | InspectedFeed)[],
  options: InspectOptions = {}
): Promise<Inspector> {
  return inspectWith(await readPage(), feeds, options)
}

/** As {@link inspect}, with the files of the page given. */
export async function inspectWith(
  page: PageFiles,
  feeds: Feed<unknown> | InspectedFeed | readonly (Feed<unknown> | InspectedFeed)[],
  options: InspectOptions = {}
): Promise<Inspector> {
  const { port = 0, host = '127.0.0.1', token = randomToken(), open = false } = options
  if (host !== '127.0.0.1' && host !== '::1') throw new TypeError('host should be 127.0.0.1 or ::1')
  if (!/^[\w-]{16,256}$/.test(token)) {
    throw new TypeError('token should be 16 to 256 letters, digits, "-" and "_"')
  }
  const list = (Array.isArray(feeds) ? feeds : [feeds]) as readonly (Feed<unknown> | InspectedFeed)[]
  const server = await startServer({ page, feeds: list.map(named), host, port, token })
  if (open) openBrowser(server.launchUrl())
  return { url: server.url, close: () => server.close() }
}

function named(given: Feed<unknown> | InspectedFeed): InspectedFeed {
  return 'feed' in given ? given : { feed: given }
}
