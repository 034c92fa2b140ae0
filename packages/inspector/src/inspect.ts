import type { Feed } from 'ddatabase'
import { type Arguments, checkArguments } from './arguments.ts'
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
 * Errors: TypeError, RangeError for what is no feed, a host that is not of this machine alone, a port or a token that is none;
 * `EADDRINUSE` and others of listening; `ENOENT` if the package was not built.
 */
export async function inspect(
  feeds: Feed<unknown> | InspectedFeed | readonly (Feed<unknown> | InspectedFeed)[],
  options: InspectOptions = {}
): Promise<Inspector> {
  const checked = checkArguments(feeds, options)
  return serve(await readPage(), checked)
}

/** As {@link inspect}, with the files of the page given. */
export async function inspectWith(
  page: PageFiles,
  feeds: Feed<unknown> | InspectedFeed | readonly (Feed<unknown> | InspectedFeed)[],
  options: InspectOptions = {}
): Promise<Inspector> {
  return serve(page, checkArguments(feeds, options))
}

async function serve(page: PageFiles, { open, ...options }: Arguments): Promise<Inspector> {
  const server = await startServer({ page, ...options })
  if (open) openBrowser(server.launchUrl())
  return { url: server.url, close: () => server.close() }
}
