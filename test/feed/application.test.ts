/** Hooks, signers and verifiers that take their time, call the feed, or never answer: nothing waits for them that need not. */
import test from 'tape'
import { sign, verify } from '../../src/crypto/keys.ts'
import type { Feed, FeedOptions } from '../../src/index.ts'
import ddatabase from '../../src/index.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { within } from '../helpers/watchdog.ts'
import { feedOf, memory, refusal, settled, texts } from './feeds.ts'

type Answer = (error?: Error | null) => void

const CLOSED = 'ERR_FEED_CLOSED: Feed is closed'

/** A feed with blocks `a` and `b` whose hook calls `act` on the block `x`, and answers when that is done. */
async function hooked(act: (feed: Feed<unknown>) => Promise<unknown>): Promise<Feed<unknown>> {
  const feed: Feed<unknown> = await feedOf<unknown>([], {
    onwrite(_index, data, _peer, callback) {
      if (String(data) !== 'x') callback(null)
      else act(feed).then(() => callback(null), callback as (error: Error) => void)
    }
  })
  await feed.append(['a', 'b'])
  return feed
}

const CALLS: [string, (feed: Feed<unknown>) => Promise<unknown>][] = [
  ['clear', (feed) => feed.clear(0)],
  ['truncate', (feed) => feed.truncate(1)],
  ['finalize', (feed) => feed.finalize()],
  ['get', (feed) => feed.get(0)],
  ['audit', (feed) => feed.audit()],
  ['proof', (feed) => feed.proof(0)]
]

test('application: an append hook that calls the feed', async (t) => {
  for (const [name, act] of CALLS) {
    const feed = await hooked(act)
    const index = await within(feed.append('x'), `append with ${name}`)
    t.equal(index, name === 'truncate' ? 1 : 2, name)
    t.deepEqual(texts([await feed.get(index)]), ['x'], 'is stored')
    t.deepEqual({ ...(await feed.audit()) }, { valid: feed.downloaded(), invalid: 0 })
    await within(feed.close(), 'close')
  }
})

test('application: a put hook that calls the feed', async (t) => {
  const source = await feedOf<unknown>(['a', 'b', 'x', 'd'])
  const calls: [string, (feed: Feed<unknown>) => Promise<unknown>][] = [
    ...CALLS,
    ['put', async (feed) => feed.put(3, 'd', await source.proof(3))],
    ['truncate to nothing', (feed) => feed.truncate(0)]
  ]
  for (const [name, act] of calls) {
    const replica: Feed<unknown> = ddatabase<unknown>(memory(), source.key, {
      sparse: true,
      onwrite(_index, data, _peer, callback) {
        if (String(data) !== 'x') callback(null)
        else act(replica).then(() => callback(null), callback as (error: Error) => void)
      }
    })
    for (const index of [0, 1]) await replica.put(index, await source.get(index), await source.proof(index))
    await within(replica.put(2, 'x', await source.proof(2)), `put with ${name}`)
    t.deepEqual(texts([await replica.get(2)]), ['x'], name)
    t.deepEqual({ ...(await replica.audit()) }, { valid: replica.downloaded(), invalid: 0 })
    await within(replica.close(), 'close')
  }
  await source.close()
})

test('application: a hook that closes the feed', async (t) => {
  const feed = await hooked((feed) => feed.close())
  t.equal(await refusal(feed.append('x')), CLOSED)
  await within(feed.close(), 'close')
})

test('application: an append hook that never answers', async (t) => {
  const feed = await hooked(() => new Promise(() => {}))
  const stuck = refusal(feed.append('x'))
  const behind = refusal(feed.append('y'))
  t.deepEqual(texts([await within(feed.get(0), 'get')]), ['a'])
  await within(feed.clear(0), 'clear')
  await within(feed.truncate(1), 'truncate')
  t.equal(await settled(stuck), false, 'the append waits')
  await within(feed.close(), 'close')
  t.equal(await stuck, CLOSED)
  t.notEqual(await settled(behind), false, 'and who came after it is answered')
})

test('application: a hook that answers at once is heard also while the feed is closing', async (t) => {
  const feed = await feedOf<unknown>([], { onwrite: (_index, _data, _peer, callback) => callback(null) })
  const appended = feed.append('a')
  await within(feed.close(), 'close')
  t.equal(await appended, 0)
})

test('application: a put hook that never answers', async (t) => {
  const source = await feedOf<unknown>(['a', 'b'])
  const replica = ddatabase<unknown>(memory(), source.key, {
    sparse: true,
    onwrite: (index, _data, _peer, callback) => {
      if (index === 1) callback(null)
    }
  })
  await replica.ready()
  const stuck = refusal(replica.put(0, 'a', await source.proof(0)))
  await within(replica.put(1, 'b', await source.proof(1)), 'another put')
  t.deepEqual([replica.has(0), replica.has(1)], [false, true])
  await within(replica.close(), 'close')
  t.equal(await stuck, CLOSED)
  await source.close()
})

/** A feed whose signer is `how`, once it is asked for a length from `from` on. */
function signing(how: (answer: () => void) => void): NonNullable<FeedOptions['crypto']> {
  return {
    sign: (data, secretKey, callback) => how(() => callback(null, sign(data, secretKey))),
    verify: (data, signature, key, callback) => callback(null, verify(data, signature, key))
  }
}

test('application: a signer that never answers', async (t) => {
  let stuck = false
  const feed = await feedOf<unknown>([], { crypto: signing((answer) => !stuck && answer()) })
  await feed.append(['a', 'b', 'c'])
  stuck = true
  const append = refusal(feed.append('x'))
  const truncate = refusal(feed.truncate(2))
  await within(feed.clear(0), 'clear')
  t.equal(await settled(Promise.race([append, truncate])), false)
  await within(feed.close(), 'close')
  t.deepEqual([await append, await truncate, feed.length], [CLOSED, CLOSED, 3])
})

test('application: the feed changes while the signer is at work', async (t) => {
  let first = true
  const feed: Feed<unknown> = await feedOf<unknown>([], {
    crypto: signing((answer) => {
      if (!armed || !first) return answer()
      first = false
      feed.truncate(1).then(answer)
    })
  })
  let armed = false
  await feed.append(['a', 'b', 'c'])
  armed = true
  t.equal(await within(feed.append('x'), 'append'), 1, 'the append follows the new end')
  t.deepEqual(texts((await feed.getBatch(0, 2)) as Uint8Array[]), ['a', 'x'])
  t.equal(await feed.verify(1, (await feed.signature(1)).signature), true, 'and is signed as such')
  await feed.close()
})

test('application: a verifier that never answers', async (t) => {
  const source = await feedOf<unknown>(['a', 'b'])
  const replica = ddatabase<unknown>(memory(), source.key, {
    sparse: true,
    crypto: { sign: () => {}, verify: () => {} }
  })
  await replica.ready()
  const put = refusal(replica.put(0, 'a', await source.proof(0)))
  t.equal(await settled(put), false)
  await within(replica.close(), 'close')
  t.equal(await put, CLOSED)
  await source.close()
})

test('application: the hook is asked once for a block, also if the feed changes meanwhile', async (t) => {
  const source = await feedOf<unknown>(['a', 'b', 'c'])
  const asked: number[] = []
  const answers: Answer[] = []
  const replica = ddatabase<unknown>(memory(), source.key, {
    sparse: true,
    onwrite: (index, _data, _peer, callback) => {
      asked.push(index)
      answers.push(callback as Answer)
    }
  })
  await replica.ready()
  const puts = [0, 1].map(async (index) =>
    replica.put(index, await source.get(index), await source.proof(index))
  )
  while (answers.length < 2) await settled(Promise.resolve())
  for (const answer of answers) answer(null)
  await within(Promise.all(puts), 'puts')
  t.deepEqual([asked, replica.downloaded()], [[0, 1], 2])
  await Promise.all([source.close(), replica.close()])
})

test('application: close waits for writes that have begun, and no longer', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append('a')
  const held = storage.hold((_file, operation) => operation === 'write')
  const append = feed.append('b')
  await within(held, 'the write')
  t.deepEqual(texts([await within(feed.get(0), 'get')]), ['a'], 'reading goes on')
  const closed = feed.close()
  t.equal(await settled(closed), false)
  storage.release()
  t.equal(await within(append, 'append'), 1)
  await within(closed, 'close')
})

test('application: a read that never ends does not keep its caller from being told of the end', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  await feed.append('a')
  const held = storage.hold((file, operation) => file === 'data' && operation === 'read')
  const get = refusal(feed.get(0))
  await within(held, 'the read')
  const closed = feed.close()
  t.equal(await within(get, 'get'), CLOSED)
  storage.release()
  await within(closed, 'close')
})
