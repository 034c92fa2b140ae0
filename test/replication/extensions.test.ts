import test from 'tape'
import { type ExtensionCarrier, ExtensionRegistry } from '../../src/replication/extensions.ts'
import { event, join, ProtocolStream, signal, turn } from './helpers.ts'

/** A carrier that delivers to another registry, as the wire does. */
class Wire implements ExtensionCarrier<string> {
  sent: [number, Uint8Array, string | undefined][] = []
  updates = 0

  onextensionupdate(): void {
    this.updates++
  }

  sendExtension(id: number, message: Uint8Array, peer: string | undefined): boolean {
    this.sent.push([id, message, peer])
    return true
  }

  broadcastExtension(id: number, message: Uint8Array): boolean {
    return this.sendExtension(id, message, 'all')
  }

  remoteSupportsExtension(name: string): boolean {
    return name === 'b'
  }
}

test('extensions: sorted by code units, numbered without gaps, also after destroy', (t) => {
  const wire = new Wire()
  const registry = new ExtensionRegistry<string>(wire)
  const [z, a, upper, umlaut] = ['z', 'a', 'B', 'ä'].map((name) => registry.add(name))
  t.same(registry.names(), ['B', 'a', 'z', 'ä'])
  t.same(
    [...registry].map((extension) => extension.id),
    [0, 1, 2, 3]
  )
  t.equal(registry.length, 4)
  t.equal(registry.get('z'), z)
  t.equal(registry.get('none'), null)
  t.throws(() => registry.add('z'), /Cannot add multiple messages with the same name/)
  t.throws(() => registry.add(5 as unknown as string), /string/)
  t.equal(wire.updates, 4)
  a!.destroy()
  a!.destroy()
  t.same(registry.names(), ['B', 'z', 'ä'])
  t.same([upper!.id, a!.id, z!.id, umlaut!.id], [0, -1, 1, 2])
  t.ok(a!.destroyed && !z!.destroyed)
  t.equal(wire.updates, 5)
  t.notOk(a!.send('x'), 'a destroyed extension sends nothing')
  t.notOk(a!.broadcast('x'))
  t.same(wire.sent, [])
  t.ok(registry.add('a'), 'the name is free again')
  t.end()
})

test('extensions: encodings, errors, and what has no taker', (t) => {
  const wire = new Wire()
  const registry = new ExtensionRegistry<string>(wire)
  const seen: unknown[] = []
  const json = registry.add<{ a: number }>('json', {
    encoding: 'json',
    onmessage: (message, peer) => void seen.push(message, peer),
    onerror: (error, peer) => void seen.push(error.name, peer)
  })
  const own = registry.add('own', (extension) => ({
    encoding: { encode: (text: string) => Buffer.from(text.toUpperCase()), decode: (b: Buffer) => `${b}!` },
    onmessage: (message) => void seen.push(extension.name, message)
  }))
  registry.add('quiet', { encoding: 'json', onmessage: (message) => void seen.push(message) })
  registry.add('deaf')
  t.equal(Buffer.from(json.encode({ a: 1 })).toString(), '{"a":1}', 'json without a newline')
  t.ok(json.send({ a: 2 }, 'peer'))
  t.ok(own.broadcast('x'))
  t.same(
    wire.sent.map(([id, bytes, peer]) => [id, Buffer.from(bytes).toString(), peer]),
    [
      [1, '{"a":2}', 'peer'],
      [2, 'X', 'all']
    ]
  )
  t.notOk(json.remoteSupports())
  t.ok(registry.add('b').remoteSupports())

  const remote = registry.remote()
  remote.onmessage(0, Buffer.from('1'), 'p')
  t.same(seen, [], 'nothing before the names are known')
  // In an order of their own, with names that we do not have.
  remote.update(['other', 'own', 'json', 'quiet', 'deaf'])
  t.ok(remote.has('own') && !remote.has('none'))
  remote.onmessage(2, Buffer.from('{"b":3}'), 'p')
  remote.onmessage(2, Buffer.from('{'), 'p')
  remote.onmessage(1, Buffer.from('hi'), 'p')
  remote.onmessage(3, Buffer.from('{'), 'p')
  for (const id of [0, 4, 5, 1e15, -1]) remote.onmessage(id, Buffer.from('1'), 'p')
  t.same(seen, [{ b: 3 }, 'p', 'SyntaxError', 'p', 'own', 'hi!'])
  seen.length = 0
  own.destroy()
  remote.onmessage(1, Buffer.from('hi'), 'p')
  remote.onmessage(2, Buffer.from('4'), 'p')
  t.same(seen, [4, 'p'], 'the others are still found')
  t.end()
})

test('extensions: on a stream, announced lazily and again after changes', async (t) => {
  const a = new ProtocolStream(true, { live: true })
  const b = new ProtocolStream(false, { live: true })
  const announced: string[][] = []
  const seen: unknown[] = []
  b.on('extensions', (names) => void announced.push(names))
  b.handlers.onextensions = (names) => void announced.push(names)
  const handlers = (name: string) => ({
    encoding: 'json',
    onmessage: (message: unknown, from: ProtocolStream) => void seen.push(name, message, from === b)
  })
  b.registerExtension('one', handlers('one'))
  b.registerExtension('two', handlers('two'))
  const two = a.registerExtension('two', { encoding: 'json' })
  t.notOk(two.remoteSupports())
  two.send({ early: true })
  join(a, b)
  await event(b, 'extensions')
  await turn()
  t.same(announced, [['two'], ['two']])
  t.same(seen.splice(0), ['two', { early: true }, true])
  const one = a.registerExtension('one', { encoding: 'json' })
  two.send(1)
  one.send(2)
  await turn()
  t.same(announced.slice(2), [
    ['one', 'two'],
    ['one', 'two']
  ])
  t.same(seen.splice(0), ['two', 1, true, 'one', 2, true])
  one.destroy()
  two.send(3)
  await turn()
  t.same(announced.slice(4), [['two'], ['two']])
  t.same(seen.splice(0), ['two', 3, true])
  const back = signal<unknown>()
  const echo = a.registerExtension('echo', { onmessage: back.resolve })
  const answer = b.registerExtension<Uint8Array>('echo', { onmessage: (bytes) => void answer.send(bytes) })
  echo.send(Buffer.from('there and back'))
  t.equal(Buffer.from((await back.promise) as Uint8Array).toString(), 'there and back')
  t.ok(echo.remoteSupports() && b.remoteExtensions.has('echo'))
  a.destroy()
  b.destroy()
  t.end()
})
