import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { openFeed, using } from '../open-feed.ts'
import { parseRange } from '../range.ts'
import { count } from '../units.ts'

export const clear = command({
  usage: 'clear <dir> <range>',
  describe: 'Forget blocks and give their space back; they can be fetched again',
  examples: [
    ['$0 clear ./log 0..100', 'the first hundred blocks'],
    ['$0 clear ./log 7', 'block 7'],
    ['$0 clear ./log 0.. --force', 'all blocks of a feed that was made here, of which nobody may have a copy']
  ],
  options: (parser) =>
    feedFolder(parser)
      .positional('range', {
        type: 'string',
        demandOption: true,
        describe: 'Blocks: 7, 3..9 (without 9), 3.. or ..9'
      })
      .option('force', {
        type: 'boolean',
        default: false,
        describe: 'Also on the feed of the author, where they may be the only ones'
      }),
  async run({ dir, range, force }, { out }) {
    const { start, end } = parseRange(range)
    await using(await openFeed(out, dir, { sparse: true }), dir, async (feed) => {
      const last = Math.min(end ?? feed.length, feed.length)
      if (start >= last) {
        throw new Failure(
          'missing',
          `The feed in ${dir} has ${count(feed.length, 'block')}: nothing of ${range} is there.`
        )
      }
      if (feed.writable && !force) {
        throw new Failure(
          'usage',
          `The feed in ${dir} was made here, and these blocks may be the only ones; add --force if others have them.`
        )
      }
      const before = feed.downloaded(start, last)
      await feed.clear(start, last)
      const cleared = before - feed.downloaded(start, last)
      await out.result(`${count(cleared, 'block')} cleared.`, { dir, start, end: last, cleared })
    })
  }
})
