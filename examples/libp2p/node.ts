import './promise-with-resolvers.ts'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'

// By default the other side may send 16 MB before somebody reads, and a stream that has got 4 MB which nobody reads is aborted.
const WINDOW = 2 * 1024 * 1024

/** A node of libp2p with what connections need at least: TCP, encryption, and many streams over one connection. */
export function makeNode({ listen = [] }: { listen?: string[] } = {}): Promise<Libp2p> {
  return createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: WINDOW } })]
  })
}
