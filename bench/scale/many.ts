/**
 * Many feeds and many peers in one process; see README.md beside this folder. Says what it measures, line by line.
 *
 *     node --expose-gc --import tsx bench/scale/many.ts open|multiplex|peers|mixed|swarm|fair [count]
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import RandomAccessMemory from 'random-access-memory'
import ddatabase, { ProtocolStream } from '../../src/index.ts'
import { dial, type Feed, Meter, quantile, serve, until, withFolder } from './tools.ts'

const BLOCK = Buffer.alloc(16 * 1024, 'x')
const LIVE = { live: true }

async function filled(storage: unknown, blocks: number, size = BLOCK.byteLength): Promise<Feed> {
  const feed = ddatabase(storage as string)
  const block = BLOCK.subarray(0, size)
  for (let i = 0; i < blocks; i += 64) {
    await feed.append(Array.from({ length: Math.min(64, blocks - i) }, () => block))
  }
  return feed
}

async function copyOf(
  source: Feed,
  storage: unknown = RandomAccessMemory,
  options: object = {}
): Promise<Feed> {
  const feed = ddatabase(storage as string, source.key!, options)
  await feed.ready()
  return feed
}

function say(line: string): void {
  console.log(line)
}

/** Feeds in folders, made, closed, opened again and left idle. */
async function openFeeds(count: number): Promise<void> {
  await withFolder(async (folder) => {
    const at = (i: number): string => join(folder, String(i))
    const make = new Meter()
    for (let i = 0; i < count; i++) {
      const feed = ddatabase(at(i))
      await feed.append('one block')
      await feed.close()
    }
    say(make.line(`${count} feeds made and closed`, count))
    const open = new Meter()
    const feeds: Feed[] = []
    for (let i = 0; i < count; i++) {
      const feed = ddatabase(at(i))
      try {
        await feed.ready()
      } catch (error) {
        say(`feed ${i} could not be opened: ${(error as Error).message}`)
        break
      }
      feeds.push(feed)
    }
    say(open.line(`${feeds.length} feeds opened`, feeds.length))
    const read = new Meter()
    for (const feed of feeds) await feed.get(0)
    say(read.line('a block of each read', feeds.length))
    const append = new Meter()
    for (const feed of feeds) await feed.append('another one')
    say(append.line('a block appended to each', feeds.length))
    if (existsSync('/proc/self/fd')) say(`${readdirSync('/proc/self/fd').length} descriptors`)
    const close = new Meter()
    for (const feed of feeds) await feed.close()
    say(close.line('closed', feeds.length))
  })
}

/** Feeds in memory, all of them on one stream over TCP. */
async function multiplex(count: number): Promise<void> {
  const sources: Feed[] = []
  for (let i = 0; i < count; i++) sources.push(await filled(RandomAccessMemory, 4, 512))
  const targets: Feed[] = []
  for (const source of sources) targets.push(await copyOf(source))
  const meter = new Meter()
  const { port, server } = await serve(() => {
    const stream = new ProtocolStream(false, LIVE)
    for (const feed of sources) feed.replicate(stream, LIVE)
    return stream
  })
  const stream = new ProtocolStream(true, LIVE)
  for (const feed of targets) {
    feed.replicate(stream, LIVE)
    feed.download()
  }
  const socket = dial(port, stream)
  await until(() => targets.every((feed) => feed.downloaded() === 4))
  say(meter.line(`${count} feeds of 4 blocks on one stream, both ends in this process`, count))
  socket.destroy()
  server.close()
}

/** A writer with live peers, which then append, and download all at once. */
async function peers(count: number): Promise<void> {
  const source = await filled(RandomAccessMemory, 1)
  const { port, server } = await serve(() => source.replicate(false, LIVE))
  const targets: Feed[] = []
  for (let i = 0; i < count; i++)
    targets.push(await copyOf(source, () => new RandomAccessMemory({ pageSize: 64 * 1024 })))
  const connected = new Meter()
  const sockets = targets.map((feed) => dial(port, feed.replicate(true, LIVE)))
  await until(() => source.peers.length === count && source.peers.every((peer) => peer.remoteOpened))
  say(connected.line(`${count} peers connected, both ends in this process`, count))
  const appends = 200
  const announcing = new Meter()
  for (let i = 0; i < appends; i++) {
    await source.append('news')
    await new Promise((resolve) => setImmediate(resolve))
  }
  say(announcing.line(`${appends} appends, each announced to ${count} peers`, appends))
  await source.append(Array.from({ length: 64 }, () => BLOCK))
  const downloading = new Meter()
  for (const feed of targets) feed.download()
  await until(() => targets.every((feed) => feed.downloaded() === source.length))
  const bytes = count * source.byteLength
  say(downloading.line(`all download ${source.byteLength} bytes`, count))
  say(`together ${(bytes / 1e6 / downloading.seconds).toFixed(1)} MB/s`)
  for (const socket of sockets) socket.destroy()
  server.close()
}

/** A reader with peers of differing speed, a fifth of which answer nothing; beside the time that one fast peer takes. */
async function mixed(count: number): Promise<void> {
  const source = await filled(RandomAccessMemory, 1024)
  for (const [what, total] of [
    ['one fast peer', 1],
    [`${count} peers, a fifth of them silent, the others from slow to fast`, count]
  ] as const) {
    const target = await copyOf(source)
    const ended: (() => void)[] = []
    const meter = new Meter()
    for (let i = 0; i < total; i++) {
      const silent = total > 1 && i % 5 === 0
      const rate = total === 1 || i === 1 ? Number.POSITIVE_INFINITY : 50_000 * (i + 1)
      const serving = source.replicate(false, { ...LIVE, maxUploadRate: silent ? 1 : rate })
      const { port, server } = await serve(() => serving)
      const socket = dial(port, target.replicate(true, LIVE))
      ended.push(() => {
        socket.destroy()
        server.close()
      })
    }
    target.download()
    await until(() => target.downloaded() === source.length)
    say(meter.line(what, source.length))
    for (const end of ended) end()
    await target.close()
  }
}

/** Feeds that each have a part, connected each to each. */
async function swarm(count: number): Promise<void> {
  const blocks = 40 * count
  const source = await filled(RandomAccessMemory, blocks)
  const members: Feed[] = []
  for (let i = 0; i < count; i++) {
    const member = await copyOf(source)
    const here = source.replicate(true, LIVE)
    const there = member.replicate(false, LIVE)
    here.pipe(there).pipe(here)
    await member.download({ start: i * 40, end: (i + 1) * 40 })
    for (const stream of [here, there]) stream.on('error', () => {})
    there.destroy()
    members.push(member)
  }
  const before = members.map((feed) => feed.stats!.totals.uploadedBlocks)
  const meter = new Meter()
  for (const [i, a] of members.entries()) {
    for (const b of members.slice(i + 1)) {
      const here = a.replicate(true, LIVE)
      const there = b.replicate(false, LIVE)
      for (const stream of [here, there]) stream.on('error', () => {})
      here.pipe(there).pipe(here)
    }
  }
  for (const member of members) member.download()
  await until(() => members.every((feed) => feed.downloaded() === blocks))
  say(meter.line(`${count} feeds exchange ${blocks} blocks, in memory`, count * blocks))
  const uploads = members.map((feed, i) => feed.stats!.totals.uploadedBlocks - before[i]!)
  const sent = uploads.reduce((sum, more) => sum + more, 0)
  say(
    `${sent} blocks sent for ${(count - 1) * blocks} missing: ${(sent / ((count - 1) * blocks)).toFixed(3)} each; ` +
      `by one member ${Math.min(...uploads)} to ${Math.max(...uploads)}`
  )
}

/** Single gets of one feed while another one, on the same stream, is downloaded. */
async function fair(count: number): Promise<void> {
  const [busy, quiet] = [
    await filled(RandomAccessMemory, 16 * count),
    await filled(RandomAccessMemory, count, 512)
  ]
  for (const loaded of [false, true]) {
    const [all, few] = [await copyOf(busy), await copyOf(quiet, RandomAccessMemory, { sparse: true })]
    const { port, server } = await serve(() => {
      const stream = busy.replicate(false, LIVE)
      quiet.replicate(stream, LIVE)
      return stream
    })
    const stream = all.replicate(true, LIVE)
    few.replicate(stream, LIVE)
    const socket = dial(port, stream)
    await few.get(0)
    if (loaded) all.download()
    const times: number[] = []
    for (let i = 1; i < count && (!loaded || all.downloaded() < busy.length); i++) {
      const start = performance.now()
      await few.get(i)
      times.push(performance.now() - start)
    }
    say(
      `${loaded ? 'beside a full download' : 'alone'}: ${times.length} gets, ` +
        `p50 ${quantile(times, 0.5).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`
    )
    socket.destroy()
    server.close()
  }
}

const RUNS: Record<string, [run: (count: number) => Promise<void>, count: number]> = {
  open: [openFeeds, 10_000],
  multiplex: [multiplex, 1000],
  peers: [peers, 200],
  mixed: [mixed, 50],
  swarm: [swarm, 20],
  fair: [fair, 500]
}

const [name = '', count] = process.argv.slice(2)
const chosen = RUNS[name]
if (chosen === undefined) {
  console.error(`There are: ${Object.keys(RUNS).join(', ')}`)
  process.exitCode = 1
} else {
  await chosen[0](count === undefined ? chosen[1] : Number(count))
  process.exit()
}
