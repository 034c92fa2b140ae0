import type { Feed } from '../../src/index.ts'
import { audit, rebuild, seekAtRandom } from './examine-feed.ts'
import { check, stopIfAsked } from './failure.ts'
import { importFile } from './import-file.ts'
import { openFeed } from './open-feed.ts'
import type { Surroundings } from './report.ts'
import type { Source } from './source.ts'
import { count, hex, megabytes, seconds, speed } from './units.ts'
import type { Workplace } from './workplace.ts'

/** How many random places are looked at. */
const SAMPLES = 3

/** An import that was checked. */
export interface Examined {
  /** The feed, opened once more after the import; to be closed by the caller. */
  feed: Feed
  /** SHA-256 of the file, in hexadecimal. */
  sha256: string
  /** Milliseconds of the import. */
  time: number
}

/** Imports the file into a feed on disk, closes and reopens that, and reads it back in every way there is. */
export async function importAndExamine(
  source: Source,
  place: Workplace,
  around: Surroundings
): Promise<Examined> {
  const { report, signal } = around
  report.tell('file', `${source.path}, ${megabytes(source.size)}`)
  stopIfAsked(signal)

  const written = await openFeed(place.feed)
  const { key } = written
  const { sha256, time, length } = await importTo(written, source, around).finally(() => written.close())

  const feed = await openFeed(place.feed, { createIfMissing: false })
  try {
    check(hex(feed.key) === hex(key) && feed.length === length, 'The feed is another one after reopening.')
    report.tell('reopened', 'same key, same length')
    await tellAudit(feed, report)
    await seek(feed, source, around)
    const rebuilt = await rebuildShown(feed, place, around)
    check(rebuilt === sha256, `The rebuilt file has the SHA-256 ${rebuilt} instead of ${sha256}.`)
    report.tell('rebuilt', `SHA-256 ${sha256}, equal to the file's`)
    return { feed, sha256, time }
  } catch (error) {
    await feed.close()
    throw error
  }
}

async function importTo(
  feed: Feed,
  source: Source,
  { report, signal }: Surroundings
): Promise<{ sha256: string; time: number; length: number }> {
  const { size } = source
  const started = performance.now()
  const { sha256, found } = await report.showing('importing', size, megabytes(size), (progress) =>
    importFile(feed, source, progress, signal)
  )
  const time = performance.now() - started
  const compared = found > 0 ? `, ${found} of them were here already and are the same` : ''
  report.tell(
    'imported',
    `${count(feed.length, 'block')} in ${seconds(time)}, ${speed(size, time)}${compared}`
  )
  return { sha256, time, length: feed.length }
}

async function seek(feed: Feed, source: Source, { report, signal }: Surroundings): Promise<void> {
  for (let i = 0; i < SAMPLES && feed.length > 0; i++) {
    stopIfAsked(signal)
    const { byte, block, offset, compared } = await seekAtRandom(feed, source)
    report.tell('sought', `byte ${byte} is byte ${offset} of block ${block}, ${compared} bytes are equal`)
  }
}

/** Compares every block with its hash, and tells how many there were and how fast it went. */
export async function tellAudit(feed: Feed, report: Surroundings['report']): Promise<void> {
  const started = performance.now()
  const valid = await audit(feed)
  const time = performance.now() - started
  const pace = `in ${seconds(time)}, ${speed(feed.byteLength, time)}`
  report.tell('audited', `${count(valid, 'block')} valid, 0 invalid ${pace}`)
}

/** Rebuilds the file from the feed, with a progress bar. Returns its SHA-256 in hexadecimal. */
export function rebuildShown(
  feed: Feed,
  place: Workplace,
  { report, signal }: Surroundings
): Promise<string> {
  return report.showing('rebuilding', feed.byteLength, megabytes(feed.byteLength), (progress) =>
    rebuild(feed, place.rebuilt, progress, signal)
  )
}
