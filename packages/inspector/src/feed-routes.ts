import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { stream } from 'hono/streaming'
import { appendBody } from './appending.ts'
import { MAX_CELLS, mapWindow } from './block-map.ts'
import { blockProof } from './block-proof.ts'
import { checkBlock, fetchBlock, listBlocks, MAX_ROWS, readBlock } from './blocks.ts'
import type { FeedWatch } from './feed-watch.ts'
import type { Failure } from './messages.ts'
import { MAX_NEEDLE, search } from './search.ts'

/** Bytes of a request. */
const MAX_BODY = 8 * 1024 * 1024
/** Tree indexes that may be asked about at once. */
const MAX_NODES = 256
/** How long a block is waited for, in milliseconds. */
const PATIENCE = 15_000
/** Searches at once. */
const MAX_SEARCHES = 4

type Variables = { Variables: { watch: FeedWatch } }

/** What can be asked of, and done with, one feed: below `/api/feeds/:feed`. */
export function feedRoutes(watches: readonly FeedWatch[]): Hono<Variables> {
  const routes = new Hono<Variables>()
  let searches = 0

  routes.use(async (context, next) => {
    const watch = watches[wholeNumber(context.req.param('feed'), 'feed')]
    if (watch === undefined) return context.json(failure('NOT_FOUND', 'There is no such feed'), 404)
    if (!watch.usable) return context.json(failure('ERR_FEED_NOT_OPEN', 'The feed is not open'), 409)
    context.set('watch', watch)
    return next()
  })

  routes.get('/map', (context) => {
    const start = parameter(context, 'start')
    const span = Math.max(1, parameter(context, 'span'))
    const cells = Math.min(MAX_CELLS, parameter(context, 'cells'))
    return context.json(mapWindow(context.var.watch, start, span, cells))
  })

  routes.get('/blocks', async (context) => {
    const count = Math.min(MAX_ROWS, parameter(context, 'count'))
    return context.json(await listBlocks(context.var.watch, parameter(context, 'start'), count))
  })

  routes.get('/blocks/:block', async (context) => {
    const { watch } = context.var
    const index = checkBlock(watch, wholeNumber(context.req.param('block'), 'block'))
    return context.json({ index, state: watch.stateOf(index) })
  })

  // Never of a type that a browser would show, and nothing that it would run if it did.
  routes.get('/blocks/:block/content', async (context) => {
    const { watch } = context.var
    const index = checkBlock(watch, wholeNumber(context.req.param('block'), 'block'))
    const limit = parameter(context, 'limit', Number.POSITIVE_INFINITY)
    const block = await readBlock(watch, index)
    const part = block.subarray(0, limit) as Uint8Array<ArrayBuffer>
    return context.body(part, 200, {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="block-${index}.bin"`,
      'content-security-policy': "default-src 'none'; sandbox",
      'x-block-size': String(block.byteLength)
    })
  })

  routes.post('/blocks/:block/fetch', async (context) => {
    const { watch } = context.var
    const index = checkBlock(watch, wholeNumber(context.req.param('block'), 'block'))
    await fetchBlock(watch, index, PATIENCE)
    return context.json({ index, state: watch.stateOf(index) })
  })

  routes.get('/blocks/:block/proof', async (context) => {
    const { watch } = context.var
    const index = checkBlock(watch, wholeNumber(context.req.param('block'), 'block'))
    const list = context.req.query('nodes')
    const nodes = list ? list.split(',', MAX_NODES).map((text) => wholeNumber(text, 'nodes')) : []
    return context.json(await blockProof(watch, index, nodes))
  })

  routes.get('/search', (context) => {
    const { watch } = context.var
    const hex = context.req.query('hex') === '1'
    const text = context.req.query('q') ?? ''
    if (hex && !/^([0-9a-f]{2})+$/i.test(text)) throw new TypeError('q should be pairs of hexadecimal digits')
    const needle = Buffer.from(text, hex ? 'hex' : 'utf8')
    if (needle.byteLength === 0 || needle.byteLength > MAX_NEEDLE) {
      throw new RangeError(`q should have 1 to ${MAX_NEEDLE} bytes`)
    }
    const query = {
      needle,
      matchCase: hex || context.req.query('case') === '1',
      from: parameter(context, 'from')
    }
    if (searches >= MAX_SEARCHES) return context.json(failure('BUSY', 'Too many searches are running'), 429)
    context.header('content-type', 'application/x-ndjson')
    return stream(context, async (output) => {
      const left = new AbortController()
      output.onAbort(() => left.abort())
      searches++
      try {
        for await (const line of search(watch, query, left.signal)) await output.writeln(JSON.stringify(line))
      } finally {
        searches--
      }
    })
  })

  const limited = bodyLimit({
    maxSize: MAX_BODY,
    onError: (context) => context.json(failure('TOO_LARGE', `No more than ${MAX_BODY} bytes at once`), 413)
  })
  routes.post('/append', limited, async (context) => {
    const type = context.req.header('content-type') ?? ''
    const body = new Uint8Array(await context.req.arrayBuffer())
    const size = parameter(context, 'block', 65_536)
    return context.json(await appendBody(context.var.watch, type, body, size))
  })

  routes.post('/audit', (context) => {
    context.var.watch.startAudit(context.req.query('repair') === '1')
    return context.json(context.var.watch.detail().audit, 202)
  })

  routes.delete('/audit', (context) => {
    context.var.watch.cancelAudit()
    return context.json(context.var.watch.detail().audit)
  })

  return routes
}

function parameter(context: Context, name: string, absent = 0): number {
  const text = context.req.query(name)
  return text === undefined ? absent : wholeNumber(text, name)
}

function wholeNumber(text: string | undefined, name: string): number {
  const value = /^\d{1,16}$/.test(text ?? '') ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new TypeError(`${name} should be a whole number`)
  return value
}

function failure(code: string, message: string): Failure {
  return { code, message }
}
