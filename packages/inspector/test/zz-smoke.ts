import { startBrowser } from '../../../test/browser/harness/chromium.ts'
import { bundlePage } from '../scripts/page.ts'
import { inspectWith } from '../src/inspect.ts'
import { startScene } from './helpers/scene.ts'

const scene = await startScene()
const inspector = await inspectWith(await bundlePage(), [
  { feed: scene.copy, name: 'Readings, copy' },
  { feed: scene.author, name: 'Readings' },
  { feed: scene.sparse, name: 'Readings, sparse' }
])
const browser = await startBrowser()
const page = await browser.context.newPage()
page.on('console', (m) => console.log('console', m.text()))
page.on('pageerror', (e) => console.log('pageerror', e.message))
await page.setViewportSize({ width: 1200, height: 800 })
await page.goto(inspector.url)
await page.waitForTimeout(1500)
for (const [name, hash] of [
  ['overview', '#/0/overview'],
  ['map', '#/0/map/100'],
  ['tree', '#/1/tree/100'],
  ['tree2', '#/2/tree/100'],
  ['blocks', '#/1/blocks/1'],
  ['image', '#/1/blocks/2'],
  ['hostile', '#/1/blocks/3'],
  ['peers', '#/0/peers'],
  ['write', '#/1/write']
]) {
  await page.goto(inspector.url + hash)
  await page.waitForTimeout(name === 'peers' ? 4000 : 1500)
  await page.screenshot({ path: `/tmp/insp-${name}.png` })
}
console.log(await page.title())
await browser.close()
await inspector.close()
await scene.close()
