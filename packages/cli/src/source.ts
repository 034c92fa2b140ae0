import type { Feed } from 'ddatabase'
import type { Argv } from 'yargs'
import type { CommonArguments, Context } from './context.ts'
import { openFeed, using } from './open-feed.ts'

/** The folder or key of a feed, as first argument. */
export function feedSource(parser: Argv<CommonArguments>) {
  return parser.positional('feed', {
    type: 'string',
    demandOption: true,
    describe: 'Folder of the feed, or its key'
  })
}

/** A feed to read from. */
export interface Source {
  feed: Feed
  /** Whether blocks that are not here can come from peers. */
  remote: boolean
}

/** Reads from a feed in a folder. */
export async function reading<T>(
  args: { feed: string },
  _context: Context,
  work: (source: Source) => Promise<T>
): Promise<T> {
  return using(await openFeed(args.feed, { sparse: true }), args.feed, (feed) =>
    work({ feed, remote: false })
  )
}
