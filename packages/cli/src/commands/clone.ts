import { rmdir } from 'node:fs/promises'
import { Feed } from 'ddatabase'
import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { copy, copyOptions, wantedOf } from '../copy.ts'
import { Failure } from '../exit.ts'
import { contentOf, exists, openOrMakeFeed, parseKey, using } from '../open-feed.ts'

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
    const key = parseKey(args.key)
    const isNew = (await contentOf(dir)) !== 'feed'
    const folderIsNew = !(await exists(dir))
    const feed = await openOrMakeFeed(context.out, dir, key, { sparse: true })
    try {
      await using(feed, dir, async () => {
        if (feed.writable) {
          throw new Failure(
            'feed',
            `The feed in ${dir} is the author's own; \`ddatabase sync\` fetches what it lacks.`
          )
        }
        await copy(feed, dir, wanted, args, context)
      })
    } catch (error) {
      // Not to be in the way of the next try, perhaps with another key.
      if (isNew && feed.length === 0) await removeEmptyFeed(dir, folderIsNew)
      throw error
    }
  }
})

async function removeEmptyFeed(dir: string, withFolder: boolean): Promise<void> {
  const feed = new Feed(dir, { createIfMissing: false, sparse: true })
  await feed.destroyStorage().catch(() => {})
  // Only if nothing else is in it.
  if (withFolder) await rmdir(dir).catch(() => {})
}
