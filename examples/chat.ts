/** A chat of two: each writes a feed of its own, and reads that of the other. */
import readline from 'node:readline'
import ddatabase from 'ddatabase'
import { type Connection, Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import { HOST, interrupted, program, UsageError } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/chat.ts NAME [--port N]
       node --import tsx examples/chat.ts NAME ADDRESS

The first waits for the other side and prints its address; the second connects to it. Each line that is typed becomes a
signed block of one's own feed; what the other side writes is printed. The end of the input, or Ctrl-C, ends it.
`

interface Line {
  name: string
  text: string
}

await program(USAGE, ['port'], async ({ words: [name, address, ...rest], options, signal }) => {
  if (name === undefined || rest.length > 0)
    throw new UsageError('Say your name, and the address to connect to')
  await using own = ddatabase<Line>(RAM, { valueEncoding: 'json' })
  await own.ready()
  await using swarm = new Swarm({ dht: false, host: HOST })
  swarm.join(own)

  // The two tell each other the keys of their feeds, by messages on the stream.
  swarm.on('connection', ({ stream }: Connection) => {
    const keys = stream.registerExtension<Uint8Array>('chat-key', {
      encoding: 'binary',
      onmessage: (key) => void read(key)
    })
    const tell = () => void keys.send(own.key!, stream)
    // Once more when the other side says that it understands: what came before that was passed over.
    stream.on('extensions', tell)
    tell()
  })

  const heard = new Set<string>()
  async function read(key: Uint8Array): Promise<void> {
    // After a lost connection it is told once more.
    const id = Buffer.from(key).toString('hex')
    if (heard.has(id)) return
    heard.add(id)
    const theirs = ddatabase<Line>(RAM, key, { valueEncoding: 'json', sparse: true })
    swarm.join(theirs)
    signal.addEventListener('abort', () => theirs.close())
    try {
      for await (const line of theirs.createReadStream({ live: true })) {
        console.log(`${line.name}: ${line.text}`)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  if (address === undefined) {
    const listener = await swarm.listen({ port: options.port ?? 0 })
    console.log(`In another terminal: node --import tsx examples/chat.ts NAME ${listener.address}`)
  } else {
    await swarm.connect(address)
    console.log('Connected.')
  }
  const input = readline.createInterface({ input: process.stdin })
  input.on('line', (text) => void own.append({ name, text }))
  const end = new Promise((resolve) => input.once('close', resolve))
  await Promise.race([end, interrupted(signal)])
  input.close()
  await Promise.all(swarm.feeds.filter(({ feed }) => !feed.writable).map(({ feed }) => closeOf(feed)))
})

function closeOf(feed: object): Promise<void> {
  return (feed as { close(): Promise<void> }).close()
}
