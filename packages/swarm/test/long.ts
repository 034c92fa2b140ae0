/** What takes too long for every run: `npm run test:long`. */
import test from 'tape'
import { within } from '../../../test/helpers/watchdog.ts'
import { copyOf, makeFeed, makeNetwork, makeSwarm, next } from './helpers.ts'
import { comeAndGo } from './scenario.ts'

test('20 processes, for ten rounds', (t) => comeAndGo(t, 20, 10))

test('1000 feeds', async (t) => {
  const bootstrap = await makeNetwork(t, 20)
  const writer = makeSwarm(t, { bootstrap })
  const feeds = await Promise.all(Array.from({ length: 1000 }, (_, i) => makeFeed(t, [`feed ${i}`])))
  const first = feeds[999]!
  for (const feed of feeds) writer.join(feed, { priority: feed === first ? 2 : 1 })
  const begun = Date.now()
  await next(writer, 'searched', ({ feed }) => (feed as unknown) === first)
  t.comment(`the most important one is announced after ${Date.now() - begun} ms`)
  await within(writer.flush(), 'flush', 300_000)
  t.equal(writer.stats.feeds.announced, 1000)
  t.comment(`1000 feeds are announced after ${Date.now() - begun} ms`)

  const reader = makeSwarm(t, { bootstrap })
  const copies = feeds.map((feed) => copyOf(t, feed))
  for (const copy of copies) reader.join(copy)
  const values = await within(Promise.all(copies.map((copy) => copy.get(0))), 'the blocks', 300_000)
  t.equal(new Set(values).size, 1000)
  t.comment(`all are copied after ${Date.now() - begun} ms`)
  t.equal(reader.stats.total.opened, 1, 'over one connection')
  const closing = Date.now()
  await within(Promise.all([writer.close(), reader.close()]), 'close', 60_000)
  t.comment(`closed in ${Date.now() - closing} ms`)
})
