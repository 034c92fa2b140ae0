import ddatabase from 'ddatabase'
import ram from 'random-access-memory'
import createTestnet from 'hyperdht/testnet.js'
import { Swarm } from 'ddatabase-swarm'
const T0 = Date.now(); const log = (...a: unknown[]) => console.log(Date.now() - T0, ...a)
const writer = ddatabase(() => new ram() as never, { valueEncoding: 'utf-8' })
await writer.append(['a', 'b', 'c'])
const clone = ddatabase(() => new ram() as never, writer.key!, { valueEncoding: 'utf-8' })
if (process.argv[2] === 'tcp') {
  const a = new Swarm({ dht: false, host: '127.0.0.1' }); const b = new Swarm({ dht: false })
  a.join(writer); b.join(clone)
  const l = await a.listen(); const w = await a.listen({ websocket: true })
  for (const ev of ['connection','disconnection','peer','peer-remove','refused','warning','no-peers'] as const) { a.on(ev, (...x: unknown[]) => log('a', ev, x.at(-1) instanceof Error ? x.at(-1) : '')); b.on(ev, (...x: unknown[]) => log('b', ev, x.at(-1) instanceof Error ? x.at(-1) : '')) }
  const c = await b.connect(l.address)
  log(await clone.get(2), c.kind)
  const c2 = await b.connect(w.address)
  log(c2.kind, a.stats, b.stats)
  await new Promise((r) => setTimeout(r, 500))
  log(b.connections.map((c) => c.kind), a.connections.map(c => c.kind))
  await a.close(); log('a closed'); await b.close(); log('b closed')
} else {
  const net = await createTestnet(10, { host: '127.0.0.1' })
  log('net', net.bootstrap)
  const a = new Swarm({ bootstrap: net.bootstrap, host: '127.0.0.1' }); const b = new Swarm({ bootstrap: net.bootstrap, host: '127.0.0.1' })
  for (const ev of ['connection','disconnection','peer','peer-remove','refused','warning','no-peers','searched'] as const) { a.on(ev, (...x: unknown[]) => log('a', ev, x.at(-1) instanceof Error ? x.at(-1) : '')); b.on(ev, (...x: unknown[]) => log('b', ev, x.at(-1) instanceof Error ? x.at(-1) : '')) }
  await a.join(writer).flushed(); log('announced')
  const j = b.join(clone)
  log(await clone.get(2))
  await j.flushed(); log('flushed', a.stats)
  await a.close(); log('a closed'); await b.close(); log('b closed')
  await net.destroy(); log('net destroyed')
}
await writer.close(); await clone.close(); log('done')
