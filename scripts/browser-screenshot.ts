/** Takes docs/images/browser-example.png: the browser example at work. Needs a Chromium, as `npm run test:browser`. */
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { startExample } from '../examples/browser/server.ts'
import { startBrowser } from '../test/browser/harness/chromium.ts'
import { until } from '../test/browser/harness/until.ts'

const FOLDER = fileURLToPath(new URL('../docs/images/', import.meta.url))
/** The picture is of the archive on its way. */
const BLOCKS = 800

const example = await startExample()
const browser = await startBrowser()
try {
  const page = await browser.context.newPage()
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1100, height: 640 })
  await page.goto(example.url)
  const blocks = async () => Number((await page.locator('#blocks').textContent())?.replace(',', ''))
  await until(blocks, (count) => count >= BLOCKS)
  await mkdir(FOLDER, { recursive: true })
  await page.screenshot({ path: `${FOLDER}browser-example.png`, fullPage: true })
} finally {
  await browser.close()
  await example.close()
}
