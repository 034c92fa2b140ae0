/** Memory of output that is used again: only where nobody but a stream of ours, or the system, can have seen it. */
import { createServer, Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import ram from 'random-access-memory'
import test, { type Test } from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import { Outlet, type ReturningConsumer } from '../../src/replication/outlet.ts'
import { event } from './helpers.ts'

const BLOCKS = 256
const SIZE = 60_000
const LENT = 40_000

interface Pair {
  there: ProtocolStream
  here: ProtocolStream
  /** Resolves when the copy has everything, and it is right. */
  copied(): Promise<void>
}

/** A feed and an empty copy, in memory, and their streams. */
async function pair(t: Test, wire: object): Promise<Pair> {
  const writer = new Feed<Buffer>(() => new ram())
  await writer.append(Array.from({ length: BLOCKS }, (_, i) => Buffer.alloc(SIZE, i)))
  const copy = new Feed<Buffer>(() => new ram(), writer.key!)
  await copy.ready()
  const there = writer.replicate(true, { live: true, ...wire })
  const here = copy.replicate(false, { live: true, ...wire })
  for (const stream of [there, here]) stream.on('error', () => {})
  t.teardown(async () => {
    there.destroy()
    here.destroy()
    await Promise.all([writer.close(), copy.close()])
  })
  return {
    there,
    here,
    async copied() {
      await copy.download({ start: 0, end: BLOCKS })
      t.deepEqual(await copy.audit(), { valid: BLOCKS, invalid: 0 })
      t.ok((await copy.getBatch(0, BLOCKS)).every((bytes, i) => bytes.equals(Buffer.alloc(SIZE, i))))
    }
  }
}

/** Two ends of a connection over loopback. */
async function sockets(t: Test): Promise<[Socket, Socket]> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const one = new Socket().connect(port, '127.0.0.1')
  const [other] = (await event(server as never, 'connection')) as [Socket]
  for (const socket of [one, other]) {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
  }
  server.close()
  return [one, other]
}

/** Records the memory in which large chunks arrive. */
function watch(stream: ProtocolStream): { memory: Set<ArrayBufferLike>; chunks: number } {
  const seen = { memory: new Set<ArrayBufferLike>(), chunks: 0 }
  const { state } = stream
  const recv = state.recv
  state.recv = (chunk, consumed) => {
    if (chunk.byteLength > LENT) {
      seen.memory.add(chunk.buffer)
      seen.chunks++
    }
    recv.call(state, chunk, consumed)
  }
  return seen
}

const WIRES = {
  records: {},
  'the old wire': { authenticated: false },
  'no encryption': { encrypted: false }
}

for (const [how, wire] of Object.entries(WIRES)) {
  test(`outlet: streams piped into each other use memory again, ${how}`, async (t) => {
    const { there, here, copied } = await pair(t, wire)
    const seen = watch(here)
    there.pipe(here).pipe(there)
    await copied()
    t.ok(seen.chunks >= BLOCKS / 2, `${seen.chunks} chunks`)
    t.ok(seen.memory.size < seen.chunks, `${seen.memory.size} pieces of memory`)
  })

  test(`outlet: over TCP, ${how}`, async (t) => {
    const { there, here, copied } = await pair(t, wire)
    const [one, other] = await sockets(t)
    there.pipe(one).pipe(there as never)
    here.pipe(other).pipe(here as never)
    await copied()
  })

  test(`outlet: who reads keeps what it has read, ${how}`, async (t) => {
    const { there, here, copied } = await pair(t, wire)
    const kept: { chunk: Buffer; copy: Buffer }[] = []
    let chunks = 0
    // Somebody comes when several chunks have left already and others are on their way.
    const { state } = here
    const recv = state.recv
    state.recv = (chunk, consumed) => {
      if (chunk.byteLength > LENT && ++chunks === 5) {
        there.on('data', (chunk) => kept.push({ chunk: chunk as Buffer, copy: Buffer.from(chunk as Buffer) }))
      }
      recv.call(state, chunk, consumed)
    }
    there.pipe(here).pipe(there)
    await copied()
    t.ok(kept.length > BLOCKS / 4, `${kept.length} chunks were read`)
    t.ok(kept.every(({ chunk, copy }) => chunk.equals(copy)))
  })
}

const returnsNothing = (_: unknown): _ is ReturningConsumer => false

test('outlet: whoever is not known to keep nothing gets fresh memory', async (t) => {
  const [socket] = await sockets(t)
  const [tapped] = await sockets(t)
  tapped.write = ((bytes: Uint8Array) => Socket.prototype.write.call(tapped, bytes)) as never
  class Recorder extends Socket {
    override _write(...args: Parameters<Socket['_write']>): void {
      super._write(...args)
    }
  }
  const returning: ReturningConsumer = { source: null }
  const outlet = () => new Outlet((consumer): consumer is ReturningConsumer => consumer === returning)
  t.equal(outlet().borrow(LENT, null, 0), null, 'not piped')
  t.equal(outlet().borrow(LENT, new PassThrough(), 0), null, 'a stream of the application')
  t.equal(outlet().borrow(LENT, tapped, 0), null, 'a socket with a method of the application')
  t.equal(outlet().borrow(LENT, new Recorder(), 0), null, 'another class of sockets')
  t.ok(outlet().borrow(LENT, socket, 0), 'a socket')
  t.ok(outlet().borrow(LENT, returning, 0), 'who returns it')
  t.equal(outlet().borrow(LENT, returning, 0), null, 'and returns it to somebody else')
  t.equal(outlet().borrow(100, socket, 0), null, 'small memory comes from elsewhere')
  const seen = outlet()
  seen.shown()
  t.equal(seen.borrow(LENT, socket, 0), null, 'somebody has read the stream')
})

test('outlet: the classes of streams', async (t) => {
  class Recorder extends ProtocolStream {
    override _write(...args: Parameters<ProtocolStream['_write']>): void {
      super._write(...args)
    }
  }
  const tapped = new ProtocolStream(false)
  tapped.write = ((bytes: Uint8Array) => ProtocolStream.prototype.write.call(tapped, bytes)) as never
  const streams = { usual: new ProtocolStream(false), tapped, recorder: new Recorder(false) }
  for (const [name, stream] of Object.entries(streams)) {
    const source = new ProtocolStream(true)
    source.pipe(stream).pipe(source)
    await event(source, 'handshake')
    for (let i = 0; i < 3; i++) source.registerExtension(`e${i}`).send(Buffer.alloc(LENT))
    await new Promise((resolve) => setImmediate(resolve))
    t.equal(stream.source !== null, name === 'usual', name)
    source.destroy()
    stream.destroy()
  }
})

test('outlet: a socket has memory as long as it has bytes to write', async (t) => {
  const [socket, other] = await sockets(t)
  other.pause()
  const outlet = new Outlet(returnsNothing)
  const send = () => {
    const loan = outlet.borrow(LENT, socket, 0)!
    outlet.left(loan)
    socket.write(loan.bytes)
    return loan.bytes.buffer
  }
  while (socket.writableLength === 0) send()
  const waiting = new Set(Array.from({ length: 20 }, send))
  t.equal(waiting.size, 20, 'all different')
  other.resume()
  while (socket.writableLength > 0) await new Promise((resolve) => setImmediate(resolve))
  t.notOk(waiting.has(outlet.borrow(LENT, socket, 1)!.bytes.buffer), 'some bytes are not even in the socket')
  t.ok(waiting.has(outlet.borrow(LENT, socket, 0)!.bytes.buffer), 'the system has everything')
})

test('outlet: a method that is replaced when chunks are on their way', (t) => {
  const consumer: ReturningConsumer = { source: null }
  let asItWas = true
  const outlet = new Outlet((one): one is ReturningConsumer => one === consumer && asItWas)
  const [first, second] = [outlet.borrow(LENT, consumer, 0)!, outlet.borrow(LENT, consumer, 0)!]
  outlet.left(first)
  outlet.left(second)
  outlet.taken(first.bytes.subarray(0, LENT))
  const again = outlet.borrow(LENT, consumer, 0)!
  t.equal(again.bytes.buffer, first.bytes.buffer, 'returned')
  asItWas = false
  outlet.taken(second.bytes.subarray(0, LENT))
  t.equal(outlet.borrow(LENT, consumer, 0), null)
  asItWas = true
  t.notEqual(outlet.borrow(LENT, consumer, 0)!.bytes.buffer, second.bytes.buffer, 'may have been kept')
  t.end()
})

test('outlet: chunks that do not come back are not waited for', (t) => {
  const consumer: ReturningConsumer = { source: null }
  const outlet = new Outlet((one): one is ReturningConsumer => one === consumer)
  const lent = () => (outlet as unknown as { lent: unknown[] }).lent.length
  const send = () => {
    const loan = outlet.borrow(LENT, consumer, 0)!
    outlet.left(loan)
    return loan.bytes.subarray(0, LENT)
  }
  for (let i = 0; i < 10; i++) send()
  outlet.taken(send())
  t.equal(lent(), 0, 'nor are those before one that is back')
  for (let i = 0; i < 1000; i++) send()
  t.ok(lent() <= 100, 'they are bounded')
  t.end()
})

test('outlet: methods of classes that are replaced', async (t) => {
  const [socket] = await sockets(t)
  const outlet = new Outlet(returnsNothing)
  t.ok(outlet.borrow(LENT, socket, 0))
  const { _write } = Socket.prototype
  const kept: unknown[] = []
  const recorders = {
    write(this: Socket, ...args: Parameters<Socket['write']>) {
      kept.push(args[0])
      return PassThrough.prototype.write.apply(this, args as never)
    },
    _write(this: Socket, ...args: Parameters<Socket['_write']>) {
      kept.push(args[0])
      _write.apply(this, args)
    }
  }
  for (const [name, recorder] of Object.entries(recorders)) {
    const before = Object.getOwnPropertyDescriptor(Socket.prototype, name)
    Object.defineProperty(Socket.prototype, name, { value: recorder, configurable: true, writable: true })
    t.equal(outlet.borrow(LENT, socket, 0), null, name)
    if (before === undefined) delete (Socket.prototype as unknown as Record<string, unknown>)[name]
    else Object.defineProperty(Socket.prototype, name, before)
  }
  t.ok(outlet.borrow(LENT, socket, 0))
})

test('outlet: a stream whose output is recorded', async (t) => {
  const { there, here, copied } = await pair(t, {})
  const kept: { chunk: Buffer; copy: Buffer }[] = []
  const { push } = there
  there.push = (chunk: unknown) => {
    if (chunk !== null) kept.push({ chunk: chunk as Buffer, copy: Buffer.from(chunk as Buffer) })
    return push.call(there, chunk)
  }
  there.pipe(here).pipe(there)
  await copied()
  t.ok(kept.length > BLOCKS / 4)
  t.ok(kept.every(({ chunk, copy }) => chunk.equals(copy)))
})
