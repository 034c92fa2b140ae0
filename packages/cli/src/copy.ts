import type { Feed } from 'ddatabase'
import type { Argv } from 'yargs'
import type { CommonArguments, Context } from './context.ts'
import { type Fetched, fetchWanted, follow, type Wanted } from './fetch.ts'
import { Network, type NetworkArguments, networkOptions } from './network.ts'
import { parseRange } from './range.ts'
import { count, duration, hex, size } from './units.ts'

/** Arguments about what is fetched into a folder. */
export interface CopyArguments extends NetworkArguments {
  sparse: boolean
  range: string | undefined
  live: boolean
}

/** Adds the options of `clone` and `sync`. */
export function copyOptions<A extends CommonArguments>(parser: Argv<A>) {
  return networkOptions(parser)
    .option('sparse', {
      type: 'boolean',
      default: false,
      describe: 'Fetch no blocks, only the length and its proof; or those of --range'
    })
    .option('range', {
      type: 'string',
      requiresArg: true,
      describe: 'Only these blocks: 7, 3..9 (without 9), 3.. or ..9'
    })
    .option('live', {
      type: 'boolean',
      default: false,
      describe: 'Stay, and fetch what is appended, until Ctrl-C'
    })
}

/** What is to be fetched. Fails with exit code 2 for a range that is none. */
export function wantedOf({ sparse, range }: CopyArguments): Wanted {
  return { sparse, range: range === undefined ? null : parseRange(range) }
}

/** Fetches what is wanted into a feed and tells about it. */
export async function copy(
  feed: Feed,
  dir: string,
  wanted: Wanted,
  args: CopyArguments,
  context: Context
): Promise<void> {
  const { out } = context
  const remedy = (): string =>
    feed.length === 0 ? 'run it again then' : `\`ddatabase sync ${dir}\` goes on with what is here`
  const joined = await Network.join(feed, args, context)
  await joined.during(async (network) => {
    const fetched = await fetchWanted(network, wanted, context, remedy)
    await out.result(words(feed, dir, fetched), {
      dir,
      key: hex(feed.key),
      discoveryKey: hex(feed.discoveryKey),
      length: feed.length,
      byteLength: feed.byteLength,
      present: feed.downloaded(),
      complete: feed.downloaded() === feed.length,
      fetchedBlocks: fetched.blocks,
      fetchedBytes: fetched.bytes,
      seconds: Math.round(fetched.milliseconds) / 1000
    })
    if (!args.live) return
    out.note('Following the feed until Ctrl-C.')
    await follow(network, wanted, context)
  })
}

function words(feed: Feed, dir: string, { blocks, bytes, milliseconds }: Fetched): string {
  const present = feed.downloaded()
  const seconds = milliseconds / 1000
  const here = present === feed.length ? 'all' : `${present}`
  const fetched =
    blocks === 0
      ? present === feed.length
        ? 'nothing was missing'
        : 'no blocks were fetched'
      : `${count(blocks, 'block')} fetched and checked, ${size(bytes)} in ${seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds)}`
  return `${here} of ${count(feed.length, 'block')} in ${dir}: ${fetched}.`
}
