import type { Feed } from 'ddatabase'
import { command } from '../command.ts'
import type { Context } from '../context.ts'
import { explain } from '../explain.ts'
import { aborted } from '../interrupt.ts'
import { Network, parsePort } from '../network.ts'
import { isKey, openFeed, parseKey, using } from '../open-feed.ts'
import { feedSource } from '../source.ts'
import { borrowing } from '../temporary.ts'
import { hex } from '../units.ts'

export const inspect = command({
  usage: 'inspect <feed>',
  describe: 'Look into a feed in the browser, until Ctrl-C',
  examples: [
    ['$0 inspect ./photos.feed', 'what is here'],
    ['$0 inspect ./photos.feed --online', 'and connected to its peers'],
    ['$0 inspect KEY', 'a feed on the network; blocks are fetched when they are looked at'],
    ['$0 inspect ./photos.feed --no-open', 'only print the address of the page']
  ],
  options: (parser) =>
    feedSource(parser)
      .option('port', {
        type: 'string',
        requiresArg: true,
        default: '0',
        describe: 'Port of the page; 0: any that is free'
      })
      .option('open', {
        type: 'boolean',
        default: true,
        describe: 'Open the page; --no-open: print its address only'
      })
      .option('online', {
        type: 'boolean',
        default: false,
        describe: 'Connect a folder to its peers; a key always is'
      }),
  async run(args, context) {
    const port = parsePort(args.port, '--port')
    const show = (feed: Feed, name: string): Promise<void> => window(feed, name, port, args.open, context)
    if (isKey(args.feed)) {
      await borrowing(parseKey(args.feed), args, context, async ({ feed }) => {
        keepLength(feed, context.signal)
        await show(feed, args.feed.slice(0, 8))
      })
      return
    }
    const online = args.online || args.connect !== undefined
    await using(await openFeed(context.out, args.feed, { sparse: true }), args.feed, async (feed) => {
      if (!online) return show(feed, args.feed)
      const network = await Network.join(feed, args, context)
      return network.during(() => show(feed, args.feed))
    })
  }
})

async function window(
  feed: Feed,
  name: string,
  port: number,
  open: boolean,
  { out, signal }: Context
): Promise<void> {
  // A web server: no other command has to load it.
  const { inspect: openWindow } = await import('ddatabase-inspector')
  const inspector = await openWindow({ feed, name }, { port, open }).catch((error: unknown) => {
    throw explain(error, `port ${port}`)
  })
  try {
    out.note('The page is for this machine only, until Ctrl-C. Its address is a password:')
    await out.result(inspector.url, { event: 'inspecting', url: inspector.url, key: hex(feed.key) })
    await aborted(signal)
  } finally {
    await inspector.close()
  }
}

// A copy that nothing is fetched into would not get to know how long the feed is.
function keepLength(feed: Feed, signal: AbortSignal): void {
  const again = (): void => {
    if (!signal.aborted) feed.update({ signal }).then(again, () => {})
  }
  again()
}
