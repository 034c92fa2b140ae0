/** Copies of one branch that meet a holder of another one. */
import test from 'tape'
import { complete, connect } from '../helpers/replication-feeds.ts'
import { replicating } from '../helpers/replication-subjects.ts'
import {
  Author,
  branch,
  checkIs,
  checkProof,
  fetched,
  forksOf,
  meet,
  PAIRS,
  quiet,
  remembered
} from './branches.ts'

const COMMON = branch('both', 0, 4)

// Blocks of the branch that is here, and of the other one, behind the common ones.
const LENGTHS: readonly [string, number, number][] = [
  ['of the same length', 3, 3],
  ['that is shorter', 5, 2],
  ['that is longer', 3, 6],
  ['that is much longer', 1, 70],
  ['that is longer by one', 2, 3],
  ['that is shorter by one', 4, 3]
]

for (const { name, ours, holder } of PAIRS) {
  for (const [what, here, there] of LENGTHS) {
    test(`forks: a full copy meets a branch ${what}, at ${name}`, async (t) => {
      const author = new Author(t, ours, holder)
      const a = [...COMMON, ...branch('a', 4, here)]
      const first = await author.device(COMMON, branch('a', 4, here))
      const second = await author.otherDevice(COMMON, branch('b', 4, there))
      const copy = await author.replica()
      await fetched(first, copy)
      const forks = forksOf(copy)

      t.equal(await meet(copy, second).end, 'ERR_FORK', 'its connection ends')
      t.equal(forks.length, 1, 'the fork is told once')
      checkProof(t, forks[0], author.key, a.length, 4 + there)
      t.deepEqual(remembered(copy), forks)
      await checkIs(t, copy, a)

      t.equal(await meet(copy, second).end, 'ERR_FORK', 'the same again')
      t.equal(forks.length, 1, 'is not told again')
      const honest = connect(first, copy, { live: true })
      await first.append('more')
      await complete(copy, a.length + 1)
      await honest.cut()
      const another = await author.replica()
      await connect(copy, another).ends
      await checkIs(t, another, [...a, 'more'], 'a copy of the copy')
      await author.close()
    })

    test(`forks: a sparse copy meets a branch ${what}, at ${name}`, async (t) => {
      const author = new Author(t, ours, holder)
      const first = await author.device(COMMON, branch('a', 4, here))
      const second = await author.otherDevice(COMMON, branch('b', 4, there))
      const copy = await author.replica({ sparse: true })
      const honest = connect(first, copy, { live: true })
      t.equal(String(await copy.get(4)), 'a 4')
      await honest.cut()
      const forks = forksOf(copy)
      t.equal(await meet(copy, second).end, 'ERR_FORK')
      t.equal(forks.length, 1)
      checkProof(t, forks[0], author.key, 4 + here, 4 + there)
      t.equal(copy.length, 4 + here)
      t.equal(copy.downloaded(), 1, 'nothing was stored')
      const again = connect(first, copy, { live: true })
      t.equal(String(await copy.get(1)), 'both 1', 'the rest comes from an honest peer')
      await again.cut()
      await author.close()
    })

    test(`forks: a writer meets a branch ${what}, at ${name}`, async (t) => {
      const author = new Author(t, ours, holder)
      const a = [...COMMON, ...branch('a', 4, here)]
      const first = await author.device(COMMON, branch('a', 4, here))
      const second = await author.otherDevice(COMMON, branch('b', 4, there))
      const forks = forksOf(first)
      t.equal(await meet(first, second).end, 'ERR_FORK')
      t.equal(forks.length, 1)
      checkProof(t, forks[0], author.key, a.length, 4 + there)
      await first.append('more')
      await checkIs(t, first, [...a, 'more'], 'the writer')
      await author.close()
    })
  }

  test(`forks: the beginning of the same history is none, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(COMMON, branch('a', 4, 3))
    for (const count of [0, 1, 2, 3]) {
      const second = await author.otherDevice(COMMON, branch('a', 4, count))
      const copy = await author.replica()
      await fetched(first, copy)
      const forks = forksOf(copy)
      const connection = meet(copy, second)
      await quiet()
      t.equal(replicating(copy).peers.length, 1, `${4 + count} blocks: still connected`)
      t.equal(forks.length, 0)
      await connection.cut()
    }
    await author.close()
  })

  test(`forks: signed anew, in other batches, is none, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(COMMON, branch('a', 4, 3))
    const second = await author.otherDevice(...[...COMMON, ...branch('a', 4, 3)].map((block) => [block]))
    const copy = await author.replica()
    await fetched(first, copy)
    const forks = forksOf(copy)
    const connection = meet(copy, second)
    await second.append('more')
    await complete(copy, 8)
    t.equal(forks.length, 0)
    await connection.cut()
    await author.close()
  })
}
