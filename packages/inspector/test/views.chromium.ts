/** The page in a browser: every view, over feeds that are at work. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import axe from 'axe-core'
import type { Page } from 'playwright-core'
import test, { type Test } from 'tape'
import { type Browser, startBrowser } from '../../../test/browser/harness/chromium.ts'
import { until } from '../../../test/browser/harness/until.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import { bundlePage } from '../scripts/page.ts'
import { type Inspector, inspectWith } from '../src/inspect.ts'
import { hugeFeed } from './helpers/huge-feed.ts'
import { BLOCKS, HOSTILE, type Scene, startScene } from './helpers/scene.ts'

const VIEWS = ['overview', 'map', 'tree', 'blocks', 'peers', 'write']
const [COPY, AUTHOR] = [0, 1]

let browser: Browser
let scene: Scene
let inspector: Inspector

/** A tab, and what it complained about or asked of others. */
interface Tab {
  page: Page
  complaints: string[]
  /** Shows a view. */
  show(feed: number, view: string, block?: number): Promise<void>
  /** Waits until an element has such a text; answers it. */
  text(selector: string, will: RegExp): Promise<string>
}

async function openTab(url = inspector.url): Promise<Tab> {
  const page = await browser.context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`))
  page.on('console', (message) => {
    // It is the test that reads pixels back.
    if (!message.text().startsWith('Canvas2D: Multiple readback')) complaints.push(message.text())
  })
  page.on('request', (request) => {
    const address = request.url()
    if (!address.startsWith(url) && !/^(data|blob):/.test(address)) complaints.push(`asked for ${address}`)
  })
  await page.goto(url)
  return {
    page,
    complaints,
    async show(feed, view, block) {
      await page.goto(`${url}#/${feed}/${view}${block === undefined ? '' : `/${block}`}`)
      await page.locator(`nav.views a[aria-current]`).waitFor()
    },
    text: (selector, will) =>
      within(
        until(
          async () => (await page.locator(selector).first().textContent({ timeout: 20_000 })) ?? '',
          (now) => will.test(now)
        ),
        `${selector}: ${will}`,
        40_000
      )
  }
}

/** What is wrong for people who do not see, or use no pointer: serious things only. */
async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const found = (await page.evaluate(
    'axe.run({ resultTypes: ["violations"] }).then(({ violations }) => violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((node) => node.html.slice(0, 120)) })))'
  )) as { id: string; impact: string; nodes: string[] }[]
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.join(' | ')}`)
}

test('views: setup', async () => {
  scene = await startScene({ blocks: 1200, pause: 6 })
  browser = await startBrowser()
  inspector = await inspectWith(await bundlePage(), [
    { feed: scene.copy, name: 'Copy' },
    { feed: scene.author, name: 'Author' },
    { feed: scene.sparse, name: 'Sparse copy' }
  ])
})

test('views: the list and the overview follow a feed that grows and is fetched', async (t) => {
  const { page, complaints, text } = await openTab()
  await text('.connection', /^Live$/)
  await text('nav.feeds', /Copy.*Author.*writer.*Sparse copy/)
  const key = Buffer.from(scene.copy.key!).toString('hex')
  t.ok((await text('.facts', /Key/)).includes(key))
  const blocks = async () => Number((await text('.figure dd strong', /\d/)).replaceAll(',', ''))
  const before = await blocks()
  await within(
    until(blocks, (now) => now > before),
    'a block more'
  )
  await text('.figure:nth-child(5) strong', /[1-9].*\/s/)
  t.match(await text('.facts', /Writable/), /Warningsnone/)
  await page.locator('nav.feeds a', { hasText: 'Author' }).click()
  await text('.facts', /secret key is here, and is never shown/)
  const secret = Buffer.from(scene.author.secretKey!).toString('hex')
  t.notOk((await page.content()).includes(secret.slice(0, 64)), 'the secret key is not on the page')
  t.equal(await page.title(), 'Overview · Author · ddatabase')
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: the map, from the whole feed to one block, with the keyboard alone', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(COPY, 'map')
  await text('.readout', /^(Block|Blocks) 0/)
  const canvas = page.locator('canvas.cells')
  const colours = async () =>
    Number(
      await page.evaluate(`(() => {
        const canvas = document.querySelector('canvas.cells')
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        return new Set(new Uint32Array(data.buffer)).size
      })()`)
    )
  await within(
    until(colours, (count) => count >= 3),
    'cells of several colours'
  )
  await canvas.focus()
  await page.keyboard.press('End')
  await text('.readout', /1,\d\d\d/)
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowDown')
  const span = async () =>
    Number(/([\d,]+) blocks? in a cell/.exec(await text('main', /in a cell/))![1]!.replaceAll(',', ''))
  for (let i = 0; i < 10 && (await span()) > 1; i++) await page.keyboard.press('+')
  t.equal(await span(), 1)
  const chosen = Number(
    /^Block ([\d,]+): /
      .exec(await text('.readout', /^Block [\d,]+: (here|missing|downloading now)$/))![1]!
      .replaceAll(',', '')
  )
  t.ok(chosen > 0)
  await page.keyboard.press('Enter')
  await text('.pane h2', new RegExp(`^Block ${chosen.toLocaleString('en')}$`))
  t.match(page.url(), new RegExp(`#/0/blocks/${chosen}$`))

  await show(COPY, 'map', 3)
  await page.locator('button', { hasText: 'Whole feed' }).isDisabled()
  await canvas.click({ position: { x: 3, y: 3 } })
  await text('.readout', /^Blocks? 0/)
  await text('.legend', /here.*missing.*downloading.*cleared.*damaged/)
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: a map of ten million blocks', async (t) => {
  const { feed, put } = await hugeFeed(10_000_000)
  for (const block of [0, 1, 7_654_321, 9_999_999]) await put(block)
  const other = await inspectWith(await bundlePage(), { feed, name: 'Huge' })
  const { page, complaints, show, text } = await openTab(other.url)
  const sizes: number[] = []
  page.on('response', async (response) => {
    if (response.url().includes('/map?'))
      sizes.push((await response.body().catch(() => Buffer.alloc(0))).byteLength)
  })
  await show(0, 'map')
  await text('.readout', /^Blocks 0 to [\d,]+: 2 here, [\d,]+ missing$/)
  const input = page.locator('.picker input')
  await input.fill('7654321')
  await input.press('Enter')
  await text('.readout', /1 here/)
  for (let i = 0; i < 12 && (await page.locator('button', { hasText: 'Go closer here' }).isEnabled()); i++) {
    await page.locator('button', { hasText: 'Go closer here' }).click()
  }
  await text('.readout', /^Block 7,654,321: here$/)
  await page.locator('a', { hasText: 'Its proof' }).click()
  await text('.verdict', /^Verified: block 7,654,321 is part of the feed of 10,000,000 blocks/)
  t.ok(
    sizes.length > 0 && Math.max(...sizes) < 100_000,
    `no more than what is seen: ${Math.max(...sizes)} bytes`
  )
  t.deepEqual(complaints, [])
  await page.close()
  await other.close()
  await feed.close()
})

test('views: a proof, step by step', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'tree', 5)
  await text('.verdict', /^Verified: block 5 is part of the feed/)
  const steps = page.locator('.steps > li')
  const count = await steps.count()
  t.ok(count > 5, `${count} steps`)
  t.match((await steps.first().textContent())!, /Leaf 10: hash of block 5.*BLAKE2b-256[0-9a-f]{64}/)
  t.match(
    (await steps.nth(1).textContent())!,
    /Node 9: parent of 8 and 10.*left, node 8, from the proof[0-9a-f]{64}/
  )
  t.match((await steps.last().textContent())!, /signature was made with the key.*holds/)
  await page.locator('button', { hasText: 'From the start' }).click()
  t.equal(await page.locator('.steps > li.ahead').count(), count)
  t.equal(await page.locator('.node.computed').count(), 0)
  for (let done = 1; done <= 3; done++) {
    await page.locator('button', { hasText: 'Next step' }).click()
    await text('main', new RegExp(`${done} of ${count} steps`))
    t.equal(await page.locator('.node.computed').count(), done, 'the path grows')
    t.equal(await page.locator('.steps > li.now').count(), 1)
  }
  await page.locator('button', { hasText: /^All$/ }).click()
  t.equal(await page.locator('.steps > li.ahead').count(), 0)
  t.ok((await page.locator('.node.given').count()) > 3, 'what came with the proof is marked')
  await page.locator('.drawing a', { hasText: 'block 4' }).click()
  await text('.verdict', /^Verified: block 4 is part/)
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: blocks as text, JSON, bytes and picture', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'blocks', BLOCKS.text)
  await text('.shown pre', /^A log that everybody can check\.\nThe second/)
  await page.locator('table.blocks a', { hasText: /^1$/ }).click()
  await text('.shown pre', /^\{\n {2}"station": "attic",\n {2}"celsius": 31\.5,/)
  await page.locator('.kinds label', { hasText: 'Hex' }).click()
  await text('.shown pre', /^000000 {2}7b 22 73 74/)
  await page.locator('.kinds label', { hasText: 'Image' }).click()
  await text('.pane', /no picture that can be shown/)
  await show(AUTHOR, 'blocks', BLOCKS.picture)
  const width = async () =>
    Number(await page.evaluate(`document.querySelector('.picture img')?.naturalWidth`))
  await within(
    until(width, (pixels) => pixels === 96),
    'the picture'
  )
  await show(AUTHOR, 'blocks', BLOCKS.binary)
  await text('.shown pre', /^000000 {2}00 07 0e/)
  t.match(await text('table.blocks', /Begins with/), /\{"station"/)
  const large = await scene.author.append(Buffer.alloc(40_000))
  await show(AUTHOR, 'blocks', large)
  await text('.shown pre', /003ff0 {2}[0 ]{47} {2}·{16}\n$/)
  await page.locator('button', { hasText: 'Show more' }).click()
  await text('.shown pre', /009c30 {2}[0 ]{47} {2}·{16}\n$/)
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: hostile blocks are text, and nothing else', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'blocks', BLOCKS.hostile)
  await text('.shown pre', /taken over/)
  t.equal(await page.locator('.shown pre').textContent(), HOSTILE)
  for (const kind of ['JSON', 'Hex', 'Image', 'Text'])
    await page.locator('.kinds label', { hasText: kind }).click()
  await show(AUTHOR, 'blocks', BLOCKS.vector)
  await text('.shown pre', /^<svg/)
  await page.locator('.kinds label', { hasText: 'Image' }).click()
  await text('.pane', /no picture that can be shown/)
  await show(AUTHOR, 'blocks', BLOCKS.false)
  await text('.pane', /begins like a picture \(image\/png\), but is none/)
  await page.fill('#search', 'taken over')
  await page.locator('search button[type=submit]').click()
  await text('.matches', /Block 3/)
  t.equal(
    await page.locator('.matches img, .matches script, .matches svg, main iframe, .shown img').count(),
    0
  )
  t.doesNotMatch(await page.title(), /taken/)

  const { href } = new URL(`api/feeds/${AUTHOR}/blocks/${BLOCKS.hostile}/content`, inspector.url)
  const other = await browser.context.newPage()
  const download = other.waitForEvent('download')
  await other.goto(href).catch(() => {})
  t.match((await download).suggestedFilename(), /^block-3\.bin$/, 'its address gives a file, no page')
  t.notOk((await other.title()).includes('taken'))
  await other.close()

  const refused = await page.evaluate(`(async () => {
    const tries = {
      inline: () => { const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s) },
      markup: () => { document.body.insertAdjacentHTML('beforeend', '<b>') },
evaluated: () => { setTimeout('window.ran = true') }
    }
    const failed = []
    for (const [name, run] of Object.entries(tries)) { try { run() } catch { failed.push(name) } }
    await new Promise((resolve) => setTimeout(resolve, 50))
    const away = await fetch('http://127.0.0.1:1/').then(() => 'asked', () => 'refused')
    return { ran: window.ran === true, failed, away }
  })()`)
  t.deepEqual(
    refused,
    { ran: false, failed: ['inline', 'markup', 'evaluated'], away: 'refused' },
    'even if it got into the page'
  )
  t.ok(
    complaints.every((text) =>
      /Content Security Policy|TrustedScript|TrustedHTML|trusted|Fetch API cannot load|asked for http:\/\/127\.0\.0\.1:1\//i.test(
        text
      )
    ),
    complaints.join('\n')
  )
  await page.close()
})

test('views: search', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'overview')
  await page.locator('main').focus()
  await page.keyboard.press('/')
  await within(
    until(
      async () => page.evaluate('document.activeElement.id'),
      (id) => id === 'search'
    ),
    'the search field'
  )
  await page.keyboard.type('nadelöhr')
  await page.keyboard.press('Enter')
  await text('search ~ .soft', /^1 match in [\d,]+ blocks/)
  t.match(await text('.matches', /Block 0/), /needle in it: Nadelöhr ✓/)
  t.equal(await page.locator('.matches mark').textContent(), 'Nadelöhr')
  await page.fill('#search', 'celsius')
  await page.keyboard.press('Enter')
  await text('search ~ .soft', /^100 matches/)
  await page.locator('button', { hasText: /^Go on from block/ }).click()
  await text('search ~ .soft', /^200 matches/)
  await page.locator('search label', { hasText: 'Hex' }).click()
  await page.fill('#search', 'not hex')
  await page.keyboard.press('Enter')
  await text('[role=alert]', /hexadecimal/)
  t.deepEqual(
    complaints.filter((text) => !text.includes('400')),
    []
  )
  await page.close()
})

test('views: peers, with rates that are drawn', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(COPY, 'peers')
  await text('.peers', /Peer 1.*Has.*block.*Wants.*Owes.*Down.*Peer 2/)
  await text('.peers', /fetches blocks from here/)
  const drawn = async () => Number(await page.locator('.chart canvas').count())
  await within(
    until(drawn, (count) => count === 2),
    'two charts'
  )
  const inked = async () =>
    Number(
      await page.evaluate(`(() => {
        const canvas = document.querySelector('.chart canvas')
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        return new Set(new Uint32Array(data.buffer)).size
      })()`)
    )
  await within(
    until(inked, (count) => count > 10),
    'lines in the chart'
  )
  await text('.charts .card .soft', /^[\d.]+ k?B\/s in all/)
  t.ok((await page.locator('.has-part').count()) > 0, 'what a peer has')
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: appending text, lines, JSON and a file', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'write')
  const values = page.locator('#append-text')
  const submit = page.locator('form button', { hasText: /^Append$/ })
  const appended = async (): Promise<number[]> => {
    const said = await text('main', /Blocks [\d,]+ to [\d,]+ were appended/)
    return /Blocks ([\d,]+) to ([\d,]+) were/
      .exec(said)!
      .slice(1)
      .map((one) => Number(one.replaceAll(',', '')))
  }
  await values.fill('one block\nof two lines')
  await submit.click()
  const [first] = await appended()
  t.equal(String(await scene.author.get(first!)), 'one block\nof two lines')
  await page.locator('select').selectOption('json')
  await values.fill('{"n": 1}\nnot json')
  await submit.click()
  await text('[role=alert]', /Line 2 is no JSON/)
  const content = Buffer.alloc(300_000, 'file ')
  await page
    .locator('input[type=file]')
    .setInputFiles({ name: 'a.bin', mimeType: 'text/html', buffer: content })
  await page.locator('button', { hasText: 'Append file' }).click()
  await text('.progress', /^300 kB of 300 kB$/)
  const [start, end] = await appended()
  t.ok(
    Buffer.concat(await scene.author.getBatch(start!, end! + 1)).equals(content),
    'the file, in its blocks'
  )
  await show(COPY, 'write')
  await text('main', /only its author can/)
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: an audit finds damage, and the map shows it and what was cleared', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(AUTHOR, 'write')
  const file = await open(path.join(scene.folder, 'author', 'data'), 'r+')
  await file.write(Buffer.from('damaged!'), 0, 8, 4)
  await file.close()
  await page.locator('button', { hasText: 'Start audit' }).click()
  await text('.progress', /blocks as signed, 1 not/)
  await text('.warnings', /damage.*block 0/i)
  await show(AUTHOR, 'map', 0)
  await text('.readout', /damaged/)
  await text('nav.feeds', /warning/)
  await scene.author.clear(10, 20)
  await show(AUTHOR, 'blocks', 12)
  await text('.pane', /cleared.*bytes of this block are not here/)
  await page.locator('a', { hasText: 'Its proof' }).click()
  await text('.verdict', /^Verified: block 12 \(its hash; the block is not here\)/)
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: keys, themes, and the way back', async (t) => {
  const { page, complaints, show, text } = await openTab()
  await show(COPY, 'overview')
  await page.locator('main').focus()
  for (const [at, view] of VIEWS.entries()) {
    await page.keyboard.press(String(at + 1))
    await within(
      until(
        async () => page.url(),
        (url) => url.includes(`/${view}`)
      ),
      view
    )
  }
  await page.goBack()
  await within(
    until(
      async () => page.url(),
      (url) => url.includes('/peers')
    ),
    'back'
  )
  const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
  await page.keyboard.press('t')
  await text('.tools', /Theme: light/)
  const light = await ground()
  await page.keyboard.press('t')
  await text('.tools', /Theme: dark/)
  t.notEqual(await ground(), light)
  await page.reload()
  await text('.tools', /Theme: dark/)
  await page.keyboard.press('t')
  await page.keyboard.press('?')
  await text('dialog[open]', /Keys/)
  t.deepEqual(await seriousFindings(page), [], 'the dialog')
  await page.locator('dialog input').click()
  await page.keyboard.press('Escape')
  await page.keyboard.press('1')
  t.match(page.url(), /peers/, 'keys can be switched off')
  await page.locator('button', { hasText: /^Keys$/ }).click()
  await page.locator('dialog input').click()
  await page.locator('dialog button', { hasText: 'Close' }).click()
  await page.locator('dialog').waitFor({ state: 'detached' })
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: nothing serious to find for axe, nothing that sticks out, in light and dark, large and small', async (t: Test) => {
  const { page, complaints, show, text } = await openTab()
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [360, 1200]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 740 })
      for (const view of VIEWS) {
        await show(AUTHOR, view, view === 'blocks' || view === 'tree' ? 1 : undefined)
        if (view === 'tree') await text('.verdict', /./)
        if (view === 'blocks') await text('.shown pre', /station/)
        if (view === 'map') await text('.readout', /Block/)
        const name = `${view}, ${colorScheme}, ${width} wide`
        t.deepEqual(await seriousFindings(page), [], name)
        const overflow = Number(await page.evaluate('document.documentElement.scrollWidth - innerWidth'))
        t.ok(overflow <= 0, `${name}: ${overflow} pixels too wide`)
      }
    }
  }
  t.deepEqual(complaints, [])
  await page.close()
})

test('views: a server that goes is noticed', async (t) => {
  const leaving = await inspectWith(await bundlePage(), scene.author)
  const { page, text } = await openTab(leaving.url)
  await text('.connection', /^Live$/)
  await leaving.close()
  await text('.connection', /^Not connected/)
  t.ok(!scene.author.closed)
  await page.close()
})

test('views: teardown', async () => {
  await browser?.close()
  await inspector?.close()
  await scene?.close()
})
