/** hyperbee 1.10, unmodified, reading from a remote, over feeds of ours and of hypercore 9 in all combinations. */
import test from 'tape'
import type { FeedFace } from '../helpers/feed-face.ts'
import { Bench, connect, until } from '../helpers/replication-feeds.ts'
import { OURS_HYPERCORE, PUBLISHED_HYPERCORE, replicating } from '../helpers/replication-subjects.ts'
import { rejection } from '../helpers/watchdog.ts'
import { all, type Bee, beeIn, keys, pairs } from './hyperbee.ts'

const NAMES = keys(0, 400)

/** A feed that holds a map of 400 keys. */
async function filled(bench: Bench): Promise<{ feed: FeedFace; bee: Bee }> {
  const feed = await bench.feed()
  const bee = beeIn(feed)
  const batch = bee.batch()
  for (const name of NAMES) await batch.put(name, `value ${name}`)
  await batch.flush()
  return { feed, bee }
}

for (const [writer, reader] of [
  [OURS_HYPERCORE, OURS_HYPERCORE],
  [OURS_HYPERCORE, PUBLISHED_HYPERCORE],
  [PUBLISHED_HYPERCORE, OURS_HYPERCORE]
] as const) {
  // Without its extension the map fetches exactly the blocks that it reads.
  for (const extension of [true, false]) {
    const how = `${writer.name} to ${reader.name}, ${extension ? 'with' : 'without'} the extension`

    test(`hyperbee: sparse remote reads, ${how}`, async (t) => {
      const { feed, bee } = await filled(new Bench(t, writer))
      const copy = await new Bench(t, reader).sparse(feed)
      const remote = beeIn(copy, extension ? {} : { extension: false })
      const connection = connect(feed, copy, { live: true })

      t.deepEqual(await remote.get('0123'), await bee.get('0123'), 'get')
      t.equal(await remote.get('nothing'), null)
      const path = copy.downloaded()
      t.ok(path > 0 && path < 100, `a key costs the blocks on the way to it: ${path} of ${feed.length}`)

      const range = { gte: '0200', lt: '0220' }
      t.deepEqual(
        await pairs(remote.createReadStream(range)),
        await pairs(bee.createReadStream(range)),
        'range'
      )
      t.equal((await remote.peek({ gte: '0399' }))?.key, '0399')
      if (!extension) t.ok(copy.downloaded() < feed.length, 'a range costs its part of the blocks')

      await bee.put('new', 'value')
      await bee.del('0123')
      await until(() => replicating(copy).peers[0]?.remoteLength === feed.length, 'the announcement')
      t.equal((await remote.get('new'))?.value, 'value', 'what was written meanwhile')
      t.equal(await remote.get('0123'), null)
      t.equal((await remote.checkout(NAMES.length + 1).get('0123'))?.value, 'value 0123', 'an old version')
      t.deepEqual(await pairs(remote.sub('x').createReadStream()), [], 'a part without keys')

      t.deepEqual(
        (await all(remote.createDiffStream(NAMES.length + 1))).map(
          ({ left, right }) => left?.key ?? `-${right?.key}`
        ),
        ['-0123', 'new'],
        'difference'
      )
      t.deepEqual(await pairs(remote.createReadStream()), await pairs(bee.createReadStream()), 'everything')
      t.deepEqual((await all(remote.createHistoryStream())).length, NAMES.length + 2, 'history')
      t.equal(copy.downloaded(), feed.length - 1, 'in the end all blocks but the header are here')
      await connection.cut()
    })
  }
}

test('hyperbee: a remote read ends when its stream does, and others go on', async (t) => {
  const bench = new Bench(t, OURS_HYPERCORE)
  const { feed } = await filled(bench)
  const copy = await bench.sparse(feed)
  const first = connect(feed, copy, { live: true })
  const remote = beeIn(copy, { extension: false })
  await remote.get('0000')
  await first.cut()

  const stream = remote.createReadStream({ gte: '0300' })
  const reading = rejection(all(stream), 'the stream')
  const waiting = remote.get('0399')
  await until(() => replicating(copy).peers.length === 0, 'the end of the connection')
  stream.destroy()

  const second = connect(feed, copy, { live: true })
  t.equal((await waiting)?.value, 'value 0399')
  // hyperbee cannot take back the read that it is in, so its stream closes when that is answered.
  t.match((await reading).message, /closed|destroyed|premature/i, 'the stream has ended without its blocks')
  await second.cut()
})

test('hyperbee: a read whose feed is closed fails', async (t) => {
  const bench = new Bench(t, OURS_HYPERCORE)
  const { feed } = await filled(bench)
  const copy = await bench.sparse(feed)
  const connection = connect(feed, copy, { live: true })
  const remote = beeIn(copy)
  await remote.get('0000')
  await connection.cut()
  const waiting = rejection(remote.get('0399'), 'get')
  await copy.close()
  t.equal((await waiting).code, 'ERR_FEED_CLOSED')
})
