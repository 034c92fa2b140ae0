import ddatabase, { type Feed } from 'ddatabase'
import ram from 'random-access-memory'
import createTestnet from 'hyperdht/testnet.js'
import { Swarm } from 'ddatabase-swarm'
const T0 = Date.now(); const log = (...a: unknown[]) => console.log(Date.now() - T0, ...a)
const N = Number(process.argv[2]); const parallel = Number(process.argv[3])
const net = await createTestnet(10, { host: '127.0.0.1' })
const feeds: Feed[] = []
for (let i = 0; i < N; i++) { const f = ddatabase(() => new ram() as never); await f.append(Buffer.from('x' + i)); feeds.push(f) }
log('feeds made', process.memoryUsage.rss() >> 20)
const a = new Swarm({ bootstrap: net.bootstrap, host: '127.0.0.1', parallel }); const b = new Swarm({ bootstrap: net.bootstrap, host: '127.0.0.1', parallel })
a.on('warning', (e) => log(e)); b.on('warning', (e) => log(e))
for (const f of feeds) a.join(f)
const t = setInterval(() => log(a.stats.feeds, process.memoryUsage.rss() >> 20), 2000)
await a.flush(); log('all announced', process.cpuUsage().user / 1e6)
const clones = feeds.map((f) => ddatabase(() => new ram() as never, f.key!))
for (const c of clones) b.join(c)
await Promise.all(clones.map((c) => c.get(0))); log('all cloned', b.stats)
await b.flush(); log('b flushed')
clearInterval(t)
await a.close(); log('a closed'); await b.close(); log('b closed')
await net.destroy(); log('net destroyed', process.cpuUsage().user / 1e6)
