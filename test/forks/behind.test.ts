/** Writers that lack a part of their own history. */
import test from 'tape'
import type { FeedFace } from '../helpers/feed-face.ts'
import { complete, connect, until } from '../helpers/replication-feeds.ts'
import { nextEvent, OURS, replicating } from '../helpers/replication-subjects.ts'
import { rejection } from '../helpers/watchdog.ts'
import { Author, branch, checkIs, checkProof, fetched, forksOf, meet, PAIRS, quiet } from './branches.ts'

const OLD = branch('both', 0, 5)
const LOST = branch('lost', 5, 4)

/** The lengths that a feed says it is behind. */
function behindOf(face: FeedFace): number[] {
  const lengths: number[] = []
  face.feed.on('behind', (length: number) => lengths.push(length))
  return lengths
}

async function appendCode(feed: FeedFace, block: string): Promise<unknown> {
  const error = await rejection(feed.append(block), 'append')
  return (error as { code?: unknown }).code
}

for (const { name, ours, holder } of PAIRS) {
  test(`behind: a restored writer is told, catches up and goes on, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const restored = await author.device(OLD)
    const device = await author.otherDevice(OLD, LOST)
    const lengths = behindOf(restored)
    const forks = forksOf(restored)
    const told = nextEvent(replicating(restored), 'behind')
    const connection = meet(restored, device)
    t.deepEqual(await told, [9])
    t.equal(await appendCode(restored, 'too early'), 'ERR_BEHIND')
    await complete(restored, 9)
    t.equal(await restored.append('on top'), 9)
    await checkIs(t, restored, [...OLD, ...LOST, 'on top'], 'the writer')
    t.deepEqual(lengths, [9])
    t.equal(forks.length, 0)
    await connection.cut()

    const copy = await author.replica()
    await fetched(restored, copy)
    await checkIs(t, copy, [...OLD, ...LOST, 'on top'])
    await author.close()
  })

  test(`behind: on a connection that is not live, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const restored = await author.device(OLD)
    const device = await author.otherDevice(OLD, LOST)
    const copy = await author.others.feed(Buffer.from(author.key))
    await connect(device, copy).ends
    const lengths = behindOf(restored)
    const ends = await connect(restored, copy).ends
    t.deepEqual(ends, [null, null], 'it ends well')
    t.deepEqual(lengths, [9])
    await checkIs(t, restored, [...OLD, ...LOST], 'the writer')
    await author.close()
  })

  test(`behind: who insists makes a fork, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const restored = await author.deviceWith({ downloading: false }, OLD)
    const device = await author.otherDevice(OLD, LOST)
    const told = nextEvent(replicating(restored), 'behind')
    const forks = forksOf(restored)
    const connection = meet(restored, device)
    t.deepEqual(await told, [9])
    t.equal(await appendCode(restored, 'too early'), 'ERR_BEHIND')
    await quiet()
    t.equal(restored.length, 5, 'nothing is fetched against the will of the application')
    t.equal(await restored.call('append', 'anew', { force: true }), 5)
    t.equal(await connection.end, 'ERR_FORK')
    t.equal(forks.length, 1)
    checkProof(t, forks[0], author.key, 6, 9)
    t.equal(await restored.append('and on'), 6)
    await checkIs(t, restored, [...OLD, 'anew', 'and on'], 'the writer')
    await author.close()
  })

  test(`behind: a writer that has lost everything, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const restored = await author.device()
    const device = await author.otherDevice(OLD)
    const told = nextEvent(replicating(restored), 'behind')
    const connection = meet(restored, device)
    t.deepEqual(await told, [5])
    t.equal(await appendCode(restored, 'too early'), 'ERR_BEHIND')
    await complete(restored, 5)
    t.equal(await restored.append('on top'), 5)
    await connection.cut()
    await author.close()
  })

  test(`behind: a sparse writer catches up when it is asked to, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const restored = await author.deviceWith({ sparse: true }, OLD)
    const device = await author.otherDevice(OLD, LOST)
    const told = nextEvent(replicating(restored), 'behind')
    const connection = meet(restored, device)
    await told
    await quiet()
    t.equal(restored.length, 5)
    t.equal(await appendCode(restored, 'too early'), 'ERR_BEHIND')
    await restored.call('update', { ifAvailable: true })
    t.equal(restored.length, 9)
    t.equal(await restored.append('on top'), 9)
    t.equal(String(await restored.get(7)), 'lost 7')
    await connection.cut()
    await author.close()
  })

  test(`behind: two devices that are connected follow each other, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(OLD)
    const second = await author.otherDevice(OLD)
    const forks = forksOf(first)
    const connection = meet(first, second)
    await until(() => replicating(first).remoteLength === 5, 'the first Have')
    const told = nextEvent(replicating(first), 'behind')
    await second.append('second 5')
    t.deepEqual(await told, [6])
    await complete(first, 6)
    await second.append('second 6')
    await complete(first, 7)
    t.equal(await first.append('first 7'), 7)
    t.equal(forks.length, 0)
    await checkIs(t, first, [...OLD, 'second 5', 'second 6', 'first 7'], 'the writer')
    await connection.cut()
    await author.close()
  })

  test(`behind: two devices that write at the same time both see the fork, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(OLD)
    const second = await author.otherDevice(OLD)
    const forks = forksOf(first)
    const theirs = forksOf(second)
    const connection = meet(first, second)
    await until(() => replicating(first).remoteLength === 5, 'the first Have')
    await quiet()
    await Promise.all([first.append('first 5'), second.append('second 5')])
    t.equal(await connection.end, 'ERR_FORK')
    t.equal(forks.length, 1)
    checkProof(t, forks[0], author.key, 6, 6)
    if (holder.isOurs) t.equal(theirs.length, 1, 'the other one, too')
    t.equal(await first.append('first 6'), 6)
    await author.close()
  })
}

test('behind: the longer one of two devices is not told anything', async (t) => {
  const author = new Author(t, OURS)
  const long = await author.device(OLD, LOST)
  const short = await author.device(OLD)
  const lengths = behindOf(long)
  const connection = meet(long, short)
  await complete(short, 9)
  t.deepEqual(lengths, [])
  t.equal(await long.append('on'), 9)
  await connection.cut()
  await author.close()
})

test('behind: a peer that only says that it has more makes nobody behind', async (t) => {
  const author = new Author(t, OURS)
  const writer = await author.device(OLD)
  const lengths = behindOf(writer)
  const remote = new OURS.Protocol(true, { live: true })
  const channel = remote.open(writer.key, {
    onwant: () => channel.have({ start: 0, length: 100 }),
    onrequest: async ({ index }: { index: number }) => {
      if (index >= 5) return
      // A true proof of what is here is no proof of more.
      const { nodes, signature } = await writer.proof(index, { hash: true })
      channel.data({ index, value: null, nodes, signature })
    }
  })
  const stream = replicating(writer).replicate(false, { live: true })
  remote.on('error', () => {})
  stream.on('error', () => {})
  remote.pipe(stream)
  stream.pipe(remote)
  await until(() => replicating(writer).remoteLength === 100, 'the Have')
  await quiet()
  t.equal(await writer.append('more'), 5)
  t.deepEqual(lengths, [])
  remote.destroy()
  stream.destroy()
  await author.close()
})

test('behind: what finds out while an append waits for a hook', async (t) => {
  for (const force of [false, true]) {
    const author = new Author(t, OURS)
    let held: ((error: Error | null) => void) | null = null
    let holds = false
    const onwrite = (_index: number, _data: unknown, _peer: unknown, done: (error: Error | null) => void) => {
      if (holds) held = done
      else done(null)
    }
    const restored = await author.deviceWith({ downloading: false, onwrite }, OLD)
    const device = await author.otherDevice(OLD, LOST)
    holds = true
    const appended = restored.call('append', 'anew', { force }).catch((error) => error.code)
    await until(() => held !== null, 'the hook is asked')
    const told = nextEvent(replicating(restored), 'behind')
    const connection = meet(restored, device)
    t.deepEqual(await told, [9])
    held!(null)
    t.equal(await appended, force ? 5 : 'ERR_BEHIND', `force: ${force}`)
    if (force) t.equal(await connection.end, 'ERR_FORK')
    else await connection.cut()
    await author.close()
  }
})
