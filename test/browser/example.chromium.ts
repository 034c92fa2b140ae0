/** The browser example, as a person would use it. */
import type { Page } from 'playwright-core'
import test from 'tape'
import { type Example, startExample } from '../../examples/browser/server.ts'
import { within } from '../helpers/watchdog.ts'
import { type Browser, startBrowser } from './harness/chromium.ts'
import { until } from './harness/until.ts'

/** The text of the first element that a selector finds. */
async function textOf(page: Page, selector: string): Promise<string> {
  return (await page.locator(selector).first().textContent()) ?? ''
}

let browser: Browser
let example: Example

test('browser example: setup', async () => {
  example = await startExample()
  browser = await startBrowser()
})

test('browser example: follows the feed, stores it, and can be used with keys alone', async (t) => {
  const page = await browser.context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => complaints.push(message.text()))
  const outside: string[] = []
  page.on('request', (request) => {
    const url = request.url()
    if (!url.startsWith(example.url) && !url.startsWith('data:')) outside.push(url)
  })
  const text = (id: string) => textOf(page, `#${id}`)
  const shows = (id: string, pattern: RegExp) =>
    within(
      until(
        () => text(id),
        (now) => pattern.test(now)
      ),
      `${id}: ${pattern}`,
      60_000
    )
  const { feed } = example.source

  await page.goto(example.url)
  await shows('status', /^Live/)
  t.equal(await text('key'), Buffer.from(feed.key!).toString('hex'))
  t.ok(Number((await text('verified')).replace(',', '')) >= 1500, 'each block was verified')
  t.match(await text('percent'), /^100\.0/)
  t.match(await text('storage'), /kept in this browser/)

  const newest = (): Promise<string> => textOf(page, '#latest tr td')
  const before = await newest()
  await within(
    until(newest, (now) => now !== before),
    'a live block'
  )
  t.match(await textOf(page, '#latest .content'), /"memory":"/, 'live blocks are shown')

  await page.keyboard.press('Tab')
  t.equal(
    await page.evaluate('document.activeElement.id'),
    'follow',
    'the first key goes to the first button'
  )
  await page.keyboard.press('Enter')
  await shows('status', /^Paused/)
  t.equal(await page.locator('#follow').getAttribute('aria-pressed'), 'false')
  await page.keyboard.press('Enter')
  await shows('status', /^Live/)

  await page.keyboard.press('Tab')
  await page.keyboard.press('Space')
  await shows('note', / are as they were signed, 0 are not/)

  await page.reload()
  await shows('status', /^Live/)
  t.ok(Number(await text('verified')) < 1000, 'what was stored is not fetched again')
  t.ok(Number((await text('blocks')).replace(',', '')) >= 1500, 'and is here')

  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const width of [320, 700, 1200]) {
      await page.setViewportSize({ width, height: 800 })
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
      t.ok(Number(overflow) <= 0, `${colorScheme}: nothing sticks out at a width of ${width}`)
    }
  }
  const backgrounds = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    backgrounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
  }
  t.notEqual(backgrounds[0], backgrounds[1], 'dark is not light')

  const second = await browser.context.newPage()
  await second.goto(example.url)
  const storage = until(
    () => textOf(second, '#storage'),
    (now) => now !== ''
  )
  t.match(await within(storage, 'storage'), /another tab.*ELOCKED/, 'a second tab follows in memory')
  await second.close()

  await page.locator('#forget').click()
  await shows('verified', /^1,5/)
  t.deepEqual(complaints, [], 'no error on the page')
  t.deepEqual(outside, [], 'nothing was asked for elsewhere')
})

test('browser example: teardown', async () => {
  await browser.close()
  await example.close()
})
