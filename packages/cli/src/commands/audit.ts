import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { openFeed, using } from '../open-feed.ts'
import { count } from '../units.ts'

export const audit = command({
  usage: 'audit <dir>',
  describe: 'Check every byte of a feed against what was signed',
  examples: [
    ['$0 audit ./log', 'exit code 6 if something does not hold'],
    ['$0 audit ./log --repair', 'mend what the files allow, forget what does not hold']
  ],
  options: (parser) =>
    feedFolder(parser).option('repair', {
      type: 'boolean',
      default: false,
      describe: 'Open a damaged feed too, and mend what can be mended'
    }),
  async run({ dir, repair }, { out, signal }) {
    return using(await openFeed(dir, { sparse: true, repair }), dir, async (feed) => {
      const before = feed.downloaded()
      const { valid, invalid } = await feed.audit({ signal })
      const words = `${count(valid, 'block')} valid, ${invalid} invalid, of ${feed.length}.`
      await out.result(words, { dir, valid, invalid, length: feed.length, before })
      return invalid === 0 ? EXIT.ok : EXIT.damage
    })
  }
})
