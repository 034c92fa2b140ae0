/** What is read is what was signed, or an error with a code (issue 5, promise 6). */
import test from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { failure, memory } from '../feed/feeds.ts'
import { FaultPlan, faultyStorage } from '../helpers/faulty-storage.ts'
import { join } from '../helpers/replication-pipes.ts'
import { within } from '../helpers/watchdog.ts'
import {
  answers,
  BLOCKS,
  expected,
  flip,
  offsetOf,
  opened,
  slotOf,
  storedAuthor,
  storedCopy,
  told
} from './stored.ts'

test('damage: a bit of a block', async (t) => {
  const files = await storedAuthor()
  flip(files, 'data', offsetOf(12) + 3)
  const feed = await opened(files)
  const events = told(feed)
  t.equal(feed.has(12), true, 'not noticed before it is used')
  t.deepEqual(await answers(feed), expected({ 12: 'ERR_BLOCK_DAMAGED' }))
  const damage = { file: 'data', problem: 'the block does not match its hash', start: 12, end: 13 } as const
  t.deepEqual(events, [[damage, false]], 'it is told, once')
  t.equal(feed.has(12), false, 'it is not here any more')
  t.deepEqual((await failure(feed.get(12))).code, 'ERR_BLOCK_DAMAGED', 'asked for again')
  t.deepEqual((await failure(feed.get(12, { wait: false }))).code, 'ERR_BLOCK_NOT_DOWNLOADED')
  t.equal(await feed.append('next'), BLOCKS.length, 'the author goes on behind the end')
  await feed.close()
  const again = await opened(files)
  t.deepEqual([again.has(12), again.length], [false, BLOCKS.length + 1], 'also after reopening')
  await again.close()
})

const WAYS: Record<string, (feed: Feed) => PromiseLike<unknown>> = {
  getBatch: (feed) => feed.getBatch(9, 20),
  head: (feed) => feed.head(),
  'a read stream': async (feed) => {
    for await (const _ of feed.createReadStream({ start: 9 })) _
  },
  'an iterator': async (feed) => {
    for await (const _ of feed) _
  },
  'a stream of the web': async (feed) => {
    for await (const _ of feed.toWeb({ start: 9 }) as never as AsyncIterable<unknown>) _
  },
  getData: (feed) => feed._storage.getData(12) as PromiseLike<unknown>
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`damage: noticed by ${name}`, async (t) => {
    const files = await storedAuthor()
    const block = name === 'head' ? BLOCKS.length - 1 : 12
    flip(files, 'data', offsetOf(block))
    const feed = await opened(files)
    t.equal((await failure(way(feed))).code, 'ERR_BLOCK_DAMAGED')
    t.equal(feed.has(block), false)
    await feed.close()
  })
}

test('damage: a bit of any node is mended from the data or from the nodes below it', async (t) => {
  const base = await storedAuthor()
  for (let treeIndex = 0; treeIndex <= 2 * (BLOCKS.length - 1); treeIndex++) {
    // A parent that is not complete.
    if (
      base
        .read('tree')!
        .subarray(slotOf(treeIndex), slotOf(treeIndex + 1))
        .every((byte) => byte === 0)
    )
      continue
    const byte = [0, 31, 39][treeIndex % 3]!
    const files = base.clone()
    flip(files, 'tree', slotOf(treeIndex) + byte)
    const feed = await opened(files)
    const read = await feed.getBatch(0, BLOCKS.length)
    const whole = read.every((block, i) => BLOCKS[i]!.equals(block))
    t.ok(
      whole && Buffer.compare(files.read('tree')!, base.read('tree')!) === 0,
      `node ${treeIndex}, byte ${byte}`
    )
    await feed.close()
  }
})

test('damage: a block and its leaf', async (t) => {
  const files = await storedAuthor()
  flip(files, 'data', offsetOf(12))
  flip(files, 'tree', slotOf(24))
  const feed = await opened(files)
  const lost = 'ERR_BLOCK_DAMAGED'
  t.deepEqual(
    await answers(feed),
    expected({ 12: lost, 13: lost }),
    'what hangs on it cannot be proven either'
  )
  t.equal(feed.length, BLOCKS.length)
  t.equal(await feed.append('next'), BLOCKS.length)
  await feed.close()
})

test('damage: a size that is huge', async (t) => {
  const files = await storedAuthor()
  flip(files, 'tree', slotOf(24) + 34)
  const feed = await opened(files)
  t.deepEqual(await answers(feed), expected(), 'takes no memory for it')
  t.deepEqual(String(Buffer.concat(await feed.getBatch(9, 20))), String(Buffer.concat(BLOCKS.slice(9, 20))))
  await feed.close()
})

test('damage: seek is not misled by a size', async (t) => {
  const files = await storedAuthor()
  // The size of blocks 0 … 15, which everything behind them is found by.
  flip(files, 'tree', slotOf(15) + 39, 4)
  const feed = await opened(files)
  for (const block of [3, 18, 36]) {
    t.deepEqual(await feed.seek(offsetOf(block) + 1), { index: block, offset: 1 }, `block ${block}`)
  }
  await feed.close()
})

test('damage: the data end too early', async (t) => {
  const files = await storedAuthor()
  files.put('data', files.read('data')!.subarray(0, offsetOf(30)))
  const feed = await opened(files)
  const lost = Object.fromEntries(BLOCKS.slice(30).map((_, i) => [30 + i, 'ERR_BLOCK_DAMAGED']))
  t.deepEqual(await answers(feed), expected(lost))
  await feed.close()
})

test('damage: a disk that fails is no damage', async (t) => {
  const plan = new FaultPlan()
  const feed = ddatabase(faultyStorage(await storedAuthor(), plan) as never)
  await feed.ready()
  plan.arm('before', 1, (file, operation) => file === 'data' && operation === 'read')
  t.equal((await failure(feed.get(3))).code, 'ERR_STORAGE')
  t.equal(feed.has(3), true, 'the block is still here')
  plan.disarm()
  t.equal(String(await feed.get(3)), String(BLOCKS[3]))
  await feed.close()
})

test('damage: media that cannot be written', async (t) => {
  const files = await storedAuthor()
  flip(files, 'data', offsetOf(12))
  flip(files, 'tree', slotOf(31))
  const before = files.toHex()
  const refuses = {
    before: (_file: string, operation: string) =>
      operation === 'write' || operation === 'del'
        ? { error: Object.assign(new Error('EROFS'), { code: 'EROFS' }), done: 'nothing' as const }
        : undefined
  }
  const feed = ddatabase(files.factory(refuses) as never)
  await within(feed.ready(), 'ready')
  t.deepEqual(await answers(feed), expected({ 12: 'ERR_BLOCK_DAMAGED' }))
  t.equal(feed.has(12), false)
  await feed.close()
  t.deepEqual(files.toHex(), before, 'nothing was written')
})

test('damage: what cannot be mended on media that cannot be written is not looked for without end', async (t) => {
  const files = await storedAuthor()
  const refuses = {
    before: (_file: string, operation: string) =>
      operation === 'write'
        ? { error: Object.assign(new Error('EROFS'), { code: 'EROFS' }), done: 'nothing' as const }
        : undefined
  }
  const feed = ddatabase(files.factory(refuses) as never, { storageCacheSize: 0 })
  await feed.ready()
  // Above blocks 0 to 3.
  flip(files, 'tree', slotOf(3))
  const copy = ddatabase(memory(), feed.key)
  join(feed.replicate(true, { live: true }), copy.replicate(false, { live: true }))
  const asked = BLOCKS.map((_, block) =>
    copy.get(block, { ifAvailable: true }).then(String, ({ code }) => code)
  )
  const got = await within(Promise.all(asked), 'blocks of a copy')
  for (const [block, answer] of got.entries()) {
    if (answer !== String(BLOCKS[block])) t.equal(answer, 'ERR_BLOCK_NOT_AVAILABLE', `block ${block}`)
  }
  t.equal(got[36], String(BLOCKS[36]))
  await Promise.all([feed.close(), copy.close()])
})

test('verify: once for each block and opening', async (t) => {
  const files = await storedAuthor()
  const feed = await opened(files)
  t.equal(String(await feed.get(3)), String(BLOCKS[3]))
  flip(files, 'data', offsetOf(3))
  t.notEqual(String(await feed.get(3)), String(BLOCKS[3]), 'it was verified before')
  await feed.close()
})

test('verify: what was appended in this opening counts', async (t) => {
  const files = await storedAuthor()
  const feed = await opened(files)
  await feed.append('appended')
  flip(files, 'data', offsetOf(BLOCKS.length) + 2)
  t.notEqual(String(await feed.get(BLOCKS.length)), 'appended')
  await feed.close()
})

test('verify: "always" and "off"', async (t) => {
  const files = await storedAuthor()
  const always = await opened(files.clone(), { verify: 'always' })
  const off = await opened(files.clone(), { verify: 'off' })
  for (const feed of [always, off]) await feed.get(3)
  await Promise.all([always.close(), off.close()])

  const strict = files.clone()
  const feed = await opened(strict, { verify: 'always' })
  await feed.get(3)
  flip(strict, 'data', offsetOf(3))
  t.equal((await failure(feed.get(3))).code, 'ERR_BLOCK_DAMAGED', 'always')
  await feed.close()

  flip(files, 'data', offsetOf(3))
  const lax = await opened(files, { verify: 'off' })
  t.notEqual(String(await lax.get(3)), String(BLOCKS[3]), 'off')
  await lax.close()
  t.throws(() => ddatabase(memory(), { verify: 'sometimes' as never }), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('verify: a whole history that the key has not signed is not read', async (t) => {
  // Another author's feed under the key of the first: every hash is right but the one that counts.
  const mine = await storedCopy(await storedAuthor())
  const others = await storedAuthor()
  for (const file of ['tree', 'data']) mine.put(file, others.read(file))
  flip(mine, 'data', offsetOf(5))
  const sparse = await storedCopy(others, [2, 9])
  for (const files of [mine, sparse]) {
    files.put('key', (await storedAuthor()).read('key'))
    const feed = ddatabase(memory(files), { sparse: true })
    const failed = await feed.ready().then(
      () => null,
      (error: { code: string }) => error.code
    )
    for (let block = 0; failed === null && block < feed.length; block++) {
      t.notOk(feed.has(block) && (await feed.get(block, { wait: false }).catch(() => null)), `block ${block}`)
    }
    t.ok(failed === 'ERR_FEED_DAMAGED' || feed.downloaded() === 0, 'nothing is left of it')
    await feed.close()
  }
})
