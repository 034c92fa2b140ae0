/** What append takes of its values, and when. */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { writeAll } from '../helpers/feed-face.ts'
import { feedOf, memory, refusal, texts } from './feeds.ts'

test('given values: an array that is changed after the call', async (t) => {
  for (const opened of [true, false]) {
    const feed = ddatabase<unknown>(memory())
    if (opened) await feed.ready()
    const values = ['a', 'b']
    const first = feed.append(values)
    values.length = 0
    const second = feed.append(values)
    values.push('c')
    t.deepEqual([await first, await second, feed.length], [0, 2, 2], `opened: ${opened}`)
    await feed.close()
  }
})

test('given values: objects that are changed after the call', async (t) => {
  const feed = await feedOf<unknown>([], { valueEncoding: 'json' })
  const value = { i: 0 }
  const appends: Promise<number>[] = []
  for (; value.i < 3; value.i++) appends.push(feed.append(value))
  t.deepEqual(await Promise.all(appends), [0, 1, 2])
  t.deepEqual(await feed.getBatch(0, 3), [{ i: 0 }, { i: 1 }, { i: 2 }])
  await feed.close()
})

test('given values: the hook is told what was given', async (t) => {
  const told: unknown[] = []
  const feed = await feedOf<unknown>([], {
    valueEncoding: 'json',
    onwrite(index, value, _peer, callback) {
      told.push([index, value])
      callback(null)
    }
  })
  const values = [{ a: 1 }, 'b']
  const append = feed.append(values)
  values.pop()
  await append
  t.deepEqual(told, [
    [0, { a: 1 }],
    [1, 'b']
  ])
  t.equal(await refusal(feed.append(undefined)).then((text) => text.split(':')[0]), 'ERR_ENCODING')
  t.equal(told.length, 2, 'and not asked about what cannot be encoded')
  await feed.close()
})

test('given values: arrays with holes are refused, and others of the same time are not', async (t) => {
  const feed = await feedOf<unknown>([])
  const before = feed.append('before')
  const late: unknown[] = []
  late[1] = 'b'
  const holes = [refusal(feed.append(late)), refusal(feed.append(new Array(2)))]
  const after = feed.append('after')
  for (const hole of holes) t.match(await hole, /^ERR_ENCODING: /)
  t.deepEqual([await before, await after], [0, 1])
  t.deepEqual(texts((await feed.getBatch(0, 2)) as Uint8Array[]), ['before', 'after'])
  await feed.close()
})

test('given values: a string is not cut within a character', async (t) => {
  const feed = await feedOf<string>([], { valueEncoding: 'utf-8' })
  await writeAll(feed.createWriteStream({ maxBlockSize: 3 }), ['ab😀😀c'])
  t.deepEqual(await feed.getBatch(0, feed.length), ['ab', '😀', '😀c'])
  await writeAll(feed.createWriteStream({ maxBlockSize: 2 }), ['a\ud83db'])
  t.equal(feed.length, 5, 'half a character ends')
  await feed.close()
})
