/** A connection that dies at any byte: the stream ends, the feeds stay whole, and the next connection finishes the work. */
import test from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, blocksOf, connect } from '../../helpers/replication-feeds.ts'
import { type CodedError, ending } from '../../helpers/replication-pipes.ts'
import { OURS, replicating } from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

const BLOCKS = ['a', 'b']

/** Replicates until `budget` bytes have passed in both directions, then ends or destroys the connection there. */
async function replicateUpTo(
  bench: Bench,
  writer: FeedFace,
  budget: number,
  how: 'end' | 'destroy'
): Promise<{ passed: number; errors: (CodedError | null)[] }> {
  const replica = await bench.replica(writer)
  const a = replicating(writer).replicate(true)
  const b = replicating(replica).replicate(false)
  const ends = Promise.all([ending(a), ending(b)])
  let passed = 0
  const stop = () => {
    for (const stream of [a, b]) {
      if (how === 'end') stream.end()
      else stream.destroy()
    }
  }
  for (const [from, to] of [
    [a, b],
    [b, a]
  ] as const) {
    from.on('data', (chunk: Uint8Array) => {
      const piece = chunk.subarray(0, budget - passed)
      passed += piece.byteLength
      if (piece.byteLength > 0 && !to.destroying) to.write(Buffer.from(piece))
      if (passed >= budget) stop()
    })
    from.on('end', () => to.end())
    from.on('close', () => to.destroy())
  }
  const errors = await ends
  await settle(2)
  if (replicating(writer).peers.length + replicating(replica).peers.length > 0)
    throw new Error('a peer was left behind')
  const again = await connect(writer, replica, { encrypted: false, noise: false }).ends
  if (again.some((error) => error !== null)) throw new Error(`the next connection: ${again.join()}`)
  if ((await blocksOf(replica)).join() !== BLOCKS.join())
    throw new Error('the blocks are not those of the writer')
  const { totals } = replicating(replica).stats!
  if (totals.downloadedBlocks !== BLOCKS.length)
    throw new Error(`${totals.downloadedBlocks} blocks were fetched`)
  await replica.close()
  return { passed, errors }
}

// A destroyed connection looks the same wherever it was cut, so not every byte is tried.
for (const [how, step] of [
  ['end', 1],
  ['destroy', 7]
] as const) {
  test(`cut: ${how} at every ${step === 1 ? '' : `${step}th `}byte of a short exchange`, async (t) => {
    const bench = new Bench(t, OURS)
    const writer = await bench.writer(BLOCKS)
    const whole = (await replicateUpTo(bench, writer, Infinity, how)).passed
    const codes = new Set<string>()
    for (let budget = 1; budget < whole; budget += step) {
      try {
        const { errors } = await replicateUpTo(bench, writer, budget, how)
        for (const error of errors) codes.add(error === null ? 'none' : (error.code ?? error.message))
      } catch (error) {
        t.fail(`at byte ${budget} of ${whole}: ${(error as Error).message}`)
        return
      }
    }
    t.ok(whole > 500, `${whole} bytes`)
    // An end in the middle of a message is a truncation; nothing else may go wrong.
    const expected = how === 'end' ? ['ERR_STREAM_TRUNCATED', 'none'] : ['none']
    t.deepEqual([...codes].sort(), expected)
  })
}
