/** Findings of reviews of the replication of feeds, each as it was found. */
import RAM from 'random-access-memory'
import test from 'tape'
import { HypercoreProtocolStream } from '../../../src/replication/stream.ts'
import { Bench, complete, connect, connectStreams, texts, until } from '../../helpers/replication-feeds.ts'
import { ending, join, unwatched } from '../../helpers/replication-pipes.ts'
import {
  type AnyChannel,
  type AnyStream,
  OURS,
  OURS_HYPERCORE,
  PUBLISHED,
  replicating
} from '../../helpers/replication-subjects.ts'
import { rejection, settle, within } from '../../helpers/watchdog.ts'

const WINDOW = 2 ** 20

test('regression: all windows of a long feed are asked for, one after the other', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(1))
  const replica = await bench.sparse(writer)
  const asked: number[] = []
  const remote = unwatched(new OURS.Protocol(true, { live: true }))
  const channel: AnyChannel = remote.open(writer.key!, {
    onwant: ({ start, length }: { start: number; length: number }) => {
      asked.push(start / WINDOW)
      if (asked.length === 1) channel.have({ start: 40 * WINDOW - 1 })
      setImmediate(() => channel.have({ start, length, bitfield: Buffer.alloc(0) }))
    }
  })
  const stream = unwatched(replicating(replica).replicate(false, { live: true }))
  join(remote, stream)
  replica.call('download', { start: 0, end: -1 }).catch(() => {})
  await until(() => asked.length === 40, 'forty Wants')
  t.deepEqual(
    [...asked].sort((a, b) => a - b),
    Array.from({ length: 40 }, (_, i) => i)
  )
  stream.destroy()
  await bench.close()
})

test('regression: a feed that is closed while it replicates does not end the stream of others', async (t) => {
  const bench = new Bench(t, OURS)
  const theirs = new Bench(t, PUBLISHED)
  for (let at = 1; at <= 33; at += 8) {
    const writers = [await theirs.writer(texts(200)), await theirs.writer(texts(200))]
    const clones = [await bench.replica(writers[0]!), await bench.replica(writers[1]!)]
    const a = replicating(writers[0]!).replicate(true, { live: true })
    const b = replicating(clones[0]!).replicate(false, { live: true })
    replicating(writers[1]!).replicate(a, { live: true })
    replicating(clones[1]!).replicate(b, { live: true })
    let downloads = 0
    replicating(clones[0]!).on('download', () => {
      if (++downloads === at) void clones[0]!.close()
    })
    const connection = connectStreams(a, b)
    await complete(clones[1]!, 200)
    t.notOk(a.destroyed || b.destroyed, `closed after ${at} blocks`)
    await connection.cut()
  }
  await bench.close()
  await theirs.close()
})

test('regression: seek with hash: false over a network', async (t) => {
  for (const subject of [OURS, PUBLISHED]) {
    const bench = new Bench(t, OURS)
    const other = new Bench(t, subject)
    const writer = await other.writer(texts(100))
    for (const bytes of [55, 265, 405, 615]) {
      const replica = await bench.sparse(writer)
      const { cut } = connect(writer, replica, { live: true })
      t.deepEqual(
        await replica.seek(bytes, { hash: false }),
        await writer.seek(bytes),
        `${subject.name}: ${bytes}`
      )
      await cut()
    }
    await bench.close()
    await other.close()
  }
})

test('regression: a request that arrives right after the last answer is answered', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(8))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replicating(writer).peers[0]?.remoteOpened === true, 'the Open')
  const peer = replicating(writer).peers[0] as unknown as { onrequest(request: object): void }
  const request = (index: number) => ({ index, bytes: 0, hash: false, nodes: 1 })
  for (let microtasks = 0; microtasks < 9; microtasks++) {
    const sent: number[] = []
    const onupload = (index: number) => {
      sent.push(index)
      if (index !== 1) return
      let left = microtasks
      const step = () => {
        if (left-- === 0) peer.onrequest(request(2))
        else queueMicrotask(step)
      }
      queueMicrotask(step)
    }
    replicating(writer).on('upload', onupload)
    peer.onrequest(request(1))
    await until(() => sent.length === 2, 'both answers')
    replicating(writer).off('upload', onupload)
    t.deepEqual(sent, [1, 2], `${microtasks} microtasks later`)
  }
  await cut()
  await bench.close()
})

/** Memory that writes when it is told to. */
class HeldMemory extends RAM {
  static held: (() => void)[] | null = null
  override _write(request: unknown): void {
    const write = () => super._write(request as never)
    if (HeldMemory.held === null) write()
    else HeldMemory.held.push(write)
  }
}

test('regression: calls that are cancelled while their blocks are being stored cost no connection', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(200))
  const replica = OURS.open(() => new HeldMemory({ pageSize: 4096 }), writer.key, { sparse: true })
  await replica.ready()
  const { a, b, cut } = connect(writer, replica, { live: true })
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(100) === true, 'the Have')
  HeldMemory.held = []
  for (let round = 0; round < 3; round++) {
    const ids = Array.from({ length: 32 }, (_, i) => replicating(replica).get(32 * round + i, {}, () => {}))
    await settle(20)
    for (const id of ids) replicating(replica).cancel(id)
    await settle(5)
  }
  const held = HeldMemory.held
  HeldMemory.held = null
  for (const write of held) write()
  t.equal(String(await replica.get(190)), 'block 190')
  t.notOk(a.destroyed || b.destroyed)
  await cut()
  await replica.close()
  await bench.close()
})

test('regression: a clone in memory lets timers and sockets have their turn', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(2000))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true, limits: { framesPerTurn: 50 } })
  let over = false
  let turns = 0
  const count = () => {
    turns++
    if (!over) setImmediate(count)
  }
  setImmediate(count)
  await replica.call('download', { start: 0, end: 2000 })
  over = true
  t.ok(turns >= 20, `${turns} turns for 2000 blocks of 50 frames each`)
  await cut()
  await bench.close()
})

test('regression: a closed feed on a stream of others refuses, and destroys nothing', async (t) => {
  const bench = new Bench(t, OURS)
  const [writer, closed] = [await bench.writer(texts(3)), await bench.writer(texts(3))]
  const replica = await bench.sparse(writer)
  const { a, b, cut } = connect(writer, replica, { live: true })
  await closed.close()
  t.equal(replicating(closed).replicate(a), a)
  const failing = OURS.open(
    () => {
      throw new Error('no disk')
    },
    writer.key,
    {}
  )
  failing.feed.on('error', () => {})
  t.equal(replicating(failing).replicate(a), a)
  t.equal(String(await replica.get(1)), 'block 1')
  t.notOk(a.destroyed || b.destroyed)
  const own = replicating(closed).replicate(true)
  t.equal((await ending(own))?.code, 'ERR_FEED_CLOSED', 'a stream of its own ends')
  await cut()
  await bench.close()
})

test('regression: eagerUpdate with ifAvailable waits instead of asking for ever', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(3))
  const replica = await bench.sparse(writer, { eagerUpdate: true, ifAvailable: true })
  let errors = 0
  replicating(replica).on('update-error', () => errors++)
  await settle(20)
  t.equal(errors, 0)
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replica.length === 3, 'the length')
  await writer.append('one more')
  await until(() => replica.length === 4, 'the new length')
  await cut()
  await bench.close()
})

test('regression: many feeds with onfeedauthenticate on one stream', async (t) => {
  const warnings: string[] = []
  const onwarning = (warning: Error) => void warnings.push(warning.name)
  process.on('warning', onwarning)
  const bench = new Bench(t, OURS_HYPERCORE)
  const writers = await Promise.all(Array.from({ length: 15 }, () => bench.writer(texts(2))))
  const clones = await Promise.all(writers.map((writer) => bench.replica(writer)))
  const [a, b]: AnyStream[] = [
    new HypercoreProtocolStream(true, { live: true }) as unknown as AnyStream,
    new HypercoreProtocolStream(false, { live: true }) as unknown as AnyStream
  ]
  const asked: unknown[] = []
  for (const [i, clone] of clones.entries()) {
    replicating(writers[i]!).replicate(a, { live: true })
    replicating(clone).replicate(b, {
      live: true,
      onfeedauthenticate: (feed: unknown, _key: unknown, done: (error?: Error) => void) => {
        asked.push(feed)
        done()
      }
    })
  }
  const connection = connectStreams(a!, b!)
  await Promise.all(clones.map((clone) => complete(clone, 2)))
  t.deepEqual(new Set(asked), new Set(clones.map(({ feed }) => feed)), 'each was asked for')
  await settle(2)
  t.deepEqual(warnings, [])
  process.off('warning', onwarning)
  await connection.cut()
  await bench.close()
})

test('regression: blocks that an audit forgets are taken back', async (t) => {
  const bench = new Bench(t, OURS)
  const files = new Map<string, RAM>()
  const writer = OURS.open(
    (name: string) => {
      const file = files.get(name) ?? new RAM({ pageSize: 4096 })
      files.set(name, file)
      return file
    },
    null,
    {}
  )
  await writer.ready()
  await writer.append(texts(10))
  const replica = await bench.sparse(writer)
  const unhaves: object[] = []
  const { cut } = connect(writer, replica, { live: true })
  const has = (i: number) => replicating(replica).peers[0]?.remoteBitfield.get(i) === true
  await until(() => has(9), 'the Have')
  const peer = replicating(replica).peers[0] as unknown as { onunhave(message: object): void }
  const { onunhave } = peer
  peer.onunhave = function (message) {
    unhaves.push({ ...message })
    onunhave.call(this, message)
  }
  const data = [...files].find(([name]) => name.endsWith('data'))![1]
  await within(new Promise((resolve) => data.write(7 * 3, Buffer.from('X'.repeat(14)), resolve)), 'the write')
  t.deepEqual({ ...(await writer.audit()) }, { valid: 8, invalid: 2 })
  await until(() => !has(4), 'the Unhave')
  t.deepEqual(unhaves, [{ start: 3, length: 2 }])
  t.deepEqual([has(2), has(3), has(4), has(5)], [true, false, false, true])
  t.equal((await rejection(replica.get(3, { ifAvailable: true }), 'get')).code, 'ERR_BLOCK_NOT_AVAILABLE')
  await cut()
  await writer.close()
  await bench.close()
})

test('regression: a replicate that throws has no effect', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(3))
  const replica = await bench.replica(writer)
  const { _selections: selections } = replica.feed as unknown as { _selections: Iterable<object> }
  for (const selection of [...selections]) replicating(replica).undownload(selection)
  t.throws(() => replicating(replica).replicate(undefined), /initiator/)
  t.equal([...selections].length, 0)
  await bench.close()
})

test('regression: what is cleared as it comes is not fetched again and again', async (t) => {
  for (const subject of [OURS, PUBLISHED]) {
    for (const live of [true, false]) {
      const bench = new Bench(t, OURS)
      const other = new Bench(t, subject)
      const writer = await other.writer(texts(60))
      const replica = await bench.replica(writer)
      let came = 0
      let cleared = 0
      replicating(replica).on('download', (index: number) => {
        if (++came > 200) throw new Error('for ever')
        replica.call('clear', index, index + 1).then(() => cleared++)
      })
      const range = within(replica.call('download', { start: 0, end: 60 }), 'the range')
      const connection = connect(writer, replica, { live })
      await range
      await until(() => cleared === 60, '60 blocks that are cleared')
      if (live) {
        await writer.append(['one more'])
        await until(() => cleared === 61, 'what is appended')
      } else await connection.ends
      t.deepEqual([came, replica.downloaded()], [live ? 61 : 60, 0], `${subject.name}, live: ${live}`)
      await connection.cut()
      await bench.close()
      await other.close()
    }
  }
})

test('regression: what was cleared is fetched for who asks for it, and from peers that come later', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(20))
  const replica = await bench.replica(writer)
  const first = connect(writer, replica, { live: true })
  await complete(replica, 20)
  await replica.clear(2, 12)
  await settle()
  t.equal(replica.downloaded(), 10, 'a download of before is through with it')
  t.deepEqual(String(await within(replica.get(3), 'get')), texts(20)[3])
  await within(replica.call('getBatch', 4, 6), 'getBatch')
  await within(replica.call('download', [7, 8]), 'download')
  await settle()
  t.equal(replica.downloaded(), 15, 'only what was asked for')
  await first.cut()
  const second = connect(writer, replica, { live: true })
  await complete(replica, 20)
  t.equal(replica.downloaded(), 20)
  await second.cut()
  await bench.close()
})
