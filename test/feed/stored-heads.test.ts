/** The search for signatures in a file that is nearly all hole, as that of a copy which has just begun. */
import test from 'tape'
import { StoredHeads } from '../../src/feed/stored-heads.ts'

const SIZE = 64

test('stored heads: a hole of many slots takes no time of its own', async (t) => {
  const hole = Buffer.alloc(1024 * SIZE)
  const last = Buffer.from(hole).fill(1, 7 * SIZE, 8 * SIZE)
  const copy = async (start: number, end: number) =>
    (start === 0 ? last : hole).subarray(0, (end - start) * SIZE)
  const heads = new StoredHeads({ core: { storage: { signatures: { copy } } } } as never)
  const before = process.cpuUsage()
  const found: number[] = []
  for await (const { index } of heads.slotsDown(2 ** 24, 0, 4)) found.push(index)
  const { user } = process.cpuUsage(before)
  t.deepEqual(found, [7], 'what is below it is found')
  // One slot after the other took 12 seconds.
  t.ok(user < 2_500_000, `${Math.round(user / 1000)} ms of processor time`)
})
