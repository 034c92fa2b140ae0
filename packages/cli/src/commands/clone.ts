import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { copy, copyOptions, wantedOf } from '../copy.ts'
import { Failure } from '../exit.ts'
import { openOrMakeFeed, parseKey, using } from '../open-feed.ts'

export const clone = command({
  usage: 'clone <key> <dir>',
  describe: 'Get a feed from whoever has it; every byte is checked',
  examples: [
    ['$0 clone KEY ./photos.feed', 'from peers that are found by the key alone'],
    ['$0 clone KEY ./photos.feed --connect 192.168.1.7:4000', 'from this address as well'],
    ['$0 clone KEY ./photos.feed --connect 127.0.0.1:4000 --no-swarm', 'from this address only'],
    ['$0 clone KEY ./video.feed --sparse', 'only its length; blocks later, or never'],
    ['$0 clone KEY ./log.feed --range 100..200', 'only these blocks'],
    ['$0 clone KEY ./log.feed --live', 'and stay to get what is appended']
  ],
  options: (parser) =>
    copyOptions(
      feedFolder(
        parser.positional('key', {
          type: 'string',
          demandOption: true,
          describe: 'Key of the feed: 64 hexadecimal digits'
        }),
        'Folder for the copy; one that was begun is gone on with'
      )
    ),
  async run(args, context) {
    const { dir } = args
    const wanted = wantedOf(args)
    await using(await openOrMakeFeed(dir, parseKey(args.key), { sparse: true }), dir, async (feed) => {
      if (feed.writable) {
        throw new Failure(
          'feed',
          `The feed in ${dir} is the author's own; \`ddatabase sync\` fetches what it lacks.`
        )
      }
      await copy(feed, dir, wanted, args, context)
    })
  }
})
