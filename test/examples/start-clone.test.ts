/** The half of `npm start` that clones, in this process. */
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import test, { type Test } from 'tape'
import type { CloneArguments } from '../../examples/start/arguments.ts'
import { clone } from '../../examples/start/clone.ts'
import { offerDigest } from '../../examples/start/digest-extension.ts'
import { openFeed } from '../../examples/start/open-feed.ts'
import { HOST, type Served, Server } from '../../examples/start/server.ts'
import { Feed } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { fails, written } from './start-helpers.ts'

const BLOCKS = 50

/** A feed that is served, and what was served of it. */
async function servedFeed(
  t: Test
): Promise<{ feed: Feed; server: Server; served: Served[]; content: Buffer }> {
  const feed = new Feed(path.join(await temporaryFolder(t), 'feed'))
  const blocks = Array.from({ length: BLOCKS }, (_, i) => randomBytes(1000 + i))
  await feed.append(blocks)
  const server = await Server.listen(0)
  const served: Served[] = []
  server.serve(feed, (one) => served.push(one))
  t.teardown(async () => {
    await feed.close()
    await server.close()
  })
  return { feed, server, served, content: Buffer.concat(blocks) }
}

/** A port on which something happens with each connection. */
async function somePort(t: Test, onconnection: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    onconnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  t.teardown(() => server.close())
  return (server.address() as net.AddressInfo).port
}

/** Passes bytes on to a port, up to `limit` of those that come from there; then `full` is called. */
async function limitedPort(
  t: Test,
  port: number,
  limit: number,
  full: (socket: net.Socket) => void
): Promise<number> {
  return somePort(t, (socket) => {
    const inner = net.connect(port, HOST)
    let left = limit
    inner.on('error', () => {})
    inner.on('close', () => socket.destroy())
    socket.on('close', () => inner.destroy())
    socket.pipe(inner)
    inner.on('data', (bytes) => {
      if (left <= 0) return
      socket.write(bytes.subarray(0, left))
      left -= bytes.byteLength
      if (left <= 0) full(socket)
    })
  })
}

async function run(
  t: Test,
  args: Partial<CloneArguments>,
  signal: AbortSignal = new AbortController().signal
): Promise<{ code: Promise<number>; text(): string }> {
  const { report, text } = written()
  const keep = args.keep ?? (await temporaryFolder(t))
  const code = clone({ mode: 'clone', key: randomBytes(32), port: 1, ...args, keep }, { report, signal })
  return { code, text }
}

/** Blocks that were there, that came, and that are missing, as the report says. */
function counts(text: string): { present: number; fetched: number; missing: number } {
  const found = /^\w+ +(\d+) blocks were here already, (\d+) were fetched(?:, (\d+) are missing)?/m.exec(text)
  return { present: Number(found?.[1]), fetched: Number(found?.[2]), missing: Number(found?.[3] ?? 0) }
}

test('start clone: from somebody who does not tell the SHA-256', async (t) => {
  const { feed, server, served, content } = await servedFeed(t)
  const keep = await temporaryFolder(t)
  const { code, text } = await run(t, { key: feed.key!, port: server.port, keep })
  t.equal(await code, 0, 'is fine')
  t.same(counts(text()), { present: 0, fetched: BLOCKS, missing: 0 })
  t.match(text(), /^rebuilt .*; the other side does not tell the one of the file$/m)
  t.same(await readFile(path.join(keep, 'clone', 'data')), content, 'the content is here')
  t.equal(served[0]?.stats.uploadedBlocks, BLOCKS, 'each block was sent once')
  t.equal(served[0]?.error, null, 'the connection ended well')
})

test('start clone: another SHA-256 than the one that is told', async (t) => {
  const { feed, server } = await servedFeed(t)
  offerDigest(feed, 'f'.repeat(64))
  const { code } = await run(t, { key: feed.key!, port: server.port })
  await fails(t, code, 1, /^The rebuilt file has the SHA-256 [0-9a-f]{64} instead of f{64}\.$/)
})

test('start clone: nothing there', async (t) => {
  const server = await Server.listen(0)
  await server.close()
  const { code } = await run(t, { port: server.port })
  await fails(t, code, 5, /^Nothing is served on port \d+\.$/)
})

test('start clone: another key', async (t) => {
  const { server } = await servedFeed(t)
  const { code } = await run(t, { port: server.port })
  await fails(t, code, 5, /^What is served on port \d+ is not the feed with this key\.$/)
})

test('start clone: something else is there', async (t) => {
  const behaviours: Record<string, (socket: net.Socket) => void> = {
    'goes away': (socket) => socket.destroy(),
    'hangs up': (socket) => socket.resume().end(),
    'speaks something else': (socket) => socket.end('SSH-2.0-something-or-other\r\n'),
    'asks too much': (socket) => socket.write(Buffer.alloc(100, 0xff)),
    resets: (socket) => socket.resetAndDestroy()
  }
  for (const [name, behaviour] of Object.entries(behaviours)) {
    const { code } = await run(t, { port: await somePort(t, behaviour) })
    await fails(t, code, 5, /^What is on port \d+ does not serve a feed, or not yet: [^\n]+\.$/, name)
  }
})

test('start clone: the server is not ready', async (t) => {
  const server = await Server.listen(0)
  t.teardown(() => server.close())
  const { code } = await run(t, { port: server.port })
  await fails(t, code, 5, /or not yet: /)
})

test('start: a port that is in use', async (t) => {
  const server = await Server.listen(0)
  await fails(t, Server.listen(server.port), 5, /^Port \d+ cannot be used: another program is using it\.$/)
  await server.close()
})

test('start clone: a folder with something else', async (t) => {
  const { feed, server } = await servedFeed(t)
  const keep = await temporaryFolder(t)
  const other = await openFeed(path.join(keep, 'clone'))
  await other.close()
  const { code } = await run(t, { key: feed.key!, port: server.port, keep })
  await fails(t, code, 4, /^The folder .* cannot be used: Another ddatabase is stored here\.$/)

  const file = path.join(await temporaryFolder(t), 'file')
  await writeFile(file, '')
  await fails(t, (await run(t, { keep: file })).code, 4, /there is a file of this name/)
})

test('start clone: goes on where it stopped, wherever that was', async (t) => {
  const { feed, server, served, content } = await servedFeed(t)
  const keep = await temporaryFolder(t)
  const key = feed.key!
  let present = 0
  for (const limit of [100, 1000, 4000, 11_000, 20_000]) {
    const port = await limitedPort(t, server.port, limit, (socket) => socket.destroy())
    const { code, text } = await run(t, { key, port, keep })
    await fails(t, code, 5, /^(The other side went away|What is on port)/, `after ${limit} bytes`)
    const told = counts(text())
    if (!/^stopped /m.test(text())) continue
    t.equal(told.present, present, `${present} blocks were here`)
    t.equal(told.present + told.fetched + told.missing, BLOCKS, `${told.fetched} came`)
    present += told.fetched
  }
  t.ok(present > 3 && present < BLOCKS, `${present} blocks are here`)
  served.length = 0
  const { code, text } = await run(t, { key, port: server.port, keep })
  t.equal(await code, 0, 'complete')
  t.same(counts(text()), { present, fetched: BLOCKS - present, missing: 0 }, 'only the rest was fetched')
  t.equal(served[0]?.stats.uploadedBlocks, BLOCKS - present, 'only the rest was sent')
  t.same(await readFile(path.join(keep, 'clone', 'data')), content, 'the content is here')
})

test('start clone: Ctrl-C', async (t) => {
  const { feed, server } = await servedFeed(t)
  const early = await run(t, { key: feed.key!, port: server.port }, AbortSignal.abort())
  await fails(t, early.code, 130, /^Interrupted/, 'before it began')

  const stop = new AbortController()
  const port = await limitedPort(t, server.port, 20_000, () => stop.abort())
  const late = await run(t, { key: feed.key!, port }, stop.signal)
  await fails(t, late.code, 130, /^Interrupted/, 'half way')
  const { present, fetched, missing } = counts(late.text())
  t.equal(present + fetched + missing, BLOCKS, 'and tells what is here')
})
