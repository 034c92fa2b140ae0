/** Browsers, and pages, that cannot keep files: what they say, and that feeds in memory work all the same. */
import test, { type Test } from 'tape'
import { type Browser, startBrowser } from './harness/chromium.ts'
import { type Site, startSite } from './harness/site.ts'
import { openTab, type Tab } from './harness/tab.ts'

let browser: Browser
let site: Site

test('unsupported: setup', async () => {
  site = await startSite('feed', 'storage')
  browser = await startBrowser()
})

async function memoryWorks(t: Test, tab: Tab): Promise<void> {
  await tab.call('open', 'ram')
  await tab.call('append', 'ram', ['a', 'b'])
  t.deepEqual(await tab.call('blocks', 'ram'), ['a', 'b'], 'a feed in memory works')
  t.deepEqual(await tab.call('audit', 'ram'), { valid: 2, invalid: 0 })
  t.deepEqual(tab.complaints, [], 'no error on the page')
}

test('unsupported: a page that is no secure context', async (t) => {
  const { port } = new URL(site.origin)
  const tab = await openTab(browser.context, `http://insecure.test:${port}/feed.html`)
  t.equal(await tab.page.evaluate('isSecureContext'), false)
  const error = await tab.failure('open', 'stored')
  t.equal(error.code, 'ERR_UNSUPPORTED_RUNTIME')
  t.match(error.message, /secure context .*HTTPS.*localhost/, 'names what is missing')
  t.match(error.message, /random-access-memory/, 'and what to use instead')
  await memoryWorks(t, tab)
  await tab.page.close()
})

for (const [what, script, pattern] of [
  [
    'origin private file system',
    'delete StorageManager.prototype.getDirectory',
    /navigator\.storage\.getDirectory/
  ],
  ['worker', 'delete globalThis.Worker', /\(Worker\)/]
] as const) {
  test(`unsupported: no ${what}`, async (t) => {
    const tab = await openTab(browser.context, `${site.origin}/feed.html`)
    await tab.page.evaluate(script)
    const error = await tab.failure('open', 'stored')
    t.equal(error.code, 'ERR_UNSUPPORTED_RUNTIME')
    t.match(error.message, pattern, 'names what is missing')
    t.match(error.message, /random-access-memory/, 'and what to use instead')
    await memoryWorks(t, tab)
    await tab.page.close()
  })
}

for (const [worker, code, pattern] of [
  ['without-handles', 'ERR_UNSUPPORTED_RUNTIME', /createSyncAccessHandle/],
  ['with-handles-in-name-only', 'ERR_UNSUPPORTED_RUNTIME', /cannot give synchronous/],
  ['with-asynchronous-handles', 'ERR_UNSUPPORTED_RUNTIME', /not synchronous/],
  ['of-another-version', 'ERR_STORAGE_WORKER', /another version/]
] as const) {
  test(`unsupported: a worker ${worker.replaceAll('-', ' ')}`, async (t) => {
    const tab = await openTab(browser.context, `${site.origin}/storage.html`)
    await tab.call('open', worker, { worker: `/${worker}/worker.js` })
    for (const time of ['once', 'twice']) {
      const error = await tab.failure('write', worker, 0, 'abc')
      t.equal(error.code, code, `asked ${time}`)
      t.match(error.message, pattern, 'the message says why')
    }
    t.deepEqual(tab.complaints, [], 'no error on the page')
    await tab.page.close()
  })
}

test('unsupported: teardown', async () => {
  await browser.close()
  await site.close()
})
