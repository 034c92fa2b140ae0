import createTestnet from 'hyperdht/testnet.js'
import ddatabase from 'ddatabase'
import RAM from 'random-access-memory'
import { Swarm } from '../src/index.ts'
const net = await createTestnet(10, { host: '127.0.0.1' })
const s = new Swarm({ bootstrap: net.bootstrap, host: '127.0.0.1' })
for (let i = 0; i < 30; i++) { const f = ddatabase(RAM); await f.append('x' as never); s.join(f) }
await s.flush()
const T0 = Date.now()
const dht = await (s as any).constructor
await net.destroy(); console.log('net gone', Date.now() - T0)
const k = setInterval(() => console.log((process as any).getActiveResourcesInfo().join()), 5000); k.unref()
await s.close(); console.log('closed', Date.now() - T0)
