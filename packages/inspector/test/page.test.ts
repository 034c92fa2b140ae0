/** The parts of the page that compute something: they need no browser. */

import flat from 'flat-tree'
import test from 'tape'
import type { FeedDetail, MapWindow, PeerSummary } from '../src/messages.ts'
import { openCommand } from '../src/open-browser.ts'
import { hexDump, preview, uint64s } from '../src/page/bytes.ts'
import { Cells } from '../src/page/cells.ts'
import { bytes, count, percent } from '../src/page/format.ts'
import { aroundBlock, moved, wholeFeed } from '../src/page/map-window.ts'
import { RateHistory } from '../src/page/rates.ts'
import { linkTo, parseRoute } from '../src/page/route.ts'
import { imageType, jsonOf, kindOf, textOf } from '../src/page/sniff.ts'
import { layOut } from '../src/page/tree-layout.ts'
import { Ranges } from '../src/ranges.ts'
import { picture } from './helpers/scene.ts'

test('page: ranges are what a set of numbers is', async (t) => {
  const ranges = new Ranges()
  const set = new Set<number>()
  let seed = 7
  const random = (below: number) => {
    seed = (seed * 48271) % 0x7fffffff
    return seed % below
  }
  t.ok(ranges.empty)
  for (let round = 0; round < 200; round++) {
    const start = random(300)
    const end = start + random(12)
    ranges.add(start, end)
    for (let i = start; i < end; i++) set.add(i)
    const [from, to] = [random(300), random(320)]
    const within = [...ranges.within(from, to)]
    const listed = within.flatMap(([a, b]) => Array.from({ length: b - a }, (_, i) => a + i))
    const expected = [...set].filter((value) => value >= from && value < to).sort((a, b) => a - b)
    if (JSON.stringify(listed) !== JSON.stringify(expected)) t.fail(`round ${round}: ${from} to ${to}`)
    if (within.some(([a], i) => i > 0 && within[i - 1]![1] >= a))
      t.fail(`round ${round}: neighbours are one range`)
    if (ranges.has(from) !== set.has(from)) t.fail(`round ${round}: ${from}`)
  }
  t.notOk(ranges.empty)
})

test('page: windows of the map stay within the feed, and show what they are asked for', async (t) => {
  for (const length of [0, 1, 999, 1000, 1001, 12_345, 10_000_000, 2 ** 40]) {
    const capacity = 1000
    const whole = wholeFeed(length, capacity)
    t.ok(
      whole.span * capacity >= length && (whole.span === 1 || (whole.span / 2) * capacity < length),
      `all of ${length}`
    )
    for (const block of [0, Math.floor(length / 2), Math.max(0, length - 1)]) {
      for (let span = 1; span <= whole.span; span *= 4) {
        const place = aroundBlock(block, span, length, capacity)
        const seen = place.start <= block && block < place.start + capacity * place.span
        const tidy =
          place.start >= 0 && place.start % place.span === 0 && (length === 0 || place.start < length)
        if (!seen || !tidy) t.fail(`block ${block} of ${length} at ${span}: ${JSON.stringify(place)}`)
        const back = moved(moved(place, 10 ** 9, length, capacity), -(10 ** 15), length, capacity)
        if (back.start !== 0) t.fail('back at the start')
      }
    }
  }
})

test('page: cells add up, and show what has just come', async (t) => {
  const window: MapWindow = {
    start: 0,
    span: 10,
    length: 25,
    present: [10, 4, 0],
    cleared: [[1, 2]],
    damaged: [[1, 1]],
    downloading: [
      [1, 9],
      [2, 2]
    ]
  }
  const cells = new Cells(window, null, 0)
  t.deepEqual(cells.countsOf(0), { present: 10, damaged: 0, cleared: 0, downloading: 0, missing: 0 })
  t.deepEqual(cells.countsOf(1), { present: 4, damaged: 1, cleared: 2, downloading: 3, missing: 0 })
  t.deepEqual(
    cells.countsOf(2),
    { present: 0, damaged: 0, cleared: 0, downloading: 2, missing: 3 },
    'the last cell is cut'
  )
  t.deepEqual(cells.blocksOf(2), [20, 25])
  const next = new Cells({ ...window, present: [10, 5, 0] }, cells, 1000)
  t.equal(next.freshness(1, 1000), 1)
  t.equal(next.freshness(0, 1000), 0)
  t.ok(next.fading(1000) && !next.fading(9000))
  t.notOk(
    new Cells({ ...window, start: 10 }, cells, 1000).fading(1000),
    'another window has nothing to compare with'
  )
})

test('page: pictures are told by their bytes, and only those of pixels', async (t) => {
  t.equal(imageType(picture()), 'image/png')
  t.equal(imageType(Buffer.from([0xff, 0xd8, 0xff, 0xe0])), 'image/jpeg')
  t.equal(imageType(Buffer.from('GIF89a')), 'image/gif')
  t.equal(imageType(Buffer.from('RIFF....WEBPVP8 ')), 'image/webp')
  t.equal(imageType(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"></svg>')), null)
  t.equal(imageType(Buffer.from('<!doctype html>')), null)
  t.equal(imageType(new Uint8Array(0)), null)
  t.equal(kindOf(picture()), 'image')
  t.equal(kindOf(Buffer.from('{"a":1}')), 'json')
  t.equal(kindOf(Buffer.from('{"a":')), 'text')
  t.equal(kindOf(Buffer.from('42')), 'text', 'a number is better read as text')
  t.equal(kindOf(Buffer.from([0xc3, 0x28])), 'hex', 'not UTF-8')
  t.equal(kindOf(Buffer.from('a\u0000b')), 'hex', 'control characters')
  t.equal(textOf(Buffer.from('ü\n\t')), 'ü\n\t')
  t.equal(jsonOf(' [1,2]'), '[\n  1,\n  2\n]')
  t.equal(jsonOf('x'), null)
})

test('page: bytes and figures as text', async (t) => {
  t.deepEqual(hexDump(Buffer.from('Hello\u0000world, 16+'), 99), [
    { offset: '000000', hex: '48 65 6c 6c 6f 00 77 6f 72 6c 64 2c 20 31 36 2b', text: 'Hello·world, 16+' }
  ])
  t.equal(hexDump(Buffer.alloc(100), 32).length, 2)
  t.equal(preview(Buffer.from('all is ok\u0007')), 'all is ok·')
  t.equal(preview(Buffer.from([1, 2, 3, 4])), null)
  t.equal(Buffer.from(uint64s(2 ** 53 - 1, 1)).toString('hex'), '001fffffffffffff0000000000000001')
  t.deepEqual([0, 999, 1000, 999_499, 999_500, 1e9, 2 ** 53].map(bytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '999 kB',
    '1.0 MB',
    '1.0 GB',
    '9.0 PB'
  ])
  t.equal(percent(1999, 2000), '99.9\u00a0%', 'never 100 before it is')
  t.equal(percent(2000, 2000), '100.0\u00a0%')
  t.equal(percent(0, 0), '–')
  t.equal(count(1, 'peer'), '1 peer')
  t.equal(count(1234, 'peer'), '1,234 peers')
})

test('page: rates of peers that come and go', async (t) => {
  const history = new RateHistory()
  const detail = (time: number, total: number, peers: [id: number, down: number][]): FeedDetail => {
    const transfers = (down: number) => ({
      downloadedBytes: down,
      downloadedBlocks: 0,
      uploadedBytes: 0,
      uploadedBlocks: 0
    })
    return {
      time,
      transfers: transfers(total),
      peers: peers.map(([id, down]) => ({ id, transfers: transfers(down) }) as PeerSummary)
    } as FeedDetail
  }
  history.add(detail(0, 0, []))
  t.deepEqual(history.latest(0), { down: 0, up: 0 })
  history.add(detail(500, 500, [[1, 500]]))
  history.add(detail(1000, 1000, [[1, 1000]]))
  t.equal(history.latest(0).down, 1000)
  t.equal(history.latest(1).down, 1000)
  history.add(detail(1500, 1000, []))
  t.deepEqual(history.series(1).down, [null, 1000, 1000, null], 'it is there while it is there')
  t.deepEqual(history.peers(), [0, 1])
  t.deepEqual(history.times(), [0, 0.5, 1, 1.5])
  for (let i = 0; i < 1000; i++) history.add(detail(2000 + i, 1000, []))
  t.equal(history.times().length, 240, 'old samples go')
  t.deepEqual(history.latest(0), { down: 0, up: 0 })
})

test('page: the tree around any block is drawn whole', async (t) => {
  for (const length of [1, 2, 3, 7, 8, 9, 100, 1023, 10_000_000]) {
    for (const block of new Set([0, 1, length >> 1, length - 1].filter((one) => one < length))) {
      const { nodes, edges, width, height } = layOut(block, length)
      const at = new Map(nodes.map((node) => [node.index, node]))
      t.equal(at.size, nodes.length, `block ${block} of ${length}: nobody twice`)
      let top = 2 * block
      const roots = flat.fullRoots(2 * length)
      while (!roots.includes(top)) {
        if (!at.has(top) || !at.has(flat.sibling(top))) t.fail(`path at ${top}`)
        top = flat.parent(top)
      }
      t.ok(
        roots.every((root) => at.has(root)),
        'all roots'
      )
      t.ok(
        edges.every(([child, parent]) => at.get(child)!.y > at.get(parent)!.y),
        'parents are above'
      )
      t.ok(
        nodes.every(({ x, y }) => x > 0 && x < width && y > 0 && y < height),
        'within the drawing'
      )
      const places = new Set(nodes.map(({ x, y }) => `${x} ${y}`))
      t.equal(places.size, nodes.length, 'nobody on top of another')
    }
  }
})

test('page: addresses of views', async (t) => {
  for (const route of [
    { feed: '0', view: 'overview', block: null },
    { feed: '12', view: 'tree', block: 7 }
  ] as const) {
    t.deepEqual(parseRoute(linkTo(route)), route)
  }
  for (const hash of ['', '#', '#/x/y/z', '#/-1/map/-1', '#/1e3/MAP/1.5', '#//javascript:alert(1)/']) {
    const { feed, block } = parseRoute(hash)
    t.match(feed, /^\d+$/, hash)
    t.equal(block, null)
  }
  t.equal(parseRoute('#/0/map/999999999999999999999').block, null)
})

test('page: what opens a browser gets the address as one argument', async (t) => {
  const url = 'http://127.0.0.1:1/launch/a&b"c'
  for (const platform of ['linux', 'darwin', 'win32', 'freebsd'] as const) {
    const [command, args] = openCommand(platform, url)
    t.ok(command.length > 0 && !command.includes(' '))
    t.equal(args.at(-1), url)
  }
})
