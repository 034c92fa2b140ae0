import { randomInt } from 'node:crypto'
import { DDatabaseError, type Feed } from '../../src/index.ts'
import type { CloneArguments } from './arguments.ts'
import { Connection, type Travelled } from './connection.ts'
import { learnDigest } from './digest-extension.ts'
import { check } from './failure.ts'
import { rebuildShown, tellAudit } from './import-and-examine.ts'
import { openFeed } from './open-feed.ts'
import type { Report, Surroundings } from './report.ts'
import { HOST } from './server.ts'
import { count, hex, megabytes, seconds, speed } from './units.ts'
import { prepareWorkplace, type Workplace } from './workplace.ts'

/** How many random blocks are fetched before all others. */
const SAMPLES = 3

/**
 * The second half: clones a feed to disk from whoever serves it on the port, knowing its key and nothing else, and
 * checks what came. Returns the exit code.
 */
export async function clone(args: CloneArguments, around: Surroundings): Promise<number> {
  const place = await prepareWorkplace(args.keep, 'clone')
  // Sparse: it decides itself what is fetched, and when.
  const feed = await openFeed(place.feed, { sparse: true }, args.key)
  try {
    const offered = learnDigest(feed)
    const connection = await Connection.open(feed, args.port, around.signal)
    const before = feed.downloaded()
    const started = performance.now()
    try {
      await connection.during(fetchAll(feed, before, connection, around.report))
    } catch (error) {
      await connection.end(true)
      // What has arrived is stored all the same: not before that is it known how much that was.
      await feed.close()
      tellPresent(feed, before, connection, around.report)
      throw error
    }
    const time = performance.now() - started
    await connection.end()
    await examine(feed, offered(), place, around)
    summarise(feed, connection, time, place, around.report)
    return 0
  } finally {
    await feed.close()
  }
}

/** Fetches what is not here: its length, a few blocks by themselves, then all others. */
async function fetchAll(feed: Feed, before: number, connection: Connection, report: Report): Promise<void> {
  const known = feed.length
  const reached = connection.travelled
  await update(feed)
  const length = `${count(feed.length, 'block')}, ${megabytes(feed.byteLength)}`
  const proof = feed.length > known ? `, proven by ${proofs(reached, connection.travelled)}` : ''
  report.tell('length', length + proof)
  if (before > 0) report.tell('present', `${count(before, 'block')} of an earlier run`)

  const samples = pickMissing(feed, SAMPLES)
  const sparse = connection.travelled
  for (const block of samples) {
    const earlier = connection.travelled
    const { byteLength } = await feed.get(block)
    const proven = proofs(earlier, connection.travelled)
    report.tell('sparse', `block ${block}: ${byteLength} bytes travelled with ${proven}`)
  }
  if (samples.length > 0) report.tell('sparse', compare(sparse, connection.travelled, feed))

  const present = feed.downloaded()
  const started = performance.now()
  const early = connection.travelled
  await report.showing('cloning', feed.length, count(feed.length, 'block'), async (progress) => {
    let done = present
    const advance = (): void => progress.at(++done)
    feed.on('download', advance)
    await feed.download({ start: 0, end: feed.length }).then(() => feed.off('download', advance))
  })
  const time = performance.now() - started
  const { blocks, bytes } = connection.travelled
  const rest = `the last ${blocks - early.blocks} in ${seconds(time)}, ${speed(bytes - early.bytes, time)}`
  report.tell('cloned', `${before} blocks were here already, ${blocks} were fetched; ${rest}`)
}

/** Learns the length that the author signed, unless it is known already. */
async function update(feed: Feed): Promise<void> {
  try {
    await feed.update({ ifAvailable: true })
  } catch (error) {
    if (!DDatabaseError.is(error) || error.code !== 'ERR_UPDATE_NOT_AVAILABLE') throw error
  }
}

/** Up to `wanted` different blocks that are not here, at random, in the order in which they were drawn. */
function pickMissing(feed: Feed, wanted: number): number[] {
  const missing = feed.length - feed.downloaded(0, feed.length)
  const picked = new Set<number>()
  while (picked.size < Math.min(wanted, missing)) {
    // From a random place on, so that a feed with few gaps does not have to be drawn from for ever.
    let block = randomInt(feed.length)
    while (feed.has(block) || picked.has(block)) block = (block + 1) % feed.length
    picked.add(block)
  }
  return [...picked]
}

function proofs(from: Travelled, to: Travelled): string {
  const signed = to.signatures > from.signatures ? 'and a signature' : 'and no signature'
  return `${count(to.nodes - from.nodes, 'node')} ${signed}`
}

function compare(from: Travelled, to: Travelled, feed: Feed): string {
  const bytes = to.bytes - from.bytes
  const received = to.received - from.received
  const blocks = `${count(to.blocks - from.blocks, 'block')} of ${feed.length}`
  return `${blocks} in ${received} bytes: ${bytes} of blocks, ${received - bytes} of proofs and messages`
}

async function examine(
  feed: Feed,
  offered: string | null,
  place: Workplace,
  around: Surroundings
): Promise<void> {
  const { report } = around
  await tellAudit(feed, report)
  const rebuilt = await rebuildShown(feed, place, around)
  if (offered === null) {
    report.tell('rebuilt', `SHA-256 ${rebuilt}; the other side does not tell the one of the file`)
    return
  }
  check(rebuilt === offered, `The rebuilt file has the SHA-256 ${rebuilt} instead of ${offered}.`)
  report.tell('rebuilt', `SHA-256 ${rebuilt}, equal to that of the file on the other side`)
}

function tellPresent(feed: Feed, before: number, { travelled }: Connection, report: Report): void {
  if (feed.length === 0) return
  const fetched = `${before} blocks were here already, ${travelled.blocks} were fetched`
  report.tell('stopped', `${fetched}, ${feed.length - feed.downloaded(0, feed.length)} are missing`)
}

function summarise(feed: Feed, connection: Connection, time: number, place: Workplace, report: Report): void {
  const { port, sent, stats, travelled } = connection
  report.gap()
  report.tell('key', hex(feed.key))
  report.tell('length', count(feed.length, 'block'))
  report.tell('bytes', String(feed.byteLength))
  report.tell('time', `${seconds(time)} for what was fetched`)
  report.tell('speed', speed(travelled.bytes, time))
  const blocks = `${count(stats.downloadedBlocks, 'block')} (${megabytes(stats.downloadedBytes)}) downloaded`
  const wire = `${megabytes(travelled.received)} received, ${megabytes(sent)} sent`
  report.tell('peer', `${HOST}, port ${port}: ${blocks}; ${wire}`)
  if (place.kept) report.tell('kept in', place.feed)
}
