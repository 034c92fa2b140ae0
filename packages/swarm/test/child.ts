/** One peer in a process of its own. It is told what to do by messages, and may be killed at any moment. */
import ddatabase, { type Feed } from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'

/** What a peer begins with. */
export interface ChildSettings {
  folder: string
  bootstrap: { host: string; port: number }[]
  /** Key of the feed to copy; null for the author. */
  key: string | null
  /** Blocks that the author's feed should have. */
  blocks: number
}

/** What a peer is told. */
export type ChildCommand = { type: 'append'; blocks: number } | { type: 'leave' }

/** What a peer tells. */
export type ChildMessage =
  | { type: 'open'; key: string }
  | { type: 'length'; length: number; whole: boolean; peers: number }

const { folder, bootstrap, key, blocks }: ChildSettings = JSON.parse(process.argv[2]!)
const feed: Feed<string> = ddatabase<string>(folder, key, { valueEncoding: 'utf-8' })
await feed.ready()
const swarm = new Swarm({
  bootstrap,
  host: '127.0.0.1',
  maxPeers: 8,
  searchDelay: { min: 500, max: 4000 },
  // Peers that were killed are noticed sooner.
  stream: { timeout: 6000 }
})
const joined = swarm.join(feed)
const tell = (message: ChildMessage): void => {
  if (process.connected) process.send!(message)
}

if (key === null) {
  while (feed.length < blocks) await feed.append(`block ${feed.length}`)
}
tell({ type: 'open', key: Buffer.from(feed.key!).toString('hex') })

let told = ''
const timer = setInterval(() => {
  const whole = feed.length > 0 && feed.downloaded() === feed.length
  const message: ChildMessage = { type: 'length', length: feed.length, whole, peers: joined.peers }
  if (JSON.stringify(message) === told) return
  told = JSON.stringify(message)
  tell(message)
}, 50)

process.on('message', async (command: ChildCommand) => {
  if (command.type === 'append') {
    for (let i = 0; i < command.blocks; i++) await feed.append(`block ${feed.length}`)
    return
  }
  clearInterval(timer)
  await swarm.close()
  await feed.close()
  process.disconnect()
})
