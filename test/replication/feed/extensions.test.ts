/** Extensions of feeds (spec API §7). */
import { complete, connect, forEach, texts, until } from '../../helpers/replication-feeds.ts'
import { type AnyPeer, OURS, PUBLISHED, replicating } from '../../helpers/replication-subjects.ts'
import { settle } from '../../helpers/watchdog.ts'

const BOTH = [OURS, PUBLISHED]

forEach(BOTH, 'extensions: send and broadcast, with encodings', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const log: unknown[] = []
  const onmessage = (name: string) => (message: unknown, peer: AnyPeer) => {
    log.push([name, message instanceof Uint8Array ? String(message) : message, peer.feed === replica.feed])
  }
  replicating(replica).registerExtension('json', { encoding: 'json', onmessage: onmessage('json') })
  replicating(replica).registerExtension('bytes', { onmessage: onmessage('bytes') })
  replicating(replica).registerExtension('text', { encoding: 'utf8', onmessage: onmessage('text') })
  // In another order, with others between them.
  replicating(writer).registerExtension('aaa', {})
  const text = replicating(writer).registerExtension('text', { encoding: 'utf8' })
  const json = replicating(writer).registerExtension('json', { encoding: 'json' })
  replicating(writer).registerExtension('mmm', {})
  const bytes = replicating(writer).registerExtension('bytes', {})
  t.equal(json.broadcast({ to: 'nobody' }), false, 'without peers')
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  t.equal(json.broadcast({ to: 'everybody' }), true)
  text.send('hello', replicating(writer).peers[0]!)
  bytes.send(Buffer.from('raw'), replicating(writer).peers[0]!)
  await until(() => log.length === 3, 'the messages')
  t.deepEqual(log, [
    ['json', { to: 'everybody' }, true],
    ['text', 'hello', true],
    ['bytes', 'raw', true]
  ])
  await cut()
})

forEach(BOTH, 'extensions: registered after connecting', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  const heard: unknown[] = []
  replicating(replica).registerExtension('late', {
    encoding: 'json',
    onmessage: (message: unknown) => heard.push(message)
  })
  const late = replicating(writer).registerExtension('late', { encoding: 'json' })
  late.broadcast(1)
  replicating(writer).registerExtension('before', {})
  late.broadcast(2)
  await until(() => heard.length === 2, 'the messages')
  t.deepEqual(heard, [1, 2])
  await cut()
})

forEach(BOTH, 'extensions: as a function of the extension', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const heard: unknown[] = []
  replicating(replica).registerExtension('echo', ((echo: {
    send(message: unknown, peer: AnyPeer): void
  }) => ({
    encoding: 'json',
    onmessage: (message: number, peer: AnyPeer) => echo.send(message + 1, peer)
  })) as object)
  const echo = replicating(writer).registerExtension('echo', {
    encoding: 'json',
    onmessage: (message: unknown) => heard.push(message)
  })
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  echo.broadcast(41)
  await until(() => heard.length === 1, 'the answer')
  t.deepEqual(heard, [42])
  await cut()
})

forEach(BOTH, 'extensions: a remote without the extension ignores its messages', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const lonely = replicating(writer).registerExtension('lonely', {})
  const { a, b, cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  lonely.broadcast(Buffer.from('anybody?'))
  await settle(10)
  t.notOk(a.destroyed || b.destroyed)
  await writer.append('x')
  await complete(replica, 2)
  await cut()
})

forEach(BOTH, 'extensions: one name, one extension', async (t, bench) => {
  const writer = await bench.writer()
  replicating(writer).registerExtension('twice', {})
  t.throws(
    () => replicating(writer).registerExtension('twice', {}),
    /Cannot add multiple messages with the same name/
  )
})

forEach(BOTH, 'extensions: a message that cannot be decoded', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const errors: [boolean, boolean][] = []
  const heard: unknown[] = []
  replicating(replica).registerExtension('careful', {
    encoding: 'json',
    onmessage: (message: unknown) => heard.push(message),
    onerror: (error: unknown, peer: AnyPeer) =>
      errors.push([error instanceof Error, peer.feed === replica.feed])
  })
  replicating(replica).registerExtension('careless', {
    encoding: 'json',
    onmessage: (message: unknown) => heard.push(message)
  })
  const careful = replicating(writer).registerExtension('careful', {})
  const careless = replicating(writer).registerExtension('careless', {})
  const { a, b, cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  for (const extension of [careless, careful]) {
    extension.broadcast(Buffer.from('{'))
    extension.broadcast(Buffer.from('"good"'))
  }
  await until(() => heard.length === 2, 'the good messages')
  t.deepEqual(heard, ['good', 'good'])
  t.deepEqual(errors, [[true, true]])
  t.notOk(a.destroyed || b.destroyed)
  await cut()
})

forEach([OURS], 'extensions: destroying one renumbers the others', async (t, bench) => {
  // Quirk 11 of WIRE §16: with the published packages the messages of the others go astray.
  const writer = await bench.writer(texts(1))
  const replica = await bench.replica(writer)
  const heard: unknown[] = []
  for (const name of ['a', 'b', 'c']) {
    replicating(replica).registerExtension(name, {
      encoding: 'json',
      onmessage: (message: unknown) => heard.push([name, message])
    })
  }
  const [a, b, c] = ['a', 'b', 'c'].map((name) =>
    replicating(writer).registerExtension(name, { encoding: 'json' })
  )
  const { cut } = connect(writer, replica, { live: true })
  await complete(replica, 1)
  c!.broadcast(1)
  a!.destroy()
  c!.broadcast(2)
  b!.destroy()
  c!.broadcast(3)
  t.equal(a!.broadcast(4), false, 'a destroyed one has nobody to send to')
  await until(() => heard.length === 3, 'the messages')
  t.deepEqual(heard, [
    ['c', 1],
    ['c', 2],
    ['c', 3]
  ])
  c!.destroy()
  const peer = replicating(replica).peers[0] as unknown as { remoteExtensions: { names: string[] | null } }
  await until(() => peer.remoteExtensions.names?.length === 0, 'the empty list')
  await cut()
})

forEach(BOTH, 'extensions: many peers, one answer each', async (t, bench) => {
  const writer = await bench.writer(texts(1))
  const answers: number[] = []
  const roll = replicating(writer).registerExtension('roll', {
    encoding: 'json',
    onmessage: (message: number) => answers.push(message)
  })
  const connections = []
  for (let i = 0; i < 4; i++) {
    const replica = await bench.replica(writer)
    const answer = replicating(replica).registerExtension('roll', {
      encoding: 'json',
      onmessage: (_message: unknown, peer: AnyPeer) => answer.send(i, peer)
    })
    connections.push(connect(writer, replica, { live: true }))
    await complete(replica, 1)
  }
  t.equal(roll.broadcast('who?'), true)
  await until(() => answers.length === 4, 'the answers')
  t.deepEqual(answers.sort(), [0, 1, 2, 3])
  for (const connection of connections) await connection.cut()
})
