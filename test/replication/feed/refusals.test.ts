/** Remotes that are not let in: wrong roles, keys and capabilities, and what the application says about them. */
import { DDATABASE } from '../../../src/dialect.ts'
import type { FeedFace } from '../../helpers/feed-face.ts'
import {
  type Bench,
  complete,
  connect,
  connectStreams,
  forEach,
  texts,
  until
} from '../../helpers/replication-feeds.ts'
import { ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import {
  type AnyFeed,
  type AnyStream,
  OURS,
  OURS_HYPERCORE,
  PUBLISHED,
  PUBLISHED_HYPERCORE,
  replicating
} from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

/**
 * A replica with a good peer, and with a get that nobody can answer yet: what must go on whatever happens to another
 * connection of the same feed.
 */
class Bystander {
  readonly writer: FeedFace
  readonly replica: FeedFace
  readonly #connection
  readonly #answer: Promise<unknown>

  private constructor(writer: FeedFace, replica: FeedFace) {
    this.writer = writer
    this.replica = replica
    this.#connection = connect(writer, replica, { live: true })
    this.#answer = replica.get(3)
  }

  static async make(bench: Bench): Promise<Bystander> {
    const writer = await bench.writer(texts(3))
    const replica = await bench.sparse(writer)
    const bystander = new Bystander(writer, replica)
    await replica.get(0)
    return bystander
  }

  /** Whether the good peer is still there and the get is answered as soon as the block exists. */
  async goesOn(): Promise<boolean> {
    const alone = replicating(this.replica).peers.length === 1
    await this.writer.append('block 3')
    const answered = String(await this.#answer) === 'block 3'
    const open = !this.#connection.a.destroyed && !this.#connection.b.destroyed
    await this.#connection.cut()
    return alone && answered && open
  }
}

/** The end of our side of a connection with `remote`. */
async function endWith(feed: AnyFeed, remote: AnyStream, options: object = {}): Promise<string | undefined> {
  const stream = feed.replicate(false, { live: true, ...options })
  const end = ending(stream)
  join(unwatched(remote), stream)
  return (await end)?.code
}

forEach([OURS], 'refusals: two initiators', async (t, bench) => {
  const bystander = await Bystander.make(bench)
  const remote = replicating(bystander.writer).replicate(true)
  const stream = replicating(bystander.replica).replicate(true)
  const end = ending(stream)
  join(unwatched(remote), stream)
  t.equal((await end)?.code, 'ERR_HANDSHAKE_ROLES')
  await until(() => remote.destroyed, 'the other end')
  t.ok(await bystander.goesOn())
})

forEach([OURS], 'refusals: a remote that does not know the key', async (t, bench) => {
  const bystander = await Bystander.make(bench)
  const impostor = new OURS.Protocol(true, { live: true, dialect: { ...DDATABASE, capability: 'guessed' } })
  impostor.open(bystander.writer.key)
  t.equal(await endWith(replicating(bystander.replica), impostor), 'ERR_CAPABILITY')
  t.ok(await bystander.goesOn())
})

forEach(
  [OURS],
  'refusals: a remote without capability opens first, the feed is refused and the stream stays',
  async (t, bench) => {
    const bystander = await Bystander.make(bench)
    const other = await bench.writer(['x'])
    const otherReplica = await bench.replica(other)
    const a = new OURS.Protocol(true, { live: true, dialect: { ...DDATABASE, capability: 'guessed' } })
    a.open(bystander.writer.key)
    const b = new OURS.Protocol(false, { live: true })
    const connection = connectStreams(a, b)
    await until(() => b.remoteOpened(bystander.writer.key), 'the Open')
    replicating(bystander.replica).replicate(b, { live: true })
    await until(() => a.channelCount === 0, 'the refusal')
    t.equal(b.remoteVerified(bystander.writer.key), false)
    t.notOk(a.destroyed || b.destroyed)
    await connection.cut()
    await connect(other, otherReplica).ends
    t.equal(otherReplica.downloaded(), 1)
    t.ok(await bystander.goesOn())
  }
)

forEach(BOTH, 'refusals: two feeds that are not the same', async (t, bench) => {
  const writer = await bench.writer(texts(3))
  const other = await bench.writer(texts(3))
  const { a, b, cut } = connect(writer, other, { live: true })
  await until(() => a.remoteOpened(other.key) && b.remoteOpened(writer.key), 'both Opens')
  await settle()
  t.equal(replicating(writer).peers[0]!.remoteOpened, false)
  t.equal(replicating(other).peers[0]!.remoteOpened, false)
  await cut()
})

const ANSWERS: Record<string, (done: (error?: Error) => void) => unknown> = {
  refuses: (done) => done(new Error('not you')),
  'refuses later': (done) => setImmediate(() => done(new Error('not you'))),
  throws: () => {
    throw new Error('not you')
  },
  rejects: async () => {
    await settle(2)
    throw new Error('not you')
  },
  'answers twice': (done) => {
    done(new Error('not you'))
    done()
  }
}

for (const [name, answer] of Object.entries(ANSWERS)) {
  forEach([OURS], `refusals: onauthenticate ${name}`, async (t, bench) => {
    const bystander = await Bystander.make(bench)
    for (const initiator of [true, false]) {
      const keys: Uint8Array[] = []
      const remote = replicating(bystander.writer).replicate(!initiator, { live: true })
      const stream = replicating(bystander.replica).replicate(initiator, {
        live: true,
        onauthenticate: (key: Uint8Array, done: (error?: Error) => void) => {
          keys.push(key)
          return answer(done)
        }
      })
      const end = ending(stream)
      join(unwatched(remote), stream)
      t.equal((await end)?.code, 'ERR_AUTHENTICATION_REFUSED', `initiator: ${initiator}`)
      t.deepEqual(keys, [remote.publicKey], 'asked once, with the key of the remote')
      await until(() => remote.destroyed, 'the other end')
    }
    t.ok(await bystander.goesOn())
  })
}

forEach([OURS], 'refusals: onauthenticate never answers', async (t, bench) => {
  const bystander = await Bystander.make(bench)
  const remote = replicating(bystander.writer).replicate(true, { live: true })
  let asked = 0
  const stream = replicating(bystander.replica).replicate(false, {
    live: true,
    timeout: 50,
    onauthenticate: () => void asked++
  })
  const end = ending(stream)
  join(unwatched(remote), stream)
  const error = await end
  t.equal(asked, 1)
  t.equal(error?.code, 'ETIMEDOUT', 'the timeout of the stream counts as ever')
  t.ok(await bystander.goesOn())
})

for (const later of [false, true]) {
  // An initiator of the published packages that is let in later never sends its last handshake message.
  forEach(
    later ? [OURS] : BOTH,
    `refusals: onauthenticate lets in ${later ? 'later' : 'at once'}`,
    async (t, bench) => {
      const writer = await bench.writer(texts(3))
      const replica = await bench.replica(writer)
      const log: string[] = []
      const options = (name: string) => ({
        onauthenticate: (_key: Uint8Array, done: () => void) => {
          log.push(name)
          if (later) setImmediate(done)
          else done()
        },
        onhandshake: () => log.push(`${name} handshake`)
      })
      t.deepEqual(await connect(writer, replica, options('a'), options('b')).ends, [null, null])
      t.deepEqual(log.sort(), ['a', 'a handshake', 'b', 'b handshake'])
      t.equal(replica.downloaded(), 3)
    }
  )
}

forEach(
  [OURS_HYPERCORE, PUBLISHED_HYPERCORE],
  'refusals: onfeedauthenticate is asked per feed',
  async (t, bench) => {
    const [good, bad] = [await bench.writer(texts(3)), await bench.writer(texts(3))]
    const replicas = [await bench.replica(good), await bench.replica(bad)]
    const a = replicating(good).replicate(true, { live: true })
    replicating(bad).replicate(a, { live: true })
    const asked: unknown[] = []
    const onfeedauthenticate = (feed: unknown, key: Uint8Array, done: (error?: Error) => void) => {
      asked.push(feed, Buffer.from(key).toString('hex'))
      done(feed === replicas[1]!.feed ? new Error('not this one') : undefined)
    }
    const b = replicating(replicas[0]!).replicate(false, { live: true, onfeedauthenticate })
    replicating(replicas[1]!).replicate(b, { live: true, onfeedauthenticate })
    const connection = connectStreams(a, b)
    await complete(replicas[0]!, 3)
    await until(() => replicating(bad).peers.length === 0, 'the refusal')
    const key = Buffer.from(a.publicKey!).toString('hex')
    t.deepEqual(asked, [replicas[0]!.feed, key, replicas[1]!.feed, key])
    t.notOk(a.destroyed || b.destroyed)
    t.equal(replicas[1]!.length, 0)
    await connection.cut()
  }
)
