import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Feed } from 'ddatabase'
import type { Swarm } from 'ddatabase-swarm'
import { command } from '../command.ts'
import { EXIT, Failure } from '../exit.ts'
import { explain } from '../explain.ts'
import { aborted, stopIfAsked } from '../interrupt.ts'
import { networkOptions, parseSeconds } from '../network.ts'
import { contentOf, isKey, parseKey } from '../open-feed.ts'
import { table } from '../table.ts'
import { borrowing } from '../temporary.ts'
import { count, hex } from '../units.ts'

export const peers = command({
  usage: 'peers <feed>',
  describe: 'List who has a feed',
  examples: [
    ['$0 peers ./photos.feed', 'also while the feed is shared from here'],
    ['$0 peers KEY --wait 20', 'look for them longer'],
    ['$0 peers KEY --json', 'as JSON']
  ],
  options: (parser) =>
    networkOptions(parser)
      .positional('feed', { type: 'string', demandOption: true, describe: 'Folder of the feed, or its key' })
      .option('wait', {
        type: 'string',
        requiresArg: true,
        default: '5',
        describe: 'Seconds to go on looking after the first peer'
      }),
  async run(args, context) {
    const { out, signal } = context
    const milliseconds = 1000 * parseSeconds(args.wait, '--wait')
    const key = isKey(args.feed) ? parseKey(args.feed) : await keyOf(args.feed)
    // A copy of its own: the feed in the folder may be open elsewhere, and nothing is to be fetched into it.
    return borrowing(key, args, context, async (network) => {
      out.note('Looking for peers …')
      await network.firstPeer(() => 'run it again then')
      let timer: NodeJS.Timeout | undefined
      const enough = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, milliseconds)
      })
      await Promise.race([enough, aborted(signal)])
      clearTimeout(timer)
      const found = list(network.feed, network.swarm)
      if (out.json) {
        await out.result('', { key: hex(key), peers: found })
      } else {
        const rows = found.map(({ address, kind, length, peer }) => [
          address ?? 'unknown',
          kind,
          count(length, 'block'),
          peer?.slice(0, 16) ?? 'unknown'
        ])
        await out.result(table(rows, ['ADDRESS', 'KIND', 'HAS', 'PEER']), {})
      }
      stopIfAsked(signal, 'there may be more peers, run it again')
      return found.length > 0 ? EXIT.ok : EXIT.network
    })
  }
})

interface FoundPeer {
  address: string | null
  kind: string
  /** Length of the feed that it tells of. */
  length: number
  /** The key it is known by. */
  peer: string | null
}

function list(feed: Feed, swarm: Swarm): FoundPeer[] {
  return feed.peers
    .filter(({ remoteOpened }) => remoteOpened)
    .map((peer) => {
      const connection = swarm.connections.find(({ stream }) => stream === peer.stream.stream)
      return {
        address: connection?.address ?? peer.remoteAddress,
        kind: connection?.kind ?? 'unknown',
        length: peer.remoteLength,
        peer: hex(peer.remotePublicKey)
      }
    })
}

/** The key of the feed in a folder, which may be in use. */
async function keyOf(folder: string): Promise<Uint8Array> {
  if ((await contentOf(folder)) !== 'feed') {
    throw new Failure('feed', `The folder ${folder} is no feed; check the path, or name a key.`)
  }
  const key = await readFile(path.join(folder, 'key')).catch((error: unknown) => {
    throw explain(error, path.join(folder, 'key'))
  })
  if (key.byteLength < 32) throw new Failure('damage', `The file key in ${folder} is damaged; restore it.`)
  return key.subarray(0, 32)
}
