/** A network of the application's own: any stream that it has between two peers becomes a connection of the swarm. */
import ddatabase from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import { libp2pDuplex } from './libp2p/duplex.ts'
import { streamPair } from './libp2p/stand-in.ts'
import { program } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/libp2p.ts

Replicates a feed over a stream with the methods of those of libp2p 3. So that this example needs no further packages the stream is
one inside the process. With libp2p it is:

  node.handle('/ddatabase/1', (stream) => swarm.addConnection(libp2pDuplex(stream), { initiator: false }))
  swarm.addConnection(libp2pDuplex(await node.dialProtocol(peer, '/ddatabase/1')), { initiator: true })
`

await program(USAGE, [], async () => {
  await using feed = ddatabase(RAM, { valueEncoding: 'utf-8' })
  await feed.append(['over', 'whatever', 'there is'])
  await using copy = ddatabase(RAM, feed.key, { valueEncoding: 'utf-8' })

  await using one = new Swarm({ dht: false })
  await using other = new Swarm({ dht: false })
  one.join(feed)
  other.join(copy)
  const [here, there] = streamPair()
  const [connection] = await Promise.all([
    other.addConnection(libp2pDuplex(here), { initiator: true, address: 'libp2p' }),
    one.addConnection(libp2pDuplex(there), { initiator: false })
  ])
  await copy.download({ start: 0, end: 3 })
  for await (const value of copy) console.log(value)
  console.log(`${connection.bytesReceived} bytes came over ${connection.address}`)
})
