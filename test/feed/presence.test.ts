/** `has` and `downloaded` (spec API §5, quirk Q5). */
import test from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'
import { feedOf, memory, thrown } from './feeds.ts'

/** Ten blocks, of which 3 and 4 are cleared. */
async function withHole(): Promise<Feed<unknown>> {
  const feed = await feedOf<unknown>([...'abcdefghij'])
  await feed.clear(3, 5)
  return feed
}

test('presence: has, one block and ranges', async (t) => {
  const feed = await withHole()
  const cases: [args: [number, number?], present: boolean][] = [
    [[0], true],
    [[3], false],
    [[9], true],
    [[10], false],
    [[1_000_000], false],
    [[0, 3], true],
    [[0, 4], false],
    [[3, 5], false],
    [[5, 10], true],
    [[5, 11], false],
    [[4, 5], false],
    [[0, 0], true],
    [[3, 3], true],
    [[20, 20], true],
    [[9, 0], false],
    [[5, 2], false]
  ]
  for (const [args, present] of cases) {
    t.equal(feed.has(...args), present, `has(${args.join(', ')})`)
    const told = await within(
      new Promise((resolve) => {
        const callback = (error: Error | null, value?: boolean) => resolve([error, value])
        if (args[1] === undefined) feed.has(args[0], callback)
        else feed.has(args[0], args[1], callback)
      }),
      'has(callback)'
    )
    t.deepEqual(told, [null, present], 'the callback is told the same')
  }
  t.equal(feed.has(0, undefined), true, 'an undefined end is none')
  await feed.close()
})

test('presence: downloaded', async (t) => {
  const feed = await withHole()
  const cases: [args: [number?, (number | undefined)?], count: number][] = [
    [[], 8],
    [[0], 8],
    [[2], 6],
    [[5], 5],
    [[10], 0],
    [[50], 0],
    [[0, 10], 8],
    [[0, 50], 8],
    [[2, 6], 2],
    [[3, 5], 0],
    [[0, 0], 8],
    [[2, 0], 6],
    [[4, 4], 0],
    [[6, 2], 0],
    [[-3], 8],
    [[-3, 2], 2],
    [[0, undefined], 8]
  ]
  for (const [args, count] of cases) {
    t.equal(feed.downloaded(...args), count, `downloaded(${args.join(', ')})`)
  }
  const ways: ((callback: (error: Error | null, count?: number) => void) => number)[] = [
    (callback) => feed.downloaded(callback),
    (callback) => feed.downloaded(5, callback),
    (callback) => feed.downloaded(2, 6, callback)
  ]
  for (const [i, way] of ways.entries()) {
    let answered: number | undefined
    const told = await within(
      new Promise((resolve) => {
        answered = way((error, value) => resolve([error, value]))
      }),
      'downloaded(callback)'
    )
    t.equal(answered, [8, 5, 2][i], 'the answer')
    t.deepEqual(told, [null, answered], 'the callback is told the same')
  }
  await feed.close()
})

test('presence: before opening there is no answer', async (t) => {
  const feed = ddatabase(memory())
  t.equal(
    thrown(() => feed.has(0)),
    'ERR_FEED_NOT_OPEN'
  )
  t.equal(
    thrown(() => feed.downloaded()),
    'ERR_FEED_NOT_OPEN'
  )
  t.equal(
    thrown(() => feed.digest(0)),
    'ERR_FEED_NOT_OPEN'
  )
  await feed.ready()
  t.deepEqual([feed.has(0), feed.downloaded(), feed.digest(0)], [false, 0, 0], 'of an empty feed')
  t.equal(feed.has(0, 0), true)
  await feed.close()
})
