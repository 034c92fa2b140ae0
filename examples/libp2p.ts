/** A network of the application's own: a stream of libp2p between two peers becomes a connection of the swarm. */
import ddatabase from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import { libp2pDuplex } from './libp2p/duplex.ts'
import { makeNode } from './libp2p/node.ts'
import { HOST, program } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/libp2p.ts

Two nodes of libp2p, each with a swarm. One dials the other over TCP on this machine, and a feed is replicated over the stream.
`

const PROTOCOL = '/ddatabase/1'

await program(USAGE, [], async () => {
  await using feed = ddatabase(RAM, { valueEncoding: 'utf-8' })
  await feed.append(['over', 'whatever', 'there is'])
  await using copy = ddatabase(RAM, feed.key, { valueEncoding: 'utf-8' })
  const [here, there] = await Promise.all([makeNode(), makeNode({ listen: [`/ip4/${HOST}/tcp/0`] })])
  try {
    await using one = new Swarm({ dht: false })
    await using other = new Swarm({ dht: false })
    one.join(copy)
    other.join(feed)
    // What goes wrong with a connection is told by events of the swarm as well.
    await there.handle(PROTOCOL, (stream) => {
      other.addConnection(libp2pDuplex(stream), { initiator: false }).catch(() => {})
    })
    const stream = await here.dialProtocol(there.getMultiaddrs(), PROTOCOL)
    const connection = await one.addConnection(libp2pDuplex(stream), { initiator: true, address: 'libp2p' })
    await copy.download({ start: 0, end: 3 })
    for await (const value of copy) console.log(value)
    console.log(`${connection.bytesReceived} bytes came over ${connection.address}`)
  } finally {
    await Promise.all([here.stop(), there.stop()])
  }
})
