/** The page: shows what a feed that is followed is doing. */
import { BlockMap } from './block-map.ts'
import { Connection, openReplica } from './follow.ts'
import { Meter } from './meter.ts'
import { megabytes, number, preview } from './text.ts'

const LATEST = 6
/** How often figures change, in milliseconds: more could not be read. */
const FIGURES_EVERY = 100
/** How often those who hear the picture are told. */
const SPOKEN_EVERY = 5000

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T
const show = (id: string, text: string): void => {
  const target = element(id)
  if (target.textContent !== text) target.textContent = text
}

const { key } = (await (await fetch('/feed.json')).json()) as { key: string }
const { feed, storage } = await openReplica(key)
const meter = new Meter()
const map = new BlockMap(element<HTMLCanvasElement>('map'), (block) => feed.has(block))
const status = element('status')
const buttons = {
  follow: element<HTMLButtonElement>('follow'),
  audit: element<HTMLButtonElement>('audit'),
  forget: element<HTMLButtonElement>('forget')
}
let connected = false
let following = true
let storedBytes = 0
let latestShown = -1

show('key', key)
show('storage', storage)
if (feed.downloaded() === feed.length) storedBytes = feed.byteLength
else {
  for (let block = 0; block < feed.length; block++) {
    if (feed.has(block)) storedBytes += (await feed.get(block)).byteLength
  }
}

feed.on('download', (block, data) => {
  const { byteLength } = data as Uint8Array
  meter.add(byteLength)
  storedBytes += byteLength
  map.arrive(block)
})

const connection = new Connection(feed, `ws://${location.host}/feed`, (now) => {
  connected = now
})
connection.start()
for (const button of Object.values(buttons)) button.disabled = false

buttons.follow.addEventListener('click', () => {
  following = !following
  if (following) connection.start()
  else connection.stop()
  buttons.follow.textContent = following ? 'Pause' : 'Follow'
  buttons.follow.setAttribute('aria-pressed', String(following))
})

buttons.audit.addEventListener('click', async () => {
  buttons.audit.disabled = true
  show('note', 'Verifying …')
  const started = performance.now()
  const { valid, invalid } = await feed.audit()
  const seconds = ((performance.now() - started) / 1000).toFixed(2)
  show('note', `${number(valid)} blocks are as they were signed, ${number(invalid)} are not (${seconds} s).`)
  buttons.audit.disabled = false
})

buttons.forget.addEventListener('click', async () => {
  connection.stop()
  await feed.destroyStorage()
  location.reload()
})

function state(): [state: string, text: string] {
  if (!following) return ['waiting', 'Paused']
  if (!connected) return ['failed', 'Not connected, trying again']
  if (feed.length === 0 || feed.downloaded() < feed.length) return ['loading', 'Fetching blocks']
  return ['live', 'Live: everything is here']
}

function drawFigures(): void {
  const here = feed.downloaded()
  const rate = meter.rate()
  const share = feed.length === 0 ? 0 : here / feed.length
  const [name, text] = state()
  status.dataset.state = name
  show('status', text)
  show('blocks', number(here))
  show('blocks-of', `of ${number(feed.length)}`)
  show('bytes', megabytes(storedBytes))
  show('bytes-of', `of ${megabytes(feed.byteLength)}`)
  show('rate', `${megabytes(rate.bytes)}/s`)
  show('rate-blocks', `${number(Math.round(rate.blocks * 10) / 10)} blocks/s`)
  show('verified', number(meter.blocks))
  show('percent', `${(Math.floor(share * 1000) / 10).toFixed(1)} %`)
  element<HTMLProgressElement>('progress').value = share
}

/** The newest blocks that are here, newest first. */
async function drawLatest(): Promise<void> {
  const blocks: number[] = []
  for (let block = feed.length - 1; block >= 0 && blocks.length < LATEST; block--) {
    if (feed.has(block)) blocks.push(block)
  }
  if (blocks[0] === undefined || blocks[0] === latestShown) return
  const rows = await Promise.all(blocks.map(async (block) => row(block, await feed.get(block))))
  element('latest').replaceChildren(...rows)
  latestShown = blocks[0]
}

function row(block: number, data: Uint8Array): HTMLTableRowElement {
  const made = document.createElement('tr')
  for (const [text, kind] of [
    [number(block), ''],
    [data.byteLength < 1000 ? `${data.byteLength} B` : `${(data.byteLength / 1000).toFixed(1)} kB`, ''],
    [preview(data), 'content']
  ] as const) {
    const cell = made.insertCell()
    cell.textContent = text
    cell.className = kind
  }
  return made
}

let figuresAt = 0
let spokenAt = Number.NEGATIVE_INFINITY

function frame(time: number): void {
  if (feed.closing || feed.closed) return
  map.draw(feed.length)
  if (time - figuresAt > FIGURES_EVERY) {
    figuresAt = time
    drawFigures()
    // Closing while it reads is no news.
    drawLatest().catch(() => {})
  }
  if (time - spokenAt > SPOKEN_EVERY) {
    spokenAt = time
    element('map').setAttribute(
      'aria-label',
      `${number(feed.downloaded())} of ${number(feed.length)} blocks are here`
    )
  }
  requestAnimationFrame(frame)
}
requestAnimationFrame(frame)
