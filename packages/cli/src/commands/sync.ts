import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { copy, copyOptions, wantedOf } from '../copy.ts'
import { openFeed, using } from '../open-feed.ts'

export const sync = command({
  usage: 'sync <dir>',
  describe: 'Fetch what a copy lacks, and give others what it has meanwhile',
  examples: [
    ['$0 sync ./photos.feed', 'what is new, or was missing after an interruption'],
    ['$0 sync ./photos.feed --connect 192.168.1.7:4000 --no-swarm', 'from this address only'],
    ['$0 sync ./photos.feed --live', 'and stay, to get and to give']
  ],
  options: (parser) => copyOptions(feedFolder(parser)),
  async run(args, context) {
    const { dir } = args
    const wanted = wantedOf(args)
    // Of an author's feed as well: blocks may have been cleared, or a longer history be with others.
    await using(await openFeed(context.out, dir, { sparse: true, downloading: true }), dir, (feed) =>
      copy(feed, dir, wanted, args, context)
    )
  }
})
