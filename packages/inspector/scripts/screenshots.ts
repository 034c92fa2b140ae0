/** Takes the pictures of the README: `node --import tsx packages/inspector/scripts/screenshots.ts`. Needs a Chromium. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, startBrowser } from '../../../test/browser/harness/chromium.ts'
import { until } from '../../../test/browser/harness/until.ts'
import { inspectWith } from '../src/inspect.ts'
import { startScene } from '../test/helpers/scene.ts'
import { bundlePage } from './page.ts'

const FOLDER = fileURLToPath(new URL('../docs/images/', import.meta.url))
/** The copy is on its way when the pictures are taken, and this far when the first one is. */
const BLOCKS = 6000
const FIRST = 700

const scene = await startScene({ blocks: BLOCKS, pause: 30 })
const inspector = await inspectWith(await bundlePage(), [
  { feed: scene.copy, name: 'Readings, copy' },
  { feed: scene.author, name: 'Readings' },
  { feed: scene.sparse, name: 'Readings, sparse copy' }
])
let browser: Browser | undefined
try {
  browser = await startBrowser()
  const page = await browser.context.newPage()
  await page.setViewportSize({ width: 1160, height: 760 })
  await mkdir(FOLDER, { recursive: true })
  const take = async (name: string, hash: string, ready: string, colorScheme: 'light' | 'dark' = 'light') => {
    await page.emulateMedia({ colorScheme })
    await page.goto(inspector.url + hash)
    await page.locator(ready).first().waitFor()
    // What is drawn on a canvas comes a moment later.
    await page.waitForTimeout(1500)
    await page.screenshot({ path: path.join(FOLDER, `${name}.png`) })
  }
  await page.goto(`${inspector.url}#/0/peers`)
  await until(
    async () => scene.copy.downloaded(),
    (count) => count >= FIRST
  )
  await scene.copy.clear(2600, 2900)
  await scene.author.clear(900, 1100)
  await take('map', '#/0/map/700', '.readout')
  await page.goto(`${inspector.url}#/0/peers`)
  await page.waitForTimeout(4000)
  await take('peers', '#/0/peers', '.chart canvas', 'dark')
  await take('tree', '#/1/tree/100', '.verdict')
  await take('blocks', '#/1/blocks/2', '.picture img')
  await page.setViewportSize({ width: 390, height: 760 })
  await take('phone', '#/0/map/700', '.readout', 'dark')
} finally {
  await browser?.close()
  await inspector.close()
  await scene.close()
}
