/** The adapter of the example for streams of libp2p, over two nodes of it on loopback. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import ddatabase from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import { libp2pDuplex } from '../../examples/libp2p/duplex.ts'
import { within } from '../helpers/watchdog.ts'

const PROTOCOL = '/test/1'
const PATIENCE = 120_000

/** Both ends of one stream. */
async function duplexPair(t: Test): Promise<[here: Duplex, there: Duplex]> {
  // Packages that can only be imported: the runner requires this file.
  const { makeNode } = await import('../../examples/libp2p/node.ts')
  const here = await makeNode()
  t.teardown(() => here.stop())
  const there = await makeNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
  t.teardown(() => there.stop())
  const accepted = new Promise<Duplex>((resolve) => {
    void there.handle(PROTOCOL, (stream) => resolve(libp2pDuplex(stream)))
  })
  const dialled = libp2pDuplex(await here.dialProtocol(there.getMultiaddrs(), PROTOCOL))
  for (const duplex of [dialled, await accepted]) duplex.on('error', () => {})
  return [dialled, await accepted]
}

test('libp2p: a feed with large blocks goes over it, and the connection ends in good order', async (t) => {
  const blocks = Array.from({ length: 40 }, (_, i) => randomBytes(i % 4 === 0 ? 1_000_000 : 1000))
  const feed = ddatabase(RAM)
  await feed.append(blocks)
  const copy = ddatabase(RAM, feed.key)
  t.teardown(() => Promise.all([feed.close(), copy.close()]))
  const [here, there] = await within(duplexPair(t), 'the stream', PATIENCE)
  const [one, other] = [new Swarm({ dht: false }), new Swarm({ dht: false })]
  t.teardown(() => Promise.all([one.close(), other.close()]))
  one.join(copy)
  other.join(feed)
  const [connection, remote] = await within(
    Promise.all([
      one.addConnection(here, { initiator: true }),
      other.addConnection(there, { initiator: false })
    ]),
    'the handshake',
    PATIENCE
  )
  await within(copy.download({ start: 0, end: 40 }), 'the blocks', PATIENCE)
  t.deepEqual(await copy.getBatch(0, 40), blocks)
  await connection.close()
  t.equal(await within(remote.closed, 'the end there', PATIENCE), null)
})

test('libp2p: who does not read is not sent more', async (t) => {
  const [here, there] = await within(duplexPair(t), 'the stream', PATIENCE)
  const chunk = randomBytes(100_000)
  const writable = () => new Promise<boolean>((resolve) => here.write(chunk, (error) => resolve(!error)))
  // Nobody reads there: what libp2p holds for both sides is full some time, and a write waits.
  let waiting: Promise<boolean>
  let written = 0
  for (;;) {
    waiting = writable()
    written += chunk.length
    const turns = new Promise<'full'>((resolve) => setTimeout(resolve, 1000, 'full'))
    if ((await Promise.race([waiting, turns])) === 'full') break
    if (written > 64_000_000) break
  }
  t.ok(written < 64_000_000, `${written} bytes, then it waits`)
  let read = 0
  const all = new Promise<void>((resolve) => {
    there.on('data', ({ length }: Uint8Array) => {
      read += length
      if (read === written) resolve()
    })
  })
  t.equal(await within(waiting, 'the write that waited', PATIENCE), true)
  await within(all, 'what was written', PATIENCE)
  const ended = new Promise<void>((resolve) => there.once('end', resolve))
  here.end()
  await within(ended, 'the end', PATIENCE)
})

test('libp2p: an end that is no good one is an error on the other side', async (t) => {
  const [here, there] = await within(duplexPair(t), 'the stream', PATIENCE)
  const broken = new Promise<Error>((resolve) => there.once('error', resolve))
  there.resume()
  here.destroy()
  t.ok((await within(broken, 'the end', PATIENCE)) instanceof Error)
  const late = await new Promise((resolve) => there.write(Buffer.alloc(1), resolve))
  t.ok(late instanceof Error, 'nothing can be written any more')
})
