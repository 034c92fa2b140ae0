/** Copies that grow by blocks which cannot be shown to continue what they have, because nobody with the nodes between is there. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import ddatabase, { type Feed, type ForkProof } from '../../src/index.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { blocksOf, connect, until } from '../helpers/replication-feeds.ts'
import { join, unwatched } from '../helpers/replication-pipes.ts'
import { type AnyChannel, OURS, replicating } from '../helpers/replication-subjects.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { Author, branch, checkProof, forksOf, PAIRS } from './branches.ts'

const COMMON = branch('both', 0, 4)
const A = branch('a', 4, 6)
const B = branch('b', 4, 36)

/** Fetches single blocks from somebody, who then leaves. */
async function fetchFrom(copy: FeedFace, holder: FeedFace, ...blocks: number[]): Promise<void> {
  const { cut } = connect(copy, holder, { live: true })
  for (const block of blocks) await within(copy.get(block), `block ${block}`)
  await cut()
}

/** A copy with two blocks of the first 10, and one that has only block 35 of 40. */
async function apart(
  author: Author,
  short: FeedFace,
  long: FeedFace
): Promise<{ copy: FeedFace; late: FeedFace }> {
  const copy = await author.replica({ sparse: true })
  await fetchFrom(copy, short, 2, 9)
  const late = await author.others.feed(Buffer.from(author.key), { sparse: true })
  await fetchFrom(late, long, 35)
  return { copy, late }
}

for (const { name, ours, holder } of PAIRS) {
  test(`unlinked growth (${name}): another history is given up when somebody shows that it is one`, async (t) => {
    const author = new Author(t, ours, holder)
    const short = await author.device(COMMON, A)
    const long = await author.stubbornDevice(COMMON, B)
    const { copy, late } = await apart(author, short, long)
    const forks = forksOf(copy)

    await fetchFrom(copy, late, 35)
    t.equal(copy.length, 40, 'nobody there can tell')
    t.equal(forks.length, 0)

    const { ends } = connect(copy, long, { live: true })
    await until(() => forks.length > 0, 'the fork')
    await ends
    checkProof(t, forks[0], author.key, 10, 40)
    t.equal(copy.length, 10, 'the history that was here first is kept')
    t.equal(copy.has(35), false, 'and nothing of the other one')
    t.deepEqual([copy.has(2), copy.has(9)], [true, true])
    t.deepEqual({ ...(await copy.audit()) }, { valid: 2, invalid: 0 })

    const again = connect(copy, late, { live: true })
    const error = await copy.get(35, { timeout: 300 }).then(
      () => null,
      (reason: { code?: string }) => reason
    )
    t.ok(error !== null, 'who cannot show anything is not believed any more')
    t.equal(copy.length, 10)
    await again.cut()

    await short.append(branch('a', 10, 30))
    await fetchFrom(copy, short, 35)
    t.equal(text(await copy.get(35)), 'a 35', 'the own history goes on')
    t.equal(copy.length, 40)
    t.equal(forks.length, 1)
    await author.close()
  })

  test(`unlinked growth (${name}): the same history is linked, and grows without proof again`, async (t) => {
    const author = new Author(t, ours, holder)
    const writer = await author.device(COMMON, A)
    const copy = await author.replica({ sparse: true })
    await fetchFrom(copy, writer, 2, 9)
    const forks = forksOf(copy)
    for (const length of [40, 100, 200]) {
      await writer.append(branch('a', writer.length, length - writer.length))
      const late = await author.others.feed(Buffer.from(author.key), { sparse: true })
      await fetchFrom(late, writer, length - 5)
      await fetchFrom(copy, late, length - 5)
      t.equal(copy.length, length)
    }
    t.deepEqual(unlinked(copy), [10, 40, 100], 'lengths that nobody has linked')
    const { cut } = connect(copy, writer, { live: true })
    await until(() => unlinked(copy).length === 0, 'the links')
    await cut()
    t.equal(forks.length, 0, 'no fork')
    t.equal(copy.length, 200)
    t.deepEqual({ ...(await copy.audit()) }, { valid: 5, invalid: 0 })
    await author.close()
  })
}

for (const { name, ours, holder } of PAIRS) {
  test(`unlinked beginning (${name}): a shorter history is given up when somebody shows that it is another one`, async (t) => {
    const author = new Author(t, ours, holder)
    const long = await author.device(COMMON, A)
    const short = await author.stubbornDevice(COMMON, branch('b', 4, 2))
    const copy = await author.replica({ sparse: true })
    await fetchFrom(copy, long, 2)
    const forks = forksOf(copy)

    await fetchFrom(copy, short, 5)
    t.equal(forks.length, 0, 'nobody there can tell')
    t.deepEqual(unlinked(copy), [6])
    t.equal(text(await copy.get(5)), 'b 5')

    // To the other one this copy was a peer with another history as well.
    const { cut } = connect(copy, long, { live: true })
    await until(() => forks.length > 0, 'the fork')
    await cut()
    checkProof(t, forks[0], author.key, 10, 6)
    t.deepEqual([copy.has(2), copy.has(5), copy.length], [true, false, 10], 'what was here first is kept')
    t.deepEqual(unlinked(copy), [])
    await fetchFrom(copy, long, 5)
    t.equal(text(await copy.get(5)), 'a 5', 'and goes on')
    t.deepEqual({ ...(await copy.audit()) }, { valid: 2, invalid: 0 })

    const again = connect(copy, short, { live: true })
    const refused = await copy.get(3, { timeout: 300 }).then(text, () => null)
    t.ok(refused === null || refused === 'both 3', 'nothing is taken that cannot be shown to belong here')
    await again.cut()
    await author.close()
  })

  // Of ours would end the connection first.
  if (!holder.isOurs)
    test(`unlinked beginning (${name}): what it contradicts is asked for again, from a peer that is not to blame`, async (t) => {
      const author = new Author(t, ours, holder)
      const long = await author.otherDevice(COMMON, A)
      const short = await author.device(COMMON, branch('b', 4, 2))
      const copy = await author.replica({ sparse: true })
      await fetchFrom(copy, long, 2)
      const forks = forksOf(copy)
      await fetchFrom(copy, short, 5)
      const { cut, ends } = connect(copy, long, { live: true })
      t.equal(text(await within(copy.get(6), 'the neighbour')), 'a 6')
      t.equal(text(await within(copy.get(5), 'the block')), 'a 5')
      t.equal(forks.length, 1)
      await cut()
      t.deepEqual(
        (await ends).map((error) => error?.code),
        [undefined, undefined]
      )
      t.deepEqual({ ...(await copy.audit()) }, { valid: 3, invalid: 0 })
      await author.close()
    })

  test(`unlinked beginning (${name}): a peer that is behind serves, and is linked`, async (t) => {
    const author = new Author(t, ours, holder)
    const long = await author.device(COMMON, A)
    const short = await author.stubbornDevice(COMMON, A.slice(0, 2))
    const copy = await author.replica({ sparse: true })
    await fetchFrom(copy, long, 2)
    const forks = forksOf(copy)
    await fetchFrom(copy, short, 5, 4)
    t.deepEqual(unlinked(copy), [6])
    await fetchFrom(copy, long, 8)
    const { cut } = connect(copy, long, { live: true })
    await until(() => unlinked(copy).length === 0, 'the link')
    await cut()
    t.equal(forks.length, 0)
    t.deepEqual({ ...(await copy.audit()) }, { valid: 4, invalid: 0 })
    await author.close()
  })
}

test('unlinked growth: what was not believed is asked for again when it can be shown', async (t) => {
  const author = new Author(t, OURS)
  const short = await author.deviceWith({ downloading: false }, COMMON, A)
  const long = await author.deviceWith({ downloading: false }, COMMON, A, branch('a', 10, 30))
  const other = await author.deviceWith({ downloading: false }, COMMON, branch('b', 4, 8))
  for (const [what, show] of [
    ['the peer gets the nodes', (_: FeedFace, late: FeedFace) => fetchFrom(late, long, 10)],
    ['the copy has grown', (copy: FeedFace) => fetchFrom(copy, long, 20)]
  ] as const) {
    const copy = await author.replica({ sparse: true })
    await fetchFrom(copy, short, 9)
    const forks = forksOf(copy)
    const met = connect(copy, other, { live: true })
    await until(() => forks.length > 0, 'the fork')
    await met.cut()
    const late = await author.replica({ sparse: true })
    await fetchFrom(late, long, 35)
    const { cut } = connect(copy, late, { live: true })
    const block = copy.get(35)
    t.equal(await Promise.race([block, settle(200)]), undefined, 'nothing shows it')
    t.equal(copy.length, 10)
    await show(copy, late)
    t.equal(text(await within(block, what)), 'a 35', what)
    await cut()
  }
  await author.close()
})

test('unlinked: no more is believed than is remembered', async (t) => {
  const author = new Author(t, OURS)
  const blocks = branch('a', 0, 256)
  const long = await author.deviceWith({ downloading: false }, ...blocks.map((block) => [block]))
  const copy = await author.replica({ sparse: true })
  await fetchFrom(copy, long, 255)
  const short = await author.device()
  for (let length = 1; length <= 64; length++) {
    await short.append(blocks[length - 1])
    const proof = (await short.call('proof', length - 1)) as object
    await copy.call('put', length - 1, Buffer.from(blocks[length - 1]!), proof)
  }
  t.equal(unlinked(copy).length, 64)
  await short.append(blocks[64])
  const shorter = await author.replica({ sparse: true })
  await fetchFrom(shorter, short, 64)
  const met = connect(copy, shorter, { live: true })
  const refused = await copy.get(64, { timeout: 300 }).catch(({ code }) => code)
  t.equal(refused, 'ETIMEDOUT', 'one more, that nothing links')
  await met.cut()
  t.equal(unlinked(copy).length, 64)
  const other = await author.replica({ sparse: true })
  await fetchFrom(other, await author.stubbornDevice(blocks.slice(0, 128), branch('b', 128, 72)), 170)
  const { cut } = connect(copy, other, { live: true })
  await copy.get(170, { timeout: 300 }).catch(() => {})
  await cut()
  const meeting = connect(copy, long, { live: true })
  await until(() => unlinked(copy).length === 0, 'the links')
  t.equal(text(await copy.get(170)), 'a 170')
  await meeting.cut()
  await author.close()
})

test('unlinked: several lengths of one other history are given up together', async (t) => {
  const author = new Author(t, OURS)
  const long = await author.device(COMMON, A)
  const copy = await author.replica({ sparse: true })
  await fetchFrom(copy, long, 2)
  const forks = forksOf(copy)
  for (const length of [6, 7]) {
    const short = await author.stubbornDevice(COMMON, branch('b', 4, length - 4))
    const one = await author.replica({ sparse: true })
    await fetchFrom(one, short, length - 1)
    await fetchFrom(copy, one, length - 1)
  }
  t.deepEqual(unlinked(copy), [6, 7])
  const { cut } = connect(copy, long, { live: true })
  await until(() => unlinked(copy).length === 0, 'the end of what was not linked')
  await cut()
  t.ok(forks.length > 0)
  t.deepEqual([copy.has(2), copy.has(5), copy.has(6), copy.length], [true, false, false, 10])
  await fetchFrom(copy, long, 5, 6, 7)
  t.deepEqual([text(await copy.get(5)), text(await copy.get(6))], ['a 5', 'a 6'])
  await author.close()
})

test('unlinked: when a fork is told, nothing is left of which it is not known that it belongs together', async (t) => {
  const author = new Author(t, OURS)
  const COMMON_1 = branch('both', 0, 1)
  const a9 = await author.deviceWith({ downloading: false }, COMMON_1, branch('a', 1, 8))
  const a21 = await author.deviceWith({ downloading: false }, COMMON_1, branch('a', 1, 8), branch('a', 9, 12))
  const b39 = await author.deviceWith({ downloading: false }, COMMON_1, branch('b', 1, 38))
  const sparseOf = async (device: FeedFace, block: number) => {
    const copy = await author.replica({ sparse: true })
    await fetchFrom(copy, device, block)
    return copy
  }
  // What came first, what it grew by, and who shows that the latter is of another history than its own.
  for (const [first, then, shows] of [
    [await sparseOf(a9, 3), await sparseOf(b39, 25), a21],
    [await sparseOf(a9, 3), await sparseOf(b39, 25), await sparseOf(a21, 20)]
  ] as const) {
    const forks = forksOf(first)
    await fetchFrom(first, then, 25)
    t.deepEqual([first.length, unlinked(first)], [39, [9]])
    let heldOnEvent: boolean | null = null
    first.feed.once('fork', () => {
      heldOnEvent = first.has(25)
    })
    const { cut } = connect(first, shows, { live: true })
    await until(() => forks.length > 0, 'the fork')
    await cut()
    t.equal(heldOnEvent, false, 'it is gone before the fork is told')
    t.deepEqual([first.length, first.has(3), first.has(25), unlinked(first)], [9, true, false, []])
    await fetchFrom(first, a21, 18)
    t.equal(text(await first.get(18)), 'a 18', 'what came first goes on')
  }
  // A beginning of another history, and a third copy that contradicts only that.
  const copy = await sparseOf(a21, 18)
  await fetchFrom(
    copy,
    await sparseOf(await author.deviceWith({ downloading: false }, COMMON_1, branch('b', 1, 8)), 5),
    5
  )
  t.deepEqual(unlinked(copy), [9])
  const forks = forksOf(copy)
  const { cut } = connect(copy, await sparseOf(a9, 3), { live: true })
  await until(() => forks.length > 0, 'the fork')
  await cut()
  t.deepEqual([copy.length, copy.has(18), copy.has(5), unlinked(copy)], [21, true, false, []])
  t.deepEqual({ ...(await copy.audit()) }, { valid: 1, invalid: 0 })
  await author.close()
})

test('unlinked growth: is remembered from one opening to the next, and forgotten when it is linked', async (t) => {
  const author = new Author(t, OURS)
  const short = await author.device(COMMON, A)
  const long = await author.device(COMMON, B)
  const more = await author.deviceWith({ downloading: false }, COMMON, A, branch('a', 10, 30))
  const folder = path.join(await temporaryFolder(t), 'feed')
  const open = async () => {
    const feed = ddatabase(folder, Buffer.from(author.key), { sparse: true })
    await feed.ready()
    return feed
  }
  const late = await author.replica({ sparse: true })
  await fetchFrom(late, long, 35)
  let feed = await open()
  await visit(feed, short, () => feed.get(9))
  await visit(feed, late, () => feed.get(35))
  await feed.close()
  t.ok((await readdir(folder)).includes('unlinked'))
  const file = path.join(folder, 'unlinked')
  await writeFile(file, `${await readFile(file, 'utf8')}[5,"x"]\n[10,`)

  feed = await open()
  const forks: ForkProof[] = []
  feed.on('fork', (proof) => forks.push(proof))
  t.deepEqual([feed.length, forks.length], [40, 0])
  await visit(feed, long, () => until(() => forks.length > 0, 'the fork'))
  checkProof(t, forks[0], author.key, 10, 40)
  t.equal(feed.length, 10)
  await feed.close()
  t.notOk((await readdir(folder)).includes('unlinked'), 'nothing is unlinked any more')

  feed = await open()
  t.deepEqual([feed.length, feed.has(9), feed.has(35), feed.forks.length], [10, true, false, 1])
  await visit(feed, more, () => feed.get(35))
  t.equal(text(await feed.get(35)), 'a 35')
  await feed.close()
  await author.close()
})

test('unlinked growth: what is stored between links by itself', async (t) => {
  const author = new Author(t, OURS)
  const writer = await author.device(COMMON, A, branch('a', 10, 30))
  const folder = path.join(await temporaryFolder(t), 'feed')
  const short = await author.deviceWith({ downloading: false }, COMMON, A)
  const late = await author.replica({ sparse: true })
  await fetchFrom(late, writer, 35)
  const between = await author.replica({ sparse: true })
  await fetchFrom(between, writer, 11)
  const feed = ddatabase(folder, Buffer.from(author.key), { sparse: true })
  await visit(feed, short, () => feed.get(9))
  await visit(feed, late, () => feed.get(35))
  await visit(feed, between, () => feed.get(11))
  await feed.close()
  const again = ddatabase(folder, Buffer.from(author.key), { sparse: true })
  await again.ready()
  t.deepEqual(lengthsOf(again), [])
  t.equal(again.length, 40)
  await again.close()
  await author.close()
})

test('unlinked growth: a writer does not believe it', async (t) => {
  const author = new Author(t, OURS)
  const long = await author.device(COMMON, B)
  const writer = await author.deviceWith({ downloading: true, sparse: true }, COMMON, A)
  const late = await author.replica({ sparse: true })
  await fetchFrom(late, long, 35)
  const { cut } = connect(writer, late, { live: true })
  const error = await writer.get(35, { timeout: 300 }).then(
    () => null,
    (reason: { code?: string }) => reason
  )
  t.ok(error !== null)
  t.equal(writer.length, 10)
  t.deepEqual(await blocksOf(writer), [...COMMON, ...A])
  await cut()
  await author.close()
})

function text(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString()
}

function unlinked(face: FeedFace): readonly number[] {
  return lengthsOf(face.feed as unknown as Feed)
}

function lengthsOf(feed: Feed): readonly number[] {
  return (
    feed as unknown as { _core: { unlinked: { list: readonly { length: number }[] } } }
  )._core.unlinked.list.map(({ length }) => length)
}

/** Connects a feed with somebody while something happens. */
async function visit(feed: Feed, other: FeedFace, act: () => Promise<unknown>): Promise<void> {
  const stream = feed.replicate(true, { live: true })
  const remote = (other.feed as unknown as Feed).replicate(false, { live: true })
  const ends = [stream, remote].map((one) => {
    one.on('error', () => {})
    return new Promise<void>((resolve) => one.once('close', () => resolve()))
  })
  remote.pipe(stream).pipe(remote)
  await within(act(), 'the visit')
  stream.destroy()
  remote.destroy()
  await Promise.all(ends)
}

interface Asked {
  index: number
  hash: boolean
  nodes: number
}

/** A copy of 10 blocks, and a remote with 40 whose answers `say` gives: true for the true one. */
async function asking(
  t: Test,
  say: (asked: Asked, channel: AnyChannel) => boolean,
  oncancel: (cancelled: Asked) => void = () => {}
) {
  const author = new Author(t, OURS)
  const all = [...COMMON, ...branch('a', 4, 36)]
  const long = await author.device(all.slice(0, 10), all.slice(10))
  const short = await author.device(all.slice(0, 10))
  const copy = await author.replica({ sparse: true })
  await fetchFrom(copy, short, 2)
  const answer = async ({ index, hash, nodes }: Asked): Promise<void> => {
    const proof = (await long.call('proof', index, { digest: nodes, hash })) as object
    channel.data({ index, value: hash ? null : Buffer.from(all[index]!), ...proof })
  }
  const remote = unwatched(new OURS.Protocol(true, { live: true, timeout: 0 }))
  const channel: AnyChannel = remote.open(author.key, {
    onwant: ({ start }: { start: number }) => void (start === 0 && channel.have({ start: 0, length: 40 })),
    onrequest: (asked: Asked) => void (say(asked, channel) && answer(asked)),
    oncancel
  })
  const stream = unwatched(replicating(copy).replicate(false, { live: true, timeout: 0 }))
  join(remote, stream)
  const close = async (): Promise<void> => {
    remote.destroy()
    stream.destroy()
    await author.close()
  }
  return { copy, answer, close }
}

test('unlinked growth: who has nothing any more that proves the continuation is not waited for', async (t) => {
  const { copy, close } = await asking(t, ({ index }, channel) => {
    if (index !== 10 && index !== 11) return true
    channel.unhave({ start: index })
    return false
  })
  t.equal(text(await within(copy.get(35), 'the block')), 'a 35', 'as if it had never had them')
  t.equal(copy.length, 40)
  await close()
})

test('unlinked growth: a download that is cancelled does not take back what shows the continuation', async (t) => {
  const open: Asked[] = []
  const { copy, answer, close } = await asking(
    t,
    (asked) => {
      if (asked.index === 10) open.push(asked)
      return asked.index !== 10
    },
    ({ index, hash }) => {
      const left = open.filter((asked) => asked.index !== index || asked.hash !== hash)
      open.splice(0, open.length, ...left)
    }
  )
  const block = copy.get(35)
  await until(() => open.length === 1, 'the continuation to be asked for')
  const selected = { start: 10, end: 11, hash: true }
  const download = copy.call('download', selected).catch(() => {})
  await until(() => open.length === 2, 'the download')
  replicating(copy).undownload(selected)
  await download
  await settle(30)
  t.ok(open.length > 0, 'it is still asked for')
  for (const asked of open) await answer(asked)
  t.equal(text(await within(block, 'the block')), 'a 35')
  await close()
})
