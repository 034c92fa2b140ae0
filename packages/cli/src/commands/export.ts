import type { Stats } from 'node:fs'
import { lstat, stat } from 'node:fs/promises'
import path from 'node:path'
import { DDatabaseError } from 'ddatabase'
import { command } from '../command.ts'
import type { Context } from '../context.ts'
import { codeOf, Failure } from '../exit.ts'
import { explain } from '../explain.ts'
import { exportFile, exportFolder } from '../folder/export.ts'
import { type Manifest, manifestOf } from '../folder/manifest.ts'
import { unsafeEntries } from '../folder/paths.ts'
import { isKey } from '../open-feed.ts'
import { placeToBe, refuseWithin } from '../own-folder.ts'
import { feedSource, reading, type Source } from '../source.ts'
import { count, printable, size } from '../units.ts'

export const exportFeed = command({
  usage: 'export <feed> <target>',
  describe: 'Write what was imported to files again, with names, modes and times',
  examples: [
    ['$0 export ./photos.feed ./photos', 'the folder that was imported'],
    ['$0 export ./report.feed .', 'the file that was imported, into this folder'],
    ['$0 export ./log ./log.bin', 'a feed that was not imported: its bytes in one file'],
    ['$0 export ./photos.feed ./photos --overwrite', 'replace files that differ']
  ],
  options: (parser) =>
    feedSource(parser)
      .positional('target', { type: 'string', demandOption: true, describe: 'Folder, or file, to write to' })
      .option('overwrite', {
        type: 'boolean',
        default: false,
        describe: 'Replace files that are there and differ'
      })
      .option('skip-unsafe', {
        type: 'boolean',
        default: false,
        describe: 'Leave out what would leave the target, instead of writing nothing'
      }),
  async run(args, context) {
    const { out, signal } = context
    const { overwrite, skipUnsafe, target } = args
    const own = isKey(args.feed) ? null : await placeToBe(args.feed)
    await reading(args, context, async (source) => {
      const { feed, remote, patiently } = source
      const manifest = await patiently(manifestOf(feed, { wait: remote, signal }))
      if (manifest === null || manifest.root === 'file') {
        await writeOne(source, manifest, target, overwrite, own, context)
        return
      }
      if (own !== null) refuseWithin(target, await placeToBe(target), own, 'export to')
      const options = { overwrite, skipUnsafe, own }
      const done = await out.showing('exporting', (progress) =>
        exportFolder(source, manifest, target, options, progress, signal)
      )
      for (const skipped of done.skipped) {
        out.warn(`${printable(skipped)} is left out because it would leave the target.`)
      }
      const words = `${count(done.files, 'file')} written to ${target}, ${done.unchanged} were there already; ${size(done.bytes)} in all.`
      await out.result(words, { target, ...done })
    })
  }
})

/** The one file that was imported, or all bytes of a feed that holds something else. */
async function writeOne(
  source: Source,
  manifest: Manifest | null,
  target: string,
  overwrite: boolean,
  own: string | null,
  { out, signal }: Context
): Promise<void> {
  const { feed } = source
  const entry = manifest?.entries[0] ?? null
  const there = await lookAt(target, stat)
  let file = target
  if (there?.isDirectory() || /[/\\]$/.test(target)) {
    if (entry === null) {
      throw new Failure(
        'files',
        `${target} is a folder, and this feed does not say how its file is called; name a file.`
      )
    }
    // One name and nothing else.
    if (entry.path.includes('/') || (await unsafeEntries([entry], signal)).length > 0) {
      throw new Failure(
        'files',
        `${printable(entry.path)} is refused as the name of a file; name a file to write to.`
      )
    }
    file = path.join(target, entry.path)
  }
  if (own !== null) {
    // A link of this name is replaced, not followed.
    const place = path.join(await placeToBe(path.dirname(file)), path.basename(file))
    refuseWithin(printable(file), place, own, 'export to')
  }
  // A link that leads to nothing is something as well, and it is the link that is replaced.
  const existing = await lookAt(file, lstat)
  if (existing !== null && (!overwrite || !(existing.isFile() || existing.isSymbolicLink()))) {
    throw new Failure('files', `${file} exists already; --overwrite replaces a file.`)
  }
  const total = entry?.size ?? feed.byteLength
  const blocks =
    entry === null ? { start: 0, end: feed.length } : { start: entry.block, end: entry.block + entry.blocks }
  await out.showing('exporting', async (progress) => {
    let done = 0
    const written = (bytes: number): void => {
      done += bytes
      progress.at({ done, total })
    }
    try {
      await exportFile(source, file, { ...blocks, size: total }, entry, { signal, overwrite, written })
    } catch (error) {
      if (DDatabaseError.is(error)) throw error
      // Where it cannot be made, the folder is told; what it is written as meanwhile would say nothing.
      throw explain(error, (error as NodeJS.ErrnoException).path === undefined ? file : path.dirname(file))
    }
  })
  await out.result(`${size(total)} written to ${printable(file)}.`, { target: file, files: 1, bytes: total })
}

async function lookAt(place: string, look: (place: string) => Promise<Stats>): Promise<Stats | null> {
  try {
    return await look(place)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw explain(error, place)
  }
}
