/** Feeds in a browser: appending, reopening, replication with a Node process, and what can go wrong there. */
import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'
import { type Browser, startBrowser } from './harness/chromium.ts'
import { type FeedServer, serveFeed } from './harness/feed-server.ts'
import { type Site, startSite } from './harness/site.ts'
import { openTab, type Tab } from './harness/tab.ts'

const SIX = ['bitfield', 'data', 'key', 'secret_key', 'signatures', 'tree']
const MEGABYTE = 1024 * 1024

let browser: Browser
let site: Site

test('browser: setup', async () => {
  site = await startSite('feed', 'feed-in-worker')
  browser = await startBrowser()
})

const open = (): Promise<Tab> => openTab(browser.context, `${site.origin}/feed.html`)

async function quiet(t: Test, tab: Tab): Promise<void> {
  t.deepEqual(tab.complaints, [], 'no error on the page')
  await tab.page.close()
}

/** A feed of this process, in memory, and a server for it. */
async function served(
  t: Test,
  values: readonly unknown[]
): Promise<{ feed: Feed<unknown>; server: FeedServer }> {
  const feed = ddatabase<unknown>(RAM as never)
  await feed.append(values as unknown[])
  const server = await serveFeed(feed)
  t.teardown(async () => {
    await server.close()
    await feed.close()
  })
  return { feed, server }
}

const keyOf = (feed: Feed<unknown>): string => Buffer.from(feed.key!).toString('hex')

test('browser: nothing stands in for the globals of Node', async (t) => {
  const tab = await open()
  t.deepEqual(await tab.call('nodeGlobals'), [])
  await quiet(t, tab)
})

for (const [where, name] of [
  ['memory', 'ram'],
  ['the origin private file system', 'first/feed']
] as const) {
  test(`browser: append, get and audit in ${where}`, async (t) => {
    const tab = await open()
    await tab.call('open', name)
    t.equal(await tab.call('append', name, ['a', 'bc']), 0)
    t.equal(await tab.call('append', name, ['def']), 2)
    t.equal(await tab.call('get', name, 1), 'bc')
    t.deepEqual(await tab.call('blocks', name), ['a', 'bc', 'def'])
    t.deepEqual(await tab.call('audit', name), { valid: 3, invalid: 0 })
    await tab.call('close', name)
    await quiet(t, tab)
  })
}

test('browser: a reloaded page has its feed', async (t) => {
  const tab = await open()
  const key = await tab.call('open', 'kept')
  await tab.call('append', 'kept', ['a', 'b'])
  t.deepEqual(
    Object.keys((await tab.call<object>('listing', 'kept'))!),
    SIX,
    'the six files and nothing else'
  )
  await tab.page.reload()
  t.equal(await tab.call('open', 'kept'), key, 'the same feed')
  t.deepEqual(await tab.call('blocks', 'kept'), ['a', 'b'])
  t.ok(await tab.call('writable', 'kept'), 'still writable')
  await tab.call('append', 'kept', ['c'])
  await tab.call('close', 'kept')
  await tab.call('open', 'kept')
  t.deepEqual(await tab.call('blocks', 'kept'), ['a', 'b', 'c'], 'reopened without a reload')
  t.deepEqual(await tab.call('audit', 'kept'), { valid: 3, invalid: 0 })
  await tab.call('destroy', 'kept')
  t.equal(await tab.call('listing', 'kept'), null, 'destroyStorage removes the files and their folder')
  t.notEqual(await tab.call('open', 'kept'), key, 'and then there is room for another feed')
  await tab.call('close', 'kept')
  await quiet(t, tab)
})

test('browser: the same feed in a second tab is refused', async (t) => {
  const [first, second] = [await open(), await open()]
  await first.call('open', 'one-owner')
  await first.call('append', 'one-owner', ['a'])
  t.equal((await second.failure('open', 'one-owner')).code, 'ELOCKED')
  t.deepEqual(await first.call('append', 'one-owner', ['b']), 1, 'the first goes on')
  await first.call('close', 'one-owner')
  await second.call('open', 'one-owner')
  t.deepEqual(await second.call('blocks', 'one-owner'), ['a', 'b'], 'once it is closed the other can open it')
  await quiet(t, first)
  await quiet(t, second)
})

test('browser: the library in a dedicated worker', async (t) => {
  const tab = await open()
  const ask = (values: string[]) =>
    tab.page.evaluate(`new Promise((resolve) => {
      const worker = new Worker('/feed-in-worker.js', { type: 'module' })
      worker.onmessage = ({ data }) => { worker.terminate(); resolve(data) }
      worker.postMessage({ name: 'by-worker', values: ${JSON.stringify(values)} })
    })`)
  t.deepEqual(await within(ask(['a', 'b']), 'worker'), {
    blocks: ['a', 'b'],
    report: { valid: 2, invalid: 0 }
  })
  t.deepEqual(await within(ask(['c']), 'worker'), {
    blocks: ['a', 'b', 'c'],
    report: { valid: 3, invalid: 0 }
  })
  await tab.call('open', 'by-worker')
  t.deepEqual(await tab.call('blocks', 'by-worker'), ['a', 'b', 'c'], 'a page reads the same files')
  await tab.call('close', 'by-worker')
  await quiet(t, tab)
})

test('browser: clone of a feed of a Node process', async (t) => {
  const values = Array.from({ length: 300 }, (_, i) => `block ${i}`)
  const { feed, server } = await served(t, values)
  for (const name of ['ram-clone', 'clone']) {
    const tab = await open()
    await tab.call('open', name, keyOf(feed))
    await tab.call('connect', name, server.url)
    await within(tab.call('download', name, 0, 300), 'download')
    t.deepEqual(await tab.call('blocks', name), values, `${name}: all blocks`)
    t.deepEqual(await tab.call('audit', name), { valid: 300, invalid: 0 }, 'verified')
    t.equal((await tab.failure('append', name, ['x'])).code, 'ERR_NOT_WRITABLE')
    if (name === 'clone') {
      await tab.page.reload()
      await tab.call('open', name, keyOf(feed))
      t.deepEqual(await tab.call('blocks', name), values, 'still there after a reload')
    }
    await quiet(t, tab)
  }
})

test('browser: a page serves its own feed', async (t) => {
  const source = await open()
  const key = await source.call<string>('open', 'ram-source')
  await source.call('append', 'ram-source', ['from', 'the', 'page'])
  const replica = ddatabase<string>(RAM as never, key, { valueEncoding: 'utf-8' })
  await replica.ready()
  const server = await serveFeed(replica as unknown as Feed<unknown>)
  await source.call('connect', 'ram-source', server.url)
  await within(replica.update(3), 'update')
  t.deepEqual(await within(replica.getBatch(0, 3), 'getBatch'), ['from', 'the', 'page'])
  await server.close()
  await replica.close()
  await quiet(t, source)
})

test('browser: a live tail', async (t) => {
  const { feed, server } = await served(t, ['old'])
  const tab = await open()
  await tab.call('open', 'tail', keyOf(feed))
  await tab.call('tail', 'tail')
  await tab.call('connect', 'tail', server.url)
  const expected = ['old']
  for (let i = 0; i < 20; i++) {
    await feed.append(`live ${i}`)
    expected.push(`live ${i}`)
  }
  await within(tab.call('update', 'tail', 21), 'update')
  const all = tab.until<string[]>((blocks) => blocks.length >= 21, 'tailed', 'tail')
  t.deepEqual(await within(all, 'tail'), expected, 'every block, in order')
  await quiet(t, tab)
})

test('browser: a clone of 64 MB', async (t) => {
  const size = 64 * 1024
  const count = 1024
  const blocks = Array.from({ length: count }, (_, i) => Buffer.alloc(size, `${i} `))
  const { feed, server } = await served(t, blocks)
  for (const name of ['ram-large', 'large']) {
    const tab = await open()
    await tab.call('open', name, keyOf(feed), { valueEncoding: 'binary' })
    const before = performance.now()
    await tab.call('connect', name, server.url)
    await within(tab.call('download', name, 0, count), 'download', 120_000)
    const seconds = (performance.now() - before) / 1000
    const rate = (count * size) / MEGABYTE / seconds
    t.comment(`${name === 'large' ? 'stored' : 'memory'}: ${rate.toFixed(1)} MiB/s (${seconds.toFixed(2)} s)`)
    t.deepEqual(await within(tab.call('audit', name), 'audit', 60_000), { valid: count, invalid: 0 })
    t.equal(await tab.call('get', name, 1000).then(() => 'read'), 'read')
    await tab.call('destroy', name)
    await quiet(t, tab)
  }
})

test('browser: the quota is exceeded', async (t) => {
  const tab = await open()
  const key = await tab.call('open', 'quota')
  await tab.call('append', 'quota', ['before'])
  const session = await browser.context.newCDPSession(tab.page)
  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize: 4 * MEGABYTE })
  const error = await within(tab.failure('fill', 'quota', 300_000, 1000), 'fill')
  t.equal(error.code, 'ERR_STORAGE', 'the append rejects')
  t.equal(error.cause?.code, 'ENOSPC', 'and the cause says why')
  const length = await tab.call<number>('length', 'quota')
  t.ok(length > 1, 'some were stored before')
  t.deepEqual(await tab.call('audit', 'quota'), { valid: length, invalid: 0 }, 'the feed is whole')
  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin })
  await tab.page.reload()
  t.equal(await tab.call('open', 'quota'), key, 'it reopens')
  t.equal(await tab.call('length', 'quota'), length)
  t.deepEqual(await tab.call('audit', 'quota'), { valid: length, invalid: 0 })
  t.equal(await tab.call('append', 'quota', ['after']), length, 'and goes on')
  t.equal(await tab.call('get', 'quota', length), 'after')
  await tab.call('destroy', 'quota')
  await quiet(t, tab)
})

test('browser: a tab is closed in the middle of appending', async (t) => {
  let length = 0
  for (let round = 0; round < 4; round++) {
    const tab = await open()
    await tab.call('open', 'cut')
    const found = await tab.call<number>('length', 'cut')
    t.ok(found >= length, `round ${round}: ${found} blocks`)
    t.deepEqual(await tab.call('audit', 'cut'), { valid: found, invalid: 0 }, 'whole')
    t.equal(await tab.call('append', 'cut', ['a']), found, 'and it goes on')
    length = found + 1
    await tab.call('fillForever', 'cut', 20_000)
    const grown = tab.until<number>((now) => now > length + 10, 'length', 'cut')
    await within(grown, 'appending')
    t.deepEqual(tab.complaints, [], 'no error on the page')
    await tab.page.close()
  }
})

test('browser: teardown', async () => {
  await browser.close()
  await site.close()
})
