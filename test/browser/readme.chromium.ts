/** The README's programs for browsers, each run in a page of its own. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import RAM from 'random-access-memory'
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { announced, document, type Program, programs } from '../examples/snippets.ts'
import { within } from '../helpers/watchdog.ts'
import { type Browser, startBrowser } from './harness/chromium.ts'
import { serveFeed } from './harness/feed-server.ts'
import { serve } from './harness/site.ts'
import { until } from './harness/until.ts'

const source = (name: string): string => fileURLToPath(new URL(`../../src/${name}`, import.meta.url))
const HTML = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>'

let browser: Browser

/** The scripts of a page by address, bundled as the README tells. */
async function scripts({ code }: Program): Promise<Map<string, Uint8Array>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-readme-'))
  try {
    const page = path.join(folder, 'page.js')
    await writeFile(page, code)
    const { outputFiles } = await build({
      entryPoints: { page, 'opfs-worker': source('storage/opfs/opfs-worker.ts') },
      alias: { ddatabase: source('index.ts') },
      bundle: true,
      write: false,
      outdir: '/',
      format: 'esm',
      platform: 'browser',
      logLevel: 'silent'
    })
    return new Map(outputFiles.map((file) => [`/${path.basename(file.path)}`, file.contents]))
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('readme in a browser: setup', async () => {
  browser = await startBrowser()
})

for (const program of programs(document('README.md'))) {
  if (program.language !== 'js browser') continue
  test(`readme in a browser: ${program.name}`, async (t) => {
    const feed = ddatabase(RAM as never, { valueEncoding: 'utf-8' })
    await feed.append(['zero', 'one'])
    const server = await serveFeed(feed as never)
    const key = Buffer.from(feed.key!).toString('hex')
    const site = await serve(
      new Map<string, Uint8Array | string>([
        ['/index.html', HTML],
        ['/feed.json', JSON.stringify({ key, address: server.url })],
        ...(await scripts(program))
      ])
    )
    const page = await browser.context.newPage()
    const said: string[] = []
    page.on('console', (message) => said.push(message.text()))
    page.on('pageerror', (error) => said.push(`uncaught: ${error.message}`))
    await page.goto(`${site.origin}/index.html`)
    const expected = announced(program)
    const enough = until(
      async () => said,
      (lines) => lines.length >= expected.length || /^uncaught/.test(lines.at(-1) ?? '')
    )
    await within(enough, 'what it says')
    t.same(said, expected, 'prints what it says')
    await page.close()
    await site.close()
    await server.close()
    await feed.close()
  })
}

test('readme in a browser: teardown', async () => {
  await browser.close()
})
