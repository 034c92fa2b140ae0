import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { importInto } from '../folder/import.ts'
import { blocked, scan } from '../folder/scan.ts'
import { contentOf, openFeed, openOrMakeFeed, using } from '../open-feed.ts'
import { count, hex, printable, size } from '../units.ts'

export const importFiles = command({
  usage: 'import <source> <dir>',
  describe: 'Put a file or a folder into a feed; again: put in what has changed',
  examples: [
    ['$0 import ./photos ./photos.feed', 'a folder, with names, modes, times and links'],
    ['$0 import ./photos ./photos.feed', 'the same later: only files with another size or time are appended'],
    ['$0 import report.pdf ./report.feed', 'one file'],
    ['$0 import /var/log ./logs.feed --skip-unreadable', 'without what may not be read']
  ],
  options: (parser) =>
    feedFolder(
      parser.positional('source', { type: 'string', demandOption: true, describe: 'File or folder' }),
      'Folder of the feed; made if it is not there'
    )
      .option('skip-unreadable', {
        type: 'boolean',
        default: false,
        describe: 'Leave out, with a warning, what cannot be read, instead of importing nothing'
      })
      .option('full', {
        type: 'boolean',
        default: false,
        describe: 'Append all files, also those that seem unchanged'
      }),
  async run({ source, dir, skipUnreadable, full }, { out, signal }) {
    const scanned = await scan(source, dir, signal)
    const { obstacles, leaving, found } = scanned
    if (obstacles.length > 0 && !skipUnreadable) throw blocked(obstacles)
    for (const { path, reason } of obstacles) out.warn(`${printable(path)} is left out because ${reason}.`)
    for (const path of leaving) {
      out.warn(`the link ${printable(path)} leads out of the folder; an export will refuse it.`)
    }
    const isNew = (await contentOf(dir)) !== 'feed'
    const feed = isNew
      ? await openOrMakeFeed(out, dir, null, { sparse: true })
      : await openFeed(out, dir, { sparse: true })
    await using(feed, dir, async () => {
      if (!feed.writable) {
        throw new Failure(
          'feed',
          `The feed in ${dir} is a copy: only where its secret key is can it be imported to.`
        )
      }
      const done = await out.showing('importing', (progress) =>
        importInto(feed, dir, scanned, full, progress, signal)
      )
      const bytes = found.reduce((sum, { size }) => sum + size, 0)
      const words = done.changed
        ? `${count(done.files, 'file')}, ${size(bytes)}: ${done.unchanged} unchanged, ${count(done.blocks, 'block')} appended${done.resumed > 0 ? `, ${done.resumed} found from the last time` : ''}.`
        : `${count(done.files, 'file')}: nothing has changed.`
      out.note(words)
      const key = hex(feed.key)
      await out.result(out.colors.bold(key ?? ''), {
        dir,
        key,
        discoveryKey: hex(feed.discoveryKey),
        length: feed.length,
        byteLength: feed.byteLength,
        ...done,
        bytes,
        skipped: obstacles.map(({ path }) => path)
      })
    })
  }
})
