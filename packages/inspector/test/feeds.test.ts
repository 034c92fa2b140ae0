/** What the server tells about feeds, and does with them. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import ddatabase, { type AuditOptions, type Feed, type FullAuditReport } from 'ddatabase'
import RandomAccessMemory from 'random-access-memory'
import test, { type Test } from 'tape'
import { temporaryFolder } from '../../../test/helpers/folders.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import { AuditJob } from '../src/audit-job.ts'
import type {
  AuditState,
  BlockRow,
  FeedDetail,
  FeedSummary,
  MapWindow,
  ProofInfo,
  SearchLine
} from '../src/messages.ts'
import { fromHex } from '../src/page/bytes.ts'
import { verifySteps } from '../src/page/verify.ts'
import { hugeFeed } from './helpers/huge-feed.ts'
import { openWindow } from './helpers/open-window.ts'
import { events, getJson, request, send } from './helpers/requests.ts'
import { connect, gate, HOSTILE } from './helpers/scene.ts'

// Far above what the slowest machine needs: only a hang gets there.
const PATIENCE = 120_000

async function memoryFeed(t: Test, blocks: (string | Buffer)[]): Promise<Feed<Uint8Array>> {
  const feed = ddatabase(RandomAccessMemory)
  await feed.append(blocks.map((block) => Buffer.from(block as Buffer)))
  t.teardown(() => feed.close())
  return feed
}

/** Asks again and again until the answer will do. */
async function until<T>(ask: () => Promise<T>, will: (value: T) => boolean, what: string): Promise<T> {
  const run = async (): Promise<T> => {
    for (;;) {
      const value = await ask()
      if (will(value)) return value
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return within(run(), what, PATIENCE)
}

test('feeds: the list, and what becomes of feeds that cannot be opened or are closed', async (t) => {
  const folder = await temporaryFolder(t)
  const good = await memoryFeed(t, ['a', 'bc'])
  const broken = ddatabase(path.join(folder, 'nothing'), { createIfMissing: false })
  broken.on('error', () => {})
  const leaving = ddatabase(RandomAccessMemory)
  await leaving.append(Buffer.from('x'))
  const { url } = await openWindow(t, [{ feed: good, name: 'Good' }, { feed: broken, name: '<b>' }, leaving])
  await broken.ready().catch(() => {})
  const list = await getJson<FeedSummary[]>(url, 'api/feeds')
  t.deepEqual(
    list.map(({ id, state, length, byteLength, present, writable }) => [
      id,
      state,
      length,
      byteLength,
      present,
      writable
    ]),
    [
      ['0', 'open', 2, 3, 2, true],
      ['1', 'failed', 0, 0, 0, false],
      ['2', 'open', 1, 1, 1, true]
    ]
  )
  t.equal(list[0]!.name, 'Good')
  t.equal(list[0]!.key, Buffer.from(good.key!).toString('hex'))
  t.match(list[1]!.warnings[0]!.text, /ERR_NO_FEED/)
  t.match(list[2]!.name, /^[0-9a-f]{12}…$/, 'a feed without a name is called by its key')
  await leaving.close()
  const after = await getJson<FeedSummary[]>(url, 'api/feeds')
  t.equal(after[2]!.state, 'closed')
  t.equal((await request(`${url}api/feeds/2/blocks?start=0&count=1`)).status, 409)
  t.equal((await request(`${url}api/feeds/1/map?start=0&span=1&cells=1`)).status, 409)
  for (const id of ['3', '-1', 'x', '0x0', '1e0', '__proto__', '%2e%2e', '99999999999999999999']) {
    const { status } = await request(`${url}api/feeds/${id}/map?start=0&span=1&cells=1`)
    t.ok(status === 404 || status === 400, `feed ${id}: ${status}`)
  }
})

test('feeds: the secret key is in no answer', async (t) => {
  const feed = await memoryFeed(t, ['one', 'two', 'three'])
  const { url } = await openWindow(t, feed)
  const paths = [
    '',
    'page/main.js',
    'api/feeds',
    'api/feeds/0/map?start=0&span=1&cells=10',
    'api/feeds/0/blocks?start=0&count=10',
    'api/feeds/0/blocks/0',
    'api/feeds/0/blocks/0/content',
    'api/feeds/0/blocks/1/proof?nodes=0,1,2',
    'api/feeds/0/search?q=o'
  ]
  const answers = await Promise.all(
    paths.map(async (one) => (await request(url + one)).body.toString('latin1'))
  )
  const live = await events(`${url}api/events?feed=0`, (got) => got.some(({ event }) => event === 'feed'))
  answers.push(JSON.stringify(live), (await send(url, 'api/feeds/0/audit')).body.toString())
  const secret = Buffer.from(feed.secretKey!)
  for (const part of [secret, secret.subarray(0, 32)]) {
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const) {
      const text = part.toString(encoding).replace(/=+$/, '')
      t.notOk(
        answers.some((answer) => answer.includes(text)),
        `${part.byteLength} bytes in ${encoding}`
      )
    }
  }
  t.ok(
    answers.some((answer) => answer.includes(Buffer.from(feed.key!).toString('hex'))),
    'the public key is'
  )
})

test('feeds: the map tells present, missing, cleared and damaged blocks apart', async (t) => {
  const folder = await temporaryFolder(t)
  const author = ddatabase(path.join(folder, 'author'))
  await author.append(Array.from({ length: 100 }, (_, i) => Buffer.from(`block ${i} of a hundred`)))
  const { url } = await openWindow(t, author)
  const map = (query: string) => getJson<MapWindow>(url, `api/feeds/0/map?${query}`)
  t.deepEqual(await map('start=0&span=10&cells=20'), {
    start: 0,
    span: 10,
    length: 100,
    present: Array(10).fill(10),
    cleared: [],
    damaged: [],
    downloading: []
  })
  await author.clear(12, 25)
  const cleared = await map('start=0&span=10&cells=5')
  t.deepEqual(cleared.present, [10, 2, 5, 10, 10])
  t.deepEqual(cleared.cleared, [
    [1, 8],
    [2, 5]
  ])
  t.deepEqual((await map('start=20&span=1&cells=8')).present, [0, 0, 0, 0, 0, 1, 1, 1])
  t.deepEqual((await map('start=95&span=4&cells=8')).present, [4, 1], 'the last cell is cut')
  t.deepEqual((await map('start=100&span=4&cells=8')).present, [], 'there is nothing beyond the end')
  t.deepEqual((await map('start=0&span=0&cells=2')).span, 1)

  const { offset } = await placeOf(author, 40)
  const file = await open(path.join(folder, 'author', 'data'), 'r+')
  await file.write(Buffer.from('XXXX'), 0, 4, offset)
  await file.close()
  t.equal((await send(url, 'api/feeds/0/audit')).status, 202)
  const detail = await followed(url, (now) => now.audit !== null && now.audit.state !== 'running')
  t.equal(detail.audit!.state, 'done')
  t.equal(detail.audit!.invalid, 1)
  t.equal(detail.audit!.valid, 86)
  const damaged = await map('start=40&span=1&cells=3')
  t.deepEqual(damaged.damaged, [[0, 1]])
  t.deepEqual(damaged.cleared, [], 'what is damaged was not cleared')
  t.deepEqual(damaged.present, [0, 1, 1])
  t.equal((await getJson<{ state: string }>(url, 'api/feeds/0/blocks/40')).state, 'damaged')
  t.equal((await getJson<{ state: string }>(url, 'api/feeds/0/blocks/12')).state, 'cleared')
  const [summary] = await getJson<FeedSummary[]>(url, 'api/feeds')
  t.ok(
    summary!.warnings.some(({ kind, text }) => kind === 'damage' && /block 40/.test(text)),
    'a warning'
  )
  await author.close()
})

async function placeOf(feed: Feed<Uint8Array>, block: number): Promise<{ offset: number }> {
  let offset = 0
  for (let i = 0; i < block; i++) {
    // Those that were cleared had the same size as their neighbours of as many digits.
    offset += Buffer.byteLength(`block ${i} of a hundred`)
  }
  return { offset: feed.length > block ? offset : 0 }
}

/** The state of feed 0 as a page gets it, once it will do. */
async function followed(url: string, will: (detail: FeedDetail) => boolean): Promise<FeedDetail> {
  const got = await within(
    events(`${url}api/events?feed=0`, (all) =>
      all.some(({ event, data }) => event === 'feed' && will(data as FeedDetail))
    ),
    'the state of the feed',
    PATIENCE
  )
  return got.findLast(({ event }) => event === 'feed')!.data as FeedDetail
}

test('feeds: a map of ten million blocks is as large as what is seen of it', async (t) => {
  const length = 10_000_000
  const { feed, put } = await hugeFeed(length)
  t.teardown(() => feed.close())
  for (const block of [0, 1, 2, 4_999_999, 5_000_000, 9_999_999]) await put(block)
  const { url } = await openWindow(t, feed)
  await feed.clear(1, 2)
  const [summary] = await getJson<FeedSummary[]>(url, 'api/feeds')
  t.deepEqual([summary!.length, summary!.present], [length, 5])
  const whole = await request(`${url}api/feeds/0/map?start=0&span=8192&cells=1240`)
  const map = JSON.parse(whole.body.toString()) as MapWindow
  t.equal(map.present.length, Math.ceil(length / 8192))
  t.equal(
    map.present.reduce((sum, count) => sum + count, 0),
    5
  )
  t.equal(map.present[0], 2)
  t.equal(map.present.at(-1), 1)
  t.deepEqual(map.cleared, [[0, 1]])
  t.ok(whole.body.byteLength < 5000, `${whole.body.byteLength} bytes`)
  const greedy = await getJson<MapWindow>(url, 'api/feeds/0/map?start=0&span=1&cells=9007199254740991')
  t.ok(greedy.present.length <= 8192, 'no more cells than a screen can show')
  t.deepEqual(
    (await getJson<MapWindow>(url, 'api/feeds/0/map?start=4999998&span=1&cells=4')).present,
    [0, 1, 1, 0]
  )
  const proof = await getJson<ProofInfo>(url, 'api/feeds/0/blocks/5000000/proof')
  const verified = verifySteps(proof, Buffer.from('the same'))
  t.ok(verified.valid)
  t.equal(verified.length, length)
})

test('feeds: blocks as they are, and never as a page', async (t) => {
  const feed = await memoryFeed(t, ['text', HOSTILE, Buffer.alloc(100_000, 7), ''])
  const { url } = await openWindow(t, feed)
  const content = await request(`${url}api/feeds/0/blocks/1/content`)
  t.equal(content.body.toString(), HOSTILE)
  t.equal(content.headers['content-type'], 'application/octet-stream')
  t.match(content.headers['content-disposition']!, /^attachment/)
  t.match(content.headers['content-security-policy'] as string, /default-src 'none'; sandbox/)
  t.equal(content.headers['x-content-type-options'], 'nosniff')
  const part = await request(`${url}api/feeds/0/blocks/2/content?limit=1000`)
  t.equal(part.body.byteLength, 1000)
  t.equal(part.headers['x-block-size'], '100000')
  t.equal((await request(`${url}api/feeds/0/blocks/3/content`)).body.byteLength, 0, 'an empty block')
  const rows = await getJson<BlockRow[]>(url, 'api/feeds/0/blocks?start=0&count=1000000')
  t.deepEqual(
    rows.map(({ index, size, state }) => [index, size, state]),
    [
      [0, 4, 'present'],
      [1, HOSTILE.length, 'present'],
      [2, 100_000, 'present'],
      [3, 0, 'present']
    ]
  )
  t.equal(Buffer.from(rows[1]!.preview!, 'hex').toString(), HOSTILE.slice(0, 96), 'the beginning only')
  for (const block of ['4', '-1', '1.5', 'NaN', '1e9', '0x1', '', '999999999999999999', '..%2f..%2fkey']) {
    const { status } = await request(`${url}api/feeds/0/blocks/${block}/content`)
    t.ok(status >= 400 && status < 500, `block "${block}": ${status}`)
  }
  for (const query of [
    'start=-1&count=1',
    'start=x&count=1',
    'start=1e3&count=1',
    'start=0&count=1;2',
    'start=9007199254740993&count=1'
  ]) {
    t.equal((await request(`${url}api/feeds/0/blocks?${query}`)).status, 400, query)
  }
  t.deepEqual(await getJson(url, 'api/feeds/0/blocks?start=9007199254740991&count=5'), [])
})

test('feeds: search in what is here', async (t) => {
  const feed = await memoryFeed(t, [
    'alpha',
    'BETA gamma',
    'a needle: Nadelöhr',
    'beta again',
    Buffer.from([1, 0xff, 0, 0x42])
  ])
  await feed.clear(3)
  const { url } = await openWindow(t, feed)
  const find = async (query: string) => {
    const { status, body } = await request(`${url}api/feeds/0/search?${query}`)
    if (status !== 200) return status
    return body
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as SearchLine)
  }
  const blocks = async (query: string) => {
    const found = await find(query)
    return typeof found === 'number'
      ? found
      : found.flatMap((line) => (line.type === 'match' ? [line.block] : []))
  }
  t.deepEqual(await blocks('q=beta'), [1], 'what was cleared is not looked at')
  t.deepEqual(await blocks('q=beta&case=1'), [])
  t.deepEqual(await blocks('q=BETA&case=1'), [1])
  t.deepEqual(await blocks(`q=${encodeURIComponent('nadelöhr')}`), [2])
  t.deepEqual(await blocks('q=ff00&hex=1'), [4])
  t.deepEqual(await blocks('q=a'), [0, 1, 2])
  t.deepEqual(await blocks('q=a&from=1'), [1, 2])
  t.deepEqual(await blocks('q=a&from=99'), [])
  const [match, end] = (await find('q=gamma')) as SearchLine[]
  t.deepEqual(match, { type: 'match', block: 1, offset: 5, before: 'BETA ', match: 'gamma', after: '' })
  t.deepEqual(end, { type: 'end', searched: 4, bytes: 38, unreadable: 0, next: null })
  for (const query of ['q=', 'q=zz&hex=1', 'q=123&hex=1', `q=${'x'.repeat(1025)}`, 'q=a&from=-1', '']) {
    t.equal(await find(query), 400, query.slice(0, 20))
  }
})

test('feeds: no stream is made for who asks for its head only', async (t) => {
  const { url } = await openWindow(t, await memoryFeed(t, ['one', 'two']))
  const headers = { origin: new URL(url).origin }
  for (let i = 0; i < 5; i++) {
    t.equal((await request(`${url}api/feeds/0/search?q=o`, { method: 'HEAD', headers })).status, 405)
  }
  t.equal((await request(`${url}api/feeds/0/search?q=o`)).status, 200, 'no search is running')
})

test('feeds: a search stops after a hundred matches, goes on where it was, and ends with its reader', async (t) => {
  const feed = await memoryFeed(
    t,
    Array.from({ length: 250 }, (_, i) => `match ${i}`)
  )
  const { url } = await openWindow(t, feed)
  const search = async (from: number) => {
    const { body } = await request(`${url}api/feeds/0/search?q=match&from=${from}`)
    return body
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as SearchLine)
  }
  const first = await search(0)
  const end = first.at(-1) as SearchLine & { type: 'end' }
  t.equal(first.length, 101)
  t.equal(end.next, 100)
  const last = await search(200)
  t.equal((last.at(-1) as SearchLine & { type: 'end' }).next, null)
  t.equal(last.length, 51)

  const slow = await memoryFeed(
    t,
    Array.from({ length: 200 }, () => Buffer.alloc(200_000))
  )
  const other = await openWindow(t, slow)
  for (let i = 0; i < 8; i++) {
    const left = new AbortController()
    const response = await fetch(`${other.url}api/feeds/0/search?q=nothing`, { signal: left.signal })
    t.equal(response.status, 200, 'those that were left do not count')
    left.abort()
    await response.text().catch(() => {})
    await until(
      async () => (await request(`${other.url}api/feeds/0/search?q=${'y'.repeat(1024)}`)).status,
      (status) => status === 200,
      'a free place'
    )
  }
})

test('feeds: proofs hold in the page, for every block of every length', async (t) => {
  const feed = ddatabase(RandomAccessMemory)
  t.teardown(() => feed.close())
  await feed.ready()
  const { url } = await openWindow(t, feed)
  for (let length = 1; length <= 17; length++) {
    await feed.append(Buffer.from(`block ${length - 1}`))
    for (const block of new Set([0, length >> 1, length - 1])) {
      const proof = await getJson<ProofInfo>(url, `api/feeds/0/blocks/${block}/proof?nodes=${2 * block}`)
      const verified = verifySteps(proof, Buffer.from(`block ${block}`))
      t.ok(verified.valid && verified.length === length, `block ${block} of ${length}`)
      t.deepEqual(proof.known, [2 * block])
      t.notOk(verifySteps(proof, Buffer.from(`block ${block}!`)).valid, 'another block does not hold')
    }
  }
  await feed.clear(3)
  const absent = await getJson<ProofInfo>(url, 'api/feeds/0/blocks/3/proof')
  t.equal(absent.here, false)
  t.ok(verifySteps(absent, null).valid, 'the hash of a cleared block can still be proven')
  t.equal((await request(`${url}api/feeds/0/blocks/3/proof?nodes=1,x`)).status, 400)

  const proof = await getJson<ProofInfo>(url, 'api/feeds/0/blocks/5/proof')
  const block = Buffer.from('block 5')
  const flipped = (hex: string) => (hex.startsWith('0') ? '1' : '0') + hex.slice(1)
  for (const [i, node] of proof.nodes.entries()) {
    for (const change of [{ hash: flipped(node.hash) }, { size: node.size + 1 }]) {
      const nodes = proof.nodes.map((one, at) => (at === i ? { ...one, ...change } : one))
      t.notOk(
        verifySteps({ ...proof, nodes }, block).valid,
        `node ${node.index} with another ${Object.keys(change)}`
      )
    }
    const without = proof.nodes.filter((_, at) => at !== i)
    t.notOk(verifySteps({ ...proof, nodes: without }, block).valid, `without node ${node.index}`)
  }
  t.notOk(verifySteps({ ...proof, signature: flipped(proof.signature!) }, block).valid, 'another signature')
  t.notOk(
    verifySteps({ ...proof, key: Buffer.from(fromHex(proof.key)).reverse().toString('hex') }, block).valid,
    'another key'
  )
})

test('feeds: a static feed is proven by its key', async (t) => {
  const feed = ddatabase(RandomAccessMemory, { live: false })
  t.teardown(() => feed.close())
  await feed.append([Buffer.from('one'), Buffer.from('two'), Buffer.from('three')])
  await feed.finalize()
  const { url } = await openWindow(t, feed)
  const proof = await getJson<ProofInfo>(url, 'api/feeds/0/blocks/1/proof')
  t.equal(proof.signature, null)
  t.ok(verifySteps(proof, Buffer.from('two')).valid)
  t.notOk(verifySteps(proof, Buffer.from('tw0')).valid)
})

test('feeds: appending', async (t) => {
  const feed = await memoryFeed(t, ['first'])
  const { url } = await openWindow(t, feed)
  const append = async (body: string | Uint8Array, type?: string, query = '') => {
    const { status, body: answer } = await send(url, `api/feeds/0/append${query}`, body, type)
    return [status, JSON.parse(answer.toString())] as const
  }
  t.deepEqual(await append('{"values":["a","b"]}'), [200, { start: 1, count: 2 }])
  t.deepEqual((await feed.getBatch(1, 3)).map(String), ['a', 'b'])
  const bytes = Buffer.from(Array.from({ length: 2500 }, (_, i) => i & 0xff))
  t.deepEqual(await append(bytes, 'application/octet-stream', '?block=1000'), [200, { start: 3, count: 3 }])
  t.ok(Buffer.concat(await feed.getBatch(3, 6)).equals(bytes))
  const before = feed.length
  const wrong: [body: string | Uint8Array, type?: string, query?: string][] = [
    ['{"values":[]}'],
    ['{"values":"x"}'],
    ['{}'],
    ['null'],
    ['not JSON'],
    [Buffer.from([0x7b, 0xff])],
    [`{"values":[${'1,'.repeat(10_000)}1]}`],
    [''],
    [bytes, 'application/octet-stream', '?block=0'],
    [bytes, 'application/octet-stream', '?block=x'],
    [new Uint8Array(0), 'application/octet-stream'],
    [new Uint8Array(20_001), 'application/octet-stream', '?block=1'],
    ['{"values":["x"]}', 'multipart/form-data']
  ]
  for (const [body, type, query] of wrong) {
    const [status] = await append(body, type, query)
    t.equal(status, 400, `${String(body).slice(0, 20)} ${type ?? ''} ${query ?? ''}`)
  }
  const huge = await send(
    url,
    'api/feeds/0/append',
    new Uint8Array(9 * 1024 * 1024),
    'application/octet-stream'
  ).catch(() => null)
  t.ok(huge === null || huge.status === 413, 'more than a request may have')
  t.equal(feed.length, before, 'nothing of that was appended')

  const reader = ddatabase(RandomAccessMemory, feed.key)
  t.teardown(() => reader.close())
  await reader.ready()
  const other = await openWindow(t, reader)
  const refused = await send(other.url, 'api/feeds/0/append', '{"values":["x"]}')
  t.equal(refused.status, 409)
  t.match(refused.body.toString(), /ERR_NOT_WRITABLE/)
})

test('feeds: an audit can be cancelled, and one runs at a time', async (t) => {
  // Nothing is read while it is held: the audit is under way as long as that takes.
  let held = Promise.resolve()
  const feed = ddatabase(() => {
    const file = new RandomAccessMemory()
    const read = file.read.bind(file)
    file.read = (...call: Parameters<typeof read>) => void held.then(() => read(...call))
    return file
  })
  t.teardown(() => feed.close())
  await feed.append(Array.from({ length: 500 }, () => Buffer.alloc(50_000, 1)))
  const { url } = await openWindow(t, feed)
  const state = async (method: string) =>
    JSON.parse((await send(url, 'api/feeds/0/audit', '', 'text/plain', method)).body.toString()) as AuditState
  let letGo = (): void => {}
  held = new Promise((resolve) => {
    letGo = resolve
  })
  t.equal((await state('POST')).state, 'running')
  t.equal((await state('POST')).state, 'running', 'a second one is the same')
  await state('DELETE')
  letGo()
  const ended = await followed(url, ({ audit }) => audit !== null && audit.state !== 'running')
  t.equal(ended.audit!.state, 'cancelled')
  t.equal(feed.downloaded(), 500)
  await state('POST')
  const again = await followed(url, ({ audit }) => audit !== null && audit.state !== 'running')
  t.deepEqual([again.audit!.state, again.audit!.valid, again.audit!.checked], ['done', 500, 500])
})

test('feeds: an audit tells how far it is', async (t) => {
  const feed = await memoryFeed(
    t,
    Array.from({ length: 5000 }, (_, i) => `block ${i}`)
  )
  const seen: number[] = []
  const audit = feed.audit.bind(feed) as (options: AuditOptions) => Promise<FullAuditReport>
  Object.assign(feed, {
    audit: ({ onprogress, ...options }: AuditOptions) =>
      audit({
        ...options,
        onprogress(progress) {
          onprogress!(progress)
          seen.push(job.report().checked)
        }
      })
  })
  const job = new AuditJob(feed, true)
  await within(job.done, 'the audit')
  t.ok(
    seen.some((checked) => checked > 0 && checked < 5000),
    `looked at ${seen.join(', ')}`
  )
  t.deepEqual([job.report().checked, job.report().valid], [5000, 5000])
})

test('feeds: peers, what each has, wants and owes, and blocks on their way', async (t) => {
  const author = await memoryFeed(
    t,
    Array.from({ length: 600 }, (_, i) => `block ${i}`)
  )
  const copy = ddatabase(RandomAccessMemory, author.key)
  t.teardown(() => copy.close())
  await copy.ready()
  const { between, release } = gate(() => copy.downloaded() > 0)
  connect(author, copy, between)
  const { url } = await openWindow(t, copy)
  const owing = await followed(url, ({ peers }) =>
    peers.some(({ owed, transfers }) => owed > 0 && transfers!.downloadedBlocks > 0)
  )
  const peer = owing.peers.find(({ owed }) => owed > 0)!
  t.equal(peer.remoteLength, 600)
  t.deepEqual(peer.has, Array(64).fill(1), 'it has everything')
  t.equal(peer.gives, true)
  t.equal(peer.owes.length, Math.min(64, peer.owed), 'as many as are named')
  t.ok(peer.owes.every((block) => block < 600))
  t.match(peer.publicKey!, /^[0-9a-f]{64}$/)
  t.ok(owing.transfers!.downloadedBytes > 0)
  const map = await until(
    () => getJson<MapWindow>(url, 'api/feeds/0/map?start=0&span=1&cells=600'),
    ({ downloading }) => downloading.length > 0,
    'blocks on their way'
  )
  t.ok(map.downloading.every(([block, count]) => count === 1 && map.present[block] === 0))
  release()
  await followed(url, ({ peers }) => peers.every(({ owed }) => owed === 0))
  await until(
    async () => copy.downloaded(),
    (present) => present === 600,
    'the rest'
  )
})

test('feeds: what a peer wants: what it lacks of what is here, and what it was sent', async (t) => {
  const author = await memoryFeed(
    t,
    Array.from({ length: 512 }, (_, i) => `block ${i}`)
  )
  const [copy, other] = [
    ddatabase(RandomAccessMemory, author.key, { sparse: true }),
    ddatabase(RandomAccessMemory, author.key, { sparse: true })
  ]
  t.teardown(() => Promise.all([copy.close(), other.close()]))
  await Promise.all([copy.ready(), other.ready()])
  connect(author, copy)
  await within(copy.download({ start: 0, end: 512 }), 'the copy', PATIENCE)
  const { url } = await openWindow(t, [copy, author])
  connect(copy, other)
  await within(other.download({ start: 0, end: 128 }), 'a part', PATIENCE)
  const wanting = await followed(url, ({ peers }) => peers.some(({ sent }) => sent !== null))
  const peer = wanting.peers.find(({ sent }) => sent !== null)!
  t.equal(peer.wants, true)
  t.ok(peer.sent!.block < 128 && peer.sent!.ago >= 0, `block ${peer.sent!.block} was sent last`)
  t.ok(wanting.peers.find(({ sent }) => sent === null)!.lacks === 0, 'the author lacks nothing')
  const told = await followed(url, ({ peers }) => peers.some(({ lacks }) => lacks === 384))
  t.ok(told, 'what it was sent it does not lack any more')
})

test('feeds: a block is fetched from a peer when it is asked for', async (t) => {
  const author = await memoryFeed(t, ['zero', 'one', 'two'])
  const reader = ddatabase(RandomAccessMemory, author.key, { sparse: true })
  t.teardown(() => reader.close())
  await reader.ready()
  connect(author, reader)
  await within(reader.update(), 'the length')
  const { url } = await openWindow(t, reader)
  t.equal((await getJson<{ state: string }>(url, 'api/feeds/0/blocks/1')).state, 'missing')
  t.equal((await request(`${url}api/feeds/0/blocks/1/content`)).status, 409)
  const fetched = await send(url, 'api/feeds/0/blocks/1/fetch')
  t.deepEqual(JSON.parse(fetched.body.toString()), { index: 1, state: 'present' })
  t.equal((await request(`${url}api/feeds/0/blocks/1/content`)).body.toString(), 'one')
})

test('feeds: the page is told what has changed, and nobody is followed who has left', async (t) => {
  const feed = await memoryFeed(t, ['one'])
  const { url } = await openWindow(t, [feed, await memoryFeed(t, ['other'])])
  let appended = false
  const got = await within(
    events(`${url}api/events?feed=0`, (all) => {
      if (!appended && all.some(({ event }) => event === 'feed')) {
        appended = true
        feed.append(Buffer.from('two')).catch(() => {})
      }
      return all.filter(({ event }) => event === 'feeds').length === 2
    }),
    'two lists',
    PATIENCE
  )
  const lists = got.filter(({ event }) => event === 'feeds').map(({ data }) => data as FeedSummary[])
  t.deepEqual(
    lists.map((list) => list.map(({ id, length }) => [id, length])),
    [
      [
        ['0', 1],
        ['1', 1]
      ],
      [['0', 2]]
    ],
    'all, then those that changed'
  )
  for (const selected of ['', '?feed=9', '?feed=x', '?feed=__proto__']) {
    const [first] = await events(`${url}api/events${selected}`, (all) => all.length > 0)
    t.equal(first!.event, 'feeds', `no feed looked at: "${selected}"`)
  }
})

test('feeds: values go through the encoding of the feed, blocks are shown as they are stored', async (t) => {
  const feed = ddatabase(RandomAccessMemory, { valueEncoding: 'json' })
  t.teardown(() => feed.close())
  await feed.append({ hello: 'world' })
  const { url } = await openWindow(t, feed)
  t.equal((await send(url, 'api/feeds/0/append', '{"values":[{"n":1},[1,2]]}')).status, 200)
  t.deepEqual(await feed.getBatch(0, 3), [{ hello: 'world' }, { n: 1 }, [1, 2]])
  const { body } = await request(`${url}api/feeds/0/blocks/1/content`)
  t.equal(body.toString().trim(), '{"n":1}')
})
