/** The stream operations of the model. */
import assert from 'node:assert/strict'
import { collect, destroyed, take, writeAll } from '../helpers/feed-face.ts'
import { rejection } from '../helpers/watchdog.ts'
import { BINARY, JSON_LINES } from './codecs.ts'
import type { FeedSimulation } from './simulation.ts'

/** Reads a part of the feed through a read stream, with one of the many ways to ask for it. */
export async function readStreamStep(simulation: FeedSimulation): Promise<void> {
  const { random } = simulation
  const kind = random.pick(['range', 'range', 'whole', 'growing', 'tail', 'live', 'missing'] as const)
  simulation.note(`  ${kind}`)
  if (kind === 'range') await readRange(simulation)
  else if (kind === 'whole') await readWhole(simulation)
  else if (kind === 'growing') await readGrowing(simulation)
  else if (kind === 'missing') await readMissing(simulation)
  else await readLive(simulation, kind === 'tail')
}

/** The first block from `start` on that is not here, or the length. */
function presentUntil(simulation: FeedSimulation, start: number): number {
  const { present } = simulation.content
  const hole = present.indexOf(false, start)
  return hole === -1 ? present.length : hole
}

async function readRange(simulation: FeedSimulation): Promise<void> {
  const { feed, random, content } = simulation
  const start = random.below(content.values.length + 1)
  const end = random.between(start, presentUntil(simulation, start))
  const options = {
    start,
    end,
    ...(random.chance(0.5) && { batch: random.between(1, 20) }),
    ...(random.chance(0.3) && { snapshot: random.chance(0.5) }),
    ...(random.chance(0.3) && { timeout: 10_000 }),
    ...(random.chance(0.3) && { wait: false })
  }
  simulation.note(`  ${JSON.stringify(options)}`)
  assert.deepEqual(await collect(feed.feed.createReadStream(options)), content.values.slice(start, end))
  if (start === end) return
  const hex = await collect(feed.feed.createReadStream({ start, end, valueEncoding: 'hex' }))
  const expected = content.blocks.slice(start, end).map((block) => block.toString('hex'))
  assert.deepEqual(hex, expected, 'a stream with its own encoding')
}

async function readWhole(simulation: FeedSimulation): Promise<void> {
  const { feed, content } = simulation
  if (content.present.includes(false)) return
  assert.deepEqual(await collect(feed.feed.createReadStream()), content.values, 'the whole feed')
  const beyond = feed.feed.createReadStream({ start: content.values.length + 2 })
  assert.deepEqual(await collect(beyond), [], 'a start beyond the end')
}

/** Blocks appended while the stream is read: a snapshot does not see them. */
async function readGrowing(simulation: FeedSimulation): Promise<void> {
  const { feed, content } = simulation
  if (content.present.includes(false) || content.values.length === 0) return
  const expected = [...content.values]
  const stream = feed.feed.createReadStream({ snapshot: true, batch: simulation.random.pick([1, 3]) })
  const read = collect(stream)
  await new Promise((resolve) => stream.once('data', resolve))
  const added = simulation.newValue()
  await feed.append([added.value])
  simulation.accepted([added])
  assert.deepEqual(await read, expected, 'a snapshot')
}

async function readLive(simulation: FeedSimulation, tail: boolean): Promise<void> {
  const { feed, content, random } = simulation
  const length = content.values.length
  const start = tail || content.present.includes(false) ? length : random.below(length + 1)
  const stream = feed.feed.createReadStream(tail ? { live: true, tail } : { live: true, start })
  const added = Array.from({ length: random.between(1, 4) }, () => simulation.newValue())
  const read = take(stream, length - start + added.length, 'a live stream')
  // A tail begins at the length at its opening, which comes with the first read.
  await new Promise((resolve) => setImmediate(resolve))
  for (const one of added) await feed.append([one.value])
  simulation.accepted(added)
  assert.deepEqual(await read, content.values.slice(start), tail ? 'a tail' : 'a live stream')
  await destroyed(stream)
}

/** A block that is not here: an error at once with `wait: false`, and soon otherwise, as nobody brings an author what it has cleared. */
async function readMissing(simulation: FeedSimulation): Promise<void> {
  const { feed, content } = simulation
  const hole = content.present.indexOf(false)
  if (hole === -1) return
  const impatient = feed.feed.createReadStream({ start: hole, wait: false })
  assert.equal((await rejection(collect(impatient), 'a read stream')).message, 'Block not downloaded')
  const patient = feed.feed.createReadStream({ start: hole })
  assert.equal((await rejection(collect(patient), 'a read stream')).code, 'ERR_BLOCK_NOT_AVAILABLE')
}

/** Appends through a write stream, sometimes with a largest block size. */
export async function writeStreamStep(simulation: FeedSimulation): Promise<void> {
  const { feed, random, codec } = simulation
  // JSON cannot be cut; `null` would be the end of a stream.
  const cut = codec !== JSON_LINES && random.chance(0.6)
  const added = Array.from({ length: random.between(0, 5) }, () => simulation.newValue())
  const values = added.map(({ value }) => value)
  if (!cut) {
    await writeAll(feed.feed.createWriteStream(), values)
    simulation.accepted(added)
    return
  }
  const maxBlockSize = random.between(1, 50)
  simulation.note(`  maxBlockSize ${maxBlockSize}`)
  const chunks = codec === BINARY ? values : values.map((value) => (value as string).replace(/[^ -~]/g, '?'))
  await writeAll(feed.feed.createWriteStream({ maxBlockSize }), chunks)
  simulation.accepted(
    chunks
      .flatMap((chunk) => pieces(chunk as string | Buffer, maxBlockSize))
      .map((value) => ({
        value,
        block: codec.encode(value)
      }))
  )
}

/** A chunk that fits stays as it is, also an empty one; a longer one becomes pieces of the size and a rest. */
function pieces(chunk: string | Buffer, size: number): (string | Buffer)[] {
  if (chunk.length <= size) return [chunk]
  const out: (string | Buffer)[] = []
  for (let i = 0; i < chunk.length; i += size) {
    out.push(typeof chunk === 'string' ? chunk.slice(i, i + size) : chunk.subarray(i, i + size))
  }
  return out
}
