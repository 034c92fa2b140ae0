/** The search for signatures in a file that is nearly all hole, as that of a copy which has just begun. */
import test from 'tape'
import { StoredHeads } from '../../src/feed/stored-heads.ts'
import { countTurns } from '../helpers/turns.ts'

const SIZE = 64

test('stored heads: the slots of a hole are not looked at one by one', async (t) => {
  const hole = Buffer.alloc(1024 * SIZE)
  let looks = 0
  const subarray = hole.subarray.bind(hole)
  hole.subarray = (...args) => {
    looks++
    return subarray(...args)
  }
  const last = Buffer.alloc(1024 * SIZE).fill(1, 7 * SIZE, 8 * SIZE)
  const copy = async (start: number) => (start === 0 ? last : hole)
  const heads = new StoredHeads({ core: { storage: { signatures: { copy } } } } as never)
  const found: number[] = []
  for await (const { index } of heads.slotsDown(1024 * 1024, 0, 4)) found.push(index)
  t.deepEqual(found, [7], 'what is below it is found')
  t.equal(looks, 0)
})

test('stored heads: the event loop has its turns while a hole is read', async (t) => {
  const hole = Buffer.alloc(1024 * SIZE)
  const copy = async () => hole
  const heads = new StoredHeads({ core: { storage: { signatures: { copy } } } } as never)
  const turnsUntilNow = countTurns()
  for await (const _ of heads.slotsDown(2 ** 25, 0, 4)) t.fail('nothing is there')
  const turns = turnsUntilNow()
  t.ok(turns > 0, `${turns} turns`)
})
