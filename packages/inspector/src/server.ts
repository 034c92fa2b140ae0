import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { feedRoutes } from './feed-routes.ts'
import { FeedWatch } from './feed-watch.ts'
import { checkSource, checkToken, protectedHeaders, randomToken, sameToken } from './guard.ts'
import type { InspectedFeed } from './inspect.ts'
import { Live } from './live.ts'
import type { Failure } from './messages.ts'
import { type PageFiles, typeOf } from './page-files.ts'

/** How long the address that the browser is started with works, in milliseconds. */
const LAUNCH = 60_000

// What is thrown for input that is none; everything else is about the feed.
const BAD_REQUEST = [RangeError, SyntaxError, TypeError]

/** What a server needs. */
export interface ServerOptions {
  page: PageFiles
  feeds: readonly InspectedFeed[]
  host: '127.0.0.1' | '::1'
  port: number
  token: string
}

/** The running server of {@link startServer}. */
export interface InspectorServer {
  url: string
  /** An address that works once, for a short time: the arguments of a program are seen by every user of the machine. */
  launchUrl(): string
  close(): Promise<void>
}

/** Serves the page and what it asks for. Errors: those of listening. */
export async function startServer(options: ServerOptions): Promise<InspectorServer> {
  const { page, feeds, host, port, token } = options
  const watches = feeds.map(({ feed, name }, at) => new FeedWatch(String(at), feed, name))
  const live = new Live(watches)
  let names: string[] = []
  let launch: { secret: string; until: number } | null = null

  const app = new Hono()
  app.use(protectedHeaders)
  app.use(checkSource(() => names))
  // Hono would make the answer of GET for nobody: streams would never end.
  app.use((context, next) =>
    context.req.method === 'HEAD' ? Promise.resolve(context.body(null, 405, { allow: 'GET' })) : next()
  )
  app.onError((error, context) => {
    const code = (error as { code?: unknown }).code
    const status = BAD_REQUEST.some((kind) => error instanceof kind) ? 400 : 409
    const text: Failure = { code: typeof code === 'string' ? code : 'ERROR', message: error.message }
    return context.json(text, status)
  })
  app.notFound((context) =>
    context.json({ code: 'NOT_FOUND', message: 'There is nothing here' } satisfies Failure, 404)
  )
  app.get('/launch/:secret', (context) => {
    const given = context.req.param('secret')
    if (launch === null || Date.now() > launch.until || !sameToken(given, launch.secret)) {
      const text: Failure = { code: 'TOKEN', message: 'This address does not work any more' }
      return context.json(text, 403)
    }
    launch = null
    return context.redirect(`/${token}/`, 303)
  })

  const inside = new Hono()
  inside.use(checkToken(token))
  // What is relative in the page needs the slash at the end.
  inside.get('/', (context) => context.redirect(`/${token}/`, 303))
  inside.get('/page/:file', (context) => file(context, page, context.req.param('file')))
  inside.get('/api/feeds', (context) => context.json(watches.map((watch) => watch.summary())))
  inside.get('/api/events', (context) => {
    const selected = watches[Number(context.req.query('feed') ?? '-1')]
    return live.follow(context, selected)
  })
  inside.route('/api/feeds/:feed', feedRoutes(watches))
  app.get('/:token/', checkToken(token), (context) => file(context, page, 'index.html'))
  app.route('/:token', inside)

  const server = createAdaptorServer({ fetch: app.fetch }) as Server
  await new Promise<void>((resolve, reject) => {
    // For its life: one that comes while it runs, as when no file can be opened any more, must not end the process.
    server.on('error', reject)
    server.listen(port, host, resolve)
  }).catch((error: unknown) => {
    for (const watch of watches) watch.close()
    throw error
  })
  const { port: listening } = server.address() as AddressInfo
  const own = host === '::1' ? `[::1]:${listening}` : `127.0.0.1:${listening}`
  names = [own, `localhost:${listening}`]
  // Browsers leave this port out.
  if (listening === 80) names.push(...names.map((name) => name.slice(0, -':80'.length)))
  const base = `http://${own}`
  return {
    url: `${base}/${token}/`,
    launchUrl() {
      launch = { secret: randomToken(), until: Date.now() + LAUNCH }
      return `${base}/launch/${launch.secret}`
    },
    async close() {
      live.close()
      for (const watch of watches) watch.close()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    }
  }
}

function file(
  context: {
    body(data: Uint8Array<ArrayBuffer>, status: 200, headers: Record<string, string>): Response
    notFound(): Response | Promise<Response>
  },
  page: PageFiles,
  name: string
): Response | Promise<Response> {
  const content = page.get(name)
  if (content === undefined) return context.notFound()
  return context.body(content as Uint8Array<ArrayBuffer>, 200, { 'content-type': typeOf(name) })
}
