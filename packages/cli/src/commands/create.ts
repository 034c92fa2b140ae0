import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { contentOf, openOrMakeFeed, using } from '../open-feed.ts'
import { hex } from '../units.ts'

export const create = command({
  usage: 'create <dir>',
  describe: 'Make a new, empty feed',
  examples: [
    ['$0 create ./log', 'a feed in the folder log'],
    ['$0 create ./log --json', 'the same; prints its keys as JSON']
  ],
  options: (parser) => feedFolder(parser, 'Folder for the feed; made if it is not there'),
  async run({ dir }, { out }) {
    if ((await contentOf(dir)) === 'feed') {
      throw new Failure('feed', `There is a feed in ${dir} already; append to it, or name another folder.`)
    }
    await using(await openOrMakeFeed(out, dir, null), dir, async (feed) => {
      await feed.flush()
      const key = hex(feed.key)
      out.note(`A new feed in ${dir}. Its key, for those who may read it:`)
      await out.result(out.colors.bold(key!), { dir, key, discoveryKey: hex(feed.discoveryKey) })
    })
  }
})
