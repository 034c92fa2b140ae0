/** The storage of browsers, below the feed: the suite of all storages, its worker, locks and names. */
import test, { type Test } from 'tape'
import { within } from '../helpers/watchdog.ts'
import type { CheckResult } from '../storage/conformance.ts'
import { type Browser, startBrowser } from './harness/chromium.ts'
import { type Site, startSite } from './harness/site.ts'
import { openTab, type Tab } from './harness/tab.ts'

let browser: Browser
let site: Site

test('browser storage: setup', async () => {
  site = await startSite('storage', 'storage-worker')
  browser = await startBrowser()
})

const open = (): Promise<Tab> => openTab(browser.context, `${site.origin}/storage.html`)

async function quiet(t: Test, tab: Tab): Promise<void> {
  t.deepEqual(tab.complaints, [], 'no error on the page')
  await tab.page.close()
}

for (const [where, call, options] of [
  ['page', 'conformanceInPage', {}],
  ['worker', 'conformanceInWorker', {}],
  ['worker, not at once', 'conformanceInWorker', { sync: false }]
] as const) {
  test(`browser storage: conformance in a ${where}`, async (t) => {
    const tab = await open()
    const results = await within(tab.call<Record<string, CheckResult[]>>(call, options), 'the suite', 60_000)
    t.ok(Object.keys(results).length > 5, 'the suite was run')
    for (const [name, checks] of Object.entries(results)) {
      for (const { ok, message } of checks) t.ok(ok, `${name}: ${message}`)
    }
    await quiet(t, tab)
  })
}

test('browser storage: a file is opened once, in this page or another', async (t) => {
  const [first, second] = [await open(), await open()]
  await first.call('write', 'shared', 0, 'abc')
  const refused = await second.failure('write', 'shared', 0, 'xyz')
  t.equal(refused.code, 'ELOCKED', 'another tab, writing')
  t.equal((await second.failure('read', 'shared', 0, 3)).code, 'ELOCKED', 'another tab, reading')
  await first.call('forget', 'shared')
  t.equal((await first.failure('read', 'shared', 0, 3)).code, 'ELOCKED', 'the same tab')
  await second.call('write', 'other', 0, 'xyz')
  t.equal(await second.call('read', 'other', 0, 3), 'xyz', 'other files can be opened')
  await first.page.close()
  t.equal(await second.call('read', 'shared', 0, 3), 'abc', 'the end of the tab gives the file back')
  await quiet(t, second)
})

test('browser storage: a reloaded page gets its files', async (t) => {
  const tab = await open()
  for (let i = 0; i < 5; i++) {
    await tab.call('write', 'reloaded', i, String(i))
    await tab.page.reload()
  }
  t.equal(await tab.call('read', 'reloaded', 0, 5), '01234')
  await tab.call('destroy', 'reloaded')
  await quiet(t, tab)
})

test('browser storage: more at once than may be under way', async (t) => {
  const tab = await open()
  t.ok(await within(tab.call('flood', 'flood', 40, 1024 * 1024), 'flood'), '40 MiB')
  await tab.call('destroy', 'flood')
  await quiet(t, tab)
})

test('browser storage: one worker, ended when no file is open', async (t) => {
  const tab = await open()
  t.equal(tab.page.workers().length, 0, 'none before it is needed')
  await tab.call('write', 'one', 0, 'a')
  await tab.call('write', 'two', 0, 'b')
  t.equal(tab.page.workers().length, 1, 'one for all')
  await tab.call('close', 'one')
  t.equal(tab.page.workers().length, 1, 'as long as a file is open')
  const ended = new Promise((resolve) => tab.page.workers()[0]!.once('close', resolve))
  await tab.call('close', 'two')
  await within(ended, 'the end of the worker')
  t.equal(tab.page.workers().length, 0, 'ended')
  await tab.call('forget', 'two')
  t.equal(await tab.call('read', 'two', 0, 1), 'b', 'and started again')
  await quiet(t, tab)
})

test('browser storage: a worker from elsewhere', async (t) => {
  const tab = await open()
  await tab.call('open', 'moved', { worker: '/moved/worker.js' })
  await tab.call('write', 'moved', 0, 'abc')
  t.match(tab.page.workers()[0]!.url(), /\/moved\/worker\.js$/, 'by its address')
  t.equal(await tab.call('read', 'moved', 0, 3), 'abc')
  await tab.call('openWithWorker', 'given')
  await tab.call('write', 'given', 0, 'def')
  t.equal(await tab.call('read', 'given', 0, 3), 'def', 'a running one')
  await tab.call('close', 'given')
  await tab.call('endGivenWorkers')
  await quiet(t, tab)
})

test('browser storage: a worker that cannot be loaded', async (t) => {
  const tab = await open()
  await tab.call('open', 'lost', { worker: '/nowhere.js' })
  const error = await within(tab.failure('write', 'lost', 0, 'abc'), 'write')
  t.equal(error.code, 'ERR_STORAGE_WORKER')
  t.match(error.message, /ddatabase\/opfs-worker/, 'the message says what to do')
  t.equal((await tab.failure('write', 'lost', 0, 'abc')).code, 'ERR_STORAGE_WORKER', 'again')
  t.ok(tab.complaints.length > 0, 'the browser says so too')
  t.deepEqual(
    tab.complaints.filter((text) => !text.includes('404') && !text.includes('/nowhere.js')),
    [],
    'and there is no other error'
  )
  await tab.page.close()
})

test('browser storage: names', async (t) => {
  const tab = await open()
  for (const name of ['../escaped', '/absolute/data', 'a/../../b', 'sub/./folder/data']) {
    await tab.call('write', name, 0, 'x')
    await tab.call('close', name)
  }
  const names = Object.keys((await tab.call<Record<string, number>>('listing', 'files')) ?? {})
  for (const name of ['escaped', 'absolute/data', 'b', 'sub/folder/data']) t.ok(names.includes(name), name)
  t.equal((await tab.failure('open', 'a\0b')).code, 'ERR_INVALID_ARG_VALUE', 'a zero byte')
  for (const name of ['a\\b', 'a\\b/data']) {
    const { code, cause } = await tab.failure('write', name, 0, 'x')
    t.deepEqual([code, cause?.name], ['ERR_INVALID_ARG_VALUE', 'TypeError'], name)
  }
  t.equal((await tab.failure('open', '..')).code, 'ERR_INVALID_ARG_VALUE', 'no name')
  t.equal((await tab.failure('open', 'x', { worker: 5 })).code, 'ERR_INVALID_ARG_TYPE', 'no worker')
  await quiet(t, tab)
})

test('browser storage: teardown', async () => {
  await browser.close()
  await site.close()
})
