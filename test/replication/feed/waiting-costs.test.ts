/** What waits costs nothing as long as nothing happens that it waits for. */
import test from 'tape'
import type { Core } from '../../../src/feed/core.ts'
import { type DownloadRange, Selection, Selections } from '../../../src/feed/selections.ts'
import { Waiters } from '../../../src/feed/waiters.ts'
import { Bench, connect, texts, until } from '../../helpers/replication-feeds.ts'
import { OURS, replicating } from '../../helpers/replication-subjects.ts'
import { SeededRandom } from '../../helpers/seeded-random.ts'
import { rejection, settle } from '../../helpers/watchdog.ts'

/** As much of a feed as selections look at, and how often they do. */
class FakeCore {
  readonly here = new Set<number>()
  readonly hashes = new Set<number>()
  length = 0
  looks = 0
  readonly bits = {
    get: (block: number) => this.here.has(block),
    firstMissing: (start: number, end: number) => {
      this.looks++
      for (let block = start; block < end; block++) if (!this.here.has(block)) return block
      return -1
    }
  }
  readonly tree = { get: (treeIndex: number) => this.hashes.has(treeIndex / 2) }
  get core(): Core {
    return this as unknown as Core
  }
}

test('waiting costs: a stored block concerns only the downloads that lack it first', (t) => {
  const fake = new FakeCore()
  const selections = new Selections()
  const ended: number[] = []
  for (let i = 0; i < 1000; i++) {
    const selection = new Selection({ start: i, end: i + 1 }, null, () => ended.push(i))
    selections.add(selection, fake.core)
  }
  fake.looks = 0
  for (let i = 0; i < 1000; i++) {
    fake.here.add(i)
    selections.stored(fake.core, i, i + 1)
  }
  t.ok(fake.looks <= 1000, `${fake.looks} looks`)
  t.equal(selections.length, 0)
  setImmediate(() => {
    t.equal(ended.length, 1000)
    t.end()
  })
})

test('waiting costs: downloads end as looking at all of them each time would say', (t) => {
  const random = new SeededRandom(8)
  for (let round = 0; round < 100; round++) {
    const fake = new FakeCore()
    fake.length = 40
    const selections = new Selections()
    const live: { selection: Selection; range: DownloadRange }[] = []
    const isHere = ({ hash, blocks, start = 0, end = -1 }: DownloadRange, length: number): boolean => {
      const has = (block: number) => (hash ? fake.hashes : fake.here).has(block)
      if (blocks) return blocks.every(has)
      for (let block = start; block < (end === -1 ? length : end); block++) if (!has(block)) return false
      return true
    }
    for (let step = 0; step < 60; step++) {
      if (random.chance(0.2)) {
        const start = random.below(30)
        const range: DownloadRange = random.chance(0.3)
          ? { blocks: [random.below(40), random.below(40)], hash: random.chance(0.3) }
          : { start, end: random.chance(0.2) ? -1 : start + random.below(10), hash: random.chance(0.3) }
        const selection = new Selection(range, null)
        selections.add(selection, fake.core)
        live.push({ selection, range })
      } else if (random.chance(0.1)) {
        fake.here.delete(random.below(40))
        selections.rewind(fake.core)
      } else {
        const block = random.below(40)
        if (random.chance(0.7)) fake.here.add(block)
        fake.hashes.add(block)
        if (fake.here.has(block)) selections.stored(fake.core, block, block + 1)
        else selections.hashesStored(fake.core)
      }
      for (let i = live.length - 1; i >= 0; i--) {
        if (live[i]!.range.end !== -1 && isHere(live[i]!.range, 0)) live.splice(i, 1)
      }
      const left = [...selections]
      if (left.length !== live.length || !live.every(({ selection }) => left.includes(selection))) {
        t.fail(`round ${round}, step ${step}: ${left.length} instead of ${live.length}`)
      }
    }
    t.equal(
      selections.areWithin(fake.core, 40),
      live.every(({ range }) => range.end === -1 && isHere(range, 40)),
      `round ${round}: whether something would be missing at an end of 40`
    )
    const ends = live.filter(({ range }) => range.end === -1 && isHere(range, 40)).length
    selections.endAt(fake.core, 40)
    t.equal([...selections].length, live.length - ends, 'at that end')
    selections.reopen()
    selections.failAll(new Error('over'))
    t.equal(selections.length, 0)
  }
  t.end()
})

test('waiting costs: calls are cancelled by what they are known by', async (t) => {
  const waiters = new Waiters()
  const wish = (index: number) => ({ kind: 'block', index }) as const
  const tokens = [Symbol('a'), Symbol('b'), undefined]
  const all = tokens.flatMap((token) => [1, 2, 3].map((index) => waiters.add(wish(index), token, false)))
  for (const { answer } of all) answer.promise.catch(() => {})
  waiters.cancel(tokens[0])
  t.deepEqual(
    all.map(({ failure }) => failure !== null),
    [true, true, true, false, false, false, false, false, false]
  )
  waiters.stored(2, 3, 3)
  waiters.cancel(tokens[1])
  t.deepEqual(
    all.map(({ failure }) => failure !== null),
    [true, true, true, true, false, true, false, false, false],
    'what has been answered is not cancelled any more'
  )
  waiters.cancelRange(0, 2)
  t.deepEqual([...waiters].length, 1)
  t.end()
})

test('waiting costs: thousand cancelled calls are one look at the requests, a call that does not wait is none', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(5))
  const replica = await bench.sparse(writer)
  const { cut } = connect(writer, replica, { live: true })
  await until(() => replicating(replica).peers[0]?.remoteBitfield.get(4) === true, 'the Have')
  const { replicator } = (replica.feed as unknown as { _replication: { replicator: { fillAll(): void } } })
    ._replication
  const ids = Array.from({ length: 1000 }, (_, i) => replicating(replica).get(10 + i, {}, () => {}))
  await settle(3)
  let looks = 0
  const { fillAll } = replicator
  replicator.fillAll = function () {
    looks++
    fillAll.call(this)
  }
  for (const id of ids) replicating(replica).cancel(id)
  await settle(3)
  t.ok(looks >= 1 && looks <= 3, `${looks} looks`)
  looks = 0
  await Promise.all(Array.from({ length: 20 }, () => rejection(replica.get(2000, { wait: false }), 'get')))
  t.equal(looks, 0)
  await cut()
  await bench.close()
})

test('waiting costs: nothing is kept of calls that are over, also for a peer that is not asked', async (t) => {
  const bench = new Bench(t, OURS)
  const writer = await bench.writer(texts(500))
  const replica = await bench.sparse(writer)
  const asked = connect(writer, replica, { live: true })
  await replica.get(0)
  const other = connect(writer, replica, { live: true }, { live: true, download: false })
  const peer = () => replicating(replica).peers.find(({ stream }) => stream.stream === other.b)
  await until(() => peer()?.remoteLength === 500, 'what it has')
  const { wished } = (peer() as unknown as { downloader: { wished: { queued: Set<number> } } }).downloader
  for (let i = 0; i < 500; i += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, k) => replica.get(i + k)))
  }
  t.ok(wished.queued.size <= 100, `${wished.queued.size} blocks of 500`)

  // Those that calls still wait for are there when it is asked.
  await replica.clear(0, 500)
  await asked.cut()
  const waiting = Array.from({ length: 100 }, (_, i) => replica.get(2 * i))
  for (let i = 0; i < 500; i++) {
    const over = new AbortController()
    const aborted = rejection(replica.get(i, { signal: over.signal }), `block ${i}`)
    over.abort()
    await aborted
  }
  peer()!.setDownloading(true)
  t.deepEqual(
    (await Promise.all(waiting)).map(String),
    waiting.map((_, i) => `block ${2 * i}`)
  )
  await other.cut()
  await bench.close()
})
