import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { openFeed, using } from '../open-feed.ts'
import { describeDamage } from '../trouble.ts'
import { count } from '../units.ts'

// Lines about damage; all of it is in the JSON.
const SHOWN = 20

export const audit = command({
  usage: 'audit <dir>',
  describe: 'Check every byte of a feed against what was signed',
  examples: [
    ['$0 audit ./log', 'exit code 6 if something does not hold'],
    ['$0 audit ./log --repair', 'mend what can be mended from the files themselves'],
    ['$0 sync ./log', 'fetch again what an audit found damaged']
  ],
  options: (parser) =>
    feedFolder(parser).option('repair', {
      type: 'boolean',
      default: false,
      describe: 'Open a damaged feed too, and mend what can be mended'
    }),
  async run({ dir, repair }, { out, signal }) {
    return using(await openFeed(out, dir, { sparse: true, repair }), dir, async (feed) => {
      const found = await out.showing('auditing', (progress) =>
        feed.audit({
          signal,
          repair,
          onprogress: ({ bytes, totalBytes, blocks, totalBlocks }) => {
            if (totalBytes !== null) progress.at({ done: bytes, total: totalBytes })
            else progress.at({ done: blocks, total: totalBlocks, unit: 'blocks' })
          }
        })
      )
      const { valid, invalid, repaired, forks } = found
      // Opening looks at what was written last, and may have found something before.
      const lost = feed.recovery?.lostBlocks ?? 0
      const damage = [...(feed.recovery?.damage ?? []), ...found.damage]
      for (const each of damage.slice(0, SHOWN)) out.warn(`${describeDamage(each)}.`)
      if (damage.length > SHOWN) out.warn(`and ${damage.length - SHOWN} more; --json lists them.`)
      const mended = repaired.length === 0 ? '' : ` ${repaired.length} of ${damage.length} mended.`
      const gone = invalid + lost
      const words = `${count(valid, 'block')} valid, ${gone} invalid, of ${feed.length}.${mended}`
      const data = { dir, valid, invalid: gone, length: feed.length, damage, repaired, forks: forks.length }
      await out.result(words, data)
      const holds = gone === 0 && forks.length === 0 && found.damage.length === repaired.length
      return holds ? EXIT.ok : EXIT.damage
    })
  }
})
