import type { Feed } from 'ddatabase'
import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { manifestOf } from '../folder/manifest.ts'
import { openFeed, using } from '../open-feed.ts'
import type { Output } from '../output.ts'
import { pairs } from '../table.ts'
import { count, hex, size } from '../units.ts'

export const info = command({
  usage: 'info <dir>',
  describe: 'Tell what a feed is and how much of it is here',
  examples: [
    ['$0 info ./log', 'key, length and what is here'],
    ['$0 info ./log --json', 'the same as JSON: key, discoveryKey, length, byteLength, present, …']
  ],
  options: (parser) => feedFolder(parser),
  async run({ dir }, { out }) {
    await using(await openFeed(out, dir, { sparse: true }), dir, async (feed) => {
      const { length, byteLength, writable, live, recovery } = feed
      const present = feed.downloaded()
      const files = await entriesOf(feed, out)
      const [key, discoveryKey] = [hex(feed.key), hex(feed.discoveryKey)]
      const all = present === length ? 'all' : `${present}; ${length - present} missing`
      const rows: [string, string][] = [
        ['key', out.colors.bold(key ?? 'none yet')],
        ['discovery key', discoveryKey ?? 'none yet'],
        ['length', count(length, 'block')],
        ['bytes', `${byteLength}${byteLength < 1000 ? '' : ` (${size(byteLength)})`}`],
        ['blocks here', all],
        ['writable', writable ? 'yes, the secret key is here' : 'no']
      ]
      if (files !== null)
        rows.push(['holds a folder', `${count(files, 'entry').replace('entrys', 'entries')}`])
      if (recovery !== null) rows.push(['recovered', 'opening it mended what a crash had left'])
      await out.result(pairs(rows), {
        dir,
        key,
        discoveryKey,
        length,
        byteLength,
        present,
        complete: present === length,
        writable,
        live,
        folderEntries: files,
        recovered: recovery !== null
      })
    })
  }
})

/** How many things the folder in a feed holds, null if that cannot be told. */
async function entriesOf(feed: Feed, out: Output): Promise<number | null> {
  try {
    return (await manifestOf(feed))?.entries.length ?? null
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    // Whoever has written the feed decides what is in it; all else can be told.
    out.warn(error.message)
    return null
  }
}
