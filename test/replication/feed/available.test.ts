/** `ifAvailable` of get, update and seek, and who decides that nobody has something (spec API §5, §10). */
import type { FeedFace } from '../../helpers/feed-face.ts'
import { complete, connect, connectStreams, forEach, texts, until } from '../../helpers/replication-feeds.ts'
import { nextEvent, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { rejection, settle } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

/** The three calls, each asking for something that `feed` can only get from a peer. */
const CALLS: Record<string, [(feed: FeedFace) => Promise<unknown>, message: string, code: string]> = {
  get: [
    (feed) => feed.get(40, { ifAvailable: true }),
    'Block not available from peers',
    'ERR_BLOCK_NOT_AVAILABLE'
  ],
  update: [
    (feed) => feed.call('update', { ifAvailable: true }),
    'No update available from peers',
    'ERR_UPDATE_NOT_AVAILABLE'
  ],
  seek: [
    (feed) => feed.seek(4000, { ifAvailable: true }),
    'Seek not available from peers',
    'ERR_SEEK_NOT_AVAILABLE'
  ]
}

for (const [name, [call, message, code]] of Object.entries(CALLS)) {
  const refused = async (feed: FeedFace) => {
    const error = await rejection(call(feed), name)
    return error.message === message ? error.code : error.message
  }

  forEach(BOTH, `available: ${name} without peers`, async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    t.equal(await refused(replica), bench.subject.isOurs ? code : undefined)
  })

  forEach(BOTH, `available: ${name} with peers that do not have it`, async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    const empty = await bench.sparse(writer)
    const connections = [connect(writer, replica, { live: true }), connect(empty, replica, { live: true })]
    await replica.call('update', 3)
    t.equal(await refused(replica), bench.subject.isOurs ? code : undefined)
    t.equal(await refused(replica), bench.subject.isOurs ? code : undefined, 'and again')
    for (const connection of connections) await connection.cut()
  })

  forEach(
    BOTH,
    `available: ${name} asked while the only peer, which has nothing, connects`,
    async (t, bench) => {
      const writer = await bench.writer(texts(3))
      const replica = await bench.sparse(writer)
      const empty = await bench.sparse(writer)
      const stream = replicating(replica).replicate(true, { live: true })
      const answer = refused(replica)
      await settle(10)
      const connection = connectStreams(stream, replicating(empty).replicate(false, { live: true }))
      t.equal(await answer, bench.subject.isOurs ? code : undefined)
      await connection.cut()
    }
  )

  forEach(BOTH, `available: ${name} asked while the only peer, which goes, connects`, async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    const stream = replicating(replica).replicate(true, { live: true })
    const answer = refused(replica)
    await settle(10)
    stream.destroy()
    t.equal(await answer, bench.subject.isOurs ? code : undefined)
  })

  forEach(BOTH, `available: ${name} of something a connecting peer has`, async (t, bench) => {
    const writer = await bench.writer(texts(500))
    const replica = await bench.sparse(writer)
    const stream = replicating(replica).replicate(true, { live: true })
    const answer = call(replica)
    const connection = connectStreams(stream, replicating(writer).replicate(false, { live: true }))
    const value = await answer
    if (name === 'get') t.equal(String(value), 'block 40')
    else if (name === 'seek') t.ok(Array.isArray(value))
    else t.equal(replica.length, 500)
    await connection.cut()
  })

  forEach(BOTH, `available: ${name} waits for a guard that is held`, async (t, bench) => {
    const writer = await bench.writer(texts(500))
    const replica = await bench.sparse(writer)
    replicating(replica).ifAvailable.wait()
    let answered = false
    const answer = call(replica).then(
      () => 'found',
      (error: Error) => error.message
    )
    void answer.then(() => {
      answered = true
    })
    await settle(10)
    t.notOk(answered, 'somebody is still looking for peers')
    replicating(replica).ifAvailable.continue()
    t.equal(await answer, message)
  })

  forEach(BOTH, `available: ${name} as a default of the feed`, async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer, { ifAvailable: true })
    const plain: Record<string, () => Promise<unknown>> = {
      get: () => replica.get(40),
      update: () => replica.call('update'),
      seek: () => replica.seek(4000)
    }
    t.equal((await rejection(plain[name]!(), name)).message, message)
  })
}

forEach(BOTH, 'available: the hooks of `timeouts` delay the decision', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer)
  const held: (() => void)[] = []
  replicating(replica).timeouts = {
    get: (callback) => void held.push(callback),
    update: (callback) => void held.push(callback)
  }
  const answers = [replica.get(1, { ifAvailable: true }), replica.call('update', { ifAvailable: true })]
  const errors = Promise.all(answers.map((answer) => rejection(answer, 'a call')))
  await settle(10)
  t.equal(held.length, 2)
  for (const go of held) go()
  t.deepEqual(
    (await errors).map((error) => error.message),
    ['Block not available from peers', 'No update available from peers']
  )
})

forEach(BOTH, 'available: a hook may wait until a peer is there', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer, { timeouts: undefined })
  let cut: () => Promise<void> = async () => {}
  replicating(replica).timeouts.get = (callback) => {
    cut = connect(writer, replica, { live: true }).cut
    replicating(replica).once('peer-open', () => callback())
  }
  t.equal(String(await replica.get(1, { ifAvailable: true })), 'block 1')
  await cut()
})

forEach(
  BOTH,
  'available: get fails with Closed or Feed is closed if the feed closes meanwhile',
  async (t, bench) => {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    replicating(replica).ifAvailable.wait()
    const error = rejection(replica.get(1, { ifAvailable: true }), 'get')
    await settle()
    await replica.close()
    t.ok(['Closed', 'Feed is closed'].includes((await error).message))
  }
)

forEach(BOTH, 'available: a writer has no updates, unless forced to ask', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const error = await rejection(writer.call('update', { ifAvailable: true }), 'update')
  t.equal(error.message, 'No update available from peers')
  const forced = await rejection(writer.call('update', { ifAvailable: true, force: true }), 'update')
  t.equal(forced.message, 'No update available from peers')
})

forEach(BOTH, 'available: head hides that there is no update', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer)
  const none = await rejection(replica.head({ update: true, ifAvailable: true }), 'head')
  t.equal(none.message, 'feed is empty')
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replicating(replica).remoteLength === 3, 'the peer')
  t.equal(String(await replica.head({ update: true, ifAvailable: true })), 'block 2')
  t.equal(String(await replica.head({ update: true, ifAvailable: true })), 'block 2', 'the old head')
  await cut()
})

forEach(BOTH, 'available: head waits for the first block', async (t, bench) => {
  const writer = await bench.writer()
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  const head = replica.head({ update: true })
  await settle(10)
  await writer.append('first')
  t.equal(String(await head), 'first')
  await cut()
})

forEach(BOTH, 'available: expected lengths', async (t, bench) => {
  const writer = await bench.writer(texts(5))
  const replica = await bench.replica(writer)
  const connection = connect(writer, replica, { live: true })
  await complete(replica, 5)
  await connection.cut()
  const stream = replicating(replica).replicate(true, { live: true })
  const pending = rejection(replica.call('update', { ifAvailable: true }), 'a pending update')
  await settle()
  replicating(replica).setExpectedLength(5)
  t.equal((await pending).message, 'Expected length is less than current length')
  const late = await rejection(replica.call('update', { ifAvailable: true }), 'a new update')
  t.equal(late.message, 'Expected length is less than current length')
  let answered = false
  const more = replica.call('update', { ifAvailable: true, minLength: 7 }).catch((error) => error.message)
  void more.then(() => {
    answered = true
  })
  replicating(replica).setExpectedLength(9)
  await settle()
  const patient = rejection(replica.call('update', { ifAvailable: true }), 'an update that may come')
  stream.destroy()
  t.equal((await patient).message, 'No update available from peers')
  await more
  t.ok(answered)
})

forEach([OURS], 'available: a feed opened in the discovery key event answers, too', async (t, bench) => {
  // Quirk 10 of WIRE §16: the published packages count such a peer down twice and then never answer.
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer)
  const other = await bench.writer(['x'])
  const otherReplica = await bench.replica(other)
  const a = replicating(writer).replicate(true, { live: true })
  replicating(other).replicate(a, { live: true })
  const b = replicating(otherReplica).replicate(false, { live: true })
  let opens = 0
  replicating(replica).on('peer-open', () => opens++)
  b.on('discovery-key', () => replicating(replica).replicate(b, { live: true }))
  const connection = connectStreams(a, b)
  await nextEvent(replicating(replica), 'peer-open')
  t.equal(String(await replica.get(1, { ifAvailable: true })), 'block 1')
  const error = await rejection(replica.get(7, { ifAvailable: true }), 'get')
  t.equal(error.code, 'ERR_BLOCK_NOT_AVAILABLE')
  t.equal(opens, 1)
  await connection.cut()
})
